"""Polars text columns as flat arrays, without a copy.

A cell is two words of 64 bits, Arrow's string view: the length in bytes, then up to twelve bytes of text;
of a longer text the first four bytes, the buffer that holds it, and where it begins there.

    words[row] = length | text[:4] << 32 , text[4:12]
               = length | text[:4] << 32 , buffer | position << 32      from 13 bytes
"""

from __future__ import annotations

from typing import Any, NamedTuple

import nanoarrow
import numpy as np
import numpy.typing as npt
import polars as pl

from linker.kernels import kernel, whole, word

INLINE = 12  # bytes that fit a cell


class TextView(NamedTuple):
    """The cells of a text column.

    Attributes:
        words: uint64 [rows, 2].
        valid: uint8, a bit a row, the lowest first; empty where no cell is missing.
        first: the bit of the first row.
        store: uint8, the bytes of the longer texts, one buffer after the other.
        bases: int64, where each buffer begins in the store.
    """

    words: npt.NDArray[np.uint64]
    valid: npt.NDArray[np.uint8]
    first: int
    store: npt.NDArray[np.uint8]
    bases: npt.NDArray[np.int64]


def text_view(series: pl.Series) -> TextView:
    """The cells of a column of text; they live as long as the arrays do."""
    (array,) = nanoarrow.c_array_stream(series.rechunk()) if len(series) else (None,)
    if array is None:
        return _read_only(np.zeros((0, 2), np.uint64), _NOTHING, 0, _NOTHING, _BEGIN)
    view = array.view()
    valid, cells, *stores = (_bytes(view.buffer(i)) for i in range(view.n_buffers))
    # The last buffer of a view holds the sizes of the others.
    stores = stores[:-1]
    words = cells.view(np.uint64).reshape(-1, 2)[array.offset : array.offset + len(array)]
    if len(stores) > 1:  # a slice has the buffers of the whole, and may need few of them
        held = np.zeros(len(stores), np.bool_)
        _held(words, held)
        stores = [store if here else _NOTHING for store, here in zip(stores, held, strict=True)]
    full = [store for store in stores if len(store)]
    store = np.concatenate(full) if len(full) > 1 else full[0] if full else _NOTHING
    bases = np.cumsum([0, *map(len, stores)], dtype=np.int64)
    return _read_only(words, valid, array.offset, store, bases)


@kernel
def _held(words: npt.NDArray[np.uint64], held: npt.NDArray[np.bool_]) -> None:
    """Mark the buffers that hold the longer texts."""
    for row in range(len(words)):
        if whole(words[row, 0] & _SHORT) > INLINE:
            buffer = whole(words[row, 1] & _SHORT)
            if buffer < len(held):  # a missing cell may hold anything
                held[buffer] = True


_SHORT = word(0xFFFFFFFF)
_NOTHING = np.zeros(0, np.uint8)
_BEGIN = np.zeros(1, np.int64)
_NOTHING.flags.writeable = _BEGIN.flags.writeable = False


def text_cell(text: str) -> TextView:
    """One cell, without a column."""
    content = text.encode()
    short = len(content) <= INLINE
    head = (content if short else content[:4]).ljust(INLINE, b"\0")
    words = np.frombuffer(len(content).to_bytes(4, "little") + head, np.uint64).reshape(1, 2)
    return TextView(words, _NOTHING, 0, _NOTHING if short else np.frombuffer(content, np.uint8), _BEGIN)


def _bytes(buffer: nanoarrow.c_buffer) -> npt.NDArray[np.uint8]:
    return np.frombuffer(buffer, np.uint8) if buffer.size_bytes else _NOTHING


def _read_only(*parts: Any) -> TextView:
    """What Arrow gives cannot be written to; what is made here is of the same type for the kernels."""
    for part in parts:
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
    return TextView(*parts)
