"""Rows that an event of the register moves from person to person: prepared first, then written.

What is prepared is all cryptography; a row that is not where the register says is noticed before anything is
written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pseudonym import columns, seal
from pseudonym.errors import SealBrokenError
from pseudonym.standing import Changes, State
from pseudonym.storage import identity as db
from pseudonym.storage.rows import At
from pseudonym.storage.schema_identity import IDENTITY_ROW
from pseudonym.subjects import STORE, Held, Place
from pseudonym.subjects import State as Allowed
from pseudonym.vault_rows import Tools

_STRICTER = (Allowed.ACTIVE, Allowed.LIMITED, Allowed.RESTRICTED, Allowed.OBJECTED)


@dataclass(slots=True)
class Person:
    """A person or family whom an event touches: first as they are, then as they will be.

    Attributes:
        dek: their key.
        held: what the store has of them; None if they are new.
        places: their rows.
        state: what may be done with them.
        superseded_by: who has what was theirs.
    """

    dek: bytes = field(repr=False)
    held: Held | None = None
    places: list[Place] = field(default_factory=list)
    state: Allowed = Allowed.ACTIVE
    superseded_by: bytes | None = None

    def changed(self) -> bool:
        """Whether the store says anything else of them."""
        if self.held is None:
            return True
        subject = self.held.subject
        return (self.state, self.superseded_by, sorted(self.places)) != (
            subject.state,
            subject.superseded_by,
            self.held.places(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Moving:
    """Rows that move, get another id, are entered elsewhere in the index, or go.

    Attributes:
        kept: as they are stored.
        row_ids: what they are called from now on …
        pids: … whose they are …
        sealed: … and what they hold.
        entered: which of them (by number) are entered elsewhere, with their fence, or None.
        payloads: of all of them.
        gone: rows that go.
    """

    kept: list[Any]
    row_ids: list[bytes]
    pids: list[bytes]
    sealed: list[bytes]
    payloads: list[bytes]
    entered: list[tuple[int, bytes | None]]
    gone: list[Any]

    def carry_out(self, tools: Tools, at: At) -> None:
        """Write what changes."""
        db.move_rows(tools.store, at, self.kept, self.row_ids, self.pids, self.sealed)
        if self.entered:
            values = columns.found_by(columns.frame_of([self.payloads[i] for i, _ in self.entered]))
            realms = [tools.register.realm(at, fence) for _, fence in self.entered]
            rows, row_ids = (
                [self.kept[i] for i, _ in self.entered],
                [self.row_ids[i] for i, _ in self.entered],
            )
            tools.rows.reindex(at, rows, row_ids, values, realms)
        if self.gone:
            db.unindex(tools.store, at, self.gone)
            tools.store.delete_among(at, IDENTITY_ROW.c.row_id, sorted({row.row_id for row in self.gone}))
            tools.store.purge_later(at)


def moving(
    changes: Changes,
    after: State,
    rows: Mapping[bytes, tuple[bytes, bytes]],
    people: dict[bytes, Person],
    forgotten: Collection[bytes],
) -> Moving | None:
    """Open the rows of units that change their person, their fence or their row's id, and seal them anew.

    Args:
        changes: of the event.
        after: what it has to do with, after it.
        rows: of units whose row is not called as they are, the row's id now and from now on.
        people: everybody whom it touches; they have their new places afterwards.
        forgotten: persons whose rows are left alone.

    Raises:
        SealBrokenError: a row is not with the person whom the register says, or was altered.
    """
    moved = changes.moved.drop_nulls("before").select("unit", "before", "after")
    fenced = after.units.join(changes.fenced, on="unit", how="semi").join(moved, on="unit", how="anti")
    stayed = fenced.join(changes.arrived, on="unit", how="anti").select(
        "unit", before="holder", after="holder"
    )
    both = pl.concat([moved, stayed]).filter(~pl.col("before").is_in(list(forgotten)))
    if both.is_empty():
        return None
    now = {rows.get(unit, (unit,))[0]: (unit, before, pid) for unit, before, pid in both.iter_rows()}
    found = []
    for before in both["before"].unique().to_list():
        person = people[before]
        theirs = [row for row in (person.held.rows if person.held else ()) if row.row_id in now]
        found += [row for row in theirs if now[row.row_id][1] == before]
        person.places = [place for place in person.places if place.row_id not in now]
    if len({row.row_id for row in found}) != len(now):
        raise SealBrokenError(
            "A row is not with the person whom the register of persons says.",
            "Nothing was changed; restore the store, and find out who can write to it.",
        )
    kept = [row for row in found if now[row.row_id][2] is not None]
    units = [now[row.row_id][0] for row in kept]
    befores, pids = [row.pid for row in kept], [now[row.row_id][2] for row in kept]
    row_ids = [rows[unit][1] if unit in rows else unit for unit in units]
    versions = [row.version for row in kept]
    payloads = seal.open_rows(
        [people[pid].dek for pid in befores],
        STORE,
        befores,
        [row.row_id for row in kept],
        versions,
        [row.ct for row in kept],
    )
    sealed = seal.seal_rows([people[pid].dek for pid in pids], STORE, pids, row_ids, versions, payloads)
    for row, row_id, pid in zip(kept, row_ids, pids, strict=True):
        people[pid].places.append(Place(row_id, row.version, row.received_day, row.source))
        people[pid].state = max(people[pid].state, people[row.pid].state, key=_STRICTER.index)
    fences = dict(after.units.select("unit", "fence").iter_rows())
    elsewhere = {*changes.fenced["unit"].to_list(), *rows}
    entered = [
        (i, fences[unit])
        for i, (unit, row) in enumerate(zip(units, kept, strict=True))
        if unit in elsewhere and row.tags
    ]
    return Moving(
        kept, row_ids, pids, sealed, payloads, entered, [r for r in found if now[r.row_id][2] is None]
    )
