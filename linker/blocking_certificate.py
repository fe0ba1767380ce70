"""The certificate of blocking: the largest weight that a pair can have which no rule produces.

    weight(pair) = prior + sum over comparisons of (weight of its level + term frequency gain) - kin discount

Under the threshold of a run, blocking provably lost no link; above it, the witness shows what such a pair
would be like, and a rule on some of the columns that it agrees on would find it.

The bound is never too low. Take any pair of the records that no rule produces. Each rule fails on it: one of
its column pairs is not equal. What is true of the pair is a truth assignment to the atoms of `Logic` that
keeps all its implications, so every comparison's level is among those that are reachable under it. The
pair's weight is then at most the sum of the levels' weights under that assignment, each with the largest
gain that the records' rarest (or, for a negative share, commonest) value gives; the kin discount only takes
away. The search covers all assignments, and a node's bound is at least that of each assignment in it:
comparisons are bounded one by one, which can only be more. The first node taken from the top of the queue
whose comparisons and rules agree with one another is thus the largest.

It can be too high, as `Logic` does not know which texts there are, the rarest values may not meet in one
pair of records, and kin are not counted. It holds for the records it was made from.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any as Json

from linker.blocking_facts import Facts, Pair, Rarity
from linker.blocking_logic import Equal, Known, Logic, join
from linker.errors import ModelError
from linker.model import BlockingRule, Comparison, Level, Model

NODES = 20_000  # of the search; what is open then bounds the rest
ROUNDING = 1e-6  # bits; sums in another order differ by less


@dataclass(frozen=True)
class Reached:
    """A comparison of the witness.

    Attributes:
        comparison: its name.
        level: the label of the level; "missing" for the null level.
        weight: of the level, in bits.
        gain: the most that term frequencies add to it, in bits.
    """

    comparison: str
    level: str
    weight: float
    gain: float


@dataclass(frozen=True)
class Certificate:
    """What blocking can have lost.

    Attributes:
        bound: the largest weight of a pair that no rule produces, in bits; minus infinity if there is none.
        exact: the search came to its end; else the true bound may be lower.
        threshold: of the run, in bits; None if it was not said.
        witness: how a pair of this weight compares; empty if there is none.
        unequal: the column pairs that are unequal or missing in it, at least one of every rule.
        agreeing: column pairs that are equal in it: a rule on some of these would find it.
    """

    bound: float
    exact: bool
    threshold: float | None
    witness: tuple[Reached, ...] = ()
    unequal: tuple[Pair, ...] = ()
    agreeing: tuple[Pair, ...] = ()

    @property
    def lossless(self) -> bool | None:
        """Whether blocking provably lost no pair of the threshold; None without one."""
        return None if self.threshold is None else self.bound + ROUNDING < self.threshold

    def as_dict(self) -> dict[str, Json]:
        """Plain data; the bound is null where no pair can be lost."""
        return {
            "bound": self.bound if math.isfinite(self.bound) else None,
            "exact": self.exact,
            "threshold": self.threshold,
            "lossless": self.lossless,
            "witness": [
                {
                    "comparison": one.comparison,
                    "level": one.level,
                    "weight": _finite(one.weight),
                    "gain": one.gain,
                }
                for one in self.witness
            ],
            "unequal": [list(pair) for pair in self.unequal],
            "agreeing": [list(pair) for pair in self.agreeing],
        }


def certificate(
    model: Model,
    facts: Facts,
    threshold: float | None = None,
    *,
    rules: Sequence[BlockingRule] | None = None,
    nodes: int = NODES,
) -> Certificate:
    """The largest weight that a pair of the records can have which no rule produces.

    Args:
        model: a trained model.
        facts: of the records, by `linker.blocking_facts.observe`.
        threshold: the weight from which a run links, in bits.
        rules: those that are run, on column pairs that the facts know; None for the model's own.
        nodes: when to stop the search; the bound is then that of all that was not looked at.

    Raises:
        ModelError: a level has no m and u, or a u of 0.
    """
    search = _Search(model, facts, model.rules if rules is None else rules)
    if search.logic.beginning is None:
        return Certificate(-math.inf, True, threshold)
    counter = itertools.count()
    queue: list[tuple[float, int, _Node]] = []

    def push(known: Known | None) -> None:
        node = None if known is None else search.node(known)
        if node is not None:
            heapq.heappush(queue, (-node.bound, next(counter), node))

    push(search.logic.beginning)
    for _ in range(nodes):
        if not queue:
            return Certificate(-math.inf, True, threshold)
        node = heapq.heappop(queue)[2]
        whole = search.whole(node)
        if isinstance(whole, _Node):
            return search.found(whole, threshold)
        for known in whole:
            push(known)
    return Certificate(queue[0][2].bound if queue else -math.inf, not queue, threshold)


@dataclass(frozen=True)
class _Best:
    """The best level of a comparison, and one way to it."""

    value: float
    code: int
    way: Known


@dataclass(frozen=True)
class _Node:
    """What is assumed, the best of each comparison under it, and what they come to."""

    known: Known
    best: tuple[_Best, ...]
    bound: float


@dataclass
class _Search:
    model: Model
    facts: Facts
    rules: Sequence[BlockingRule]
    logic: Logic = field(init=False)

    def __post_init__(self) -> None:
        self.logic = Logic(self.model, self.facts)
        self._masks = self._weakest([self._mask(rule) for rule in self.rules])
        self._scopes = [self.logic.scope(one) for one in self.model.comparisons]
        self._memo: dict[tuple[int, int, int], _Best | None] = {}
        self._values = [self._ranked(one) for one in self.model.comparisons]

    def node(self, known: Known) -> _Node | None:
        """A node, or None where a rule holds or some comparison reaches nothing."""
        settled = self._settle(known)
        if settled is None:
            return None
        best = []
        for c in range(len(self.model.comparisons)):
            one = self._best(c, settled)
            if one is None:
                return None
            best.append(one)
        return _Node(settled, tuple(best), self.model.prior_weight + math.fsum(one.value for one in best))

    def whole(self, node: _Node) -> _Node | list[Known | None]:
        """The node with all its ways together, if one pair can go them all; else what it falls into."""
        merged, best = node.known, []
        for c, one in enumerate(node.best):
            both = join(merged, one.way)
            if both is None:
                # Another way to the same value may agree with the comparisons so far.
                again = self._best(c, merged)
                if again is None or again.value < one.value:
                    return self._split(node.known, merged, one.way)
                one, both = again, again.way
            best.append(one)
            merged = both
        for mask in self._masks:
            if mask & ~merged.true == 0:
                return list(self._failures(mask, node.known))
        return _Node(merged, tuple(best), node.bound)

    def found(self, node: _Node, threshold: float | None) -> Certificate:
        """The certificate that a whole node is."""
        equal = [self.logic.atoms[place] for place in _bits(node.known.true)]
        return Certificate(
            node.bound,
            True,
            threshold,
            tuple(self._reached(c, one) for c, one in enumerate(node.best)),
            self._unequal(node.known),
            tuple((atom.left, atom.right) for atom in equal if isinstance(atom, Equal)),
        )

    def _mask(self, rule: BlockingRule) -> int:
        mask = 0
        for pair in rule.columns:
            mask |= 1 << self.logic.equal(pair)
        return mask

    def _weakest(self, masks: Sequence[int]) -> list[int]:
        """The rules without those that only repeat another: where it fails, so do they."""
        kept: list[int] = []
        closed = {mask: self._all_true(mask) for mask in masks}
        for mask in dict.fromkeys(masks):
            others = [other for other in closed if other != mask and other & ~closed[mask] == 0]
            # Of rules that say the same, one is kept.
            if not any(mask & ~closed[other] or other in kept for other in others):
                kept.append(mask)
        return kept

    def _all_true(self, mask: int) -> int:
        """All that is equal where all of these are."""
        true = mask
        for place in _bits(mask):
            known = self.logic.assume(Known(0, 0), place, True)
            true |= 0 if known is None else known.true
        return true

    def _settle(self, known: Known) -> Known | None:
        """A rule of which all but one pair are equal fails by that one; None where a rule cannot fail."""
        while True:
            for mask in self._masks:
                open_ends = mask & ~known.true
                if open_ends & known.false:
                    continue
                if open_ends == 0:
                    return None
                if open_ends & (open_ends - 1) == 0:
                    more = self.logic.assume(known, open_ends.bit_length() - 1, False)
                    if more is None:
                        return None
                    known = more
                    break
            else:
                return known

    def _best(self, c: int, known: Known) -> _Best | None:
        scope = self._scopes[c]
        key = c, known.true & scope, known.false & scope
        if key not in self._memo:
            comparison, here = self.model.comparisons[c], Known(key[1], key[2])
            self._memo[key] = next(
                (
                    _Best(value, code, way)
                    for value, code in self._values[c]
                    for way in itertools.islice(self.logic.level_ways(comparison, code, here), 1)
                ),
                None,
            )
        best = self._memo[key]
        if best is None:
            return None
        way = join(known, best.way)
        return None if way is None else _Best(best.value, best.code, way)

    def _split(self, known: Known, merged: Known, way: Known) -> list[Known | None]:
        """The two sides of an atom on which two comparisons differ."""
        place = next(_bits(merged.true & way.false | merged.false & way.true))
        return [self.logic.assume(known, place, truth) for truth in (True, False)]

    def _failures(self, mask: int, known: Known) -> Iterator[Known | None]:
        """A rule fails by its first pair, or else by its second, and so on."""
        before: Known | None = known
        for place in _bits(mask & ~known.true):
            if before is None:
                return
            yield self.logic.assume(before, place, False)
            before = self.logic.assume(before, place, True)

    def _unequal(self, merged: Known) -> tuple[Pair, ...]:
        """Column pairs that are not equal, few of them, so that every rule fails by one."""
        chosen, left = 0, list(self._masks)
        while left:
            # What is not known to be unequal may be.
            able = [mask & merged.false or mask & ~merged.true for mask in left]
            place = max(
                {place for mask in able for place in _bits(mask)},
                key=lambda at: (merged.false >> at & 1, sum(mask >> at & 1 for mask in able), -at),
            )
            chosen |= 1 << place
            left = [mask for mask in left if not mask >> place & 1]
        atoms = [self.logic.atoms[place] for place in _bits(chosen)]
        return tuple((atom.left, atom.right) for atom in atoms if isinstance(atom, Equal))

    def _reached(self, c: int, best: _Best) -> Reached:
        comparison = self.model.comparisons[c]
        if best.code == 0:
            return Reached(comparison.name, "missing", 0.0, 0.0)
        level = comparison.levels[best.code - 1]
        return Reached(
            comparison.name,
            level.label,
            level.weight,
            best.value - level.weight if best.value > -math.inf else 0.0,
        )

    def _ranked(self, comparison: Comparison) -> list[tuple[float, int]]:
        """(most that it gives, code) of the null level and of every level, the best first."""
        values = [(0.0, 0)]
        for code, level in enumerate(comparison.levels, start=1):
            if level.weight == math.inf:
                raise ModelError(
                    "A level of the model has a u of 0: its weight has no bound.", "Give it a small u."
                )
            gain = 0.0 if level.tf is None else self._gain(comparison, code, level.tf)
            values.append((level.weight + gain, code))
        return sorted(values, key=lambda value: (-value[0], value[1]))

    def _gain(self, comparison: Comparison, code: int, column: str) -> float:
        """The most that term frequencies can add to a level."""
        level, base = comparison.levels[code - 1], comparison.levels[0].u
        if not base:
            raise ModelError(
                f"The comparison '{comparison.name}' has term frequencies but no u.", "Train it."
            )
        logic, rarity = self.logic, self.facts.rarity[column]
        beginning = logic.beginning or Known(0, 0)
        apart = logic.assume(beginning, logic.equal((column, column)), False)
        equal = apart is None or next(logic.level_ways(comparison, code, apart), None) is None
        return _most(level, math.log2(base), rarity, equal)


def _most(level: Level, base: float, rarity: Rarity, equal: bool) -> float:
    span = rarity.equal if equal else rarity.any
    gains = [] if span is None else [level.tf_weight * (base - frequency) for frequency in span]
    if not equal and rarity.absent:
        gains.append(0.0)
    return max(gains, default=0.0)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
