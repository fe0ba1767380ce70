"""What the weight of each link is the sum of, to explain it once nobody has the records any more.

    weight = prior + each comparison's bits - the relatives' share + what the family's other links are worth

The parts are those of the kernel in the kernel's order: added up one by one they are the weight, to the last
bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.encode import Codes
from linker.explain import RELATIVES
from linker.kernels import kernel
from linker.profiles.scoring import Weighed
from linker.program import Weights, compile_weights
from linker.score import frequency_gain, kin_discount

FAMILY = "family"
PRIOR = "prior"
FOUND, BITS = "found ", "bits "
"""Before the name of a comparison: the column with the words of its level, and that with its bits."""

_HERE = "perhaps two of one home"
_BACKED = "another member of the family is linked at the same address"
_TAKEN = "two records at random"
_SILENT = "not known, or it adds nothing to the others"


def parts_of(weighed: Weighed, links: pl.DataFrame) -> pl.DataFrame:
    """The parts of links' weights.

    Args:
        weighed: what weighed them.
        links: left, right (rows), and gain (bits) that the family's other links are worth.

    Returns:
        For each link, in their order, `found X` (text) and `bits X` of the prior, each comparison, the
        relatives and the family, in the order in which they add up.
    """
    model, encoded = weighed.model, weighed.encoded
    left, right = links["left"].to_numpy(), links["right"].to_numpy()
    made, weights = weighed.of(left, right), compile_weights(model, encoded)
    count = links.height
    found = [pl.Series(FOUND + PRIOR, [_TAKEN] * count, pl.String)]
    found.append(pl.Series(BITS + PRIOR, np.full(count, weights.prior)))
    kin = np.full(count, weights.kin_prior)
    for c, comparison in enumerate(model.comparisons):
        codes = made[f"level {comparison.name}"].to_numpy().astype(np.int64)
        gains = np.empty(count, np.float64)
        _gains(c, codes, encoded.left, left, encoded.right, right, weights, gains)
        words = np.array([_SILENT, *(level.label for level in comparison.levels)], dtype=object)
        found.append(pl.Series(FOUND + comparison.name, words[codes].tolist(), pl.String))
        found.append(pl.Series(BITS + comparison.name, weights.weight[c, codes] + gains))
        if weights.shared[c]:
            kin += weights.kin[c, codes] + gains
    if model.kin > 0.0:
        discounts = [-float(kin_discount(one)) for one in kin.tolist()]
        found.append(pl.Series(FOUND + RELATIVES, [_HERE] * count, pl.String))
        found.append(pl.Series(BITS + RELATIVES, discounts, pl.Float64))
    found.append(pl.Series(FOUND + FAMILY, [_BACKED] * count, pl.String))
    found.append(links["gain"].cast(pl.Float64).alias(BITS + FAMILY))
    return pl.DataFrame(found)


def listed(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of one link as `what`, `found` and `bits`; a family that gave nothing is left out."""
    names = [name.removeprefix(BITS) for name in row if name.startswith(BITS)]
    return [
        {"what": name.replace("_", " ").capitalize(), "found": row[FOUND + name], "bits": row[BITS + name]}
        for name in names
        if name != FAMILY or row[BITS + name]
    ]


@kernel
def _gains(
    c: int,
    codes: npt.NDArray[np.int64],
    left: Codes,
    x: npt.NDArray[np.int64],
    right: Codes,
    y: npt.NDArray[np.int64],
    weights: Weights,
    found: npt.NDArray[np.float64],
) -> int:
    """Write what a comparison's common or rare values add, pair by pair."""
    for i in range(len(codes)):
        found[i] = frequency_gain(c, codes[i], left, x[i], right, y[i], weights)
    return len(codes)
