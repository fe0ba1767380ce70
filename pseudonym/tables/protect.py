"""Which cells are suppressed beside those below the threshold, so that none of them can be told.

The attacker of `attack` is given more than is published: every total that would itself be above the
threshold, rounded, as if another table had it, and which cells are suppressed for themselves. For a cell that
keeps too few values an integer program looks for another table of numbers in which it has a value four away,
and in which the published numbers that have to differ are as few and as small as can be: these are suppressed
too (after Fischetti and Salazar-González 2001, with the rounding's slack). Then everybody attacks again.

Only cells of the new table can be suppressed. If what was released before gives a cell away, there is no way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, log2

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack

from pseudonym.tables.attack import LEAST_VALUES, UNBOUNDED, Contradiction, Puzzle, narrowed
from pseudonym.tables.attack import matrix as matrix_of
from pseudonym.tables.board import Board, Cell, Change, Past, cells, change
from pseudonym.tables.cells import Key, Sheet
from pseudonym.tables.rules import THRESHOLD, few

SPREAD = 0.2
"""Of a suppressed sum: how far its least and largest value lie apart at least."""
_TOTALS = 25.0  # a total is suppressed for the attacker's sake only where nothing else helps
_TURNS = 60
_AT_ONCE = 4
_SECONDS = 20.0


class Unprotected(Exception):
    """There is no way to suppress cells so that all are protected."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What is protected together.

    Attributes:
        sheets: new ones of one kind.
        forced: cells that are suppressed whatever the attack says.
        tied: cells that are shown together or not at all.
        exact: sheets whose cells the attacker is told exactly where they are shown: the people of whom
            `sheets` say who has any.
        hidden: the cells of these that are not shown.
        loose: the cells of these of which the attacker is told what is published: others, so few that nobody
            may be told of them, are what is left of them.
        pasts: what was released before of the same kind, put together by people.
    """

    sheets: Sequence[Sheet]
    forced: Collection[Key] = ()
    tied: Sequence[tuple[Key, ...]] = ()
    exact: Sequence[Sheet] = ()
    hidden: Collection[Key] = ()
    loose: Collection[Key] = ()
    pasts: Sequence[Past] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Protected:
    """What came of it.

    Attributes:
        suppressed: cells without a number, those of totals included that the attacker was not given.
        secondary: how many of the cells are suppressed for others' sake.
        attacked: how many cells were attacked.
        changes: earlier tables of other people.
    """

    suppressed: frozenset[Key]
    secondary: int
    attacked: int
    changes: tuple[Change, ...]


def changes(sheets: Sequence[Sheet], pasts: Sequence[Past]) -> list[Change | None]:
    """How the people of new sheets differ from each earlier group's: None for nothing in common."""
    now = cells(sheets)
    return [change(now, cells(past.sheets), past.names[-1]) for past in pasts]


def protect(given: Given) -> Protected:
    """Choose what to suppress, and prove that it is enough.

    Raises:
        Unprotected: nothing is enough.
    """
    known = cells(given.sheets)
    able = {key for key, cell in known.items() if not cell.rest and cell.published != (0.0, 0.0)}
    first = {key for key in able if known[key].primary}
    suppressed = _tied(first | (set(given.forced) & able), given.tied)
    differing = changes([*given.sheets, *given.exact], given.pasts)
    public = _public(given, differing)
    for _ in range(_TURNS):
        board, mine = _laid_out(given, known, suppressed, differing, public)
        puzzle = board.puzzle()
        needs = _needs(board)
        try:
            short = narrowed(puzzle, sorted(board.targets), needs)
        except Contradiction:
            raise Unprotected from None
        if not short:
            inner = {key for key in suppressed if known[key].inner}
            told = tuple(one for one in differing if one is not None and _differs(one))
            return Protected(frozenset(suppressed), len(inner - first), len(board.targets), told)
        places = {mine[key]: key for key in able - suppressed - public}
        more: set[Key] = set()
        for target in sorted(short, key=lambda place: (short[place], place))[:_AT_ONCE]:
            more |= _widened(puzzle, board, target, needs.get(target, LEAST_VALUES), places, known)
        if not more:
            raise Unprotected
        suppressed = _tied(suppressed | more, given.tied)
    raise Unprotected


def _differs(one: Change) -> bool:
    return bool(one.persons or one.families or one.came or one.left)


def _tied(chosen: set[Key], tied: Sequence[tuple[Key, ...]]) -> set[Key]:
    return chosen.union(*(group for group in tied if not chosen.isdisjoint(group)))


def _needs(board: Board) -> dict[int, float]:
    """How many values each cell has to keep: five, and of a large sum as many as make a fifth of it."""
    if board.whole:
        return {}
    return {place: max(LEAST_VALUES, ceil(SPREAD * board.amounts[place]) + 1) for place in board.targets}


