"""The National Data Opt-out: which NHS numbers were sent to be checked, and which came back.

    numbers ──▶ sent ──MESH, by hand──▶ cleared ──age limit, counted from the sending──▶ destroyed
                                           └──▶ gate: may a health register be linked, and with whom

The rules this module keeps:

- Nothing of it stands with a person. What is cleared is a list of its own, under a key of its own, which is
  destroyed on the day that was agreed; a newer list takes its place before.
- Who is not in the cleared list is not used: whoever opted out, and whoever came after the list was sent.
- A list that comes back holds nothing that was not sent, and comes back in time.
- Without a fresh list a register is refused, unless somebody recorded why the opt-out does not apply to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

import polars as pl

from pseudonym.errors import ConflictError, InputError, NotFoundError, OptOutMissingError, OptOutStaleError
from pseudonym.optouts import mesh
from pseudonym.optouts.agreed import Agreed

DAY: Final = 86_400
SENT, CLEARED, DESTROYED = "sent", "cleared", "destroyed"


class Reason(StrEnum):
    """Why the opt-out does not apply to a dataset, as its operational policy has it."""

    CONSENT = "explicit-consent"
    LAW = "legal-requirement"
    PUBLIC_INTEREST = "overriding-public-interest"
    PUBLIC_HEALTH = "risk-to-public-health"
    ANONYMISED = "anonymised"
    OFFICIAL_STATISTICS = "official-statistics"
    MADE_UP = "made-up-data"


class Notes(Protocol):
    """Where it is noted what was checked, without any number: durable, each whole or gone."""

    def write(self, name: str, content: dict[str, Any]) -> None: ...

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]: ...

    def remove(self, name: str) -> None: ...


class Lists(Protocol):
    """Where numbers are kept, sealed under a key for each check that can be destroyed."""

    def put(self, check: str, which: str, content: bytes) -> None:
        """Keep a list; it is on disk when this returns."""

    def get(self, check: str, which: str) -> bytes:
        """A list. Raises NotFoundError where there is none (any more)."""

    def destroy(self, check: str) -> None:
        """Destroy the key and delete the lists; it may be repeated."""

    def names(self) -> set[str]:
        """The checks of which there are lists."""


@dataclass(frozen=True, slots=True)
class Check:
    """One list that was sent, as it is noted.

    Attributes:
        name: its id here.
        project: whose health registers it is for.
        request_id: of the request that had it made.
        file: what it is called.
        sent: when, seconds since 1970.
        expires: when what came back is used no longer.
        state: `sent`, `cleared` or `destroyed`.
        count: numbers that were sent.
        cleared: numbers that came back.
        answered: whether it ever was cleared.
    """

    name: str
    project: str
    request_id: str
    file: str
    sent: int
    expires: int
    state: str
    count: int
    cleared: int = 0
    answered: bool = False

    @property
    def removed(self) -> int:
        """Numbers that did not come back, once it is cleared."""
        return self.count - self.cleared


@dataclass(frozen=True, slots=True)
class Exemption:
    """Why the opt-out does not apply to a register: decided, with a reference."""

    project: str
    register: str
    reason: str
    reference: str
    actor: str
    when: int
    ended: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What lets a health register be linked.

    Attributes:
        until: until when, seconds since 1970; 0 where nothing was exempted and nothing need be checked.
        basis: how it is told on: `list`, or `exempt`, the reason and the reference.
        cleared: the numbers that may be used, or None for all.
    """

    until: int
    basis: str
    cleared: pl.Series | None


