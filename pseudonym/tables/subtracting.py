"""What a sum tells by subtraction: the register of releases against the difference of two tables.

Counts are rounded to half of the threshold, so that nobody sees one person more. But a person may add more to
a sum than it is rounded to, and who stays the same may add another amount: whoever subtracts an earlier table
from a later one has what changed. The rule this module keeps, of each cell that two tables show, or cells of
them that are the same when they are put together:

- nothing changed, or
- ten persons and ten families or more changed it, and no two of them make nearly all of the change.

The register has no person's amount. What anybody can have changed is at most the largest amount of one person
or family in the cell, then or now: what cannot be proven from these is taken to be told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pseudonym.tables.cells import Axis, Key, Sheet
from pseudonym.tables.rules import THRESHOLD, dominated

_SAME = 1e-3  # what adding up in another order may change, and no amount
Places = Sequence[int]


def told_by_subtraction(now: Sheet, hidden: Collection[Key], then: Sheet, gone: Collection[Key]) -> bool:
    """Whether two sheets of the same sums tell by their difference what somebody added.

    Args:
        now, then: the sheets.
        hidden, gone: the cells of each without a number.
    """
    seen, saw = _shown(now, hidden), _shown(then, gone)
    mine, theirs = ({axis.column: axis for axis in sheet.axes} for sheet in (now, then))
    common = {column: _put_together(mine[column], theirs[column]) for column in mine.keys() & theirs.keys()}
    for parts in product(*common.values()):
        here, there = (
            _lists(sheet, {columns[name]: part[side] for name, part in zip(common, parts, strict=True)})
            for side, (sheet, columns) in enumerate(((now, mine), (then, theirs)))
        )
        # Where a table has no such category nobody is in it, and everybody knows.
        if _any(seen, here) and _any(saw, there) and not _is_safe(now, here, then, there):
            return True
    return False


def _put_together(now: Axis, then: Axis) -> list[tuple[list[int], list[int]]]:
    """The fewest categories of two axes that have the same values when they are put together."""
    groups: list[tuple[set[str], tuple[list[int], list[int]]]] = []
    for side, axis in enumerate((now, then)):
        for place, values in enumerate(axis.values):
            joined: tuple[set[str], tuple[list[int], list[int]]] = (set(values), ([], []))
            joined[1][side].append(place)
            for one in [group for group in groups if group[0] & values]:
                groups.remove(one)
                joined[0].update(one[0])
                for own, more in zip(joined[1], one[1], strict=True):
                    own.extend(more)
            groups.append(joined)
    return [places for _, places in groups]


def _lists(sheet: Sheet, chosen: dict[Axis, list[int]]) -> list[Places]:
    return [chosen.get(axis, range(len(axis.labels))) for axis in sheet.axes]


def _shown(sheet: Sheet, hidden: Collection[Key]) -> NDArray[np.bool_]:
    made = sheet.shown & sheet.possible
    for place in np.argwhere(made):
        made[tuple(place)] = sheet.key(tuple(map(int, place))) not in hidden
    return made


def _any(shown: NDArray[np.bool_], lists: Sequence[Places]) -> bool:
    return not all(lists) or bool(shown[np.ix_(*lists)].any())


def _is_safe(now: Sheet, here: Sequence[Places], then: Sheet, there: Sequence[Places]) -> bool:
    change = abs(_sum(now.amounts, here) - _sum(then.amounts, there))
    if change < _SAME:
        return True
    largest = max(_largest(now, here), _largest(then, there))
    came = abs(_sum(now.persons, here) - _sum(then.persons, there))
    families, before = _families(now, here), _families(then, there)
    came = 0 if families is None or before is None else min(came, abs(families - before))
    many = came >= THRESHOLD or change > (THRESHOLD - 1) * largest
    return many and not dominated(*(np.array(one) for one in (change, largest, largest)))


def _sum(of: NDArray[np.float64] | NDArray[np.int64], lists: Sequence[Places]) -> float:
    return float(of[np.ix_(*lists)].sum())


def _largest(sheet: Sheet, lists: Sequence[Places]) -> float:
    """What one person or family adds at most; it may be in several of the cells."""
    if sheet.largest is None:
        return _sum(sheet.amounts, lists)
    return _sum(sheet.largest, _with_totals(sheet, lists))


def _families(sheet: Sheet, lists: Sequence[Places]) -> float | None:
    """How many families are there; None where cells are put together, since one may be in several."""
    ends = _with_totals(sheet, lists)
    return None if any(len(one) > 1 for one in ends) else _sum(sheet.families, ends)


def _with_totals(sheet: Sheet, lists: Sequence[Places]) -> list[Places]:
    """The places in an array that has totals too: the total where all categories are meant."""
    return [(-1,) if len(one) == size else one for one, size in zip(lists, sheet.shape, strict=True)]
