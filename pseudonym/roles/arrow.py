"""Rows between messages and frames: every column is text on the wire, and ids are 32 hexadecimal digits."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TypeAlias

import polars as pl

from pseudonym.roles.refusals import ArrowError

ROWS = 25_000
"""The most rows in one message."""

ReadArrow: TypeAlias = Callable[[bytes, Sequence[str]], pl.DataFrame]
"""Reads an Arrow IPC stream from outside that has exactly these columns, all text; it trusts nothing."""


def frame(read: ReadArrow, content: bytes, ids: Sequence[str], texts: Sequence[str] = ()) -> pl.DataFrame:
    """The rows of a message.

    Args:
        read: see `ReadArrow`.
        content: the bytes.
        ids: the columns of ids, which come first.
        texts: the other columns.

    Returns:
        Binary columns for the ids, and text for the rest.

    Raises:
        ArrowError: there are too many rows, or an id is none.
    """
    found = read(content, [*ids, *texts])
    if found.height > ROWS:
        raise ArrowError(f"The message has {found.height} rows where {ROWS} are allowed.", "Send fewer.")
    if any((~found[one].str.contains("^[0-9a-f]{32}$")).any() for one in ids):
        raise ArrowError("An id is not 32 hexadecimal digits.", "Write its 16 bytes in small letters.")
    return found.with_columns(pl.col(one).str.decode("hex") for one in ids)


def written(rows: pl.DataFrame) -> bytes:
    """Rows as a message has them: binary columns become hexadecimal digits."""
    buffer = io.BytesIO()
    binary = [name for name, kind in rows.schema.items() if kind == pl.Binary]
    text = rows.with_columns(pl.col(name).bin.encode("hex") for name in binary)
    text.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()
