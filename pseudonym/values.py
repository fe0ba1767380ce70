"""Attribute values on arrival: each is what its column declares, or the batch is refused with nothing stored.

The rules this module keeps:

- A column that is not declared is refused; so is one of a type that can hold free text's cousins (floats,
  dates).
- A value that looks like an identifier is refused, whatever its column declares: see `Scan`.
- A refusal says row, column and reason, never the value.
- Stored rows of a dataset are all of one size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import InputError, PseudonymError
from pseudonym.scanner import Sort, looks_like, short_dates

Scan: TypeAlias = Callable[[pl.Series], pl.Series]
"""Takes a series of text and gives a series of reason codes, null where a value looks like no identifier."""


def looks_like_an_identifier(text: pl.Series) -> pl.Series:
    """The scan to use: what `pseudonym.scanner` finds, as `looks_like_nhs`, `looks_like_postcode` and so on.

    Whole numbers of ten digits pass the check of an NHS number or a learner number, or have the form of a
    mobile telephone's, by chance, one in four, and numbers such as 20240131 are taken for dates. All are
    refused: declare larger units, or a code. Numbers such as 310124 and 31012024 are refused where they are
    more than a quarter of the column's numbers of six to eight digits.
    """
    value = pl.col("text")
    cases = (
        pl.when(short_dates(value) if sort is Sort.SHORT_DATE else looks_like(sort, value)).then(
            pl.lit(f"looks_like_{sort.name.lower()}")
        )
        for sort in Sort
    )
    return text.rename("text").to_frame().select(pl.coalesce(*cases).alias("reason")).to_series()


SHOWN = 1_000
"""The most refusals that an error lists one by one; `ValuesRefused.table` has all of them."""

# No identifier has fewer digits than this: a day of birth as DDMMYY is the shortest.
_SHORTEST = 6
_TABLE = {"row": pl.UInt32, "column": pl.String, "reason": pl.String}
_SHORTEST_NUMBER = 10  # of those that are given out: an NHS number
_MONTH = r"^(?:1[89]|2[01])\d\d-(?:0[1-9]|1[0-2])$"
_QUARTER = r"^(?:1[89]|2[01])\d\d-Q[1-4]$"
_INTEGER = r"^-?(?:0|[1-9][0-9]{0,15})$"
_TRUE, _FALSE = ("true", "1", "yes", "y"), ("false", "0", "no", "n")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One value that was not accepted.

    Attributes:
        row: its row in the batch, from 0.
        column: the column's declared name.
        reason: a code such as `looks_like_nhs`, `looks_like_date` or `not_in_list`.
    """

    row: int
    column: str
    reason: str


class ValuesRefused(PseudonymError):
    """Values of a batch look like identifiers or are not what their columns declare. Nothing was stored.

    Attributes:
        table: all of them by row and column: `row` (UInt32, from 0), `column` and `reason`, as in `Refusal`.
        refusals: the first thousand.
        count: how many there are.
    """

    reason = "VALUES_REFUSED"

    def __init__(self, table: pl.DataFrame) -> None:
        reasons = ", ".join(sorted(table["reason"].unique().to_list()))
        super().__init__(
            f"{table.height} values of the batch are refused ({reasons}).",
            "Correct or leave out these values, and send the batch again; nothing of it was stored.",
        )
        self.table = table
        self.refusals = tuple(Refusal(*row) for row in table.head(SHOWN).iter_rows())
        self.count = table.height


def check_declaration(dataset: Dataset, scan: Scan) -> None:
    """Refuse a declaration of which a code looks like an identifier.

    Raises:
        ValuesRefused: the row is the code's place in its list.
    """
    found = [
        (row, column.name, reason)
        for column in dataset.columns
        if column.codes
        for row, reason in enumerate(scan(pl.Series(column.codes, dtype=pl.String)).to_list())
        if reason is not None
    ]
    if found:
        raise ValuesRefused(pl.DataFrame(found, _TABLE, orient="row"))


def accept(frame: pl.DataFrame, dataset: Dataset, scan: Scan) -> pl.DataFrame:
    """Check the attribute columns of a batch.

    Args:
        frame: columns of text, integers, booleans or decimals, under declared names. Missing columns are
            null.
        dataset: the declaration.
        scan: what looks like an identifier.

    Returns:
        All declared columns in order: integers and years as Int64, decimals as Int64 in units of the last
        place, codes, months and quarters as text, flags as booleans.

    Raises:
        InputError: a column is not declared or of a type that is never accepted.
        ValuesRefused: a value is refused.
    """
    declared = {column.name: column for column in dataset.columns}
    extra = sum(name not in declared for name in frame.columns)
    if extra:
        raise InputError(
            f"{extra} columns of the batch are not declared in dataset {dataset.name}.",
            "Send the declared columns only; nothing was stored.",
        )
    taken, reasons = [], []
    for column in dataset.columns:
        given = frame[column.name] if column.name in frame.columns else None
        value, why = _accept(column, given, scan) if given is not None else _nothing(column, frame.height)
        taken.append(value.alias(column.name))
        if why is not None and why.null_count() < why.len():
            reasons.append(why.alias(column.name))
    if reasons:
        raise _refused(reasons)
    return pl.DataFrame(taken)


def payloads(frame: pl.DataFrame, dataset: Dataset) -> list[bytes]:
    """Accepted rows as they are sealed: JSON objects, filled with spaces to the dataset's one size."""
    text = pl.struct(*(column.name for column in dataset.columns)).struct.json_encode()
    missing = pl.lit(dataset.width) - text.str.len_bytes().cast(pl.Int64)
    return (
        frame.select((text + pl.lit(" ").repeat_by(missing).list.join("")).cast(pl.Binary).alias("row"))
        .to_series()
        .to_list()
    )


