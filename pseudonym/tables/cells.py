"""Sheets of a table, and the cells of them by what they hold: the same people are the same cell everywhere.

A sheet is one measure of one period over the dimensions: a full cross-classification of everybody. A cell's
key says who is in it: for each column that narrows it down, the declared values. A dimension that takes in
every value narrows nothing, and is left out; so the totals of a sheet are cells too, and a total of one table
is a cell of another, which is what lets several tables be attacked together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = frozenset[str]
Key: TypeAlias = frozenset[tuple[str, Values]]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of a sheet.

    Attributes:
        name: of the dimension; empty where it only says who the rest are.
        column: what tells it: a dataset's column, or a measure's yes and no.
        labels: of the categories.
        values: the declared values of each category; all together are everybody.
        about: whether it says whom a measure is about: those in its first category; the others are the rest.
    """

    name: str
    column: str
    labels: tuple[str, ...]
    values: tuple[Values, ...]
    about: bool = False

    @property
    def everything(self) -> Values:
        """All values."""
        return frozenset[str]().union(*self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """One measure of one period.

    Attributes:
        measure: its name.
        period: `before`, `after` or empty.
        about: what is counted: `person`, `family`, or what is summed up of these.
        axes: the dimensions, and after them those that say who the rest are and who has any.
        amounts: for each cell the units, or the sum of their numbers.
        persons: how many persons are behind it.
        families: of how many families, with the totals of each axis as a further category: a family may be in
            several cells.
        possible: whether anybody can be in it.
        unsafe: whether one or two contribute nearly all of a sum, with totals as for families.
        shown: whether the table shows it; the others are the rest.
        base: what a sum is rounded to; 0 for counts.
        noise: for cell keys, what is added to each count.
        spread: the largest noise, either way.
        largest: of sums, what one unit or family adds at most, with totals as for families; None where it was
            not kept.
    """

    measure: str
    period: str
    about: str
    axes: tuple[Axis, ...]
    amounts: Floats
    persons: NDArray[np.int64]
    families: NDArray[np.int64]
    possible: NDArray[np.bool_]
    unsafe: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    base: int = 0
    noise: NDArray[np.int64] | None = None
    spread: int = 0
    largest: Floats | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of categories of each axis."""
        return tuple(len(axis.labels) for axis in self.axes)

    def margins(self) -> Iterator[tuple[tuple[int | None, ...], Key]]:
        """Every cell and every total: its place, None where an axis is summed over, and its key."""
        spans = [(*range(len(axis.labels)), None) for axis in self.axes]
        for place in product(*spans):
            yield place, self.key(place)

    def key(self, place: tuple[int | None, ...]) -> Key:
        """Who is in a cell or total."""
        return frozenset(
            (axis.column, axis.values[at])
            for axis, at in zip(self.axes, place, strict=True)
            if at is not None and len(axis.values) > 1
        )

    def total(self, of: NDArray[np.generic], place: tuple[int | None, ...]) -> float:
        """The sum of an array of cells over a place."""
        return float(of[tuple(slice(None) if at is None else at for at in place)].sum())

    def families_at(self, place: tuple[int | None, ...]) -> int:
        """How many families are in a cell or total."""
        return int(self.families[tuple(-1 if at is None else at for at in place)])

    def is_unsafe(self, place: tuple[int | None, ...]) -> bool:
        """Whether one or two contribute nearly all of a cell or total."""
        return bool(self.unsafe[tuple(-1 if at is None else at for at in place)])
