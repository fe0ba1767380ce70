"""The one place where a register's extract is linked: a person is compared in each of their records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

import polars as pl

import linker
from linker import decide
from linker.arrival import screened
from linker.decide import Cardinality
from linker.joining import KEPT
from linker.records import Field, Kind, Layout, Records

OUTCOMES: Final = pl.Schema(
    {
        "person": pl.String(),
        "row_ref": pl.String(),
        "outcome": pl.String(),
        "stage": pl.String(),
        "key": pl.String(),
        "weight": pl.Float64(),
        "probability": pl.Float64(),
        "band": pl.String(),
    }
)
_BITS = 6.0
"""How far below the threshold somebody looks at a pair, and by how much a link leads."""


def link_persons(
    known: pl.DataFrame,
    extract: Records,
    register: str,
    *,
    on: date,
    nhs_number_reason: str = "",
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> pl.DataFrame:
    """Say of persons and rows of a register who is whose: the best over all that is known of a person.

    Args:
        known: `person`, and the columns that are kept of a person, a row for each name and address.
        extract: the register's records.
        register: the code of its profile.
        on: the day on which people have their age.
        nhs_number_reason: why the NHS number may be used; nothing: it is not.
        seed: of every random choice.
        progress: called with (stage, done, total); what it raises ends the work.

    Returns:
        Columns as `OUTCOMES`: a person and a row, or a person without one.

    Raises:
        LinkerError: the records or the profile cannot be used.
    """
    names = [name for name in KEPT if known[name].count() and (name != "nhs" or nhs_number_reason)]
    numbered = known.with_row_index("id").with_columns(pl.col("id").cast(pl.String))
    if not names or not len(extract.ids):
        return OUTCOMES.to_frame()
    fields = tuple(Field(KEPT[name].value, KEPT[name], (name,), "as kept") for name in names)
    left = screened(numbered.select("id", *names), Layout("id", fields, ()))
    right = extract
    if not nhs_number_reason:
        kept = tuple(field for field in extract.layout.fields if field.kind is not Kind.NHS_NUMBER)
        right = Records(
            extract.ids,
            extract.frame,
            Layout(extract.layout.id_column, kept, extract.layout.ignored),
            extract.refusals,
        )
    found = linker.link(
        left, right, cardinality=Cardinality.MANY_TO_MANY, all_pairs=-_BITS, seed=seed, progress=progress
    )
    assert found.pairs is not None
    best = (
        found.pairs.join(numbered.select("id", "person"), left_on="left_id", right_on="id")
        .sort("match_weight", "left_id", descending=[True, False])
        .unique(["person", "right_id"], keep="first", maintain_order=True)
    )
    threshold = max(found.threshold, 0.0)
    decided = decide.link(
        best.select(
            "match_probability", "stage", "rule", "match_weight", left_id="right_id", right_id="person"
        ),
        cardinality=Cardinality.MANY_TO_ONE,
        threshold=threshold,
        review=threshold - _BITS,
        lead=_BITS,
    )
    band = (
        pl.when(pl.col("match_weight") >= threshold + 2 * _BITS).then(pl.lit("high")).otherwise(pl.lit("low"))
    )
    return decided.select(
        "outcome",
        "stage",
        person="right_id",
        row_ref="left_id",
        key="rule",
        weight="match_weight",
        probability="match_probability",
        band=band,
    ).select(OUTCOMES.names())
