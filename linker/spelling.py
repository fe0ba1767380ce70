"""What stands behind the codes: characters, signatures, tokens and numbers of every value.

The codes of a group of columns begin at its base, so that base + code finds a value:

    place[value]      = first character << 24 | how many   in chars (code points, or bytes)
    signature[value]  = which characters, whether twice, and how many: bounds a distance unmeasured
    token_starts[value] .. token_starts[value + 1]          in tokens (ids, ascending)
    numbers[value]
    vector_starts[value] .. vector_starts[value + 1]        in vectors, where some column holds vectors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.codebook import Bytes, Codebook, Words, short_byte
from linker.errors import RecordsError
from linker.kernels import half, inlined_kernel, kernel, scratch_size, whole, word
from linker.views import INLINE, text_view

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
        signature: uint64 [values].
        tokens: int32.
        token_starts: int64 [values + 1].
        numbers: float64 [values]; NaN where the value is no number.
        vectors: float64, the numbers of all vectors, one after the other.
        vector_starts: int64 [values + 1]; only the first where no column holds vectors.
        scratch: length of the scratch array that the distances need.
    """

    chars: npt.NDArray[np.uint32]
    place: npt.NDArray[np.int64]
    signature: npt.NDArray[np.uint64]
    tokens: npt.NDArray[np.int32]
    token_starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64]
    vector_starts: npt.NDArray[np.int64]
    scratch: int


@dataclass(frozen=True)
class Spelt:
    """A run of one group's values, places and token starts counted from its own beginning."""

    chars: npt.NDArray[np.uint32]
    place: npt.NDArray[np.int64]
    signature: npt.NDArray[np.uint64]
    tokens: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64] | None


def spell(
    book: Codebook,
    first: int,
    *,
    measured: bool,
    tokens: Codebook | None,
    is_number: bool,
    is_vector: bool = False,
    as_bytes: bool = False,
) -> Spelt:
    """What stands behind the codes of a book from `first` on.

    Args:
        book: the group's dictionary.
        first: the first code.
        measured: some test looks at characters.
        tokens: the dictionary of tokens, where the values are lists.
        is_number: the values are numbers.
        is_vector: the values are vectors.
        as_bytes: characters are the bytes of UTF-8 and not code points.

    Raises:
        RecordsError: a value is too long.
    """
    words = book.words[first:]
    size = len(words)
    chars = np.zeros(0, np.uint32)
    place, signature = np.zeros(size, np.int64), np.zeros(size, np.uint64)
    if measured:
        longest = int((words[:, 0] & word(0xFFFFFFFF)).max(initial=0))
        if longest > LENGTH:
            raise RecordsError("A value is longer than 16 million bytes.", "Leave the column out, or cut it.")
        chars = np.empty(int((words[:, 0] & word(0xFFFFFFFF)).sum()), np.uint32)
        chars = chars[: _spell(words, book.store, chars, place, signature, as_bytes)].copy()
    ids, counts = np.zeros(0, np.int32), np.zeros(size, np.int64)
    if tokens is not None:
        lists = book.texts(first).str.split(SEPARATOR)
        counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        ids = _ids(lists, tokens)
    numbers = np.full(size, np.nan)
    if is_number:
        numbers = book.texts(first).cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    vectors, sizes = np.zeros(0), None
    if is_vector:
        texts = book.texts(first).str.split(SEPARATOR)
        vectors = texts.explode().cast(pl.Float64).to_numpy()
        sizes = texts.list.len().to_numpy().astype(np.int64)
    return Spelt(chars, place, signature, ids, counts, numbers, vectors, sizes)


def joined(runs: Sequence[Spelt]) -> ValueTable:
    """One table of runs that follow one another."""
    chars = [run.chars for run in runs]
    begins = np.cumsum([0, *map(len, chars)])
    place = [
        run.place + (int(begin) << LENGTH_BITS) if len(run.chars) else run.place
        for run, begin in zip(runs, begins, strict=False)
    ]
    places = np.concatenate(place)
    counts = np.concatenate([run.counts for run in runs])
    vector_starts = np.zeros(1, np.int64)
    if any(run.sizes is not None for run in runs):
        sizes = [np.zeros(len(run.place), np.int64) if run.sizes is None else run.sizes for run in runs]
        vector_starts = np.concatenate(([0], np.cumsum(np.concatenate(sizes))))
    return ValueTable(
        np.concatenate([*chars, np.zeros(1, np.uint32)]),
        places,
        np.concatenate([run.signature for run in runs]),
        np.concatenate([*(run.tokens for run in runs), np.zeros(1, np.int32)]),
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([run.numbers for run in runs]),
        np.concatenate([*(run.vectors for run in runs), np.zeros(1)]),
        vector_starts,
        scratch_size(int((places & LENGTH).max(initial=0))),
    )


def _ids(lists: pl.Series, tokens: Codebook) -> npt.NDArray[np.int32]:
    """Ids of the tokens of all lists, ascending in each list."""
    flat = lists.alias("").explode()
    codes = np.full((len(flat), 1), -1, np.int32)
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
    as_bytes: bool,
) -> int:
    """Characters, places and signatures of texts in UTF-8; returns how many characters there are."""
    at = whole(0)
    for k in range(len(words)):
        length = whole(words[k, 0] & word(0xFFFFFFFF))
        start = whole(words[k, 1]) if length > INLINE else whole(0)
        begin, signed, char, more = at, word(0), half(0), 0
        for i in range(length):
            byte = half(store[start + i] if length > INLINE else short_byte(words[k, 0], words[k, 1], i))
            if byte < 0x80 or as_bytes:
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
