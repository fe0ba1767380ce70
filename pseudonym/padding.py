"""Padding: what is sealed has one of few lengths, so that its length says little."""

from __future__ import annotations

from pseudonym.errors import SealedError

PADDED_TO = 1024  # bytes


def padded(plain: bytes) -> bytes:
    """The length in four bytes, the bytes, and noughts up to the next multiple of `PADDED_TO`."""
    framed = len(plain).to_bytes(4, "big") + plain
    return framed + bytes(-len(framed) % PADDED_TO)


def unpadded(found: bytes, what: str) -> bytes:
    """Undo `padded`.

    Raises:
        SealedError: it is not padded so, or with something else than noughts.
    """
    size = int.from_bytes(found[:4], "big")
    if len(found) % PADDED_TO or len(found) < 4 + size or found != padded(found[4 : 4 + size]):
        raise SealedError(f"The {what} opens, and is not of the form that it should have.")
    return found[4 : 4 + size]
