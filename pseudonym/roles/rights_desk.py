"""People's requests at the identity role: taken in, listed, decided, and their answers read.

    asked ─▶ found in the vault ─▶ case ─▶ decided, with what changes here (one transaction) ─▶ `carrying`

The rules this module keeps:

- A decision and what it changes in the vault are on disk together, or neither is.
- Whoever takes a request in is not told whether anybody was found.
- Nothing by which a person was sought, or that was corrected, is kept of a request: that it is the same one
  again is told by 16 bits of a keyed function.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from pseudonym.casebook import Casebook
from pseudonym.errors import (
    ConflictError,
    EndedError,
    InputError,
    NotFoundError,
    PseudonymError,
    SubjectMissingError,
)
from pseudonym.openings import Mandate
from pseudonym.rights import correcting
from pseudonym.rights.cases import Asker, Case, Decision, Delay, Found, Proof, State
from pseudonym.rights.halves import ATTRIBUTES, IDENTITY
from pseudonym.rights.reasons import Right
from pseudonym.roles import checks
from pseudonym.roles.answering import day_of
from pseudonym.roles.carrying import ANSWERED, Carrying
from pseudonym.roles.refusals import RequestIdError
from pseudonym.seeking import Sought, seek
from pseudonym.vault import Vault


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is taken in.

    Attributes:
        mandate: of the call.
        opener: who takes it in, as in the certificate.
        right: what is asked for.
        received: the day it came.
        asker: who asks.
        proofs: how it was checked.
        sought: who is meant; several only where it is asked whether data are used.
        lifts: of a lifting, the case that it ends.
        own: whose that case must be; anybody's where it is empty.
    """

    mandate: checks.Mandate
    opener: str
    right: Right
    received: date
    asker: Asker
    proofs: tuple[Proof, ...]
    sought: tuple[Sought, ...]
    lifts: str = ""
    own: str = ""


