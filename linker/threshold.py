"""A threshold without labels: where the model's own probabilities expect the best F1.

Under one-to-one a pair also gains from what is taken. If most records have found their partner, the few
that are left are few partners for each other: adding one more link to a matching has the prior odds
M / ((n - M)(k - M)) rather than M / (n k) (the matching prior of Fortini et al. 2001 and Sadinle 2017). The
difference, in bits, lowers the threshold; it is nothing where a small file meets a large register.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linker.predict import probability

LEAST = -1.0  # bits; where nothing is likely, the best F1 would be to link what is merely least unlikely
MOST_GAIN = 6.0  # bits; beyond that the gain would rest on the last few records


@dataclass(frozen=True)
class Expectation:
    """What the model expects of links at a threshold.

    Attributes:
        threshold: in bits.
        precision: expected share of right links.
        recall: expected share of the matches among the candidates that are linked.
    """

    threshold: float
    precision: float
    recall: float


def matching_gain(left: int, right: int, matches: float) -> float:
    """Bits that a pair gains from one-to-one, once the other matches are made.

    Args:
        left, right: numbers of records.
        matches: expected matches.
    """
    spare = max(1.0, left - matches) * max(1.0, right - matches) / (left * right)
    return float(min(MOST_GAIN, max(0.0, -np.log2(spare))))


def expect(
    weights: npt.NDArray[np.float64], gain: float = 0.0, threshold: float | None = None
) -> Expectation:
    """The threshold of the best expected F1, or what to expect of a threshold that is given.

    Args:
        weights: match weights of the pairs that could be linked, in bits, low ones included.
        gain: bits that one-to-one adds to each.
        threshold: None to choose.
    """
    if not len(weights):
        return Expectation(0.0 if threshold is None else threshold, 1.0, 1.0)
    ranked = np.sort(weights)[::-1]
    right = np.cumsum(probability(ranked + gain))
    count, all_right = np.arange(1, len(ranked) + 1), max(float(right[-1]), 1e-9)
    if threshold is None:
        # Ties stand or fall together: a threshold can only lie after the last of them.
        ends = np.append(ranked[1:] != ranked[:-1], True)
        ends &= ranked + gain >= LEAST
        if not ends.any():
            return Expectation(LEAST - gain, 1.0, 0.0)
        best = int(np.argmax(np.where(ends, 2.0 * right / (count + all_right), -1.0)))
        threshold = float(ranked[best])
    linked = int(np.searchsorted(-ranked, -threshold, side="right"))
    found = float(right[linked - 1]) if linked else 0.0
    return Expectation(threshold, found / linked if linked else 1.0, found / all_right)
