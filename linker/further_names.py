"""Further names of people: what they were or are called besides their present name.

    present name, aliases, former names ──every forename with every surname──▶ a row for each name ──▶ pairs

An alias is evidence like the present name: a record is compared in each of its names, and its best pair
counts. The present names alone train the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

import linker
from linker.arrival import screened
from linker.decide import Cardinality
from linker.model import Model
from linker.records import Records

ALIASES: Final = "aliases"
"""The column with the further names of a record."""
NAMES: Final = pl.List(pl.Struct({"given": pl.String, "surname": pl.String}))
"""Its type; null where there is none."""
_PARTS: Final = ("given", "surname")


def further_names(given: Sequence[pl.Series], surnames: Sequence[pl.Series]) -> pl.Series:
    """Every forename of a record with every surname, but for its present name.

    Args:
        given: the present forenames and then others, text, null where there is none; all of one length.
        surnames: likewise.

    Returns:
        `ALIASES`, one list a record.
    """
    both = dict(zip(_PARTS, (given, surnames), strict=True))
    frame = pl.DataFrame(
        [one.alias(f"{part} {place}") for part, some in both.items() for place, one in enumerate(some)]
    )
    forenames, families = (_distinct(part, len(some)) for part, some in both.items())
    names = [
        pl.when(_there(one, i) & _there(other, j)).then(pl.struct(given=one, surname=other))
        for i, one in enumerate(forenames)
        for j, other in enumerate(families)
        if i or j
    ]
    if not names:
        return pl.Series(ALIASES, [None], dtype=NAMES).new_from_index(0, frame.height)
    listed = frame.select(pl.concat_list(names).list.drop_nulls().alias(ALIASES))
    return listed.select(pl.when(pl.col(ALIASES).list.len() > 0).then(ALIASES))[ALIASES].cast(NAMES)


def each_name(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their present names, and after them a row for each further name; without `ALIASES`."""
    return pl.concat([rows.drop(ALIASES), _further(rows)])


def dedupe_by_any_name(
    sides: Sequence[tuple[Records, pl.DataFrame]],
    *,
    model: Model | None,
    threshold: float | None,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> linker.Deduplication:
    """As `linker.dedupe`, but a record that has further names is compared in each: its best pair counts.

    Args:
        sides: sets of records of one layout, with their names in the columns `given` and `surname`, each set
            with a frame of `id` and `ALIASES`.
        model, threshold, seed, progress: as of `linker.dedupe`.

    Raises:
        LinkerError: as of `linker.dedupe`.
    """
    from linker.linkage import decided_again, lowest  # here, because the engine takes a while to load

    renamed = any(names[ALIASES].count() for _, names in sides)
    found = linker.dedupe(
        *(records for records, _ in sides),
        model=model,
        threshold=threshold,
        all_pairs=lowest(threshold) if renamed else None,
        seed=seed,
        progress=progress,
    )
    if not renamed:
        return found
    several = len(sides) > 1  # ids begin then with the number of their set
    records = pl.concat(
        one.frame.with_columns(id=one.ids)
        .join(names, on="id", how="left", maintain_order="left")
        .with_columns(id=pl.lit(f"{number}:" if several else "") + pl.col("id"))
        for number, (one, names) in enumerate(sides, start=1)
    )
    others, everybody = _further(records), each_name(records)
    place, layout = pl.int_range(pl.len()).cast(pl.String), sides[0][0].layout
    more = linker.link(
        screened(others.with_columns(id=place), layout),
        screened(everybody.with_columns(id=place), layout),
        model=found.model,
        cardinality=Cardinality.MANY_TO_MANY,
        threshold=found.threshold,
        all_pairs=lowest(threshold),
        seed=seed,
        progress=progress,
    )
    assert found.pairs is not None and more.pairs is not None
    pairs = more.pairs
    for side, names in (("left_id", others), ("right_id", everybody)):
        whose = names.select(place.alias(side), whose="id")
        pairs = pairs.join(whose, on=side).with_columns(pl.col("whose").alias(side)).drop("whose")
    ordered = pairs.with_columns(
        left_id=pl.min_horizontal("left_id", "right_id"), right_id=pl.max_horizontal("left_id", "right_id")
    ).filter(pl.col("left_id") != pl.col("right_id"))
    best = (
        pl.concat([found.pairs, ordered.select(found.pairs.columns)])
        .sort("left_id", "right_id", "match_weight", "rule", descending=[False, False, True, False])
        .unique(["left_id", "right_id"], keep="first", maintain_order=True)
    )
    return decided_again(found, best, threshold)


def _further(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each further name, without `ALIASES`; a part of the name that is no column is left out.

    A part that is not said is that of the present name: else nothing would speak against another's.
    """
    named = rows.filter(pl.col(ALIASES).list.len() > 0).explode(ALIASES)
    said = pl.col(ALIASES).struct
    parts = [pl.coalesce(said.field(part), part).alias(part) for part in _PARTS if part in rows.columns]
    return named.with_columns(parts).drop(ALIASES)


def _distinct(part: str, count: int) -> list[pl.Expr]:
    """Names of a part, each once: a later one that only repeats an earlier is null."""
    columns = [pl.col(f"{part} {place}") for place in range(count)]
    spelt = [column.str.to_lowercase() for column in columns]
    made = columns[:1]
    for place in range(1, count):
        repeats = pl.any_horizontal((spelt[place] == one).fill_null(False) for one in spelt[:place])
        made.append(pl.when(~repeats).then(columns[place]))
    return made


def _there(name: pl.Expr, place: int) -> pl.Expr:
    """Whether a name is said; the present one stands even where it is not known."""
    return pl.lit(True) if place == 0 else name.is_not_null()
