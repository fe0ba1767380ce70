"""Training: u from random pairs, m by EM or from labels, the prior from what the candidates show.

    rows in canonical order → u (sampled, matches taken out) → m (EM over the rules) → prior → model

Everything is seeded and rests on the canonical order of the rows, so the order of a file changes nothing.
Where there are more pairs than training needs, rows taken at random stand for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any as Json

import numpy as np
import numpy.typing as npt

from linker.block import BlockIndex, block
from linker.conditions import Op, Test
from linker.dependence import Dependence, Seen, dependences
from linker.em import Bools, Fit, Floats, PatternCounts, fit, pattern_ratio, ratios
from linker.encode import Encoded, aligned, count_codes
from linker.model import Comparison, Level, Model
from linker.patterns import MOST_RULES, Batch, Tally, tally, tally_batches
from linker.predict import Progress, no_progress, score_rows
from linker.program import blank_weights, compile_tests, shifts
from linker.threads import each

SAMPLED_PAIRS = 2_000_000  # random pairs for u, …
SAMPLED_PAIRS_A_RECORD = 20
MOST_SAMPLED_PAIRS = 3_000_000  # … and no more: agreement itself is counted, not sampled
CANDIDATES = 3_000_000  # candidate pairs for m
BATCH_ROWS = 128  # random pairs are those of so many rows with so many others, which stay at hand
PRIOR_STRENGTH = 20.0  # pseudo-observations of the expected m
ROUNDS = 4
MOST_MATCHES = 0.99  # share of matches among all pairs, in files of a few records
DISORDER = 1.0  # bits by which a level may outweigh a better one before it is told
_FLOOR = 1e-9


@dataclass(frozen=True)
class Diagnostics:
    """What training found, told honestly.

    Attributes:
        method: "em", "labels", or "expectation" where hardly any record is there twice: m was not learnt.
        converged: EM's last change was under the tolerance; None for labels.
        iterations: of EM.
        expected_matches: among all pairs, by the trained model.
        unseen: (comparison, level) that no match is expected to have shown; m rests on expectation.
        out_of_order: (comparison, level) that weighs a bit or more above a better level: a near miss of a
            rare value can say more than the agreement of a common one, or the levels mean something else.
        pairs: candidate pairs used, by rule.
        dependent: comparisons that the model takes as independent although they are not, the worst first.
    """

    method: str
    converged: bool | None
    iterations: int
    expected_matches: float
    unseen: tuple[tuple[str, str], ...]
    out_of_order: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, int], ...]
    dependent: tuple[Dependence, ...] = ()

    @property
    def of_all(self) -> tuple[str, ...]:
        """Those warnings that are about the training as a whole."""
        said = []
        if self.converged is False:
            said.append(f"Training stopped at its limit of {self.iterations} rounds before it settled.")
        if self.method == "expectation":
            said.append("There are hardly any matches to learn from: every m is an expectation.")
        return tuple(said)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user; empty if all is well."""
        said = list(self.of_all)
        said += [
            f"No match showed '{level}' of {name}: its m is an expectation." for name, level in self.unseen
        ]
        said += [f"'{level}' of {name} weighs more than a better level." for name, level in self.out_of_order]
        said += [one.sentence for one in self.dependent]
        return tuple(said)

    def as_dict(self) -> dict[str, Json]:
        """Plain data, warnings included."""
        return asdict(self) | {"warnings": list(self.warnings)}


@dataclass(frozen=True)
class Training:
    """A trained model and how training went."""

    model: Model
    diagnostics: Diagnostics


