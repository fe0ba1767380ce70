"""What stands behind the codes: characters, signatures, tokens and numbers of every value.

The codes of a group of columns begin at its base, so that base + code finds a value:

    place[value]      = first character << 24 | how many   in chars (code points, or bytes)
    token_starts[value] .. token_starts[value + 1]          in tokens (ids, ascending)
    numbers[value]
    vector_starts[value] .. vector_starts[value + 1]        in vectors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.codebook import Bytes, Codebook, Words, short_byte
from linker.errors import RecordsError
from linker.kernels import half, inlined_kernel, kernel, scratch_size, whole, word
from linker.views import INLINE, text_view

T = TypeVar("T", bound=np.generic)

SEPARATOR = "\x1f"
LENGTH_BITS = 24
LENGTH = (1 << LENGTH_BITS) - 1
KINDS = word(58)  # bits of a signature that say which characters; the rest say how many
MANY = 63  # characters, or more


class ValueTable(NamedTuple):
    """The distinct values of all columns; see the module's docstring.

    Attributes:
        chars: uint32 characters of the texts that some test measures: code points, or the bytes of UTF-8
            for a model that reads raw columns.
        place: int64 [values].
        tokens: int32.
        token_starts: int64 [values + 1]; shorter where no value is a list.
        numbers: float64 [values]; NaN where the value is no number, shorter where none is.
        vectors: float64, the numbers of all vectors, one after the other.
        vector_starts: int64 [values + 1]; shorter where no value is a vector.
        scratch: length of the scratch array that the distances need.
    """

    chars: npt.NDArray[np.uint32]
    place: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    token_starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64]
    vector_starts: npt.NDArray[np.int64]
    scratch: int


@dataclass(frozen=True)
class Looks:
    """What tests look at in the values of a group of columns.

    Attributes:
        measured: their characters.
        counted: their tokens.
        subtracted: them as numbers.
        pointed: them as vectors.
        numeric: they are numbers.
        vectorial: they are vectors.
        by_bytes: characters are the bytes of UTF-8 and not code points.
    """

    measured: bool = False
    counted: bool = False
    subtracted: bool = False
    pointed: bool = False
    numeric: bool = False
    vectorial: bool = False
    by_bytes: bool = False

    def __bool__(self) -> bool:
        return self.measured or self.counted or self.subtracted or self.pointed


@dataclass(frozen=True)
class Spelt:
    """A run of one group's values, places counted from its own beginning.

    The signature of a text says which characters it has, which of them twice, and how many: it bounds a
    distance without measuring it. It stands in the records' rows.
    """

    chars: npt.NDArray[np.uint32]
    place: npt.NDArray[np.int64]
    signature: npt.NDArray[np.uint64]
    tokens: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]


def spell(book: Codebook, first: int, looks: Looks, tokens: Codebook | None) -> Spelt:
    """What stands behind the codes of a book from `first` on.

    Args:
        book: the group's dictionary.
        first: the first code.
        looks: what tests look at.
        tokens: the dictionary of tokens, where the values are lists.

    Raises:
        RecordsError: a value is too long.
    """
    words = book.words[first:]
    size = len(words)
    chars, place, signature = np.zeros(0, np.uint32), np.zeros(size, np.int64), np.zeros(0, np.uint64)
    if looks.measured:
        signature = np.empty(size, np.uint64)
        longest = int((words[:, 0] & word(0xFFFFFFFF)).max(initial=0))
        if longest > LENGTH:
            raise RecordsError("A value is longer than 16 million bytes.", "Leave the column out, or cut it.")
        chars = np.empty(int((words[:, 0] & word(0xFFFFFFFF)).sum()), np.uint32)
        chars = chars[: _spell(words, book.store, chars, place, signature, looks.by_bytes)].copy()
    # What is no list has no tokens, and what is no number is none: a model may look at them all the same.
    ids, counts = np.zeros(0, np.int32), np.zeros(size if looks.counted else 0, np.int64)
    if looks.counted and tokens is not None:
        lists = book.texts(first).str.split(SEPARATOR)
        counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        ids = _ids(lists, tokens)
    numbers = np.zeros(0)
    if looks.subtracted:
        numbers = np.full(size, np.nan)
        if looks.numeric:
            numbers = book.texts(first).cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    vectors, sizes = np.zeros(0), np.zeros(size if looks.pointed else 0, np.int64)
    if looks.pointed and looks.vectorial:
        parts = book.texts(first).str.split(SEPARATOR)
        vectors = parts.explode().cast(pl.Float64).to_numpy()
        sizes = parts.list.len().to_numpy().astype(np.int64)
    return Spelt(chars, place, signature, ids, counts, numbers, vectors, sizes)


def joined(runs: Sequence[Spelt]) -> ValueTable:
    """One table of runs that follow one another."""
    chars = [run.chars for run in runs]
    begins = np.cumsum([0, *map(len, chars)])
    places = [
        run.place + (int(begin) << LENGTH_BITS) if begin and len(run.chars) else run.place
        for run, begin in zip(runs, begins, strict=False)
    ]
    rows = [len(run.place) for run in runs]
    counts, sizes = (
        _filled([run.counts for run in runs], rows, 0),
        _filled([run.sizes for run in runs], rows, 0),
    )
    longest = max((int((run.place & LENGTH).max(initial=0)) for run in runs if len(run.chars)), default=0)
    return ValueTable(
        _one(chars, np.uint32),
        _one(places, np.int64),
        _one([run.tokens for run in runs], np.int32),
        np.concatenate(([0], np.cumsum(counts))),
        _filled([run.numbers for run in runs], rows, np.nan),
        _one([run.vectors for run in runs], np.float64),
        np.concatenate(([0], np.cumsum(sizes))),
        scratch_size(longest),
    )


def _one(parts: Sequence[npt.NDArray[T]], dtype: type[T]) -> npt.NDArray[T]:
    """The parts as one, without a copy where only one has anything."""
    filled = [part for part in parts if len(part)]
    return np.concatenate(filled) if len(filled) > 1 else filled[0] if filled else np.zeros(1, dtype)


def _filled(parts: Sequence[npt.NDArray[T]], sizes: Sequence[int], blank: float) -> npt.NDArray[T]:
    """What some runs have, with blanks for the others; nothing where none has any."""
    if not any(map(len, parts)):
        return np.zeros(0, np.array([blank]).dtype)
    pieces = zip(parts, sizes, strict=True)
    return np.concatenate([part if len(part) else np.full(size, blank, part.dtype) for part, size in pieces])


def _ids(lists: pl.Series, tokens: Codebook) -> npt.NDArray[np.int32]:
    """Ids of the tokens of all lists, ascending in each list."""
    flat = lists.alias("").explode()
    codes = np.empty((len(flat), 1), np.int32)
    tokens.add(text_view(flat), codes, 0)
    of = np.repeat(np.arange(len(lists)), lists.list.len().fill_null(0).to_numpy())
    return np.ascontiguousarray(codes[np.lexsort((codes[:, 0], of)), 0])


@inlined_kernel
def _signed(signature: int, char: int) -> int:
    """The signature with one more character: of each of 29 kinds, a bit for the first and one for more."""
    # The kinds are those of the alphabet; digits share them.
    kind = word(2 * min(char & 31, 28))
    once = word(1) << kind
    return signature | (once << word(1) if signature & once else once)


@kernel
def _spell(
    words: Words,
    store: Bytes,
    chars: npt.NDArray[np.uint32],
    place: npt.NDArray[np.int64],
    signature: npt.NDArray[np.uint64],
    by_bytes: bool,
) -> int:
    """Characters, places and signatures of texts in UTF-8; returns how many characters there are."""
    at = whole(0)
    for k in range(len(words)):
        length = whole(words[k, 0] & word(0xFFFFFFFF))
        start = whole(words[k, 1]) if length > INLINE else whole(0)
        begin, signed, char, more = at, word(0), half(0), 0
        for i in range(length):
            byte = half(store[start + i] if length > INLINE else short_byte(words[k, 0], words[k, 1], i))
            if byte < 0x80 or by_bytes:
                char, more = byte, 0
            elif byte < 0xC0:
                char, more = (char << half(6)) | (byte & half(0x3F)), more - 1
            elif byte < 0xE0:
                char, more = byte & half(0x1F), 1
            elif byte < 0xF0:
                char, more = byte & half(0x0F), 2
            else:
                char, more = byte & half(0x07), 3
            if more == 0:
                chars[at] = char
                signed = _signed(signed, char)
                at += 1
        place[k] = (begin << LENGTH_BITS) | (at - begin)
        signature[k] = signed | (word(min(at - begin, MANY)) << KINDS)
    return at
