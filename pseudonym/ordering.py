"""An order of records that rests on what they say, so that nothing rests on ids that were drawn at random.

Ties between records are settled by their order. Two that say the same are told apart by what the others of
their person say, and then by what those of their family say; who is alike in all of that is alike for all
purposes, and stands by ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def by_content(rows: pl.DataFrame, content: Sequence[str], groups: Sequence[str] = ()) -> pl.DataFrame:
    """Rows in the order of what they say.

    Args:
        rows: columns of text.
        content: the columns that say something.
        groups: columns with ids of what rows belong to, the smallest first: persons, then families. Null for
            a row that belongs to none.

    Returns:
        The rows, sorted.
    """
    said = _ranked(rows, content).select(*groups, _said="_rank")
    keys = ["_said"]
    for number, group in enumerate(groups):
        own = _ranked(said, keys)
        alike = (
            own.drop_nulls(group)
            .sort("_rank")
            .group_by(group, maintain_order=True)
            .agg(pl.col("_rank").cast(pl.String).str.zfill(10).str.join(" ").alias(f"_group{number}"))
        )
        said = said.join(alike, on=group, how="left", maintain_order="left")
        keys.append(f"_group{number}")
    rest = [name for name in rows.columns if name not in content]
    return rows.hstack(said.select(keys)).sort([*keys, *rest], nulls_last=True).drop(keys)


def _ranked(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Rows with the place of what they say in some columns, in their order."""
    places = rows.select(columns).unique().sort(columns, nulls_last=True).with_row_index("_rank")
    return rows.join(places, on=columns, how="left", nulls_equal=True, maintain_order="left")
