"""What a set of records allows a pair of them to be: the ground that a certificate of blocking stands on.

Nothing here is taken from the names of columns. That records of one forename have one Soundex code, or that
no date of birth is missing, is looked up in the codes; so what follows from it holds for these records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.conditions import Op, tests_of
from linker.encode import Encoded
from linker.errors import ModelError
from linker.model import Model

Pair = tuple[str, str]  # a left column and the right column it is held against
Codes = npt.NDArray[np.int32]
_FEW = 10_000


class Side(StrEnum):
    """A record of a pair."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class Rarity:
    """The range of a term frequency, as log2 of the lowest and of the highest; None where no pair has one.

    Attributes:
        equal: where both records hold the same value.
        any: whatever they hold; one side's value counts where the other's is missing.
        absent: both may be missing, and then nothing is added.
    """

    equal: tuple[float, float] | None
    any: tuple[float, float] | None
    absent: bool


@dataclass(frozen=True)
class Facts:
    """What holds for every pair of these records.

    Attributes:
        missing: (side, column) with at least one missing value.
        never: column pairs that are equal in no pair of records.
        always: column pairs that are equal in every one.
        implied: by column pair, the column pairs that are equal whenever it is.
        rarity: by column that some level adjusts by.
    """

    missing: frozenset[tuple[Side, str]]
    never: frozenset[Pair]
    always: frozenset[Pair]
    implied: Mapping[Pair, frozenset[Pair]]
    rarity: Mapping[str, Rarity]


def observe(model: Model, encoded: Encoded, left: pl.DataFrame, right: pl.DataFrame | None = None) -> Facts:
    """Look up what a model's conditions and rules can meet in the records.

    Args:
        model: names the columns; its rules may be more than will be run.
        encoded: the records' codes for this model.
        left: standard columns of the left records.
        right: of the right records; None where the left are compared with each other.
    """
    pairs = sorted(equalities(model))
    columns = _Columns(encoded)
    seen = {pair: _shared(pair, columns) for pair in pairs}
    return Facts(
        missing=frozenset(
            (side, name)
            for side, of in ((Side.LEFT, columns.left), (Side.RIGHT, columns.right))
            for name in encoded.columns
            if of(name).min(initial=0) < 0
        ),
        never=frozenset(pair for pair in pairs if not seen[pair].any()),
        always=frozenset(pair for pair in pairs if _constant(pair, columns)),
        implied={
            one: frozenset(
                other
                for other in pairs
                if other != one
                and _fields(one) == _fields(other)
                and _implies(one, other, seen[one], columns)
            )
            for one in pairs
            if seen[one].any()
        },
        rarity={column: _rarity(column, model, left, right) for column in adjusted(model)},
    )


def equalities(model: Model) -> frozenset[Pair]:
    """The column pairs whose equality a rule or a level of the model asks for."""
    return frozenset(
        [
            *(pair for rule in model.rules for pair in rule.columns),
            *(
                (test.left, test.right)
                for one in model.comparisons
                for condition in (one.null, *(x.condition for x in one.levels if x.condition is not None))
                for test in tests_of(condition)
                if test.op is Op.EXACT
            ),
            *((column, column) for column in adjusted(model)),
        ]
    )


def adjusted(model: Model) -> frozenset[str]:
    """The columns that some level adjusts by."""
    return frozenset(level.tf for one in model.comparisons for level in one.levels if level.tf is not None)


def _fields(pair: Pair) -> Pair:
    """Only parts of one field are looked at for what follows from what: elsewhere it would be chance."""
    return pair[0].split(".")[0], pair[1].split(".")[0]


class _Columns:
    """Columns of codes one by one, each taken out of the records once: they stand row by row."""

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded
        self._left: dict[str, Codes] = {}
        self._right = self._left if encoded.deduplicates else {}

    def left(self, name: str) -> Codes:
        return self._taken(name, self._left, self.encoded.left)

    def right(self, name: str) -> Codes:
        return self._taken(name, self._right, self.encoded.right)

    def pair(self, pair: Pair) -> tuple[Codes, Codes]:
        return self.left(pair[0]), self.right(pair[1])

    def _taken(self, name: str, kept: dict[str, Codes], codes: Codes) -> Codes:
        if name not in kept:
            kept[name] = np.ascontiguousarray(codes[:, self.encoded.column(name)])
        return kept[name]


