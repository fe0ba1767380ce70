"""The identity role's queries: what `pseudonym.vault` needs of the database, and nothing about keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from pseudonym.errors import StoreError
from pseudonym.storage import rights
from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import (
    BLIND_EPOCH,
    BLIND_INDEX,
    IDENTITY_ROW,
    OPENING,
    REGISTER_KEY,
    SUBJECT,
)

Connection = sa.Connection
Row = sa.Row[Any]
Columns = dict[str, list[Any]]
_KEYS: sa.Select[Any] = sa.select(SUBJECT.c.pid, SUBJECT.c.kid, SUBJECT.c.wrapped).where(
    SUBJECT.c.kid.is_not(None)
)


def check_index(store: Store, epoch: int, fingerprint: bytes) -> None:
    """Note an epoch's fingerprint when it is first used, and compare it ever after.

    Raises:
        StoreError: the epoch was begun with another key, or another length of tags.
    """
    query = sa.select(BLIND_EPOCH.c.fingerprint).where(BLIND_EPOCH.c.epoch == epoch)
    with store.read() as connection:
        found = connection.execute(query).scalar_one_or_none()
    if found is None:
        with store.transaction() as connection:
            row: Columns = {"epoch": [epoch], "fingerprint": [fingerprint]}
            store.insert(connection, BLIND_EPOCH, row, skip_existing=True)
            found = connection.execute(query).scalar_one()
    if bytes(found) != fingerprint:
        raise StoreError(
            "The blind index was begun with another key, or with tags of another length.",
            "Use the keyset and the --population that it was begun with.",
        )


def subjects(store: Store, connection: Connection, pids: Sequence[bytes], *, lock: bool = False) -> list[Row]:
    """The rows of subject; locked to be changed, if asked, always in the same order."""
    query = sa.select(SUBJECT)
    if lock:
        query = query.order_by(SUBJECT.c.pid).with_for_update()
    return store.among(connection, query, SUBJECT.c.pid, pids)


def given_way(store: Store, connection: Connection, pids: Sequence[bytes]) -> set[bytes]:
    """The ids of those who gave way to one of these people, and of those that these gave way to."""
    there = store.among(connection, sa.select(SUBJECT.c.superseded_by), SUBJECT.c.pid, pids)
    here = store.among(connection, sa.select(SUBJECT.c.pid), SUBJECT.c.superseded_by, pids)
    return {row[0] for row in [*there, *here] if row[0] is not None}


def keys(store: Store, connection: Connection, pids: Sequence[bytes]) -> list[Row]:
    """The wrapped keys of people, by pid, with the KEK's id; whoever is erased has none."""
    return store.among(connection, _KEYS, SUBJECT.c.pid, pids)


def rows(store: Store, connection: Connection, pids: Sequence[bytes]) -> list[Row]:
    """All rows of people, of every version."""
    return store.among(connection, sa.select(IDENTITY_ROW), IDENTITY_ROW.c.pid, pids)


def rows_under(store: Store, connection: Connection, pids: Sequence[bytes]) -> dict[bytes, bytes]:
    """The rows of people, by id, with whose they are."""
    query = sa.select(IDENTITY_ROW.c.row_id, IDENTITY_ROW.c.pid).distinct()
    return {row.row_id: row.pid for row in store.among(connection, query, IDENTITY_ROW.c.pid, pids)}


def pids_of(store: Store, connection: Connection, row_ids: Sequence[bytes]) -> dict[bytes, bytes]:
    """The people that rows are about, by row id."""
    query = sa.select(IDENTITY_ROW.c.row_id, IDENTITY_ROW.c.pid).distinct()
    return {row.row_id: row.pid for row in store.among(connection, query, IDENTITY_ROW.c.row_id, row_ids)}


def entries(field: int, epoch: int, tags: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What tags (uint32) of a field are entered as: field * 2^40 + epoch * 2^32 + tag (int64)."""
    return (field << 40 | epoch << 32) + tags.astype(np.int64)


ENTRY_BYTES = 6
"""A row's entries are kept with it as well, so that they can be taken out of the index without opening it."""


def noted(entered: np.ndarray[Any, Any]) -> bytes:
    """Entries as rows keep them: `ENTRY_BYTES` each, big-endian, one after the other."""
    return entered.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - ENTRY_BYTES :].tobytes()


def _entered(note: bytes) -> list[int]:
    octets = np.frombuffer(note, dtype=np.uint8).reshape(-1, ENTRY_BYTES)
    whole = np.zeros((len(octets), 8), dtype=np.uint8)
    whole[:, 8 - ENTRY_BYTES :] = octets
    found: list[int] = whole.view(">u8").ravel().tolist()
    return found


def tagged(store: Store, connection: Connection, entered: Sequence[int]) -> list[Row]:
    """The (entry, row_id) that have one of the entries."""
    return store.among(connection, sa.select(BLIND_INDEX), BLIND_INDEX.c.entry, entered)


