"""Records → standard columns: `forename`, `forename.soundex`, `date_of_birth.year` and so on.

Every raw value is standardised once: the work is done on the distinct values of a column and gathered
back. The columns of two files carry the same names whatever their layouts, so they can be compared.
"""

from __future__ import annotations

import polars as pl

from linker.records import Field, Kind, Records
from linker.standardise import date_from_parts, problem, table

# The pieces that a whole name or a whole address falls into, and the kind that each then is.
PIECES = {
    Kind.FULL_NAME: {"forename": Kind.FORENAME, "middle_name": Kind.MIDDLE_NAME, "surname": Kind.SURNAME},
    Kind.ADDRESS: {
        "house": Kind.HOUSE,
        "flat": Kind.TEXT,
        "street": Kind.ADDRESS_LINE,
        "town": Kind.TOWN,
        "postcode": Kind.POSTCODE,
    },
}
PIECE_NAMES = {"flat": "house.flat", "street": "address_line"}


def standard_columns(records: Records) -> pl.DataFrame:
    """All standard columns of the records, same length and order.

    Where two fields give one column, the first that has a value counts.
    """
    columns: dict[str, pl.Series] = {}
    for field in records.layout.fields:
        for name, series in _field_columns(field, raw_values(records.frame, field)).items():
            known = columns.get(name)
            columns[name] = (
                series if known is None else known.fill_null(series) if known.dtype == series.dtype else known
            )
    return pl.DataFrame([series.alias(name) for name, series in columns.items()])


def raw_values(frame: pl.DataFrame, field: Field) -> pl.Series:
    """The field's text, one value a record; parts of a date are put together."""
    if field.kind is Kind.DATE_OF_BIRTH and len(field.columns) == 3:
        return frame.select(
            date_from_parts(*(pl.col(name) for name in field.columns)).alias(field.name)
        ).to_series()
    if len(field.columns) == 1:
        return frame[field.columns[0]].alias(field.name)
    joined = pl.concat_str([pl.col(name) for name in field.columns], separator=" ", ignore_nulls=True)
    return frame.select(pl.when(joined.str.len_chars() > 0).then(joined).alias(field.name)).to_series()


def problems(records_frame: pl.DataFrame, field: Field) -> pl.DataFrame:
    """`row` (position) and `reason` of the field's values that are set aside."""
    raw = raw_values(records_frame, field).cast(pl.String).alias("raw").to_frame()
    distinct = raw.unique().drop_nulls()
    # The values with a problem are few: they are looked up in the rows, and not the rows in all values.
    found = distinct.with_columns(problem(field.kind, pl.col("raw")).alias("reason")).drop_nulls()
    return raw.with_row_index("row").join(found, on="raw", maintain_order="left").select("row", "reason")


def _field_columns(field: Field, raw: pl.Series) -> dict[str, pl.Series]:
    pieces = PIECES.get(field.kind)
    if pieces is None:
        return _standardised(field.name, field.kind, raw)
    split = _standardised("", field.kind, raw)
    columns: dict[str, pl.Series] = {}
    for piece, kind in pieces.items():
        columns |= _standardised(PIECE_NAMES.get(piece, piece), kind, split[f".{piece}"])
    return columns


def _standardised(name: str, kind: Kind, raw: pl.Series) -> dict[str, pl.Series]:
    """The parts of a column, worked out on its distinct values and gathered back."""
    raw = raw.cast(pl.String)
    distinct = raw.unique().drop_nulls().sort()
    codes = raw.cast(pl.Enum(distinct)).to_physical()
    made = table(kind, distinct)
    return {
        full: made[part].gather(codes).alias(full)
        for part, full in ((part, f"{name}.{part}" if part else name) for part in made.columns)
    }
