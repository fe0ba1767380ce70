"""Columns of ids in and out: Polars frames, or anything that hands over an Arrow stream.

Nothing of a person is in an error: columns, row numbers and counts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import polars as pl

from pseudonym.errors import InputError
from pseudonym.urn import ID_BYTES


class ArrowStream(Protocol):
    """What offers its columns as an Arrow C stream, such as a table of pyarrow or DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


Table: TypeAlias = pl.DataFrame | ArrowStream


def table(data: Table) -> pl.DataFrame:
    """The data as a frame, without a copy where they are one.

    Raises:
        InputError: they are no table.
    """
    if isinstance(data, pl.DataFrame):
        return data
    if not hasattr(data, "__arrow_c_stream__"):
        raise InputError("This is neither a Polars frame nor an Arrow stream.")
    unread: Any = data
    return pl.DataFrame(unread)


def ids(frame: pl.DataFrame, column: str, *, distinct: bool = False) -> list[bytes]:
    """A column of internal ids.

    Raises:
        InputError: it is missing, not binary, has a null, an id that is not 16 bytes, or repeats one that
            should not be repeated.
    """
    series = _column(frame, column)
    if series.null_count():
        raise InputError(f"Column {column} has {series.null_count()} nulls.", "Every row has its id.")
    if distinct and series.n_unique() != series.len():
        raise InputError(f"Column {column} has the same id in two rows.", "Send each once.")
    found: list[bytes] = series.to_list()
    return found


def nullable_ids(frame: pl.DataFrame, column: str) -> list[bytes | None]:
    """A column of internal ids that may be null.

    Raises:
        InputError: it is missing, not binary, or has an id that is not 16 bytes.
    """
    found: list[bytes | None] = _column(frame, column).to_list()
    return found


def optional_ids(frame: pl.DataFrame, column: str) -> list[bytes | None]:
    """A column of internal ids that may be null, or be missing altogether."""
    if column not in frame.columns:
        return [None] * frame.height
    return nullable_ids(frame, column)


def words(frame: pl.DataFrame, column: str) -> pl.Series:
    """A column of reference numbers as people write them.

    Raises:
        InputError: it is missing or not text.
    """
    if column not in frame.columns or frame[column].dtype != pl.String:
        raise InputError(f"There is no column {column} of text.")
    return frame[column]


def columns(**given: Sequence[bytes | None]) -> pl.DataFrame:
    """A frame of binary columns."""
    return pl.DataFrame({name: pl.Series(name, values, dtype=pl.Binary) for name, values in given.items()})


def _column(frame: pl.DataFrame, column: str) -> pl.Series:
    if column not in frame.columns or frame[column].dtype != pl.Binary:
        raise InputError(f"There is no binary column {column}.", f"Ids are {ID_BYTES} bytes.")
    series = frame[column]
    if not (series.bin.size() == ID_BYTES).all():
        raise InputError(f"Column {column} holds something that is not {ID_BYTES} bytes.")
    return series
