"""By when a request has to be answered: one month after it came, two more where that is said in time.

UK GDPR Article 12(3). A month ends on the day of the same number in the next month, or on that month's last
day where it has none of this number. Nothing is moved for weekends or holidays: the last day is the strict
one.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from enum import StrEnum

MONTHS, MORE = 1, 2
SOON = timedelta(days=7)
"""How long before its last day a case is said to be due soon."""


class Urgency(StrEnum):
    """How near the end of its clock a case is."""

    OVERDUE = "overdue"
    SOON = "soon"
    RUNNING = "running"
    STOPPED = "stopped"  # decided, and carried out


def after(day: date, months: int) -> date:
    """The day so many months later, the month's last where it has no such day."""
    year, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + year, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def due(received: date, *, extended: bool) -> date:
    """The last day on which a request can be answered in time."""
    return after(received, MONTHS + MORE if extended else MONTHS)


def urgency(last: date, today: date, *, closed: bool) -> Urgency:
    """How near the end is."""
    if closed:
        return Urgency.STOPPED
    if today > last:
        return Urgency.OVERDUE
    return Urgency.SOON if last - today <= SOON else Urgency.RUNNING
