"""Why a pair has its weight: each comparison's level, its words and its bits, adding up exactly.

The steps are those of the kernel in the kernel's order, so that the last running total *is* the stored
weight, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any as Json

import numpy as np
import polars as pl

from linker.composed import with_composed
from linker.derive import standard_columns
from linker.encode import Codes, encode
from linker.errors import RecordsError
from linker.model import Comparison, Model
from linker.predict import probability, score_rows
from linker.program import Weights, compile_tests, compile_weights
from linker.raw import model_columns
from linker.records import Records
from linker.score import frequency_gain, kin_discount

NOT_KNOWN = "not known"
RELATIVES = "relatives"


@dataclass(frozen=True)
class Step:
    """One comparison's part in the weight.

    Attributes:
        comparison: its name; "relatives" for the last step, which weighs the other explanation.
        level: the words of the level reached; "not known" where a value is missing, and "said by the others"
            where the comparison says nothing that another has not said.
        m: P(level | same person); None where nothing is known.
        u: P(level | different people); None where nothing is known.
        weight: log2(m/u), in bits.
        frequency: the adjustment for a common or rare value, in bits.
        total: the running total, in bits.
        left, right: the standardised values compared: personal data, for those who may see the records.
    """

    comparison: str
    level: str
    m: float | None
    u: float | None
    weight: float
    frequency: float
    total: float
    left: str | None
    right: str | None


@dataclass(frozen=True)
class Explanation:
    """The waterfall of a pair.

    Attributes:
        prior: the weight before anything is compared, in bits.
        steps: in the order of the model.
        weight: the match weight, in bits.
        probability: P(same person).
        rule: the first blocking rule that holds the pair, or None if none does.
    """

    prior: float
    steps: tuple[Step, ...]
    weight: float
    probability: float
    rule: str | None

    def as_dict(self) -> dict[str, Json]:
        """Plain data, personal values included."""
        return asdict(self)

    def sentences(self) -> tuple[str, ...]:
        """The same in plain words and without any value of a person."""
        said = ["Before comparing, two records taken at random are very unlikely to be about one person."]
        for step in self.steps:
            bits = step.weight + step.frequency
            name = step.comparison.replace("_", " ").capitalize()
            if step.comparison == RELATIVES:
                said.append(_relatives(step))
                continue
            if step.m is None:
                why = (
                    "not known on both sides" if step.level == NOT_KNOWN else "it adds nothing to the others"
                )
                said.append(f"{name}: {why}, so it does not count.")
                continue
            times = 2.0 ** min(abs(bits), 60.0)
            odds = f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times"
            effect = (
                "speaks neither way"
                if abs(bits) < 0.05
                else (f"makes the odds of one person {odds} {'higher' if bits > 0 else 'lower'}")
            )
            rare = ""
            if abs(step.frequency) >= 0.5:
                rare = ", the value being " + ("rarer" if step.frequency > 0 else "commoner") + " than most"
            said.append(f"{name}: {step.level}{rare}; this {effect}.")
        said.append(
            f"Together: the two records are about one person with probability {self.probability:.4f}."
        )
        return tuple(said)


def _relatives(step: Step) -> str:
    if step.weight > -0.05:
        return "Two people of one home would hardly agree like this."
    odds = f"{2.0 ** min(-step.weight, 60.0):,.1f}"
    return f"Two people of one home could agree like this: the odds of one person are {odds} times lower."


def explain(model: Model, left: Records, right: Records, left_id: str, right_id: str) -> Explanation:
    """The explanation of one pair of records.

    Args:
        model: a trained model.
        left: holds the left record.
        right: holds the right record; the left again for deduplication.

    Raises:
        RecordsError: an id is not among the records.
        ModelError: the model does not fit the records.
    """
    chosen = _row(left, left_id, "left"), _row(right, right_id, "right")
    if model.raw is None:
        own = [_only(side, row) for side, row in zip((left, right), chosen, strict=True)]
        columns = [with_composed(standard_columns(side), model.columns) for side in own]
        x = y = 0
    else:  # all rows, because their frequencies count
        columns = model_columns(model, [left.frame, right.frame])
        x, y = chosen
    sides = [columns[0][x], columns[1][y]]
    encoded = encode(columns[0], columns[1], model)
    tests, weights = compile_tests(model.comparisons, encoded), compile_weights(model, encoded)
    weight, pattern = score_rows(encoded, np.array([x], np.int64), np.array([y], np.int64), tests, weights)
    taken = waterfall(
        model, weights, int(pattern[0]), encoded.left, x, encoded.right, y,
        lambda comparison: all(_shown(side, comparison.name) is not None for side in sides),
    )  # fmt: skip
    steps = [
        Step(*one, *(None if one[0] == RELATIVES else _shown(side, one[0]) for side in sides))
        for one in taken
    ]
    total = steps[-1].total
    if total != float(weight[0]):
        raise AssertionError("the steps of an explanation do not add up to the weight of the kernel")
    holds = (
        rule.name
        for rule in model.rules
        if all(
            encoded.left[x, encoded.column(a)] >= 0
            and encoded.left[x, encoded.column(a)] == encoded.right[y, encoded.column(b)]
            for a, b in rule.columns
        )
    )
    return Explanation(weights.prior, tuple(steps), total, float(probability(weight)[0]), next(holds, None))


def waterfall(
    model: Model,
    weights: Weights,
    pattern: int,
    left: Codes,
    x: int,
    right: Codes,
    y: int,
    known: Callable[[Comparison], bool],
) -> Iterator[tuple[str, str, float | None, float | None, float, float, float]]:
    """The steps of a weight: comparison, level, m, u, bits of the level and of the frequency, running total.

    Args:
        model: what scored.
        weights: compiled from it.
        pattern: the packed levels of the pair.
        left, x, right, y: the rows of the pair.
        known: whether both sides have what a comparison looks at.
    """
    total, kin = weights.prior, weights.kin_prior
    for c, comparison in enumerate(model.comparisons):
        code = int(pattern >> int(weights.shift[c])) & ((1 << comparison.bits) - 1)
        bits, gain = (
            float(weights.weight[c, code]),
            float(frequency_gain(c, code, left, x, right, y, weights)),
        )
        total += bits + gain
        if weights.shared[c]:
            kin += float(weights.kin[c, code]) + gain
        level = comparison.levels[code - 1] if code else None
        if level is not None:
            yield comparison.name, level.label, level.m, level.u, bits, gain, total
        else:
            silent = "said by the others" if known(comparison) else NOT_KNOWN
            yield comparison.name, silent, None, None, bits, gain, total
    if model.kin > 0.0:
        discount = float(kin_discount(kin))
        yield RELATIVES, "perhaps two of one home", None, None, -discount, 0.0, total - discount


def _row(records: Records, record_id: str, side: str) -> int:
    row = records.ids.index_of(record_id)
    if row is None:
        raise RecordsError(
            f"There is no record with the {side} id that was given.",
            "Check the id, and that the record was not refused.",
        )
    return row


def _only(records: Records, row: int) -> Records:
    return Records(records.ids[[row]], records.frame[[row]], records.layout, records.refusals)


def _shown(side: pl.DataFrame, name: str) -> str | None:
    if name not in side.columns:
        return None
    value = side[name][0]
    return None if value is None else str(value)
