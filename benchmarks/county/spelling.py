"""Names written as they sound, or as a machine read them: slips that a keyboard does not make."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.draw import Draws, Ints
from benchmarks.errors import Side, replaced

#: What is written for what. The first are heard wrongly, the last misread from paper.
CONFUSED = (
    ("PH", "F"), ("CK", "K"), ("EY", "Y"), ("IE", "Y"), ("Y", "I"), ("C", "K"), ("S", "Z"), ("EA", "EE"), ("LL", "L"),
    ("NN", "N"), ("TH", "T"), ("MAC", "MC"), ("OU", "U"), ("A", "E"),
    ("RN", "M"), ("CL", "D"), ("O", "0"), ("I", "1"), ("VV", "W"), ("H", "N"), ("E", "F"), ("U", "V"),
)  # fmt: skip


def respelt(source: Draws, text: pl.Series, number: Ints, p: float, side: str) -> pl.Series:
    """The column with one confusion that fits in some of its values; a value that none fits stays."""
    draws, what = Side(source, side), f"{text.name} respelt"
    chosen = np.flatnonzero(draws.chance(what, number, p))
    if not len(chosen):
        return text
    before = text.gather(chosen)
    fits = np.stack([before.str.contains(heard, literal=True).to_numpy() for heard, _ in CONFUSED], axis=1)
    able = fits.sum(axis=1)
    # The k-th of those that fit.
    turn = draws.below(f"{what} how", number[chosen], 1 << 20) % np.maximum(able, 1)
    which = np.argmax(np.cumsum(fits, axis=1) > turn[:, None], axis=1)
    after = before
    for place, (heard, put) in enumerate(CONFUSED):
        rows = np.flatnonzero((which == place) & (able > 0))
        if len(rows):
            after = replaced(after, rows, after.gather(rows).str.replace(heard, put, literal=True))
    return replaced(text, chosen, after)
