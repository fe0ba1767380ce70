"""All cells that an attacker puts together: those of a new table, its totals, and of all earlier ones.

One board has the counts of persons, or of families, or one kind of sum. Cells with the same key are one cell,
as long as they are of the same people; tables of other days are of other people, and it is known of them only
how many came and left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pseudonym.tables.attack import UNBOUNDED, Puzzle, Row
from pseudonym.tables.cells import Key, Sheet, Values
from pseudonym.tables.rules import BASE, Interval, few, of_perturbed, of_rounded, of_suppressed, rounded

_SAME = 1e-6  # what adding up in another order may change of a sum, in units of what it is rounded to


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell or total.

    Attributes:
        key: who is in it.
        amount: the true count, or the sum in units of what it is rounded to.
        persons, families: behind it.
        primary: whether it is suppressed for itself.
        published: between which values it lies for whoever sees its number.
        inner: whether it is a cell, and no total.
        rest: whether it is of those whom a sheet leaves out: no table shows it.
        whole: whether it is a count.
    """

    key: Key
    amount: float
    persons: int
    families: int
    primary: bool
    published: Interval
    inner: bool
    rest: bool
    whole: bool

    def suppressed(self) -> Interval:
        """Between which values it lies for whoever sees that it is suppressed."""
        if self.rest or not self.whole:
            return 0.0, UNBOUNDED
        return of_suppressed(self.amount, self.primary)


def cells(sheets: Iterable[Sheet]) -> dict[Key, Cell]:
    """The cells and totals of sheets of one kind, each once."""
    found: dict[Key, Cell] = {}
    for sheet in sheets:
        for place, key in sheet.margins():
            inner = None not in place
            if key in found and (found[key].inner or not inner):
                continue
            found[key] = _cell(sheet, place, key, inner)
    return found


def _cell(sheet: Sheet, place: tuple[int | None, ...], key: Key, inner: bool) -> Cell:
    amount = sheet.total(sheet.amounts, place)
    persons = int(sheet.total(sheet.persons, place))
    families = sheet.families_at(place)
    index = tuple(slice(None) if at is None else at for at in place)
    possible, shown = bool(sheet.possible[index].any()), bool(sheet.shown[index].any())
    primary = bool(few(np.array(persons), np.array(families)))
    whole = not sheet.base
    if whole:
        if inner and sheet.noise is not None:
            published = of_perturbed(amount + float(sheet.noise[index]), sheet.spread)
        else:
            published = of_rounded(rounded(amount, BASE))
    else:
        amount /= sheet.base
        primary = primary or amount == 0 or sheet.is_unsafe(place)
        middle = round(amount)
        published = max(0.0, middle - 0.5), middle + 0.5
    if not possible:
        primary, published = False, (0.0, 0.0)
    return Cell(key, amount, persons, families, primary, published, inner, not shown, whole)


