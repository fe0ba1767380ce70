"""Standard columns → integer codes and flat buffers, the only thing that the kernels read.

Two cells hold the same code exactly when their values are equal; missing is -1. Columns that are
compared with one another form a group and share a dictionary (forename and surname, for swapped names).
The values of all dictionaries stand in one table, group after group (`linker.spelling`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.codebook import Codebook
from linker.conditions import COUNTED, MEASURED, POINTED, SUBTRACTED, Test, tests_of
from linker.errors import ModelError
from linker.kernels import kernel, short, word
from linker.model import Model
from linker.spelling import SEPARATOR, Looks, Spelt, ValueTable, joined, spell
from linker.threads import each
from linker.views import text_view

Codes = npt.NDArray[np.int32]
_LINE = 16  # codes in a cache line
_VECTOR = pl.List(pl.Float64)


@dataclass(frozen=True)
class Encoded:
    """One or two sets of records in codes.

    Attributes:
        columns: names; position is the second index of the codes.
        left: int32 [records, width], a record's codes side by side; after them, for every column that some
            test measures, the signature of its value in two halves, so that most pairs are told apart by what
            stands in the record itself.
        right: the same of the other side; the left itself for deduplication.
        table: what the codes stand for.
        offsets: the place of each column's first value in the table, where tests look at more than whether
            values are equal, and how many values there are.
        books: by column, the dictionary of its group.
        sketches: where the signature of a column's value stands.
        seen: by column, how often each value was counted in all records, of which these may be a part.
    """

    columns: tuple[str, ...]
    left: Codes
    right: Codes
    table: ValueTable
    offsets: dict[str, tuple[int, int]]
    books: dict[str, Codebook]
    sketches: dict[str, int]
    seen: dict[str, npt.NDArray[np.int64]]

    @property
    def deduplicates(self) -> bool:
        """One set of records against itself."""
        return self.left is self.right

    def column(self, name: str) -> int:
        """Position of a column.

        Raises:
            ModelError: the records have no such column.
        """
        try:
            return self.columns.index(name)
        except ValueError:
            raise ModelError(
                f"The model reads the column '{name}', which the records do not have.",
                "Map a column to it, or use a model for these fields.",
            ) from None

    def values(self, name: str) -> pl.Series:
        """The texts behind the codes of a column, in their order."""
        return self.books[name].texts()[: self.offsets[name][1]]


def encode(left: pl.DataFrame, right: pl.DataFrame | None, model: Model) -> Encoded:
    """Encode the standard columns that a model reads.

    Args:
        left: standard columns of the left records.
        right: of the right records; None to deduplicate the left.

    Raises:
        ModelError: the model reads a column that no side has. One that only one side has is missing on the
            other, and so says nothing.
    """
    encoder = Encoder(left, model, other=None if right is None else right.schema)
    return encoder.encoded if right is None else encoder.with_right(right)


class Encoder:
    """The left side in codes, and the dictionaries to encode others with.

    Attributes:
        columns, sketches: as in `Encoded`.
        groups: the columns that share a dictionary, and what stands behind their codes.
        left: the rows of the left side.
    """

    def __init__(self, left: pl.DataFrame, model: Model, other: pl.Schema | None = None) -> None:
        """Encode the left side.

        Args:
            left: standard columns.
            model: names the columns that are read.
            other: the columns that the other side will have; None where there is none.

        Raises:
            ModelError: the model reads a column that no side has.
        """
        schemas = [left.schema] if other is None else [left.schema, other]
        self.columns = tuple(sorted(model.columns))
        # A column that only one side has can still be the other half of a test across columns.
        for name in self.columns:
            if all(name not in schema for schema in schemas):
                raise ModelError(
                    f"The model reads the column '{name}', which the records do not have.",
                    "Map a column to it with --map, or use a model for these fields.",
                )
        tests = list(_tests(model))
        self.groups = [Group.of(names, schemas, tests, model.raw is not None) for names in _groups(model)]
        sketched = [name for group in self.groups if group.looks.measured for name in group.names]
        self.sketches = {name: len(self.columns) + 2 * i for i, name in enumerate(sketched)}
        self._seen: dict[str, npt.NDArray[np.int64]] = {}
        self.left = self._rows(left)

    def count(self, frame: pl.DataFrame) -> None:
        """Count the values of columns of other records, which are kept: of all of them, if of any."""
        for group in self.groups:
            for name in group.names:
                if name in frame.schema:
                    codes = np.empty((len(frame), 1), np.int32)
                    group.book.add(text_view(as_text(frame[name])), codes, 0)
                    counts = np.bincount(codes[codes >= 0], minlength=group.book.size)
                    known = self._seen.get(name, counts[:0])
                    counts[: len(known)] += known
                    self._seen[name] = counts
            self._learn(group)

    @cached_property
    def encoded(self) -> Encoded:
        """The left side against itself."""
        return self._encoded(self.left)

    def with_right(self, right: pl.DataFrame) -> Encoded:
        """The left side against another, whose values are kept."""
        return self._encoded(self._rows(right))

    @contextmanager
    def with_part(self, part: pl.DataFrame) -> Iterator[Encoded]:
        """The left side against a part of a larger one, whose values are forgotten afterwards."""
        books = [book for group in self.groups for book in (group.book, group.tokens) if book is not None]
        marks, runs = [book.mark() for book in books], [len(group.runs) for group in self.groups]
        try:
            yield self._encoded(self._rows(part))
        finally:
            for book, mark in zip(books, marks, strict=True):
                book.back(mark)
            for group, known in zip(self.groups, runs, strict=True):
                del group.runs[known:]

    def _rows(self, frame: pl.DataFrame) -> Codes:
        """The rows of a frame; new values are learnt."""
        rows = aligned(len(frame), len(self.columns) + 2 * len(self.sketches))

        def add(group: Group) -> None:
            for name in group.names:
                if name in frame.schema:
                    group.book.add(text_view(as_text(frame[name])), rows, self.columns.index(name))
                else:
                    rows[:, self.columns.index(name)] = -1
            self._learn(group)
            if group.looks.measured:
                signature = np.concatenate([run.signature for run in group.runs])
                for name in group.names:
                    _sketch(rows, self.columns.index(name), self.sketches[name], signature)

        each(add, self.groups)
        return rows

    def _learn(self, group: Group) -> None:
        """Spell the values of a group that are new."""
        if group.looks:
            known = sum(len(run.place) for run in group.runs)
            group.runs.append(spell(group.book, known, group.looks, group.tokens))

    def _encoded(self, right: Codes) -> Encoded:
        offsets, books, base = {}, {}, 0
        for group in self.groups:
            for name in group.names:
                offsets[name], books[name] = (base, group.book.size), group.book
            base += group.book.size if group.looks else 0
        table = joined([run for group in self.groups for run in group.runs])
        return Encoded(self.columns, self.left, right, table, offsets, books, self.sketches, self._seen)


@dataclass(frozen=True)
class Group:
    """Columns that share a dictionary.

    Attributes:
        names: the columns.
        book: the dictionary.
        tokens: the dictionary of tokens, where the values are lists.
        looks: what tests look at.
        runs: what stands behind the codes, in the order in which they came.
    """

    names: tuple[str, ...]
    book: Codebook
    tokens: Codebook | None
    looks: Looks
    runs: list[Spelt]

    @staticmethod
    def of(
        names: Sequence[str], schemas: Sequence[pl.Schema], tests: Sequence[Test], by_bytes: bool
    ) -> Group:
        dtypes = [schema[name] for schema in schemas for name in names if name in schema]
        is_list = any(dtype == pl.List(pl.String) for dtype in dtypes)
        ops = {test.op for test in tests if test.left in names}
        looks = Looks(
            not ops.isdisjoint(MEASURED),
            not ops.isdisjoint(COUNTED),
            not ops.isdisjoint(SUBTRACTED),
            not ops.isdisjoint(POINTED),
            bool(dtypes) and all(dtype.is_numeric() for dtype in dtypes),
            bool(dtypes) and all(dtype == _VECTOR for dtype in dtypes),
            by_bytes,
        )
        return Group(tuple(names), Codebook(), Codebook() if is_list else None, looks, [])


def aligned(rows: int, width: int) -> Codes:
    """Room for rows that share as few cache lines as can be; nothing is written to it yet."""
    wide = 8 if width <= 8 else -(-width // _LINE) * _LINE
    room = np.empty(rows * wide + _LINE, np.int32)
    first = (-room.ctypes.data // room.itemsize) % _LINE
    return room[first : first + rows * wide].reshape(rows, wide)


@kernel
def _sketch(rows: Codes, column: int, at: int, signature: npt.NDArray[np.uint64]) -> None:
    """Write the signatures of a column's values into the rows."""
    for row in range(len(rows)):
        code = rows[row, column]
        if code >= 0:
            signed = signature[code]
            rows[row, at] = short(signed & word(0xFFFFFFFF))
            rows[row, at + 1] = short(signed >> word(32))


