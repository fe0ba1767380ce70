"""Opening a store, its transactions, and rows in bulk: the same on both databases.

Example:
    with open_store("sqlite:///identity.db", "identity") as store, store.transaction() as connection:
        store.insert(connection, SUBJECT, {"pid": pids, "kind": kinds, …})
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Self

import sqlalchemy as sa

from pseudonym import clock
from pseudonym.errors import ClockError, StoreError
from pseudonym.storage import versions
from pseudonym.storage.common import STORE
from pseudonym.storage.postgres import Postgres
from pseudonym.storage.schema import METADATA, REVISIONS, Role
from pseudonym.storage.sqlite import Sqlite

__all__ = ["Role", "Store", "migrate", "open_store"]

CLOCK_TOLERANCE = 300
"""Seconds by which the clock may be behind what the database has seen: time servers correct clocks."""

_TOUCH_EVERY = 60  # seconds
_LOCK = 0x6B696E6C  # for PostgreSQL: one server at a time looks at a database's version and changes it

Clock = Callable[[], float]


class Backend(Protocol):
    """What a database must be able to do; `Store` says what each means."""

    name: str

    def look(self) -> sa.Engine: ...
    def engine(self) -> sa.Engine: ...
    def insert(
        self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]], skip: bool
    ) -> int: ...
    def update(
        self,
        connection: sa.Connection,
        table: sa.Table,
        keys: Sequence[str],
        columns: dict[str, Sequence[Any]],
    ) -> int: ...
    def delete(
        self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]]
    ) -> int: ...
    def among(
        self,
        connection: sa.Connection,
        query: sa.Select[Any],
        column: sa.ColumnElement[Any],
        values: Sequence[Any],
    ) -> list[sa.Row[Any]]: ...
    def delete_among(
        self, connection: sa.Connection, table: sa.Table, column: sa.ColumnElement[Any], values: Sequence[Any]
    ) -> int: ...
    def purge(self, engine: sa.Engine, tables: Sequence[str]) -> None: ...
    def purge_table(self, engine: sa.Engine, table: str) -> None: ...
    def release(self) -> None: ...


class Store:
    """An open database of one role; its methods may be called from any thread."""

    def __init__(self, backend: Backend, engine: sa.Engine, role: Role, clock: Clock) -> None:
        """Not to be called: use `open_store`."""
        self.role = role
        self.backend = backend.name
        self._backend = backend
        self._engine = engine
        self._clock = clock
        self._store = METADATA[role].tables[STORE]
        self._touching = threading.Lock()
        self._touched = 0

    def __repr__(self) -> str:
        return f"Store(role={self.role.value!r}, backend={self.backend!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, and let another server open the database."""
        self._engine.dispose()
        self._backend.release()

    def now(self) -> int:
        """Seconds since 1970, as this store's clock has it."""
        return int(self._clock())

    def today(self) -> int:
        """Days since 1970 (UTC)."""
        return self.now() // 86_400

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that is on disk once the block has ended, or undone if it raised.

        On SQLite there is one at a time, and others wait. On PostgreSQL lock the rows that are read to be
        changed (`with_for_update`).

        Raises:
            ClockError: the clock was set back; nothing is changed from then on.
        """
        self._touch()
        with self._engine.connect().execution_options(write=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database, and cannot change it on PostgreSQL."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def insert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        columns: Mapping[str, Sequence[Any]],
        *,
        skip_existing: bool = False,
    ) -> int:
        """Insert rows in bulk, given by column.

        Args:
            connection: of a `transaction`.
            table: one of the role's.
            columns: the values of each column, as many for each; a column left out is null.
            skip_existing: leave out rows whose key is there already, in the table or earlier in the batch.

        Returns:
            How many rows were inserted.

        Raises:
            DuplicateError: a key is there already. The transaction cannot go on.
            StoreError: a row breaks another rule of the table. The transaction cannot go on.
                On PostgreSQL, where many rows were sent, either may come at the next statement or the end.
            ValueError: the columns are of unlike length.
        """
        if len(set(map(len, columns.values()))) > 1:
            raise ValueError("There is one value of each column for every row.")
        return self._backend.insert(connection, table, dict(columns), skip_existing)

    def update(
        self,
        connection: sa.Connection,
        table: sa.Table,
        keys: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> int:
        """Change rows in bulk, given by column.

        Args:
            connection: of a `transaction`.
            table: one of the role's.
            keys: names of the columns that say which row is meant; together unique.
            columns: their values, and the new values of others.

        Returns:
            How many rows were changed.
        """
        return self._backend.update(connection, table, keys, dict(columns))

    def among(
        self,
        connection: sa.Connection,
        query: sa.Select[Any],
        column: sa.ColumnElement[Any],
        values: Sequence[Any],
    ) -> list[sa.Row[Any]]:
        """The rows of a query whose column has one of the values, however many these are; in any order.

        Args:
            connection: of a `transaction` or `read`.
            query: without order or limit.
            column: of bytes, text or whole numbers.
            values: without repetition, or rows may come twice.
        """
        return self._backend.among(connection, query, column, values)

    def delete(self, connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]]) -> int:
        """Delete rows in bulk, given by column; what they held stays until `purge`.

        Args:
            connection: of a `transaction`.
            table: one of the role's.
            columns: of those that say which row is meant, the values.

        Returns:
            How many rows went.
        """
        return self._backend.delete(connection, table, dict(columns))

    def delete_among(self, connection: sa.Connection, column: sa.Column[Any], values: Sequence[Any]) -> int:
        """Delete the rows whose column has one of the values. What they held stays until `purge`.

        Returns:
            How many rows went.
        """
        return self._backend.delete_among(connection, column.table, column, values)

    def purge_later(self, connection: sa.Connection) -> None:
        """Note in a transaction that deletes: what it deletes is to be purged, also after a crash."""
        connection.execute(sa.update(self._store).values(deletions=self._store.c.deletions + 1))

    def purge(self) -> None:
        """Make what was deleted unreadable in the database's files, and empty SQLite's write-ahead log.

        The whole database is rewritten, and on PostgreSQL its tables are locked meanwhile: a minute or so
        for each GB. No order of rows tells afterwards which were changed together. Delete many at a time,
        then purge once. After a crash, opening the store does it.

        Danger: copies outside of the database's files remain: backups, snapshots, PostgreSQL's log and its
        archive, and blocks that a journalling or flash file system has put aside. What they hold dies with
        the KEK.

        Raises:
            StoreError: the database is being read; purge again.
        """
        with self.read() as connection:
            deletions = connection.execute(sa.select(self._store.c.deletions)).scalar_one()
        self._backend.purge(self._engine, list(METADATA[self.role].tables))
        with self.transaction() as connection:
            # Not what was deleted meanwhile, nor less than another server has purged.
            behind = self._store.c.purged < deletions
            connection.execute(sa.update(self._store).where(behind).values(purged=deletions))

    def purge_table(self, table: sa.Table) -> None:
        """Make what was deleted from one small table unreadable, at once: as `purge`, without the others.

        On SQLite deleted content is overwritten as it goes, and only the write-ahead log has to be emptied. A
        crash before this has returned leaves it undone: whoever deletes so repeats it.

        Raises:
            StoreError: the database is being read; repeat it.
        """
        self._backend.purge_table(self._engine, table.name)

    def purge_if_due(self) -> bool:
        """Do what `purge_later` noted, if it is not done yet; whether there was anything to do."""
        with self.read() as connection:
            ahead = self._store.c.deletions > self._store.c.purged
            due = connection.execute(sa.select(self._store.c.one).where(ahead)).first() is not None
        if due:
            self.purge()
        return due

    def _touch(self) -> None:
        """Write down the time once a minute, so that a clock set back is noticed."""
        with self._touching:
            now = self.now()
            if now < self._touched - CLOCK_TOLERANCE:
                raise _clock_error()
            if now < self._touched + _TOUCH_EVERY:
                return
            with self._engine.connect().execution_options(write=True) as connection, connection.begin():
                seen = connection.execute(sa.select(self._store.c.last_seen).with_for_update()).scalar_one()
                if now < seen - CLOCK_TOLERANCE:
                    raise _clock_error()
                if now > seen:
                    connection.execute(sa.update(self._store).values(last_seen=now))
            self._touched = max(now, seen)


def open_store(url: str, role: Role | str, *, clock: Clock = clock.seconds) -> Store:
    """Open a role's database, or make its tables in an empty one.

    Args:
        url: `sqlite:///path` (a file of this machine, one server at a time) or
            `postgresql+psycopg://user@host/database`.
        role: `identity`, `broker` or `attributes`.
        clock: seconds since 1970; for tests.

    Raises:
        StoreVersionError: the database is of another version (see `migrate`) or another role's.
        StoreInUseError: another server has the SQLite file open.
        ClockError: the clock is behind what the database has seen.
        StoreError: it is no database of Kinlink's, or cannot be reached.
    """
    role = Role(role)
    backend = _backend(url)
    try:
        _check(backend, role, clock)
        engine = backend.engine()
        try:
            with _deciding(engine) as connection:
                if versions.is_empty(connection):
                    versions.make(connection, role, int(clock()))
                versions.check(connection, role)  # on PostgreSQL another server may have been faster
        except sa.exc.DBAPIError as error:
            engine.dispose()
            raise StoreError(
                "The tables cannot be made or read.", "See that the disk has room and the rights are right."
            ) from error
        store = Store(backend, engine, role, clock)
        store.purge_if_due()
    except BaseException:
        backend.release()
        raise
    return store


def migrate(url: str, role: Role | str) -> tuple[str, str]:
    """Bring a role's database to the version this program needs. Back it up first: there is no way back.

    On SQLite and PostgreSQL all of it happens, or none.

    Returns:
        The version that it was of, and the one that it is of: the same if there was nothing to do.

    Raises:
        StoreVersionError: the database is of a later version, or another role's.
        StoreInUseError: another server has the SQLite file open.
        StoreError: it is missing or empty, is no database of Kinlink's, cannot be reached or changed, or
            holds what this version has no place for.
    """
    role = Role(role)
    backend = _backend(url)
    try:
        with _looking(backend) as connection:
            found = versions.check_known(connection, role)
        if found != REVISIONS[role]:
            engine = backend.engine()
            try:
                with _deciding(engine) as connection:
                    versions.bring_up(connection, role)
            except sa.exc.DBAPIError as error:
                raise StoreError(
                    "The tables cannot be changed.", "See that the disk has room and the rights are right."
                ) from error
            finally:
                engine.dispose()
    finally:
        backend.release()
    return found, REVISIONS[role]


def _backend(url: str) -> Backend:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise StoreError("The store's URL cannot be read.", _URLS) from None
    if parsed.get_backend_name() == "sqlite":
        return Sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return Postgres(parsed)
    raise StoreError("A store is on SQLite or PostgreSQL.", _URLS)


_URLS = "Write sqlite:///path/to/file or postgresql+psycopg://user@host/database."


def _check(backend: Backend, role: Role, clock: Clock) -> None:
    """Refuse what may not be opened, before anything is changed."""
    with _looking(backend) as connection:
        if versions.is_empty(connection):
            return
        versions.check(connection, role)
        seen = connection.execute(sa.text("SELECT last_seen FROM store")).scalar_one()
        if clock() < seen - CLOCK_TOLERANCE:
            raise _clock_error()


@contextmanager
def _looking(backend: Backend) -> Iterator[sa.Connection]:
    engine = backend.look()
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.OperationalError as error:
        # The driver's message may name the host, the user and the database, and is for the log only.
        raise StoreError(
            "The database cannot be reached or read.",
            "See that it runs, and that the URL and the rights are right.",
        ) from error
    finally:
        engine.dispose()


@contextmanager
def _deciding(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        if engine.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        yield connection


def _clock_error() -> ClockError:
    return ClockError(
        "This machine's clock is behind what the database has already seen.",
        "Put the clock right; periods of retention and quotas depend on it.",
    )
