"""Files in and out: CSV, Parquet and Arrow, read as text and written whole or not at all.

    path ──content, extension──▶ checks ──▶ polars ──▶ columns of text (missing = null)

Invariants: every column read is text; nothing is guessed that could be wrong in silence; an error never
holds a value; a file that is written appears complete under its name or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl

from linker.csv_scan import CELL_LIMIT, as_bytes, check_names, scan
from linker.errors import FileError

TEXT_EXTENSIONS = (".csv", ".tsv", ".psv", ".txt")
PARQUET_EXTENSIONS = (".parquet", ".pq")
ARROW_EXTENSIONS = (".arrow", ".arrows", ".ipc", ".feather")

_EXPORT = "Export the table as CSV (UTF-8) or Parquet first."
_OTHER_FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip file", "Unpack it first (gunzip)."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "Unpack it first (zstd -d)."),
    (b"BZh", "a bzip2 file", "Unpack it first (bunzip2)."),
    (b"\xfd7zXZ\x00", "an xz file", "Unpack it first (unxz)."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file", "Unpack it first."),
    (b"%PDF", "a PDF document", "Ask for the table itself, as CSV or Parquet."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", _EXPORT),
    (b"SQLite format 3\x00", "an SQLite database", _EXPORT),
    (b"$FL2", "an SPSS file", _EXPORT),
    (b"$FL3", "an SPSS file", _EXPORT),
    (b"<stata_dta>", "a Stata file", _EXPORT),
    (b"\xff\xfe", "UTF-16 text", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > converted.csv"),
    (b"\xfe\xff", "UTF-16 text", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > converted.csv"),
)
_STREAM_START, _STREAM_END = b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x00"
_NOT_TEXT = (pl.Binary, pl.Duration, pl.Object, pl.Unknown)
_OWN = 0o600
_DAMAGED = "It is truncated or corrupt; copy or export it again."


def read_frame(path: str | Path) -> pl.DataFrame:
    """Read a file of records as columns of text.

    CSV (UTF-8; comma, semicolon, tab or bar), Parquet, Arrow IPC file or stream. Dates become `YYYY-MM-DD`,
    whole numbers have no decimal point, empty and blank values are null.

    Returns:
        a frame, one row a record in the order of the file, all columns String.

    Raises:
        FileError: the file cannot be read as what it claims to be; says what is wrong and what to do.
    """
    path = Path(path)
    with _named_errors(path):
        form = _form(path)
        frame = {"text": _read_text, "parquet": _read_parquet, "file": _read_arrow, "stream": _read_stream}[
            form
        ](path)
        if form != "text":
            frame = _as_text(frame, path)
    return frame.with_columns(
        pl.when(pl.all().str.strip_chars() != "").then(pl.all())  # a value keeps its own spaces
    )


def read_typed(path: str | Path) -> pl.DataFrame:
    """As `read_frame`, but Parquet and Arrow keep their types, lists and empty texts."""
    path = Path(path)
    with _named_errors(path):
        form = _form(path)
        if form != "text":
            frame = {"parquet": _read_parquet, "file": _read_arrow, "stream": _read_stream}[form](path)
            check_names(tuple(frame.columns), path)
            return frame
    return read_frame(path)


def read_parts(path: str | Path, rows: int, *, typed: bool = False) -> Iterator[pl.DataFrame]:
    """A file of records a part at a time, so that it need not fit in memory.

    An Arrow stream, which has no table of its parts, is read whole.

    Args:
        path: as in `read_frame`.
        rows: how many a part has, about.
        typed: values keep their types, as in `read_typed`.

    Raises:
        FileError: as `read_frame`, when the part is asked for that cannot be read.
    """
    path = Path(path)
    with _named_errors(path):
        form = _form(path)
        if form == "stream":
            batches = iter([_read_stream(path)])
        elif form == "text":
            batches = _text_batches(path, rows)
        else:
            lazy = _lazy_parquet(path) if form == "parquet" else pl.scan_ipc(path, glob=False)
            # One part is read at a time: an iterator over all reads far ahead and holds what it has read.
            total = lazy.select(pl.len()).collect().item()
            batches = (lazy.slice(first, rows).collect() for first in range(0, max(1, total), rows))
        before = 0
        for part in _of_size(batches, rows):
            check_names(tuple(part.columns), path)
            if typed and form != "text":
                yield part
            else:
                text = part if form == "text" else _as_text(part, path, before)
                yield text.with_columns(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
            before += part.height


def _text_batches(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    form = scan(as_bytes(path), path)
    lazy = pl.scan_csv(
        path,
        separator=form.separator,
        quote_char='"' if form.quoted else None,
        infer_schema=False,
        glob=False,
    )
    left = form.rows
    for batch in lazy.collect_batches(chunk_size=rows):
        if batch.width != len(form.columns):
            break
        batch.columns = list(form.columns)
        yield batch.head(left)
        left -= min(left, batch.height)
    if left:
        raise FileError(f"{path} cannot be read: its rows and quotation marks do not fit together.", _DAMAGED)


def _of_size(batches: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The batches as parts of about so many rows."""
    held: list[pl.DataFrame] = []
    for batch in batches:
        if batch.height:
            held.append(batch)
        if sum(part.height for part in held) >= rows:
            yield from pl.concat(held, rechunk=True).iter_slices(rows)
            held = []
    if held:
        yield pl.concat(held, rechunk=True)


