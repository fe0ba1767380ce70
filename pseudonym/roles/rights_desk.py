"""People's requests at the identity role: taken in, decided, and carried out over all three roles.

    asked ─▶ found in the vault ─▶ case ─▶ decided, with what changes here (one transaction)
                                             ─▶ errands: the attributes role follows the broker ─▶ closed

The rules this module keeps:

- A decision and what it changes in the vault are on disk together, or neither is. From then on every step is
  done, if need be after a crash or once the broker can be reached again, and may be done twice.
- Errands go out in the order of the decisions, so that what was lifted is not marked anew.
- Whoever takes a request in is not told whether anybody was found.
- Nothing by which a person was sought, or that was corrected, is kept of a request: that it is the same one
  again is told by 16 bits of a keyed function.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date

from pseudonym import hpke
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
from pseudonym.people import People
from pseudonym.rectifying import rectify
from pseudonym.rights import correcting
from pseudonym.rights.cases import Asker, Case, Decision, Delay, Found, Proof, State, Used
from pseudonym.rights.halves import ATTRIBUTES, IDENTITY, context
from pseudonym.rights.marks import Mark, mark_of
from pseudonym.rights.reasons import Right
from pseudonym.roles import checks
from pseudonym.roles.answering import Answering, day_of
from pseudonym.roles.erasing import Erasing
from pseudonym.roles.peer import Peer
from pseudonym.roles.refusals import RequestIdError
from pseudonym.roles.rounds import Rounds
from pseudonym.seeking import Sought, seek
from pseudonym.storage.rows import At
from pseudonym.subjects import LIVING
from pseudonym.subjects import State as Allowed
from pseudonym.v1 import common_pb2
from pseudonym.v1 import rights_errand_pb2 as pb
from pseudonym.vault import Vault

METHOD = "/pseudonym.v1.RightsErrandService/SendErrand"
EVERY = 5.0  # seconds between rounds, as long as something is pending
IDLE = 3_600.0
PATIENCE = 3.0  # seconds for which the broker is tried again: the rounds come back to it
_KIND = pb.ErrandKind
_ERRANDS: Mapping[Right, pb.ErrandKind] = {
    Right.USED: _KIND.ERRAND_KIND_LOCATE,
    Right.ACCESS: _KIND.ERRAND_KIND_COPY,
    Right.PORTABILITY: _KIND.ERRAND_KIND_PROVIDED,
    Right.EXPLANATION: _KIND.ERRAND_KIND_LINKS,
    Right.RECTIFICATION: _KIND.ERRAND_KIND_UNLINK,
    Right.RESTRICTION: _KIND.ERRAND_KIND_MARK,
    Right.OBJECTION: _KIND.ERRAND_KIND_MARK,
    Right.LIFTING: _KIND.ERRAND_KIND_MARK,
}
ANSWERED = frozenset({Right.ACCESS, Right.PORTABILITY, Right.EXPLANATION})
"""What is answered in two halves."""


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
    """

    mandate: checks.Mandate
    opener: str
    right: Right
    received: date
    asker: Asker
    proofs: tuple[Proof, ...]
    sought: tuple[Sought, ...]
    lifts: str = ""


