"""Expectation–maximisation of m over several blocking rules at once.

Candidates are of three kinds: the same person, strangers, and kin, two people of one household. Kin agree
on what a household shares and on nothing else; without a class of their own they pass for badly recorded
matches. Each rule shows the matches and the kin among its own candidates; what the rule fixes it cannot show,
so those comparisons are held out there. All rules share one m, and one h for kin; each has its own shares of
the kinds; u is given. This is a composite likelihood (Lindsay 1988; the hold-out is Splink's) over counts of
agreement patterns, so its cost does not grow with the number of pairs. A Dirichlet prior of a few
pseudo-observations of the expected m keeps levels bounded that the data hardly shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linker.kernels import kernel

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIRST_SHARE = 0.05  # of matches, and of kin, among a rule's candidates, to begin with
SETTLING = 20  # rounds in which m is held, until the kin have found their class
LEAST_SHARE = 1e-9
MOST_SHARE = 1 - 1e-6


@dataclass(frozen=True)
class PatternCounts:
    """How often each pattern of levels was seen.

    Attributes:
        levels: int64 [patterns, comparisons], level codes; 0 is null.
        counts: float64 [patterns].
    """

    levels: npt.NDArray[np.int64]
    counts: Floats

    @staticmethod
    def of(
        patterns: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64], bits: Sequence[int], counts: Floats
    ) -> PatternCounts:
        """Packed patterns with how often each was seen; one that stands there twice was seen both times."""
        distinct, places = np.unique(patterns, return_inverse=True)
        levels = (distinct[:, None] >> shifts[None, :]) & ((1 << np.asarray(bits, np.int64)) - 1)[None, :]
        return PatternCounts(levels, np.bincount(places, counts, minlength=len(distinct)).astype(np.float64))

    def level_counts(self, width: int) -> Floats:
        """Float64 [comparisons, width]: how often each level was reached."""
        columns = [np.bincount(column, self.counts, minlength=width) for column in self.levels.T]
        return np.stack(columns).astype(np.float64)  # of nothing, whole numbers are counted


@dataclass(frozen=True)
class Fit:
    """The outcome of EM.

    Attributes:
        m: float64 [comparisons, width]; column 0 (null) is 0.
        kin: P(level | two people of one household), the same shape; u where households share nothing.
        shares: of matches among each rule's candidates.
        seen: expected matches that showed each level, [comparisons, width].
        converged: the largest change of an m, or of a kin where m is held, fell under the tolerance.
        iterations: how many were made.
        kin_shares: of kin among each rule's candidates.
    """

    m: Floats
    kin: Floats
    shares: tuple[float, ...]
    seen: Floats
    converged: bool
    iterations: int
    kin_shares: tuple[float, ...] = ()


def fit(
    patterns: Sequence[PatternCounts],
    held_out: Sequence[Bools],
    expected: Floats,
    u: Floats,
    *,
    strength: float,
    shared: Bools | None = None,
    start: Fit | None = None,
    hold: bool = False,
    iterations: int = 500,
    tolerance: float = 1e-6,
) -> Fit:
    """Estimate m, or with `hold` the rest alone.

    Args:
        patterns: by rule.
        held_out: by rule, bool [comparisons], true where the rule fixes the comparison.
        expected: the m to begin with and to hold to, [comparisons, width], column 0 unused.
        u: [comparisons, width], positive.
        strength: pseudo-observations of the expected m for each comparison.
        shared: bool [comparisons], true for what a household shares; None or all false: no kin.
        start: go on from here.
        hold: m stays as expected, where the data has too few matches to learn it from.
        iterations: the limit.
        tolerance: the change of m that counts as none.
    """
    shared = np.zeros(len(expected), np.bool_) if shared is None else shared
    levels = np.concatenate([rule.levels for rule in patterns]).astype(np.int8)
    counts = np.concatenate([rule.counts for rule in patterns])
    rule_of = np.repeat(np.arange(len(patterns)), [len(rule.counts) for rule in patterns])
    totals = np.array([rule.counts.sum() for rule in patterns])
    held = np.stack(held_out)
    here = np.where(shared[:, None], expected, u)
    m, kin = (expected, here) if start is None else (start.m, np.where(shared[:, None], start.kin, u))
    matches = np.full(len(patterns), FIRST_SHARE) if start is None else np.array(start.shares)
    relatives = np.full(len(patterns), FIRST_SHARE if shared.any() else 0.0)
    seen = np.zeros_like(m)
    for iteration in range(1, iterations + 1):
        seen, seen_kin = np.zeros_like(m), np.zeros_like(m)
        found, found_kin = np.zeros(len(patterns)), np.zeros(len(patterns))
        _expect(
            levels, counts, rule_of, held, ratios(m, u), ratios(kin, u), matches, relatives,
            seen, seen_kin, found, found_kin,
        )  # fmt: skip
        matches = np.clip(found / totals, LEAST_SHARE, MOST_SHARE)
        if shared.any():
            relatives = np.clip(found_kin / totals, LEAST_SHARE, MOST_SHARE - matches)
        settling = start is None and iteration <= SETTLING and shared.any()
        updated = m if hold or settling else _shares(seen, strength * expected)
        updated = _no_favour(updated, u)
        before, kin = kin, np.where(shared[:, None], _shares(seen_kin, strength * expected), u)
        change = float(np.abs(updated - m).max() if not hold else np.abs(kin - before).max())
        m = updated
        if change < tolerance and (start is not None or iteration > SETTLING):
            return Fit(m, kin, tuple(matches.tolist()), seen, True, iteration, tuple(relatives.tolist()))
    return Fit(m, kin, tuple(matches.tolist()), seen, False, iterations, tuple(relatives.tolist()))


def _shares(seen: Floats, prior: Floats) -> Floats:
    seen[:, 0] = 0.0
    updated = seen + prior
    return np.asarray(updated / updated.sum(axis=1, keepdims=True))


def _no_favour(m: Floats, u: Floats) -> Floats:
    """The last level, disagreement, never speaks for one person: its m is at most its u."""
    rows = np.arange(len(m))
    last = m.shape[1] - 1 - np.argmax(m[:, ::-1] > 0, axis=1)
    at_most = np.minimum(m[rows, last], u[rows, last])
    rest = 1.0 - m[rows, last]
    scaled = m * np.where(rest > 0, (1.0 - at_most) / np.where(rest > 0, rest, 1.0), 1.0)[:, None]
    scaled[rows, last] = np.where(rest > 0, at_most, m[rows, last])
    return np.asarray(scaled)


@kernel
def _expect(
    levels: npt.NDArray[np.int8],
    counts: Floats,
    rule_of: npt.NDArray[np.int64],
    held: Bools,
    log_m: Floats,
    log_kin: Floats,
    matches: Floats,
    relatives: Floats,
    seen: Floats,
    seen_kin: Floats,
    found: Floats,
    found_kin: Floats,
) -> None:
    """One expectation step: adds each pattern's expected matches and kin to the outputs."""
    for i in range(len(counts)):
        rule = rule_of[i]
        one, other = np.log(matches[rule]), np.log(relatives[rule]) if relatives[rule] > 0 else -np.inf
        neither = np.log(max(1.0 - matches[rule] - relatives[rule], 1e-300))
        for c in range(levels.shape[1]):
            if not held[rule, c]:
                one += log_m[c, levels[i, c]]
                other += log_kin[c, levels[i, c]]
        top = max(one, max(other, neither))
        one, other, neither = np.exp(one - top), np.exp(other - top), np.exp(neither - top)
        match = counts[i] * one / (one + other + neither)
        relative = counts[i] * other / (one + other + neither)
        found[rule] += match
        found_kin[rule] += relative
        for c in range(levels.shape[1]):
            if not held[rule, c]:
                seen[c, levels[i, c]] += match
                seen_kin[c, levels[i, c]] += relative


def ratios(m: Floats, u: Floats) -> Floats:
    """Natural log of m/u by level, [comparisons, width]; 0 for null levels."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.log(m) - np.log(u)
    out[:, 0] = 0.0
    out[~np.isfinite(out)] = 0.0
    return np.asarray(out)


def pattern_ratio(patterns: PatternCounts, log_ratios: Floats) -> Floats:
    """Natural log likelihood ratio of each pattern."""
    return np.asarray(log_ratios[np.arange(patterns.levels.shape[1]), patterns.levels].sum(axis=1))
