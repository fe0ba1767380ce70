"""Tables of text from files on this machine, and back: CSV and Parquet.

What a reader says of a file it cannot read may hold values of people, and is not passed on.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from pseudonym.errors import InputError


def read_table(path: Path) -> pl.DataFrame:
    """Read a file: `.parquet`, or else CSV with a heading, separated by commas, in UTF-8. Empty is missing.

    Raises:
        InputError: it cannot be read as what its name says, or a column cannot be written as text.
    """
    parquet = path.suffix == ".parquet"
    try:
        table = pl.read_parquet(path) if parquet else pl.read_csv(path, infer_schema=False)
        text = table.select(pl.all().cast(pl.String))
    except OSError:
        raise InputError(f"{path} cannot be read.", "Check the name and the directory.") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        form = "a Parquet file" if parquet else "CSV: a heading, commas, UTF-8, rows of one length"
        raise InputError(f"{path} cannot be read as {form}.", "Correct it, or save it anew.") from None
    return text.with_columns(pl.when(pl.all() != "").then(pl.all()))


def parquet_of(table: pl.DataFrame) -> bytes:
    """The bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()