class RightsDesk:
    """The requests of people at one identity role; usable from any thread.

    Args:
        vault: the role's.
        people: the persons in it.
        casebook: the cases.
        answering: gathers what is held.
        erasing: erases over all three roles.
        broker: gives the broker, or raises why it cannot be called.
        officer: the data protection officer's public key, 32 bytes.
        ended: whether a project's end is past.
        failed: is told the reason when a round does not succeed.
    """

    def __init__(
        self,
        vault: Vault,
        people: People,
        casebook: Casebook,
        answering: Answering,
        erasing: Erasing,
        broker: Callable[[], Peer],
        officer: bytes,
        ended: Callable[[str], bool],
        failed: Callable[[str], object],
    ) -> None:
        self._vault, self._people, self._casebook = vault, people, casebook
        self._answering, self._erasing, self._broker = answering, erasing, broker
        self._officer, self._ended = officer, ended
        self._store = vault.tools.store
        self.rounds = Rounds("rights", self._work, failed)
        self._deciding, self._working = threading.Lock(), threading.Lock()

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
        ended = self._casebook.get(asked.mandate.project, asked.lifts)
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
        if bool(corrections) != (decided.granted and decided.right is Right.RECTIFICATION):
            raise InputError("Corrected values stand where a rectification is granted.", "Correct it.")
        if decision.truth is not None:
            correcting.check(corrections, decision.truth)
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
                    put(self._with_effects(at, decided, pids, corrections, put))
            self._store.purge_if_due()
        with suppress(PseudonymError):
            self._advance(case_id, mandate.project)
        self.rounds.soon()
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

    # --- what follows from a decision --------------------------------------------------------------

    def _with_effects(
        self,
        at: At,
        case: Case,
        pids: Sequence[bytes],
        corrections: Mapping[str, str],
        put: Callable[[Case], None],
    ) -> Case:
        """What changes in the vault, and the case with its place among the errands."""
        if not case.granted:
            return case.closed()
        number = 1 + max((one.number for one in self._casebook.all()), default=0)
        case = replace(case, number=number, errand=f"ri-{number:08x}{os.urandom(8).hex()}")
        if (
            case.right is Right.RECTIFICATION
            and case.decision is not None
            and case.decision.truth is not None
        ):
            if not pids:
                raise SubjectMissingError("The person is not there any more.", "Nothing was changed.")
            rectify(self._vault.tools, at, self._living(pids), corrections, case.decision.truth)
        if _ERRANDS.get(case.right) == _KIND.ERRAND_KIND_MARK:
            if case.right is Right.LIFTING:
                ended = self._casebook.get(case.project, case.lifts)
                put(replace(ended, lifted=self.today()))
            self._hold(at, case, pids)
        return case

    def _living(self, pids: Sequence[bytes]) -> list[bytes]:
        states = self._vault.states(pids)
        return [pid for pid in pids if states.get(pid) in LIVING]

    def _hold(self, at: At, case: Case, pids: Sequence[bytes]) -> None:
        mark = self._mark(at, case, pids)
        if mark.restricted:
            state = Allowed.RESTRICTED
        elif mark.objected:
            state = Allowed.OBJECTED
        else:
            state = Allowed.LIMITED if mark.purposes else Allowed.ACTIVE
        self._vault.tools.limits.hold(at, pids, state, mark.purposes)

    def _mark(self, at: At, case: Case, pids: Sequence[bytes]) -> Mark:
        """What holds of people, with a case as it is about to be written."""
        others = [one for one in self._casebook.about(at, pids) if one.case_id != case.case_id]
        return mark_of([*others, case])

    def _work(self) -> float:
        failure: Exception | None = None
        pending = sorted(
            (one for one in self._casebook.all() if one.state is State.DECIDING),
            key=lambda one: one.number,
        )
        for case in pending:
            try:
                self._advance(case.case_id, case.project)
            except Exception as error:  # one that cannot go on holds up no other but those after its marks
                failure = error
                if _ERRANDS.get(case.right) == _KIND.ERRAND_KIND_MARK:
                    break
        if failure is not None:
            raise failure
        left = any(one.state is State.DECIDING for one in self._casebook.all())
        return EVERY if left else IDLE

    def _advance(self, case_id: str, project: str) -> None:
        """Do the steps of a case that are not done."""
        with self._working:
            case = self._casebook.get(project, case_id)
            if case.state is not State.DECIDING:
                return
            pids = self._vault.all_ids(self._casebook.persons(case))
            if case.right is Right.ERASURE:
                self._erase(case, pids)
            elif case.right is Right.USED:
                self._locate(case, pids)
            elif not pids:  # erased meanwhile: nothing of them is left to do this to
                self._close(case, "person-erased")
            elif case.right in ANSWERED:
                self._gather(case, pids)
            elif self._send(case, pids).done:
                self._close(case, "attributes")

    def _locate(self, case: Case, pids: Sequence[bytes]) -> None:
        used = Used.UNRESOLVABLE
        if case.found is not Found.UNRESOLVABLE:
            told = self._send(case, pids)
            used = Used.UNRESOLVABLE if told.ended else Used.YES if told.here else Used.NO
        with self._casebook.changing(case) as (_, now, put):
            put(replace(now, used=used).done("located").closed())

    def _gather(self, case: Case, pids: Sequence[bytes]) -> None:
        if IDENTITY not in case.steps:
            content = json.dumps(self._answering.half(case, pids), ensure_ascii=False).encode()
            where = context(case.case_id, case.project, IDENTITY)
            self._casebook.keep_answer(case, IDENTITY, hpke.seal(self._officer, content, *where))
            case = self._done(case, IDENTITY)
        if ATTRIBUTES not in case.steps:
            told = self._send(case, pids)
            if not told.done:
                return
            if told.sealed:
                self._casebook.keep_answer(case, ATTRIBUTES, told.sealed)
            case = self._done(case, ATTRIBUTES)
        self._send(case, pids, received=True)
        self._close(case, "answered")

    def _erase(self, case: Case, pids: Sequence[bytes]) -> None:
        ground = case.decision.ground if case.decision else ""
        asked = checks.Mandate(case.case_id, case.project, case.purpose)
        try:
            erasure = self._erasing.begin(asked, case.decider, ground, case.tag_decided, lambda: pids)
        except NotFoundError:
            self._close(case, "person-erased")
            return
        if erasure.complete:
            self._close(case, "erased")

    def _send(self, case: Case, pids: Sequence[bytes], *, received: bool = False) -> pb.SendErrandResponse:
        with self._store.read() as at:
            mark = self._mark(at, case, pids)
        flags = (1 if mark.restricted else 0) | (2 if mark.objected else 0) | (4 if mark.purposes else 0)
        errand = pb.RightsErrand(
            errand_id=case.errand,
            kind=_ERRANDS[case.right],
            project=case.project,
            case_id=case.case_id,
            flags=flags,
            purposes=mark.purposes,
            requester=case.decider,
            purpose=case.purpose,
        )
        mandate = common_pb2.Mandate(request_id=case.errand, project=case.project, purpose=case.purpose)
        request = pb.SendErrandRequest(mandate=mandate, errand=errand, pids=pids, received=received)
        return self._broker().call(METHOD, request, pb.SendErrandResponse, PATIENCE)

    def _done(self, case: Case, step: str) -> Case:
        with self._casebook.changing(case) as (_, now, put):
            done = now.done(step)
            put(done)
        return done

    def _close(self, case: Case, step: str) -> None:
        with self._casebook.changing(case) as (_, now, put):
            put(now.done(step).closed())


def _same(case: Case, tag: str) -> Case:
    if case.tag != tag:
        raise RequestIdError(
            "The request id was used for another request.", "Make a new id for each request."
        )
    return case
