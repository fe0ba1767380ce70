"""Counting: from rows of datasets to the sheets of a table; columns and no loop over people.

population ──latest row of each──▶ categories ──▶ units: persons, or families ──▶ people of each cell
rows of datasets ──codes, months before and after──▶ who has any, or how much ──▶ a sheet each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pseudonym.datasets import Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.release.build import latest_rows
from pseudonym.tables.categories import categories, places, without_unknown
from pseudonym.tables.cellkey import Noise
from pseudonym.tables.cells import Axis, Sheet
from pseudonym.tables.sheets import FAMILY, counts, sums
from pseudonym.tables.spec import Figure, TableSpec, Unit

PERSON = "person"
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A measure of one period.

    Attributes:
        figure: as declared.
        period: `before`, `after` or empty.
        sheet: what it says; of a count of people themselves, `people`.
        people: the sheet of the people it is about.
    """

    figure: Figure
    period: str
    sheet: Sheet
    people: Sheet


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A table, counted.

    Attributes:
        axes: its dimensions.
        told: its measures.
        persons, families: in it.
    """

    axes: tuple[Axis, ...]
    told: tuple[Told, ...]
    persons: int
    families: int


@dataclass(frozen=True, slots=True, eq=False)
class _People:
    """Who is counted: `persons` has person, family, unit, a place for each axis, and `_month`."""

    persons: pl.DataFrame
    axes: tuple[Axis, ...]


def count(
    spec: TableSpec,
    declared: Mapping[str, Dataset],
    rows: Mapping[str, pl.DataFrame],
    today: date,
    coarse: frozenset[str] = frozenset(),
    noise: Noise | None = None,
) -> Counted:
    """Count a table.

    Args:
        spec: its declaration.
        declared: the datasets' declarations.
        rows: of each dataset `aid`, `family` (binary) and the columns that the declaration reads.
        today: for what is said of columns.
        coarse: the dimensions that are counted in their coarser categories.
        noise: for cell keys.

    Raises:
        InputError: the declaration asks for what datasets do not have, or somebody is in a cell where it
            says that nobody can be.
    """
    people = _people(spec, declared[spec.population], rows[spec.population], today, coarse)
    tables: dict[tuple[object, ...], Sheet] = {}
    told = []
    for figure in spec.figures:
        group, more = _among(spec, figure, people, declared[spec.population], rows[spec.population])
        axes = (*people.axes, *more)
        name = (figure.among, bool(figure.month))
        if name not in tables:
            tables[name] = counts(spec, "", "", _units(group, axes), axes, noise)
        if not figure.dataset:
            told.append(Told(figure, "", tables[name], tables[name]))
            continue
        for period in (BEFORE, AFTER) if figure.month else ("",):
            units = _with_amounts(spec, figure, period, group, axes, declared, rows)
            if figure.magnitude:
                sheet = sums(spec, figure, period, _what(spec, figure, period), units, axes)
            else:
                having = Axis(
                    "",
                    f"any {_what(spec, figure, period)}",
                    ("yes", "no"),
                    (frozenset({"yes"}), frozenset({"no"})),
                )
                sheet = counts(spec, figure.name, period, units, (*axes, having), noise)
            told.append(Told(figure, period, sheet, tables[name]))
    members = people.persons
    return Counted(people.axes, tuple(told), members.height, members[FAMILY].n_unique())


def _people(
    spec: TableSpec, dataset: Dataset, found: pl.DataFrame, today: date, coarse: frozenset[str]
) -> _People:
    rows = found.rename({"aid": PERSON})
    # Who is in two families counts in the one of the latest row, or the first of them.
    rows = latest_rows(rows, dataset, spec.latest) if spec.latest else rows
    if rows[PERSON].n_unique() != rows.height:
        raise InputError(
            f"Dataset {spec.population} has several rows of a person.",
            "Say by which month the latest counts.",
        )
    rows = rows.with_columns(pl.coalesce(FAMILY, PERSON))
    axes = list[Axis]()
    for dimension in spec.dimensions:
        label, axis, unknown = categories(dimension, dataset, today, coarse=dimension.name in coarse)
        rows = rows.with_columns(label.alias("_label"))
        if unknown and not (rows["_label"] == axis.labels[-1]).any():
            axis = without_unknown(axis)
        rows = rows.with_columns(places(axis, "_label").alias(f"_{len(axes)}")).drop("_label")
        axes.append(axis)
    unit = PERSON if spec.unit is Unit.PERSON else FAMILY
    rows = rows.with_columns(unit=pl.col(unit))
    if spec.unit is Unit.FAMILY:  # a family is where the first in the list of its members' categories says
        rows = rows.with_columns(pl.col(f"_{place}").min().over("unit") for place in range(len(axes)))
    if spec.period is not None:
        rows = rows.with_columns(_month=pl.coalesce(_month(dataset, name) for name in spec.period.around))
    return _People(rows, tuple(axes))


def _among(
    spec: TableSpec, figure: Figure, people: _People, dataset: Dataset, found: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[Axis, ...]]:
    """The people with a place on each axis that says whether a measure is about them, and these axes.

    `_mine` says whether it is about a person: a family has a place in it for any such member, and what the
    others did is not counted.
    """
    rows, axes = people.persons.with_columns(_mine=pl.lit(True)), list[Axis]()

    def narrow(column: str, inside: frozenset[str], outside: frozenset[str], here: pl.Expr) -> None:
        nonlocal rows
        place = f"_{len(people.axes) + len(axes)}"
        found = pl.when(here).then(0).otherwise(1).cast(pl.Int64)
        if spec.unit is Unit.FAMILY:
            found = found.min().over("unit")
        rows = rows.with_columns(found.alias(place), _mine=pl.col("_mine") & here)
        if rows[place].max():
            axes.append(Axis("", column, ("in", "out"), (inside, outside), about=True))
        else:
            rows = rows.drop(place)

    for name, codes in figure.among:
        declared = dataset.column(name)
        known = {"true", "false"} if declared.kind is Kind.FLAG else set(declared.codes)
        if not codes or not set(codes) <= known or any(one.use.name == name for one in spec.dimensions):
            raise InputError(
                f"Measure {figure.name} is among others than column {name} has.",
                "Name codes of a column that is no dimension.",
            )
        inside = frozenset(codes)
        here = pl.col(name).cast(pl.String).is_in(list(codes)).fill_null(False)
        narrow(f"{dataset.name}.{name}", inside, frozenset(known | {""}) - inside, here)
    if figure.month and spec.period is not None:
        around = " ".join(spec.period.around)
        known_month = pl.col("_month").is_not_null()
        narrow(f"month of {around}", frozenset({"known"}), frozenset({""}), known_month)
    return rows, tuple(axes)


def _units(group: pl.DataFrame, axes: Sequence[Axis]) -> pl.DataFrame:
    """A row a unit: its place on each axis, its family, and how many persons it is."""
    columns = [f"_{place}" for place in range(len(axes))]
    return group.group_by("unit").agg(pl.col(columns).min(), pl.col(FAMILY).first(), persons=pl.len())


def _with_amounts(
    spec: TableSpec,
    figure: Figure,
    period: str,
    group: pl.DataFrame,
    axes: Sequence[Axis],
    declared: Mapping[str, Dataset],
    rows: Mapping[str, pl.DataFrame],
) -> pl.DataFrame:
    """The units with what each adds (`amount`), and the place of having any, 0 for yes."""
    dataset = declared[figure.dataset]
    found = rows[figure.dataset].rename({"aid": PERSON}).drop(FAMILY)
    if figure.codes:
        column = dataset.column(figure.column)
        known = {"true", "false"} if column.kind is Kind.FLAG else set(column.codes)
        if not set(figure.codes) <= known:
            raise InputError(f"Measure {figure.name} names codes that column {figure.column} does not have.")
        found = found.filter(pl.col(figure.column).cast(pl.String).is_in(list(figure.codes)))
    about = [pl.col(f"_{at}") == 0 for at, axis in enumerate(axes) if axis.about]
    mine = group.filter("_mine", *about)
    joined = found.join(mine.select(PERSON, "unit", *(["_month"] if figure.month else [])), on=PERSON)
    if figure.month and spec.period is not None:
        apart = _month(dataset, figure.month) - pl.col("_month")
        window = (-spec.period.months, 0) if period == BEFORE else (0, spec.period.months)
        joined = joined.filter((apart >= window[0]) & (apart < window[1]))
    amounts = joined.group_by("unit").agg(amount=_amount(figure, dataset).sum())
    units = _units(group, axes).join(amounts, on="unit", how="left")
    has = pl.when(pl.col("amount").is_not_null()).then(0).otherwise(1).cast(pl.Int64)
    return units.with_columns(has.alias(f"_{len(axes)}"), pl.col("amount").fill_null(0.0))


def _amount(figure: Figure, dataset: Dataset) -> pl.Expr:
    if figure.costs:
        codes = dataset.column(figure.column).codes
        costs = dict(figure.costs)
        if not set(costs) <= set(codes):
            raise InputError(f"Measure {figure.name} has costs of codes that {figure.column} does not have.")
        return pl.col(figure.column).replace_strict(
            list(costs), list(costs.values()), default=0.0, return_dtype=pl.Float64
        )
    if not figure.value:
        return pl.lit(1.0)
    if dataset.column(figure.value).kind not in (Kind.INTEGER, Kind.DECIMAL):
        raise InputError(f"Measure {figure.name} sums up {figure.value}, which is no number.")
    # What is below zero would let a sum hide who contributes to it.
    return pl.col(figure.value).cast(pl.Float64).fill_null(0.0).clip(lower_bound=0.0)


def _month(dataset: Dataset, name: str) -> pl.Expr:
    """A column of months as a number that counts them."""
    if dataset.column(name).kind is not Kind.MONTH:
        raise InputError(f"Column {name} of dataset {dataset.name} is no month.", "Periods are of months.")
    text = pl.col(name)
    return text.str.slice(0, 4).cast(pl.Int64) * 12 + text.str.slice(5, 2).cast(pl.Int64)


def _what(spec: TableSpec, figure: Figure, period: str) -> str:
    """What a measure looks at, in a name that is the same in all tables."""
    parts = [figure.dataset, figure.column, ",".join(sorted(figure.codes)), figure.value]
    parts.append(";".join(f"{code}={cost:g}" for code, cost in sorted(figure.costs)))
    if spec.unit is Unit.FAMILY and figure.among:  # what some members did is another thing of the same family
        parts.append(" ".join(f"{name}={','.join(sorted(codes))}" for name, codes in sorted(figure.among)))
    if period and spec.period is not None:
        parts += [period, str(spec.period.months), figure.month, ",".join(spec.period.around)]
    return " ".join(part or "-" for part in parts)
