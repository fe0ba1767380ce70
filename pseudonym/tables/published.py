"""The table as it is read: rounded cells, totals that are their sums, rates and means of these alone.

A suppressed cell has the mark `c`, whether for itself or to protect another; a cell in which nobody can be
has `:`. A total says how many cells it leaves out. Nothing here knows a true number that is not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import product
from typing import Any, Final, Self

from pseudonym.files import canonical, parse
from pseudonym.tables.cells import Key, Sheet
from pseudonym.tables.counting import Counted, Told
from pseudonym.tables.rules import BASE, rounded
from pseudonym.tables.spec import TOTAL, Measure, Method, TableSpec

FORMAT: Final = "kinlink-table-published/1"
SUPPRESSED: Final = "c"
IMPOSSIBLE: Final = ":"


@dataclass(frozen=True, slots=True)
class Line:
    """One row.

    Attributes:
        measure, period: whose; the period is empty for measures without time.
        categories: of each dimension, `total` where it is summed over.
        value: the count, share in percent, mean or sum; None where there is none.
        of: of how many persons or families that is said; None where it is not said.
        mark: `c`, `:` or empty.
        left_out: how many cells a total leaves out; 0 for cells.
    """

    measure: str
    period: str
    categories: tuple[str, ...]
    value: float | None
    of: int | None
    mark: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Published:
    """A table that can be read.

    Attributes:
        name, project, title, unit, audience: as declared.
        dimensions: their names.
        area: the name of the dimension of areas, or empty.
        areas: its categories, each with the areas that it takes in.
        measures: name, meaning and kind of each.
        rules: what was applied, a sentence each.
        lines: the rows.
        counted: the day, ISO 8601; empty for tables of before this was kept, as are the next two.
        meanings: of the dimensions.
        period: what is before and what after, a sentence.
    """

    name: str
    project: str
    title: str
    unit: str
    audience: str
    dimensions: tuple[str, ...]
    area: str
    areas: tuple[tuple[str, tuple[str, ...]], ...]
    measures: tuple[tuple[str, str, str], ...]
    rules: tuple[str, ...]
    lines: tuple[Line, ...]
    counted: str = ""
    meanings: tuple[str, ...] = ()
    period: str = ""

    def for_area(self, area: str) -> Self:
        """What a council reads: its own area, or the one that its own is in, and the total of all areas."""
        place = self.dimensions.index(self.area)
        own = {TOTAL, *(label for label, codes in self.areas if area in codes)}
        mine = tuple(one for one in self.lines if one.categories[place] in own)
        return type(self)(**{**_slots(self), "lines": mine})

    def to_file(self) -> bytes:
        """The table as a file, canonical JSON."""
        return canonical({"format": FORMAT} | _slots(self) | {"lines": [asdict(one) for one in self.lines]})

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote. Raises TamperedError."""
        content: dict[str, Any] = dict(parse(data, "table"))
        content.pop("format")
        for key in ("dimensions", "rules", "meanings"):
            content[key] = tuple(content.get(key, ()))
        content["measures"] = tuple(map(tuple, content["measures"]))
        content["areas"] = tuple((label, tuple(codes)) for label, codes in content["areas"])
        content["lines"] = tuple(
            Line(**{**one, "categories": tuple(one["categories"])}) for one in content["lines"]
        )
        return cls(**content)


def published(
    spec: TableSpec,
    counted: Counted,
    suppressed: Mapping[int, frozenset[Key]],
    coarse: Sequence[str],
    day: date,
) -> Published:
    """What may be read of a table.

    Args:
        spec: its declaration.
        counted: the table.
        suppressed: the cells without a number, of each sheet by its identity.
        coarse: the dimensions that had to be coarser.
        day: when it was counted.
    """
    lines = [line for one in counted.told for line in _lines(one, suppressed)]
    return Published(
        name=spec.name,
        project=spec.project,
        title=spec.title,
        unit=str(spec.unit),
        audience=str(spec.audience),
        dimensions=tuple(axis.name for axis in counted.axes),
        area=spec.area_dimension,
        areas=tuple(
            (label, tuple(sorted(codes)))
            for axis in counted.axes
            if axis.name == spec.area_dimension
            for label, codes in zip(axis.labels, axis.values, strict=True)
        ),
        measures=tuple((one.name, one.meaning, str(one.kind)) for one in spec.figures),
        rules=tuple(_rules(spec, coarse)),
        lines=tuple(lines),
        counted=day.isoformat(),
        meanings=tuple(one.use.meaning for one in spec.dimensions),
        period=_period(spec),
    )


def _slots(one: Published) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def _period(spec: TableSpec) -> str:
    if spec.period is None or not any(one.month for one in spec.figures):
        return ""
    months, around = f"{spec.period.months} months", " or else ".join(spec.period.around)
    return f"before: the {months} before each one's month of {around}; after: the {months} from it on"


