"""Many things of one form, made together, some at a time: what is the same in all is written once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_SOME = 2048


def filled(count: int, *parts: bytes | Sequence[bytes]) -> list[bytes]:
    """Strings that are made of the same parts, one after the other.

    Args:
        count: how many.
        parts: bytes that all have, or for each string its own; these are of one length within a part.
    """
    if not count:
        return []
    columns = [
        np.frombuffer(part if isinstance(part, bytes) else b"".join(part), dtype=np.uint8) for part in parts
    ]
    widths = [
        len(column) if isinstance(part, bytes) else len(column) // count
        for part, column in zip(parts, columns, strict=True)
    ]
    made = np.empty((count, sum(widths)), dtype=np.uint8)
    start = 0
    for column, width in zip(columns, widths, strict=True):
        made[:, start : start + width] = column.reshape(-1, width)
        start += width
    strings: list[bytes] = made.view(f"V{start}").ravel().tolist()
    return strings


def slices(count: int) -> Iterator[slice]:
    """So many things some at a time: what is made of these is used while it is still near the processor."""
    return (slice(start, min(start + _SOME, count)) for start in range(0, count, _SOME))


def divided(octets: bytes, size: int) -> list[bytes]:
    """Bytes in pieces of one size each; a length that is no multiple of it is an error of the caller's."""
    pieces: list[bytes] = np.frombuffer(octets, dtype=f"V{size}").tolist()
    return pieces
