"""Where the service keeps values of people: folders whose files are sealed, one key for each folder.

    Folder.write, write_table ──▶ Safe seals ──▶ disk ──▶ Safe opens ──▶ Folder.read, table

Invariants: nothing is written into a folder but what the safe has sealed, drafts included; the names of files
say nothing of anybody; a table is read part by part, so that a large one needs no more memory than a part.
Keys are made, kept and destroyed by whoever provides the safe: this package has none.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import polars as pl

from linker import durable
from linker.errors import LinkerError
from linker.refusals import Refused

SUFFIX = ".sealed"
PART_ROWS = 100_000
PART_BYTES = 32 * 1024**2  # of a table in memory


class Damaged(Refused):
    """What is stored cannot be opened: it was altered, exchanged or cut off, or its key is destroyed."""

    code = "DATA_LOSS"

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__("SEAL_BROKEN", message, help)


class Opened(Protocol):
    """A sealed file that is being read.

    Attributes:
        parts: how many parts it has before its end.
        end: the content of its end.
    """

    @property
    def parts(self) -> int: ...
    @property
    def end(self) -> bytes: ...
    def part(self, number: int) -> bytes:
        """The content of a part, counted from 0. Raises Damaged."""


class Safe(Protocol):
    """Seals what the service keeps, under keys that can be destroyed one by one; usable from any thread."""

    def make(self, folder: str, /) -> None:
        """Make a folder's key, if it has none."""

    def destroy(self, folders: Sequence[str], /) -> None:
        """Destroy folders' keys for good; it may be repeated."""

    def sealed(self, folder: str, name: str, parts: Iterable[bytes], end: bytes, /) -> Iterator[bytes]:
        """What to write for a file of these parts and this end. Raises Damaged if there is no key."""

    def opened(self, folder: str, name: str, file: IO[bytes], /) -> Opened:
        """A file that was written so. Raises Damaged if it is not this folder's file of this name, whole."""

    def conceal(self, folder: str, place: str, value: bytes, /) -> bytes:
        """A short value, sealed; equal values of one place stay equal. Raises Damaged if there is no key."""

    def reveal(self, folder: str, place: str, sealed: bytes, /) -> bytes:
        """What `conceal` has sealed. Raises Damaged."""


@dataclass(frozen=True)
class Folder:
    """The sealed files of one submission, job or reference.

    Attributes:
        safe: what seals them.
        path: where they lie; a draft may lie elsewhere than what it becomes.
        key: the id of the key, which is that of the submission, job or reference.
    """

    safe: Safe
    path: Path
    key: str

    def write(self, name: str, content: bytes) -> None:
        """Write a file; it is durable and whole once this returns."""
        self._write(name, (), content)

    def write_together(self, contents: Mapping[str, bytes]) -> None:
        """Write small files, each whole or not at all; all are durable once this returns."""
        sealed = {
            f"{name}{SUFFIX}": b"".join(self.safe.sealed(self.key, name, (), content))
            for name, content in contents.items()
        }
        durable.write_together(self.path, sealed)

    def write_table(self, name: str, frame: pl.DataFrame) -> None:
        """Write a table, in parts; it is durable and whole once this returns."""
        rows = max(1, min(PART_ROWS, PART_BYTES * frame.height // max(1, int(frame.estimated_size()))))
        starts = range(0, max(1, frame.height), rows)
        counts = [min(rows, frame.height - start) for start in starts]
        parts = (_parquet(frame.slice(start, rows)) for start in starts)
        self._write(name, parts, np.array(counts, dtype="<u4").tobytes())

    def read(self, name: str) -> bytes:
        """The content of a file that `write` or `write_together` wrote.

        Raises:
            FileNotFoundError: there is none.
            Damaged: it was altered or exchanged, or its key is destroyed.
        """
        with self._open(name) as opened:
            return opened.end

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._file(name).exists()

    @contextmanager
    def table(self, name: str) -> Iterator[SealedTable]:
        """A table that `write_table` wrote, open for as long as the context is. Raises as `read` does."""
        with self._open(name) as opened:
            yield SealedTable(opened)

    def frame(self, name: str) -> pl.DataFrame:
        """A whole table, in memory. Raises as `read` does."""
        with self.table(name) as table:
            return table.slice(0, table.height)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}{SUFFIX}"

    def _write(self, name: str, parts: Iterable[bytes], end: bytes) -> None:
        pieces = self.safe.sealed(self.key, name, parts, end)
        durable.write(self._file(name), lambda file: file.writelines(pieces))

    @contextmanager
    def _open(self, name: str) -> Iterator[Opened]:
        with self._file(name).open("rb") as file:
            yield self.safe.opened(self.key, name, file)


class SealedTable:
    """A table in parts, of which one at a time is in memory.

    Attributes:
        height: how many rows it has.
    """

    def __init__(self, opened: Opened) -> None:
        counts = np.frombuffer(opened.end, dtype="<u4").tolist()
        if len(counts) != opened.parts:
            raise Damaged("A stored table has not the parts that it should have.", "Ask the operator.")
        self._opened, self._counts = opened, counts
        self._starts = [0, *accumulate(counts)]
        self.height = self._starts[-1]
        self._last = (-1, pl.DataFrame())

    def slice(self, first: int, count: int) -> pl.DataFrame:
        """At most `count` rows from the position `first`."""
        first = min(first, self.height)
        end = min(first + count, self.height)
        frames = []
        for number, start in enumerate(self._starts[:-1]):
            begins, stops = max(first, start), min(end, start + self._counts[number])
            if begins < stops:
                frames.append(self._part(number).slice(begins - start, stops - begins))
        return pl.concat(frames) if frames else self._part(0).clear()

    def where(self, column: str, values: Sequence[str]) -> pl.DataFrame:
        """The rows whose text in a column is one of some values."""
        frames = []
        for number in range(self._opened.parts):
            content = self._opened.part(number)
            found = pl.read_parquet(io.BytesIO(content), columns=[column])[column].is_in(values)
            if found.any() or not number:
                frames.append(pl.read_parquet(io.BytesIO(content)).filter(found))
        return pl.concat(frames)

    def _part(self, number: int) -> pl.DataFrame:
        if self._last[0] != number:
            self._last = (number, pl.read_parquet(io.BytesIO(self._opened.part(number))))
        return self._last[1]


def check_sealed(folder: Path) -> None:
    """Refuse a folder that holds files of an earlier version, in the clear.

    Raises:
        LinkerError: it does; nothing was changed.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.removesuffix(durable.DRAFT).endswith(SUFFIX):
            raise plain_data()


def plain_data() -> LinkerError:
    """What to say of a data folder whose files are in the clear."""
    error = LinkerError(
        "The data folder was made by an earlier version and holds identifiers in the clear.",
        "Nothing was changed. Destroy it, or keep it with the program that made it; begin with a new one.",
    )
    error.reason = "DATA_NOT_SEALED"
    return error


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