@dataclass(slots=True)
class Board:
    """The puzzle while it is laid out.

    Attributes:
        places: of each cell, by whose people it is of and its key.
        amounts: the true ones.
        targets: what must not become narrow.
    """

    whole: bool
    places: dict[tuple[int, Key], int] = field(default_factory=dict)
    amounts: list[float] = field(default_factory=list)
    bounds: list[Interval] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    targets: set[int] = field(default_factory=set)

    def add(self, people: int, cell: Cell, bounds: Interval, target: bool) -> int:
        """Put a cell down, or what more is known of one that lies there; its place."""
        place = self.places.get((people, cell.key))
        if place is None:
            place = self.places[people, cell.key] = len(self.amounts)
            self.amounts.append(cell.amount)
            self.bounds.append(bounds)
        else:
            least, most = self.bounds[place]
            self.bounds[place] = max(least, bounds[0]), min(most, bounds[1])
        if target:
            self.targets.add(place)
        return place

    def add_sums(self, people: int, sheets: Iterable[Sheet]) -> None:
        """Put down which cells add up to which, in all ways that the sheets' categories fit together."""
        partitions: dict[str, set[tuple[Values, ...]]] = defaultdict(set)
        for sheet in sheets:
            for axis in sheet.axes:
                if len(axis.values) > 1:
                    partitions[axis.column].add(axis.values)
        keys = [key for whose, key in self.places if whose == people]
        known = set[tuple[int, ...]]()
        for key in keys:
            narrowing = dict(key)
            for column, ways in partitions.items():
                mine = narrowing.get(column)
                rest = key - {(column, mine)} if mine is not None else key
                for values in ways:
                    parts = values if mine is None else tuple(one for one in values if one < mine)
                    if len(parts) < 2 or (mine is not None and frozenset[str]().union(*parts) != mine):
                        continue
                    places = [self.places.get((people, rest | {(column, one)})) for one in parts]
                    if None in places:
                        continue
                    row = (self.places[people, key], *(place for place in places if place is not None))
                    if row not in known:
                        known.add(row)
                        self.rows.append(Row(row, (1.0, *[-1.0] * (len(row) - 1))))

    def add_change(self, people: int, others: int, keys: Iterable[Key], came: float, left: float) -> None:
        """Put down how many came and left in all, from the other people to these."""
        for key in keys:
            pair = self.places[people, key], self.places[others, key]
            # Of everybody, which no column narrows down, the difference is known; of a cell, that it is less.
            least, most = (-left, came) if key else (came - left, came - left)
            self.rows.append(Row(pair, (1.0, -1.0), least, most))

    def puzzle(self) -> Puzzle:
        """What the attacker has."""
        least, most = (np.array(ends, dtype=np.float64) for ends in zip(*self.bounds, strict=True))
        return Puzzle(least, most, self.rows, self.whole)


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What was released of one kind, of the same people.

    Attributes:
        names: of the tables.
        sheets: of them.
        suppressed: their cells without a number.
        exact: the sheets of the people of whom `sheets` say who has any.
        hidden: the cells of these without a number.
    """

    names: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    suppressed: frozenset[Key]
    exact: tuple[Sheet, ...] = ()
    hidden: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """How the people of a new table differ from those of earlier ones.

    Attributes:
        name: the latest of the earlier tables.
        persons, families: who came or left, as far as any cell shows.
        came, left: by how much cells grew and shrank in all.
        keys: the cells that both have.
    """

    name: str
    persons: int
    families: int
    came: float
    left: float
    keys: tuple[Key, ...]


def change(now: Mapping[Key, Cell], then: Mapping[Key, Cell], name: str) -> Change | None:
    """How people changed between two tables; None where they have no cell in common."""
    shared = sorted(now.keys() & then.keys(), key=lambda key: sorted((c, sorted(v)) for c, v in key))
    if not shared:
        return None
    # Cells of the same columns are apart from one another; more than one such set tells of the same people.
    by_columns: dict[frozenset[str], list[Key]] = defaultdict(list)
    for key in shared:
        by_columns[frozenset(column for column, _ in key)].append(key)
    persons = families = 0
    came = left = 0.0
    for keys in by_columns.values():
        persons = max(persons, sum(abs(now[key].persons - then[key].persons) for key in keys))
        families = max(families, sum(abs(now[key].families - then[key].families) for key in keys))
        moved = [now[key].amount - then[key].amount for key in keys]
        moved = [one if abs(one) > _SAME else 0.0 for one in moved]
        came = max(came, sum(one for one in moved if one > 0))
        left = max(left, -sum(one for one in moved if one < 0))
    return Change(name, persons, families, came, left, tuple(shared))


def grouped(pasts: Sequence[Past]) -> list[Past]:
    """Earlier tables put together as far as they are of the same people, the earliest first."""
    made: list[Past] = []
    for past in pasts:
        here = cells(past.sheets)
        for place, one in enumerate(made):
            found = change(here, cells(one.sheets), "")
            if found is not None and not (found.persons or found.families or found.came or found.left):
                made[place] = Past(
                    one.names + past.names,
                    one.sheets + past.sheets,
                    one.suppressed | past.suppressed,
                    one.exact + past.exact,
                    one.hidden | past.hidden,
                )
                break
        else:
            made.append(past)
    return made