def _rules(spec: TableSpec, coarse: Sequence[str]) -> Iterator[str]:
    yield (
        "Cells of fewer than 10 persons or 10 families, or of none, are suppressed (c), and others so that "
        "these cannot be told."
    )
    if spec.impossible:
        yield "Nobody can be in cells with a colon (:)."
    if spec.method is Method.CELL_KEY:
        yield f"Counts are perturbed by cell keys (table {spec.ptable})."
    else:
        yield "Counts are rounded to 5."
    yield "Totals are sums of published cells, and say how many they leave out (left_out)."
    if any(one.kind is Measure.RATE for one in spec.figures):
        yield (
            "Rates are made of published counts: of those who have it and those who have not, each rounded. "
            "What a rate is of can therefore differ from the count of all."
        )
    if any(one.magnitude for one in spec.figures):
        yield (
            "Sums are suppressed where two contribute 90 % or more, or one could be told to within 10 %; "
            "others are rounded. Means are made of published sums and counts."
        )
        bases = sorted({one.base for one in spec.figures if one.magnitude})
        for base in bases:
            names = [one.name for one in spec.figures if one.magnitude and one.base == base]
            yield f"Sums are rounded to multiples of {base:,}: {', '.join(names)}."
    if coarse:
        yield f"Coarser than declared, to be protected: {', '.join(coarse)}."
    if spec.source:
        yield f"Source of unit costs: {spec.source}"


@dataclass(frozen=True, slots=True)
class _Shown:
    """One cell as it is published: a number and of how many, or a mark."""

    value: int
    of: int
    mark: str


def _lines(told: Told, suppressed: Mapping[int, frozenset[Key]]) -> Iterator[Line]:
    names = [axis for axis in told.sheet.axes if axis.name]
    shown = dict(_cells(told, suppressed))
    kind = told.figure.kind
    for place in product(*((*range(len(axis.labels)), None) for axis in names)):
        here = [
            one
            for at, one in shown.items()
            if all(wanted is None or wanted == got for wanted, got in zip(place, at, strict=True))
        ]
        left_out = sum(one.mark == SUPPRESSED for one in here)
        known = [one for one in here if not one.mark]
        mark = "" if known else (SUPPRESSED if left_out else IMPOSSIBLE)
        categories = tuple(
            TOTAL if at is None else axis.labels[at] for at, axis in zip(place, names, strict=True)
        )
        inner = None not in place
        value, of = _told(kind, sum(one.value for one in known), sum(one.of for one in known))
        yield Line(
            told.figure.name,
            told.period,
            categories,
            None if mark else value,
            None if mark else of,
            mark,
            0 if inner else left_out,
        )


def _told(kind: Measure, value: int, of: int) -> tuple[float, int | None]:
    """The number of a row, from published ones."""
    if kind is Measure.RATE:
        return round(100 * value / of, 1) if of else 0.0, of
    if kind is Measure.MEAN:
        return round(value / of, 2) if of else 0.0, of
    return value, of or None


def _cells(told: Told, suppressed: Mapping[int, frozenset[Key]]) -> Iterator[tuple[tuple[int, ...], _Shown]]:
    """Each cell of a measure by its place among the dimensions."""
    sheet, people = told.sheet, told.people
    width = sum(bool(axis.name) for axis in sheet.axes)
    inside = (0,) * (len(people.axes) - width)
    hidden, nobody = suppressed[id(sheet)], suppressed[id(people)]
    for place in product(*(range(len(axis.labels)) for axis in sheet.axes[:width])):
        here = (*place, *inside)
        if not people.possible[here]:
            yield place, _Shown(0, 0, IMPOSSIBLE)
        elif sheet is people:
            gone = sheet.key(here) in hidden
            yield place, _Shown(0, 0, SUPPRESSED) if gone else _Shown(_number(sheet, here), 0, "")
        elif sheet.base:
            mean = told.figure.kind is Measure.MEAN
            gone = sheet.key(here) in hidden or (mean and people.key(here) in nobody)
            of = _number(people, here) if mean and not gone else 0
            yield place, _Shown(0, 0, SUPPRESSED) if gone else _Shown(_number(sheet, here), of, "")
        else:
            yes, no = (*here, 0), (*here, 1)
            gone = sheet.key(yes) in hidden or sheet.key(no) in hidden
            if gone:
                yield place, _Shown(0, 0, SUPPRESSED)
            else:
                having = _number(sheet, yes)
                yield place, _Shown(having, having + _number(sheet, no), "")


def _number(sheet: Sheet, place: tuple[int, ...]) -> int:
    """The published number of a cell."""
    amount = float(sheet.amounts[place])
    if sheet.base:
        return rounded(amount, sheet.base)
    if sheet.noise is not None:
        return int(amount) + int(sheet.noise[place])
    return rounded(amount, BASE)
