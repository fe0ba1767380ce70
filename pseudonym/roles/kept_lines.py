"""A file to which lines are added, each on disk before anything follows from it; shortened once a day.

The rules this module keeps:

- A line that a crash left half-written counts for nothing (`pseudonym.lines`).
- Shortening writes another file and puts it in the place of the first as a whole: after a crash at any moment
  the file is the longer or the shorter one.
- What is not as it was written is refused, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pseudonym.errors import StoreError
from pseudonym.files import replace_file
from pseudonym.lines import Lines

DAY = 86_400.0
"""Seconds between two times of shortening."""


class KeptLines:
    """One such file, for one thread at a time.

    Args:
        path: the file; made if it is not there.
        what: what it holds, for messages.
        read: takes a line, without its line feed.
        clock: seconds since 1970.

    Raises:
        StoreError: the file is damaged, or cannot be read or written.
    """

    def __init__(
        self, path: Path, what: str, read: Callable[[bytes], None], clock: Callable[[], float]
    ) -> None:
        self._path, self._clock = path, clock
        self._shortened = 0.0
        self._lines = Lines(path)
        whole = self._lines.whole
        try:
            for line in whole.splitlines():
                read(line)
        except (ValueError, TypeError):
            self.close()
            raise StoreError(f"The file of {what} is damaged.", "Restore it; nothing was done.") from None
        self._lines.keep(len(whole))

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def add(self, line: bytes) -> None:
        """Add a line; it is on disk when this returns, or, if it raises, not there: see `Lines.add`."""
        self._lines.add(line + b"\n")

    def due(self) -> bool:
        """Whether the file was not shortened for a day, or since it was opened."""
        return self._clock() - self._shortened > DAY

    def shorten(self, lines: Iterable[bytes]) -> None:
        """Put these lines in the place of all that are there."""
        replace_file(self._path, b"".join(line + b"\n" for line in lines))
        self._lines.close()
        self._lines = Lines(self._path)
        self._lines.keep(len(self._lines.found))
        self._shortened = self._clock()
