"""Which requests for the way back were granted, and how many numbers each person has had in a day.

A file to which lines are only added, each on disk before the request counts as granted.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Self

from pseudonym.errors import StoreError
from pseudonym.lines import Lines
from pseudonym.wayback import Spending


class Spent:
    """The ledger of one role: `wayback.Ledger`."""

    def __init__(self, path: Path) -> None:
        """Read what is there, but for what a crash left half-written.

        Raises:
            StoreError: the file is damaged.
        """
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lines = Lines(path)
        whole = self._lines.whole
        try:
            for line in whole.splitlines():
                request, person, day, count = json.loads(line)
                self._note(str(request), str(person), str(day), int(count))
        except (ValueError, TypeError):
            self._lines.close()
            raise StoreError("The file of granted requests is damaged.", "Restore it.") from None
        self._lines.keep(len(whole))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def spend(self, request: bytes, person: str, day: date, count: int, quota: int) -> Spending:
        """Note that a request is granted, unless it was or the quota ends: see `wayback.Ledger`."""
        name, at = request.hex(), day.isoformat()
        with self._lock:
            if name in self._used:
                return Spending.USED
            if self._counts[person, at] + count > quota:
                return Spending.QUOTA
            self._lines.add(json.dumps([name, person, at, count]).encode() + b"\n")
            self._note(name, person, at, count)
        return Spending.DONE

    def _note(self, request: str, person: str, day: str, count: int) -> None:
        self._used.add(request)
        self._counts[person, day] += count
