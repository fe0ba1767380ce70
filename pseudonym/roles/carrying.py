"""What follows from a decision about somebody's rights: at once in the vault, then over the other roles.

    begin (in the decision's transaction) ──▶ advance ──errand──▶ broker ──▶ attributes role (`errands`)
                                                ▲── rounds, until all is done ──┘

The rules this module keeps:

- Every step may be done twice, and is done, if need be after a crash or once the broker can be reached.
- Errands go out in the order of the decisions, so that what was lifted is not marked anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from pseudonym import hpke
from pseudonym.attribute_subjects import Flag
from pseudonym.casebook import Casebook
from pseudonym.errors import NotFoundError, SubjectMissingError
from pseudonym.rectifying import rectify
from pseudonym.rights.cases import Case, Found, State, Used
from pseudonym.rights.halves import ATTRIBUTES, IDENTITY, context
from pseudonym.rights.marks import Mark, mark_of
from pseudonym.rights.reasons import Right
from pseudonym.roles import checks
from pseudonym.roles.answering import Answering, day_of
from pseudonym.roles.erasing import Erasing
from pseudonym.roles.peer import Peer
from pseudonym.roles.rounds import Rounds
from pseudonym.storage.rows import At
from pseudonym.subjects import LIVING
from pseudonym.subjects import State as Allowed
from pseudonym.urn import enc
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


class Carrying:
    """Carries decisions out; usable from any thread.

    Args:
        vault: the identity role's.
        casebook: the cases.
        answering: gathers what is held.
        erasing: erases over all three roles.
        broker: gives the broker, or raises why it cannot be called.
        officer: the data protection officer's public key, 32 bytes.
        failed: is told the reason when a round does not succeed.
    """

    def __init__(
        self,
        vault: Vault,
        casebook: Casebook,
        answering: Answering,
        erasing: Erasing,
        broker: Callable[[], Peer],
        officer: bytes,
        failed: Callable[[str], object],
    ) -> None:
        self._vault, self._casebook, self._answering = vault, casebook, answering
        self._erasing, self._broker, self._officer = erasing, broker, officer
        self._store = vault.tools.store
        self.rounds = Rounds("rights", self._work, failed)
        self._working = threading.Lock()

    def begin(
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
                put(replace(ended, lifted=day_of(self._store.today())))
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
                self.advance(case.case_id, case.project)
            except Exception as error:  # one that cannot go on holds up no other but those after its marks
                failure = error
                if _ERRANDS.get(case.right) == _KIND.ERRAND_KIND_MARK:
                    break
        if failure is not None:
            raise failure
        left = any(one.state is State.DECIDING for one in self._casebook.all())
        return EVERY if left else IDLE

    def advance(self, case_id: str, project: str) -> None:
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

    def enter(self, project: str, purpose: str, actor: str, pids: pl.Series) -> None:
        """Mark at the broker whose data may not be used, of people who are about to enter a project.

        An errand is known by what it says, so that the same again is no other one.

        Args:
            project: its name.
            purpose: what they are joined for.
            actor: who asked for that.
            pids: everybody who enters.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be told.
        """
        marked: dict[int, dict[tuple[str, ...], list[bytes]]] = {}
        number = max((one.number for one in self._casebook.all()), default=0)
        with self._store.read() as at:
            entering = self._vault.tools.limits.kept_back(at) & set(pids.to_list())
        for pid in sorted(entering):
            known = self._vault.all_ids([pid])
            with self._store.read() as at:
                mark = mark_of(self._casebook.about(at, known))
            # Where no case says what holds, as after two became one, nothing is allowed.
            flags = _flags(mark) or int(Flag.RESTRICTED)
            marked.setdefault(flags, {}).setdefault(mark.purposes, []).append(pid)
        for flags, by_purposes in marked.items():
            for purposes, whose in by_purposes.items():
                said = enc(project, str(flags), *purposes, *whose)
                errand = pb.RightsErrand(
                    errand_id=f"ri-{number:08x}{hashlib.sha256(said).hexdigest()[:16]}",
                    kind=_KIND.ERRAND_KIND_MARK,
                    project=project,
                    flags=flags,
                    purposes=purposes,
                    requester=actor,
                    purpose=purpose,
                )
                self._call(errand, whose)

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
        errand = pb.RightsErrand(
            errand_id=case.errand,
            kind=_ERRANDS[case.right],
            project=case.project,
            case_id=case.case_id,
            flags=_flags(mark),
            purposes=mark.purposes,
            requester=case.decider,
            purpose=case.purpose,
        )
        return self._call(errand, pids, received=received)

    def _call(
        self, errand: pb.RightsErrand, pids: Sequence[bytes], *, received: bool = False
    ) -> pb.SendErrandResponse:
        mandate = common_pb2.Mandate(
            request_id=errand.errand_id, project=errand.project, purpose=errand.purpose
        )
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


def _flags(mark: Mark) -> int:
    restricted = Flag.RESTRICTED if mark.restricted else 0
    return int(restricted | (Flag.OBJECTED if mark.objected else 0) | (Flag.LIMITED if mark.purposes else 0))
