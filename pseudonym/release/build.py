"""The tables of a release: persons, families, and a table for each dataset of events; columns and no loop.

    rows of datasets ──bands──▶ events                    internal ids until the very last step (`numbered`)
                     ──counts─▶ persons ──roll-up──▶ families

Rows are in the order of the reference numbers and then of their values: it tells nothing of when they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from pseudonym.datasets import Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.release.columns import Out, column, counted
from pseudonym.release.spec import FAMILIES, PERSONS, Form, Spec, Use

PERSON, FAMILY = "person", "family"
REFERENCES = {
    PERSON: Out(PERSON, "Reference number of the person, this recipient's own", "reference"),
    FAMILY: Out(FAMILY, "Reference number of the person's family, this recipient's own", "reference"),
}
REGISTER = "register"
"""The column of a dataset of links that says which register a row is about."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table.

    Attributes:
        name: `persons`, `families` or the dataset's.
        frame: `person` and `family` (families: `family`), then the columns.
        columns: what is said of each, without the references.
    """

    name: str
    frame: pl.DataFrame
    columns: tuple[Out, ...]

    @property
    def names(self) -> list[str]:
        """The columns without the references."""
        return [one.name for one in self.columns]


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The tables of a release, and who is in it: `members` has person and family, one row a person."""

    tables: tuple[Table, ...]
    members: pl.DataFrame

    def table(self, name: str) -> Table:
        """The table of this name.

        Raises:
            InputError: there is none.
        """
        for one in self.tables:
            if one.name == name:
                return one
        raise InputError(
            f"The release has no table {name}.", "Name persons, families or a dataset of events."
        )


def build(
    spec: Spec, declared: Mapping[str, Dataset], rows: Mapping[str, pl.DataFrame], today: date
) -> Built:
    """Build the tables, by internal id.

    Args:
        spec: what is wanted.
        declared: the datasets' declarations.
        rows: of each dataset `aid`, `family` (binary) and the columns that `Use.reads` names, as
            `pseudonym.attributes` reads them.
        today: whose holder the dictionary names.

    Raises:
        InputError: the specification asks for what the declarations do not have, two columns have one name,
            or a dataset of one row a person has more.
    """
    whose = [one for one in spec.datasets if spec.population in ("", one.name)]
    members = (
        pl.concat([_members(use, rows[use.name]) for use in whose])
        .group_by(PERSON, maintain_order=True)
        .agg(pl.col(FAMILY).drop_nulls().first())
        .sort(PERSON)
    )
    persons, said = members, list[Out]()
    events = []
    for use in spec.datasets:
        dataset = declared[use.name]
        found = rows[use.name].rename({"aid": PERSON}).drop(FAMILY).join(members, on=PERSON)
        if use.form is Form.EVENTS:
            events.append(_events(use, dataset, found, today))
        if use.form is Form.PERSON:
            persons, said = _beside(persons, said, use, dataset, found, today)
        if use.form is Form.LINKS:
            persons, said = _links(persons, said, use, dataset, found, today)
        for count in use.counts:
            total, out = counted(count, dataset, today)
            persons = persons.join(found.group_by(PERSON).agg(total), on=PERSON, how="left")
            persons, said = persons.with_columns(pl.col(out.name).fill_null(0)), [*said, out]
    _check_names(said)
    people = Table(PERSONS, persons.select(PERSON, FAMILY, *(one.name for one in said)), tuple(said))
    return Built((people, _families(spec, people), *events), members)


def numbered(built: Built, persons: pl.DataFrame, families: pl.DataFrame) -> Built:
    """The same tables under the recipient's numbers, in their order.

    Args:
        built: by internal id.
        persons: `aid` (binary) and `urn` of everybody.
        families: the same of the families.
    """

    def under(frame: pl.DataFrame) -> pl.DataFrame:
        for place, numbers in ((PERSON, persons), (FAMILY, families)):
            if place in frame.columns:
                order = frame.columns
                known = numbers.select(pl.col("aid").alias(place), pl.col("urn"))
                frame = (
                    frame.join(known, on=place, how="left").drop(place).rename({"urn": place}).select(order)
                )
        return frame.sort(frame.columns)

    tables = tuple(replace(table, frame=under(table.frame)) for table in built.tables)
    return Built(tables, under(built.members))


def allowed(spec: Spec, declared: Mapping[str, Dataset], today: date) -> dict[str, list[Out]]:
    """The columns that each table may have by the specification alone, made apart from any building."""
    empty = {
        use.name: pl.DataFrame(
            schema={"aid": pl.Binary, "family": pl.Binary}
            | {one.name: _TYPES[one.kind](one.scale) for one in declared[use.name].columns}
        )
        for use in spec.datasets
    }
    return {table.name: list(table.columns) for table in build(spec, declared, empty, today).tables}


_TYPES: Mapping[Kind, Callable[[int], pl.DataType]] = {
    **dict.fromkeys((Kind.INTEGER, Kind.YEAR), lambda _: pl.Int64()),
    **dict.fromkeys((Kind.CODE, Kind.MONTH, Kind.QUARTER), lambda _: pl.String()),
    Kind.FLAG: lambda _: pl.Boolean(),
    Kind.DECIMAL: lambda scale: pl.Decimal(38, scale),
}


_TIMES = (Kind.MONTH, Kind.QUARTER, Kind.YEAR)


def _members(use: Use, rows: pl.DataFrame) -> pl.DataFrame:
    """The persons of a dataset (`person`), each with one family, null for none."""
    told = rows.select(FAMILY, person="aid").unique()
    known = told.drop_nulls(FAMILY).select(PERSON, FAMILY)
    several = known.filter(pl.len().over(PERSON) > 1)
    one = known.join(several, on=PERSON, how="anti")
    chosen = pl.concat([one, _chosen(use, rows, several)])
    return told.select(PERSON).unique().join(chosen, on=PERSON, how="left")


