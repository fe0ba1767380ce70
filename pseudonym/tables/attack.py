"""The attack on a table: what can somebody still believe of each suppressed cell?

The attacker knows that cells add up to totals, between which bounds each published number's true value lies,
what the threshold says of a suppressed one, and everything that was released before. First bounds are
propagated along the sums until nothing changes; then integer programs (scipy's HiGHS) look for the least
and the largest value that a suppressed cell can have, and for whole tables of numbers, each of which agrees
with everything, that give it different values. A cell is protected by so many such tables, and by nothing
less: bounds alone would count values that cannot be.

Sums of money or days are real numbers in units of what they are rounded to; there the least and the largest
value say it all.

Salazar-González (2008), "Statistical confidentiality: optimization techniques to protect tables", has the
programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

LEAST_VALUES = 5
"""How many values every suppressed cell keeps."""
UNBOUNDED = 1e9
"""Nobody believes that a cell holds more."""
_ROUNDS = 100
_SECONDS = 10.0
_CLOSE = 1e-6
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is known of sums: least <= sum of factor * cell <= most.

    Attributes:
        cells: their places.
        factors: of each.
        least, most: equal for an equation.
    """

    cells: tuple[int, ...]
    factors: tuple[float, ...]
    least: float = 0.0
    most: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Puzzle:
    """What an attacker has.

    Attributes:
        least, most: of each cell.
        rows: what is known of sums.
        whole: whether cells are whole numbers.
    """

    least: Floats
    most: Floats
    rows: Sequence[Row]
    whole: bool = True


class Contradiction(Exception):
    """No table agrees with everything: what is said to be of the same people is not."""


def propagated(puzzle: Puzzle) -> tuple[Floats, Floats]:
    """The bounds of each cell, as far as following single sums narrows them.

    Raises:
        Contradiction: nothing is left for a cell.
    """
    least, most = puzzle.least.copy(), puzzle.most.copy()
    lines = [(np.array(row.cells), np.array(row.factors), row.least, row.most) for row in puzzle.rows]
    for _ in range(_ROUNDS):
        before = least.copy(), most.copy()
        for cells, factors, low, high in lines:
            # What each term adds at least and at most; then what the others leave for it.
            ends = np.stack([factors * least[cells], factors * most[cells]])
            small, large = ends.min(axis=0), ends.max(axis=0)
            left = np.stack([low - (large.sum() - large), high - (small.sum() - small)]) / factors
            new_least, new_most = left.min(axis=0), left.max(axis=0)
            if puzzle.whole:
                new_least, new_most = np.ceil(new_least - _CLOSE), np.floor(new_most + _CLOSE)
            least[cells] = np.maximum(least[cells], new_least)
            most[cells] = np.minimum(most[cells], new_most)
        if (least > most + _CLOSE).any():
            raise Contradiction
        if np.allclose(before[0], least, atol=_CLOSE) and np.allclose(before[1], most, atol=_CLOSE):
            break
    return least, np.maximum(least, most)


class Attacker:
    """Somebody who solves a puzzle."""

    def __init__(self, puzzle: Puzzle) -> None:
        """Take it, with its bounds propagated. Raises Contradiction."""
        self._puzzle = puzzle
        self.least, self.most = propagated(puzzle)
        self._matrix = matrix(puzzle.rows, len(puzzle.least))
        self._integrality = np.full(len(puzzle.least), int(puzzle.whole))

    def solved(self, goal: Mapping[int, float], fixed: Mapping[int, float] | None = None) -> Floats | None:
        """A table that agrees with everything and makes a weighted sum of cells least; None if there is none.

        Args:
            goal: the weights of the cells.
            fixed: cells whose values are given.
        """
        cost = np.zeros(len(self.least))
        for cell, weight in goal.items():
            cost[cell] = weight
        least, most = self.least.copy(), self.most.copy()
        for cell, value in (fixed or {}).items():
            least[cell] = most[cell] = value
        low = np.array([row.least for row in self._puzzle.rows])
        high = np.array([row.most for row in self._puzzle.rows])
        constraints = [LinearConstraint(self._matrix, low, high)] if self._puzzle.rows else []
        found = milp(
            cost,
            constraints=constraints,
            bounds=Bounds(least, most),
            integrality=self._integrality,
            options={"time_limit": _SECONDS},
        )
        if found.x is None or not found.success:
            return None
        return np.rint(found.x) if self._puzzle.whole else np.asarray(found.x)

    def range(self, cell: int) -> tuple[float, float]:
        """The least and the largest value that a cell can have; the same where nothing was found."""
        ends = [self.solved({cell: weight}) for weight in (1.0, -1.0)]
        low, high = (None if end is None else float(end[cell]) for end in ends)
        return (low, high) if low is not None and high is not None else (0.0, 0.0)


def narrowed(
    puzzle: Puzzle, targets: Iterable[int], need: Mapping[int, float] | None = None
) -> dict[int, int]:
    """The cells that are not protected, with how many values each keeps, as far as was counted.

    Args:
        puzzle: what the attacker has.
        targets: the suppressed cells.
        need: for each target how many values it must keep; `LEAST_VALUES` where nothing stands.

    Raises:
        Contradiction: no table agrees with everything.
    """
    wanted = {cell: max(float(LEAST_VALUES), (need or {}).get(cell, 0.0)) for cell in targets}
    if not wanted:
        return {}
    attacker = Attacker(puzzle)
    short = {
        cell: int(attacker.most[cell] - attacker.least[cell]) + 1
        for cell, least in wanted.items()
        if attacker.most[cell] - attacker.least[cell] + 1 < least - _CLOSE
    }
    rest = [cell for cell in wanted if cell not in short]
    if puzzle.whole:
        return short | _few_values(attacker, rest, wanted)
    for cell in rest:
        low, high = attacker.range(cell)
        if high - low + 1 < wanted[cell] - 1e-3:
            short[cell] = int(high - low) + 1
    return short


def _few_values(attacker: Attacker, cells: Sequence[int], wanted: Mapping[int, float]) -> dict[int, int]:
    """Of these cells those that fewer values were found for than they need."""
    seen: dict[int, set[int]] = {cell: set() for cell in cells}

    def look(found: Floats | None) -> None:
        if found is not None:
            for cell in cells:
                seen[cell].add(int(found[cell]))

    chance = np.random.default_rng(len(cells))
    for _ in range(min(6, len(cells))):  # each table is one for all cells
        weights = dict(zip(cells, chance.choice([-1.0, 1.0], len(cells)), strict=True))
        look(attacker.solved(weights))
    short = {}
    for cell in cells:
        if len(seen[cell]) >= wanted[cell]:
            continue
        for weight in (1.0, -1.0):
            look(attacker.solved({cell: weight}))
        if not seen[cell]:
            raise Contradiction
        low, high = min(seen[cell]), max(seen[cell])
        if high - low + 1 >= wanted[cell]:
            for value in range(low, high + 1):
                if len(seen[cell]) >= wanted[cell]:
                    break
                if value not in seen[cell]:
                    look(attacker.solved({}, {cell: float(value)}))
        if len(seen[cell]) < wanted[cell]:
            short[cell] = len(seen[cell])
    return short


def matrix(rows: Sequence[Row], width: int) -> csr_array:
    """The rows as a matrix of so many cells."""
    data = [factor for row in rows for factor in row.factors]
    columns = [cell for row in rows for cell in row.cells]
    lines = [number for number, row in enumerate(rows) for _ in row.cells]
    return csr_array((data, (lines, columns)), shape=(len(rows), width))
