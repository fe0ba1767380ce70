"""Term frequencies: how common each value is, so that a rare surname counts for more than a common one.

A value held by fewer than three records is not listed: it has the frequency of one held by two. So a
model file names no value that only one or two records hold.
"""

from __future__ import annotations

import polars as pl

from linker.model import Model, TermFrequencies

MINIMUM_COUNT = 3


def term_frequencies(model: Model, sides: list[pl.DataFrame]) -> dict[str, TermFrequencies]:
    """The table of every column that some level of the model adjusts by.

    Args:
        model: names the columns.
        sides: standard columns; both sides count.
    """
    columns = sorted({level.tf for one in model.comparisons for level in one.levels if level.tf is not None})
    return {column: _table(column, sides) for column in columns}


def _table(column: str, sides: list[pl.DataFrame]) -> TermFrequencies:
    values = pl.concat(
        [side[column].alias("value").cast(pl.String) for side in sides if column in side]
    ).drop_nulls()
    counts = values.value_counts().filter(pl.col("count") >= MINIMUM_COUNT)
    total = max(1, len(values))
    shares = dict(zip(counts["value"], (counts["count"] / total).to_list(), strict=True))
    return TermFrequencies(shares, min(1.0, (MINIMUM_COUNT - 1) / total))
