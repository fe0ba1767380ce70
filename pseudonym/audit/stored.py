"""What is kept beside the entries, so that nothing is read or hashed twice; how a log is found again.

The rules this module keeps:

- `tree` and `starts` are written after the entries are on disk. What stands there was acknowledged, or could
  have been: entries that they know of are never cut away.
- They are believed up to the mark only if their root is the mark's; the rest, or all, is made again from the
  entries. A log of a million entries opens without reading them.
- A crash can spoil the last frame only. That is cut away. Anything else that is not as it was written is
  refused, and nothing is changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pseudonym.audit import merkle
from pseudonym.audit.entries import decode
from pseudonym.audit.folder import STARTS, TREE, open_files, read_exactly, read_mark, write_all
from pseudonym.audit.frames import Frame, SpoiltError, read
from pseudonym.audit.merkle import HASH_BYTES, Frontier
from pseudonym.errors import AuditTamperedError

_START_BYTES = 8


class Stored:
    """The files `tree` and `starts`."""

    def __init__(self, folder: Path, flags: int) -> None:
        self._tree, self._starts = open_files(folder, (TREE, STARTS), flags)

    def close(self) -> None:
        os.close(self._tree)
        os.close(self._starts)

    def node(self, level: int, number: int) -> bytes:
        """The hash of a complete subtree: a `merkle.Node`.

        Raises:
            AuditTamperedError: the file ends before it.
        """
        data = read_exactly(self._tree, HASH_BYTES, HASH_BYTES * merkle.position(level, number))
        if len(data) != HASH_BYTES:
            raise AuditTamperedError(
                "The log's stored hashes are not complete.",
                "They are made again when the log is next opened.",
            )
        return data

    def start(self, number: int) -> int:
        """Where an entry's length stands in the file of entries."""
        return int.from_bytes(read_exactly(self._starts, _START_BYTES, _START_BYTES * number), "big")

    def extend(self, size: int, nodes: list[bytes], starts: list[int]) -> None:
        """Add what entries from number `size` on completed, and where they begin. Not yet on disk."""
        write_all(self._tree, b"".join(nodes), HASH_BYTES * merkle.complete(size))
        data = b"".join(start.to_bytes(_START_BYTES, "big") for start in starts)
        write_all(self._starts, data, _START_BYTES * size)

    def cut(self, size: int) -> None:
        """Forget what is said of entries from number `size` on."""
        os.ftruncate(self._tree, HASH_BYTES * merkle.complete(size))
        os.ftruncate(self._starts, _START_BYTES * size)

    def sync(self) -> None:
        os.fsync(self._tree)
        os.fsync(self._starts)

    def known(self, size: int) -> int:
        """How many entries were on disk when this was last written, given that `size` were.

        A crash of the machine may leave zeros at the end, and an entry never begins at 0.
        """
        end = os.fstat(self._starts).st_size
        data = read_exactly(self._starts, max(end - _START_BYTES * size, 0), _START_BYTES * size)
        return size + -(-len(data.rstrip(b"\x00")) // _START_BYTES)


@dataclass(frozen=True, slots=True)
class Found:
    """A log as it was found.

    Attributes:
        end: where its last frame ends.
        frontier: its tree.
        marked: how many entries the mark covers.
        last: the last entry's time, microseconds since 1970; 0 in an empty log.
    """

    end: int
    frontier: Frontier
    marked: int
    last: int


def recover(folder: Path, entries: int, stored: Stored, signed: int) -> Found:
    """Find a log again after it was closed, or was not.

    Args:
        folder: of the log, whose lock is held.
        entries: the open file of entries.
        stored: the files beside it.
        signed: the size of the newest checkpoint.

    Raises:
        AuditTamperedError: entries that were on disk are gone or changed. Nothing was cut away.
    """
    stop = os.fstat(entries).st_size
    mark = read_mark(folder)
    frontier, end = Frontier(), 0
    if mark:
        frontier, end = _at_mark(entries, stored, mark, stop)
    marked = frontier.size
    needed = max(signed, stored.known(marked), mark[0] if mark else 0)
    if marked == 0:
        stored.cut(0)
    while end < stop:
        try:
            frame = read(entries, end, stop)
        except SpoiltError as spoilt:
            if not spoilt.torn or frontier.size < needed:
                raise _damaged(frontier.size, f"the frame that begins there {spoilt.what}") from None
            break
        if frame.first != frontier.size:
            raise _damaged(frontier.size, f"entry {frame.first} stands there")
        _take(stored, frontier, frame)
        end = frame.end
    if frontier.size < needed:
        raise AuditTamperedError(
            f"The log has {frontier.size} entries, and {needed} were on disk or signed before.",
            "Restore the file of entries; nothing was changed.",
            frontier.size,
            needed - 1,
        )
    if end < stop:
        os.ftruncate(entries, end)
        os.fsync(entries)
    stored.cut(frontier.size)
    return Found(end, frontier, marked, _last_time(entries, stored, frontier.size))


def _at_mark(entries: int, stored: Stored, mark: tuple[int, int, str], stop: int) -> tuple[Frontier, int]:
    """The tree up to the mark, and where the frame there ends; nothing where that cannot be relied on."""
    size, end, root = mark
    if end <= stop:
        try:
            frontier = merkle.frontier(stored.node, size)
        except AuditTamperedError:
            return Frontier(), 0
        last = stored.start(size - 1) if size else 0
        ends = last + 4 + int.from_bytes(read_exactly(entries, 4, last), "big") if size else 0
        if frontier.root().hex() == root and ends == end:
            return frontier, end
    return Frontier(), 0


def _take(stored: Stored, frontier: Frontier, frame: Frame) -> None:
    size = frontier.size
    stored.extend(size, frontier.add(map(merkle.leaf_hash, frame.entries)), frame.starts())


def _damaged(number: int, what: str) -> AuditTamperedError:
    return AuditTamperedError(
        f"The log is damaged at entry {number}: {what}.",
        "Restore the file of entries; nothing was changed. 'kinlink audit verify' says more.",
        number,
    )


def _last_time(entries: int, stored: Stored, size: int) -> int:
    return decode(read_entry(entries, stored, size - 1)).microseconds if size else 0


def read_entry(entries: int, stored: Stored, number: int) -> bytes:
    """The bytes of one entry."""
    at = stored.start(number)
    length = int.from_bytes(read_exactly(entries, 4, at), "big")
    return read_exactly(entries, min(length, 1 << 20), at + 4)
