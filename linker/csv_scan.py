"""What a delimited text file is, checked byte by byte before anything parses it.

    bytes ──encoding, NUL──▶ header ──separator, names──▶ structure ──quotes, cell sizes, rows──▶ CsvForm

Invariants: every complaint names a row, never a value; a file that passes has one number of values in every
row, so that the parser has nothing to guess. Whole blocks are looked at with NumPy, no line by itself.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linker.errors import FileError

Bytes = NDArray[np.uint8]

CELL_LIMIT = 1_000_000  # bytes; longer than any free text, short enough to catch a lost quotation mark
BLOCK = 1 << 23  # bytes looked at together
HEADER_LIMIT = 1 << 20  # bytes
SEPARATORS = ",;\t|"

_LF, _CR, _QUOTE = 10, 13, 34
_BOM = b"\xef\xbb\xbf"
_NOT_WINDOWS = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # the bytes that Windows-1252 leaves undefined
_LIKE_DATA = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|[^@\s]+@[^@\s]+\.\w+|\d{8,}"
)
_QUOTE_HELP = (
    'Put values with separators or line ends between quotation marks; double a mark inside one ("").'
)


@dataclass(frozen=True)
class CsvForm:
    """The form of a delimited text file.

    Attributes:
        separator: one of `SEPARATORS`.
        quoted: whether values may stand between quotation marks; if not, a mark is a plain character.
        columns: names in the order of the file, stripped; a column without a name is `column_<n>`.
        rows: rows of data, blank lines at the end left out.
    """

    separator: str
    quoted: bool
    columns: tuple[str, ...]
    rows: int


def scan(data: Bytes, path: Path) -> CsvForm:
    """Check a delimited text file and say what form it has.

    Args:
        data: the bytes of the file, shape (size,); a memory map will do.
        path: its name, for messages.

    Raises:
        FileError: wrong encoding, NUL bytes, no header or rows, repeated names, stray or unclosed quotation
            marks, a value that is too long, or rows whose number of values differs from the header's.
    """
    _check_bytes(data, path)
    start = len(_BOM) if data[:3].tobytes() == _BOM else 0
    head = data[start : start + HEADER_LIMIT].tobytes()
    start += len(head) - len(head.lstrip(b"\r\n"))
    head = head.lstrip(b"\r\n")
    if not head.strip():
        raise FileError(f"{path} holds nothing but blank space.", "Check that this is the file you meant.")
    if b"\n" not in head and b"\r" in head:
        raise FileError(
            f"{path} ends its lines with carriage returns alone.",
            "Save it with ordinary line ends (LF or CR LF).",
        )
    header = _header_line(head)
    separator = _separator(header)
    columns = _columns(header, separator, path)
    quoted = _has_quoted_cells(data, start, separator)
    rows = _Structure(data, path, separator, quoted, len(columns)).rows(start)
    if rows == 0:
        raise FileError(f"{path} has a header but no rows.", "Check that the export ran to its end.")
    return CsvForm(separator, quoted, columns, rows)


def _blocks(data: Bytes, start: int = 0) -> Iterator[tuple[int, Bytes]]:
    for offset in range(start, len(data), BLOCK):
        yield offset, data[offset : offset + BLOCK]


def _check_bytes(data: Bytes, path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    pending = 0
    for offset, block in _blocks(data):
        if not block.all():
            where = _place(data, offset + int(np.argmin(block)))
            raise FileError(
                f"{path} has a NUL byte at {where}.",
                "It is damaged or is not a text file; export it again as CSV (UTF-8).",
            )
        if pending == 0 and int(block.max()) < 0x80:
            continue
        try:
            decoder.decode(block.tobytes(), final=offset + len(block) == len(data))
        except UnicodeDecodeError as error:
            raise _wrong_encoding(data, offset - pending + error.start, path) from None
        pending = len(decoder.getstate()[0])


def _wrong_encoding(data: Bytes, offset: int, path: Path) -> FileError:
    windows = not any(np.isin(block, _NOT_WINDOWS).any() for _, block in _blocks(data))
    hint = " It would read as Windows-1252." if windows else ""
    source = "WINDOWS-1252" if windows else "ITS-ENCODING"
    return FileError(
        f"{path} is not UTF-8: the first wrong byte is at {_place(data, offset)}.{hint}",
        f"Save it as 'CSV UTF-8' in Excel, or run: iconv -f {source} -t UTF-8 {path} > converted.csv",
    )


def _place(data: Bytes, offset: int) -> str:
    """The row and line of a byte, counted with what can be known before the file is understood."""
    lines = rows = 0
    odd = 0
    for _, block in _blocks(data[:offset]):
        special = np.flatnonzero((block == _LF) | (block == _QUOTE))
        quote = block[special] == _QUOTE
        inside = (np.cumsum(quote) + odd) & 1
        lines += int((~quote).sum())
        rows += int((~quote & (inside == 0)).sum())
        odd = (odd + int(quote.sum())) & 1
    return _words(rows, lines)


def _words(row: int, line: int) -> str:
    return f"row {row} (line {line + 1} of the file)" if row else "the header line"


def _header_line(head: bytes) -> str:
    inside = False
    for index, byte in enumerate(head):
        if byte == _QUOTE:
            inside = not inside
        elif byte == _LF and not inside:
            head = head[:index]
            break
    return head.decode("utf-8", errors="ignore").rstrip("\r")


def _separator(header: str) -> str:
    bare = Counter("".join(header.split('"')[::2]))
    return max(SEPARATORS, key=lambda mark: bare[mark])


def _columns(header: str, separator: str, path: Path) -> tuple[str, ...]:
    try:
        names = next(csv.reader(io.StringIO(header, newline=""), delimiter=separator))
    except csv.Error:
        raise FileError(f"{path} has a header line that cannot be read.", _QUOTE_HELP) from None
    stripped = [name.strip() for name in names]
    if any(_LIKE_DATA.fullmatch(name) for name in stripped):
        raise FileError(
            f"{path} seems to have no header: its first line holds a date, a long number or an e-mail.",
            "Put a line with the names of the columns first.",
        )
    named = tuple(name or f"column_{place}" for place, name in enumerate(stripped, start=1))
    check_names(named, path)
    return named


def check_names(names: tuple[str, ...], path: Path) -> None:
    """Refuse repeated column names, by position: without a header the names would be values.

    Raises:
        FileError: two columns have the same name.
    """
    first: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        if name in first:
            raise FileError(
                f"{path} has two columns with the same name: columns {first[name]} and {place}.",
                "Rename or remove one of them.",
            )
        first[name] = place


def _has_quoted_cells(data: Bytes, start: int, separator: str) -> bool:
    if data[start] == _QUOTE:
        return True
    pairs = (f'{separator}"'.encode(), b'\n"')
    return any(
        pair in text
        for offset, block in _blocks(data, start)
        for text in [data[offset : offset + len(block) + 1].tobytes()]  # one more byte: a pair may straddle
        for pair in pairs
    )


class _Structure:
    """One pass over the bytes: quotation marks in place, cells within the limit, rows of one width."""

    def __init__(self, data: Bytes, path: Path, separator: str, quoted: bool, width: int) -> None:
        self.data, self.path, self.width, self.quoted = data, path, width, quoted
        codes = bytearray(256)
        codes[ord(separator)], codes[_LF] = 1, 2
        if quoted:
            codes[_QUOTE] = 3
        self.table = bytes(codes)
        self.may_open, self.may_close = np.zeros(256, bool), np.zeros(256, bool)
        self.may_open[[ord(separator), _LF, _QUOTE]] = True
        self.may_close[[ord(separator), _LF, _CR, _QUOTE]] = True

    def rows(self, start: int) -> int:
        data, size = self.data, len(self.data)
        odd, last_cut, last_end, cuts_in_row = 0, start - 1, start - 1, 0
        ended, last_full = 0, 0  # records ended so far, the header among them; the last that was not blank
        ragged, first_ragged = 0, (0, 0, 0)
        for offset, block in _blocks(data, start):
            codes = np.frombuffer(block.tobytes().translate(self.table), np.uint8)
            at = np.flatnonzero(codes != 0)
            codes = codes[at]
            at += offset
            if self.quoted:
                at, codes, odd = self._outside_quotes(at, codes, odd, start)
            if offset + len(block) == size and data[size - 1] != _LF:
                if odd:
                    break
                at, codes = np.append(at, size), np.append(codes, np.uint8(2))
            if not at.size:
                continue
            long = np.diff(at, prepend=last_cut) - 1 > CELL_LIMIT
            if long.any():
                self._refuse_long(int(at[int(np.argmax(long))]) - 1)
            last_cut = int(at[-1])
            ends = np.flatnonzero(codes == 2)
            if not ends.size:
                cuts_in_row += at.size
                continue
            found = np.diff(ends, prepend=-1)  # separators and the line end of each row: its number of values
            found[0] += cuts_in_row
            cuts_in_row = at.size - 1 - int(ends[-1])
            stops = at[ends]
            begins = np.concatenate(([last_end + 1], stops[:-1] + 1))
            last_end = int(stops[-1])
            length = stops - begins
            blank = (length == 0) | ((length == 1) & (data[np.minimum(begins, size - 1)] == _CR))
            wrong = np.flatnonzero((found != self.width) & ~blank)
            if wrong.size and not ragged:
                first_ragged = (ended + int(wrong[0]), int(found[wrong[0]]), int(begins[wrong[0]]))
            ragged += wrong.size
            full = np.flatnonzero(~blank)
            if full.size:
                last_full = ended + int(full[-1])
            ended += ends.size
        if odd:
            self._refuse_unclosed(last_cut + 1, size)
        if size - last_cut - 1 > CELL_LIMIT:
            self._refuse_long(last_cut + 1)
        if ragged:
            self._refuse_ragged(ragged, *first_ragged)
        return last_full

    def _outside_quotes(
        self, at: NDArray[np.int64], codes: Bytes, odd: int, start: int
    ) -> tuple[NDArray[np.int64], Bytes, int]:
        """Keep the separators and line ends that stand outside quotation marks."""
        quote = codes == 3
        inside = (np.cumsum(quote, dtype=np.uint8) + np.uint8(odd)) & 1  # wraps at 256, which is even
        marks = at[quote]
        opening, closing = marks[odd::2], marks[1 - odd :: 2]
        before = self.data[np.maximum(opening - 1, 0)]
        after = self.data[np.minimum(closing + 1, len(self.data) - 1)]
        strays = (
            opening[~self.may_open[before] & (opening > start)],
            closing[~self.may_close[after] & (closing + 1 < len(self.data))],
        )
        if strays[0].size or strays[1].size:
            row = self._row(int(np.concatenate(strays).min()))
            raise FileError(f"{self.path} has a stray or unclosed quotation mark by {row}.", _QUOTE_HELP)
        keep = ~quote & (inside == 0)
        return at[keep], codes[keep], int(inside[-1]) if inside.size else odd

    def _row(self, offset: int) -> str:
        if self.quoted:
            return _place(self.data, offset)
        lines = sum(int((block == _LF).sum()) for _, block in _blocks(self.data[:offset]))
        return _words(lines, lines)

    def _refuse_unclosed(self, offset: int, size: int) -> None:
        raise FileError(
            f"{self.path} has a quotation mark at {self._row(min(offset, size))} that is never closed.",
            _QUOTE_HELP,
        )

    def _refuse_long(self, offset: int) -> None:
        raise FileError(
            f"{self.path} has a value of more than {CELL_LIMIT:,} bytes at {self._row(offset)}.",
            f"Look there for a lost quotation mark; {CELL_LIMIT:,} bytes is the limit.",
        )

    def _refuse_ragged(self, count: int, row: int, found: int, offset: int) -> None:
        more = f" ({count:,} rows do not fit.)" if count > 1 else ""
        raise FileError(
            f"{self.path}: {self._row(offset)} has {found} value{'s' if found != 1 else ''} "
            f"where the header has {self.width} columns.{more}",
            "Export the file again, or put values with separators in them between quotation marks.",
        )


def as_bytes(path: Path) -> Bytes:
    """A file's bytes, mapped and not copied.

    Raises:
        OSError: the file cannot be opened.
    """
    mapped: np.memmap[Any, np.dtype[np.uint8]] = np.memmap(path, dtype=np.uint8, mode="r")
    return np.asarray(mapped)