def _chosen(use: Use, rows: pl.DataFrame, several: pl.DataFrame) -> pl.DataFrame:
    """The family of those who are in several: that of the row which counts (`_in_order`).

    Of families in which such rows say the same it is the one whose own rows come first. Nothing rests on the
    order in which rows were told, nor, but between families that are alike in all their rows, on ids.
    """
    some = rows.filter(pl.col(FAMILY).is_in(several[FAMILY].unique().implode()))
    said = sorted(set(rows.columns) - {"aid", FAMILY})
    places = _in_order(use.latest, some.select(said).unique()).with_row_index("_place")
    placed = some.join(places, on=said, nulls_equal=True).select("_place", FAMILY, person="aid")
    mine = placed.join(several, on=PERSON, how="semi")
    best = mine.filter(pl.col("_place") == pl.col("_place").min().over(PERSON)).select(PERSON, FAMILY)
    alike = (
        placed.sort("_place")
        .group_by(FAMILY, maintain_order=True)
        .agg(pl.col("_place").cast(pl.String).str.zfill(10).str.join(" ").alias("_rows"))
    )
    ranked = best.join(alike, on=FAMILY, how="left").sort(PERSON, "_rows", FAMILY)
    return ranked.unique(PERSON, keep="first", maintain_order=True).select(PERSON, FAMILY)


def _in_order(latest: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order in which they count: the latest first, where it is said what is; then by values."""
    order = sorted(set(rows.columns) - {PERSON}, key=lambda name: (name != latest, name))
    return rows.sort(order, descending=[name == latest for name in order], nulls_last=True)


def _events(use: Use, dataset: Dataset, found: pl.DataFrame, today: date) -> Table:
    made = [column(one, dataset, one.out, today) for one in use.columns]
    _check_names([out for _, out in made])
    frame = found.select(PERSON, FAMILY, *(expression for expression, _ in made))
    return Table(use.name, frame.sort(frame.columns), tuple(out for _, out in made))


def _beside(
    persons: pl.DataFrame, said: list[Out], use: Use, dataset: Dataset, found: pl.DataFrame, today: date
) -> tuple[pl.DataFrame, list[Out]]:
    if use.latest:
        found = latest_rows(found, dataset, use.latest)
    _check_once(found[PERSON], use)
    made = [column(one, dataset, one.out, today) for one in use.columns]
    here = [*said, *(out for _, out in made)]
    _check_names(here)
    columns = found.select(PERSON, *(expression for expression, _ in made))
    return persons.join(columns, on=PERSON, how="left"), here


def latest_rows(found: pl.DataFrame, dataset: Dataset, by: str) -> pl.DataFrame:
    """Of each person's rows the latest by a column, and of several the first in the order of all columns.

    Raises:
        InputError: the column tells no time.
    """
    if dataset.column(by).kind not in _TIMES:
        raise InputError(f"Column {by} of dataset {dataset.name} is no month, quarter or year.")
    return _in_order(by, found).unique(PERSON, keep="first", maintain_order=True)


def _links(
    persons: pl.DataFrame, said: list[Out], use: Use, dataset: Dataset, found: pl.DataFrame, today: date
) -> tuple[pl.DataFrame, list[Out]]:
    """For each register, what linking came to, in columns such as `link_pnc_outcome`."""
    for register in dataset.column(REGISTER).codes:
        if not any(map(str.isalnum, register)):  # stands for none
            continue
        of_it = found.filter(pl.col(REGISTER) == register)
        _check_once(of_it[PERSON], use)
        made = []
        for one in use.columns:
            expression, out = column(one, dataset, f"link_{register}_{one.out}", today)
            made.append((expression, replace(out, meaning=f"{out.meaning} ({register})")))
        said = [*said, *(out for _, out in made)]
        _check_names(said)
        columns = of_it.select(PERSON, *(expression for expression, _ in made))
        persons = persons.join(columns, on=PERSON, how="left")
    return persons, said


def _families(spec: Spec, people: Table) -> Table:
    """A row a family: its members who are in the release, and how many of them have each count."""
    most = spec.most_members
    told = f"number of members, {most} for {most} or more"
    counts = [(one.to, use) for use in spec.datasets for one in use.counts]
    by_name = {one.name: one for one in people.columns}
    said = [Out("members", "Members of the family in this file", "integer", how=told)]
    said += [
        replace(
            by_name[to], name=f"members_{to}", meaning=f"Members with any: {by_name[to].meaning}", how=told
        )
        for to, _ in counts
    ]
    members = pl.len().cast(pl.Int64).alias("members")
    having = ((pl.col(to) > 0).sum().cast(pl.Int64).alias(f"members_{to}") for to, _ in counts)
    grouped = people.frame.drop_nulls(FAMILY).group_by(FAMILY).agg(members, *having)
    frame = grouped.with_columns(pl.exclude(FAMILY).clip(upper_bound=most)).sort(FAMILY)
    return Table(FAMILIES, frame, tuple(said))


def _check_once(persons: pl.Series, use: Use) -> None:
    several = persons.len() - persons.n_unique()
    if several:
        raise InputError(
            f"{several} rows of dataset {use.name} are a person's second.",
            "Take it as events or counts, or the latest of each (latest).",
        )


def _check_names(said: list[Out]) -> None:
    names = [one.name for one in said]
    again = sorted({name for name in names if names.count(name) > 1 or name in REFERENCES})
    if again:
        raise InputError(f"Two columns of a table would be called {', '.join(again)}.", "Name one otherwise.")