def unindex(store: Store, connection: Connection, found: Sequence[Row]) -> None:
    """Take rows out of the blind index; their own note of their entries stays."""
    columns: Columns = {"entry": [], "row_id": []}
    for row in found:
        theirs = _entered(row.tags)
        columns["entry"] += theirs
        columns["row_id"] += [row.row_id] * len(theirs)
    store.delete(connection, BLIND_INDEX, columns)


def move_rows(
    store: Store,
    connection: Connection,
    found: Sequence[Row],
    row_ids: Sequence[bytes],
    pids: Sequence[bytes],
    sealed: Sequence[bytes],
) -> None:
    """Put rows under other people, and under other ids where these differ.

    They stay where they are in the table, so that no order tells which of them changed.
    """
    same = [i for i, row in enumerate(found) if row.row_id == row_ids[i]]
    columns: dict[str, Sequence[Any]] = {
        "row_id": [row_ids[i] for i in same],
        "version": [found[i].version for i in same],
        "pid": [pids[i] for i in same],
        "ct": [sealed[i] for i in same],
    }
    store.update(connection, IDENTITY_ROW, ["row_id", "version"], columns)
    renamed = [
        {"was": row.row_id, "number": row.version, "row_id": row_ids[i], "pid": pids[i], "ct": sealed[i]}
        for i, row in enumerate(found)
        if row.row_id != row_ids[i]
    ]
    if renamed:
        place = sa.and_(
            IDENTITY_ROW.c.row_id == sa.bindparam("was"), IDENTITY_ROW.c.version == sa.bindparam("number")
        )
        connection.execute(sa.update(IDENTITY_ROW).where(place), renamed)


def living(connection: Connection, kind: str, states: Sequence[str], after: bytes, count: int) -> list[bytes]:
    """At most `count` ids of subjects of a kind in some states who have rows, after an id and in order."""
    has_rows = sa.exists().where(IDENTITY_ROW.c.pid == SUBJECT.c.pid)
    query = (
        sa.select(SUBJECT.c.pid)
        .where(SUBJECT.c.kind == kind, SUBJECT.c.state.in_(states), SUBJECT.c.pid > after, has_rows)
        .order_by(SUBJECT.c.pid)
        .limit(count)
    )
    return list(connection.execute(query).scalars())


def forget(store: Store, connection: Connection, pids: Sequence[bytes]) -> int:
    """Delete everything of people but that they were there; they are `erased` from then on."""
    unindex(store, connection, rows(store, connection, pids))
    rights.forget(store, connection, pids)
    store.delete_among(connection, IDENTITY_ROW.c.pid, pids)
    nothing = dict.fromkeys(("seal", "superseded_by", "kid", "wrapped"), [None] * len(pids))
    changed = {"pid": pids, "state": ["erased"] * len(pids), **nothing}
    gone = store.update(connection, SUBJECT, ["pid"], changed)
    store.purge_later(connection)
    return gone


_WRAPPING = 7_310_421_803
"""The lock of those who wrap new subjects' keys, on PostgreSQL; SQLite has one writer anyway."""


def wrapping(store: Store, connection: Connection) -> None:
    """Tell, until the transaction ends, that keys are wrapped in it: before the present KEK is asked for."""
    if store.backend == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({_WRAPPING})")


def wrapped(store: Store, connection: Connection) -> None:
    """Wait for everybody who is wrapping keys, and let nobody begin until the transaction ends."""
    if store.backend == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRAPPING})")


def due_for_wrapping(connection: Connection, kid: str, after: bytes, count: int) -> list[Row]:
    """At most `count` keys, after a pid and in order, that are wrapped under another KEK than `kid`."""
    query = (
        _KEYS.where(SUBJECT.c.kid != kid, SUBJECT.c.pid > after)
        .order_by(SUBJECT.c.pid)
        .limit(count)
        .with_for_update()
    )
    return list(connection.execute(query).all())


def keys_by_kid(connection: Connection) -> dict[str, int]:
    """How many keys are wrapped under each KEK, the register's among them."""
    counts: Counter[str] = Counter()
    for table in (SUBJECT, REGISTER_KEY):
        query = sa.select(table.c.kid, sa.func.count()).where(table.c.kid.is_not(None)).group_by(table.c.kid)
        counts.update({row[0]: row[1] for row in connection.execute(query)})
    return dict(counts)


def count_opening(store: Store, connection: Connection, day: int, purpose: str, count: int) -> int:
    """Add to the number of openings of a day and purpose, and return it."""
    first: Columns = {"day": [day], "purpose": [purpose], "count": [0]}
    store.insert(connection, OPENING, first, skip_existing=True)
    of_it = sa.and_(OPENING.c.day == day, OPENING.c.purpose == purpose)
    added = sa.update(OPENING).where(of_it).values(count=OPENING.c.count + count)
    connection.execute(added)
    return int(connection.execute(sa.select(OPENING.c.count).where(of_it)).scalar_one())
