"""`server.py --migrate`, as an operator runs it: an older database is brought up, any other is refused."""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing

import polars as pl
import pytest
import sqlalchemy as sa

from pseudonym.errors import StoreVersionError
from pseudonym.openings import Mandate
from pseudonym.roles import domains, settings
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import open_house
from pseudonym.storage import open_store
from pseudonym.storage.schema import REVISIONS
from pseudonym.storage.schema import Role as Owner
from tests import forks
from tests.pseudonym.roles.harness import DOMAIN, Organisation, tls_flags
from tests.pseudonym.storage.older import make_older
from tests.service.harness import Server

NEEDED = REVISIONS[Owner.IDENTITY]
PERSON = pl.DataFrame({"nhs": ["9434765919"]})


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def migrated(data, *flags):
    done = forks.ended("--data", str(data), *flags, "--migrate")
    return done.returncode, done.stderr


def of_role(url, role="identity"):
    return "--role", role, "--database", url


def opened(data, database=None):
    made = settings.resolve(Role.IDENTITY, data, settings.Options(database=database), make=True)
    return open_house(made, DOMAIN)


def content(url):
    """Every table's rows, and what the database says of its version."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        found = {name: connection.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in tables}
    engine.dispose()
    return {name: sorted(map(repr, rows)) for name, rows in found.items()}


def set_version(url, version):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))
    engine.dispose()


def test_an_older_database_is_brought_up_and_its_role_starts(url, tmp_path, data, monkeypatch):
    with opened(data) as house:
        vault, erasure = domains.open_vault(house, {})
        [pid] = vault.add(PERSON, "council")
        erasure.ledger.close()
        make_older(url, house.store, monkeypatch)
    with pytest.raises(StoreVersionError, match="--migrate"):
        open_store(url, "identity")
    code, said = migrated(data, *of_role(url))
    assert (code, said) == (
        0,
        f"identity: the database was of version identity_0001, and is of version {NEEDED} now.\n",
    )
    before = content(url)
    code, said = migrated(data, *of_role(url))
    assert (code, said) == (0, f"identity: there is nothing to do, the database is of version {NEEDED}.\n")
    assert content(url) == before

    Organisation().write_all(tmp_path)
    with Server(data, *of_role(url), *tls_flags(tmp_path, "identity"), "--broker", "localhost:1") as server:
        code, said = migrated(data, *of_role(url))
        assert (code, said) == (1, "The data folder cannot be used: Another server owns it.\n")
        assert server.stop() == 0
    with opened(data, url) as house:
        vault, erasure = domains.open_vault(house, {"evaluation": 10})
        found = vault.find(PERSON, Mandate("alice", "evaluation", "tf-2026"), fields=["nhs"])
        erasure.ledger.close()
    assert found["pid"].to_list() == [pid]


@pytest.mark.parametrize(
    ("maker", "version", "why"),
    [
        ("broker", REVISIONS[Owner.BROKER], "of the broker role, not of the identity role"),
        ("identity", "identity_9999", "of version identity_9999, which this program does not know"),
    ],
)
def test_another_roles_and_a_later_versions_database_stay_as_they_are(url, data, maker, version, why):
    open_store(url, maker).close()
    set_version(url, version)
    before = content(url)
    code, said = migrated(data, *of_role(url))
    assert code == 1
    assert why in said
    assert content(url) == before


def test_a_database_that_is_missing_is_not_made(url, data, tmp_path):
    code, said = migrated(data, *of_role(url))
    assert code == 1
    assert "There is no database yet, or it is empty." in said
    assert not (tmp_path / "store.db").exists()
    code, said = migrated(data / "typo", *of_role(url))
    assert (code, said) == (1, "The data folder cannot be used: No such file or directory\n")
    assert not (data / "typo").exists()


def test_a_database_in_use_and_a_folder_in_use_are_left_alone(sqlite_url, data):
    with open_store(sqlite_url, "identity"):
        set_version(sqlite_url, "identity_0001")
        code, said = migrated(data, *of_role(sqlite_url))
        assert code == 1
        assert "Another server has the database" in said
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        code, said = migrated(data, *of_role(sqlite_url))
        assert (code, said) == (1, "The data folder cannot be used: Another server owns it.\n")
    assert content(sqlite_url)["alembic_version"] == ["('identity_0001',)"]


def test_a_database_that_cannot_be_changed_stays_of_its_version(url, data):
    """Its tables are those of today: the first step of the way from there fails."""
    open_store(url, "identity").close()
    set_version(url, "identity_0001")
    before = content(url)
    code, said = migrated(data, *of_role(url))
    assert code == 1
    assert said.startswith("identity: The tables cannot be changed.")
    assert content(url) == before


@pytest.mark.parametrize("state", ["open", "whole", "destroyed"])
def test_tables_of_extracts_go_only_when_no_extract_is_left(url, data, monkeypatch, state):
    with monkeypatch.context() as patched:
        patched.setitem(REVISIONS, Owner.IDENTITY, "identity_0007")
        with open_store(url, "identity") as older, older.transaction() as connection:
            connection.execute(
                sa.text("INSERT INTO extract VALUES ('npd-1', 'npd', 20000, 20031, :state, NULL)"),
                {"state": state},
            )
    before = content(url)
    code, said = migrated(data, *of_role(url))
    if state == "destroyed":
        assert code == 0
        assert not {"extract", "extract_chunk"} & content(url).keys()
        assert content(url)["store"] == before["store"]
        return
    assert code == 1
    assert "holds extracts of registers" in said
    assert content(url) == before


def test_without_a_role_all_three_are_brought_up_as_far_as_they_are_there(data):
    for role in ("identity", "broker"):
        (data / role).mkdir()
        open_store(f"sqlite:///{data / role / 'store.sqlite'}", role).close()
    (data / "attributes").mkdir()
    code, said = migrated(data)
    assert code == 1
    lines = said.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["identity", "broker", "attributes"]
    assert "There is no database yet" in lines[2]
    with closing(sqlite3.connect(data / "broker" / "store.sqlite")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (
            REVISIONS[Owner.BROKER],
        )
    done = forks.ended("--data", str(data), "--database", "sqlite:///x.db", "--migrate")
    assert done.returncode == 2
    assert "Give --role as well." in done.stderr
