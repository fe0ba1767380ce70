"""What the identity store has of a person, and how it is known that nobody changed it.

The store keeps for each person a seal over a statement (`docs/sealing.md`): the person's id, kind, state,
version, first day, successor, and each row's id, version, day and source. It is made with the person's key,
so that whoever can only write to the store cannot exchange, add, take away or roll back a row or a state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import polars as pl

from pseudonym import seal
from pseudonym.columns import frame_of
from pseudonym.erasure import Ledger, check_none_is_back
from pseudonym.errors import InputError, SealBrokenError, SubjectMissingError
from pseudonym.forms import divided, filled
from pseudonym.keks import Keks
from pseudonym.storage import identity as db
from pseudonym.storage.engine import Store
from pseudonym.storage.rows_identity import IdentityRows
from pseudonym.storage.schema_identity import SUBJECT
from pseudonym.urn import ID_BYTES, enc

STORE = "identity"
"""The store that rows are sealed for."""


class State(StrEnum):
    """What may be done with a person's identity."""

    ACTIVE = "active"
    LIMITED = "limited"  # not for some purposes: see `pseudonym.limits`
    RESTRICTED = "restricted"
    OBJECTED = "objected"
    ERASED = "erased"


LIVING = frozenset(State) - {State.ERASED}


class Place(NamedTuple):
    """A row's place among the rows of a person; rows are stated in this order."""

    row_id: bytes
    version: int
    received_day: int
    source: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the store has of one person, checked.

    Attributes:
        subject: the row of subject.
        dek: the person's key.
        rows: the rows of identity_row, by row id and version.
    """

    subject: Any
    dek: bytes
    rows: tuple[Any, ...]

    def newest(self) -> Iterable[Any]:
        """The last version of each row."""
        for _, versions in groupby(self.rows, attrgetter("row_id")):
            *_, last = versions
            yield last

    def places(self) -> list[Place]:
        """Where its rows are."""
        return [Place(row.row_id, row.version, row.received_day, row.source) for row in self.rows]

    def statement(self, changes: Mapping[str, Any], more: Iterable[Place] = ()) -> bytes:
        """What is stated of the person after changes, with rows added."""
        places = [*self.places(), *more]
        if len(places) > 1:
            places.sort()
        subject: Mapping[str, Any] = self.subject._mapping
        return statement({**subject, **changes} if changes else subject, places)


def statement(subject: Mapping[str, Any], places: Iterable[Place]) -> bytes:
    """What is stated of one person.

    Args:
        subject: pid, kind, state, version, created_day and superseded_by.
        places: of its rows, in order.
    """
    pid, successor = subject["pid"], subject["superseded_by"] or b""
    about = _about(subject["kind"], subject["state"], subject["version"], subject["created_day"])
    rows = [row_id + _end(version, day, source) for row_id, version, day, source in places]
    return b"".join(
        [
            (7 + len(rows)).to_bytes(2, "big"),
            _LABEL,
            _number(len(pid)),
            pid,
            about,
            _number(len(successor)),
            successor,
            *(_number(len(row)) + row for row in rows),
        ]
    )


def new_statements(
    pids: Sequence[bytes], row_ids: Sequence[bytes], kind: str, day: int, source: str
) -> list[bytes]:
    """What is stated of people who are new, as are all rows of theirs: as `statement`, for many.

    Args:
        pids: theirs.
        row_ids: of each, the ids of the rows, one after the other.
        kind: person or family.
        day: on which they came.
        source: where from.
    """
    fixed, end = _about(kind, State.ACTIVE.value, 1, day) + _number(0), _end(1, day, source)
    start = _number(ID_BYTES + len(end))
    said = [b""] * len(pids)
    alike: dict[int, list[int]] = {}
    for place, rows_of in enumerate(row_ids):
        alike.setdefault(len(rows_of), []).append(place)
    for length, places in alike.items():  # most have one row, or none
        count = length // ID_BYTES
        head = (7 + count).to_bytes(2, "big") + _LABEL + _number(ID_BYTES)
        theirs = [row_ids[place] for place in places]
        if count > 1:
            theirs = [b"".join(sorted(divided(rows, ID_BYTES))) for rows in theirs]
        rows: list[bytes | list[bytes]] = []
        for first in range(0, length, ID_BYTES):
            rows += [start, [each[first : first + ID_BYTES] for each in theirs], end]
        made = filled(len(places), head, [pids[place] for place in places], fixed, *rows)
        for place, octets in zip(places, made, strict=True):
            said[place] = octets
    return said


_LABEL = enc("subject/1")[2:]


# Most people of a batch have these in common.
@lru_cache(maxsize=4096)
def _about(kind: str, state: str, version: int, day: int) -> bytes:
    return enc(kind, state, _number(version), _number(day))[2:]


@lru_cache(maxsize=4096)
def _end(version: int, day: int, source: str) -> bytes:
    return _number(version) + _number(day) + source.encode()


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


class Subjects:
    """Reads people from the store, opens their keys, and checks what is stated of them.

    Args:
        store: the identity role's.
        keks: every KEK under which keys are wrapped.
    """

    def __init__(self, store: Store, keks: Keks) -> None:
        self._store = store
        self._keks = keks
        self._ledger: Ledger | None = None

    def heed(self, ledger: Ledger) -> None:
        """Open nobody from now on whom the ledger of erasures names."""
        self._ledger = ledger

    def held(
        self,
        connection: db.Connection,
        pids: Sequence[bytes],
        states: Collection[State],
        *,
        lock: bool = False,
    ) -> dict[bytes, Held]:
        """What the store has of people.

        Raises:
            InputError: an id comes twice.
            SubjectMissingError: one is unknown, or in a state that is none of `states`.
            KeyMissingError: a key is wrapped under a KEK that is not at hand.
            SealBrokenError: something was changed by somebody who has not the keys, or rows of somebody who
                was erased were put back.
        """
        if len(set(pids)) != len(pids):
            raise InputError("An id comes twice.", "Name each person once.")
        subjects = {row.pid: row for row in db.subjects(self._store, connection, pids, lock=lock)}
        missing = sum(pid not in subjects or subjects[pid].state not in states for pid in pids)
        if missing:
            raise SubjectMissingError(
                f"{missing} of {len(pids)} people are unknown, or in a state that does not allow this.",
                "Ask for their states first.",
            )
        deks = self.deks(db.keys(self._store, connection, pids))
        rows: dict[bytes, list[Any]] = {pid: [] for pid in pids}
        for row in db.rows(self._store, connection, pids):
            rows[row.pid].append(row)
        if len(deks) != len(pids) or any(subject.seal is None for subject in subjects.values()):
            raise SealBrokenError(
                "A person's key or seal was taken away.",
                "Restore the store, and find out who can write to it.",
            )
        by_place = attrgetter("row_id", "version")
        for theirs in rows.values():
            if len(theirs) > 1:
                theirs.sort(key=by_place)
        held = {pid: Held(subjects[pid], deks[pid], tuple(rows[pid])) for pid in pids}
        seal.check_witness(
            [each.dek for each in held.values()],
            [each.statement({}) for each in held.values()],
            [each.subject.seal for each in held.values()],
        )
        if self._ledger is not None:
            check_none_is_back(self._ledger, IdentityRows(self._store), pids)
        return held

    def change(self, connection: db.Connection, pids: Sequence[bytes], changes: Mapping[str, Any]) -> None:
        """Change what the store says of people, the same of each: columns of subject.

        Raises:
            SubjectMissingError: one is unknown or erased.
        """
        held = self.held(connection, pids, LIVING, lock=True)
        numbers = [each.subject.version + 1 for each in held.values()]
        statements = [
            each.statement({**changes, "version": number})
            for each, number in zip(held.values(), numbers, strict=True)
        ]
        changed: dict[str, list[Any]] = {
            "pid": list(pids),
            "version": numbers,
            "seal": seal.witness([each.dek for each in held.values()], statements),
            **{name: [value] * len(pids) for name, value in changes.items()},
        }
        self._store.update(connection, SUBJECT, ["pid"], changed)

    def deks(self, rows: Sequence[Any]) -> dict[bytes, bytes]:
        """The keys in rows of pid, kid and wrapped, opened, by pid.

        Raises:
            KeyMissingError: one is wrapped under a KEK that is not at hand.
            SealBrokenError: one was altered or exchanged.
        """
        found: dict[bytes, bytes] = {}
        under: dict[str, tuple[list[bytes], list[bytes]]] = {}
        for pid, kid, wrapped in rows:
            pids, keys = under.setdefault(kid, ([], []))
            pids.append(pid)
            keys.append(wrapped)
        for kid, (pids, keys) in under.items():
            found.update(zip(pids, self._keks.of(kid).unwrap_all(keys, pids), strict=True))
        return found


def opened(rows: Sequence[tuple[bytes, Any]]) -> pl.DataFrame:
    """Identities in rows of identity_row, each given with its person's key."""
    payloads = seal.open_rows(
        [dek for dek, _ in rows],
        STORE,
        [row.pid for _, row in rows],
        [row.row_id for _, row in rows],
        [row.version for _, row in rows],
        [row.ct for _, row in rows],
    )
    return frame_of(payloads)


def places_of(rows: Sequence[Any]) -> pl.DataFrame:
    """What the store says in the clear of rows of identity_row."""
    return pl.DataFrame(
        {
            "pid": [row.pid for row in rows],
            "row_id": [row.row_id for row in rows],
            "version": [row.version for row in rows],
            "source": [row.source for row in rows],
            "received_day": [row.received_day for row in rows],
        },
        schema={
            "pid": pl.Binary,
            "row_id": pl.Binary,
            "version": pl.Int64,
            "source": pl.String,
            "received_day": pl.Int32,
        },
    )