def write_frame(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a frame in the format its extension names, complete or not at all; an older file is replaced.

    Raises:
        FileError: an extension that is not known, or a place that cannot be written.
    """
    path = Path(path)
    writers: dict[str, Callable[[IO[bytes]], Any]] = dict.fromkeys(PARQUET_EXTENSIONS, frame.write_parquet)
    writers |= dict.fromkeys(ARROW_EXTENSIONS, frame.write_ipc) | {".arrows": frame.write_ipc_stream}
    writers |= {".csv": frame.write_csv, ".tsv": lambda file: frame.write_csv(file, separator="\t")}
    writer = writers.get(check_writable(path))
    assert writer is not None
    with replacing(path) as file:
        writer(file)


def check_writable(path: str | Path) -> str:
    """The extension of a table that can be written there; for a complaint before the work and not after it.

    Raises:
        FileError: an extension that is not known, a directory, or no directory to hold the file.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension not in (".csv", ".tsv", *PARQUET_EXTENSIONS, *ARROW_EXTENSIONS):
        raise FileError(
            f"{path} cannot be written: {extension or 'no extension'} names no table format.",
            "End the name in .parquet, .csv, .tsv or .arrow.",
        )
    check_place(path)
    return extension


def check_place(path: Path) -> None:
    """Refuse a place where no file can be put.

    Raises:
        FileError: a directory by that name, or no directory to hold the file.
    """
    if path.is_dir():
        raise FileError(f"{path} is a directory.", "Give the name of a file.")
    if not path.parent.is_dir():
        raise FileError(f"{path.parent} is not a directory.", "Make it first, or give another name.")


def write_text(text: str, path: str | Path) -> None:
    """Write text as UTF-8, complete or not at all.

    Raises:
        FileError: the place cannot be written.
    """
    with replacing(Path(path)) as file:
        file.write(text.encode())


def beside(path: str | Path, word: str) -> Path:
    """The name of a companion file: `links.parquet` and `refusals` give `links.refusals.parquet`."""
    path = Path(path)
    return path.with_name(f"{path.stem}.{word}{path.suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its name only once it is complete and on disk.

    Only its owner can read it, whatever the umask: ids of records and links are of people.

    Raises:
        FileError: the place cannot be written; what stood there before still does.
    """
    check_place(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWN), "wb") as file:
            os.fchmod(file.fileno(), _OWN)
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise FileError(
            f"{path} cannot be written: {error.strerror or 'the system refused'}.",
            "Check the place, its permissions and the free space.",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _form(path: Path) -> str:
    """Which reader a file needs: what it holds decides, its extension must agree."""
    if not path.exists():
        raise FileError(f"{path} does not exist.", "Check the name and the directory.")
    if path.is_dir():
        raise FileError(f"{path} is a directory.", "Give the name of a file.")
    if not path.is_file():
        raise FileError(f"{path} is not an ordinary file.", "Give the name of a file.")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise FileError(f"{path} is empty.", "Check that the export or copy ran to its end.")
    extension = path.suffix.lower()
    holds = _content(head, path)
    named = (
        "text" if extension in TEXT_EXTENSIONS
        else "parquet" if extension in PARQUET_EXTENSIONS
        else "arrow" if extension in ARROW_EXTENSIONS
        else None
    )  # fmt: skip
    family = "arrow" if holds in ("file", "stream") else holds
    titles = {"parquet": "a Parquet file", "arrow": "an Arrow file", "text": "text"}
    right = {"parquet": ".parquet", "arrow": ".arrow", "text": ".csv"}
    if named is None and family == "text":
        raise FileError(
            f"{path} is of no known kind: {extension or 'no extension'} says nothing about its content.",
            "Files end in .csv, .tsv, .txt, .psv, .parquet or .arrow; rename it if it is one of these.",
        )
    if named is not None and named != family:
        if family == "text":
            raise FileError(f"{path} is named as {titles[named]} but does not hold one.", _DAMAGED)
        raise FileError(
            f"{path} is {titles[family]}, not {titles[named]}.", f"Rename it to end in {right[family]}."
        )
    return holds


def _content(head: bytes, path: Path) -> str:
    if head.startswith(b"PK\x03\x04"):
        sheet = b"xl/" in head or b"[Content_Types].xml" in head or b"opendocument.spreadsheet" in head
        what, then = (
            ("a spreadsheet workbook", _EXPORT) if sheet else ("a zip file", "Unpack it first (unzip).")
        )
        raise FileError(f"{path} is {what}, not a table of records.", then)
    for magic, what, then in _OTHER_FORMATS:
        if head.startswith(magic):
            raise FileError(f"{path} is {what}, which is not read.", then)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"{", b"[", b"<!doctype", b"<html", b"<?xml")):
        raise FileError(f"{path} is JSON, HTML or XML, not a table of records.", _EXPORT)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PARE"):
        raise FileError(f"{path} is an encrypted Parquet file.", "Decrypt it first.")
    if head.startswith(b"ARROW1"):
        return "file"
    return "stream" if head.startswith(_STREAM_START) else "text"


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn every failure into a FileError: polars' messages may hold values; its panics are no Exception."""
    try:
        yield
    except FileError:
        raise
    except PermissionError:
        raise FileError(f"{path} may not be read.", "Check its permissions.") from None
    except MemoryError:
        raise FileError(f"{path} does not fit in memory.", "Split it, or use a larger machine.") from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if not isinstance(error, Exception | pl.exceptions.PanicException):
            raise
        raise FileError(f"{path} cannot be read.", _DAMAGED) from None


def _read_text(path: Path) -> pl.DataFrame:
    form = scan(as_bytes(path), path)
    frame = pl.read_csv(
        path,
        separator=form.separator,
        quote_char='"' if form.quoted else None,
        infer_schema=False,
        glob=False,
    )
    if frame.width != len(form.columns) or frame.height < form.rows:
        raise FileError(f"{path} cannot be read: its rows and quotation marks do not fit together.", _DAMAGED)
    frame.columns = list(form.columns)
    return frame.head(form.rows)


def _read_parquet(path: Path) -> pl.DataFrame:
    return _lazy_parquet(path).collect()


def _lazy_parquet(path: Path) -> pl.LazyFrame:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4))
        if file.read() != b"PAR1":
            raise FileError(f"{path} is a Parquet file without its end.", _DAMAGED)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _read_arrow(path: Path) -> pl.DataFrame:
    with path.open("rb") as file:
        return pl.read_ipc(file)


