"""Sheets from units: a row a unit, with its place on each axis, become arrays of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pseudonym.errors import InputError
from pseudonym.tables.cellkey import Noise
from pseudonym.tables.cells import Axis, Sheet
from pseudonym.tables.rules import dominated
from pseudonym.tables.spec import Figure, TableSpec, Unit

FAMILY = "family"


def counts(
    spec: TableSpec,
    measure: str,
    period: str,
    units: pl.DataFrame,
    axes: tuple[Axis, ...],
    noise: Noise | None,
) -> Sheet:
    """A sheet of counts.

    Args:
        spec: the table's declaration.
        measure, period: whose.
        units: `unit`, `family`, `persons`, and `_0`, `_1` and so on with the place on each axis.
        axes: the axes.
        noise: for cell keys.
    """
    shape = tuple(len(axis.labels) for axis in axes)
    persons = _array(units, shape, pl.col("persons").sum())
    amounts = persons if spec.unit is Unit.PERSON else _array(units, shape, pl.len())
    sheet = Sheet(
        measure,
        period,
        spec.topic,
        axes,
        amounts.astype(np.float64),
        persons,
        _families(units, shape),
        _possible(spec, axes, persons),
        np.zeros(tuple(size + 1 for size in shape), np.bool_),
        _shown(axes),
    )
    if noise is None:
        return sheet
    keys = _array(units.with_columns(key=noise.keys(units["unit"])), shape, pl.col("key").sum())
    return replace(sheet, noise=noise.of(amounts, keys), spread=noise.spread)


def sums(
    spec: TableSpec, figure: Figure, period: str, what: str, units: pl.DataFrame, axes: tuple[Axis, ...]
) -> Sheet:
    """A sheet of sums of `amount`; who contributes nothing is not behind it.

    Args:
        spec: the table's declaration.
        figure, period: whose.
        what: is summed up, in a name that is the same in all tables.
        units, axes: as for `counts`.
    """
    shape = tuple(len(axis.labels) for axis in axes)
    given = units.filter(pl.col("amount") > 0)
    total = _amounts(given, shape, pl.col("amount").sum())
    persons = _array(given, shape, pl.col("persons").sum())
    unsafe, largest = _contributions(given, shape)
    return Sheet(
        figure.name,
        period,
        f"{what} of each {spec.topic}",
        axes,
        total,
        persons,
        _families(given, shape),
        _possible(spec, axes, persons),
        unsafe,
        _shown(axes),
        base=figure.base,
        largest=largest,
    )


def _array(units: pl.DataFrame, shape: tuple[int, ...], what: pl.Expr) -> NDArray[np.int64]:
    """One whole number for each cell, 0 where nobody is."""
    found: NDArray[np.int64] = _amounts(units, shape, what).astype(np.int64)
    return found


def _amounts(units: pl.DataFrame, shape: tuple[int, ...], what: pl.Expr) -> NDArray[np.float64]:
    columns = [f"_{place}" for place in range(len(shape))]
    found = units.group_by(columns).agg(what.alias("_what"))
    made = np.zeros(shape, np.float64)
    made[tuple(found[name].to_numpy() for name in columns)] = found["_what"].to_numpy()
    return made


def _families(units: pl.DataFrame, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """How many families are in each cell and total."""
    made = np.zeros(tuple(size + 1 for size in shape), np.int64)
    for columns, index in _margins(shape):
        found = units.group_by(columns).agg(_n=pl.col(FAMILY).n_unique()) if columns else None
        if found is None:
            made[index({})] = units[FAMILY].n_unique()
        else:
            made[index(found.to_dict())] = found["_n"].to_numpy()
    return made


def _contributions(
    units: pl.DataFrame, shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Of each cell and total: whether one or two units or families add nearly all; what one adds at most."""
    made = np.zeros(tuple(size + 1 for size in shape), np.bool_)
    most = np.zeros(made.shape, np.float64)
    parts = pl.col("amount").sort(descending=True)
    wanted = (
        pl.col("amount").sum(),
        parts.slice(0, 1).sum().alias("_largest"),
        parts.slice(1, 1).sum().alias("_second"),
    )
    for columns, index in _margins(shape):
        for who in ("unit", FAMILY):
            each = units.group_by(*columns, who).agg(pl.col("amount").sum())
            found = each.group_by(columns).agg(wanted) if columns else each.select(wanted)
            total, largest, second = (found[name].to_numpy() for name in ("amount", "_largest", "_second"))
            at = index(found.to_dict())
            made[at] |= dominated(total, largest, second)
            most[at] = np.maximum(most[at], largest)
    return made, most


def _margins(shape: tuple[int, ...]) -> Iterator[tuple[list[str], Callable[[Mapping[str, pl.Series]], Any]]]:
    """All sets of axes, each with what finds the places of its cells in an array that has totals too."""
    names = [f"_{place}" for place in range(len(shape))]
    for size in range(len(names) + 1):
        for some in combinations(names, size):

            def index(found: Mapping[str, pl.Series], some: tuple[str, ...] = some) -> Any:
                return tuple(found[name].to_numpy() if name in some else [-1] for name in names)

            yield list(some), index


def _shown(axes: Iterable[Axis]) -> NDArray[np.bool_]:
    """Which cells are about those whom the measure is about: the first category of what says who."""
    made: NDArray[Any] = np.ones((), np.bool_)
    for axis in axes:
        inside = np.arange(len(axis.labels)) == 0
        made = np.multiply.outer(made, inside if axis.about else np.ones(len(axis.labels), np.bool_))
    return made


def _possible(spec: TableSpec, axes: Sequence[Axis], persons: NDArray[np.int64]) -> NDArray[np.bool_]:
    possible = np.ones(persons.shape, np.bool_)
    by_name = {axis.name: place for place, axis in enumerate(axes) if axis.name}
    for cell in spec.impossible:
        index: list[Any] = [slice(None)] * len(axes)
        for name, label in cell:
            labels = axes[by_name[name]].labels
            if label not in labels:
                raise InputError(f"Dimension {name} has no category of an impossible cell.", "Correct it.")
            index[by_name[name]] = labels.index(label)
        possible[tuple(index)] = False
    if persons[~possible].any():
        raise InputError("Somebody is in a cell that is declared impossible.", "Take it out.")
    return possible