class RightsDesk:
    """The requests of people at one identity role; usable from any thread.

    Args:
        vault: the role's.
        casebook: the cases.
        carrying: carries out what was decided.
        ended: whether a project's end is past.
        numberless: the ids of all whose NHS number is not to be used.
        spelt: how corrected values are kept, and which can be nobody's.
    """

    def __init__(
        self,
        vault: Vault,
        casebook: Casebook,
        carrying: Carrying,
        ended: Callable[[str], bool],
        numberless: Callable[[], set[bytes]],
        spelt: correcting.Spelt,
    ) -> None:
        self._vault, self._casebook, self._carrying, self._ended = vault, casebook, carrying, ended
        self._numberless, self._spelt = numberless, spelt
        self._store = vault.tools.store
        self._deciding = threading.Lock()

    def today(self) -> date:
        """The day, by the clock of the role's store."""
        return day_of(self._store.today())

    def open(self, asked: Asked, case_id: str, tag: str) -> Case:
        """Take a request in, and look for the person.

        Args:
            asked: the request.
            case_id: made of the request's id.
            tag: what the request is known again by.

        Raises:
            RequestIdError: the id was used for another request.
            InputError: too little is given of the person, or the day is not one on which it can have come.
            EndedError: the project has ended, and something else is asked than whether data are used.
            PurposeError, QuotaError: the vault is not opened for this.
        """
        known = None
        with suppress(NotFoundError):
            known = self._casebook.get(asked.mandate.project, case_id)
        if known is not None:
            return _same(known, tag)
        if asked.received > self.today():
            raise InputError("The request is of a day that is still to come.", "Correct the day.")
        pids, found = self._lifted(asked) if asked.right is Right.LIFTING else self._sought(asked)
        case = Case(
            case_id,
            asked.mandate.project,
            asked.right,
            asked.opener,
            tag,
            asked.received,
            asked.asker,
            asked.proofs,
            found,
            asked.lifts,
        )
        return _same(self._casebook.add(case, pids), tag)

    def _sought(self, asked: Asked) -> tuple[list[bytes], Found]:
        if self._ended(asked.mandate.project):
            if asked.right is Right.USED:
                return [], Found.UNRESOLVABLE
            raise EndedError("The project has ended.", "Its data are destroyed, or are being destroyed.")
        why = Mandate(asked.opener, asked.mandate.purpose, asked.mandate.project)
        several = asked.right is Right.USED
        if not 1 <= len(asked.sought) <= (20 if several else 1):
            raise InputError("A request is of one person.", "Describe that person alone.")
        pids, found = list[bytes](), Found.NOBODY
        for one in asked.sought:
            try:
                pids += seek(self._vault, [one], why)
            except SubjectMissingError:
                continue
            except ConflictError:
                found = Found.SEVERAL
        return list(dict.fromkeys(pids)), Found.ONE if pids else found

    def _lifted(self, asked: Asked) -> tuple[list[bytes], Found]:
        ended = self.get(asked.mandate.project, asked.lifts, asked.own)
        if not ended.in_force:
            raise ConflictError("That case keeps nobody's data from being used.", "List the cases.")
        pids = self._casebook.persons(ended)
        return pids, Found.ONE if pids else Found.NOBODY

    def get(self, project: str, case_id: str, opener: str = "") -> Case:
        """A case; of an opener, if it took the case in itself.

        Raises:
            NotFoundError: there is none.
        """
        case = self._casebook.get(project, case_id)
        if opener and case.opener != opener:
            # In the same words as where there is none at all.
            return self._casebook.get("", case_id)
        return case

    def all(self, project: str, opener: str = "", *, closed: bool = False) -> list[Case]:
        """The cases of a project, or those that an opener took in, by the last day: what is overdue first."""
        found = [one for one in self._casebook.all(project) if not opener or one.opener == opener]
        found = [one for one in found if closed or one.state is not State.CLOSED]
        return sorted(found, key=lambda one: (one.state is State.CLOSED, one.due, one.case_id))

    def extend(self, project: str, case_id: str, delay: Delay) -> Case:
        """Give a case two more months. Raises ConflictError if it cannot have them."""
        with self._casebook.changing(self._casebook.get(project, case_id)) as (_, case, put):
            extended = case.extended(delay, self.today())
            put(extended)
        return extended

    def decide(
        self,
        mandate: checks.Mandate,
        decider: str,
        case_id: str,
        decision: Decision,
        proofs: Sequence[Proof],
        corrections: Mapping[str, str],
        tag: str,
    ) -> Case:
        """Decide a case, and do what can be done at once.

        Args:
            mandate: of the call.
            decider: who decides.
            case_id: the case.
            decision: the decision.
            proofs: how it was checked who asks, if that was not said before.
            corrections: of a rectification, the values by field.
            tag: what the decision is known again by.

        Returns:
            The case as it stands then.

        Raises:
            NotFoundError: there is none, or nobody stands behind it any more.
            ConflictError: it was decided otherwise.
            InputError: the decision cannot be of this case.
            PurposeError, QuotaError: identities are not opened for this.
        """
        before = self._casebook.get(mandate.project, case_id)
        pids = self._vault.all_ids(self._casebook.persons(before))
        decided = before.decide(
            decision, proofs, by=decider, purpose=mandate.purpose, tag=tag, today=self.today()
        )
        if corrections and decision.truth is None:
            raise InputError(
                "Corrected values stand where a rectification is granted.", "Leave --correct out."
            )
        if decision.truth is not None:
            corrections = correcting.spelling(corrections, decision.truth, self._spelt, self.today())
        if corrections.get("nhs") and not self._numberless().isdisjoint(pids):
            raise InputError(
                "The NHS number of this person is not to be used.", "Leave it out of the corrections."
            )
        if decided is not before:
            if decided.granted and decided.right is not Right.USED:
                why = Mandate(decider, mandate.purpose, mandate.project)
                self._vault.tools.openings.check(why)
                if corrections:
                    references = self._vault.references(pids)
                    self._vault.tools.openings.admit(why, "rectify", len(pids), references)
            with self._deciding, self._casebook.changing(before) as (at, case, put):
                # Somebody else may have decided it meanwhile.
                decided = case.decide(
                    decision, proofs, by=decider, purpose=mandate.purpose, tag=tag, today=self.today()
                )
                if decided is not case:
                    put(self._carrying.begin(at, decided, pids, corrections, put))
            self._store.purge_if_due()
        with suppress(PseudonymError):
            self._carrying.advance(case_id, mandate.project)
        self._carrying.rounds.soon()
        return self._casebook.get(mandate.project, case_id)

    def references(self, case: Case) -> list[bytes]:
        """What the audit log calls the person of a case."""
        return self._vault.references(self._casebook.persons(case))

    def answer(self, case: Case) -> dict[str, bytes]:
        """The sealed halves of the answer to a case.

        Raises:
            ConflictError: there is none, not all of it is there yet, or it is kept no longer.
        """
        found = self._casebook.answers(case)
        if found.keys() != {IDENTITY, ATTRIBUTES}:
            late = case.state is State.CLOSED and case.granted and case.right in ANSWERED
            raise ConflictError(
                "The answer is kept no longer." if late else "There is no answer to read yet.",
                "Have the request opened again." if late else "kinlink rights show says how far the case is.",
            )
        return found


def _same(case: Case, tag: str) -> Case:
    if case.tag != tag:
        raise RequestIdError(
            "The request id was used for another request.", "Make a new id for each request."
        )
    return case
