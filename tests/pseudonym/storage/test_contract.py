"""What every store keeps to, on every database."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pseudonym import errors
from pseudonym.storage import Role, migrate, open_store, postgres, versions
from pseudonym.storage.schema import METADATA, REVISIONS
from pseudonym.storage.schema_identity import BLIND_INDEX, DISCLOSURE, IDENTITY_ROW, RIGHTS_ANSWER, SUBJECT

ROLES = list(Role)
Columns = dict[str, list[Any]]


def pid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def subjects(numbers):
    count = len(numbers)
    return {
        "pid": [pid(n) for n in numbers],
        "kind": ["person"] * count,
        "state": ["active"] * count,
        "version": [1] * count,
        "created_day": [20_000] * count,
    }


def answers(numbers):
    """Answers to a request that is not there."""
    count = len(numbers)
    halves = [str(number) for number in numbers]
    return {"case_id": ["none"] * count, "half": halves, "day": [1] * count, "ct": [b"c"] * count}


def content(url):
    """Everything in the database, as the database's own client sees it."""
    engine = sa.create_engine(url)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        rows = {
            name: sorted(map(repr, connection.execute(sa.select(table))))
            for name, table in metadata.tables.items()
        }
    engine.dispose()
    return rows


@pytest.mark.parametrize("role", ROLES)
def test_the_tables_made_are_those_declared(url, role):
    with open_store(url, role) as store, store.read() as connection:
        context = MigrationContext.configure(connection)
        assert (
            compare_metadata(context, METADATA[role])
            == [
                # Alembic's own table is not among those declared.
            ]
        )


@pytest.mark.parametrize("role", ROLES)
def test_the_version_needed_is_the_last_one_there_is(role):
    script = ScriptDirectory.from_config(versions._config(role))
    assert script.get_heads() == [REVISIONS[role]]


def test_what_a_transaction_wrote_is_there_after_reopening(url):
    with open_store(url, "identity") as store, store.transaction() as connection:
        assert store.insert(connection, SUBJECT, subjects(range(3000))) == 3000
    with open_store(url, "identity") as store, store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(SUBJECT)).scalar_one() == 3000
        row = connection.execute(sa.select(SUBJECT).where(SUBJECT.c.pid == pid(7))).one()
    assert (row.kind, row.state, row.version, row.created_day) == ("person", "active", 1, 20_000)
    assert row.superseded_by is None


