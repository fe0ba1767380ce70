"""The time, as everything here takes it: this machine's, or in development so many days ahead of it.

What a month or the end of a study does can be seen without waiting for it: `server.py --days-ahead 31`. TLS
goes by the machine's own clock all the same, so that certificates stay what they are.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Final

DAY: Final = 86_400
_ahead = 0  # seconds


def set_ahead(days: int) -> None:
    """Let the time be so many days ahead of this machine's: in development, before anything is opened."""
    global _ahead
    _ahead = days * DAY


def seconds() -> float:
    """Seconds since 1970."""
    return time.time() + _ahead


def microseconds() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000 + _ahead * 1_000_000


def now() -> datetime:
    """The time, in UTC."""
    return datetime.fromtimestamp(seconds(), UTC)


def today() -> date:
    """The day, in UTC."""
    return now().date()
