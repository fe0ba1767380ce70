"""A holder's extract in the columns that its register declares: dates become months, quarters or years.

Done by the holder, before anything is sent: a full date never reaches the attribute store, which has no kind
for one.
"""

from __future__ import annotations

import polars as pl

from pseudonym.datasets import Kind
from pseudonym.errors import InputError
from pseudonym.registers import Field, Register


def banded(extract: pl.DataFrame, register: Register, *keep: str) -> pl.DataFrame:
    """An extract as the register's dataset takes it.

    Args:
        extract: the holder's own columns (`Field.made_from`): dates as dates or as text such as 2025-09-30,
            school years also as text such as 2024/25.
        register: whose columns it gets.
        keep: columns that are kept as they are, such as the reference number that rows go by.

    Returns:
        The columns to keep, then the register's, in its order; nothing else of the extract.

    Raises:
        InputError: a column is missing, or holds a date that is none. No value is shown.
    """
    if absent := [name for name in keep if name not in extract]:
        raise InputError(
            f"The extract of {register.name} has no column {', '.join(absent)}.",
            "--keep names the column that its rows go by: urn, or the id of a record.",
        )
    missing = [name for name in (one.made_from for one in register.fields) if name not in extract]
    if missing:
        raise InputError(
            f"The extract of {register.name} lacks {len(missing)} columns: {', '.join(missing)}.",
            f"kinlink registers show {register.name} lists what each column is made from.",
        )
    made = extract.select(*keep, *(_banded(one, extract[one.made_from].dtype) for one in register.fields))
    for one in register.fields:
        lost = made[one.column.name].null_count() - extract[one.made_from].null_count()
        if lost:
            raise InputError(
                f"{lost} values of column {one.made_from} are no dates.", "Write them as 2025-09-30."
            )
    return made


def _banded(field: Field, dtype: pl.DataType) -> pl.Expr:
    source, kind = pl.col(field.made_from), field.column.kind
    if kind is Kind.YEAR:
        whole = source.dt.year() if dtype.is_temporal() else source.cast(pl.String).str.extract(r"^(\d{4})\b")
        return whole.cast(pl.Int64).alias(field.column.name)
    if kind not in (Kind.MONTH, Kind.QUARTER):
        return source.alias(field.column.name)
    day = source if dtype.is_temporal() else source.cast(pl.String).str.to_date("%Y-%m-%d", strict=False)
    month = day.dt.strftime("%Y-%m")
    if kind is Kind.MONTH:
        return month.alias(field.column.name)
    quarter = day.dt.quarter().cast(pl.String)
    return (day.dt.year().cast(pl.String) + "-Q" + quarter).alias(field.column.name)
