"""An attacker of its own: from what was published, and nothing of the program, to what each cell may be.

It knows people by every combination of their columns that any table has, writes down what each published row
says of sums of these, and asks an integer program for the values of each suppressed cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

MANY = 10_000.0


@dataclass
class Attacker:
    """What is known of atoms: combinations of categories.

    Attributes:
        atoms: all of them.
        rows: sums that are known: which atoms with which factor, least and most.
        questions: the suppressed cells, by what they are called.
        whole: whether they are counts, and no sums in units of what these are rounded to.
    """

    atoms: Sequence[tuple[str, ...]]
    rows: list[tuple[np.ndarray, float, float]] = field(default_factory=list)
    questions: dict[tuple[object, ...], np.ndarray] = field(default_factory=dict)
    whole: bool = True

    def of(self, fits: Callable[[tuple[str, ...]], bool], factor: float = 1.0) -> np.ndarray:
        """The sum of the atoms that fit."""
        return np.array([factor if fits(atom) else 0.0 for atom in self.atoms])

    def told(self, what: np.ndarray, least: float, most: float) -> None:
        """Take in what is known of a sum."""
        self.rows.append((what, least, most))

    def suppressed(self, name: tuple[object, ...], what: np.ndarray, amount: int, few: bool) -> None:
        """Take in that a cell is suppressed, and why: whoever knows the rules is told even that."""
        if not few:
            self.told(what, 10, MANY)
        elif amount < 10:
            self.told(what, 0, 9)
        self.questions[name] = what

    def published(self, what: np.ndarray, value: float, off: int = 2) -> None:
        """Take in a published count."""
        self.told(what, max(10, value - off), value + off)

    def values(self, most: int = 5) -> dict[tuple[object, ...], int]:
        """How many values each suppressed cell may have, counted up to so many."""
        return {name: self._values(what, most) for name, what in self.questions.items()}

    def widths(self) -> dict[tuple[object, ...], float]:
        """How far apart the least and the largest value of each suppressed cell lie."""
        found = {}
        for name, what in self.questions.items():
            low, high = self._solved(what), self._solved(-what)
            assert low is not None, "what was published contradicts itself"
            assert high is not None, "what was published contradicts itself"
            found[name] = float(what @ (high - low))
        return found

    def _values(self, what: np.ndarray, enough: int) -> int:
        ends = [self._solved(what * sign) for sign in (1.0, -1.0)]
        assert all(end is not None for end in ends), "what was published contradicts itself"
        low, high = (round(float(what @ end)) for end in ends if end is not None)
        found = {low, high}
        for value in range(low, high + 1):
            if len(found) >= enough:
                break
            if self._solved(0 * what, (what, value, value)) is not None:
                found.add(value)
        return len(found)

    def _solved(self, goal: np.ndarray, *more: tuple[np.ndarray, float, float]) -> np.ndarray | None:
        rows = [*self.rows, *more]
        known = csr_array(np.array([what for what, _, _ in rows]))
        least, most = (np.array([row[place] for row in rows]) for place in (1, 2))
        found = milp(
            goal,
            constraints=LinearConstraint(known, least, most),
            bounds=Bounds(0, MANY),
            integrality=np.full(len(goal), int(self.whole)),
        )
        return found.x if found.success else None


def within(place: int, *wanted: str) -> Callable[[tuple[str, ...]], bool]:
    """Whether an atom has these, from a place on."""
    return lambda atom: atom[place : place + len(wanted)] == wanted


def fewest(found: Iterable[int]) -> int:
    """The least of some numbers; five where there are none."""
    return min(found, default=5)
