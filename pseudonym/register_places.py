"""What leads to the parts of the register, and which of them an event concerns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from pseudonym.errors import SealBrokenError
from pseudonym.register_keys import RegisterKeys
from pseudonym.register_parts import Seen
from pseudonym.standing import Changes, State
from pseudonym.urn import Kind


def touched(changes: Changes) -> pl.DataFrame:
    """The units that an event changes anything of."""
    pairs = (changes.linked, changes.voided, changes.parted, changes.rejoined)
    frames = [*(frame.select(unit=side) for frame in pairs for side in ("left", "right"))]
    frames += [getattr(changes, name).select("unit") for name in ("arrived", "removed", "fenced", "moved")]
    return pl.concat(frames).unique()


def found_under(
    keys: RegisterKeys, kind: Kind, held: pl.DataFrame, beside: pl.DataFrame, known: Mapping[bytes, bytes]
) -> tuple[list[bytes], list[Any]]:
    """The tags that lead to parts, each with its part: first one for each unit, in the order of `held`.

    Then those of the ids of rows that are not called as their units, and of families' own ids.

    Args:
        keys: make tags.
        kind: of persons or of families.
        held: unit, holder, part.
        beside: as `register_parts.BESIDE`.
        known: tags of units that were made already.
    """
    units: list[bytes] = held["unit"].to_list()
    missing = [unit for unit in units if unit not in known]
    made = {**known, **dict(zip(missing, keys.tags(f"{kind.value}-unit", missing), strict=True))}
    tags, found = [made[unit] for unit in units], held["part"].to_list()
    rows = beside.drop_nulls("row").select("unit", id="row")
    if rows.height:
        rows = rows.join(held, on="unit")
        tags += keys.tags(f"{kind.value}-unit", rows["id"].to_list())
        found += rows["part"].to_list()
    if kind is Kind.FAMILY:
        ids = held.unique("holder")
        tags += keys.tags(f"{kind.value}-id", ids["holder"].to_list())
        found += ids["part"].to_list()
    return tags, found


def check_rows(seen: Seen, under: Mapping[bytes, bytes]) -> None:
    """See that rows of the store are under the persons whom the register says; others have rows as well.

    Args:
        seen: what was found by the rows.
        under: rows' ids, with whose they are.

    Raises:
        SealBrokenError: one is not.
    """
    if not under:
        return
    rows = pl.DataFrame(
        {"row": list(under), "pid": list(under.values())}, {"row": pl.Binary, "pid": pl.Binary}
    )
    units = seen.state.units.select("unit", "holder").join(seen.beside, on="unit", how="left")
    said = units.select("holder", row=pl.coalesce("row", "unit")).join(rows, on="row")
    if (said["holder"] != said["pid"]).any():
        raise SealBrokenError(
            "A row is not with the person whom the register of persons says.",
            "Nothing was changed; restore the store, and find out who can write to it.",
        )


def only(state: State, units: pl.DataFrame) -> State:
    """The part of a state that some units (column unit) make up; they are whole parts."""
    kept = state.units.join(units, on="unit", how="semi")
    if kept.height == state.units.height:
        return state
    return replace(
        state,
        units=kept,
        links=state.links.join(kept, left_on="left", right_on="unit", how="semi"),
        apart=state.apart.join(kept, left_on="left", right_on="unit", how="semi"),
    )
