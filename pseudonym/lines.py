"""A file to which lines are only added: what was added is there after any crash, or was never acknowledged.

The rules this module keeps:

- What is added is on disk, all of it, when `add` returns. When it raises, nothing of it is left in the file.
- After a failed fsync, or a failed write that could not be taken back, nothing more is written until the
  file is opened again: what is on disk then is found out, not guessed.
- Opening changes nothing but to make the file: what a crash left half-written at the end goes with the next
  line that is added, and only if the reader of the file said by `keep` where its good part ends.
- One process at a time has it open.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from pseudonym.errors import StoreError, StoreInUseError


class Lines:
    """One such file, open. Not for several threads at once.

    Attributes:
        found: the whole content that was there when it was opened; empty once `keep` was called.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make an empty one that only its owner can read.

        Raises:
            StoreInUseError: another process has it open.
            StoreError: it cannot be opened.
        """
        self._refused = False
        try:
            fresh = not path.exists()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {os.strerror(error.errno or 0)}.") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(self._handle, "rb", closefd=False) as file:
                self.found = file.read()
            if fresh:
                _sync_directory(path.parent)
        except BlockingIOError:
            os.close(self._handle)
            raise StoreInUseError(f"Another process has {path} open.", "Stop it first.") from None
        except BaseException:
            os.close(self._handle)
            raise
        self._end = len(self.found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process open it."""
        os.close(self._handle)

    @property
    def whole(self) -> bytes:
        """What was there without the half line that a crash may have left at its end."""
        return self.found[: self.found.rfind(b"\n") + 1]

    def keep(self, size: int) -> None:
        """Say how many bytes of what was there are good: lines are added after them, over the rest."""
        self._end, self.found = size, b""

    def add(self, lines: bytes) -> None:
        """Add whole lines. They are on disk when this returns.

        Raises:
            StoreError: they could not be written, and are not there.
        """
        if self._refused:
            raise StoreError("The disk failed while a line was written.", "See to the disk, then restart.")
        if os.fstat(self._handle).st_size < self._end:
            self._refused = True
            raise StoreError("A file was cut off while it was in use.", "Find out by whom, then restart.")
        try:
            os.ftruncate(self._handle, self._end)
            rest, at = memoryview(lines), self._end
            while rest:
                written = os.pwrite(self._handle, rest, at)
                rest, at = rest[written:], at + written
        except OSError as error:
            self._take_back()
            raise StoreError("A line could not be written: the disk is full or refused it.") from error
        except BaseException:
            self._take_back()
            raise
        try:
            os.fsync(self._handle)
        except BaseException:
            self._refused = True
            self._take_back()
            raise
        self._end = at

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._handle, self._end)
        except BaseException:
            self._refused = True
            raise


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
