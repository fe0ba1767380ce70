"""Rows that an event of the register brings, and the people who come with them.

Most rows of a delivery are of somebody new. They are prepared some people at a time, key, statement and rows,
and written before the next: what has just been made is still near the processor then, and the database
writes it meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym import seal
from pseudonym.moving import Person
from pseudonym.standing import State
from pseudonym.storage.rows import At
from pseudonym.subjects import STORE, Place
from pseudonym.vault_rows import Tools


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """Rows that are new.

    Attributes:
        rows: unit (their ids) and payload.
        values: what each can be found by: row (their number), field, value.
        source: where they come from.
    """

    rows: pl.DataFrame
    values: pl.DataFrame
    source: str


class Coming:
    """New rows by the people whom they came under: first those of people who are known, then newcomers'.

    Args:
        arrived: the rows.
        after: what the event has to do with, after it.
        newcomers: people who are new and to whom nothing moves, in order.
        day: on which they come.
    """

    def __init__(self, arrived: Arrived, after: State, newcomers: Sequence[bytes], day: int) -> None:
        self.source, self._day = arrived.source, day
        new = pl.DataFrame({"holder": pl.Series(newcomers, dtype=pl.Binary)}).with_row_index("person")
        rows = (
            arrived.rows.with_row_index("row")
            .join(after.units.select("unit", "holder", "fence"), on="unit")
            .join(new, on="holder", how="left")
            # Not in the order of the file that they came in: nobody is to be found by their neighbours.
            .sort("person", "unit", nulls_last=False)
        )
        now = np.empty(rows.height, dtype=np.uint32)
        now[rows["row"].to_numpy()] = np.arange(rows.height, dtype=np.uint32)
        self._values = arrived.values.with_columns(row=pl.Series(now[arrived.values["row"].to_numpy()]))
        self._rows = rows.select("unit", "payload", "holder", "fence")
        persons = rows["person"]
        self._known = persons.null_count()
        self._persons = persons.tail(rows.height - self._known).to_numpy()
        counts = np.bincount(self._persons, minlength=len(newcomers))
        self._ends = self._known + np.concatenate([[0], counts.cumsum()])
        self._notes: list[bytes] = []

    def join_known(self, people: Mapping[bytes, Person]) -> list[bytes]:
        """Seal the rows of people who are known, and count these as theirs; what `put_known` writes."""
        known = self._rows.head(self._known)
        units, pids = known["unit"].to_list(), known["holder"].to_list()
        for unit, pid in zip(units, pids, strict=True):
            people[pid].places.append(Place(unit, 1, self._day, self.source))
        deks = [people[pid].dek for pid in pids]
        return seal.seal_rows(deks, STORE, pids, units, [1] * len(units), known["payload"].to_list())

    def enter(self, tools: Tools, at: At) -> None:
        """Enter all rows in the blind index: the database can go on with that alone."""
        fences = self._rows["fence"]
        realms = None
        if fences.null_count() < len(fences):
            realm = {fence: tools.register.realm(at, fence) for fence in fences.unique()}
            realms = [realm[fence] for fence in fences]
        self._notes = tools.rows.enter(at, self._values, self._rows["unit"], realms)

    def put_known(self, tools: Tools, at: At, sealed: Sequence[bytes]) -> None:
        """Write the rows of people who are known."""
        known = self._rows.head(self._known)
        self._put(tools, at, known["unit"].to_list(), known["holder"].to_list(), sealed, 0)

    def rows_of(self, first: int, last: int) -> list[bytes]:
        """Of each of the newcomers from one to before another, the ids of the rows, one after the other."""
        ends = self._ends[first : last + 1]
        units = self._rows["unit"][int(ends[0]) : int(ends[-1])].to_list()
        if len(units) == last - first and (np.diff(ends) == 1).all():
            return units
        return [b"".join(units[start:end]) for start, end in pairwise((ends - ends[0]).tolist())]

    def put(self, tools: Tools, at: At, first: int, pids: Sequence[bytes], ciphers: Sequence[AESGCM]) -> None:
        """Seal and write the rows of newcomers, beginning with one of them.

        Args:
            tools: the vault's.
            at: a transaction that has written the people.
            first: the number of the first among the newcomers.
            pids: theirs.
            ciphers: their keys, made ready.
        """
        start, end = int(self._ends[first]), int(self._ends[first + len(pids)])
        if start == end:
            return
        persons = (self._persons[start - self._known : end - self._known] - np.uint32(first)).tolist()
        units, payloads = (self._rows[name][start:end].to_list() for name in ("unit", "payload"))
        theirs = [pids[person] for person in persons]
        ready = [ciphers[person] for person in persons]
        sealed = seal.seal_rows(ready, STORE, theirs, units, [1] * len(units), payloads)
        self._put(tools, at, units, theirs, sealed, start)

    def _put(
        self,
        tools: Tools,
        at: At,
        units: Sequence[bytes],
        pids: Sequence[bytes],
        sealed: Sequence[bytes],
        start: int,
    ) -> None:
        notes = self._notes[start : start + len(units)]
        tools.rows.put(at, self.source, self._day, units, [1] * len(units), pids, sealed, notes)
