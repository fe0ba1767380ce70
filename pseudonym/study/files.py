"""A council's file as text: CSV, Parquet or Arrow, refused as a whole where its structure is wrong.

No error holds a value: rows and counts only. (`linker.files` reads more formats; what is here knows
attributes, and the two sides share no code.)
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import polars as pl

from pseudonym.errors import CouncilFileError
from pseudonym.tabular import TYPED, read_typed

LARGEST = 1 << 30  # bytes
_SEPARATORS = ",;\t|"
_BOM = b"\xef\xbb\xbf"


def read(path: Path) -> pl.DataFrame:
    """Read a file, one row a member of a family; all columns text, null where nothing is said.

    Raises:
        CouncilFileError: it cannot be read as what it is named; or rows have more or fewer values than there
            are columns, a quotation mark is left open, or two columns have one name.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except OSError as error:
        raise CouncilFileError(f"{path} cannot be read: {error.strerror}.") from None
    if not data:
        raise CouncilFileError(f"{path} is empty, or too large.", "Check that the export ran to its end.")
    try:
        if path.suffix.lower() in TYPED:
            frame = read_typed(path)
            if nested := sum(kind.is_nested() or kind == pl.Binary for kind in frame.dtypes):
                raise CouncilFileError(f"{path} has {nested} columns of lists or bytes.", "Export text.")
            frame = frame.select(pl.all().cast(pl.String))
            headings = frame.columns
        elif path.suffix.lower() in (".csv", ".txt", ".tsv"):
            frame, headings = _csv(data, path)
        else:
            raise CouncilFileError(f"{path} is of no known kind.", "Files end in .csv, .parquet or .arrow.")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError):
        raise CouncilFileError(  # Polars' words may hold values
            f"{path} cannot be read as {path.suffix[1:]}.", "Export it again, as CSV in UTF-8."
        ) from None
    names = [name.strip() for name in headings]
    if not frame.height or not all(names) or len(set(names)) < len(names):
        raise CouncilFileError(
            f"{path} has no rows, or a column without a name or with another's.",
            "Export it again, with one line of headings.",
        )
    frame.columns = names
    return frame.select(pl.all().str.strip_chars().replace("", None))


def _csv(data: bytes, path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The table, and its headings as they stand in the file: Polars renames those that repeat."""
    data = data.removeprefix(_BOM)
    data.decode()  # or it is no UTF-8
    head = data.split(b"\n", 1)[0].decode().rstrip("\r")
    separator = max(_SEPARATORS, key=head.count)
    names = next(csv.reader([head], delimiter=separator), [])
    _check_rows(data, separator, len(names), path)
    table = pl.read_csv(io.BytesIO(data), separator=separator, infer_schema=False, raise_if_empty=False)
    return table, names


def _check_rows(data: bytes, separator: str, columns: int, path: Path) -> None:
    """Refuse a file of which a row has too few or too many values: Polars fills up short ones."""
    octets = np.frombuffer(data.rstrip(b"\r\n") + b"\n", dtype=np.uint8)
    inside = np.cumsum(octets == ord('"')) % 2 == 1
    if inside[-1]:
        raise CouncilFileError(f"{path} has a quotation mark that is not closed.", "Export it again.")
    ends = np.flatnonzero((octets == ord("\n")) & ~inside)
    before = np.cumsum((octets == ord(separator)) & ~inside)[ends]
    wrong = np.flatnonzero(np.diff(before, prepend=0) != columns - 1)
    if len(wrong):
        raise CouncilFileError(
            f"{path} has {len(wrong):,} rows with more or fewer values than there are columns, "
            f"the first in row {wrong[0]}.",
            "Put values with separators between quotation marks, and export it again.",
        )
