"""A council's book: how long its records are kept, who leads, and how much was claimed. Rules without files.

The rules this module keeps:

- A record is kept at least as long as its schedule says; each contact begins the time anew. Before that it is
  deleted for a right that was exercised, or by a law, and else not at all.
- A family has one lead professional at a time, and an enquiry is answered with the name and nothing else.
- Professionals are people of their own category: what is kept of them has a schedule of its own, is in no
  record of a family but as a code, and goes when they have left for long enough.
- Claims are counts. No family is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final, Self

from pseudonym.errors import InputError, LeadError, NotFoundError, RetentionError
from pseudonym.lawful.sharing import Wish
from pseudonym.retention.schedules import Clock, Kind, Schedules, Store
from pseudonym.urn import check_label

PROFESSIONAL: Final = "professional-record"
LONGEST: Final = 200  # characters


class Right(StrEnum):
    """A right for which a record may be deleted early."""

    ERASURE = "erasure"
    OBJECTION = "objection"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one record: when the last contact was, and when it was closed, or None."""

    last_contact: date
    closed: date | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """Who leads for a family: the professional's code, since when, and until when, or None."""

    professional: str
    since: date
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One family by the council's own reference.

    Attributes:
        records: by category.
        leads: the earliest first; at most the last has no end.
        wishes: what showed that the family wishes for a service, and when.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    leads: tuple[Lead, ...] = ()
    wishes: tuple[tuple[Wish, date], ...] = ()

    @property
    def lead(self) -> Lead | None:
        """Who leads now."""
        return self.leads[-1] if self.leads and self.leads[-1].until is None else None


@dataclass(frozen=True, slots=True)
class Professional:
    """Somebody who works with families.

    Attributes:
        name: as enquirers are told.
        contact: for the council alone.
        left: when they left, or None.
    """

    name: str
    contact: str = ""
    left: date | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """How many families were in the programme in a period, how many were claimed for, by what evidence."""

    cohort: int
    claimed: int
    evidence: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Over:
    """Something whose time is over: a maximum is destroyed, a minimum looked at by somebody."""

    category: str
    of: str
    since: date
    kind: Kind


