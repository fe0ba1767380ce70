"""Which requests for the way back were granted, and how many numbers each person has had in a day.

A file to which lines are only added, each on disk before the request counts as granted.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Self

from pseudonym.errors import StoreError
from pseudonym.wayback import Spending


class Spent:
    """The ledger of one role: `wayback.Ledger`."""

    def __init__(self, path: Path) -> None:
        """Read what is there, and cut off what a crash left half-written.

        Raises:
            StoreError: the file is damaged.
        """
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(self._handle, "rb", closefd=False) as file:
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            for line in whole.splitlines():
                request, person, day, count = json.loads(line)
                self._note(str(request), str(person), str(day), int(count))
        except (ValueError, TypeError):
            os.close(self._handle)
            raise StoreError("The file of granted requests is damaged.", "Restore it.") from None
        os.ftruncate(self._handle, len(whole))
        os.lseek(self._handle, len(whole), os.SEEK_SET)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def spend(self, request: bytes, person: str, day: date, count: int, quota: int) -> Spending:
        """Note that a request is granted, unless it was or the quota ends: see `wayback.Ledger`."""
        name, at = request.hex(), day.isoformat()
        with self._lock:
            if name in self._used:
                return Spending.USED
            if self._counts[person, at] + count > quota:
                return Spending.QUOTA
            os.write(self._handle, json.dumps([name, person, at, count]).encode() + b"\n")
            os.fsync(self._handle)
            self._note(name, person, at, count)
        return Spending.DONE

    def _note(self, request: str, person: str, day: str, count: int) -> None:
        self._used.add(request)
        self._counts[person, day] += count
