"""From persons to their families: what an analysis file says of a family beside each of its members."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl


def roll_up(read: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """How much a dataset has of each family.

    Args:
        read: what `Attributes.read` gives of one dataset: `aid`, `family` and its columns.

    Returns:
        `family` (binary), `persons` with a row and `rows`, by family; none for whose family is not known.
    """
    parts = [frame.select("family", "aid").drop_nulls("family") for frame in read]
    if not parts:
        return pl.DataFrame(schema={"family": pl.Binary, "persons": pl.UInt32, "rows": pl.UInt32})
    return (
        pl.concat(parts)
        .group_by("family")
        .agg(persons=pl.col("aid").n_unique(), rows=pl.len())
        .sort("family")
    )
