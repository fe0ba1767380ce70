"""The time of an audit log, which never goes back."""

from __future__ import annotations

from collections.abc import Callable

from pseudonym import clock
from pseudonym.errors import AuditClockError

TOLERANCE = 2_000_000  # microseconds that a clock may be set back without harm

Clock = Callable[[], int]
"""Microseconds since the beginning of 1970, UTC."""


def system_clock() -> int:
    """The time as `pseudonym.clock` has it."""
    return clock.microseconds()


def later(now: int, last: int) -> int:
    """The time of the next entry.

    Args:
        now: what the clock says.
        last: the time of the entry before.

    Raises:
        AuditClockError: the clock is behind by more than the tolerance.
    """
    if now < last - TOLERANCE:
        behind = (last - now) / 1_000_000
        raise AuditClockError(
            f"The clock is {behind:.0f} seconds behind the last entry of the audit log.",
            "Set the clock right. If it was ahead when that was written: kinlink audit clock-was-ahead.",
        )
    return max(now, last)
