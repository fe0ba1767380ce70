"""Standard columns → integer codes and flat buffers, the only thing that the kernels read.

Two cells hold the same code exactly when their values are equal; missing is -1. Columns that are
compared with one another share a dictionary (forename and surname, for swapped names). The values of
all dictionaries stand in one table, so that a code alone finds a value's characters, tokens and number:

    codes[row, column] ──▶ starts[code]      .. starts[code + 1]       into chars (code points)
                       ──▶ token_starts[code] .. token_starts[code + 1] into tokens (sorted ids)
                       ──▶ numbers[code]

Codes follow the sorted values, so that they do not depend on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.conditions import tests_of
from linker.errors import ModelError
from linker.kernels import scratch_size
from linker.model import Model

_SEPARATOR = "\x1f"


class ValueTable(NamedTuple):
    """The distinct values of all columns.

    Attributes:
        chars: uint32 code points of all texts, one after the other.
        starts: int64 [values + 1].
        tokens: int32 ids of all token lists, each list sorted without repeats.
        token_starts: int64 [values + 1].
        numbers: float64 [values]; NaN where the value is no number.
        scratch: length of the scratch array that the distances need.
    """

    chars: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    token_starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    scratch: int


@dataclass(frozen=True)
class Encoded:
    """One or two sets of records in codes.

    Attributes:
        columns: names; position is the second index of the codes.
        left: int32 [records, columns], a record's codes side by side.
        right: the same of the other side; the left itself for deduplication.
        table: what the codes stand for.
        offsets: first code of each column's dictionary and its size, by column.
        values: by column, the texts of its dictionary in the order of the codes.
    """

    columns: tuple[str, ...]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    table: ValueTable
    offsets: dict[str, tuple[int, int]]
    values: dict[str, pl.Series]

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


def encode(left: pl.DataFrame, right: pl.DataFrame | None, model: Model) -> Encoded:
    """Encode the standard columns that a model reads.

    Args:
        left: standard columns of the left records.
        right: of the right records; None to deduplicate the left.

    Raises:
        ModelError: the model reads a column that no side has. One that only one side has is missing on the
            other, and so says nothing.
    """
    groups = _groups(model)
    sides = [left] if right is None else [left, right]
    columns = tuple(sorted(model.columns))
    # A column that only one side has can still be the other half of a test across columns.
    for name in columns:
        if all(name not in side.columns for side in sides):
            raise ModelError(
                f"The model reads the column '{name}', which the records do not have.",
                "Map a column to it with --map, or use a model for these fields.",
            )
    codes = [np.full((len(side), len(columns)), -1, dtype=np.int32) for side in sides]
    dictionaries: list[_Dictionary] = []
    offsets: dict[str, tuple[int, int]] = {}
    values: dict[str, pl.Series] = {}
    base = 0
    for group in groups:
        members = [
            (s, name, _as_text(sides[s][name]))
            for name in group
            for s in range(len(sides))
            if name in sides[s]
        ]
        if not members:
            continue
        dictionary = _Dictionary.of(
            [text for _, _, text in members], [sides[s].schema[name] for s, name, _ in members]
        )
        for s, name, text in members:
            local = text.cast(pl.Enum(dictionary.texts)).to_physical().cast(pl.Int64)
            codes[s][:, columns.index(name)] = (local + base).fill_null(-1).to_numpy()
        for name in group:
            offsets[name] = (base, len(dictionary.texts))
            values[name] = dictionary.texts
        base += len(dictionary.texts)
        dictionaries.append(dictionary)
    return Encoded(columns, codes[0], codes[-1], _table(dictionaries), offsets, values)


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
    for comparison in model.comparisons:
        for condition in (
            comparison.null,
            *(x.condition for x in comparison.levels if x.condition is not None),
        ):
            for test in tests_of(condition):
                yield test.left, test.right
    for rule in model.rules:
        yield from rule.columns


def _as_text(series: pl.Series) -> pl.Series:
    """One text a value, so that any column has a dictionary; lists are joined, sorted and without repeats."""
    if not isinstance(series.dtype, pl.List):
        return series.cast(pl.String)
    joined = series.list.join(_SEPARATOR)
    joined = joined.set(series.list.len().fill_null(0) == 0, None)
    distinct = joined.unique().drop_nulls()
    sorted_texts = distinct.str.split(_SEPARATOR).list.unique().list.sort().list.join(_SEPARATOR)
    return sorted_texts.gather(joined.cast(pl.Enum(distinct)).to_physical())


@dataclass(frozen=True)
class _Dictionary:
    """Sorted distinct values of the columns of one group."""

    texts: pl.Series
    is_list: bool
    is_number: bool

    @staticmethod
    def of(columns: Sequence[pl.Series], dtypes: Sequence[pl.DataType]) -> _Dictionary:
        texts = pl.concat([column.alias("") for column in columns]).unique().drop_nulls().sort()
        return _Dictionary(
            texts,
            any(isinstance(dtype, pl.List) for dtype in dtypes),
            all(dtype.is_numeric() for dtype in dtypes),
        )


def _table(dictionaries: Sequence[_Dictionary]) -> ValueTable:
    texts, lists, numbers = [], [], []
    for one in dictionaries:
        size = len(one.texts)
        blank = pl.Series("", [""], dtype=pl.String).new_from_index(0, size)
        # Lists and numbers have characters too: a model for text may meet a column that is none, and two
        # blanks would be equal to it.
        texts.append(one.texts.alias(""))
        lists.append(
            one.texts.alias("").str.split(_SEPARATOR)
            if one.is_list
            else pl.Series("", [None], dtype=pl.List(pl.String)).new_from_index(0, size)
        )
        numbers.append(
            one.texts.alias("").cast(pl.Float64, strict=False)
            if one.is_number
            else blank.cast(pl.Float64, strict=False)
        )
    if not texts:
        raise ModelError("The records have none of the columns that the model reads.", "Check the columns.")
    text = pl.concat(texts)
    chars = np.frombuffer("".join(text.to_list()).encode("utf-32-le"), dtype=np.uint32)
    lengths = text.str.len_chars().to_numpy()
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    token_ids, token_starts = _tokens(pl.concat(lists))
    return ValueTable(
        chars if len(chars) else np.zeros(1, np.uint32),
        starts.astype(np.int64),
        token_ids,
        token_starts,
        pl.concat(numbers).fill_null(float("nan")).to_numpy(),
        scratch_size(int(lengths.max(initial=0))),
    )


def _tokens(lists: pl.Series) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    counts = lists.list.len().fill_null(0).to_numpy()
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)
    flat = lists.drop_nulls().explode()
    if not len(flat):
        return np.zeros(1, np.int32), starts
    # Sorted texts give sorted ids: the lists were sorted by text.
    distinct = flat.unique().sort()
    ids = flat.cast(pl.Enum(distinct)).to_physical().cast(pl.Int32).to_numpy()
    return np.ascontiguousarray(ids), starts
