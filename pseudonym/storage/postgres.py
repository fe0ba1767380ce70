"""PostgreSQL through psycopg 3: for deployments, shared by several servers.

Every commit is flushed whatever the server's default; rows come in by COPY in the binary format. The server
writes many rows while this process prepares the next ones: what was sent is waited for before anything else
is said on the connection, and before the commit, where a row that was refused is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from struct import Struct
from threading import Lock
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa

from pseudonym.errors import DuplicateError, StoreError

_TYPES = {
    sa.LargeBinary: "bytea",
    sa.Text: "text",
    sa.BigInteger: "int8",
    sa.SmallInteger: "int2",
    sa.Integer: "int4",
    sa.Boolean: "bool",
}
_STAGE = "kinlink_stage"
# The binary format of COPY: each row after the number of its fields, each field after its length.
_START, _END, _NULL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff", b"\xff\xff\xff\xff"
_FIXED = {"int8": Struct(">iq"), "int4": Struct(">ii"), "int2": Struct(">ih"), "bool": Struct(">i?")}
_NUMBERS = {"int8": ">i8", "int4": ">i4", "int2": ">i2"}
_LITTLE = 1 << 16
"""Rows of fewer bytes are written at once, unless others are still being written."""
_MOST = 1 << 25
"""Bytes that may wait to be written."""
_SENT = "kinlink_sent"


class Postgres:
    """One database of a PostgreSQL server.

    Args:
        url: `postgresql+psycopg://user@host/database`.

    Raises:
        StoreError: the URL names no database.
    """

    name = "postgresql"

    def __init__(self, url: sa.URL) -> None:
        if not url.database:
            raise StoreError("The URL names no database.", "Write postgresql+psycopg://user@host/database.")
        self._url = url.set(drivername="postgresql+psycopg")

    def look(self) -> sa.Engine:
        """An engine that reads the database as it is, without touching it."""
        return sa.create_engine(
            self._url,
            poolclass=sa.NullPool,
            connect_args={"options": "-c default_transaction_read_only=on"},
        )

    def engine(self) -> sa.Engine:
        engine = sa.create_engine(
            self._url, pool_pre_ping=True, connect_args={"options": "-c synchronous_commit=on"}
        )
        sa.event.listen(engine, "begin", _begin)
        sa.event.listen(engine, "before_cursor_execute", lambda connection, *_: _wait(connection))
        sa.event.listen(engine, "commit", _wait)
        sa.event.listen(engine, "rollback", _give_up)
        return engine

    def insert(
        self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]], skip: bool
    ) -> int:
        if not skip:
            sql, rows = _spelt(f'"{table.name}"', table, columns)
            raw: Any = connection.connection.driver_connection
            if len(rows) < _LITTLE and _SENT not in connection.info:
                _copy(raw, sql, [rows])
            else:
                connection.info.setdefault(_SENT, _Sent(raw)).add(table, sql, rows)
            return len(next(iter(columns.values())))
        self._stage(connection, table, columns)
        names = _listed(columns)
        return connection.exec_driver_sql(
            f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM {_STAGE} ON CONFLICT DO NOTHING'
        ).rowcount

    def update(
        self,
        connection: sa.Connection,
        table: sa.Table,
        keys: Sequence[str],
        columns: dict[str, Sequence[Any]],
    ) -> int:
        self._stage(connection, table, columns)
        changed = ", ".join(f'"{name}" = s."{name}"' for name in columns if name not in keys)
        where = " AND ".join(f't."{name}" = s."{name}"' for name in keys)
        return connection.exec_driver_sql(
            f'UPDATE "{table.name}" t SET {changed} FROM {_STAGE} s WHERE {where}'
        ).rowcount

    def delete(self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]]) -> int:
        self._stage(connection, table, columns)
        where = " AND ".join(f't."{name}" = s."{name}"' for name in columns)
        return connection.exec_driver_sql(
            f'DELETE FROM "{table.name}" t USING {_STAGE} s WHERE {where}'
        ).rowcount

    def among(
        self,
        connection: sa.Connection,
        query: sa.Select[Any],
        column: sa.ColumnElement[Any],
        values: Sequence[Any],
    ) -> list[sa.Row[Any]]:
        if not values:
            return []
        # Spelt and given to the driver in its binary form: SQLAlchemy would make text of each value.
        spelt: Any = query.where(sa.text(f"{column.compile(dialect=connection.dialect)} = <values>"))
        compiled = spelt.compile(dialect=connection.dialect)
        sql = str(compiled).replace("<values>", f"ANY(%(among)b::{_said(column.type)}[])")
        return list(connection.exec_driver_sql(sql, {**compiled.params, "among": list(values)}).all())

    def delete_among(
        self, connection: sa.Connection, table: sa.Table, column: sa.ColumnElement[Any], values: Sequence[Any]
    ) -> int:
        if not values:
            return 0
        sql = f'DELETE FROM "{table.name}" WHERE {column} = ANY(%(among)b::{_said(column.type)}[])'
        return connection.exec_driver_sql(sql, {"among": list(values)}).rowcount

    def purge(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Rewrite the tables without what was deleted, and let the server drop its older log.

        Rows are put into the order of their keys, so that none tells which were changed together.
        """
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in tables:
                connection.exec_driver_sql(f'CLUSTER "{table}" USING "{table}_pkey"')
            with suppress(sa.exc.ProgrammingError):  # where the role may not, the server does so in minutes
                connection.exec_driver_sql("CHECKPOINT")

    def purge_table(self, engine: sa.Engine, table: str) -> None:
        """Rewrite one table without what was deleted."""
        self.purge(engine, [table])

    def release(self) -> None:
        pass

    def _stage(self, connection: sa.Connection, table: sa.Table, columns: dict[str, Sequence[Any]]) -> None:
        """Put rows into a table of this transaction's own."""
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_STAGE}")
        declared = ", ".join(f'"{name}" {_type(table, name)}' for name in columns)
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {_STAGE} ({declared}) ON COMMIT DROP")
        sql, rows = _spelt(_STAGE, table, columns)
        _copy(connection.connection.driver_connection, sql, [rows])


