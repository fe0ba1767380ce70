"""The queries of the register of persons and families: sealed rows, and nothing about keys.

A transaction of a register begins with `lock`: one server at a time changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import (
    OUTBOX,
    REGISTER_EVENT,
    REGISTER_HEAD,
    REGISTER_KEY,
    REGISTER_PART,
    REGISTER_PLACE,
)

Connection = sa.Connection
_EVENTS_AT_ONCE = 64


def keys(connection: Connection, *, not_under: str | None = None, lock: bool = False) -> list[sa.Row[Any]]:
    """The register's wrapped keys: pid (what they are bound to), kid, wrapped."""
    query = sa.select(REGISTER_KEY.c.key.label("pid"), REGISTER_KEY.c.kid, REGISTER_KEY.c.wrapped)
    if not_under is not None:
        query = query.where(REGISTER_KEY.c.kid != not_under)
    return list(connection.execute(query.with_for_update() if lock else query))


def add_key(store: Store, connection: Connection, key: bytes, kid: str, wrapped: bytes) -> None:
    """Keep a wrapped key, unless there is one."""
    row: dict[str, list[Any]] = {"key": [key], "kid": [kid], "wrapped": [wrapped]}
    store.insert(connection, REGISTER_KEY, row, skip_existing=True)


def put_keys(
    store: Store, connection: Connection, keys: Sequence[bytes], kid: str, wrapped: list[bytes]
) -> None:
    """Keep keys as they are wrapped now."""
    changed: dict[str, Sequence[Any]] = {"key": keys, "kid": [kid] * len(keys), "wrapped": wrapped}
    store.update(connection, REGISTER_KEY, ["key"], changed)


def begin(store: Store, connection: Connection, heads: Mapping[str, bytes]) -> None:
    """Begin at number 0, whatever has no head yet."""
    rows: dict[str, list[Any]] = {"kind": list(heads), "number": [0] * len(heads), "ct": list(heads.values())}
    store.insert(connection, REGISTER_HEAD, rows, skip_existing=True)


def heads(connection: Connection, *, lock: bool = False) -> dict[str, tuple[int, bytes]]:
    """The number of the last event, or the last message, of each kind, and what is sealed with it."""
    query = sa.select(REGISTER_HEAD).order_by(REGISTER_HEAD.c.kind)
    found = connection.execute(query.with_for_update() if lock else query)
    return {row.kind: (row.number, bytes(row.ct)) for row in found}


def put_head(connection: Connection, kind: str, number: int, ct: bytes) -> None:
    """Note the last number of a kind."""
    connection.execute(
        sa.update(REGISTER_HEAD).where(REGISTER_HEAD.c.kind == kind).values(number=number, ct=ct)
    )


def add_event(store: Store, connection: Connection, kind: str, number: int, ct: bytes) -> None:
    """Keep an event. Raises DuplicateError."""
    row: dict[str, list[Any]] = {"kind": [kind], "number": [number], "ct": [ct]}
    store.insert(connection, REGISTER_EVENT, row)


def events(store: Store, kind: str, after: int) -> Iterator[tuple[int, bytes]]:
    """The events with a higher number, in order, some at a time."""
    while True:
        query = (
            sa.select(REGISTER_EVENT.c.number, REGISTER_EVENT.c.ct)
            .where(REGISTER_EVENT.c.kind == kind, REGISTER_EVENT.c.number > after)
            .order_by(REGISTER_EVENT.c.number)
            .limit(_EVENTS_AT_ONCE)
        )
        with store.read() as connection:
            found = [(row.number, bytes(row.ct)) for row in connection.execute(query)]
        if not found:
            return
        yield from found
        after = found[-1][0]


def places(store: Store, connection: Connection, tags: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The tags that are there, with what is sealed under them."""
    found = store.among(connection, sa.select(REGISTER_PLACE), REGISTER_PLACE.c.tag, tags)
    return [(bytes(row.tag), bytes(row.ct)) for row in found]


def parts(store: Store, connection: Connection, ids: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The parts that are there, with what is sealed of them."""
    found = store.among(connection, sa.select(REGISTER_PART), REGISTER_PART.c.part, ids)
    return [(bytes(row.part), bytes(row.ct)) for row in found]


def forget(store: Store, connection: Connection, tags: Sequence[bytes], parts: Sequence[bytes]) -> None:
    """Delete places and parts."""
    store.delete_among(connection, REGISTER_PLACE.c.tag, tags)
    store.delete_among(connection, REGISTER_PART.c.part, parts)


def put_places(store: Store, connection: Connection, tags: Sequence[bytes], sealed: Sequence[bytes]) -> None:
    """Keep places, given in the order of their tags."""
    store.insert(connection, REGISTER_PLACE, {"tag": tags, "ct": sealed})


def put_parts(store: Store, connection: Connection, ids: Sequence[bytes], sealed: Sequence[bytes]) -> None:
    """Keep parts, in the order of their random ids."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    store.insert(
        connection, REGISTER_PART, {"part": [ids[i] for i in order], "ct": [sealed[i] for i in order]}
    )


def post(store: Store, connection: Connection, messages: Sequence[tuple[int, bytes]]) -> None:
    """Keep messages to the broker."""
    rows: dict[str, list[Any]] = {"number": [n for n, _ in messages], "ct": [ct for _, ct in messages]}
    store.insert(connection, OUTBOX, rows)


def messages(connection: Connection, limit: int) -> list[tuple[int, bytes]]:
    """The first messages that wait."""
    query = sa.select(OUTBOX).order_by(OUTBOX.c.number).limit(limit)
    return [(row.number, bytes(row.ct)) for row in connection.execute(query)]


def delivered(connection: Connection, number: int) -> None:
    """Delete the messages up to a number."""
    connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.number <= number))
