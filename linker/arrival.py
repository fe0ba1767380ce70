"""Arrival: a frame of text becomes records, and what cannot be linked is refused by row and code.

read(path)     a file
arrive(frame)  a frame in memory
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from linker.derive import problems
from linker.errors import RecordsError
from linker.files import read_frame
from linker.recognise import recognise
from linker.records import NAMING, Layout, Records

Source = Records | pl.DataFrame | str | Path

REFUSALS = {"row": pl.UInt32, "field": pl.String, "reason": pl.String, "refused": pl.Boolean}


def read(
    path: str | Path,
    *,
    id_column: str | None = None,
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Records:
    """Read the records of a file: CSV, Parquet or Arrow IPC.

    Args and Raises: as `arrive`, and FileError where the file cannot be read as what it claims to be.
    """
    return arrive(read_frame(path), id_column=id_column, mapping=mapping, ignore=ignore)


def records_of(source: Source) -> Records:
    """Records as they are, a frame of text as it arrives, or what a file holds."""
    match source:
        case Records():
            return source
        case pl.DataFrame():
            return arrive(source)
        case _:
            return read(path_of(source))


def path_of(source: object) -> Path:
    """The path of a file of records.

    Raises:
        RecordsError: it is nothing that records could be read from.
    """
    if isinstance(source, str | os.PathLike):
        return Path(source)
    raise not_records(source)


def not_records(given: object) -> RecordsError:
    """What to say of something that holds no records."""
    if isinstance(given, pl.LazyFrame):  # to run it unasked could fill the memory
        return RecordsError(
            "The records are a LazyFrame: a query, and no rows yet.", "Call its collect(), or give the file."
        )
    return RecordsError(
        f"Records cannot be read from an object of the type {type(given).__name__}.",
        "Give a Polars DataFrame, or the path of a file.",
    )


def arrive(
    frame: pl.DataFrame,
    *,
    id_column: str | None = None,
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Records:
    """Understand the columns of a frame and refuse the rows that cannot be linked.

    A row is refused where its id is missing (`id_missing`) or stands above it already (`id_repeated`), or
    where none of its fields has a value (`nothing_to_compare`). A value that is present but no use is set
    aside with the standardisation's reason, and its row stays.

    Args:
        frame: one row a record.
        id_column: the column with the record's id; by default one named like an id, else the row number.
        mapping: field → column, or columns joined by "+".
        ignore: columns to leave out.

    Raises:
        LayoutError: the columns cannot be understood as asked.
        RecordsError: it is no frame, or no record is left, or no field.
    """
    if not isinstance(frame, pl.DataFrame):
        raise not_records(frame)
    check_types(frame, ignore)
    return checked(frame, recognise(frame, id_column=id_column, mapping=mapping, ignore=ignore))


def check_naming(layout: Layout) -> None:
    """Refuse what says of nobody who they are.

    Raises:
        RecordsError: no field is a name, a date of birth or a person's number.
    """
    if not any(field.kind in NAMING for field in layout.fields):
        raise RecordsError(
            "The records have no name, no date of birth and no number of a person.",
            "Say which columns these are, as in --map surname=lastname,date_of_birth=born, in a new batch.",
        )


def check_types(frame: pl.DataFrame, ignore: Sequence[str] = ()) -> None:
    """Refuse columns that cannot be read as text.

    Raises:
        RecordsError: names one.
    """
    odd = [name for name, kind in frame.schema.items() if kind.is_nested() or kind in (pl.Binary, pl.Object)]
    if used := [name for name in odd if name not in ignore]:
        raise RecordsError(f"The column '{used[0]}' holds no text.", "Turn it into text, or have it ignored.")


def checked(frame: pl.DataFrame, layout: Layout) -> Records:
    """The records of a frame under a layout that is known.

    Raises:
        RecordsError: no record is left, or no field.
    """
    records = screened(frame, layout)
    if not len(records.ids):
        raise RecordsError(
            "Every row was refused: no id, or nothing to compare.", "Check the id column and the fields."
        )
    return records


def screened(frame: pl.DataFrame, layout: Layout) -> Records:
    """As `checked`, for a part of the records: it may have none that can be linked."""
    if not layout.fields:
        raise RecordsError(
            "No column of the records can be compared.",
            "Say what the columns are, as in --map surname=lastname.",
        )
    columns = list(dict.fromkeys(name for field in layout.fields for name in field.columns))
    text = frame.select(pl.col(columns).cast(pl.String).str.strip_chars().replace("", None))
    position = pl.int_range(1, frame.height + 1, eager=True, dtype=pl.UInt32)
    ids = position.cast(pl.String) if layout.id_column is None else frame[layout.id_column].cast(pl.String)
    ids = ids.str.strip_chars().replace("", None).alias("id")
    reasons = text.select(blank=pl.all_horizontal(pl.all().is_null())).select(
        pl.Series("row", position),
        pl.lit(None, pl.String).alias("field"),
        pl.when(ids.is_null())
        .then(pl.lit("id_missing"))
        .when(~ids.is_first_distinct())
        .then(pl.lit("id_repeated"))
        .when("blank")
        .then(pl.lit("nothing_to_compare"))
        .alias("reason"),
        pl.lit(True).alias("refused"),
    )
    kept = reasons["reason"].is_null()
    refusals = [reasons.filter(~kept)]
    # Most of a standardisation runs on one core: the fields take turns on all of them.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        set_aside = list(threads.map(lambda field: problems(text, field), layout.fields))
    for field, found in zip(layout.fields, set_aside, strict=True):
        refusals.append(
            found.select(
                (pl.col("row") + 1).cast(pl.UInt32).alias("row"),
                pl.lit(field.name).alias("field"),
                "reason",
                pl.lit(False).alias("refused"),
            )
        )
    told = (
        pl.concat(refusals)
        .cast(pl.Schema(REFUSALS))
        .sort("row", "field", nulls_last=False, maintain_order=True)
    )
    return Records(ids.filter(kept), text.filter(kept), layout, told)
