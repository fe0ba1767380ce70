"""A file to which lines are added, each on disk before anything follows from it; shortened once a day.

The rules this module keeps:

- A line that a crash left half-written is cut off when the file is opened.
- Shortening writes another file and puts it in the place of the first as a whole: after a crash at any moment
  the file is the longer or the shorter one.
- What is not as it was written is refused, and nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from pseudonym.errors import StoreError
from pseudonym.files import replace_file

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
        self._path, self._what, self._clock = path, what, clock
        self._shortened = 0.0
        self._open()
        with open(self._handle, "rb", closefd=False) as file:
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            for line in whole.splitlines():
                read(line)
        except (ValueError, TypeError):
            self.close()
            raise StoreError(f"The file of {what} is damaged.", "Restore it; nothing was done.") from None
        os.ftruncate(self._handle, len(whole))
        os.lseek(self._handle, len(whole), os.SEEK_SET)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def add(self, line: bytes) -> None:
        """Add a line; it is on disk when this returns."""
        os.write(self._handle, line + b"\n")
        os.fsync(self._handle)

    def due(self) -> bool:
        """Whether the file was not shortened for a day, or since it was opened."""
        return self._clock() - self._shortened > DAY

    def shorten(self, lines: Iterable[bytes]) -> None:
        """Put these lines in the place of all that are there."""
        replace_file(self._path, b"".join(line + b"\n" for line in lines))
        os.close(self._handle)
        self._open()
        os.lseek(self._handle, 0, os.SEEK_END)
        self._shortened = self._clock()

    def _open(self) -> None:
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(f"The file of {self._what} cannot be opened: {error.strerror}.") from None
