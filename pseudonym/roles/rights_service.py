"""The servicer of `RightsService`: it translates and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar

from pseudonym import clock
from pseudonym.rights.cases import (
    Asker,
    Case,
    Decision,
    Delay,
    Outcome,
    Proof,
    Truth,
    refusals,
)
from pseudonym.rights.halves import ATTRIBUTES, IDENTITY
from pseudonym.rights.reasons import Refusal, Right
from pseudonym.roles import callers, checks, governance
from pseudonym.roles.callers import Caller, Role
from pseudonym.roles.carrying import ANSWERED
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError
from pseudonym.roles.rights_desk import Asked, RightsDesk
from pseudonym.roles.threads import to_peer
from pseudonym.roles.vault_service import sought
from pseudonym.v1 import rights_pb2 as pb
from pseudonym.v1 import rights_pb2_grpc, vault_pb2

E = TypeVar("E", bound=StrEnum)
_KEY = "rights/1"


class RightsServicer(rights_pb2_grpc.RightsServiceServicer):
    """People's requests.

    Args:
        house: of the identity role.
        desk: where requests are taken in, decided and carried out.
    """

    def __init__(self, house: House, desk: RightsDesk) -> None:
        self._house, self._desk = house, desk
        self._contacts = governance.read(house.settings.governance).contacts

    async def OpenRequest(self, request: pb.OpenRequestRequest, context: object) -> pb.OpenRequestResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        right = _required(Right, pb.Right, request.right, "RIGHT", "right")
        received = checks.day(request.received, "received")
        asker = _required(Asker, pb.Asker, request.asker, "ASKER", "asker")
        proofs = _several(Proof, pb.AskerProof, request.proofs, "ASKER_PROOF", "proofs")
        lifting = right is Right.LIFTING
        if lifting != bool(request.lifts) or lifting == bool(request.sought):
            raise FieldError(
                "A lifting names the case that it ends, and any other request the person.",
                "Give lifts or sought.",
                field="lifts" if lifting else "sought",
            )
        people = sought(vault_pb2.SoughtPersons(persons=request.sought)) if request.sought else []
        asked = Asked(
            mandate, str(caller), right, received, asker, proofs, tuple(people), request.lifts, _own(caller)
        )

        def work() -> pb.OpenRequestResponse:
            key = self._house.keyset.suppression_key()
            name = key.prf(_KEY, "case", mandate.project, mandate.request_id)[:8].hex()
            case = self._desk.open(asked, f"rt-{name}", self._tag(request))
            self._note(case)
            return pb.OpenRequestResponse(case=self._shown(case, caller))

        return await to_peer(work)

    async def GetRequest(self, request: pb.GetRequestRequest, context: object) -> pb.GetRequestResponse:
        project, caller = checks.label(request.project, "project"), callers.current()

        def work() -> pb.GetRequestResponse:
            case = self._desk.get(project, request.case_id, _own(caller))
            self._note(case)
            return pb.GetRequestResponse(case=self._shown(case, caller))

        return await to_peer(work)

    async def ListRequests(self, request: pb.ListRequestsRequest, context: object) -> pb.ListRequestsResponse:
        project, caller = checks.label(request.project, "project"), callers.current()
        first, size = checks.page(request)

        def work() -> pb.ListRequestsResponse:
            found = self._desk.all(project, _own(caller), closed=request.closed)
            page = found[first : first + size]
            account().count = len(page)
            return pb.ListRequestsResponse(
                cases=[self._shown(one, caller) for one in page],
                next_page_token=checks.next_token(first, size, len(found)),
            )

        return await to_peer(work)

    async def ExtendRequest(
        self, request: pb.ExtendRequestRequest, context: object
    ) -> pb.ExtendRequestResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        delay = _required(Delay, pb.ClockDelay, request.delay, "CLOCK_DELAY", "delay")

        def work() -> pb.ExtendRequestResponse:
            case = self._desk.extend(mandate.project, request.case_id, delay)
            self._note(case)
            return pb.ExtendRequestResponse(case=self._shown(case, caller))

        return await to_peer(work)

    async def Decide(self, request: pb.DecideRequest, context: object) -> pb.DecideResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        if not self._contacts:
            raise FieldError(
                "Nobody is named to whom people can complain.",
                "The identity role's governance file names them, under contacts.",
                field="case_id",
            )
        proofs = _several(Proof, pb.AskerProof, request.proofs, "ASKER_PROOF", "proofs")
        decision = Decision(
            _required(Outcome, pb.RightOutcome, request.outcome, "RIGHT_OUTCOME", "outcome"),
            _several(Refusal, pb.RightRefusal, request.reasons, "RIGHT_REFUSAL", "reasons"),
            tuple(sorted({checks.purpose(one, "purposes") for one in request.purposes})),
            _optional(Truth, pb.CorrectionTruth, request.truth, "CORRECTION_TRUTH", "truth"),
            vault_pb2.ErasureReason.Name(request.ground) if request.ground else "",
        )
        corrections = {one.field: one.value for one in request.corrections}
        if len(corrections) != len(request.corrections):
            raise FieldError("A field is corrected twice.", "Name each once.", field="corrections")

        def work() -> pb.DecideResponse:
            tag = self._tag(request)
            # Before it is carried out: of an erased person there is no reference any more.
            self._note(self._desk.get(mandate.project, request.case_id))
            case = self._desk.decide(
                mandate, str(caller), request.case_id, decision, proofs, corrections, tag
            )
            return pb.DecideResponse(case=self._shown(case, caller))

        return await to_peer(work)

    async def ReadAnswer(self, request: pb.ReadAnswerRequest, context: object) -> pb.ReadAnswerResponse:
        mandate = checks.mandate(request.mandate)

        def work() -> pb.ReadAnswerResponse:
            case = self._desk.get(mandate.project, request.case_id)
            self._note(case)
            found = self._desk.answer(case)
            return pb.ReadAnswerResponse(
                identity=found[IDENTITY],
                attributes=found[ATTRIBUTES],
                read_time=checks.timestamp(clock.now()),
            )

        return await to_peer(work)

    def _tag(self, request: Any) -> str:
        """By 16 bits of a keyed function: too few to try identifiers against, even with the key."""
        content = type(request)()
        content.CopyFrom(request)
        content.ClearField("mandate")
        octets = content.SerializeToString(deterministic=True)
        return self._house.keyset.suppression_key().prf(_KEY, "request", octets)[:2].hex()

    def _note(self, case: Case) -> None:
        references = self._desk.references(case)
        account().count = len(references)
        account().subject = references[0] if len(references) == 1 else b""
        account().details = {"case": case.case_id, "right": case.right.value}

    def _shown(self, case: Case, caller: Caller) -> pb.RightsCase:
        decision = case.decision
        found = case.found if _own(caller) == "" else None
        return pb.RightsCase(
            case_id=case.case_id,
            right=_value(pb.Right, "RIGHT", case.right),
            state=_value(pb.CaseState, "CASE_STATE", case.state),
            received=case.received.isoformat(),
            due=case.due.isoformat(),
            urgency=_value(pb.CaseUrgency, "CASE_URGENCY", case.urgency(self._desk.today())),
            delay=_value(pb.ClockDelay, "CLOCK_DELAY", case.delay),
            asker=_value(pb.Asker, "ASKER", case.asker),
            proofs=[_value(pb.AskerProof, "ASKER_PROOF", one) for one in case.proofs],
            opener=case.opener,
            found=_value(pb.RightFound, "RIGHT_FOUND", found),
            outcome=_value(pb.RightOutcome, "RIGHT_OUTCOME", decision.outcome if decision else None),
            reasons=[
                pb.RefusalReason(refusal=_value(pb.RightRefusal, "RIGHT_REFUSAL", one), law=law, words=words)
                for one, law, words in refusals(case)
            ],
            purposes=decision.purposes if decision else (),
            used=_value(pb.DataUsed, "DATA_USED", case.used),
            decided=_day(case.decided),
            answered=case.right in ANSWERED and {IDENTITY, ATTRIBUTES} <= set(case.steps),
            contacts=[pb.ComplaintContact(**one) for one in self._contacts] if decision else (),
            lifted=_day(case.lifted),
            lifts=case.lifts,
            steps=case.steps,
        )


def _own(caller: Caller) -> str:
    """Whose cases the caller may see: a council's its own; the officer's, and in development, all."""
    return str(caller) if caller.role is Role.COUNCIL else ""


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""


def _value(kind: Any, prefix: str, value: StrEnum | None) -> Any:
    """A code as messages name it; the first one, which says nothing, for None."""
    return 0 if value is None else kind.Value(f"{prefix}_{value.value.upper().replace('-', '_')}")


def _optional(kind: type[E], messages: Any, number: int, prefix: str, field: str) -> E | None:
    if not number:
        return None
    if number not in messages.values():
        raise FieldError(f"{field} is none that is known.", "Name one of the definition.", field=field)
    return kind(messages.Name(number).removeprefix(f"{prefix}_").lower().replace("_", "-"))


def _required(kind: type[E], messages: Any, number: int, prefix: str, field: str) -> E:
    found = _optional(kind, messages, number, prefix, field)
    if found is None:
        raise FieldError(f"{field} is not said.", "Name one of the definition.", field=field)
    return found


def _several(kind: type[E], messages: Any, numbers: Sequence[int], prefix: str, field: str) -> tuple[E, ...]:
    return tuple(dict.fromkeys(_required(kind, messages, one, prefix, field) for one in numbers))
