"""Rows that an event of the register brings, and the people who come with them.

Most rows of a delivery are of somebody new. They are prepared some people at a time, key, statement and rows,
and written before the next: what has just been made is still near the processor then, and the database
writes it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """New rows in the order of their ids, which tells nothing, and newcomers in that of their first rows.

    Rows of one person do not lie together: were they divided later, who stands beside whom would tell.

    Args:
        arrived: the rows.
        after: what the event has to do with, after it.
        newcomers: people who are new and to whom nothing moves.
        day: on which the rows come.

    Attributes:
        source: where they come from.
        newcomers: those given, in their order here.
    """

    def __init__(self, arrived: Arrived, after: State, newcomers: Sequence[bytes], day: int) -> None:
        self.source, self._day = arrived.source, day
        rows = (
            arrived.rows.with_row_index("row")
            .join(after.units.select("unit", "holder", "fence"), on="unit")
            .sort("unit")
        )
        now = np.empty(rows.height, dtype=np.uint32)
        now[rows["row"].to_numpy()] = np.arange(rows.height, dtype=np.uint32)
        self._values = arrived.values.with_columns(row=pl.Series(now[arrived.values["row"].to_numpy()]))
        self._rows = rows.select("unit", "payload", "holder", "fence")
        new = pl.DataFrame({"holder": pl.Series(newcomers, dtype=pl.Binary)})
        first = rows.select("holder").join(new, on="holder", how="semi").unique(maintain_order=True)
        self.newcomers: list[bytes] = first["holder"].to_list()
        if len(self.newcomers) != len(newcomers):  # nobody is new without a row
            raise AssertionError
        numbered = rows.join(first.with_row_index("person"), on="holder", how="left", maintain_order="left")
        persons = numbered["person"].cast(pl.Int64).fill_null(-1).to_numpy()
        self._known = persons < 0
        self._begun = np.maximum.accumulate(persons) + 1  # newcomers who have a row up to each
        self._counts = np.bincount(persons[~self._known], minlength=len(self.newcomers))
        self._ends = np.concatenate([[0], self._counts.cumsum()])
        by_person = np.argsort(persons, kind="stable")[int(self._known.sum()) :]
        self._units = rows["unit"].gather(by_person)
        self._notes: list[bytes] = []
        self._later: dict[bytes, AESGCM] = {}

    def count_known(self, people: Mapping[bytes, Person]) -> None:
        """Count the rows of people who are known as theirs."""
        known = self._rows.filter(pl.Series(self._known))
        for unit, pid in known.select("unit", "holder").iter_rows():
            people[pid].places.append(Place(unit, 1, self._day, self.source))

    def enter(self, tools: Tools, at: At) -> None:
        """Enter all rows in the blind index: the database can go on with that alone."""
        fences = self._rows["fence"]
        realms = None
        if fences.null_count() < len(fences):
            realm = {fence: tools.register.realm(at, fence) for fence in fences.unique()}
            realms = [realm[fence] for fence in fences]
        self._notes = tools.rows.enter(at, self._values, self._rows["unit"], realms)

    def steps(self) -> Iterator[tuple[slice, slice]]:
        """Some rows at a time: the newcomers whose first rows are among them, and the rows."""
        begun = 0
        for rows in slices(self._rows.height):
            until = int(self._begun[rows.stop - 1])
            yield slice(begun, until), rows
            begun = until

    def rows_of(self, some: slice) -> list[bytes]:
        """Of each of some newcomers the ids of the rows, one after the other."""
        ends = self._ends[some.start : some.stop + 1]
        units: list[bytes] = self._units[int(ends[0]) : int(ends[-1])].to_list()
        if len(units) == some.stop - some.start:
            return units
        return [b"".join(units[start:end]) for start, end in pairwise((ends - ends[0]).tolist())]

    def put(
        self,
        tools: Tools,
        at: At,
        step: tuple[slice, slice],
        ciphers: Sequence[AESGCM],
        people: Mapping[bytes, Person],
    ) -> None:
        """Seal and write some rows.

        Args:
            tools: the vault's.
            at: a transaction that has written the newcomers whom they are of.
            step: one of `steps`, taken in turn.
            ciphers: the keys of its newcomers, made ready.
            people: who is no newcomer.
        """
        newcomers, rows = step
        ready = dict(zip(self.newcomers[newcomers], ciphers, strict=True))
        for place in np.flatnonzero(self._counts[newcomers] > 1).tolist():
            self._later[self.newcomers[newcomers][place]] = ciphers[place]
        units, payloads, pids = (self._rows[name][rows].to_list() for name in ("unit", "payload", "holder"))
        ours = [ready.get(pid) or self._later.get(pid) or seal.ciphers([people[pid].dek])[0] for pid in pids]
        sealed = seal.seal_rows(ours, STORE, pids, units, [1] * len(units), payloads)
        tools.rows.put(at, self.source, self._day, units, [1] * len(units), pids, sealed, self._notes[rows])
