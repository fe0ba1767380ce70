"""The conditions that levels are made of, as small immutable trees, and their JSON.

A `Test` compares one column of the left record with one of the right; `All`, `Any` and `Not` join
tests. A missing value on either side makes every test false but `MISSING`, which it makes true.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any as Json

from linker.errors import ModelError


class Op(StrEnum):
    """What a test measures; `Test.value` is the limit it is held against."""

    MISSING = "missing"  # either value is missing
    EXACT = "exact"  # equal
    JARO_WINKLER = "jaro_winkler"  # similarity >= value
    JARO = "jaro"  # similarity >= value
    LEVENSHTEIN = "levenshtein"  # edits <= value
    DAMERAU = "damerau"  # edits with adjacent swaps (optimal string alignment) <= value
    STANDARDISED_LEVENSHTEIN = "standardised_levenshtein"  # 1 - edits / longer length >= value
    COMMON = "common"  # tokens in common >= value
    SUBSET = "subset"  # all tokens of the shorter list (at least value of them) are in the longer
    JACCARD = "jaccard"  # tokens in common / tokens in either >= value
    DIFFERENCE = "difference"  # absolute difference of two numbers <= value (days for dates)
    RELATIVE_DIFFERENCE = "relative_difference"  # absolute difference / larger magnitude <= value
    # Measures that models of other tools are made of (linker.kernels_more).
    UNRESTRICTED_DAMERAU = "unrestricted_damerau"  # edits with swaps, swapped parts edited again <= value
    HAMMING = "hamming"  # characters that differ in texts of one length <= value
    PERCENTAGE = "percentage"  # absolute difference / larger number <= value
    KILOMETRES = "kilometres"  # distance of two points <= value
    BEST_LEVENSHTEIN = "best_levenshtein"  # least over two lists <= value
    BEST_DAMERAU = "best_damerau"  # least over two lists, unrestricted <= value
    BEST_JARO_WINKLER = "best_jaro_winkler"  # largest over two lists >= value
    BEST_JARO = "best_jaro"  # largest over two lists >= value
    CHARACTER_JACCARD = "character_jaccard"  # characters in common / characters in either >= value
    COSINE = "cosine"  # cosine of the angle of two vectors >= value


MEASURED = frozenset(  # what looks at characters; one measure answers to all limits
    {
        Op.JARO_WINKLER, Op.JARO, Op.LEVENSHTEIN, Op.DAMERAU, Op.STANDARDISED_LEVENSHTEIN,
        Op.UNRESTRICTED_DAMERAU, Op.HAMMING, Op.CHARACTER_JACCARD,
        Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU, Op.BEST_JARO_WINKLER, Op.BEST_JARO,
    }
)  # fmt: skip


COUNTED = frozenset({Op.COMMON, Op.SUBSET, Op.JACCARD})  # what looks at the tokens of lists
SUBTRACTED = frozenset({Op.DIFFERENCE, Op.RELATIVE_DIFFERENCE, Op.PERCENTAGE})  # what looks at numbers
POINTED = frozenset({Op.KILOMETRES, Op.COSINE})  # what looks at vectors

SIMILARITIES = frozenset(  # of 1 at most; the limit is the least that will do
    {
        Op.JARO_WINKLER, Op.JARO, Op.STANDARDISED_LEVENSHTEIN, Op.JACCARD, Op.CHARACTER_JACCARD,
        Op.BEST_JARO_WINKLER, Op.BEST_JARO, Op.COSINE,
    }
)  # fmt: skip
# What there can be of each measure; a percentage of numbers below 0 can be anything.
_LEAST_AND_MOST = {
    **dict.fromkeys(SIMILARITIES, (0.0, 1.0)),
    Op.COSINE: (-1.0, 1.0),
    Op.COMMON: (0.0, math.inf),
    **dict.fromkeys(
        (
            Op.LEVENSHTEIN, Op.DAMERAU, Op.UNRESTRICTED_DAMERAU, Op.HAMMING,
            Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU, Op.DIFFERENCE, Op.KILOMETRES,
        ),
        (0.0, math.inf),
    ),
    Op.RELATIVE_DIFFERENCE: (0.0, 2.0),  # 2 of numbers on both sides of 0
}  # fmt: skip


@dataclass(frozen=True)
class Test:
    """One measured comparison of a left column with a right column."""

    op: Op
    left: str
    right: str
    value: float = 0.0


@dataclass(frozen=True)
class All:
    """True if every part is."""

    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Any:
    """True if at least one part is."""

    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    """True if its part is not."""

    of: Condition


Condition = Test | All | Any | Not


def test(op: Op, column: str, value: float = 0.0) -> Test:
    """A test of one column against the column of the same name."""
    return Test(op, column, column, float(value))


def exact(column: str) -> Test:
    """The two values of a column are equal."""
    return test(Op.EXACT, column)


def missing(*columns: str) -> Condition:
    """Any of these columns is missing on either side."""
    parts = tuple(test(Op.MISSING, column) for column in columns)
    return parts[0] if len(parts) == 1 else Any(parts)


def foregone(test: Test) -> bool | None:
    """What a test says of any two values that are there, because of its limit alone; None if it depends."""
    least, most = _LEAST_AND_MOST.get(test.op, (-math.inf, math.inf))
    if test.op in SIMILARITIES or test.op in (Op.COMMON, Op.SUBSET):
        always, never = test.value <= least, test.value > most
    else:
        always, never = test.value >= most, test.value < least
    return always if always or never else None


def tests_of(condition: Condition) -> Iterator[Test]:
    """Every test of a condition, in reading order."""
    match condition:
        case Test():
            yield condition
        case Not(of=part):
            yield from tests_of(part)
        case All(of=parts) | Any(of=parts):
            for part in parts:
                yield from tests_of(part)


def turned(condition: Condition) -> Condition:
    """The condition with left and right in each other's place."""
    match condition:
        case Test(op, left, right, value):
            return Test(op, right, left, value)
        case Not(of=part):
            return Not(turned(part))
        case All(of=parts) | Any(of=parts):
            return type(condition)(tuple(turned(part) for part in parts))


def to_data(condition: Condition) -> dict[str, Json]:
    """The condition as plain data for JSON."""
    match condition:
        case Test(op, left, right, value):
            data: dict[str, Json] = {"op": op.value, "left": left}
            if right != left:
                data["right"] = right
            if value:
                data["value"] = value
            return data
        case All(of=parts):
            return {"all": [to_data(part) for part in parts]}
        case Any(of=parts):
            return {"any": [to_data(part) for part in parts]}
        case Not(of=part):
            return {"not": to_data(part)}


def from_data(data: Json) -> Condition:
    """The condition that `to_data` wrote.

    Raises:
        ModelError: the data is no condition.
    """
    match data:
        case {"all": list(parts)} if parts:
            return All(tuple(from_data(part) for part in parts))
        case {"any": list(parts)} if parts:
            return Any(tuple(from_data(part) for part in parts))
        case {"not": part}:
            return Not(from_data(part))
        case {"op": str(op), "left": str(left)} if op in set(Op):
            right, value = data.get("right", left), data.get("value", 0.0)
            if isinstance(right, str) and isinstance(value, int | float) and not isinstance(value, bool):
                return Test(Op(op), left, right, float(value))
    raise ModelError(
        "The model holds a condition that cannot be read.",
        f"A condition is a test with 'op' (one of {', '.join(Op)}) and 'left', or 'all', 'any', 'not'.",
    )
