"""What PostgreSQL's files hold of somebody erased: all of it until a purge, and nothing afterwards.

Statistics are samples of what was in the tables, and no purge reaches them.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from pseudonym.storage import Role, identity, open_store
from tests.pseudonym.storage.made_up import MANDATE, people, pid, vault
from tests.pseudonym.storage.test_canary import leftovers


def test_nothing_of_the_erased_stays_in_postgresqls_files(postgres_server, postgres_url):
    database = sa.make_url(postgres_url).database
    pids = [pid(n) for n in range(300)]
    gone, living = pids[7:27], pids[27:]
    with open_store(postgres_url, "identity") as store:
        here = vault(store)
        here.add(people(0, len(pids)), "council", pids=pids)
        here.revise(pids[:40], people(0, 40, version=1), "council")
        secrets = leftovers(store, gone)
        kept = leftovers(store, living)
        assert len(secrets) > 4 * len(gone)

        def found() -> int:
            octets = postgres_server.octets(database)
            assert all(secret in octets for secret in kept)
            return sum(secret in octets for secret in secrets)

        assert found() == len(secrets)
        here.erase(gone, purge=False)
        assert found() == len(secrets)  # in dead rows, which no query and no dump shows
        assert store.purge_if_due()
        assert found() == 0
        assert here.open(living, MANDATE).height == len(living)


def test_statistics_hold_nothing_that_is_sealed(postgres_server, postgres_url):
    database = sa.make_url(postgres_url).database
    pids = [pid(n) for n in range(300)]
    gone = pids[7:107]
    with open_store(postgres_url, "identity") as store:
        here = vault(store)
        here.add(people(0, len(pids)), "council", pids=pids)
        with store.read() as at:
            secrets = [row.ct[13:45] for row in identity.rows(store, at, gone)]
            secrets += [row.wrapped[13:] for row in identity.keys(store, at, gone)]
        with postgres_server.connect(database) as connection:
            connection.execute("ANALYZE")  # as the server does by itself
        here.erase(gone)
        octets = postgres_server.octets(database)
    assert not [secret for secret in secrets if secret in octets]


@pytest.mark.parametrize("role", list(Role))
def test_only_what_rows_are_found_by_is_in_statistics(role, postgres_server, postgres_url):
    open_store(postgres_url, role).close()
    sampled = postgres_server.rows(
        sa.make_url(postgres_url).database,
        "SELECT attname AS name FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND atttypid = 'bytea'::regtype AND attnum > 0 AND coalesce(attstattarget, -1) <> 0",
    )
    names = {row["name"] for row in sampled}
    assert names
    assert not names & {"ct", "wrapped", "seal", "cover", "tags"}
