"""SQLite: the embedded database, for one server at a time.

Write-ahead log, every commit flushed (synchronous FULL), deleted content overwritten (secure_delete),
foreign keys enforced. The lock is a file beside the database: SQLite's own locks are lost as soon as the
process opens and closes the database's file a second time. It must lie on a disk of this machine.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pseudonym.errors import DuplicateError, StoreError, StoreInUseError

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "cache_size=-131072",  # KiB
    "wal_autocheckpoint=65536",  # pages of 4 KiB: several batches of bulk intake are moved at once
)
_IN_A_STATEMENT = 2_000  # values to insert
_STAGE = "kinlink_stage"
_PATIENCE = 600.0  # seconds for which a change waits for another one: a purge rewrites the whole file
_AT_ONCE = 10_000  # values in one IN list; SQLite allows 32,766 of all kinds

# The driver looks for an adapter of each value of bytes, and finding none costs more than binding the value.
sqlite3.register_adapter(bytes, bytes.__bytes__)


class Sqlite:
    """One database file, locked for as long as this object is open.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path`.

    Raises:
        StoreError: the URL names no file, or the file is no database.
        StoreInUseError: another server has it open.
    """

    name = "sqlite"

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:" or url.query:
            raise StoreError("An SQLite store is a file.", "Write sqlite:///path/to/file.")
        self.path = Path(os.path.realpath(url.database))
        if not self.path.parent.is_dir():
            raise StoreError(f"There is no folder {self.path.parent}.", "Make it first.")
        self._lock = _lock(self.path)

    def look(self) -> sa.Engine:
        """An engine that reads the database without touching it; for a missing file an empty one."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return sa.create_engine("sqlite://")
        with self.path.open("rb") as file:
            start = file.read(16)
        if start != b"SQLite format 3\0":
            raise StoreError(f"{self.path} is not an SQLite database.", "Name another file.")

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)

        return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)

    def engine(self) -> sa.Engine:
        """The engine to work with; the file is made if it is missing, for its owner only."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)), connect_args={"timeout": _PATIENCE}
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def insert(
        self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]], skip: bool
    ) -> int:
        # Many rows in a statement, and SQLite need not be able to undo a part: all is undone.
        count = len(next(iter(columns.values())))
        # What all rows have in common, as their source and day, is given once in a statement.
        same = {name: column[0] for name, column in columns.items() if _is_one(column)}
        own = {name: column for name, column in columns.items() if name not in same}
        given = ", ".join([*"?" * len(same), *(f"column{place + 1}" for place in range(len(own)))])
        start = f'INSERT {"" if skip else "OR FAIL "}INTO "{table.name}" ({_listed([*same, *own])}) '
        start += f"SELECT {given} FROM (VALUES "
        ending = ") WHERE true ON CONFLICT DO NOTHING" if skip else ")"
        row = f"({', '.join('?' * len(own))})" if own else "(1)"
        at_once = max(_IN_A_STATEMENT // len(columns), 1)
        whole = count // at_once * at_once
        inserted = 0
        for rows, firsts in (
            (at_once, range(0, whole, at_once)),
            (count - whole, range(whole, count, at_once)),
        ):
            if firsts:
                sql = f"{start}{', '.join([row] * rows)}{ending}"
                values = [_values(same, own, first, rows) for first in firsts]
                inserted += self._many(connection, sql, values)
        return inserted

    def update(
        self,
        connection: sa.Connection,
        table: sa.Table,
        keys: Sequence[str],
        columns: dict[str, Sequence[Any]],
    ) -> int:
        changed = ", ".join(f'"{name}" = ?' for name in columns if name not in keys)
        where = " AND ".join(f'"{name}" = ?' for name in keys)
        order = [columns[name] for name in columns if name not in keys] + [columns[name] for name in keys]
        sql = f'UPDATE "{table.name}" SET {changed} WHERE {where}'
        return self._many(connection, sql, zip(*order, strict=True))

    def delete(self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]]) -> int:
        where = " AND ".join(f'"{name}" = ?' for name in columns)
        sql = f'DELETE FROM "{table.name}" WHERE {where}'
        return self._many(connection, sql, zip(*columns.values(), strict=True))

    def among(
        self,
        connection: sa.Connection,
        query: sa.Select[Any],
        column: sa.ColumnElement[Any],
        values: Sequence[Any],
    ) -> list[sa.Row[Any]]:
        # Spelt once and given to the driver: SQLAlchemy would make a parameter of each value, for each batch.
        spelt: Any = query.where(sa.text(f"{column.compile(dialect=connection.dialect)} IN (<values>)"))
        compiled = spelt.compile(dialect=connection.dialect)
        before = [compiled.params[name] for name in compiled.positiontup or ()]
        found: list[sa.Row[Any]] = []
        for chunk in _chunks(values):
            sql = str(compiled).replace("<values>", ", ".join("?" * len(chunk)))
            found += connection.exec_driver_sql(sql, (*before, *chunk)).all()
        return found

    def delete_among(
        self, connection: sa.Connection, table: sa.Table, column: sa.ColumnElement[Any], values: Sequence[Any]
    ) -> int:
        gone = 0
        for chunk in _chunks(values):
            sql = f'DELETE FROM "{table.name}" WHERE "{column.name}" IN ({", ".join("?" * len(chunk))})'
            gone += connection.exec_driver_sql(sql, tuple(chunk)).rowcount
        return gone

    def purge(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Rebuild the file without what was deleted, and empty the write-ahead log.

        Rows are put into the order of their keys, so that none tells which were changed together.
        """
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            for table in tables:
                _put_in_order(connection, table)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            raw: Any = connection.connection.driver_connection
            with closing(raw.cursor()) as cursor:
                cursor.execute("VACUUM")
                _empty_log(cursor)

    def purge_table(self, engine: sa.Engine, table: str) -> None:
        """Empty the write-ahead log: the pages themselves are overwritten when something is deleted."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            raw: Any = connection.connection.driver_connection
            with closing(raw.cursor()) as cursor:
                _empty_log(cursor)

    def release(self) -> None:
        os.close(self._lock)

    def _many(self, connection: sa.Connection, sql: str, values: Iterable[Sequence[Any]]) -> int:
        raw: Any = connection.connection.driver_connection
        with closing(raw.cursor()) as cursor:
            try:
                cursor.executemany(sql, values)
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorname in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"):
                    raise DuplicateError("A row with such a key is there already.") from None
                raise StoreError("A row breaks a rule of its table.") from None
            return int(cursor.rowcount)


def _put_in_order(connection: sa.Connection, table: str) -> None:
    """Put the rows of a table that keeps them as they came into the order of their keys, if these are ids."""
    keys = connection.exec_driver_sql(
        "SELECT name, type FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)
    ).all()
    spelt = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).scalar_one()
    if keys[0].type != "BLOB" or spelt.rstrip().endswith("WITHOUT ROWID"):
        return
    for sql in (
        f'CREATE TABLE "{_STAGE}" AS SELECT * FROM "{table}" ORDER BY {_listed(key.name for key in keys)}',
        f'DELETE FROM "{table}"',
        f'INSERT INTO "{table}" SELECT * FROM "{_STAGE}" ORDER BY rowid',
        f'DROP TABLE "{_STAGE}"',
    ):
        connection.exec_driver_sql(sql)


def _empty_log(cursor: sqlite3.Cursor) -> None:
    if cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise StoreError(
            "The write-ahead log cannot be emptied while the database is being read.",
            "Purge again once the reading has ended.",
        )


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[first : first + _AT_ONCE] for first in range(0, len(values), _AT_ONCE))


def _is_one(column: Sequence[Any]) -> bool:
    return len(column) > 0 and column[0] == column[-1] and column.count(column[0]) == len(column)


def _values(same: Mapping[str, Any], own: Mapping[str, Sequence[Any]], first: int, rows: int) -> list[Any]:
    """What all rows have, and then of each of some rows what it has of its own."""
    common, width = len(same), len(own)
    values: list[Any] = [*same.values(), *[None] * (rows * width)]
    for place, column in enumerate(own.values()):
        values[common + place :: width] = column[first : first + rows]
    return values


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _lock(path: Path) -> int:
    handle = os.open(path.with_name(path.name + "-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreInUseError(
            f"Another server has the database at {path} open.",
            "Stop it first, or use PostgreSQL, which several servers can share.",
        ) from None
    return handle


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and then writes may fail; one that says so at once waits.
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")
