"""A chunk before it is kept: looked through by itself, in any thread, whatever the state of its batch.

    content ──digest, framing, columns, sizes──▶ Examined (Arrow bytes for the disk, or why not)

What is wrong with a chunk is noted and not raised: the chunks before it are still kept, and whoever keeps
them says what is wrong when its turn comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from linker import arrow
from linker.refusals import Invalid
from linker.resources import Batch, Format, Limits

Rows = Sequence[Sequence[str]]
Content = bytes | Rows

VALUE_BYTES = 16  # what a value of a frame takes, however short it is


@dataclass(frozen=True)
class Examined:
    """A chunk that has been looked through.

    Attributes:
        number: counted from 1 without gaps.
        stated: the SHA-256 that was sent with it.
        sha256: the SHA-256 that it has.
        content: an Arrow IPC stream of text columns; empty if it is refused.
        rows: how many it has.
        size: bytes that it takes in memory.
        refusal: why it cannot be kept, or None.
    """

    number: int
    stated: bytes
    sha256: bytes
    content: bytes = b""
    rows: int = 0
    size: int = 0
    refusal: Invalid | None = None


def examine(number: int, stated: bytes, content: Content, batch: Batch, limits: Limits) -> Examined:
    """Look through a chunk.

    Args:
        number: counted from 1 without gaps.
        stated: the SHA-256 that was sent with it.
        content: the Arrow bytes, or the rows as texts, which `check_rows` has passed.
        batch: what its header announced.
        limits: of a chunk.
    """
    sha256 = digest_of(content)
    if sha256 != stated:
        return Examined(number, stated, sha256)
    try:
        if (batch.format is Format.ARROW) != isinstance(content, bytes):
            raise Invalid("SCHEMA_MISMATCH", "The chunk has another format than the header says.")
        if isinstance(content, bytes):
            frame = arrow.read_chunk(content, batch.columns, limits)
        else:
            schema = dict.fromkeys(batch.columns, pl.String)
            frame = pl.DataFrame(content, schema=schema, orient="row")
            arrow.check_frame(frame, limits)
            content = arrow.written(frame)
    except Invalid as refusal:
        return Examined(number, stated, sha256, refusal=refusal)
    return Examined(number, stated, sha256, content, frame.height, int(frame.estimated_size()))


def check_rows(rows: int, widths: Iterable[int], columns: int, limits: Limits) -> None:
    """Check the size of a chunk that comes as rows, before it is unpacked.

    Args:
        rows: how many there are.
        widths: how many values each of them has.
        columns: how many the batch has.
        limits: of a chunk.

    Raises:
        Invalid: there are too many (CHUNK_TOO_LARGE), or one is not as wide as the batch
            (SCHEMA_MISMATCH).
    """
    arrow.check_rows(rows, limits)
    most = limits.chunk_bytes // VALUE_BYTES
    if rows * columns > most:
        raise Invalid(
            "CHUNK_TOO_LARGE",
            f"The chunk has {rows} rows of {columns} values where {most} values are allowed.",
            "Send fewer rows in a chunk.",
        )
    if any(width != columns for width in widths):
        raise Invalid(
            "SCHEMA_MISMATCH",
            "A row of the chunk has another number of values than the header has columns.",
            "Send an empty text for a missing value.",
        )


def digest_of(content: Content) -> bytes:
    """SHA-256 of Arrow bytes, or of rows as text: U+001F after each value, U+001E after each row."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    digest = hashlib.sha256()
    for row in content:
        digest.update(("\x1f".join([*row, ""]) + "\x1e").encode())
    return digest.digest()
