"""How entries lie in their file: frames, each of which was written at once and is on disk as a whole or not.

    8   KLAUDIT1
    8   number of the first entry
    4   how many entries
    4   how many bytes follow the header
    32  SHA-256 of those bytes
    8   the first bytes of the SHA-256 of the 56 before
    -   for each entry its length (4) and its bytes

One frame is written and put on disk before the next one is begun. So a crash can spoil the last frame only,
and a frame that is spoilt and has anything after it was changed by something else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from pseudonym.audit.folder import read_exactly

MAGIC = b"KLAUDIT1"
HEADER_BYTES = 64
MOST_ENTRIES = 1000
LARGEST_BODY = 8 << 20  # a frame ends with the entry that reaches this

_HEADER = struct.Struct(">8sQII32s8s")
_LARGEST_FRAME = HEADER_BYTES + LARGEST_BODY + (1 << 20)


@dataclass(frozen=True, slots=True)
class Header:
    """What a frame says of itself."""

    first: int
    count: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that is as it was written.

    Attributes:
        first: number of its first entry.
        start: where it begins in the file.
        end: where it ends.
        entries: the entries' bytes.
    """

    first: int
    start: int
    end: int
    entries: list[bytes]

    def starts(self) -> list[int]:
        """Where each entry's length stands in the file."""
        at, found = self.start + HEADER_BYTES, []
        for entry in self.entries:
            found.append(at)
            at += 4 + len(entry)
        return found


class SpoiltError(Exception):
    """A frame is not as it was written.

    Attributes:
        what: half a sentence that says what is wrong.
        torn: whether a crash can have left it so: nothing that was finished later comes after it.
        first, count: its entries, if its header is readable; otherwise None and 0.
        entries: what can be read of them.
    """

    def __init__(self, what: str, torn: bool, header: Header | None = None, body: bytes = b"") -> None:
        super().__init__(what)
        self.what = what
        self.torn = torn
        self.first = header.first if header else None
        self.count = header.count if header else 0
        self.entries = _split(body, self.count) or []


def pack(first: int, entries: Sequence[bytes]) -> bytes:
    """The bytes of a frame."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (len(entry).to_bytes(4, "big"), entry)
    body = b"".join(parts)
    head = _HEADER.pack(MAGIC, first, len(entries), len(body), sha256(body).digest(), b"")[:56]
    return head + sha256(head).digest()[:8] + body


def header(data: bytes) -> Header | None:
    """Read a header, or None where there is none that is whole."""
    if len(data) < HEADER_BYTES or data[:8] != MAGIC or sha256(data[:56]).digest()[:8] != data[56:64]:
        return None
    _, first, count, size, digest, _ = _HEADER.unpack(data[:HEADER_BYTES])
    return Header(first, count, size, digest)


def read(handle: int, start: int, end: int) -> Frame:
    """Read the frame at `start` of a file that ends at `end`.

    Raises:
        SpoiltError: it is not whole.
    """
    head = header(read_exactly(handle, HEADER_BYTES, start))
    if head is None:
        torn = end - start <= _LARGEST_FRAME and not _followed(handle, start, end)
        raise SpoiltError("has no readable beginning", torn)
    stop = start + HEADER_BYTES + head.size
    body = read_exactly(handle, min(head.size, end - start - HEADER_BYTES), start + HEADER_BYTES)
    if stop > end:
        raise SpoiltError("ends in the middle", True, head, body)
    if sha256(body).digest() != head.digest:
        raise SpoiltError("does not fit its digest", stop == end, head, body)
    entries = _split(body, head.count)
    if entries is None:
        raise SpoiltError("does not hold what it says", False, head, body)
    return Frame(head.first, start, stop, entries)


def _split(body: bytes, count: int) -> list[bytes] | None:
    entries: list[bytes] = []
    at = 0
    while len(entries) < count:
        size = int.from_bytes(body[at : at + 4], "big")
        at += 4 + size
        if at > len(body):
            return None
        entries.append(body[at - size : at])
    return entries if at == len(body) else None


def _followed(handle: int, start: int, end: int) -> bool:
    """Whether a whole frame begins somewhere after an unreadable one, which then was on disk once."""
    data = read_exactly(handle, end - start, start)
    at = data.find(MAGIC, 1)
    while at >= 0:
        head = header(data[at : at + HEADER_BYTES])
        if head:
            body = data[at + HEADER_BYTES : at + HEADER_BYTES + head.size]
            if sha256(body).digest() == head.digest:
                return True
        at = data.find(MAGIC, at + 1)
    return False
