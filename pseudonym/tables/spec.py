"""What a table is: its declaration, as it stands in a file before anything is counted.

`docs/tables.md` shows one. Everything is checked here that can be without data: names, forms, limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from pseudonym.datasets import Tag
from pseudonym.errors import InputError
from pseudonym.release.spec import LARGEST_TEXT, ColumnUse, made, toml, word
from pseudonym.requests import check_name
from pseudonym.urn import check_label

FORMAT: Final = "kinlink-table/1"
MOST_DIMENSIONS: Final = 3
MOST_MEASURES: Final = 20
MOST_MONTHS: Final = 120
TOTAL: Final = "total"
"""What a dimension says in the rows of totals."""
UNKNOWN: Final = "not known"
"""The category of people of whom a dimension is missing, where there are any."""


class Unit(StrEnum):
    """Whom a table counts."""

    PERSON = "person"
    FAMILY = "family"


class Audience(StrEnum):
    """For whom a table is: each council for itself, or everybody."""

    COUNCIL = "council"
    PUBLICATION = "publication"


class Method(StrEnum):
    """How published counts are protected beside suppression."""

    ROUNDING = "rounding"
    CELL_KEY = "cell-key"


class Measure(StrEnum):
    """What is told of the people in a cell."""

    COUNT = "count"  # how many; with a dataset, how many have any row of it
    RATE = "rate"  # which share has any row of a dataset
    MEAN = "mean"  # of a number, for each person or family
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension: a column of the population's dataset, in categories.

    Attributes:
        name: in the table.
        use: the column, and how coarse.
        missing: the category that people count in of whom it is missing; empty for one of their own.
        coarser: from each category to a coarser one, for when the table cannot be protected otherwise.
    """

    name: str
    use: ColumnUse
    missing: str = ""
    coarser: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of a table.

    Attributes:
        name: in the table.
        meaning: one sentence for its readers.
        kind: see `Measure`.
        dataset: whose rows are looked at; empty for counting the people themselves.
        month: the column that says when, where the table has periods and the rows have a time.
        column, codes: only rows with these codes of the column (true and false for a flag).
        value: a column of numbers that are summed up; empty for counting rows.
        costs: what a row costs, by code of `column`, instead.
        base: sums are rounded to multiples of it.
        among: only people with certain codes of columns of the population.
    """

    name: str
    meaning: str
    kind: Measure
    dataset: str = ""
    month: str = ""
    column: str = ""
    codes: tuple[str, ...] = ()
    value: str = ""
    costs: tuple[tuple[str, float], ...] = ()
    base: int = 5
    among: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        check_label(self.name, "measure")
        magnitude = self.kind in (Measure.MEAN, Measure.SUM)
        if not self.dataset and self.kind is not Measure.COUNT:
            raise InputError(f"Measure {self.name} is of no dataset.", "Only people themselves need none.")
        if not self.dataset and (self.month or self.column or self.codes):
            raise InputError(f"Measure {self.name} names columns of no dataset.", "Name the dataset.")
        if ((self.value or self.costs) and not magnitude) or (self.value and self.costs):
            raise InputError(f"Measure {self.name} has a value or costs, and is no mean or sum of one.")
        if self.costs and not self.column:
            raise InputError(f"Measure {self.name} has costs of no column.", "Name the column of codes.")
        if bool(self.codes) and not self.column:
            raise InputError(f"Measure {self.name} names codes of no column.", "Name the column.")
        if any(type(cost) not in (int, float) or not 0 <= cost < 1e9 for _, cost in self.costs):
            raise InputError(f"The costs of measure {self.name} are no amounts from 0.")
        if not 1 <= self.base <= 10**9 or not 0 < len(self.meaning) <= LARGEST_TEXT:
            raise InputError(f"Measure {self.name} has a meaning of one line, and a base of 1 or more.")

    @property
    def magnitude(self) -> bool:
        """Whether it sums up a number of each unit, and does not count units."""
        return self.kind in (Measure.MEAN, Measure.SUM)

    @property
    def reads(self) -> list[str]:
        """The declared columns of its dataset that are read."""
        return list(dict.fromkeys(name for name in (self.month, self.column, self.value) if name))


@dataclass(frozen=True, slots=True)
class Period:
    """Twelve months, or so many, before a month of each person and from that month on.

    Attributes:
        months: how many.
        around: columns of the population's dataset, months; the first that is known counts.
    """

    months: int
    around: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.months <= MOST_MONTHS or not self.around:
            raise InputError(f"A period is of 1 to {MOST_MONTHS} months around a month of each person.")


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table, as it is declared.

    Attributes:
        name: of the form of a project's.
        project: whose people it is of.
        title: one line.
        use: what for, as the registers' declarations name it.
        purpose: the code of the purpose that stands in the audit log.
        audience, unit, method: see there.
        approvers: the names of those who may approve it, in the attributes role's register of approvers.
        population: the dataset of one row a person whose people are counted.
        latest: of a person's several rows the latest by this column counts.
        dimensions: up to three.
        figures: what is told.
        area: the column of the population that says which council; needed for councils.
        period: before and after what; None for measures without time.
        impossible: cells in which nobody can be, each by categories of dimensions.
        ptable: for cell keys, the name of a ready-made perturbation table.
        tags: the tags that its columns may have.
        opt_out: for health data: `applied`, or `exempt: ` and the code of why the opt-out does not apply.
        source: where unit costs are from; needed where there are costs.
    """

    name: str
    project: str
    title: str
    use: str
    purpose: str
    audience: Audience
    unit: Unit
    approvers: tuple[str, ...]
    population: str
    dimensions: tuple[Dimension, ...]
    figures: tuple[Figure, ...]
    latest: str = ""
    method: Method = Method.ROUNDING
    area: str = ""
    period: Period | None = None
    impossible: tuple[tuple[tuple[str, str], ...], ...] = ()
    ptable: str = ""
    tags: frozenset[Tag] = frozenset()
    opt_out: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for text, what in ((self.name, "table"), (self.project, "project"), (self.population, "dataset")):
            check_label(text, what)
        for person in self.approvers:
            check_name(person, "an approver")
        if len(set(self.approvers)) < 2:
            raise InputError("A table names two approvers or more.")
        if not 0 < len(self.title) <= LARGEST_TEXT or not self.title.isprintable():
            raise InputError("A table has a title of one line.")
        names = [one.name for one in self.dimensions]
        taken = {"measure", "period", "value", "of", "rate", "mark", "left_out", "sum", "mean"}
        if not 1 <= len(names) <= MOST_DIMENSIONS or len(set(names)) != len(names) or taken & set(names):
            raise InputError(
                f"A table has 1 to {MOST_DIMENSIONS} dimensions, each once, and none called as a column.",
                f"Columns of a table are {', '.join(sorted(taken))}.",
            )
        told = [one.name for one in self.figures]
        if not 1 <= len(told) <= MOST_MEASURES or len(set(told)) != len(told):
            raise InputError(f"A table has 1 to {MOST_MEASURES} measures, each name once.")
        if self.audience is Audience.COUNCIL and not self._by_area:
            raise InputError(
                "A table for councils has the column of their areas as a dimension.",
                "Name it as area, and have a dimension of it.",
            )
        if (self.method is Method.CELL_KEY) != bool(self.ptable):
            raise InputError("Cell keys need a perturbation table, and nothing else has one.", "Name it.")
        if self.method is Method.CELL_KEY and any(one.magnitude for one in self.figures):
            raise InputError("Cell keys are for counts and rates.", "Round means and sums.")
        if any(one.month for one in self.figures) and self.period is None:
            raise InputError("A measure has a month, and the table no period.", "Say months and around.")
        if any(one.costs for one in self.figures) and not self.source:
            raise InputError("Nothing says where the costs are from.", "Write it as source.")
        for cell in self.impossible:
            if not cell or not {name for name, _ in cell} <= set(names):
                raise InputError("An impossible cell names categories of the table's dimensions.")

    @property
    def _by_area(self) -> bool:
        return bool(self.area) and any(one.use.name == self.area for one in self.dimensions)

    @property
    def area_dimension(self) -> str:
        """The name of the dimension of areas; empty where there is none."""
        return next((one.name for one in self.dimensions if self.area and one.use.name == self.area), "")

    @property
    def topic(self) -> str:
        """Whom it counts; tables of the same are attacked together."""
        return f"{self.unit} of {self.population}"

    @property
    def datasets(self) -> dict[str, list[str]]:
        """The datasets that are read, and which columns of each."""
        own = [one.use.name for one in self.dimensions]
        own += [column for one in self.figures for column, _ in one.among]
        own += [self.latest] if self.latest else []
        own += self.period.around if self.period else ()
        found = {self.population: own}
        for one in self.figures:
            if one.dataset:
                found[one.dataset] = [*found.get(one.dataset, []), *one.reads]
        return {name: list(dict.fromkeys(columns)) for name, columns in found.items()}

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a declaration's file.

        Raises:
            InputError: it is none, or asks for what cannot be.
        """
        try:
            content = toml(text, "declaration")
            if content.pop("format", None) != FORMAT:
                raise InputError(f"A table's declaration begins with format = {FORMAT!r}.")
            for key, kind in (("audience", Audience), ("unit", Unit), ("method", Method)):
                if key in content:
                    content[key] = word(kind, content[key], key)
            content["tags"] = frozenset(map(Tag, content.get("tags", ())))
            content["dimensions"] = tuple(_dimension(one) for one in content["dimensions"])
            if "figures" in content:  # what a file calls measures
                raise KeyError
            content["figures"] = tuple(_figure(one) for one in content.pop("measures"))
            if "period" in content:
                content["period"] = made(Period, content["period"])
            content["impossible"] = tuple(tuple(one.items()) for one in content.get("impossible", ()))
            return made(cls, content)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(
                "The declaration cannot be read as one: something is missing, or not of its form.",
                "docs/tables.md shows its form.",
            ) from None


_COLUMN = {one.name for one in fields(ColumnUse)} - {"name", "to"}


def _dimension(one: Mapping[str, Any]) -> Dimension:
    given = dict(one)
    column = {key: given.pop(key) for key in list(given) if key in _COLUMN}
    column["recode"] = tuple(column.get("recode", {}).items())
    given["use"] = made(ColumnUse, {**column, "name": given.pop("column"), "to": given["name"]})
    given["coarser"] = tuple(given.get("coarser", {}).items())
    return made(Dimension, given)


def _figure(one: Mapping[str, Any]) -> Figure:
    given = dict(one)
    given["kind"] = word(Measure, given["kind"], "kind")
    given["costs"] = tuple(given.get("costs", {}).items())
    given["among"] = tuple((name, tuple(codes)) for name, codes in given.get("among", {}).items())
    return made(Figure, given)
