"""What PostgreSQL's files hold of somebody erased: all of it until a purge, and nothing afterwards."""

from __future__ import annotations

import sqlalchemy as sa

from pseudonym.storage import open_store
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
