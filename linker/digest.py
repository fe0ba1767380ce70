"""A digest of a table's content that the order of its rows and columns does not change.

    cell  = two words of 64 bits, of the column's name and type, and the value's bytes
    row   = the sum of its cells, mixed
    table = the sum of its rows, with the number of rows and the columns, under SHA-256

All sums are modulo 2^64, so that chunks and threads may come in any order, and a row that is there twice
counts twice. Text is UTF-8, a number its eight little-endian bytes. Two tables that differ by accident have
one digest once in 2^128. That is no defence against somebody who builds such a table on purpose: sums can
be solved for. Sorting for a chain of SHA-256 would take five times as long.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.kernels import kernel

CHUNK_ROWS = 1 << 18

Words = npt.NDArray[np.uint64]


def digest(frame: pl.DataFrame, *, chunk_rows: int = CHUNK_ROWS, threads: int | None = None) -> str:
    """The digest of a table, in hex.

    Args:
        frame: columns of any type; null is a value of its own.
        chunk_rows: rows a chunk; changes nothing in the digest.
        threads: None for one a core; changes nothing either.
    """
    seeds = {name: _seed(name, kind) for name, kind in frame.schema.items()}

    def total(first: int) -> list[int]:
        rows = np.zeros((min(chunk_rows, frame.height - first), 2), np.uint64)
        for column in frame[first : first + chunk_rows]:
            lengths, content = _content(column)
            _add_cells(lengths, content, seeds[column.name], rows)
        return [int(word) for word in _sum_rows(rows)]

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        totals = list(pool.map(total, range(0, frame.height, chunk_rows)))
    sums = [f"{sum(column) % 2**64:016x}" for column in zip(*totals, strict=True)]
    columns = sorted((name, _kind(kind)) for name, kind in frame.schema.items())
    return hashlib.sha256(json.dumps([frame.height, columns, sums]).encode()).hexdigest()


def _kind(kind: pl.DataType) -> str:
    return {pl.String(): "text", pl.Float64(): "number"}.get(kind, str(kind))


def _seed(name: str, kind: pl.DataType) -> Words:
    """Two words for the cells of a column."""
    return np.frombuffer(hashlib.sha256(f"{_kind(kind)} {name}".encode()).digest()[:16], "<u8")


def _content(column: pl.Series) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Each value's length in bytes, -1 for null, and the bytes of all of them."""
    if column.dtype == pl.Float64:
        lengths = np.where(column.is_null().to_numpy(), np.int32(-1), np.int32(8)).astype(np.int32)
        values = column.drop_nulls().to_numpy().astype("<f8")
        return lengths, np.frombuffer(values.tobytes(), np.uint8)
    column = _words_of(column)
    sizes = column.str.len_bytes().cast(pl.Int32).fill_null(-1).to_numpy()
    text = column.str.join("", ignore_nulls=True).item() or ""
    return sizes.astype(np.int32), np.frombuffer(text.encode(), np.uint8)


def _words_of(column: pl.Series) -> pl.Series:
    """Values of any type as text; those of lists and structures as JSON."""
    if not column.dtype.is_nested():
        return column.cast(pl.String)
    inside = pl.col(column.name)
    return (
        column.to_frame().select(pl.when(inside.is_not_null()).then(pl.struct(inside).struct.json_encode()))
    ).to_series()


@kernel
def _mixed(word: np.uint64) -> np.uint64:
    """Every bit of a word bears on every bit of the result (MurmurHash3's finaliser)."""
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return word ^ (word >> np.uint64(33))


@kernel
def _add_cells(
    lengths: npt.NDArray[np.int32], content: npt.NDArray[np.uint8], seed: Words, rows: Words
) -> None:
    """Add each row's cell of one column: FNV-1a over its bytes from the column's two words, then mixed."""
    place = 0
    for row in range(len(lengths)):
        one, other = seed[0], seed[1]
        for _ in range(lengths[row]):
            byte = np.uint64(content[place])
            one = (one ^ byte) * np.uint64(0x100000001B3)
            other = (other ^ byte) * np.uint64(0x9E3779B97F4A7C15)
            place += 1
        size = np.uint64(lengths[row] + 1)
        rows[row, 0] += _mixed(one ^ size)
        rows[row, 1] += _mixed(other + size)


@kernel
def _sum_rows(rows: Words) -> tuple[np.uint64, np.uint64]:
    one = np.uint64(0)
    other = np.uint64(0)
    for row in range(len(rows)):
        one += _mixed(rows[row, 0] ^ _mixed(rows[row, 1]))
        other += _mixed(rows[row, 1] + np.uint64(0x9E3779B97F4A7C15))
    return one, other
