"""The one place that writes entries: a frame at a time, each on disk before the next is begun.

The rules this module keeps:

- After an error in the middle of a write, or a failed fsync, nothing more is written until the log is
  opened again: what is on disk then is found out, not guessed. Only a full disk is forgiven, once what was
  written of the frame is gone.
- A file that is not as long as it was left is not written to.
- Readers go by `size`, which changes last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pseudonym.audit import merkle
from pseudonym.audit.entries import encode
from pseudonym.audit.folder import write_all, write_mark
from pseudonym.audit.frames import HEADER_BYTES, LARGEST_BODY, MOST_ENTRIES, pack
from pseudonym.audit.stored import Found, Stored
from pseudonym.errors import AuditError, AuditTamperedError

_MARK_EVERY = 16_384  # entries that may have to be read again when a log is opened


@dataclass(slots=True)
class Waiting:
    """One call of `append` on its way to the disk.

    Attributes:
        prepared: its entries, see `entries.prepare`.
        numbers: once they are on disk.
        error: why they are not.
    """

    prepared: list[bytes]
    numbers: range | None = None
    error: BaseException | None = None


class Writer:
    """Adds to a log's files. Not for several threads at once; reading its attributes is.

    Attributes:
        frontier: the tree; replaced, not changed.
        last: the last entry's time, microseconds since 1970.
        refusal: why nothing more is written, or None.
    """

    def __init__(self, folder: Path, entries: int, stored: Stored, found: Found) -> None:
        self.frontier = found.frontier
        self.last = found.last
        self.refusal: AuditError | None = None
        self._folder, self._entries, self._stored = folder, entries, stored
        self._end, self._marked = found.end, found.marked

    @property
    def size(self) -> int:
        """How many entries are on disk."""
        return self.frontier.size

    def write(self, prepared: list[bytes], now: int, between: Callable[[], None]) -> range:
        """Write entries in as many frames as they need.

        Args:
            prepared: see `entries.prepare`.
            now: their time.
            between: is called after each frame.

        Returns:
            Their numbers.
        """
        start, done = self.size, 0
        while done < len(prepared):
            entries: list[bytes] = []
            size = 0
            for tail in prepared[done : done + MOST_ENTRIES]:
                entries.append(encode(self.size + len(entries), now, tail))
                size += len(entries[-1])
                if size >= LARGEST_BODY:
                    break
            self._write_frame(entries, now)
            done += len(entries)
            between()
        return range(start, self.size)

    def mark(self, least: int = _MARK_EVERY) -> None:
        """Put on disk what is kept beside the entries, if it covers `least` more than last time."""
        if self.size - self._marked >= least:
            self._stored.sync()
            write_mark(self._folder, self.size, self._end, self.frontier.root())
            self._marked = self.size

    def _write_frame(self, entries: list[bytes], now: int) -> None:
        if os.fstat(self._entries).st_size != self._end:
            self.refusal = AuditTamperedError(
                "The file of entries was changed by somebody else while it was in use.",
                "Nothing was written. Find out who did, then open the log again.",
            )
            raise self.refusal
        try:
            self._put(pack(self.size, entries))
            os.fdatasync(self._entries)
            starts, at = [], self._end + HEADER_BYTES
            for entry in entries:
                starts.append(at)
                at += 4 + len(entry)
            frontier = self.frontier.copy()
            nodes = frontier.add(map(merkle.leaf_hash, entries))
            self._stored.extend(self.size, nodes, starts)
        except _TakenBackError as error:
            raise AuditError(
                "The entries could not be written: the disk is full or refused them.", "Make room."
            ) from error.__cause__
        except BaseException:
            self.refusal = AuditError(
                "The disk failed while an entry was written.", "See to the disk, then open the log again."
            )
            raise
        self._end, self.last, self.frontier = at, now, frontier

    def _put(self, data: bytes) -> None:
        try:
            write_all(self._entries, data, self._end)
        except OSError as error:
            os.ftruncate(self._entries, self._end)
            raise _TakenBackError from error


def grouped(queue: list[Waiting]) -> Iterator[list[Waiting]]:
    """Calls that go into one frame together; a large one stands alone."""
    together: list[Waiting] = []
    count = size = 0
    for waiting in queue:
        more = sum(map(len, waiting.prepared)) + 100 * len(waiting.prepared)
        if together and (count + len(waiting.prepared) > MOST_ENTRIES or size + more > LARGEST_BODY):
            yield together
            together, count, size = [], 0, 0
        together.append(waiting)
        count, size = count + len(waiting.prepared), size + more
    if together:
        yield together


class _TakenBackError(Exception):
    """A frame could not be written, and nothing of it is left."""