def test_a_transaction_that_raises_leaves_nothing(url):
    with open_store(url, "identity") as store:
        with pytest.raises(ZeroDivisionError), store.transaction() as connection:
            print(store.insert(connection, SUBJECT, subjects([1])) // 0)
        with store.read() as connection:
            assert connection.execute(sa.select(SUBJECT)).all() == []


def test_a_key_that_is_there_already(url):
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            store.insert(connection, SUBJECT, subjects([1, 2]))
        with pytest.raises(errors.DuplicateError), store.transaction() as connection:
            store.insert(connection, SUBJECT, subjects([3, 2]))
        with store.transaction() as connection:
            assert store.insert(connection, SUBJECT, subjects([2, 4, 4]), skip_existing=True) == 1
            assert store.insert(connection, SUBJECT, subjects([]), skip_existing=True) == 0
            assert store.insert(connection, SUBJECT, subjects([])) == 0
        with store.read() as connection:
            found = connection.execute(sa.select(SUBJECT.c.pid).order_by(SUBJECT.c.pid)).scalars().all()
    assert found == [pid(1), pid(2), pid(4)]


def test_a_row_among_many_that_is_refused_undoes_the_transaction(url):
    many = subjects(range(3000))
    twice = {name: [*values, values[7]] for name, values in subjects(range(5000, 8000)).items()}
    total = sa.select(sa.func.count()).select_from(SUBJECT)
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            assert store.insert(connection, SUBJECT, many) == 3000
            assert connection.execute(total).scalar_one() == 3000  # the next question knows of them
        for refused in (many, twice):
            with pytest.raises(errors.DuplicateError), store.transaction() as connection:
                store.insert(connection, SUBJECT, refused)
            with store.read() as connection:
                assert connection.execute(total).scalar_one() == 3000
        with pytest.raises(errors.StoreError), store.transaction() as connection:
            store.insert(connection, RIGHTS_ANSWER, answers(range(3001)))
        with store.read() as connection:
            assert connection.execute(sa.select(RIGHTS_ANSWER)).all() == []


def test_many_rows_may_refer_to_rows_that_came_just_before(url, monkeypatch):
    copy, all_given = postgres._copy, threading.Event()

    def copy_later(*arguments):
        assert all_given.wait(60)
        copy(*arguments)

    monkeypatch.setattr(postgres, "_copy", copy_later)
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            for first in range(0, 9000, 3000):
                numbers = range(first, first + 3000)
                store.insert(connection, SUBJECT, subjects(numbers))
                ids = [pid(n) for n in numbers]
                store.insert(connection, DISCLOSURE, {"row_id": ids, "pid": ids, "ct": [bytes(99)] * 3000})
            all_given.set()
        with store.read() as connection:
            found = connection.execute(sa.select(DISCLOSURE.c.pid)).scalars().all()
    assert sorted(map(bytes, found)) == [pid(n) for n in range(9000)]


def test_columns_of_unlike_length_are_refused(url):
    with open_store(url, "identity") as store:
        for entries, ids in (
            ([1, 2], [pid(1)]),
            ([1], [pid(1), pid(2)]),
            ([1, 1], [pid(1)] * 3),
            ([], [pid(1)]),
        ):
            with pytest.raises(ValueError, match="every row"), store.transaction() as connection:
                store.insert(connection, BLIND_INDEX, {"entry": entries, "row_id": ids})
        with store.read() as connection:
            assert connection.execute(sa.select(BLIND_INDEX)).all() == []


@pytest.mark.parametrize("count", [1, 2, 249, 250, 251, 900])
def test_rows_keep_what_they_have_in_common_and_of_their_own(url, count):
    given = {
        **subjects(range(count)),
        "superseded_by": [None] * count,
        "kid": [None if n % 3 else f"{n:016}" for n in range(count)],
        "wrapped": [bytes([n % 251]) * 61 for n in range(count)],
    }
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            assert store.insert(connection, SUBJECT, given) == count
        with store.read() as connection:
            rows = connection.execute(sa.select(SUBJECT).order_by(SUBJECT.c.pid)).all()
    assert {name: [getattr(row, name) for row in rows] for name in given} == given
    assert {row.seal for row in rows} == {None}


def test_a_transaction_that_raises_after_many_rows_leaves_nothing(url):
    with open_store(url, "identity") as store:
        with pytest.raises(ZeroDivisionError), store.transaction() as connection:
            print(store.insert(connection, SUBJECT, subjects(range(3000))) // 0)
        with store.transaction() as connection:
            assert connection.execute(sa.select(SUBJECT)).all() == []
            store.insert(connection, SUBJECT, subjects([1]))


def test_a_row_without_what_it_refers_to_is_refused(url):
    with open_store(url, "identity") as store:
        with pytest.raises(errors.StoreError), store.transaction() as connection:
            store.insert(connection, RIGHTS_ANSWER, answers([1]))
        missing = {name: values for name, values in subjects([1]).items() if name != "state"}
        with pytest.raises(errors.StoreError), store.transaction() as connection:
            store.insert(connection, SUBJECT, missing)


def test_every_type_of_value_comes_back(url):
    odd = b"\x00\xff\n\t\\'\"\x80" * 40
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            store.insert(connection, SUBJECT, subjects([1]))
            rows: Columns = {
                "row_id": [pid(9)],
                "version": [2**31 - 1],
                "pid": [pid(1)],
                "source": ["Ĉu 'ĝi' \\ \" 水"],
                "received_day": [-1],
                "tags": [b""],
                "ct": [odd],
            }
            store.insert(connection, IDENTITY_ROW, rows)
            index: Columns = {"entry": [(5 << 40) + (31 << 32) + 2**31 - 1], "row_id": [pid(9)]}
            store.insert(connection, BLIND_INDEX, index)
        with store.read() as connection:
            row = connection.execute(sa.select(IDENTITY_ROW)).one()
            assert tuple(row) == tuple(values[0] for values in rows.values())
            found = connection.execute(sa.select(BLIND_INDEX)).one()
            assert tuple(found) == tuple(values[0] for values in index.values())


def test_rows_are_changed_found_and_deleted_in_bulk(url):
    numbers = list(range(2500))
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            store.insert(connection, SUBJECT, subjects(numbers))
        some = [pid(n) for n in numbers[::2]]
        with store.transaction() as connection:
            changed: Columns = {
                "pid": [*some, pid(9999)],
                "state": ["restricted"] * 1251,
                "version": [2] * 1251,
            }
            assert store.update(connection, SUBJECT, ["pid"], changed) == 1250
            assert store.update(connection, SUBJECT, ["pid"], {"pid": [], "state": []}) == 0
        with store.read() as connection:
            query = sa.select(SUBJECT.c.pid, SUBJECT.c.version).where(SUBJECT.c.state == "restricted")
            found = store.among(connection, query, SUBJECT.c.pid, [pid(n) for n in range(2000)])
            assert sorted(found) == [(pid(n), 2) for n in range(0, 2000, 2)]
            assert store.among(connection, query, SUBJECT.c.pid, []) == []
            by_number = store.among(connection, query, SUBJECT.c.version, [2, 3])
            assert len(by_number) == 1250
            assert len(store.among(connection, query, SUBJECT.c.state, ["restricted", "active"])) == 1250
        with store.transaction() as connection:
            assert store.delete_among(connection, SUBJECT.c.pid, [pid(n) for n in range(2400)]) == 2400
            assert store.delete_among(connection, SUBJECT.c.pid, []) == 0
            several: Columns = {"pid": [pid(2400), pid(2401), pid(7)], "state": ["restricted"] * 3}
            assert store.delete(connection, SUBJECT, several) == 1
            assert store.delete(connection, SUBJECT, {"pid": [], "state": []}) == 0
        with store.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(SUBJECT)).scalar_one() == 99


def test_a_reader_sees_one_state(url):
    with open_store(url, "identity") as store:
        with store.transaction() as connection:
            store.insert(connection, SUBJECT, subjects([1]))
        with store.read() as reading:
            before = reading.execute(sa.select(SUBJECT.c.pid)).all()
            with store.transaction() as connection:
                store.insert(connection, SUBJECT, subjects([2]))
            assert reading.execute(sa.select(SUBJECT.c.pid)).all() == before


def test_many_threads_write(url):
    with open_store(url, "identity") as store:
        failed = []

        def work(start):
            try:
                for n in range(start, start + 10):
                    with store.transaction() as connection:
                        store.insert(connection, SUBJECT, subjects([n]))
            except Exception as error:  # whatever it is, the test shows it
                failed.append(error)

        threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        with store.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(SUBJECT)).scalar_one() == 40


