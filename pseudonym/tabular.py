"""Tables from files on this machine, and back: CSV, Parquet and Arrow IPC.

What a reader says of a file it cannot read may hold values of people, and is not passed on.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Final

import polars as pl

from pseudonym.errors import InputError

TYPED: Final = {
    ".parquet": "a Parquet file",
    **dict.fromkeys((".arrow", ".arrows", ".ipc", ".feather"), "an Arrow file"),
}
"""What `read_typed` reads, by how the names of files end."""
_STREAM_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def read_typed(path: Path) -> pl.DataFrame:
    """Read Parquet, or an Arrow IPC file or stream, as it stands; its content says which it is.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is none of them, or not whole; the error tells nothing of it.
    """
    with path.open("rb") as file:
        try:
            head = file.read(6)
            # Without the end mark a stream that was cut between two batches would pass for a shorter one.
            file.seek(-len(_STREAM_END), os.SEEK_END)
            whole = file.read() == _STREAM_END
            file.seek(0)
            if head.startswith(b"PAR1"):
                return pl.read_parquet(file)
            if head == b"ARROW1":
                return pl.read_ipc(file)
            if whole:
                return pl.read_ipc_stream(file)
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            pass
    raise ValueError("not whole, or of another form")


def read_table(path: Path) -> pl.DataFrame:
    """Read a file: `.parquet`, an Arrow one, or else CSV with a heading, commas, in UTF-8. Empty is missing.

    Raises:
        InputError: it cannot be read as what its name says, or a column cannot be written as text.
    """
    typed = TYPED.get(path.suffix.lower())
    try:
        table = read_typed(path) if typed else pl.read_csv(path, infer_schema=False)
        text = table.select(pl.all().cast(pl.String))
    except OSError:
        raise InputError(f"{path} cannot be read.", "Check the name and the directory.") from None
    except (ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        form = typed or "CSV: a heading, commas, UTF-8, rows of one length"
        raise InputError(f"{path} cannot be read as {form}.", "Correct it, or save it anew.") from None
    return text.with_columns(pl.when(pl.all() != "").then(pl.all()))


def parquet_of(table: pl.DataFrame) -> bytes:
    """The bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()
