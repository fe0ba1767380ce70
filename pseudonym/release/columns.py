"""Columns as they leave: banded, coded anew, counted; with what the data dictionary says of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from pseudonym import registers
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import InputError
from pseudonym.release.spec import ColumnUse, Count, Use

MONTH, QUARTER = r"^\d{4}-(0[1-9]|1[0-2])$", r"^\d{4}-Q[1-4]$"


@dataclass(frozen=True, slots=True)
class Out:
    """One column of a table of the file.

    Attributes:
        name: in the table.
        meaning: one sentence.
        kind: `code`, `integer`, `decimal`, `flag`, `year`, `month`, `quarter`, `band` or `reference`.
        source: the dataset and its column.
        how: what was done to it, in words; empty for nothing.
        codes: all values that a code or band may have; empty for other kinds.
        tags: what the law says of it.
        holder: who held the source when the file was made.
    """

    name: str
    meaning: str
    kind: str
    source: str = ""
    how: str = ""
    codes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    holder: str = ""


def column(use: ColumnUse, dataset: Dataset, name: str, today: date) -> tuple[pl.Expr, Out]:
    """How a declared column becomes one of the file, under a name, and what is said of it.

    Raises:
        InputError: it is not declared, or cannot be banded so.
    """
    declared = dataset.column(use.name)
    expression, kind, codes, how = _coarser(use, declared)
    register = registers.find(dataset.name)
    meaning = use.meaning or (register.meaning(use.name) if register else "")
    if not meaning:
        raise InputError(
            f"Nothing says what column {use.name} of dataset {dataset.name} means.",
            "Give its meaning in the specification.",
        )
    said = Out(
        name=name,
        meaning=meaning,
        kind=kind,
        source=f"{dataset.name}.{use.name}",
        how=how,
        codes=codes,
        tags=tuple(sorted(declared.tags)),
        holder=register.holder(today) if register else "",
    )
    return expression.alias(name), said


def counted(count: Count, dataset: Dataset, today: date) -> tuple[pl.Expr, Out]:
    """How many rows of a person count, as an aggregation over the dataset, and what is said of it."""
    tags: frozenset[Tag] = frozenset().union(*(one.tags for one in dataset.columns))
    rows = pl.len()
    how = f"number of rows, {count.top} for {count.top} or more"
    if count.column:
        declared = dataset.column(count.column)
        known = {"true", "false"} if declared.kind is Kind.FLAG else set(declared.codes)
        if not set(count.codes) <= known:
            raise InputError(
                f"Count {count.to} names codes that column {count.column} does not have.",
                "Codes of a list, or true and false for a flag, can be counted.",
            )
        rows = pl.col(count.column).cast(pl.String).is_in(list(count.codes)).fill_null(False).sum()
        how += f", where {count.column} is {' or '.join(count.codes)}"
    register = registers.find(dataset.name)
    said = Out(
        name=count.to,
        meaning=count.meaning or f"Rows in {register.title if register else dataset.name}",
        kind="integer",
        source=dataset.name,
        how=how,
        tags=tuple(sorted(tags)),
        holder=register.holder(today) if register else "",
    )
    return rows.cast(pl.Int64).clip(upper_bound=count.top).alias(count.to), said


def read_columns(use: Use, dataset: Dataset) -> list[Column]:
    """The declared columns that a dataset's use reads; where it counts rows alone, the first one.

    A row has to be read to be counted.
    """
    return [dataset.column(name) for name in use.reads] or [dataset.columns[0]]


def _coarser(use: ColumnUse, declared: Column) -> tuple[pl.Expr, str, tuple[str, ...], str]:
    """The expression, the kind, the values it may have, and what was done, in words."""
    kind = declared.kind
    if use.recode and kind is not Kind.CODE:
        raise _cannot(use, "only codes are recoded")
    if use.band and (
        kind not in (Kind.MONTH, Kind.QUARTER) or (use.band == "quarter" and kind is not Kind.MONTH)
    ):
        raise _cannot(use, "only months and quarters become years, and months quarters")
    source = pl.col(use.name)
    if use.age_on:
        if kind not in (Kind.YEAR, Kind.MONTH, Kind.QUARTER):
            raise _cannot(use, "an age is told from a year, quarter or month of birth")
        year = source if kind is Kind.YEAR else source.str.slice(0, 4).cast(pl.Int64)
        return _numbers(use, pl.lit(use.age_on) - year, 0, 130, f"age in years at the end of {use.age_on}")
    if kind is Kind.CODE:
        return _recoded(use, declared)
    if use.band:
        year = source.str.slice(0, 4).cast(pl.Int64)
        if use.band == "year":
            if use.width or use.top is not None or use.bottom is not None:
                return _numbers(use, year, 1800, 2199, f"year of the {kind}")
            return year, "year", (), f"year of the {kind}"
        quarter = (source.str.slice(5, 2).cast(pl.Int64) + 2) // 3
        return source.str.slice(0, 4) + "-Q" + quarter.cast(pl.String), "quarter", (), "quarter of the month"
    if kind in (Kind.INTEGER, Kind.YEAR):
        if use.width or use.top is not None or use.bottom is not None:
            return _numbers(use, source, declared.low, declared.high, "")
        return source, str(kind), (), ""
    if use.width or use.top is not None or use.bottom is not None:
        return _other(use, kind)
    return source, str(kind), (), ""


def _other(use: ColumnUse, kind: Kind) -> tuple[pl.Expr, str, tuple[str, ...], str]:
    if kind is not Kind.DECIMAL:
        raise _cannot(use, "only numbers have a width, a top and a bottom")
    low, high = use.bottom, use.top
    if use.width:
        whole = pl.col(use.name).cast(pl.Float64).floor().cast(pl.Int64)
        if low is None or high is None:
            raise _cannot(use, "bands of a decimal need a bottom and a top")
        return _numbers(use, whole, low, high, "whole units")
    value = pl.col(use.name).clip(low, high)
    return value, "decimal", (), _clipped(low, high)


def _recoded(use: ColumnUse, declared: Column) -> tuple[pl.Expr, str, tuple[str, ...], str]:
    if use.width or use.top is not None or use.bottom is not None:
        raise _cannot(use, "a code has no width, top or bottom")
    if not use.recode:
        return pl.col(use.name), "code", declared.codes, ""
    known = dict(use.recode)
    if set(known) != set(declared.codes):
        raise _cannot(use, "a recode names every declared code and no other")
    to = tuple(dict.fromkeys(known.values()))
    new = pl.col(use.name).replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.String
    )
    return new, "code", to, f"{len(known)} codes become {len(to)}"


def _numbers(
    use: ColumnUse, value: pl.Expr, low: int, high: int, how: str
) -> tuple[pl.Expr, str, tuple[str, ...], str]:
    """A number, clipped, or in bands: texts such as `0-4`, `80+` and `1949-`, in the order of `codes`."""
    bottom, top = use.bottom, use.top
    if not use.width:
        told = "; ".join(part for part in (how, _clipped(bottom, top)) if part)
        return value.clip(bottom, top), "integer", (), told
    width = use.width
    first = low if bottom is None else bottom + 1
    last = high if top is None else top - 1
    starts = range(first // width * width, last + 1, width)
    edges = [(max(start, first), min(start + width - 1, last)) for start in starts]
    if len(edges) > 1_000:
        raise _cannot(use, "it would have more than 1,000 bands; give a bottom and a top")
    between = "-" if low >= 0 else " to "
    labels = [f"{a}{between}{b}" if a != b else str(a) for a, b in edges]
    place = (value.clip(first, last) // width - first // width).cast(pl.Int64)
    result = place.replace_strict(list(range(len(labels))), labels, default=None, return_dtype=pl.String)
    codes = labels
    if bottom is not None:
        result = pl.when(value <= bottom).then(pl.lit(f"{bottom} or less")).otherwise(result)
        codes = [f"{bottom} or less", *codes]
    if top is not None:
        result = pl.when(value >= top).then(pl.lit(f"{top} or more")).otherwise(result)
        codes = [*codes, f"{top} or more"]
    words = "; ".join(part for part in (how, f"bands of {width}") if part)
    return pl.when(value.is_not_null()).then(result), "band", tuple(codes), words


def _clipped(bottom: int | None, top: int | None) -> str:
    least = f"{bottom} for {bottom} or less" if bottom is not None else ""
    most = f"{top} for {top} or more" if top is not None else ""
    return ", ".join(part for part in (least, most) if part)


def _cannot(use: ColumnUse, why: str) -> InputError:
    return InputError(f"Column {use.name} cannot be told so: {why}.", "Correct the specification.")