@kernel
def count_codes(rows: Codes, column: int, counts: npt.NDArray[np.int64]) -> None:
    """Add how often each value of a column was seen."""
    for row in range(len(rows)):
        code = rows[row, column]
        if code >= 0:
            counts[code] += 1


def observed(column: str, encoded: Encoded) -> npt.NDArray[np.float64]:
    """log2 of the share of each value of a column in all that both sides have, in the order of the codes."""
    size = encoded.offsets[column][1]
    counts = encoded.seen.get(column)
    if counts is None:
        sides = [encoded.left] if encoded.deduplicates else [encoded.left, encoded.right]
        counts = np.zeros(size, np.int64)
        for side in sides:
            count_codes(side, encoded.column(column), counts)
    # What only other columns of the dictionary hold is never looked up; it counts as held once.
    held = np.ones(size)
    held[: len(counts)] = np.maximum(counts, 1)
    return np.asarray(np.log2(held / max(1, counts.sum())))


def _tests(model: Model) -> Iterator[Test]:
    for comparison in model.comparisons:
        yield from tests_of(comparison.null)
        for level in comparison.levels:
            if level.condition is not None:
                yield from tests_of(level.condition)


def _groups(model: Model) -> list[list[str]]:
    """Columns that share a dictionary because some test or rule compares them."""
    leader: dict[str, str] = {name: name for name in model.columns}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for one, other in _compared(model):
        first, second = sorted((find(one), find(other)))
        leader[second] = first
    groups: dict[str, list[str]] = {}
    for name in sorted(leader):
        groups.setdefault(find(name), []).append(name)
    return list(groups.values())


def _compared(model: Model) -> Iterable[tuple[str, str]]:
    for test in _tests(model):
        yield test.left, test.right
    for rule in model.rules:
        yield from rule.columns


def as_text(series: pl.Series) -> pl.Series:
    """One text a value, so that any column has a dictionary; lists are joined, sorted and without repeats."""
    if not isinstance(series.dtype, pl.List):
        return series.cast(pl.String)
    if series.dtype == _VECTOR:  # its order means something
        return series.cast(pl.List(pl.String)).list.join(SEPARATOR)
    joined = series.list.join(SEPARATOR)
    joined = joined.set(series.list.len().fill_null(0) == 0, None)
    distinct = joined.unique().drop_nulls()
    sorted_texts = distinct.str.split(SEPARATOR).list.unique().list.sort().list.join(SEPARATOR)
    return sorted_texts.gather(joined.cast(pl.Enum(distinct)).to_physical())
