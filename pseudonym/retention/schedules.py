"""Schedules: for each category of what is kept how long, from when, and why. What has none is not stored.

    [[schedule]]
    category = "support-record"
    what = "what a council records of its support"
    store = "council"            # identity, broker, attributes, roles (all three), holder, recipient, council
    kind = "minimum"             # kept until then; maximum: destroyed by then
    clock = "last-contact"       # or receipt, project-end, delivery, closure, leaving
    years = 2                    # or days; a clock that is a day itself, project-end, has neither
    basis = "business-practice"  # or law
    reason = "The notice: kept for at least 2 years after our contact stops."
    datasets = ["families"]      # "*" for all; none where the store has no datasets
    gap = true                   # where nobody was told, and the period was set for want of another

The rules this module keeps:

- A minimum and a maximum are different kinds; a record may have one of each where the stores are different.
- Every schedule has its reason, of law or of business practice.
- Periods are of the calendar; where a day does not exist, a maximum ends earlier and a minimum later.
"""

from __future__ import annotations

import calendar
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from pseudonym.errors import InputError, LawError

READY_MADE: Final = Path(__file__).with_name("notice.toml")
EVERY: Final = "*"
_MEMBERS = {
    *("category", "what", "store", "kind", "clock", "days", "years", "basis", "reason", "datasets", "gap"),
}
E = TypeVar("E", bound=StrEnum)
_FORM: Final = "docs/retention.md shows the form."


class Kind(StrEnum):
    """What a schedule asks for."""

    MAXIMUM = "maximum"
    MINIMUM = "minimum"


class Clock(StrEnum):
    """What starts the time of a schedule."""

    RECEIPT = "receipt"
    PROJECT_END = "project-end"
    DELIVERY = "delivery"
    LAST_CONTACT = "last-contact"
    CLOSURE = "closure"
    LEAVING = "leaving"


class Store(StrEnum):
    """Where something is kept."""

    IDENTITY = "identity"
    BROKER = "broker"
    ATTRIBUTES = "attributes"
    HOLDER = "holder"
    RECIPIENT = "recipient"
    COUNCIL = "council"
    ROLES = "roles"  # each of identity, broker and attributes


BASES: Final = ("law", "business-practice")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long one category is kept.

    Attributes:
        category: its code.
        what: what it is, in words.
        store: where.
        kind: maximum or minimum.
        clock: what starts the time.
        days: of the period; 0 where there are years, or the clock is a day itself.
        years: of the period; 0 likewise.
        basis: law or business practice.
        reason: which.
        datasets: that are of the category.
        gap: whether nobody was told of it, so that the period was set for want of another.
    """

    category: str
    what: str
    store: Store
    kind: Kind
    clock: Clock
    basis: str
    reason: str
    days: int = 0
    years: int = 0
    datasets: frozenset[str] = frozenset()
    gap: bool = False

    def until(self, start: date) -> date:
        """The day by which it is destroyed (maximum), or until which it is kept (minimum).

        Args:
            start: the day on which the clock started.
        """
        if not self.years:
            return start + timedelta(days=self.days)
        year = start.year + self.years
        if start.day <= calendar.monthrange(year, start.month)[1]:
            return start.replace(year=year)
        return date(year, 2, 28) if self.kind is Kind.MAXIMUM else date(year, 3, 1)

    @property
    def period(self) -> str:
        """The period in words."""
        if self.clock is Clock.PROJECT_END:
            return "until the study's end"
        count, unit = (self.years, "year") if self.years else (self.days, "day")
        return f"{count} {unit}{'s' if count > 1 else ''} after {self.clock.replace('-', ' ')}"


@dataclass(frozen=True, slots=True)
class Schedules:
    """All schedules of a project, by category."""

    all: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        names = [one.category for one in self.all]
        if len(set(names)) != len(names):
            raise InputError("Two schedules are of one category.", "Each category has one.")

    def find(self, name: str) -> Schedule | None:
        """The schedule of a category, if there is one."""
        return next((one for one in self.all if one.category == name), None)

    def category(self, name: str) -> Schedule:
        """The schedule of a category.

        Raises:
            LawError: there is none (`SCHEDULE_MISSING`).
        """
        if (found := self.find(name)) is not None:
            return found
        raise _missing(f"The category {name}", "Add a schedule of this category")

    def kept(self, store: Store, dataset: str = EVERY) -> Schedule:
        """The schedule under which a store keeps a dataset.

        Raises:
            LawError: there is none (`SCHEDULE_MISSING`): nothing of it is stored.
        """
        for one in self.all:
            if one.store is store and {dataset, EVERY} & one.datasets:
                return one
        what = "Something" if dataset == EVERY else f"Dataset {dataset}"
        raise _missing(f"{what} in the store {store}", f"Add a schedule with this store and {dataset}")


@cache
def read(path: Path = READY_MADE) -> Schedules:
    """Read a file of schedules.

    Raises:
        InputError: it cannot be read, or a schedule lacks something; the message says which.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise InputError(f"The schedules {path.name} cannot be read.", "Name a TOML file.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The schedules {path.name} are no TOML: {error}.", _FORM) from None
    given = content.get("schedule")
    if set(content) != {"schedule"} or not isinstance(given, list):
        raise InputError(f"{path.name} holds no schedules, or something beside them.", _FORM)
    return Schedules(tuple(_schedule(one) for one in given))


def _schedule(content: dict[str, Any]) -> Schedule:
    where = f"The schedule {content.get('category', '')}".rstrip()
    needed = {"category", "what", "store", "kind", "clock", "basis", "reason"}
    if lacking := sorted(name for name in needed if not content.get(name)):
        raise InputError(f"{where} lacks {', '.join(lacking)}.", _FORM)
    if strange := sorted(set(content) - _MEMBERS):
        raise InputError(f"{where} says {', '.join(strange)}, which it cannot.", _FORM)
    clock = _one(Clock, content["clock"], f"{where}: its clock")
    periods = [content.get(name, 0) for name in ("days", "years")]
    if any(type(one) is not int or one < 0 for one in periods):
        raise InputError(f"{where} has a period that is no number of days or years.", _FORM)
    if sum(map(bool, periods)) != (clock is not Clock.PROJECT_END):
        raise InputError(
            f"{where} has no period, or two.", "Give days or years; until the project's end it has neither."
        )
    if content["basis"] not in BASES:
        raise InputError(f"{where} has no reason in law or business practice.", f"{' or '.join(BASES)}.")
    return Schedule(
        content["category"],
        content["what"],
        _one(Store, content["store"], f"{where}: its store"),
        _one(Kind, content["kind"], f"{where}: its kind"),
        clock,
        content["basis"],
        content["reason"],
        days=periods[0],
        years=periods[1],
        datasets=frozenset(_names(content.get("datasets", []), where)),
        gap=bool(content.get("gap", False)),
    )


def _names(given: Any, where: str) -> Iterable[str]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise InputError(f"The datasets of {where.lower()} are no list of names.", _FORM)
    return given


def _one(kind: type[E], value: Any, what: str) -> E:
    if value not in list(kind):
        raise InputError(f"{what} is none that is known.", f"There are {', '.join(kind)}.")
    return kind(value)


def _missing(what: str, help: str) -> LawError:
    return LawError(
        "SCHEDULE_MISSING",
        f"{what} has no schedule that says how long it is kept, and why.",
        f'{help} to a file, and name it under "schedules" of the project; docs/retention.md shows the form.',
    )