def _shared(pair: Pair, columns: _Columns) -> npt.NDArray[np.bool_]:
    """Bool by code: some pair of records can be equal with this value."""
    ours, theirs = columns.pair(pair)
    size = int(max(ours.max(initial=-1), theirs.max(initial=-1))) + 1
    if columns.encoded.deduplicates and pair[0] == pair[1]:  # a record is not compared with itself
        return np.asarray(np.bincount(ours[ours >= 0], minlength=size) >= 2)
    here, there = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    here[ours[ours >= 0]] = True
    there[theirs[theirs >= 0]] = True
    return here & there


def _constant(pair: Pair, columns: _Columns) -> bool:
    codes = columns.pair(pair)
    return all(len(side) and side[0] == codes[0][0] >= 0 and (side == side[0]).all() for side in codes)


def _implies(one: Pair, other: Pair, shared: npt.NDArray[np.bool_], columns: _Columns) -> bool:
    """Whether records that agree on `one` always agree on `other`: it is a function of the value."""
    given, then = columns.pair(one), columns.pair(other)
    # Where it is not, the first few records mostly show it.
    return all(
        _is_function([x[:most] for x in given], [x[:most] for x in then], shared) for most in (_FEW, None)
    )


def _is_function(given: Sequence[Codes], then: Sequence[Codes], shared: npt.NDArray[np.bool_]) -> bool:
    value = np.full(len(shared), -1, np.int32)
    for side in (0, 1):
        held = given[side] >= 0
        held[held] = shared[given[side][held]]
        key, found = given[side][held], then[side][held]
        fresh = value[key] < 0
        value[key[fresh]] = found[fresh]
        if (found < 0).any() or (value[key] != found).any():
            return False
    return True


def _rarity(column: str, model: Model, left: pl.DataFrame, right: pl.DataFrame | None) -> Rarity:
    table = model.frequencies.get(column)
    if table is None:
        raise ModelError(f"The model has no term frequencies for '{column}'.", "Train it, or leave them out.")
    sides = [side.get_column(column, default=None) for side in (left, left if right is None else right)]
    if any(side is not None and side.dtype.is_nested() for side in sides):
        shares = [table.rare, *table.values.values()]
        widest = math.log2(min(shares)), math.log2(max(shares))
        return Rarity(widest, widest, True)
    listed = pl.DataFrame(
        {"value": list(table.values), "share": list(table.values.values())},
        {"value": pl.String, "share": pl.Float64},
    )

    def span(values: pl.Series) -> tuple[float, float] | None:
        found = values.to_frame().join(listed, on="value", how="left")["share"].fill_null(table.rare)
        shares = np.log2(found.to_numpy())
        return (float(shares.min()), float(shares.max())) if len(shares) else None

    known = [_values(side) for side in sides]
    absent = [side is None or side.null_count() > 0 for side in sides]
    ours, theirs = (span(values["value"]) for values in known)
    if right is None:  # a record is not compared with itself
        both = known[0].filter(pl.col("count") >= 2)["value"]
    else:
        both = known[0].join(known[1], on="value", how="semi")["value"]
    # The commoner of two values counts; where one may be missing, the other stands alone.
    lows = [one[0] for one, other in ((ours, absent[1]), (theirs, absent[0])) if one and other]
    if ours and theirs:
        lows.append(max(ours[0], theirs[0]))
    highs = [one[1] for one in (ours, theirs) if one]
    return Rarity(span(both), (min(lows), max(highs)) if lows else None, all(absent))


def _values(column: pl.Series | None) -> pl.DataFrame:
    """The different values of a column and how many records hold each."""
    known = pl.Series(dtype=pl.String) if column is None else column.cast(pl.String).drop_nulls()
    return known.alias("value").value_counts()
