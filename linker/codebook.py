"""A dictionary of texts in compiled code: equal texts get one code, in the order of their first coming.

An open-addressing table of 64-bit slots (32 bits of hash, code + 1) over the values' words (`linker.views`).
A hash only says where to look: texts are compared byte by byte, so equal codes mean equal texts.
"""

from __future__ import annotations

from typing import TypeVar

import nanoarrow
import numpy as np
import numpy.typing as npt
import polars as pl

from linker.kernels import inlined_kernel, kernel, octet, whole, word
from linker.views import INLINE, TextView

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)

_LEAST = 3 << 8
_FULL = 0.75  # of the slots; they are a power of two
_SLACK = 1.4
_TELLING = 500  # rows that say what is to come
_AHEAD = 64  # cells whose slots are asked for together: the processor waits once for all of them
_K1, _K2 = word(0x9E3779B97F4A7C15), word(0xD6E8FEB86659FD93)
_SHORT = word(0xFFFFFFFF)


class Codebook:
    """Texts and their codes, 0 for the first.

    Attributes:
        size: how many texts it holds.
    """

    def __init__(self) -> None:
        self.size = 0
        self._slots = np.zeros(int(_LEAST / _FULL), np.uint64)
        self._words = np.zeros((_LEAST, 2), np.uint64)
        self._place = np.zeros(_LEAST, np.int64)
        self._store = np.zeros(1 << 12, np.uint8)
        self._stored = 0

    @property
    def words(self) -> Words:
        """uint64 [size, 2], the texts; of a longer one the second word is its place in the store."""
        return self._words[: self.size]

    @property
    def store(self) -> Bytes:
        """uint8, the bytes of the longer texts."""
        return self._store

    def add(self, view: TextView, codes: npt.NDArray[np.int32], column: int) -> None:
        """Write the codes of a column, new texts getting new ones; -1 where a cell is missing.

        Args:
            view: the cells.
            codes: int32 [rows, columns].
            column: which of them to write.
        """
        row, before, stored = 0, self.size, self._stored
        ahead = np.empty((2, _AHEAD), np.uint64)
        while True:
            row, self.size, self._stored = _add(
                view, row, codes, column, self._slots, self._words, self._place, self._store,
                self.size, self._stored, ahead,
            )  # fmt: skip
            if row == len(view.words):
                return
            # What has come so far says what is to come.
            times = len(view.words) / max(1, row) if row >= _TELLING else 1.0
            expected = before + times * (self.size - before), stored + times * (self._stored - stored)
            self._grow(int(view.words[row, 0] & _SHORT), *map(int, expected))

    def texts(self, first: int = 0) -> pl.Series:
        """The texts themselves, from a code on."""
        words = self._words[first : self.size]
        ends = np.cumsum((words[:, 0] & _SHORT).astype(np.int64))
        offsets = np.concatenate(([0], ends)).astype(np.int64)
        out = np.empty(max(1, int(offsets[-1])), np.uint8)
        _write(words, self._store, offsets, out)
        array = nanoarrow.c_array_from_buffers(
            nanoarrow.large_string(), len(words), [None, offsets, out[: int(offsets[-1])]]
        )
        return pl.Series("", array)

    def few_texts(self, first: int) -> list[str]:
        """As `texts`, for so few that making a column takes longer."""
        texts = []
        for code in range(first, self.size):
            length, place = int(self._words[code, 0] & _SHORT), int(self._words[code, 1])
            if length > INLINE:
                content = self._store[place : place + length].tobytes()
            else:
                content = self._words[code].tobytes()[4 : 4 + length]
            texts.append(content.decode())
        return texts

    def mark(self) -> tuple[int, int]:
        """Where the book stands, to come back to."""
        return self.size, self._stored

    def back(self, mark: tuple[int, int]) -> None:
        """Forget the texts that came after a mark."""
        size, self._stored = mark
        # Texts stand in the slots as if they had come one by one: those that came last can simply go.
        self._slots[self._place[size : self.size]] = 0
        self.size = size

    def _grow(self, length: int, texts: int, stored: int) -> None:
        """Make room for one more text, and for as many as are expected."""
        if self.size == len(self._words):
            slots = 2 * len(self._slots)
            while _FULL * slots < _SLACK * texts:  # what a second column adds should find room too
                slots *= 2
            count, larger = int(_FULL * slots), np.zeros(slots, np.uint64)
            self._words, self._place = _longer(self._words, count), _longer(self._place, count)
            _rehash(self._slots, larger, self._place, self.size)
            self._slots = larger
        if self._stored + length > len(self._store):
            self._store = _longer(
                self._store, max(self._stored + length, 2 * len(self._store), int(1.02 * stored))
            )