class _Sent:
    """What one transaction has sent and not waited for.

    What comes while other rows are written goes together, each table at once: few turns of two threads.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._writer = ThreadPoolExecutor(1)
        self._sent: list[Future[None]] = []
        self._lock = Lock()
        self._rows: dict[tuple[sa.Table, str], list[bytes]] = {}
        self._bytes = 0

    def add(self, table: sa.Table, sql: str, rows: bytes) -> None:
        """Copy rows of a table once what was sent before is written."""
        with self._lock:
            self._rows.setdefault((table, sql), []).append(rows)
            self._bytes += len(rows)
            many = self._bytes > _MOST
        self._sent.append(self._writer.submit(self._write))
        if many:
            self._sent[-1].result()

    def done(self) -> None:
        """Wait for all of it.

        Raises:
            DuplicateError, StoreError: a row was refused.
        """
        self._writer.shutdown()
        for each in self._sent:
            each.result()

    def _write(self) -> None:
        with self._lock:
            rows, self._rows, self._bytes = self._rows, {}, 0
        if not rows:
            return
        # Rows come together with later ones of other tables: first those that others may refer to.
        order = {table: place for place, table in enumerate(next(iter(rows))[0].metadata.sorted_tables)}
        for (_, sql), some in sorted(rows.items(), key=lambda each: order[each[0][0]]):
            _copy(self._raw, sql, some)


def _wait(connection: sa.Connection) -> None:
    sent = connection.info.pop(_SENT, None)
    if sent is not None:
        sent.done()


def _give_up(connection: sa.Connection) -> None:
    with suppress(DuplicateError, StoreError, psycopg.Error):  # it is undone anyway
        _wait(connection)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _type(table: sa.Table, name: str) -> str:
    return _said(table.c[name].type)


def _said(kind: sa.types.TypeEngine[Any]) -> str:
    return next(said for known, said in _TYPES.items() if isinstance(kind, known))


def _spelt(target: str, table: sa.Table, columns: dict[str, Sequence[Any]]) -> tuple[str, bytes]:
    """What to say to copy rows, and the rows."""
    sql = f"COPY {target} ({_listed(columns)}) FROM STDIN (FORMAT BINARY)"
    return sql, _rows([(_type(table, name), values) for name, values in columns.items()])


def _copy(raw: Any, sql: str, rows: Sequence[bytes]) -> None:
    try:
        with raw.cursor() as cursor, cursor.copy(sql) as stream:
            stream.write(b"".join([_START, *rows, _END]))
    except psycopg.errors.UniqueViolation:
        raise DuplicateError("A row with such a key is there already.") from None
    except psycopg.errors.IntegrityError:
        raise StoreError("A row breaks a rule of its table.") from None


def _rows(columns: Sequence[tuple[str, Sequence[Any]]]) -> bytes:
    """Rows for COPY, without its start and end, from their columns, each with its type."""
    number = len(columns).to_bytes(2, "big")
    fixed = [_array(said, values) for said, values in columns]
    whole = [each for each in fixed if each is not None]
    if len(whole) == len(fixed):
        rows = np.empty(
            len(whole[0]),
            [
                ("fields", "V2"),
                *(
                    (f"{i}{part}", dtype)
                    for i, each in enumerate(whole)
                    for part, dtype in (("size", ">i4"), ("", each.dtype))
                ),
            ],
        )
        rows["fields"] = np.frombuffer(number, "V2")
        for i, each in enumerate(whole):
            rows[f"{i}size"], rows[f"{i}"] = each.dtype.itemsize, each
        return rows.tobytes()
    fields = [_fields(said, values) for said, values in columns]
    each_row = zip(map(number.__add__, fields[0]), *fields[1:], strict=True)
    return b"".join(chain.from_iterable(each_row))


def _array(said: str, values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """A column of which every value has the same size, and none is null."""
    if not values:
        return None
    if said in _NUMBERS:
        return None if None in values else np.array(values, dtype=_NUMBERS[said])
    octets: Sequence[bytes] = values
    if said == "text":
        (first, *others) = set(values)
        octets = [] if others or first is None else [first.encode()]
    elif said != "bytea" or None in values:
        return None
    sizes = set(map(len, octets))
    if len(sizes) != 1 or sizes == {0}:
        return None
    (size,) = sizes
    found = np.frombuffer(b"".join(octets), dtype=f"V{size}")
    return np.broadcast_to(found, len(values)) if said == "text" else found


def _fields(said: str, values: Sequence[Any]) -> list[bytes]:
    """A column's values as fields of COPY."""
    if said in _FIXED:
        pack, size = _FIXED[said].pack, _FIXED[said].size - 4
        return [_NULL if value is None else pack(size, value) for value in values]
    octets: Sequence[bytes | None] = values
    if said == "text":  # names and codes, of which most are the same
        encoded = {value: None if value is None else value.encode() for value in set(values)}
        octets = [encoded[value] for value in values]
    if None not in octets:
        sizes = set(map(len, octets))  # type: ignore[arg-type]
        before = {size: size.to_bytes(4, "big") for size in sizes}
        return [before[len(value)] + value for value in octets]  # type: ignore[operator,arg-type]
    sizes = {len(value) for value in octets if value is not None}
    before = {size: size.to_bytes(4, "big") for size in sizes}
    return [_NULL if value is None else before[len(value)] + value for value in octets]


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("write") and options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