def sampled(encoded: Encoded, size: int, seed: int) -> list[Batch]:
    """Batches of random pairs; every pair of a small set instead.

    Args:
        encoded: the records, in canonical order.
        size: how many pairs, about.
        seed: of the choice.
    """
    once = encoded.deduplicates
    lefts, rights = (
        [range(first, min(first + BATCH_ROWS, rows)) for first in range(0, rows, BATCH_ROWS)]
        for rows in (len(encoded.left), len(encoded.right))
    )
    if total_pairs(encoded) <= size:
        return [(x, y) for x in lefts for y in rights if not once or x.start <= y.start]
    rng, count = np.random.default_rng(seed), -(-size // BATCH_ROWS**2)
    chosen = zip(rng.integers(0, len(lefts), count), rng.integers(0, len(rights), count), strict=True)
    return [(lefts[x], rights[y]) for x, y in chosen if not once or x != y]


def total_pairs(encoded: Encoded) -> int:
    """All pairs that could be compared."""
    n, k = len(encoded.left), len(encoded.right)
    return max(1, n * (n - 1) // 2 if encoded.deduplicates else n * k)


@dataclass(frozen=True)
class _Evidence:
    """What both ways of training begin with.

    Attributes:
        random: [comparisons, width], P(level) of random pairs.
        ceiling: [comparisons], the most that u of the first level can be; infinity where nothing is known.
        sample: patterns of the random pairs.
        candidates: patterns of the candidate pairs that were looked at, each pair once, with their rules.
        union: patterns of all candidate pairs, as those that were looked at show them.
        total: all pairs that could be compared.
        compared: candidate pairs by rule.
    """

    random: Floats
    ceiling: Floats
    sample: PatternCounts
    candidates: Tally
    union: PatternCounts
    total: float
    compared: tuple[int, ...]


def train_em(
    model: Model,
    encoded: Encoded,
    blocks: Sequence[BlockIndex],
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Training:
    """Estimate u, m and the prior without labels.

    Args:
        model: comparisons whose m are expectations; rules; frequencies already filled.
        encoded: the records in canonical order.
        blocks: the model's rules, indexed.
        seed: of the random pairs.
        threads: None for one a core.
        progress: called with (stage, done, total); may raise to cancel.
    """
    evidence = _evidence(model, encoded, blocks, seed, threads, progress)
    comparisons = model.comparisons
    patterns, held = [], []
    for k, index in enumerate(blocks[:MOST_RULES]):
        seen = _of_rule(evidence.candidates, k, comparisons)
        if len(seen.counts):
            patterns.append(seen)
            fixed = {name.split(".")[0] for pair in index.rule.columns for name in pair}
            placed = any(one.place for one in comparisons if one.name in fixed)
            held.append(np.array([one.name in fixed or (placed and one.place) for one in comparisons]))
    expected = _expected(comparisons)
    shared = np.array([one.shared for one in comparisons])
    matches, kin = 0.5 * min(len(encoded.left), len(encoded.right)), 0.0
    u = without_matches(evidence.random, expected, matches / evidence.total, evidence.ceiling)
    first, most = u, matches
    found: Fit | None = None
    learnt = True
    for hold in (False, True):
        found, u, matches = None, first, most
        for _ in range(
            ROUNDS if patterns else 0
        ):  # u holds the matches among the random pairs until m is known, and m depends on u
            found = fit(
                patterns, held, expected, u, strength=PRIOR_STRENGTH, shared=shared, start=found, hold=hold
            )
            log_kin = ratios(found.kin, u) if shared.any() else None
            matches, kin = _expected_pairs(
                evidence.union, ratios(found.m, u), log_kin, evidence.total, matches
            )
            u = without_matches(evidence.random, found.m, matches / evidence.total, evidence.ceiling)
        learnt = not hold
        if found is None or _are_persons(found.m, expected, shared):
            break
    if found is None:  # nothing to compare, nothing learnt
        found, matches = Fit(expected, u, (), np.zeros_like(expected), True, 0), 0.5
    trained = _trained(model, found.m, u, matches, evidence.total)
    trained = _with_kin(trained, found.kin, kin / evidence.total)
    told = _diagnostics(trained, found, matches, blocks, evidence.compared)
    shown = [Seen(*one) for one in zip(patterns, held, found.shares, found.kin_shares, strict=True)]
    random = Seen(evidence.sample, np.zeros(len(comparisons), np.bool_), trained.prior, trained.kin)
    dependent = dependences(comparisons, found.m, u, found.kin, shown, random)
    if not learnt:
        told = replace(told, method="expectation", unseen=())
    return Training(trained, replace(told, dependent=dependent))


def _are_persons(m: Floats, expected: Floats, shared: Bools) -> bool:
    """Whether those whom EM took for one person mostly agree on what is a person's own.

    Where hardly anybody is there twice, it may take something else for the matches: brothers and sisters who
    write their address differently.
    """
    own = ~shared
    return int((m[own, 1] < 0.5 * expected[own, 1]).sum()) <= 0.5 * int(own.sum())


def train_labels(
    model: Model,
    encoded: Encoded,
    blocks: Sequence[BlockIndex],
    matched: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Training:
    """Estimate m from pairs known to be one person, u and the prior as without labels.

    Args:
        matched: left and right rows of the pairs; all else as in `train_em`.
    """
    evidence = _evidence(model, encoded, blocks, seed, threads, progress)
    comparisons = model.comparisons
    tests, nothing = compile_tests(comparisons, encoded), blank_weights(comparisons)
    _, patterns = score_rows(encoded, *matched, tests, nothing)
    expected = _expected(comparisons)
    bits = [one.bits for one in comparisons]
    known = PatternCounts.of(patterns, shifts(comparisons), bits, np.ones(len(patterns)))
    seen = known.level_counts(expected.shape[1])
    seen[:, 0] = 0.0
    m = seen + PRIOR_STRENGTH * expected
    m /= m.sum(axis=1, keepdims=True)
    u, matches = evidence.random, float(len(matched[0]))
    for _ in range(ROUNDS):
        matches = expected_matches(evidence.union, ratios(m, u), evidence.total, matches)
        u = without_matches(evidence.random, m, matches / evidence.total, evidence.ceiling)
    trained = _trained(model, m, u, matches, evidence.total)
    told = _diagnostics(trained, Fit(m, u, (), seen, True, 0), matches, blocks, evidence.compared)
    free = np.zeros(len(comparisons), np.bool_)
    labelled, random = Seen(known, free, 1.0), Seen(evidence.sample, free, trained.prior)
    dependent = dependences(comparisons, m, u, u, [labelled], random)
    return Training(trained, replace(told, method="labels", converged=None, dependent=dependent))


def matches_expected_by(model: Model, encoded: Encoded) -> float:
    """Matches among all pairs that the model's prior amounts to."""
    return model.prior * total_pairs(encoded)


def _evidence(
    model: Model,
    encoded: Encoded,
    blocks: Sequence[BlockIndex],
    seed: int,
    threads: int | None,
    progress: Progress,
) -> _Evidence:
    comparisons = model.comparisons
    tests, nothing = compile_tests(comparisons, encoded), blank_weights(comparisons)
    records = len(encoded.left) + len(encoded.right)
    size = min(MOST_SAMPLED_PAIRS, max(SAMPLED_PAIRS, SAMPLED_PAIRS_A_RECORD * records))
    progress("sample", 0, 1)
    sample = tally_batches(encoded, sampled(encoded, size, seed), tests, comparisons, threads=threads)
    shown = _counts(sample, comparisons)
    random = _shares(shown.level_counts(nothing.weight.shape[1]), comparisons)
    ceiling = _count_agreements(random, comparisons, encoded)
    progress("sample", 1, 1)
    some, their_blocks = _some_rows(encoded, blocks, seed)
    seen = tally(some, their_blocks, tests, comparisons, threads=threads, progress=progress, stage="train")
    total = float(total_pairs(encoded))
    union = _counts(seen, comparisons)
    scaled = replace(union, counts=union.counts * (total / total_pairs(some)))
    return _Evidence(random, ceiling, shown, seen, scaled, total, seen.compared)


def _some_rows(
    encoded: Encoded, blocks: Sequence[BlockIndex], seed: int
) -> tuple[Encoded, Sequence[BlockIndex]]:
    """As many rows as give the candidates that training needs, at random; of both sides if one is both."""
    share = CANDIDATES / max(1, sum(each(BlockIndex.count, blocks)))
    if share >= 1.0:
        return encoded, blocks
    rows = len(encoded.right)
    many = round(rows * (share**0.5 if encoded.deduplicates else share))
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(rows, max(2, many)), replace=False))
    part = aligned(len(chosen), encoded.right.shape[1])
    part[:] = encoded.right[chosen]
    if not encoded.deduplicates:
        return replace(encoded, right=part), blocks
    some = replace(encoded, left=part, right=part)
    return some, block([index.rule for index in blocks], some)


def _count_agreements(random: Floats, comparisons: Sequence[Comparison], encoded: Encoded) -> Floats:
    """Put the exact chance of agreement, from the values' frequencies, in the place of the sampled one.

    Sampling seldom sees a rare agreement, such as that of two dates of birth.

    Returns:
        [comparisons], the chance of agreement within one side, the larger of the two: two files have few
        matches inside, so that different people agree no more often. Infinity where that says nothing.
    """
    ceiling = np.full(len(comparisons), np.inf)
    for i, chances in enumerate(each(lambda one: _agreement(one, encoded), comparisons)):
        if chances is None:
            continue
        within, across = chances
        agree = within if encoded.deduplicates else across
        if max(agree, random[i, 1]) < 1.0:
            random[i] *= (1.0 - agree) / (1.0 - random[i, 1])
            random[i, 1] = agree
        if not encoded.deduplicates:
            ceiling[i] = within
    return ceiling


def _agreement(comparison: Comparison, encoded: Encoded) -> tuple[float, float] | None:
    """The chance of agreement within one side and across, for a first level that is plain agreement."""
    first = comparison.levels[0].condition
    if not isinstance(first, Test) or first.op is not Op.EXACT or first.left != first.right:
        return None
    column, size = encoded.column(first.left), encoded.offsets[first.left][1]
    seen = np.zeros((2, size), np.int64)
    count_codes(encoded.left, column, seen[0])
    count_codes(encoded.right, column, seen[1])
    counts, others = seen.astype(np.float64)
    return max(_chance(counts, None), _chance(others, None)), _chance(counts, others)


def _chance(counts: Floats, others: Floats | None) -> float:
    """The chance that two values are equal, of one side and the other or, without others, of one side.

    Half an observation is added to the pairs that agree.
    """
    n, k = counts.sum(), counts.sum() - 1 if others is None else others.sum()
    equal = float(np.sum(counts * (counts - 1 if others is None else others)))
    return float((equal + 0.5) / (max(n, 0.0) * max(k, 0.0) + 1.0))


def _counts(seen: Tally, comparisons: Sequence[Comparison]) -> PatternCounts:
    bits = [one.bits for one in comparisons]
    return PatternCounts.of(seen.pattern, shifts(comparisons), bits, seen.counts.astype(np.float64))


def _of_rule(seen: Tally, k: int, comparisons: Sequence[Comparison]) -> PatternCounts:
    """What one rule shows, whatever other rules hold the pairs too."""
    its = (seen.held >> k) & 1 == 1
    return _counts(Tally(seen.pattern[its], seen.held[its], seen.counts[its], ()), comparisons)


def _trained(model: Model, m: Floats, u: Floats, matches: float, total: float) -> Model:
    prior = min(0.5, max(matches, 0.5) / total)
    # A value that is not listed is no commoner than the average: in a small file with duplicates its two
    # records would make it look so.
    average = {x.tf: float(u[i, 1]) for i, one in enumerate(model.comparisons) for x in one.levels if x.tf}
    frequencies = {
        column: replace(table, rare=min(table.rare, average.get(column, 1.0)))
        for column, table in model.frequencies.items()
    }
    return replace(model, comparisons=_with(model.comparisons, m, u), prior=prior, frequencies=frequencies)


def expected_matches(union: PatternCounts, log_ratios: Floats, total: float, start: float) -> float:
    """Fixed point of: the expected matches among the candidates under the prior that they make.

    Args:
        union: patterns of all candidate pairs.
        log_ratios: natural log of m/u, [comparisons, width].
        total: all pairs that could be compared.
        start: matches to begin with.
    """
    return _expected_pairs(union, log_ratios, None, total, start)[0]


def _expected_pairs(
    union: PatternCounts, log_ratios: Floats, log_kin: Floats | None, total: float, start: float
) -> tuple[float, float]:
    """Expected matches and expected pairs of kin, at the same fixed point; no kin without `log_kin`."""
    ratio, matches = pattern_ratio(union, log_ratios), max(start, 0.5)
    kin_ratio = np.full_like(ratio, -np.inf) if log_kin is None else pattern_ratio(union, log_kin)
    kin = max(start, 0.5)
    for _ in range(200):
        one, other = np.log(matches / total) + ratio, np.log(kin / total) + kin_ratio
        everything = np.logaddexp(0.0, np.logaddexp(one, other))
        before, matches = matches, max(0.5, float(union.counts @ np.exp(one - everything)))
        kin = max(0.5, float(union.counts @ np.exp(other - everything)))
        if abs(matches - before) < 1e-6 * before:
            break
    return matches, 0.0 if log_kin is None else kin


def without_matches(random: Floats, m: Floats, share: float, ceiling: Floats | None = None) -> Floats:
    """The u of different people, from the levels of random pairs of which a share are the same person.

    Args:
        random, m: [comparisons, width].
        share: of matches among the random pairs.
        ceiling: [comparisons], the most that u of the first level can be; None: nothing is known of it.
    """
    share = min(share, MOST_MATCHES)
    u = (random - share * m) / (1.0 - share)
    u = np.where(random > 0, np.maximum(u, np.maximum(random * 0.02, _FLOOR)), 0.0)
    if ceiling is not None:
        u[:, 1] = np.minimum(u[:, 1], ceiling)
    return np.asarray(u / u.sum(axis=1, keepdims=True))


def _expected(comparisons: Sequence[Comparison]) -> Floats:
    """The m that the model came with, [comparisons, width]."""
    start = np.zeros((len(comparisons), 1 + max(len(comparison.levels) for comparison in comparisons)))
    for i, comparison in enumerate(comparisons):
        m = np.array([level.m or 0.001 for level in comparison.levels])
        start[i, 1 : len(m) + 1] = m / m.sum()
    return start


def _shares(counts: Floats, comparisons: Sequence[Comparison]) -> Floats:
    """Level counts of random pairs as probabilities, half an observation added to each level."""
    smoothed = counts.copy()
    smoothed[:, 0] = 0.0
    for i, comparison in enumerate(comparisons):
        smoothed[i, 1 : len(comparison.levels) + 1] += 0.5
    return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True))


