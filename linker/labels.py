"""Training from labels: m is counted on pairs that people judged to be one person."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.errors import TruthError

Rows = npt.NDArray[np.int64]
_YES = ("1", "1.0", "true", "t", "yes", "y", "match", "linked")


def matched_rows(labels: pl.DataFrame, left: pl.Series, right: pl.Series) -> tuple[Rows, Rows]:
    """Rows of the labelled matches.

    Args:
        labels: the first two columns hold ids; a column `match`, if there is one, says which pairs are.
        left: ids of the left records, in the order of the rows.
        right: of the right records; the same series within one set.

    Raises:
        TruthError: the labels have too few columns, or none of their pairs is among the records.
    """
    if labels.width < 2:
        raise TruthError(
            "Labels need two columns of ids.", "Give the left id, the right id, and 'match' if any are not."
        )
    first, second = labels.columns[:2]
    if "match" in labels.columns:
        labels = labels.filter(pl.col("match").cast(pl.String).str.to_lowercase().is_in(_YES))
    places = [
        pl.DataFrame({"id": ids.cast(pl.String), name: pl.int_range(len(ids), eager=True)})
        for name, ids in (("left_row", left), ("right_row", right))
    ]
    rows = (
        labels.select(pl.col(first).cast(pl.String).alias("a"), pl.col(second).cast(pl.String).alias("b"))
        .join(places[0], left_on="a", right_on="id")
        .join(places[1], left_on="b", right_on="id")
    )
    if left is right:  # within one set a pair has no sides, and no record is its own match
        one, other = pl.min_horizontal("left_row", "right_row"), pl.max_horizontal("left_row", "right_row")
        rows = rows.with_columns(left_row=one, right_row=other).filter(
            pl.col("left_row") < pl.col("right_row")
        )
    rows = rows.select("left_row", "right_row").unique().sort("left_row", "right_row")
    if rows.is_empty():
        raise TruthError(
            "None of the labelled matches is among the records.",
            "Check that the labels hold the records' ids.",
        )
    return rows["left_row"].to_numpy(), rows["right_row"].to_numpy()