@dataclass(frozen=True, slots=True)
class Book:
    """All that is recorded; each change gives a new one.

    Attributes:
        schedules: by which things are kept.
        families: by the council's reference.
        professionals: by code.
        claims: by period.
    """

    schedules: Schedules
    families: Mapping[str, Family] = field(default_factory=dict)
    professionals: Mapping[str, Professional] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)

    # --- records and their time ---------------------------------------------------------------------

    def contact(self, family: str, category: str, day: date) -> Self:
        """Note a contact; the time of the record begins anew with the latest.

        Raises:
            LawError: the category has no schedule.
            InputError: it is no category of a council's records.
        """
        self._council(category)
        found = self.families.get(_text(family, "family"), Family())
        before = found.records.get(category)
        record = Record(max(day, before.last_contact) if before else day)  # a contact opens it again
        return self._put(family, replace(found, records={**found.records, category: record}))

    def close(self, family: str, category: str, day: date) -> Self:
        """Note that a record was closed.

        Raises:
            NotFoundError: there is none.
            InputError: there was a later contact.
        """
        found, record = self._record(family, category)
        if day < record.last_contact:
            raise InputError("There was a contact after this day.", "Close it on that day or later.")
        return self._put(
            family, replace(found, records={**found.records, category: replace(record, closed=day)})
        )

    def wish(self, family: str, wish: Wish, day: date) -> Self:
        """Note what shows that a family wishes for a service.

        Raises:
            NotFoundError: the family is not known.
        """
        found = self._family(family)
        wishes = tuple(sorted({*found.wishes, (wish, day)}, key=lambda one: (one[1], one[0])))
        return self._put(family, replace(found, wishes=wishes))

    def until(self, family: str, category: str) -> date | None:
        """Until when a record is kept at least; None as long as nothing has started its time.

        Raises:
            NotFoundError: there is no such record.
        """
        _, record = self._record(family, category)
        schedule = self._council(category)
        start = record.closed if schedule.clock is Clock.CLOSURE else record.last_contact
        return None if start is None else schedule.until(start)

    def delete(
        self, family: str, category: str, today: date, right: Right | None = None, law: str = ""
    ) -> Self:
        """Delete a record whose time is over, or earlier for a right or by a law.

        Args:
            family: its reference.
            category: of the record.
            today: the day.
            right: that was exercised.
            law: that asks for it: a code of the council's own.

        Raises:
            NotFoundError: there is no such record.
            RetentionError: it has to be kept longer.
        """
        found, _ = self._record(family, category)
        until = self.until(family, category)
        if self._council(category).kind is Kind.MINIMUM and not (right or law):
            if until is None:
                raise RetentionError(
                    "The record is open, and kept until its time has begun and is over.",
                    "Close it first, or name the right or the law for which it is deleted.",
                )
            if today < until:
                raise RetentionError(
                    f"The record is kept until {until} at least.",
                    "Delete it then, or name the right or the law for which it is deleted earlier.",
                )
        left = {name: one for name, one in found.records.items() if name != category}
        # With its last record the family goes, with leads and wishes.
        families = {name: one for name, one in self.families.items() if name != family}
        return replace(
            self, families={**families, family: replace(found, records=left)} if left else families
        )

    def over(self, today: date) -> list[Over]:
        """What has been kept for as long as its schedule says, the longest over first."""
        found = []
        for family, one in self.families.items():
            for category in one.records:
                until = self.until(family, category)
                if until is not None and until <= today:
                    found.append(Over(category, family, until, self._council(category).kind))
        for code, somebody in self.professionals.items():
            schedule = self.schedules.category(PROFESSIONAL)
            if somebody.left is not None and schedule.until(somebody.left) < today:
                found.append(Over(PROFESSIONAL, code, schedule.until(somebody.left), schedule.kind))
        return sorted(found, key=lambda one: (one.since, one.category, one.of))

    # --- professionals ------------------------------------------------------------------------------

    def add_professional(self, code: str, name: str, contact: str = "") -> Self:
        """Note a professional.

        Raises:
            LawError: there is no schedule for them.
            LeadError: another one has the code.
        """
        self.schedules.category(PROFESSIONAL)
        somebody = Professional(_text(name, "name"), contact)
        if self.professionals.get(check_label(code, "professional"), somebody) != somebody:
            raise LeadError("Another professional has this code.", "Choose one that is free.")
        return replace(self, professionals={**self.professionals, code: somebody})

    def leave(self, code: str, day: date) -> Self:
        """Note that a professional left: they lead for nobody from that day on."""
        somebody = replace(self._professional(code), left=day)
        families = {
            name: replace(one, leads=(*one.leads[:-1], replace(one.lead, until=day)))
            if one.lead and one.lead.professional == code
            else one
            for name, one in self.families.items()
        }
        return replace(self, families=families, professionals={**self.professionals, code: somebody})

    def forget_professional(self, code: str) -> Self:
        """Forget a professional, and where they led."""
        families = {
            name: replace(one, leads=tuple(lead for lead in one.leads if lead.professional != code))
            for name, one in self.families.items()
        }
        left = {name: one for name, one in self.professionals.items() if name != code}
        return replace(self, families=families, professionals=left)

    def set_lead(self, family: str, code: str, day: date) -> Self:
        """Name the lead professional of a family.

        Raises:
            NotFoundError: the family or the professional is not known.
            LeadError: somebody leads already, or the professional has left.
        """
        found, somebody = self._family(family), self._professional(code)
        if found.lead is not None:
            if found.lead == Lead(code, day):
                return self
            raise LeadError("Somebody leads for this family already.", "End that first: kinlink lead end.")
        if somebody.left is not None:
            raise LeadError("The professional has left.", "Name another.")
        if found.leads and day < (found.leads[-1].until or day):
            raise LeadError("Somebody else led on that day.", "Name a later one.")
        return self._put(family, replace(found, leads=(*found.leads, Lead(code, day))))

    def end_lead(self, family: str, day: date) -> Self:
        """End the lead of a family.

        Raises:
            NotFoundError: the family is not known, or nobody leads.
            InputError: the lead began later.
        """
        found = self._family(family)
        if found.lead is None:
            raise NotFoundError("Nobody leads for this family.", "There is nothing to end.")
        if day < found.lead.since:
            raise InputError("The lead began after this day.", "Name a later one.")
        return self._put(family, replace(found, leads=(*found.leads[:-1], replace(found.lead, until=day))))

    def enquire(self, family: str) -> str | None:
        """The name of who leads for a family, and nothing else; None where nobody does or it is unknown."""
        found = self.families.get(family)
        if found is None or found.lead is None:
            return None
        return self.professionals[found.lead.professional].name

    # --- claims -------------------------------------------------------------------------------------

    def claim(self, period: str, claim: Claim) -> Self:
        """Note how many families of a period were in the programme, and claimed for.

        Raises:
            InputError: a number is none, or more were claimed for than there were.
        """
        check_label(period, "period")
        numbers = (claim.cohort, claim.claimed, *claim.evidence.values())
        if min(numbers) < 0 or claim.claimed > claim.cohort:
            raise InputError("More was claimed for than there was, or less than nothing.", "Count again.")
        for code in claim.evidence:
            check_label(code, "evidence")
        return replace(self, claims={**self.claims, period: claim})

    # --- parts --------------------------------------------------------------------------------------

    def _put(self, family: str, found: Family) -> Self:
        return replace(self, families={**self.families, family: found})

    def _family(self, family: str) -> Family:
        if family not in self.families:
            raise NotFoundError("The book has no family of this reference.", "Note a contact first.")
        return self.families[family]

    def _record(self, family: str, category: str) -> tuple[Family, Record]:
        found = self._family(family)
        if category not in found.records:
            raise NotFoundError("The family has no record of this category.", "Note a contact first.")
        return found, found.records[category]

    def _professional(self, code: str) -> Professional:
        if code not in self.professionals:
            raise NotFoundError("The book has no professional of this code.", "Add them first.")
        return self.professionals[code]

    def _council(self, category: str) -> Any:
        schedule = self.schedules.category(category)
        if schedule.store is not Store.COUNCIL or category == PROFESSIONAL:
            raise InputError("It is no category of a council's records of families.", "Name one that is.")
        return schedule


def _text(text: str, what: str) -> str:
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        raise InputError(f"The {what} is 1 to {LONGEST} printable characters.", "Correct it.")
    return text