def _with(comparisons: Sequence[Comparison], m: Floats, u: Floats) -> tuple[Comparison, ...]:
    def level(i: int, code: int, one: Level) -> Level:
        return replace(one, m=float(m[i, code]), u=float(u[i, code]))

    return tuple(
        replace(
            comparison, levels=tuple(level(i, k, one) for k, one in enumerate(comparison.levels, start=1))
        )
        for i, comparison in enumerate(comparisons)
    )


def _with_kin(model: Model, kin: Floats, share: float) -> Model:
    """The model with what is known of relatives, where households share anything."""
    if share <= 0.0:
        return model
    comparisons = tuple(
        replace(
            one, levels=tuple(replace(x, kin=float(kin[i, k])) for k, x in enumerate(one.levels, start=1))
        )
        if one.shared
        else one
        for i, one in enumerate(model.comparisons)
    )
    return replace(model, comparisons=comparisons, kin=min(0.5, share))


def _diagnostics(
    model: Model, found: Fit, matches: float, blocks: Sequence[BlockIndex], compared: Sequence[int]
) -> Diagnostics:
    unseen, disorder = [], []
    for i, comparison in enumerate(model.comparisons):
        weights = [level.weight for level in comparison.levels]
        for code, level in enumerate(comparison.levels, start=1):
            if found.seen[i, code] < 0.5:
                unseen.append((comparison.name, level.label))
            elif any(weights[code - 1] > better + DISORDER for better in weights[: code - 1]):
                disorder.append((comparison.name, level.label))
    return Diagnostics(
        "em", found.converged, found.iterations, matches, tuple(unseen), tuple(disorder),
        tuple((index.rule.name, n) for index, n in zip(blocks, compared, strict=True)),
    )  # fmt: skip
