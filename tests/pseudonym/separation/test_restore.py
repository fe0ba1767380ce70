"""An old copy of a store is put back: who was erased since is gone again before anything is served."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa

from pseudonym.attributes_rights import Which
from pseudonym.blind import BlindIndex, field_key
from pseudonym.erasure import What
from pseudonym.errors import InputError, KeyMissingError, LedgerError, SealBrokenError
from pseudonym.identity_erasure import IdentityErasure
from pseudonym.keks import KekRing
from pseudonym.ledger import Ledger
from pseudonym.openings import Mandate, Openings
from pseudonym.people import Delivery, People
from pseudonym.seal import Kek
from pseudonym.standing import Stamp
from pseudonym.storage import open_store
from pseudonym.tracing import WAY_BACK
from pseudonym.urn import Kind
from pseudonym.vault import State, Vault
from tests.pseudonym.separation.parts import (
    PROJECT,
    RECIPIENT,
    WHO,
    Clock,
    Keys,
    Said,
    attributes,
    begun,
    broker,
    column,
    declared,
    everything,
    ids,
    kek,
    ledger_key,
    values,
)


class Copy:
    """A backup of a database: the SQLite file, or what pg_dump makes of it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = sa.make_url(url)
        self.place = folder / "backup"

    @property
    def libpq(self) -> str:
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def take(self) -> None:
        if self.url.get_backend_name() == "sqlite":
            shutil.copyfile(str(self.url.database), self.place)
        else:
            command = ["pg_dump", "--format=plain", f"--file={self.place}", f"--dbname={self.libpq}"]
            subprocess.run(command, check=True)

    def put_back(self) -> None:
        if self.url.get_backend_name() == "sqlite":
            for beside in Path(str(self.url.database)).parent.glob("store.db*"):
                beside.unlink()
            shutil.copyfile(self.place, str(self.url.database))
            return
        with psycopg.connect(self.libpq, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        command = [
            "psql",
            "--quiet",
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
            f"--file={self.place}",
            self.libpq,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def keep(self, tables: dict[str, str], one: bytes) -> dict[str, list[dict[str, object]]]:
        """What an administrator keeps of one subject: the rows of tables whose column has this id."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return {
                table: [
                    dict(row)
                    for row in connection.execute(
                        sa.text(f"SELECT * FROM {table} WHERE {column} = :one"), {"one": one}
                    ).mappings()
                ]
                for table, column in tables.items()
            }

    @contextmanager
    def editing(self) -> Iterator[sa.Connection]:
        """The database as an administrator changes it."""
        with sa.create_engine(self.url, poolclass=sa.NullPool).begin() as connection:
            yield connection

    def insert(self, kept: dict[str, list[dict[str, object]]]) -> None:
        """Put such rows back."""
        with self.editing() as connection:
            for table, rows in kept.items():
                for row in rows:
                    names = ", ".join(row)
                    values = ", ".join(f":{name}" for name in row)
                    connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    def count(self, query: str) -> int:
        """Look at the database without the program."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())


@pytest.fixture
def copy(url, tmp_path):
    return Copy(url, tmp_path)


def test_erased_subjects_of_the_attribute_store(url, tmp_path, copy):
    aids = ids(30)
    sent = values(30).with_columns(column(aid=aids))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", sent)
        store.erasure.erase(PROJECT, column(aid=aids[:1]), WHO)
    copy.take()
    with attributes(url, tmp_path) as store:
        store.erasure.erase(PROJECT, column(aid=aids[1:4]), WHO)
        store.erasure.erase(PROJECT, column(aid=aids[4:6]), WHO)
    copy.put_back()
    assert copy.count("SELECT count(*) FROM a_subject") == 29
    said = Said()
    with attributes(url, tmp_path, said=said) as store:
        for table in ("a_subject", "a_key", "a_row"):
            assert copy.count(f"SELECT count(*) FROM {table}") == 24
        assert set(everything(store)["aid"]) == set(aids[6:])
        assert copy.count("SELECT number FROM ledger") == 6
    if url.startswith("sqlite"):
        data = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
        assert not [aid for aid in aids[:6] if aid in data]
        assert aids[7] in data


def test_a_destroyed_project_of_the_attribute_store(url, tmp_path, copy):
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", values(5).with_columns(column(aid=ids(5))))
    copy.take()
    with attributes(url, tmp_path) as store:
        store.erasure.destroy_project(PROJECT, WHO)
    copy.put_back()
    assert copy.count("SELECT count(*) FROM a_row") == 5
    with attributes(url, tmp_path):
        for table in ("a_subject", "a_key", "a_row", "a_batch", "a_dataset"):
            assert copy.count(f"SELECT count(*) FROM {table}") == 0
        assert copy.count("SELECT count(*) FROM a_project WHERE state = 'ended'") == 1


def test_erased_people_destroyed_epochs_and_projects_of_the_broker(url, tmp_path, copy):
    keys, pids = Keys(), ids(20)
    with broker(url, tmp_path, keys=keys) as role:
        begun(role)
        role.begin_project("other")
        role.take("other", column(row_ref=ids(2), pid=ids(2)))
        role.open_domain(PROJECT, "dwp-extract")
        role.take(PROJECT, column(row_ref=ids(20), pid=pids))
        (people,) = role.members(PROJECT, Kind.PERSON)
        numbers = role.issue(PROJECT, RECIPIENT, Kind.PERSON, people, WHO)
        role.issue(PROJECT, "dwp-extract", Kind.PERSON, people, WHO)
    copy.take()
    with broker(url, tmp_path, keys=keys) as role:
        gone = role.erasure.erase(PROJECT, Kind.PERSON, column(pid=pids[:3]), WHO)["aid"].to_list()
        use = f"urn:{PROJECT}:dwp-extract:1"
        role.erasure.destroy_domain(PROJECT, "dwp-extract", 1, keys.shred(use), WHO)
        role.erasure.destroy_project("other", keys.shred("aid:other"), WHO)
    copy.put_back()
    assert copy.count("SELECT count(*) FROM member") == 22
    assert copy.count("SELECT count(*) FROM urn") == 40
    with broker(url, tmp_path, keys=keys) as role:
        assert copy.count("SELECT count(*) FROM member") == 17
        assert copy.count("SELECT count(*) FROM half") == 17
        assert copy.count("SELECT count(*) FROM urn") == 20
        assert copy.count("SELECT count(*) FROM urn WHERE cover IS NULL") == 3
        found = role.tracing.resolve(PROJECT, RECIPIENT, numbers, WHO, WAY_BACK)
        assert set(found.filter(pl.col("aid").is_null())["urn"]) == set(
            numbers.filter(pl.col("aid").is_in(gone))["urn"]
        )
        told = role.erasure.erased(PROJECT, RECIPIENT)
        assert told.height == 3


def test_a_ledger_older_than_the_store_opens_nothing(url, tmp_path):
    aids = ids(5)
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", values(5).with_columns(column(aid=aids)))
        store.erasure.erase(PROJECT, column(aid=aids[:1]), WHO)
    kept = tmp_path / "kept"
    shutil.copyfile(tmp_path / "attributes.ledger", kept)
    with attributes(url, tmp_path) as store:
        store.erasure.erase(PROJECT, column(aid=aids[1:2]), WHO)
    shutil.copyfile(kept, tmp_path / "attributes.ledger")
    with pytest.raises(LedgerError), attributes(url, tmp_path):
        pass
    (tmp_path / "attributes.ledger").unlink()
    with pytest.raises(LedgerError), attributes(url, tmp_path):
        pass


def test_an_erasure_that_was_cut_off_is_finished_by_the_next_opening(url, tmp_path, monkeypatch):
    aids = ids(5)
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", values(5).with_columns(column(aid=aids)))

        def cut_off(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("pseudonym.attributes_erasure.AttributeErasure.wipe", cut_off)
            with pytest.raises(KeyboardInterrupt):
                store.erasure.erase(PROJECT, column(aid=aids[:2]), WHO)
        assert everything(store).height == 5
    with attributes(url, tmp_path) as store:
        assert everything(store).height == 3
        assert store._rows.followed()[0] == 2


def test_an_erasure_that_failed_is_finished_by_the_next_one(url, tmp_path, monkeypatch):
    aids = ids(5)
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", values(5).with_columns(column(aid=aids)))

        def full(*_):
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patched:
            patched.setattr("pseudonym.attributes_erasure.AttributeErasure.wipe", full)
            with pytest.raises(OSError, match="full"):
                store.erasure.erase(PROJECT, column(aid=aids[:2]), WHO)
        assert everything(store).height == 5  # nobody has put them back: they only have not gone yet
        store.erasure.erase(PROJECT, column(aid=aids[2:3]), WHO)
        assert set(everything(store)["aid"]) == set(aids[3:])
        assert store._rows.followed()[0] == 3


def test_rows_of_an_erased_subject_that_are_put_back_do_not_open_and_go_again(url, tmp_path, copy):
    aids = ids(5)
    tables = {"a_subject": "aid", "a_key": "aid", "a_row": "aid"}
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", values(5).with_columns(column(aid=aids)))
        kept = copy.keep(tables, aids[0])
        store.erasure.erase(PROJECT, column(aid=aids[:1]), WHO)
        assert everything(store).height == 4
        copy.insert(kept)
        with pytest.raises(SealBrokenError, match="put back"):
            everything(store)
        with pytest.raises(SealBrokenError, match="put back"):
            store.rights.copy(PROJECT, aids[:1], WHO, Which.ALL)
    with attributes(url, tmp_path) as store:
        assert set(everything(store)["aid"]) == set(aids[1:])
        for table in tables:
            assert copy.count(f"SELECT count(*) FROM {table}") == 4


@contextmanager
def vault(url: str, folder: Path, keks: Sequence[Kek]) -> Iterator[tuple[Vault, IdentityErasure]]:
    with (
        open_store(url, "identity", clock=Clock()) as store,
        Ledger.open(folder / "identity.ledger", ledger_key("identity")) as ledger,
    ):
        gate = Openings(store, lambda _: None, {"linkage": 1000})
        index = BlindIndex(Fields(), 1, 18)
        opened = Vault(store, keks=KekRing(keks[0], tuple(keks[1:])), index=index, openings=gate)
        yield opened, IdentityErasure.open(opened, store, ledger)


class Fields:
    def field(self, field: str, epoch: int) -> bytes:
        return field_key(bytes(32), field, epoch)


def test_erased_people_of_the_identity_store(url, tmp_path, copy):
    people = pl.DataFrame({"nhs": ["9434765919"] * 20, "sex": ["F"] * 20})
    with vault(url, tmp_path, [kek()]) as (store, erasure):
        pids = store.add(people, "council")
    copy.take()
    with vault(url, tmp_path, [kek()]) as (store, erasure):
        assert erasure.erase([*pids[:3], bytes(16)]) == 3
    copy.put_back()
    assert copy.count("SELECT count(*) FROM identity_row") == 20
    with vault(url, tmp_path, [kek()]) as (store, erasure):
        for table in ("identity_row", "blind_index"):
            assert copy.count(f"SELECT count(*) FROM {table}") == 17
        assert copy.count("SELECT count(*) FROM subject WHERE wrapped IS NOT NULL") == 17
        assert copy.count("SELECT count(*) FROM subject WHERE state = 'erased'") == 3


def test_rows_of_an_erased_person_that_are_put_back_do_not_open_and_go_again(url, tmp_path, copy):
    people = pl.DataFrame({"nhs": ["9434765919", "9434765870", "4505577104"], "sex": ["F"] * 3})
    mandate = Mandate("operator-7", "linkage", "wave 1")
    with vault(url, tmp_path, [kek()]) as (store, erasure):
        gone, *others = store.add(people, "council")
        kept = copy.keep({"subject": "pid", "identity_row": "pid"}, gone)
        (row,) = kept["identity_row"]
        kept |= copy.keep({"blind_index": "row_id"}, row["row_id"])
        assert erasure.erase([gone]) == 1
        with copy.editing() as connection:
            connection.execute(sa.text("DELETE FROM subject WHERE pid = :pid"), {"pid": gone})
        copy.insert(kept)
        # All of it is genuine: only the ledger tells.
        assert store.states([gone]) == {gone: "active"}
        with pytest.raises(SealBrokenError, match="put back"):
            store.open([gone], mandate)
        with pytest.raises(SealBrokenError, match="put back"):
            store.find(people.head(1), mandate, fields=["nhs"])
        assert store.open(others, mandate).height == 2
    with vault(url, tmp_path, [kek()]) as (store, _):
        assert store.states([gone]) == {gone: "erased"}
        assert copy.count("SELECT count(*) FROM identity_row") == 2
        assert copy.count("SELECT count(*) FROM blind_index") == 2
        assert store.find(people.head(1), mandate, fields=["nhs"]).is_empty()


def test_people_are_erased_where_the_key_over_theirs_is_destroyed(tmp_path, sqlite_url):
    records = pl.DataFrame({"nhs": ["9434765919"] * 3}).with_columns(
        unit=pl.Series([bytes([n]) * 16 for n in range(3)], dtype=pl.Binary), protected=pl.lit(False)
    )
    nothing, told = pl.DataFrame(), []
    stamp = Stamp(datetime(2026, 1, 1, tzinfo=UTC), "operator-7", "wave 1")
    with vault(sqlite_url, tmp_path, [kek()]) as (store, _):
        people = People(store)
        pids = people.deliver(Delivery("council", records, nothing, nothing, nothing), stamp).members["pid"]
        with pytest.raises(InputError, match=r"People\.erase"):
            store.erase(pids.to_list()[:1])
        assert set(store.states(pids.to_list()).values()) == {State.ACTIVE}

    def erased(store):
        return [pid for pid, state in store.states(pids.to_list()).items() if state is State.ERASED]

    with vault(sqlite_url, tmp_path, [kek(2)]) as (store, erasure):
        with pytest.raises(KeyMissingError):
            People(store).members(records["unit"])
        erasure._told = lambda count, references: told.append((count, references))
        assert erasure.erase(pids.to_list()[:1]) == 1
        assert told == [(1, [])]
        assert erased(store) == pids.to_list()[:1]
        # And again where the ledger is ahead of what was put back.
        erasure.ledger.append(What.SUBJECT, pids.to_list()[1:2], 20_000)
    with vault(sqlite_url, tmp_path, [kek(2)]) as (store, _):
        assert sorted(erased(store)) == sorted(pids.to_list()[:2])


def test_erased_persons_of_the_register(url, tmp_path, copy):
    records = pl.DataFrame({"nhs": ["9434765919"] * 6}).with_columns(
        unit=pl.Series([bytes([n]) * 16 for n in range(6)], dtype=pl.Binary), protected=pl.lit(False)
    )
    rows = pl.DataFrame({"left": [bytes(16)], "right": [b"\x01" * 16], "weight": [9.0]})
    nothing = pl.DataFrame()
    stamp = Stamp(datetime(2026, 1, 1, tzinfo=UTC), "operator-7", "wave 1")
    with vault(url, tmp_path, [kek()]) as (store, _):
        outcome = People(store).deliver(Delivery("council", records, rows, nothing, nothing), stamp)
        gone = outcome.members["pid"][0]
    copy.take()
    with vault(url, tmp_path, [kek()]) as (store, erasure):
        assert erasure.erase([gone]) == 1
    copy.put_back()
    assert copy.count("SELECT count(*) FROM identity_row") == 6
    with vault(url, tmp_path, [kek()]) as (store, _):
        people = People(store)
        assert copy.count("SELECT count(*) FROM identity_row") == 4
        left = people.members(records["unit"])
        assert sorted(left["unit"]) == sorted(records["unit"][2:])
        # Nor do they come back with the file that they were in.
        again = people.deliver(Delivery("council", records, rows, nothing, nothing), stamp)
        assert again.person is None
        assert sorted(again.members["unit"]) == sorted(records["unit"][2:])
        assert copy.count("SELECT count(*) FROM identity_row") == 4
