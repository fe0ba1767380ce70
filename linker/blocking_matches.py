"""On which columns the records of one person agree: measured on links, or expected of a model.

Either way it is one table, a row a match and a column a column pair, so that what several rules catch
together is counted on it and needs no formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from linker.blocking_counts import Coded, Flags, Rows, equal
from linker.blocking_facts import Facts, Pair
from linker.blocking_logic import Logic
from linker.errors import ModelError, TruthError
from linker.model import BlockingRule, Comparison, Model

IMAGINED = 20_000  # matches; shares of them are off by less than one percent
OPEN = 0.5  # chance that a column agrees where a level that is not the last leaves it open


@dataclass(frozen=True)
class Matches:
    """Agreement of the two records of each match.

    Attributes:
        pairs: column pairs.
        equal: bool [matches, pairs].
        measured: on links; else imagined from a model.
    """

    pairs: tuple[Pair, ...]
    equal: Flags
    measured: bool
    _place: dict[Pair, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_place", {pair: place for place, pair in enumerate(self.pairs)})

    def caught(self, rule: BlockingRule) -> Flags:
        """Bool [matches]: the rule holds the match."""
        return np.asarray(self.equal[:, [self._place[pair] for pair in rule.columns]].all(axis=1))

    def caught_by_any(self, rules: Sequence[BlockingRule]) -> Flags:
        """Bool [matches]: some rule holds the match."""
        found = np.zeros(len(self.equal), np.bool_)
        for rule in rules:
            found |= self.caught(rule)
        return found


def measured_matches(pairs: Sequence[Pair], encoded: Coded, left: Rows, right: Rows) -> Matches:
    """What links show. They were found by some blocking, which flatters the rules that found them.

    Args:
        pairs: column pairs.
        encoded: the records.
        left, right: rows of the linked records.

    Raises:
        TruthError: there are no links.
    """
    if not len(left):
        raise TruthError("There are no links to measure by.", "Give links of these records.")
    ours, theirs = encoded.left[left], encoded.right[right]
    found = [equal(pair, encoded, ours, theirs) for pair in pairs]
    return Matches(tuple(pairs), np.stack(found, axis=1), True)


def expected_matches(
    pairs: Sequence[Pair], model: Model, facts: Facts, encoded: Coded, *, size: int = IMAGINED, seed: int = 0
) -> Matches:
    """Matches as a model's m imagines them: an estimate.

    Comparisons are taken to be independent. A level settles which of its columns agree; where it leaves one
    open, that agrees half the time, and in the last level as often as in two records at random. Values are
    missing as often as in the records.

    Args:
        pairs: column pairs; one that no comparison reads agrees by chance.
        model: m of each level; u is not read.
        facts: of the records, for this model.
        encoded: the records.
        size: how many matches to imagine.
        seed: of the chances.

    Raises:
        ModelError: a level has no m.
    """
    rng = np.random.default_rng(seed)
    logic = Logic(model, facts)
    reached = {one.name: rng.choice(len(one.levels), size, p=_m(one)) for one in model.comparisons}
    gaps: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    agreed: dict[Pair, Flags] = {}
    for pair in pairs:
        chance = _chance(pair, encoded)
        owner = _owner(pair, model)
        if owner is None:
            odds = np.full(size, chance)
        else:
            odds = np.array(_odds(pair, owner, logic, chance))[reached[owner.name]]
        agreed[pair] = rng.random(size) < odds
    for pair in pairs:  # what agrees in whole agrees in part
        for part in facts.implied.get(pair, ()):
            if part in agreed:
                agreed[part] = agreed[part] | agreed[pair]
    for pair in pairs:
        for side, name, codes in (("left", pair[0], encoded.left), ("right", pair[1], encoded.right)):
            # One draw for a field: its parts are missing together.
            gap = gaps.setdefault((side, name.split(".")[0]), rng.random(size))
            agreed[pair] = agreed[pair] & (gap >= (codes[:, encoded.column(name)] < 0).mean())
    return Matches(tuple(pairs), np.stack([agreed[pair] for pair in pairs], axis=1), False)


def _m(comparison: Comparison) -> npt.NDArray[np.float64]:
    shares = [level.m for level in comparison.levels]
    if any(m is None for m in shares):
        raise ModelError(f"A level of '{comparison.name}' has no m.", "Train the model first.")
    m = np.array(shares, np.float64)
    return m / m.sum() if m.sum() else np.full(len(m), 1.0 / len(m))


def _owner(pair: Pair, model: Model) -> Comparison | None:
    """The comparison that says most of a column pair: the field's own, or the first that reads it."""
    field = pair[0].split(".")[0]
    readers = [
        one
        for one in model.comparisons
        if {name.split(".")[0] for name in pair} <= {x.split(".")[0] for x in one.columns}
    ]
    return next((one for one in readers if one.name == field), readers[0] if readers else None)


def _odds(pair: Pair, comparison: Comparison, logic: Logic, chance: float) -> list[float]:
    """The chance that two columns are equal in a match, by level."""
    found = []
    for code in range(1, len(comparison.levels) + 1):
        able = [_able(pair, truth, comparison, code, logic) for truth in (True, False)]
        if able[0] != able[1]:
            found.append(float(able[0]))
        else:
            crossed = pair[0] != pair[1]
            found.append(chance if crossed or code == len(comparison.levels) else OPEN)
    return found


def _able(pair: Pair, truth: bool, comparison: Comparison, code: int, logic: Logic) -> bool:
    """Whether a level can be reached by a pair of records with these columns equal, or not equal."""
    known = logic.beginning and logic.assume(logic.beginning, logic.equal(pair), truth)
    return known is not None and next(logic.level_ways(comparison, code, known), None) is not None


def _chance(pair: Pair, encoded: Coded) -> float:
    """The chance that the columns of two records at random are equal."""
    ours, theirs = encoded.left[:, encoded.column(pair[0])], encoded.right[:, encoded.column(pair[1])]
    size = int(max(ours.max(initial=-1), theirs.max(initial=-1))) + 1
    counts, others = (
        np.bincount(side[side >= 0], minlength=size).astype(np.float64) for side in (ours, theirs)
    )
    return float(counts @ others / max(1.0, counts.sum() * others.sum()))