def _laid_out(
    given: Given,
    known: Mapping[Key, Cell],
    suppressed: Collection[Key],
    differing: Sequence[Change | None],
    public: Collection[Key],
) -> tuple[Board, dict[Key, int]]:
    """Everything that the attacker has, and where the new cells are."""
    board = Board(all(cell.whole for cell in known.values()))
    mine = {}
    for key, cell in known.items():
        hidden = key in suppressed
        bounds = cell.suppressed() if hidden or cell.rest else cell.published
        left = cell.rest and cell.inner and cell.primary and cell.amount > 0
        mine[key] = board.add(0, cell, bounds, (hidden or left) and key not in public)
    _add_exact(board, 0, given.exact, given.hidden, given.loose)
    for number, (past, differs) in enumerate(zip(given.pasts, differing, strict=True), 1):
        if differs is None:
            continue
        people = number if _differs(differs) else 0
        for key, cell in cells(past.sheets).items():
            if not cell.inner or cell.rest:
                board.add(people, cell, (0.0, UNBOUNDED), False)
            elif key in past.suppressed:
                board.add(people, cell, cell.suppressed(), True)
            else:
                board.add(people, cell, cell.published, False)
        _add_exact(board, people, past.exact, past.hidden, loose(past.exact))
        if people:
            board.add_sums(people, (*past.sheets, *past.exact))
            board.add_change(0, people, differs.keys, differs.came, differs.left)
    same = [
        sheet
        for past, differs in zip(given.pasts, differing, strict=True)
        if differs is not None and not _differs(differs)
        for sheet in (*past.sheets, *past.exact)
    ]
    board.add_sums(0, (*given.sheets, *given.exact, *same))
    return board, mine


def _public(given: Given, differing: Sequence[Change | None]) -> set[Key]:
    """Cells that are known whatever is suppressed now: to suppress them hides nothing.

    These are the people whom the sheets are about, and cells of the same people that were released.
    """
    found = set(cells(given.exact)) - set(given.hidden)
    for past, differs in zip(given.pasts, differing, strict=True):
        if differs is not None and not _differs(differs):
            shown = (key for key, cell in cells(past.sheets).items() if cell.inner and not cell.rest)
            found |= set(shown) - past.suppressed
    return found


def loose(sheets: Sequence[Sheet]) -> set[Key]:
    """The cells beside which so few are left that nobody may be told of them; see `Given`."""
    found = set()
    for sheet in sheets:
        width = sum(not axis.about for axis in sheet.axes)
        few_left = few(sheet.persons, sheet.families[tuple(slice(-1) for _ in sheet.shape)])
        for place in np.argwhere(few_left & ~sheet.shown & (sheet.persons > 0)):
            own = tuple(int(at) for at in place[:width])
            spans = [(*range(len(axis.labels)), None) for axis in sheet.axes[width:]]
            found |= {sheet.key((*own, *rest)) for rest in product(*spans)}
    return found


def _add_exact(
    board: Board, people: int, sheets: Sequence[Sheet], hidden: Collection[Key], loose: Collection[Key]
) -> None:
    for key, cell in cells(sheets).items():
        if key in hidden:
            board.add(people, cell, cell.suppressed(), False)
        elif key in loose and not cell.rest:
            board.add(people, cell, cell.published, False)
        elif cell.inner and not cell.rest:
            board.add(people, cell, (cell.amount, cell.amount), False)
        else:
            board.add(people, cell, (0.0, UNBOUNDED), False)


def _widened(
    puzzle: Puzzle,
    board: Board,
    target: int,
    need: float,
    able: Mapping[int, Key],
    known: Mapping[Key, Cell],
) -> set[Key]:
    """The cells to suppress so that one that is narrow has room upwards or downwards; none if neither."""
    truth, room = board.amounts[target], need - 1
    half = ceil(room / 2)
    for up, down in ((room, 0.0), (0.0, room), (half, room - half), (room - half, half)):
        chosen: set[Key] = set()
        for value in ([truth + up] if up else []) + ([truth - down] if down else []):
            found = _moved(puzzle, target, value, able, known)
            if found is None:
                break
            chosen |= found
        else:
            return chosen
    return set()


def _moved(
    puzzle: Puzzle, target: int, value: float, able: Mapping[int, Key], known: Mapping[Key, Cell]
) -> set[Key] | None:
    """The fewest and smallest published cells that differ in a table in which the target has this value."""
    width, places = len(puzzle.least), list(able)
    cost = np.zeros(width + 2 * len(places))
    least, most = puzzle.least.copy(), puzzle.most.copy()
    if not least[target] - 1e-6 <= value <= most[target] + 1e-6:
        return None
    least[target] = most[target] = value
    # A published cell may leave its bounds by what is paid for; a suppressed one is above the threshold.
    rows, columns, data, low, high = [], [], [], [], []
    for number, place in enumerate(places):
        cell = known[able[place]]
        price = (1 + log2(1 + abs(cell.amount))) * (1.0 if cell.inner else _TOTALS)
        up, down = width + 2 * number, width + 2 * number + 1
        cost[[up, down]] = price
        rows += [number, number, number]
        columns += [place, up, down]
        data += [1.0, -1.0, 1.0]
        low.append(least[place])
        high.append(most[place])
        least[place] = min(least[place], float(THRESHOLD)) if puzzle.whole else 0.0
        most[place] = UNBOUNDED
    sums = matrix_of(puzzle.rows, width)
    wider = hstack([sums, csr_array((sums.shape[0], 2 * len(places)))], format="csr")
    slack = csr_array((data, (rows, columns)), shape=(len(places), len(cost)))
    constraints = [
        LinearConstraint(wider, [row.least for row in puzzle.rows], [row.most for row in puzzle.rows]),
        *([LinearConstraint(slack, low, high)] if places else []),
    ]
    bounds = Bounds(
        np.concatenate([least, np.zeros(2 * len(places))]),
        np.concatenate([most, np.full(2 * len(places), UNBOUNDED)]),
    )
    whole = np.full(len(cost), int(puzzle.whole))
    found = milp(
        cost, constraints=constraints, bounds=bounds, integrality=whole, options={"time_limit": _SECONDS}
    )
    if found.x is None:
        return None
    moved = found.x[width:].reshape(-1, 2).sum(axis=1)
    return {able[place] for place, by in zip(places, moved, strict=True) if by > 1e-6}
