"""Which requests for the way back were granted, and how many numbers each person has had in a day.

A line for each, on disk before the request counts as granted. It is kept for longer than any request is
valid: after that the request is refused because it has expired.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

from pseudonym import clock
from pseudonym.approvers import Policy
from pseudonym.roles.kept_lines import KeptLines
from pseudonym.wayback import Spending

LONGEST = Policy().longest
_SPARE = timedelta(days=2)  # a day's end, and other people's clocks


class _Granted(NamedTuple):
    request: str
    person: str
    day: str
    numbers: int


class Spent:
    """The ledger of one role: `wayback.Ledger`."""

    def __init__(
        self, path: Path, longest: timedelta = LONGEST, clock: Callable[[], float] = clock.seconds
    ) -> None:
        """Read what is there, and forget requests that have expired.

        Args:
            path: the file.
            longest: how long a request is valid at most.
            clock: seconds since 1970.

        Raises:
            StoreError: the file is damaged.
        """
        self._lock = threading.Lock()
        self._keep, self._clock = longest + _SPARE, clock
        self._granted: list[_Granted] = []
        self._used: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._file = KeptLines(path, "granted requests", self._read, clock)
        self._shorten()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def spend(self, request: bytes, person: str, day: date, count: int, quota: int) -> Spending:
        """Note that a request is granted, unless it was or the quota ends: see `wayback.Ledger`."""
        name, at = request.hex(), day.isoformat()
        with self._lock:
            if name in self._used:
                return Spending.USED
            if self._counts[person, at] + count > quota:
                return Spending.QUOTA
            if self._file.due():
                self._shorten()
            granted = _Granted(name, person, at, count)
            self._file.add(_line(granted))
            self._note(granted)
        return Spending.DONE

    def _read(self, line: bytes) -> None:
        request, person, day, count = json.loads(line)
        self._note(_Granted(str(request), str(person), date.fromisoformat(day).isoformat(), int(count)))

    def _note(self, granted: _Granted) -> None:
        self._granted.append(granted)
        self._used.add(granted.request)
        self._counts[granted.person, granted.day] += granted.numbers

    def _shorten(self) -> None:
        oldest = (datetime.fromtimestamp(self._clock(), UTC) - self._keep).date().isoformat()
        kept = [granted for granted in self._granted if granted.day >= oldest]
        self._granted, self._used, self._counts = [], set(), Counter()
        for granted in kept:
            self._note(granted)
        self._file.shorten(map(_line, kept))


def _line(granted: _Granted) -> bytes:
    return json.dumps(list(granted)).encode()
