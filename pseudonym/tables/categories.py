"""Dimensions of a table: from a declared column to categories, and which declared values each has."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl

from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.release.columns import column
from pseudonym.tables.cells import Axis, Values
from pseudonym.tables.spec import TOTAL, UNKNOWN, Dimension

_MOST_VALUES = 5_000
_MOST_CATEGORIES = 60
_MONTHS = [f"{year}-{month:02}" for year in range(1850, 2151) for month in range(1, 13)]
_QUARTERS = [f"{year}-Q{quarter}" for year in range(1850, 2151) for quarter in range(1, 5)]


def categories(
    dimension: Dimension, dataset: Dataset, today: date, *, coarse: bool
) -> tuple[pl.Expr, Axis, bool]:
    """How a column becomes the category that somebody is in.

    Args:
        dimension: as declared.
        dataset: the population's.
        today: for what is said of the column.
        coarse: whether the coarser categories are wanted.

    Returns:
        The category's label; the axis, whose last category takes in those of whom nothing is known; and
        whether that category is there for them alone.

    Raises:
        InputError: the column has no closed list of categories, or too many.
    """
    declared = dataset.column(dimension.use.name)
    expression, out = column(dimension.use, dataset, dimension.name, today)
    if out.kind == "flag":
        expression, out = expression.cast(pl.String), replace(out, codes=("true", "false"))
    if not out.codes:
        raise InputError(
            f"Dimension {dimension.name} has no closed list of categories.",
            "Take a code or a flag, or give bands: width, with a bottom and a top.",
        )
    label = expression.fill_null(dimension.missing or UNKNOWN)
    own = dimension.missing not in out.codes
    labels = [*out.codes, *([dimension.missing or UNKNOWN] if own else [])]
    values = _values(declared, expression, dimension, labels)
    if coarse:
        label, labels, values = _coarser(dimension, label, labels, values)
    if TOTAL in labels or len(labels) > _MOST_CATEGORIES:
        raise InputError(
            f"Dimension {dimension.name} has more than {_MOST_CATEGORIES} categories, or one called {TOTAL}."
        )
    source = f"{dataset.name}.{declared.name}"
    if _domain(declared) is None:  # in bands that others cannot be held against
        source += f" {out.how}"
    axis = Axis(dimension.name, source, tuple(labels), tuple(values[one] for one in labels))
    return label.alias(dimension.name), axis, not dimension.missing and UNKNOWN in labels


def without_unknown(axis: Axis) -> Axis:
    """The axis without its category for those of whom nothing is known: there are none."""
    kept = [place for place, label in enumerate(axis.labels) if label != UNKNOWN]
    return replace(
        axis,
        labels=tuple(axis.labels[place] for place in kept),
        values=tuple(axis.values[place] for place in kept),
    )


def places(axis: Axis, label: str) -> pl.Expr:
    """The place of each category, from 0, of a column of labels."""
    return pl.col(label).replace_strict(
        list(axis.labels), list(range(len(axis.labels))), return_dtype=pl.Int64
    )


def _values(
    declared: Column, expression: pl.Expr, dimension: Dimension, labels: list[str]
) -> dict[str, Values]:
    """The declared values of each category; the empty text stands for no value."""
    domain = _domain(declared)
    found: dict[str, set[str]] = {label: set() for label in labels}
    if domain is None:
        found = {label: {label} for label in labels}
    else:
        told = pl.select(pl.Series(declared.name, domain)).select(
            value=pl.col(declared.name).cast(pl.String), label=expression.cast(pl.String)
        )
        for value, label in told.drop_nulls().iter_rows():
            found[label].add(value)
    found[dimension.missing or UNKNOWN].add("")
    # A category that no value leads to is one all the same.
    return {label: frozenset(values or {f"= {label}"}) for label, values in found.items()}


def _domain(declared: Column) -> list[object] | None:
    """All values that a column can have; None where they are too many to be named."""
    if declared.kind is Kind.CODE:
        return list(declared.codes)
    if declared.kind is Kind.FLAG:
        return [True, False]
    if declared.kind is Kind.MONTH:
        return list(_MONTHS)
    if declared.kind is Kind.QUARTER:
        return list(_QUARTERS)
    if declared.kind in (Kind.INTEGER, Kind.YEAR) and declared.high - declared.low < _MOST_VALUES:
        return list(range(declared.low, declared.high + 1))
    return None


def _coarser(
    dimension: Dimension, label: pl.Expr, labels: list[str], values: dict[str, Values]
) -> tuple[pl.Expr, list[str], dict[str, Values]]:
    to = dict(dimension.coarser)
    if not set(to) <= set(labels):
        raise InputError(
            f"The coarser categories of dimension {dimension.name} are of others than it has.",
            f"It has {', '.join(labels)}.",
        )
    named = {one: to.get(one, one) for one in labels}
    joined: dict[str, set[str]] = {}
    for one, coarse in named.items():
        joined.setdefault(coarse, set()).update(values[one])
    return (
        label.replace_strict(list(named), list(named.values()), return_dtype=pl.String),
        list(joined),
        {one: frozenset(some) for one, some in joined.items()},
    )
