"""The queries of register extracts, and nothing about keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import EXTRACT, EXTRACT_CHUNK

Connection = sa.Connection


def one(connection: Connection, extract: str, *, lock: bool = False) -> sa.Row[Any] | None:
    """The row of an extract."""
    query = sa.select(EXTRACT).where(EXTRACT.c.extract == extract)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def add(store: Store, connection: Connection, extract: str, register: str, day: int, destroy: int) -> None:
    """Note a new extract. Raises DuplicateError."""
    row: dict[str, list[Any]] = {
        "extract": [extract],
        "register": [register],
        "received_day": [day],
        "destroy_day": [destroy],
        "state": ["open"],
    }
    store.insert(connection, EXTRACT, row)


def size(connection: Connection, extract: str) -> tuple[int, int]:
    """How many chunks and rows an extract has."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(EXTRACT_CHUNK.c.rows), 0))
    chunks, rows = connection.execute(query.where(EXTRACT_CHUNK.c.extract == extract)).one()
    return int(chunks), int(rows)


def add_chunk(
    store: Store, connection: Connection, extract: str, number: int, rows: int, sealed: bytes
) -> None:
    """Keep a chunk. Raises DuplicateError."""
    row: dict[str, list[Any]] = {"extract": [extract], "number": [number], "rows": [rows], "ct": [sealed]}
    store.insert(connection, EXTRACT_CHUNK, row)


def chunk(connection: Connection, extract: str, number: int) -> bytes | None:
    """A sealed chunk."""
    query = sa.select(EXTRACT_CHUNK.c.ct).where(
        EXTRACT_CHUNK.c.extract == extract, EXTRACT_CHUNK.c.number == number
    )
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else bytes(found)


def finish(connection: Connection, extract: str, seal: bytes) -> None:
    """Note that an extract is whole."""
    connection.execute(
        sa.update(EXTRACT).where(EXTRACT.c.extract == extract).values(state="whole", seal=seal)
    )


def destroy(store: Store, connection: Connection, extract: str) -> None:
    """Delete an extract's chunks."""
    connection.execute(sa.delete(EXTRACT_CHUNK).where(EXTRACT_CHUNK.c.extract == extract))
    connection.execute(
        sa.update(EXTRACT).where(EXTRACT.c.extract == extract).values(state="destroyed", seal=None)
    )
    store.purge_later(connection)


def due(connection: Connection, day: int) -> list[str]:
    """The extracts that are to be destroyed by a day, and are not."""
    query = sa.select(EXTRACT.c.extract).where(EXTRACT.c.destroy_day <= day, EXTRACT.c.state != "destroyed")
    return list(connection.execute(query.order_by(EXTRACT.c.extract)).scalars())