def values(opened: list[bytes], dataset: Dataset) -> pl.DataFrame:
    """The rows behind payloads, as `accept` gives them; decimals as decimals."""
    kinds = pl.Struct({column.name: _stored(column) for column in dataset.columns})
    frame = pl.Series("row", opened, dtype=pl.Binary).cast(pl.String).str.json_decode(kinds).struct.unnest()
    return frame.with_columns(
        # Decimal by decimal: nothing passes through a float.
        (pl.col(column.name).cast(places) / pl.lit(10**column.scale).cast(places)).alias(column.name)
        for column in dataset.columns
        for places in [pl.Decimal(38, column.scale)]
        if column.kind is Kind.DECIMAL
    )


def _refused(reasons: list[pl.Series]) -> ValuesRefused:
    # No declared column is called so, since none begins with an underscore.
    table = pl.DataFrame(reasons).with_row_index("_row")
    listed = table.unpivot(index="_row", variable_name="column", value_name="reason").drop_nulls("reason")
    return ValuesRefused(listed.rename({"_row": "row"}).sort("row", "column"))


def _nothing(column: Column, rows: int) -> tuple[pl.Series, None]:
    return pl.repeat(None, rows, dtype=_stored(column), eager=True), None


def _stored(column: Column) -> pl.DataType:
    if column.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR):
        return pl.Int64()
    return pl.Boolean() if column.kind is Kind.FLAG else pl.String()


def _accept(column: Column, given: pl.Series, scan: Scan) -> tuple[pl.Series, pl.Series]:
    """The column as it is stored, and the reason beside each value that is not accepted."""
    if given.dtype.is_temporal():
        return _nothing(column, given.len())[0], _where(given.is_not_null(), "looks_like_date")
    if given.dtype.is_float() or given.dtype.is_nested() or given.dtype == pl.Binary:
        raise InputError(
            f"Column {column.name} came as {given.dtype.base_type().__name__.lower()}.",
            "Send text, integers, decimals or booleans.",
        )
    text = given.cast(pl.String).str.strip_chars()
    text = text.set(text == "", None)
    value, why = _parsed(column, text)
    # A value that is one of a closed list, a month or a flag can be no identifier: the list was scanned.
    open_kind = column.kind in (Kind.INTEGER, Kind.DECIMAL)
    doubtful = why.is_not_null() | ((text.str.len_bytes() >= _SHORTEST) & open_kind)
    places = doubtful.fill_null(False).arg_true()
    if places.len():
        suspects = text.gather(places)
        # A number may have got a point at its end, or in its midst; sums of money have so few digits that
        # without their point they could be days.
        whole, joined = suspects.str.replace(r"[.,].*$", ""), suspects.str.replace_all("[.,]", "")
        joined = joined.set(joined.str.len_bytes() < _SHORTEST_NUMBER, None)
        looks = _coalesce(scan(suspects), scan(whole), scan(joined), why.gather(places))
        why = why.scatter(places, looks)
    return value, why


def _coalesce(*series: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(pl.lit(one.cast(pl.String)) for one in series)).to_series()


def _where(holds: pl.Series, reason: str) -> pl.Series:
    frame = pl.DataFrame({"holds": holds})
    return frame.select(pl.when(pl.col("holds").fill_null(False)).then(pl.lit(reason))).to_series()


def _parsed(column: Column, text: pl.Series) -> tuple[pl.Series, pl.Series]:
    value: pl.Expr
    this = pl.col("text")
    match column.kind:
        case Kind.CODE:
            value, reason = pl.when(this.is_in(list(column.codes))).then(this), "not_in_list"
        case Kind.MONTH:
            value, reason = pl.when(this.str.contains(_MONTH)).then(this), "not_a_month"
        case Kind.QUARTER:
            value, reason = pl.when(this.str.contains(_QUARTER)).then(this), "not_a_quarter"
        case Kind.FLAG:
            low = this.str.to_lowercase()
            value = pl.when(low.is_in(_TRUE)).then(True).when(low.is_in(_FALSE)).then(False)
            reason = "not_a_flag"
        case _:
            value, reason = _number(column, this), f"not_{_ARTICLES[column.kind]}"
    frame = pl.DataFrame({"text": text}).select("text", value=value)
    outside = pl.lit(False)
    if column.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR):
        outside = ~pl.col("value").is_between(column.low, column.high)
    why = (
        pl.when(pl.col("text").is_not_null() & pl.col("value").is_null())
        .then(pl.lit(reason))
        .when(outside)
        .then(pl.lit("out_of_bounds"))
    )
    return frame["value"].cast(_stored(column)), frame.select(why.alias("why")).to_series()


_ARTICLES = {Kind.INTEGER: "an_integer", Kind.DECIMAL: "a_decimal", Kind.YEAR: "a_year"}


def _number(column: Column, text: pl.Expr) -> pl.Expr:
    if column.kind is not Kind.DECIMAL:
        return pl.when(text.str.contains(_INTEGER)).then(text).cast(pl.Int64, strict=False)
    # Written digits, moved by the scale: no float comes near.
    form = rf"^-?(?:0|[1-9][0-9]{{0,15}})(?:\.[0-9]{{1,{column.scale}}})?$"
    whole, rest = text.str.replace(r"\..*$", ""), text.str.extract(r"\.(.*)$").fill_null("")
    moved = whole + rest.str.pad_end(column.scale, "0")
    return pl.when(text.str.contains(form)).then(moved).cast(pl.Int64, strict=False)