def test_another_roles_database_is_refused(url):
    open_store(url, "broker").close()
    before = content(url)
    with pytest.raises(errors.StoreVersionError, match="broker role, not of the identity role"):
        open_store(url, "identity")
    with pytest.raises(errors.StoreVersionError):
        migrate(url, "identity")
    assert content(url) == before
    open_store(url, "broker").close()


@pytest.mark.parametrize("version", ["identity_9999", "identity_0000"])
def test_another_versions_database_is_refused(url, version):
    open_store(url, "identity").close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))
    engine.dispose()
    before = content(url)
    with pytest.raises(errors.StoreVersionError, match=version):
        open_store(url, "identity")
    with pytest.raises(errors.StoreVersionError, match="does not know"):
        migrate(url, "identity")
    assert content(url) == before


def test_another_programs_database_is_refused(url):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE recipes (name text)"))
        connection.execute(sa.text("INSERT INTO recipes VALUES ('bread')"))
    engine.dispose()
    before = content(url)
    with pytest.raises(errors.StoreError, match="another program"):
        open_store(url, "identity")
    assert content(url) == before


def test_migrating_what_is_up_to_date_changes_nothing(url):
    open_store(url, "identity").close()
    before = content(url)
    migrate(url, "identity")
    assert content(url) == before


