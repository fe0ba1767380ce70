"""Blocking before a run: what each rule costs, what the rules together can lose, and which rules to add.

counts        pairs of each rule, new ones, largest blocks      exact, from the records alone
missed        share of the matches that no rule holds           an estimate, from m or from links
certificate   the largest weight that a pair can have           a bound, from a trained model
              which no rule produces
suggestions   rules to add, each with all of these
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any as Json

import polars as pl

from linker.blocking_certificate import Certificate, certificate
from linker.blocking_counts import Block, RuleCount, count_pairs, parse_rule
from linker.blocking_facts import observe
from linker.blocking_losses import refuse_raw
from linker.blocking_matches import Matches, expected_matches, measured_matches
from linker.blocking_suggest import Suggestion, candidate_columns, suggest_rules
from linker.derive import standard_columns
from linker.encode import Encoded, encode
from linker.errors import ModelError
from linker.labels import matched_rows
from linker.model import BlockingRule, Model
from linker.records import Records
from linker.workup import ALL_PAIRS_A_RECORD, SMALL, work_up

BUDGET = float(ALL_PAIRS_A_RECORD)  # pairs a record that suggestions may cost together


@dataclass(frozen=True)
class Blocking:
    """What is known of blocking before a run.

    Attributes:
        records: how many, of each side.
        possible: all pairs that could be compared.
        counts: of each rule, in order.
        left_out: of the default rules that a run would leave out, as they cost too much.
        missed: the share of the matches that no rule holds, an estimate.
        measured: it was measured on links; else a model's m says so, its comparisons taken as independent.
        certificate: None without a trained model.
        suggestions: rules to add, in the order of choice; None if they were not asked for.
        columns: the standard columns of each side, to look up what a block is about: personal data.
    """

    records: tuple[int, ...]
    possible: int
    counts: tuple[RuleCount, ...]
    left_out: tuple[RuleCount, ...]
    missed: float
    measured: bool
    certificate: Certificate | None
    suggestions: tuple[Suggestion, ...] | None
    columns: tuple[pl.DataFrame, ...]

    @property
    def pairs(self) -> int:
        """Candidates of all rules, each once; about, where a count is estimated."""
        return sum(count.new for count in self.counts)

    @property
    def estimated(self) -> bool:
        """`pairs` rests on samples."""
        return any(count.estimated for count in self.counts)

    def values(self, rule: BlockingRule, block: Block) -> tuple[str, ...]:
        """What the records of a block agree on: personal data."""
        return tuple(str(self.columns[0][block.row, left]) for left, _ in rule.columns)

    def as_dict(self) -> dict[str, Json]:
        """Plain data; no value of a record."""
        return {
            "records": list(self.records),
            "possible_pairs": self.possible,
            "pairs": self.pairs,
            "estimated": self.estimated,
            "rules": [count.as_dict() for count in self.counts],
            "rules_left_out": [count.as_dict() for count in self.left_out],
            "estimated_share_of_matches_missed": self.missed,
            "missed_measured_on_links": self.measured,
            "certificate": None if self.certificate is None else self.certificate.as_dict(),
            "suggestions": None
            if self.suggestions is None
            else [suggestion.as_dict() for suggestion in self.suggestions],
        }


def examine(
    left: Records,
    right: Records | None = None,
    *,
    model: Model | None = None,
    threshold: float | None = None,
    rules: Sequence[BlockingRule] = (),
    links: pl.DataFrame | None = None,
    suggest: bool = False,
    budget: float = BUDGET,
    seed: int = 0,
) -> Blocking:
    """Count, certify and improve the blocking of two sets of records, or of one against itself.

    Args:
        left: records.
        right: the other side; None to deduplicate the left.
        model: trained; None for the defaults of the fields, which have no certificate.
        threshold: the weight from which a run links, in bits.
        rules: in the place of the model's, or of the default ones.
        links: left and right ids of pairs that are one person; None to go by the model's m.
        suggest: also look for rules to add.
        budget: pairs a record that these may cost together.
        seed: of the samples.

    Raises:
        LinkerError: the records, the model, a rule or the links do not fit one another.
    """
    refuse_raw(model)
    work = work_up((left,) if right is None else (left, right), model)
    columns = tuple(standard_columns(side) for side in work.sides)
    chosen = tuple(rules) or work.model.rules
    left_out = () if rules else tuple(parse_rule(name) for name in work.left_out)
    _check_columns((*chosen, *left_out), columns)
    own, other = columns[0], columns[1] if len(columns) > 1 else None
    candidates = candidate_columns(own, other) if suggest else ()
    alone = (BlockingRule(((name, name),)) for name in candidates)
    # Codes and facts for every rule that may come into play.
    wide = replace(work.model, rules=(*chosen, *left_out, *alone))
    encoded = encode(own, other, wide)
    facts = observe(wide, encoded, own, other)
    pairs = sorted({pair for rule in wide.rules for pair in rule.columns})
    matches: Matches
    if links is None:
        matches = expected_matches(pairs, wide, facts, encoded, seed=seed)
    else:
        matches = measured_matches(pairs, encoded, *matched_rows(links, work.ids[0], work.ids[-1]))
    records = tuple(len(side.ids) for side in work.sides)
    certified = None if model is None else certificate(wide, facts, threshold, rules=chosen)
    suggestions = None
    if suggest:
        suggestions = suggest_rules(
            candidates,
            encoded,
            matches,
            facts,
            rules=chosen,
            budget=max(SMALL, int(budget * sum(records))),
            model=None if model is None else wide,
            threshold=threshold,
            seed=seed,
        )
    counts = count_pairs((*chosen, *left_out), encoded, seed=seed)
    return Blocking(
        records,
        _possible(encoded),
        counts[: len(chosen)],
        counts[len(chosen) :],
        1.0 - float(matches.caught_by_any(chosen).mean()),
        matches.measured,
        certified,
        suggestions,
        columns,
    )


def _possible(encoded: Encoded) -> int:
    n, k = len(encoded.left), len(encoded.right)
    return n * (n - 1) // 2 if encoded.deduplicates else n * k


def _check_columns(rules: Sequence[BlockingRule], columns: Sequence[pl.DataFrame]) -> None:
    own, other = columns[0], columns[-1]
    for rule in rules:
        if all(left in own and right in other for left, right in rule.columns):
            continue
        raise ModelError(
            f"The rule '{rule.name}' names a column that the records do not have.",
            f"Their columns are: {', '.join(name for name in own.columns if name in other)}.",
        )