def _read_stream(path: Path) -> pl.DataFrame:
    # Without the end mark a stream that was cut between two batches would pass for a shorter one.
    if not as_bytes(path)[-len(_STREAM_END) :].tobytes() == _STREAM_END:
        raise FileError(f"{path} is an Arrow stream without its end.", _DAMAGED)
    with path.open("rb") as file:
        return pl.read_ipc_stream(file)


def _as_text(frame: pl.DataFrame, path: Path, before: int = 0) -> pl.DataFrame:
    """The columns as text; so many rows of the file come before these."""
    if frame.width == 0 or frame.height == 0:
        what = "no columns" if frame.width == 0 else "columns but no rows"
        raise FileError(f"{path} has {what}.", "Check that the export ran to its end.")
    names = tuple(name.strip() or f"column_{place}" for place, name in enumerate(frame.columns, start=1))
    check_names(names, path)
    frame.columns = list(names)
    refused = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype in _NOT_TEXT]
    if refused:
        raise FileError(
            f"{path}: column {', '.join(refused)} holds lists, structures, durations or bytes.",
            "Turn it into text, numbers or dates, or leave it out.",
        )
    frame = frame.select(_column_as_text(pl.col(name), dtype) for name, dtype in frame.schema.items())
    for problem, mask in (
        (f"a value of more than {CELL_LIMIT:,} bytes", pl.all().str.len_bytes() > CELL_LIMIT),
        ("a NUL character", pl.all().str.contains("\0", literal=True)),
    ):
        rows = frame.select(pl.any_horizontal(mask).fill_null(False).alias("bad"))["bad"].arg_true()
        if rows.len():
            raise FileError(
                f"{path} has {problem} in row {before + int(rows[0]) + 1}.", "Correct or shorten that value."
            )
    return frame


def _column_as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The text a person would write for the value: no `.0` on whole numbers, no midnight on dates."""
    if dtype.is_float():
        whole = column.is_finite() & (column == column.round()) & (column.abs() < 2.0**63)
        number = pl.when(column.is_not_nan()).then(column)
        return (
            pl.when(whole)
            .then(pl.when(whole).then(column).cast(pl.Int64).cast(pl.String))
            .otherwise(number.cast(pl.String))
            .alias(column.meta.output_name())
        )
    if dtype.is_decimal():
        text = column.cast(pl.String)
        return (
            pl.when(text.str.contains(".", literal=True))
            .then(text.str.strip_chars_end("0").str.strip_chars_end("."))
            .otherwise(text)
        )
    if isinstance(dtype, pl.Datetime):
        midnight = column.dt.time() == pl.time(0, 0, 0)
        full = column.dt.replace_time_zone(None).dt.to_string("%Y-%m-%dT%H:%M:%S")
        return pl.when(midnight).then(column.dt.to_string("%Y-%m-%d")).otherwise(full)
    if dtype == pl.Date:
        return column.dt.to_string("%Y-%m-%d")
    return column.cast(pl.String)