def _longer(array: npt.NDArray[T], size: int) -> npt.NDArray[T]:
    out = np.empty((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


@inlined_kernel
def _mixed(key: int) -> int:
    key = (key ^ (key >> word(32))) * _K1
    return key ^ (key >> word(29))


@inlined_kernel
def _eight(store: Bytes, position: int) -> int:
    """Eight bytes as one word."""
    eight = word(0)
    for i in range(8):
        eight |= word(store[word(position + i)]) << word(8 * i)
    return eight


@inlined_kernel
def _hash_long(store: Bytes, start: int, length: int) -> int:
    key = word(length)
    # The last eight bytes overlap those before: a text that is long here has more than twelve.
    for i in range(0, length - 8, 8):
        key = _mixed((key ^ _eight(store, start + i)) * _K2)
    return _mixed((key ^ _eight(store, start + length - 8)) * _K2)


@inlined_kernel
def _same_long(store: Bytes, start: int, other: Bytes, there: int, length: int) -> bool:
    for i in range(0, length - 8, 8):
        if _eight(store, start + i) != _eight(other, there + i):
            return False
    return bool(_eight(store, start + length - 8) == _eight(other, there + length - 8))


@inlined_kernel
def _missing(view: TextView, row: int) -> bool:
    bit = view.first + row
    return len(view.valid) > 0 and not (view.valid[bit >> 3] >> (bit & 7)) & 1


@inlined_kernel
def _read_ahead(
    view: TextView, first: int, last: int, shift: int, slots: Words, words: Words, ahead: Words
) -> None:
    """Hashes of some cells, and what the table holds for them on the way to the processor."""
    keys, touched = ahead[0], ahead[1]
    for y in range(first, last):
        key = word(0)
        if not _missing(view, y):
            one, two = view.words[y, 0], view.words[y, 1]
            length = whole(one & _SHORT)
            if length <= INLINE:
                key = _mixed((one ^ _mixed(two * _K2)) * _K2)
            else:
                key = _hash_long(view.store, view.bases[whole(two & _SHORT)] + whole(two >> word(32)), length)
        keys[y - first] = key
    for i in range(last - first):
        touched[i] = slots[whole(keys[i] >> shift)]
    for i in range(last - first):
        touched[i] = words[max(whole(touched[i] & _SHORT) - 1, 0), 0]


@kernel
def _add(
    view: TextView,
    row: int,
    codes: npt.NDArray[np.int32],
    column: int,
    slots: Words,
    words: Words,
    place: npt.NDArray[np.int64],
    store: Bytes,
    size: int,
    stored: int,
    ahead: Words,
) -> tuple[int, int, int]:
    """Codes of the rows from `row` on, until the end or until a text would not fit.

    Returns:
        the next row, texts in the book, bytes in the store.
    """
    bits = 0
    while (1 << bits) < len(slots):
        bits += 1
    shift, mask = word(64 - bits), len(slots) - 1
    known = last = row
    for y in range(row, len(view.words)):
        if y == last:
            known, last = y, min(y + _AHEAD, len(view.words))
            _read_ahead(view, known, last, shift, slots, words, ahead)
        if _missing(view, y):
            codes[y, column] = -1
            continue
        one, two = view.words[y, 0], view.words[y, 1]
        length = whole(one & _SHORT)
        start = view.bases[whole(two & _SHORT)] + whole(two >> word(32)) if length > INLINE else whole(0)
        key = ahead[0, y - known]
        tag = key >> word(32)
        slot = whole(key >> shift)
        while True:
            held = slots[slot]
            if held == 0:
                if size == len(words):
                    return y, size, stored
                if length > INLINE:
                    if stored + length > len(store):
                        return y, size, stored
                    for i in range(length):
                        store[stored + i] = view.store[start + i]
                    two = word(stored)
                    stored += length
                words[size, 0], words[size, 1] = one, two
                place[size] = slot
                slots[slot] = (tag << word(32)) | word(size + 1)
                codes[y, column] = size
                size += 1
                break
            if held >> word(32) == tag:
                code = whole(held & _SHORT) - 1
                if words[code, 0] == one and (
                    words[code, 1] == two
                    if length <= INLINE
                    else _same_long(store, whole(words[code, 1]), view.store, start, length)
                ):
                    codes[y, column] = code
                    break
            slot = (slot + 1) & mask
    return len(view.words), size, stored


@kernel
def _write(words: Words, store: Bytes, offsets: npt.NDArray[np.int64], out: Bytes) -> None:
    """Lay the bytes of texts one after the other."""
    for k in range(len(words)):
        at, length = offsets[k], offsets[k + 1] - offsets[k]
        if length > INLINE:
            start = whole(words[k, 1])
            for i in range(length):
                out[at + i] = store[start + i]
        else:
            for i in range(length):
                out[at + i] = short_byte(words[k, 0], words[k, 1], i)


@inlined_kernel
def short_byte(one: int, two: int, i: int) -> int:
    """Byte i of a text that fits its two words."""
    shifted = one >> word(32 + 8 * i) if i < 4 else two >> word(8 * (i - 4))
    return octet(shifted & word(0xFF))


@kernel
def _rehash(old: Words, slots: Words, place: npt.NDArray[np.int64], size: int) -> None:
    """Put the texts into a larger table, in the order of their coming."""
    bits = 0
    while (1 << bits) < len(slots):
        bits += 1
    shift, mask = word(32 - bits) if bits < 32 else word(0), len(slots) - 1
    for code in range(size):
        held = old[place[code]]
        slot = whole((held >> word(32)) >> shift)
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = held
        place[code] = slot