class Checks:
    """The checks of one identity role; not to be used from two threads at once.

    Args:
        notes: see `Notes`.
        lists: see `Lists`.
        clock: seconds since 1970.
    """

    def __init__(self, notes: Notes, lists: Lists, clock: Callable[[], float]) -> None:
        self._notes, self._lists, self._clock = notes, lists, clock
        found = dict(notes.all())
        self._checks = {name: Check(**content) for name, content in found.items() if name.startswith("ck-")}
        self._exemptions = {
            name: Exemption(**content) for name, content in found.items() if name.startswith("ex-")
        }
        for name in lists.names() - self._checks.keys():  # a crash came before it was noted
            lists.destroy(name)

    def export(
        self, project: str, request_id: str, agreed: Agreed, numbers: Callable[[], pl.Series]
    ) -> tuple[Check, bytes]:
        """Have a list of numbers made, unless the request had one made before: the list, and its file.

        Raises:
            NotFoundError: the request's list was destroyed meanwhile.
        """
        known = next((one for one in self._checks.values() if one.request_id == request_id), None)
        if known is not None:
            if known.project != project:
                raise ConflictError("The request id was used for another request.", "Make a new id.")
            return known, self._lists.get(known.name, SENT)
        now = int(self._clock())
        today = [one for one in self._checks.values() if one.sent // DAY == now // DAY]
        asked = numbers().unique().sort()
        file = mesh.file_name(agreed.mailbox, _day(now), len(today) + 1)
        content = mesh.written(asked.to_list())
        name = f"ck-{now}-{len(self._checks)}"
        self._lists.put(name, SENT, content)
        expires = now + agreed.days * DAY
        return self._note(Check(name, project, request_id, file, now, expires, SENT, len(asked))), content

    def take(self, project: str, file: str, content: bytes) -> Check:
        """Take in a list that came back; the same again changes nothing.

        Raises:
            NotFoundError: no list of this name was sent for the project.
            OptOutStaleError: it comes too late.
            InputError: it is not of the form, or holds what was not sent.
            ConflictError: another answer to the list was taken in before.
        """
        mesh.check_name(file)
        found = [one for one in self._checks.values() if (one.project, one.file) == (project, file)]
        if not found:
            raise NotFoundError(
                "No list of this name was sent for the project.", "Give the name it was sent by."
            )
        (check,) = found
        now = int(self._clock())
        if check.state not in (SENT, CLEARED) or now >= check.expires:
            raise OptOutStaleError(
                "The list was sent too long ago: people may have opted out since.", "Send a new one."
            )
        numbers = mesh.read(content)
        if check.state == CLEARED:
            if self._lists.get(check.name, CLEARED) != content:
                raise ConflictError("Another answer to this list was taken in.", "Send a new list.")
            return check
        sent = mesh.read(self._lists.get(check.name, SENT))
        strange = len(numbers) - int(numbers.is_in(sent.implode()).sum())
        if strange:
            raise InputError(
                f"{strange} numbers of the list were not in the one that was sent.",
                "It is the answer to another list: give the name of that one.",
            )
        self._lists.put(check.name, CLEARED, content)
        taken = self._note(replace(check, state=CLEARED, cleared=len(numbers), answered=True))
        for other in self._checks.values():
            if other.project == project and other.sent <= check.sent and other.name != check.name:
                self._destroy(other)
        return taken

    def exempt(self, exemption: Exemption) -> Exemption:
        """Record why the opt-out does not apply to a register.

        Raises:
            InputError: the reason is none.
        """
        if exemption.reason not in set(Reason):
            raise InputError("This is no reason for an exemption.", f"They are {', '.join(Reason)}.")
        name, known = self._exempted(exemption.project, exemption.register)
        if known is not None and replace(known, when=exemption.when) == exemption:
            return known
        self._exemptions[name] = exemption
        self._notes.write(name, asdict(exemption))
        return exemption

    def end_exemption(self, project: str, register: str) -> bool:
        """End one: from now on a fresh list is asked for; whether there was one."""
        name, known = self._exempted(project, register)
        if known is None or known.ended:
            return False
        self._exemptions[name] = replace(known, ended=int(self._clock()))
        self._notes.write(name, asdict(self._exemptions[name]))
        return True

    def gate(self, project: str, register: str, *, read: bool = True) -> Passed:
        """What lets a health register of a project be linked now.

        Args:
            project: its name.
            register: its code.
            read: whether the numbers are asked for as well.

        Raises:
            OptOutMissingError: no list came back for the project, and nothing exempts the register.
            OptOutStaleError: the list that came back is too old.
        """
        exemption = self._exempted(project, register)[1]
        if exemption is not None and not exemption.ended:
            return Passed(0, f"exempt {exemption.reason} {exemption.reference}", None)
        cleared = [one for one in self._checks.values() if one.project == project and one.answered]
        if not cleared:
            raise OptOutMissingError(
                "No list of the National Data Opt-out came back for this project.",
                "The data protection officer sends one: kinlink optout export.",
            )
        newest = max(cleared, key=lambda one: one.sent)
        if newest.state != CLEARED or self._clock() >= newest.expires:
            raise OptOutStaleError(
                "The list of the National Data Opt-out is too old: people may have opted out since.",
                "The data protection officer sends a new one: kinlink optout export.",
            )
        numbers = mesh.read(self._lists.get(newest.name, CLEARED)) if read else None
        return Passed(newest.expires, "list", numbers)

    def destroy_due(self) -> int:
        """Destroy the lists whose time is over; how many there were."""
        now = self._clock()
        due = [one for one in self._checks.values() if one.state in (SENT, CLEARED) and now >= one.expires]
        for one in due:
            self._destroy(one)
        return len(due)

    def forget_project(self, project: str) -> tuple[int, int]:
        """Destroy a project's lists and delete its exemptions; it may be repeated.

        That a list was sent stays noted, without a number: it keeps names of files from coming twice.

        Returns:
            How many lists and exemptions they were.
        """
        lists = [one for one in self.checks(project) if one.state != DESTROYED]
        for one in lists:
            self._destroy(one)
        exemptions = [name for name, one in self._exemptions.items() if one.project == project]
        for name in exemptions:
            self._notes.remove(name)
            del self._exemptions[name]
        return len(lists), len(exemptions)

    def knows(self, project: str) -> bool:
        """Whether a list was ever sent for a project, or a register of it exempted."""
        noted = [one.project for one in self._checks.values()]
        return project in noted or project in [one.project for one in self._exemptions.values()]

    def checks(self, project: str) -> list[Check]:
        """The checks of a project, the oldest first."""
        return sorted(
            (one for one in self._checks.values() if one.project == project), key=lambda one: one.sent
        )

    def exemptions(self, project: str) -> list[Exemption]:
        """The exemptions that hold in a project, by register."""
        found = [one for one in self._exemptions.values() if one.project == project and not one.ended]
        return sorted(found, key=lambda one: one.register)

    def _exempted(self, project: str, register: str) -> tuple[str, Exemption | None]:
        """The name of a register's exemption, and the exemption, if there ever was one."""
        for name, one in self._exemptions.items():
            if (one.project, one.register) == (project, register):
                return name, one
        return f"ex-{os.urandom(8).hex()}", None

    def _destroy(self, check: Check) -> None:
        self._lists.destroy(check.name)
        if check.state != DESTROYED:
            self._note(replace(check, state=DESTROYED))

    def _note(self, check: Check) -> Check:
        self._checks[check.name] = check
        self._notes.write(check.name, asdict(check))
        return check


def within(people: Sequence[bytes], numbers: pl.DataFrame, cleared: pl.Series) -> set[bytes]:
    """Of people those who may be used: every number that is known of them came back, former ones too.

    Args:
        people: their ids.
        numbers: pid and nhs, a row for each number; who has none has nothing that could be looked up.
        cleared: the numbers that came back.
    """
    away = numbers.filter(~pl.col("nhs").is_in(cleared.implode()))["pid"].unique().to_list()
    return set(people).difference(away)


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
