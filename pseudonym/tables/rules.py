"""The rules for one cell: the threshold, dominance, rounding, and what each lets somebody conclude.

Thresholds and dominance are those of ACRO (Smith et al. 2023): ten, with zeros disclosive; a sum is unsafe if
the two largest contribute 90 % or more, or if the second largest contributor, who knows its own part, could
tell the largest to within 10 %. Here persons and families both have to meet them, since a large family meets
a threshold on persons alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pseudonym.tables.attack import UNBOUNDED

THRESHOLD: Final = 10
BASE: Final = 5
LARGEST: Final = 2
SHARE: Final = 0.9
WITHIN: Final = 0.1

Interval = tuple[float, float]


def few(persons: NDArray[np.int64], families: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether cells hold fewer persons or families than the threshold; none are fewer too."""
    found: NDArray[np.bool_] = (persons < THRESHOLD) | (families < THRESHOLD)
    return found


def dominated(
    total: NDArray[np.float64], largest: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether one or two contribute nearly all of a sum: (n, k) = (2, 0.9), and p % = 10.

    Args:
        total: of each cell.
        largest, second: contributions; 0 where there is none.
    """
    nk = largest + second >= SHARE * total
    p = total - largest - second < WITHIN * largest
    found: NDArray[np.bool_] = (nk | p) & (total > 0)
    return found


def rounded(value: float, base: int) -> int:
    """The nearest multiple of a base; of two that are as near, the even one."""
    return round(value / base) * base


def of_rounded(published: float) -> Interval:
    """Between which counts the true one lies that was rounded to this, and is above the threshold."""
    half = (BASE - 1) // 2
    return max(float(THRESHOLD), published - half), published + half


def of_perturbed(published: float, spread: int) -> Interval:
    """The same of one that noise up to so much was added to."""
    return max(float(THRESHOLD), published - spread), published + spread


def of_suppressed(amount: float, primary: bool) -> Interval:
    """What the threshold says of a suppressed count, to somebody who is told why it was suppressed.

    Args:
        amount: the true one.
        primary: whether it is suppressed for itself, and not to protect another.
    """
    if not primary:
        return float(THRESHOLD), UNBOUNDED
    # Of a cell with too few families alone there is nothing to be concluded about persons.
    return (0.0, THRESHOLD - 1.0) if amount < THRESHOLD else (0.0, UNBOUNDED)