def test_a_clock_set_back_is_refused(url):
    now = [1_700_000_000.0]
    store = open_store(url, "identity", clock=lambda: now[0])
    now[0] += 3600
    with store.transaction():
        pass
    now[0] -= 299  # time servers do that
    with store.transaction():
        pass
    now[0] -= 2
    with pytest.raises(errors.ClockError), store.transaction():
        pass
    store.close()
    before = content(url)
    with pytest.raises(errors.ClockError):
        open_store(url, "identity", clock=lambda: now[0])
    assert content(url) == before
    open_store(url, "identity", clock=lambda: now[0] + 2).close()


def test_what_is_due_is_purged_when_the_store_is_opened(url, monkeypatch):
    store = open_store(url, "identity")
    with store.transaction() as connection:
        store.purge_later(connection)
    store.close()
    with open_store(url, "identity") as store:
        assert not store.purge_if_due()


def test_two_open_one_empty_database_at_once(postgres_url):
    stores, failed = [], []

    def work():
        try:
            stores.append(open_store(postgres_url, "identity"))
        except Exception as error:  # whatever it is, the test shows it
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert not failed
    assert len(stores) == 4


def test_a_second_server_on_one_file_is_refused(sqlite_url, tmp_path):
    with open_store(sqlite_url, "identity") as store:
        with store.transaction() as connection:
            store.insert(connection, SUBJECT, subjects([1]))
        link = tmp_path / "another.db"
        link.symlink_to(tmp_path / "store.db")
        for place in (sqlite_url, f"sqlite:///{link}"):
            for opening in (open_store, migrate):
                with pytest.raises(errors.StoreInUseError):
                    opening(place, "identity")
    with open_store(sqlite_url, "identity") as store, store.read() as connection:
        assert len(connection.execute(sa.select(SUBJECT)).all()) == 1


@pytest.mark.parametrize("refused", ["another program", "another role", "no database"])
def test_a_refused_file_keeps_every_byte(refused, sqlite_url, tmp_path):
    path = tmp_path / "store.db"
    if refused == "no database":
        path.write_bytes(b"a letter to the editor" * 100)
    elif refused == "another role":
        open_store(sqlite_url, "broker").close()
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE recipes (name text)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(errors.StoreError):
        open_store(sqlite_url, "identity")
    assert path.read_bytes() == before
    for left in set(tmp_path.iterdir()) - {path, tmp_path / "store.db-lock", tmp_path / "store.db-shm"}:
        assert (left.name, left.stat().st_size) == ("store.db-wal", 0)


def test_the_file_is_its_owners_and_safely_set(sqlite_url, tmp_path):
    with open_store(sqlite_url, "identity") as store, store.transaction() as connection:
        store.insert(connection, SUBJECT, subjects([1]))
        for pragma, expected in {
            "journal_mode": "wal",
            "synchronous": 2,
            "secure_delete": 1,
            "foreign_keys": 1,
            "trusted_schema": 0,
        }.items():
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == expected
        for path in tmp_path.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path.name


def test_postgresql_flushes_each_commit_whatever_the_default(postgres_url):
    with open_store(postgres_url, "identity") as store, store.transaction() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    with open_store(postgres_url, "identity") as store, store.read() as connection:
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root@localhost/x",
        "not a url",
        "sqlite:////no/such/folder/store.db",
        "postgresql+psycopg://postgres@127.0.0.1:5432",
        "postgresql+psycopg://nobody:hunter2@127.0.0.1:1/none",
    ],
)
def test_urls_that_lead_nowhere(url):
    with pytest.raises(errors.StoreError) as caught:
        open_store(url, "identity")
    assert "hunter2" not in str(caught.value)
