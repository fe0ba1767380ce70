"""Blocking rules to add: what catches the most matches for its pairs, then what the certificate asks for.

Candidates are one, two or three standard columns of which no fewer are affordable. The first part is the
greedy choice of budgeted maximum coverage (Khuller, Moss and Naor 1999). The second adds a rule on columns
that the certificate's witness agrees on, until it is under the threshold or nothing affordable is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any as Json

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.blocking_certificate import Certificate, certificate
from linker.blocking_counts import Blocks, Coded
from linker.blocking_facts import Facts, Pair
from linker.blocking_matches import Matches
from linker.model import BlockingRule, Model

SAMPLED_RECORDS = 20_000  # of each side, to judge by what a rule costs before it is counted
WORTH = 0.0005  # the least share of the matches that a rule must add
MOST_COLUMNS = 3
SHARE = 3  # a rule for the matches may cost this part of the budget, so that one rule does not take it all
MOST = 8  # rules suggested
TRIED = 12  # rules tried against one witness
# Parts that say the same as another, or differ from record to record for no reason of their own.
_UNFIT = ("days", "swapped", "expanded")


@dataclass(frozen=True)
class Suggestion:
    """A rule to add, after those before it.

    Attributes:
        rule: the rule.
        pairs: its candidates, those of other rules included; exact.
        caught: share of the matches that it catches.
        adds: share of the matches that no rule before it catches.
        certificate: of all rules with this one; None without a trained model.
    """

    rule: BlockingRule
    pairs: int
    caught: float
    adds: float
    certificate: Certificate | None

    def as_dict(self) -> dict[str, Json]:
        """Plain data."""
        return {
            "rule": self.rule.name,
            "pairs": self.pairs,
            "caught": self.caught,
            "adds": self.adds,
            "certificate": None if self.certificate is None else self.certificate.as_dict(),
        }


def candidate_columns(left: pl.DataFrame, right: pl.DataFrame | None) -> tuple[str, ...]:
    """The standard columns that a rule can rest on: both sides have them, with more than one value."""
    sides = [left] if right is None else [left, right]
    return tuple(
        name
        for name in left.columns
        if name.split(".")[-1] not in _UNFIT
        and all(name in side and not side.schema[name].is_nested() for side in sides)
        and all(side[name].drop_nulls().n_unique() > 1 for side in sides)
    )


def suggest_rules(
    columns: Sequence[str],
    encoded: Coded,
    matches: Matches,
    facts: Facts,
    *,
    rules: Sequence[BlockingRule],
    budget: int,
    model: Model | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> tuple[Suggestion, ...]:
    """Rules worth adding, in the order of choice.

    Args:
        columns: that a rule may rest on, each compared with itself.
        encoded: the records.
        matches: on which columns the records of one person agree.
        facts: of the records, for these columns.
        rules: those that are there already.
        budget: candidates that all suggestions together may cost.
        model: trained, for the certificate; None to leave it out.
        threshold: of a run, in bits; None: rules are not chosen for the certificate.
        seed: of the sample.
    """
    search = _Search(encoded, matches, facts, list(rules), budget, model, threshold, _Costs(encoded, seed))
    return (*search.for_matches(columns), *search.for_certificate(columns))


class _Costs:
    """What rules cost: about, from a sample of the records, and exactly."""

    def __init__(self, encoded: Coded, seed: int) -> None:
        self._encoded = encoded
        rng = np.random.default_rng(seed)
        left = _some(encoded.left, rng)
        right = left if encoded.deduplicates else _some(encoded.right, rng)
        self._sample = _Sample(left, right, encoded)
        self._scale = max(1, _all_pairs(encoded)) / max(1, _all_pairs(self._sample))
        self._about: dict[BlockingRule, float] = {}

    def about(self, rule: BlockingRule) -> float:
        if rule not in self._about:
            self._about[rule] = Blocks.of(rule, self._sample).pairs * self._scale
        return self._about[rule]

    def exactly(self, rule: BlockingRule) -> int:
        pairs = Blocks.of(rule, self._encoded).pairs
        self._about[rule] = float(pairs)
        return pairs


@dataclass(frozen=True)
class _Sample:
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    whole: Coded

    @property
    def deduplicates(self) -> bool:
        return self.left is self.right

    def column(self, name: str) -> int:
        return self.whole.column(name)


@dataclass
class _Search:
    encoded: Coded
    matches: Matches
    facts: Facts
    rules: list[BlockingRule]
    budget: int
    model: Model | None
    threshold: float | None
    costs: _Costs

    def __post_init__(self) -> None:
        self.missed = ~self.matches.caught_by_any(self.rules)
        self.chosen = 0

    def for_matches(self, columns: Sequence[str]) -> Iterator[Suggestion]:
        """The rule that adds the most matches for its pairs, again and again."""
        records = len(self.encoded.left) + (0 if self.encoded.deduplicates else len(self.encoded.right))
        caught = {
            rule: self.matches.caught(rule)
            for rule in self.affordable([(name, name) for name in columns], SHARE)
        }
        while self.chosen < MOST and caught:
            adds = {rule: float((found & self.missed).mean()) for rule, found in caught.items()}
            # What costs next to nothing is not worth infinitely much.
            best = max(
                caught,
                key=lambda rule: (
                    adds[rule] / (self.costs.about(rule) + records),
                    -len(rule.name),
                    rule.name,
                ),
            )
            if adds[best] < WORTH:
                caught = {rule: found for rule, found in caught.items() if adds[rule] >= WORTH}
                continue
            about, pairs = self.costs.about(best), self.costs.exactly(best)
            if pairs <= self.budget and pairs > 2 * about + records:
                continue  # it costs more than it seemed: another may be better now
            del caught[best]
            if pairs <= self.budget:
                yield self.choose(best, pairs)

    def for_certificate(self, columns: Sequence[str]) -> Iterator[Suggestion]:
        """The rule that lowers the certificate the most, again and again, until it is under the threshold."""
        if self.model is None or self.threshold is None:
            return
        now = self.certify(self.rules)
        while self.chosen < MOST and not now.lossless:
            agreeing = [pair for pair in now.agreeing if pair[0] == pair[1] and pair[0] in columns]
            able = sorted(self.affordable(agreeing), key=lambda rule: (self.costs.about(rule), rule.name))
            lower = {rule: self.certify([*self.rules, rule]).bound for rule in able[:TRIED]}
            while lower:
                best = min(lower, key=lambda rule: (lower[rule], self.costs.about(rule), rule.name))
                del lower[best]
                pairs = self.costs.exactly(best)
                if pairs <= self.budget:
                    break
            else:
                return
            suggestion = self.choose(best, pairs)
            yield suggestion
            assert suggestion.certificate is not None  # there is a model
            now = suggestion.certificate

    def affordable(self, pairs: Iterable[Pair], share: int = 1) -> list[BlockingRule]:
        """Rules on few columns that seem to keep to a share of the budget; none that only narrows another."""
        found: list[BlockingRule] = []
        here = list(pairs)
        for size in range(1, MOST_COLUMNS + 1):
            for columns in combinations(here, size):
                rule = BlockingRule(columns)
                if any(set(fewer.columns) <= set(columns) for fewer in found) or self._repeats(columns):
                    continue
                if self.costs.about(rule) * share <= self.budget:
                    found.append(rule)
        there = {frozenset(rule.columns) for rule in self.rules}
        return [rule for rule in found if frozenset(rule.columns) not in there]

    def choose(self, rule: BlockingRule, pairs: int) -> Suggestion:
        caught = self.matches.caught(rule)
        adds = float((caught & self.missed).mean())
        self.missed &= ~caught
        self.rules.append(rule)
        self.budget -= pairs
        self.chosen += 1
        bound = None if self.model is None else self.certify(self.rules)
        return Suggestion(rule, pairs, float(caught.mean()), adds, bound)

    def certify(self, rules: Sequence[BlockingRule]) -> Certificate:
        assert self.model is not None  # asked for only then
        return certificate(self.model, self.facts, self.threshold, rules=rules)

    def _repeats(self, columns: Sequence[Pair]) -> bool:
        """Whether one column follows from another of the rule."""
        return any(other in self.facts.implied.get(one, ()) for one in columns for other in columns)


def _some(codes: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    if len(codes) <= SAMPLED_RECORDS:
        return codes
    return codes[rng.choice(len(codes), SAMPLED_RECORDS, replace=False)]


def _all_pairs(encoded: Coded) -> int:
    n, k = len(encoded.left), len(encoded.right)
    return n * (n - 1) // 2 if encoded.deduplicates else n * k
