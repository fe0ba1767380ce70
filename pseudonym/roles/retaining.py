"""What of one role is due to be destroyed, and its destruction: keys first, with a certificate.

    every day, by itself: what needs nobody's decision ──▶ certificate, audit log
    asked by a custodian, from a project's end on: what is left of it ──▶ the month's key anew ──▶ certificate

The rules this module keeps:

- Nothing is destroyed before its time: a project only from its end on, as the role's governance file has it.
- A project is done in a role once its certificate is kept; until then it is due, and asking again finishes
  what a crash cut off.
- After the end of a project the key-encrypting key is made anew, so that backups from before open nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pseudonym import clock, uses
from pseudonym.access import Mandate
from pseudonym.errors import ConflictError
from pseudonym.keys import Keyset
from pseudonym.retention import schedules
from pseudonym.roles import checks
from pseudonym.roles.ending import End, kept_certificates, noted
from pseudonym.roles.governance import Governance
from pseudonym.roles.opening import House
from pseudonym.roles.renewing import Renewing


@dataclass(frozen=True, slots=True)
class Due:
    """Something whose time is over.

    Attributes:
        category: of its schedule.
        project: that it belongs to.
        what: it is, in words, without anybody's name.
        since: when it became due.
        automatic: whether the role destroys it by itself, within the day.
    """

    category: str
    project: str
    what: str
    since: datetime
    automatic: bool = True


@dataclass(frozen=True)
class Keeping:
    """What a role keeps for a time.

    Attributes:
        duties: what it does by itself every day, by name.
        listed: what of that is due now.
        category: that of what it has of a project.
        ending: what certificates say of the end of one in this role.
        knows: whether it has, or had, anything of a project.
        renewing: the renewals of its key-encrypting key, if it has one.
    """

    duties: Mapping[str, Callable[[], int]]
    listed: Callable[[], Iterable[Due]]
    category: str
    ending: str
    knows: Callable[[str], bool]
    renewing: Renewing | None = None


class Retaining:
    """The retention of one role; usable from any thread.

    Args:
        house: of the role.
        told: when projects end.
        keeping: what it keeps.
        end: ends a project in it.
    """

    def __init__(self, house: House, told: Governance, keeping: Keeping, end: End) -> None:
        self._house, self._told, self._keeping, self._end = house, told, keeping, end
        self._certificates = kept_certificates(house)
        self._turn = threading.Lock()

    def due(self) -> list[Due]:
        """What is due, the longest due first."""
        ended = [
            Due(self._keeping.category, name, "what is left of the project", end, automatic=False)
            for name, end in self._told.ends.items()
            if self._is_due(name)
        ]
        return sorted([*self._keeping.listed(), *ended], key=lambda one: (one.since, one.project, one.what))

    def reason(self, due: Due) -> str:
        """Why it is destroyed: the reason of the project's schedule, or of the ready-made one."""
        record = self._told.records.get(due.project)
        own = record.schedules.find(due.category) if record else None
        return (own or schedules.read().category(due.category)).reason

    def run(self, mandate: checks.Mandate, asked: Mandate) -> list[bytes]:
        """Destroy what is due: all that every day does, and the mandate's project if it has ended.

        Returns:
            The certificates of what was destroyed.

        Raises:
            ConflictError: the key-encrypting key is being renewed; nothing was destroyed.
        """
        with self._turn:
            before = self._certificates.all()
            ends, renewing = self._is_due(mandate.project), self._keeping.renewing
            if ends and renewing and renewing.under_way not in (None, mandate.project):
                raise ConflictError("The key-encrypting key is being renewed.", "Wait until that is done.")
            for duty in self._keeping.duties.values():
                duty()
            if ends:
                certificate = self._end(mandate.project, asked)
                if renewing is not None and renewing.under_way is None:
                    renewing.begin(mandate, asked.actor, _next_kek(self._house.keyset))
                noted(self._house, mandate.project, asked, certificate)
            return [one for one in self._certificates.all() if one not in before]

    def end_of(self, project: str) -> datetime | None:
        """When a project ends, as the role was told."""
        return self._told.ends.get(project)

    def certificates(self) -> list[bytes]:
        """All that are kept, those of renewed key-encrypting keys among them, the earliest first."""
        renewed = self._keeping.renewing.certificates() if self._keeping.renewing else []
        return sorted([*self._certificates.all(), *renewed], key=lambda one: str(json.loads(one)["when"]))

    def _is_due(self, project: str) -> bool:
        end = self._told.ends.get(project)
        if end is None or clock.now() < end or not self._keeping.knows(project):
            return False
        return not self._certificates.tell(project, self._keeping.ending)


def moment(seconds: float) -> datetime:
    """A time of the store's clock."""
    return datetime.fromtimestamp(seconds, UTC)


def _next_kek(keyset: Keyset) -> str:
    """The month of the next key-encrypting key: this one, or the next key of the month that has one."""
    named = [key.use for key in keyset.keys if key.use.startswith(f"{uses.KEK}:")]
    month, number = max(uses.place_of_month(uses.read(use).labels[0]) for use in named)
    present = uses.month_of(clock.now())
    return present if present > month else f"{month}.{number + 1}"
