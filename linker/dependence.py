"""Comparisons that depend on each other: what a model that adds weights counts twice.

The model takes the comparisons of a pair of records as independent, among matches and among strangers
(Fellegi and Sunter 1969; Winkler 1989 on what that costs). Often they are not: who has moved disagrees on
postcode and on town. For each two comparisons this sets how often both hold against how often both would
hold if they were independent, in bits:

    log2( P(both) / (P(one) P(other)) )

Among matches "holds" is disagreement, the last level; among strangers it is agreement, any level before.
That is the rare outcome of each, which carries the weight. Who is a match is not known, and the two
comparisons may not vote on it: a pair of records counts where all *other* comparisons leave hardly a doubt.
Each blocking rule shows what it does not fix; the one that shows most matches is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from linker.em import Bools, Floats, PatternCounts, ratios
from linker.model import Comparison

SURE = 0.99  # how sure the other comparisons must be; what is left of doubt is subtracted
TELLING = 1.0  # bits off, from which it is told
STRANGERS, MATCHES, KIN = 0, 1, 2  # kinds of pairs
LEAST_PAIRS = 30.0  # where both hold, as seen or as expected: chance alone is a quarter of a bit then


@dataclass(frozen=True)
class Dependence:
    """Two comparisons that are not independent.

    Attributes:
        first, second: their names.
        matches: among matches, which disagree on both; else among strangers, which agree on both.
        bits: above 0 both hold more often than if they were independent, and the two weights together are so
            much too large; below 0, too small.
        pairs: pairs of records that showed it.
    """

    first: str
    second: str
    matches: bool
    bits: float
    pairs: int

    @property
    def sentence(self) -> str:
        """For the user."""
        who, do, side = ("matches", "disagree", "against") if self.matches else ("strangers", "agree", "for")
        often, much = ("more", "too much") if self.bits > 0 else ("less", "too little")
        times, bits = 2 ** abs(self.bits), abs(self.bits)
        return (
            f"Among {who}, {self.first} and {self.second} {do} together {times:,.1f} times {often} often "
            f"than if they were independent: they count {bits:.1f} bits {much} {side} a link."
        )


@dataclass(frozen=True)
class Seen:
    """Patterns of some pairs of records.

    Attributes:
        patterns: how often each was seen.
        held: bool [comparisons], true for what the choice of the pairs fixes.
        matches: share of matches among them; 1 where all are known to match.
        kin: share of kin, two people of one household.
    """

    patterns: PatternCounts
    held: Bools
    matches: float
    kin: float = 0.0


def dependences(
    comparisons: Sequence[Comparison],
    m: Floats,
    u: Floats,
    kin: Floats,
    candidates: Sequence[Seen],
    random: Seen,
) -> tuple[Dependence, ...]:
    """Find comparisons that depend on each other by a bit or more, the largest first.

    Args:
        comparisons: of the model.
        m, u, kin: the fitted probabilities by level, [comparisons, width], as in `linker.em.Fit`.
        candidates: of each blocking rule, or the labelled pairs; they show the matches.
        random: random pairs; they show the strangers. Where some are kin, two comparisons that a household
            shares are not looked at: the model has the kin for them.
    """
    last = np.array([len(one.levels) for one in comparisons])
    fitted = _Fitted(last, np.stack([u, m, kin])[:, np.arange(len(last)), last], ratios(m, u), ratios(kin, u))
    found = []
    for first, second in combinations(range(len(comparisons)), 2):
        one, other = comparisons[first], comparisons[second]
        pair = [first, second]
        matches = [seen for seen in candidates if not seen.held[pair].any()]
        strangers = [] if random.kin > 0.0 and one.shared and other.shared else [random]
        for kind, sets in ((MATCHES, matches), (STRANGERS, strangers)):
            if not sets:
                continue
            # Rules find the same pairs again and again: to add them all up would feign evidence.
            most = max(sets, key=lambda seen: float(seen.patterns.counts.sum()) * seen.matches)
            bits, pairs = _bits(*_tables(most, pair, fitted, kind))
            if abs(bits) >= TELLING:
                found.append(Dependence(one.name, other.name, kind == MATCHES, round(bits, 2), round(pairs)))
    return tuple(sorted(found, key=lambda one: (-abs(one.bits), one.first, one.second, one.matches)))


@dataclass(frozen=True)
class _Fitted:
    """The model as it is needed here.

    Attributes:
        last: [comparisons], the code of the level that is disagreement.
        disagree: [kinds of pairs, comparisons], the probability of that level.
        match, relative: natural log of m/u and of kin/u, [comparisons, width].
    """

    last: npt.NDArray[np.int64]
    disagree: Floats
    match: Floats
    relative: Floats


def _tables(seen: Seen, pair: list[int], fitted: _Fitted, kind: int) -> tuple[Floats, Floats]:
    """In how many pairs of records of a kind neither, one and both comparisons hold, [2, 2].

    Returns:
        as seen, and how many of these are expected to be of another kind after all.
    """
    levels = seen.patterns.levels
    likely = _likely(seen, pair, fitted)
    chosen = (levels[:, pair] > 0).all(axis=1) & (likely[kind] >= SURE)
    counts = seen.patterns.counts[chosen]
    disagree = levels[chosen][:, pair] == fitted.last[pair]
    holds = disagree if kind == MATCHES else ~disagree
    table = np.bincount(holds @ [2, 1], counts, minlength=4).astype(np.float64).reshape(2, 2)
    wrong = np.zeros((2, 2))
    for other in {STRANGERS, MATCHES, KIN} - {kind}:
        one, two = fitted.disagree[other, pair] if kind == MATCHES else 1.0 - fitted.disagree[other, pair]
        wrong += counts @ likely[other, chosen] * np.outer([1.0 - one, one], [1.0 - two, two])
    return table, wrong


def _likely(seen: Seen, pair: list[int], fitted: _Fitted) -> Floats:
    """How likely each pattern is of each kind, [kinds, patterns], by all comparisons but the two."""
    levels = seen.patterns.levels
    voting = ~seen.held
    voting[pair] = False
    others = np.flatnonzero(voting)
    logs = np.full((3, len(levels)), -np.inf)
    shares = (1.0 - seen.matches - seen.kin, seen.matches, seen.kin)
    for kind, ratio in (
        (STRANGERS, np.zeros_like(fitted.match)),
        (MATCHES, fitted.match),
        (KIN, fitted.relative),
    ):
        if shares[kind] > 0.0:
            logs[kind] = math.log(shares[kind]) + ratio[others, levels[:, others]].sum(axis=1)
    return np.asarray(np.exp(logs - np.logaddexp.reduce(logs, axis=0)))


def _bits(table: Floats, wrong: Floats) -> tuple[float, float]:
    """How much more often both hold than if they were independent, and in how many pairs of records.

    0 where too few show it, or half of them may be of another kind.
    """
    right = np.maximum(table - wrong, 0.0)
    both, total = float(right[1, 1]), max(float(right.sum()), 1.0)
    expected = float(right[1].sum() * right[:, 1].sum()) / total
    if max(both, expected) < LEAST_PAIRS or wrong[1, 1] > 0.5 * table[1, 1]:
        return 0.0, both
    return math.log2((both + 0.5) / (expected + 0.5)), both
