"""Names written as they sound, or as a machine read them: slips that a keyboard does not make."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.draw import Draws, Ints
from benchmarks.errors import Side, replaced

#: What is written for what. The first are heard wrongly, the last misread from paper.
CONFUSED = (
    ("PH", "F"), ("CK", "K"), ("EY", "Y"), ("IE", "Y"), ("Y", "I"), ("C", "K"), ("S", "Z"), ("EA", "EE"),
    ("LL", "L"),
    ("NN", "N"), ("TH", "T"), ("MAC", "MC"), ("OU", "U"), ("A", "E"),
    ("RN", "M"), ("CL", "D"), ("O", "0"), ("I", "1"), ("VV", "W"), ("H", "N"), ("E", "F"), ("U", "V"),
)  # fmt: skip


def respelt(source: Draws, text: pl.Series, number: Ints, p: float, side: str) -> pl.Series:
    """The column with one confusion that fits in some of its values; a value that none fits stays."""
    draws, what = Side(source, side), f"{text.name} respelt"
    chosen = np.flatnonzero(draws.chance(what, number, p))
    if not len(chosen):
        return text
    before = text.gather(chosen).to_frame("text")
    fits = before.select(
        pl.col("text").str.contains(heard, literal=True).fill_null(False).alias(str(at))
        for at, (heard, _) in enumerate(CONFUSED)
    ).to_numpy()
    able = fits.sum(axis=1)
    # The k-th of those that fit.
    turn = draws.below(f"{what} how", number[chosen], 1 << 20) % np.maximum(able, 1)
    which = np.where(able > 0, np.argmax(np.cumsum(fits, axis=1) > turn[:, None], axis=1), -1)
    after = before.with_columns(which=which).select(
        pl.coalesce(
            *(
                pl.when(pl.col("which") == at).then(pl.col("text").str.replace(heard, put, literal=True))
                for at, (heard, put) in enumerate(CONFUSED)
            ),
            pl.col("text"),
        )
    )
    return replaced(text, chosen, after.to_series())
