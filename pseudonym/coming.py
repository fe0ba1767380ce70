"""Rows that an event of the register brings, and the people who come with them.

They are made and written some at a time: what has just been made is still near the processor then, and a
database can write it while the next are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym import seal
from pseudonym.forms import slices
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
    """New rows in the order of their ids, which tells nothing.

    Rows of one person do not lie together: were they divided later, who stands beside whom would tell.

    Args:
        arrived: the rows.
        after: what the event has to do with, after it.
        newcomers: people who are new and to whom nothing moves, in order.
        day: on which the rows come.
    """

    def __init__(self, arrived: Arrived, after: State, newcomers: Sequence[bytes], day: int) -> None:
        self.source, self._day = arrived.source, day
        new = pl.DataFrame({"holder": pl.Series(newcomers, dtype=pl.Binary)}).with_row_index("person")
        rows = (
            arrived.rows.with_row_index("row")
            .join(after.units.select("unit", "holder", "fence"), on="unit")
            .join(new, on="holder", how="left")
            .sort("unit")
        )
        now = np.empty(rows.height, dtype=np.uint32)
        now[rows["row"].to_numpy()] = np.arange(rows.height, dtype=np.uint32)
        self._values = arrived.values.with_columns(row=pl.Series(now[arrived.values["row"].to_numpy()]))
        self._rows = rows.select("unit", "payload", "holder", "fence")
        self._known = rows["person"].is_null()
        persons = rows["person"].cast(pl.Int64).fill_null(-1).to_numpy()
        theirs = np.flatnonzero(persons >= 0)
        self._persons = persons
        self._units = rows["unit"].gather(theirs[np.argsort(persons[theirs], kind="stable")])
        self._ends = np.concatenate([[0], np.bincount(persons[theirs], minlength=len(newcomers)).cumsum()])
        self._notes: list[bytes] = []

    def count_known(self, people: Mapping[bytes, Person]) -> None:
        """Count the rows of people who are known as theirs."""
        for unit, pid in self._rows.filter(self._known).select("unit", "holder").iter_rows():
            people[pid].places.append(Place(unit, 1, self._day, self.source))

    def enter(self, tools: Tools, at: At) -> None:
        """Enter all rows in the blind index: the database can go on with that alone."""
        fences = self._rows["fence"]
        realms = None
        if fences.null_count() < len(fences):
            realm = {fence: tools.register.realm(at, fence) for fence in fences.unique()}
            realms = [realm[fence] for fence in fences]
        self._notes = tools.rows.enter(at, self._values, self._rows["unit"], realms)

    def rows_of(self, some: slice) -> list[bytes]:
        """Of each of some newcomers the ids of the rows, one after the other."""
        ends = self._ends[some.start : some.stop + 1]
        units: list[bytes] = self._units[int(ends[0]) : int(ends[-1])].to_list()
        if (np.diff(ends) == 1).all():
            return units
        return [b"".join(units[start:end]) for start, end in pairwise((ends - ends[0]).tolist())]

    def put(self, tools: Tools, at: At, newcomers: Sequence[AESGCM], people: Mapping[bytes, Person]) -> None:
        """Seal and write the rows.

        Args:
            tools: the vault's.
            at: a transaction that has written whom they are of.
            newcomers: their keys, made ready.
            people: who is none of these.
        """
        for some in slices(self._rows.height):
            units, payloads, pids = (
                self._rows[name][some].to_list() for name in ("unit", "payload", "holder")
            )
            keys = [
                newcomers[person] if person >= 0 else AESGCM(people[pid].dek)
                for person, pid in zip(self._persons[some].tolist(), pids, strict=True)
            ]
            sealed = seal.seal_rows(keys, STORE, pids, units, [1] * len(units), payloads)
            notes = self._notes[some]
            tools.rows.put(at, self.source, self._day, units, [1] * len(units), pids, sealed, notes)
