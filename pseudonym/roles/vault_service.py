"""The servicer of `VaultService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import polars as pl

from pseudonym import clock, wayback
from pseudonym.disclosures import Disclosures
from pseudonym.exchange_file import LONGEST_DAYS
from pseudonym.openings import Mandate
from pseudonym.records import SCHEMA
from pseudonym.requests import Approval, Request
from pseudonym.roles import callers, checks
from pseudonym.roles.answers import Answer, Answers
from pseudonym.roles.callers import SERVER_ROLES, Caller
from pseudonym.roles.covering import shared_for
from pseudonym.roles.erasing import Erasing, Erasure
from pseudonym.roles.joining import Errand
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.peer import Peer
from pseudonym.roles.people_desk import PeopleDesk
from pseudonym.roles.refusals import FieldError
from pseudonym.roles.register_methods import exchange_of
from pseudonym.roles.registers import Asked, Registers
from pseudonym.roles.threads import to_peer
from pseudonym.seeking import Sought, seek
from pseudonym.standing import Stamp
from pseudonym.v1 import broker_pb2, common_pb2, vault_pb2, vault_pb2_grpc
from pseudonym.vault import Vault

SERVICE = "/pseudonym.v1.BrokerService/"
MOST_SOUGHT = 100
Carried: TypeAlias = Callable[[pl.DataFrame, str, date, str, date], pl.DataFrame]
"""What a register carries of those who are known: they, the register's code, the day of ages, why the NHS
number may be given out, and since when it has people (`pseudonym.roles.registers.Carry` for one register)."""


class VaultServicer(vault_pb2_grpc.VaultServiceServicer):
    """The vault's operations."""

    def __init__(
        self,
        house: House,
        vault: Vault,
        gate: wayback.Gate,
        erasing: Erasing,
        broker: Callable[[], Peer],
        desk: PeopleDesk,
        registers: Registers,
        carry: Carried | None,
        disclosures: Disclosures,
    ) -> None:
        self._house, self._vault, self._gate, self._erasing = house, vault, gate, erasing
        self._broker, self._desk = broker, desk
        self._registers, self._carry, self._disclosures = registers, carry, disclosures
        self._answers = Answers(house.settings.folder / "answers")

    async def ExportRegister(
        self, request: vault_pb2.ExportRegisterRequest, context: object
    ) -> AsyncIterator[vault_pb2.ExportRegisterResponse]:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        recipient = checks.label(request.recipient, "recipient")
        on, reason = checks.day(request.day, "day"), request.nhs_number_reason
        if on > date.today():
            raise FieldError(
                "The day on which people have their age is in the future.",
                "Name one that has come.",
                field="day",
            )
        since = checks.day(request.since, "since") if request.since else on
        if since > on:
            raise FieldError("since is no later than day.", "Correct it.", field="since")
        if reason:
            checks.code(reason, "nhs_number_reason")
        if not 1 <= request.days <= LONGEST_DAYS:
            raise FieldError("An exchange ends after 1 to 31 days.", "Say after how many.", field="days")
        found = exchange_of(self._house, mandate.project, recipient)
        shared = shared_for(self._house, mandate, request.sharing_reason, found.register)
        ends = datetime.fromtimestamp(self._house.store.now(), UTC).date() + timedelta(request.days)
        carry = self._carry
        if carry is None:
            raise FieldError("This server links no registers.", "Ask the identity role's.", field="recipient")
        errand = Errand(mandate.project, mandate.purpose, str(caller), found.register, "", "")
        asked = Asked(recipient, found.public_key, ends)
        account().details = {
            "recipient": recipient,
            "register": found.register,
            "nhs": reason,
            "sharing": shared,
        }
        parts = self._registers.export(
            errand, asked, lambda known: carry(known, found.register, on, reason, since)
        )
        while (part := await to_peer(next, parts, None)) is not None:
            account().count += part.persons
            yield vault_pb2.ExportRegisterResponse(
                number=part.number,
                last=part.last,
                identifiers=part.identifiers,
                numbers=part.numbers,
                register=found.register,
                ends=ends.isoformat(),
                persons=part.persons,
            )

    async def LookUp(self, request: vault_pb2.LookUpRequest, context: object) -> vault_pb2.LookUpResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        return await to_peer(self._look_up, mandate, caller, request.reidentification)

    def _look_up(self, mandate: checks.Mandate, caller: Caller, name: bytes) -> vault_pb2.LookUpResponse:
        with self._answers.lock:
            kept = self._answers.get(name, mandate, caller)
            if kept is None:
                kept = self._answer(mandate, caller, name)
            account().count = kept.count
        return vault_pb2.LookUpResponse(count=kept.count, sealed=kept.sealed)

    def _answer(self, mandate: checks.Mandate, caller: Caller, name: bytes) -> Answer:
        """Open whom an approved request is about. What refuses it does so before the request is used up."""
        request, approvals, pids = self._resolved(mandate, caller, name)
        known = list(dict.fromkeys(pid for pid in pids if pid))
        account().count = len(known)
        if len(known) == 1:
            account().subject = next(iter(self._vault.references(known)), b"")
        now = clock.now()
        wayback.check_before(self._gate, request, approvals, now, count=len(known))
        opened = self._vault.open(known, Mandate(str(caller), mandate.purpose, mandate.project))
        by_pid: dict[bytes, list[object]] = {pid: [] for pid in known}
        for row in opened.drop("row_id", "version", "received_day").to_dicts():
            by_pid[row.pop("pid")].append(row)
        answer = json.dumps([by_pid.get(pid) for pid in pids], default=str, ensure_ascii=False).encode()
        granted = wayback.check_request(self._gate, request, approvals, now, count=len(known))
        self._disclosures.note(
            known,
            project=mandate.project,
            who=str(caller),
            fields=[name for name in opened.columns if name in SCHEMA],
            why=f"{mandate.purpose}: way back",
        )
        return self._answers.keep(request, str(caller), len(known), wayback.seal_answer(granted, answer))

    async def EraseSubjects(
        self, request: vault_pb2.EraseSubjectsRequest, context: object
    ) -> vault_pb2.EraseSubjectsResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        if request.reason not in vault_pb2.ErasureReason.values()[1:]:
            raise FieldError("No reason is named.", "Name one of ErasureReason.", field="reason")
        reason, whom = vault_pb2.ErasureReason.Name(request.reason), request.WhichOneof("whom")
        if whom is None:
            raise FieldError("Nobody is named.", "Give sought or reidentification.", field="whom")
        people = sought(request.sought) if whom == "sought" else ()

        def find() -> list[bytes]:
            if whom == "sought":
                why = Mandate(str(caller), mandate.purpose, mandate.project)
                return seek(self._vault, people, why, several=request.sought.all_agreeing)
            approved, approvals, pids = self._resolved(mandate, caller, request.reidentification)
            known = list(dict.fromkeys(pid for pid in pids if pid))
            wayback.check_request(self._gate, approved, approvals, clock.now(), count=len(known))
            return self._vault.all_ids(known)

        def erase() -> vault_pb2.EraseSubjectsResponse:
            key = self._house.keyset.suppression_key()
            tag = key.prf("erasure-request/1", request.SerializeToString(deterministic=True))[:2].hex()
            erasure = self._erasing.begin(mandate, str(caller), reason, tag, find)
            _note(erasure)
            return vault_pb2.EraseSubjectsResponse(erasure=erasure_message(erasure))

        return await to_peer(erase)

    async def GetErasure(
        self, request: vault_pb2.GetErasureRequest, context: object
    ) -> vault_pb2.GetErasureResponse:
        project = checks.label(request.project, "project")
        erasure = await to_peer(self._erasing.get, project, request.erasure_id)
        _note(erasure)
        return vault_pb2.GetErasureResponse(erasure=erasure_message(erasure))

    def _resolved(
        self, mandate: checks.Mandate, caller: Caller, name: bytes
    ) -> tuple[Request, list[Approval], list[bytes]]:
        """What the broker resolves of a request; this role has not checked the approvals yet."""
        asked = broker_pb2.ResolveReidentificationRequest(
            mandate=_passed_on(mandate), name=name, requester=str(caller)
        )
        response = broker_pb2.ResolveReidentificationResponse
        found = self._broker().call(f"{SERVICE}ResolveReidentification", asked, response)
        request = Request.from_file(found.reidentification.request)
        approvals = [Approval.from_file(one) for one in found.reidentification.approvals]
        if request.name() != name or (request.project, request.purpose) != (mandate.project, mandate.purpose):
            raise FieldError(
                "The mandate is not the request's.", "Name its project and purpose.", field="mandate"
            )
        return request, approvals, list(found.pids)

    async def MergeSubjects(
        self, request: vault_pb2.MergeSubjectsRequest, context: object
    ) -> vault_pb2.MergeSubjectsResponse:
        kind = checks.kind(request.kind)
        answer: vault_pb2.MergeSubjectsResponse = await self._decide(
            "MergeSubjects",
            request,
            vault_pb2.MergeSubjectsResponse,
            lambda project, stamp: self._desk.merge(project, kind, request.one, request.other, stamp),
        )
        return answer

    async def SplitSubject(
        self, request: vault_pb2.SplitSubjectRequest, context: object
    ) -> vault_pb2.SplitSubjectResponse:
        kind = checks.kind(request.kind)
        answer: vault_pb2.SplitSubjectResponse = await self._decide(
            "SplitSubject",
            request,
            vault_pb2.SplitSubjectResponse,
            lambda project, stamp: self._desk.split(project, kind, list(request.records), stamp),
        )
        return answer

    async def WithdrawLink(
        self, request: vault_pb2.WithdrawLinkRequest, context: object
    ) -> vault_pb2.WithdrawLinkResponse:
        answer: vault_pb2.WithdrawLinkResponse = await self._decide(
            "WithdrawLink",
            request,
            vault_pb2.WithdrawLinkResponse,
            lambda project, stamp: self._desk.withdraw(project, request.one, request.other, stamp),
        )
        return answer

    async def ProtectSubject(
        self, request: vault_pb2.ProtectSubjectRequest, context: object
    ) -> vault_pb2.ProtectSubjectResponse:
        answer: vault_pb2.ProtectSubjectResponse = await self._decide(
            "ProtectSubject",
            request,
            vault_pb2.ProtectSubjectResponse,
            lambda project, stamp: self._desk.protect(project, request.record, list(request.divided), stamp),
        )
        return answer

    async def AdmitRecord(
        self, request: vault_pb2.AdmitRecordRequest, context: object
    ) -> vault_pb2.AdmitRecordResponse:
        answer: vault_pb2.AdmitRecordResponse = await self._decide(
            "AdmitRecord",
            request,
            vault_pb2.AdmitRecordResponse,
            lambda project, stamp: self._desk.admit(project, request.record, request.into, stamp),
        )
        return answer

    async def _decide(
        self, method: str, request: Any, response: Any, decide: Callable[[str, Stamp], int]
    ) -> Any:
        mandate, caller = checks.mandate(request.mandate), callers.current()

        def work() -> Any:
            stamp = Stamp(clock.now(), str(caller), mandate.purpose, mandate.request_id)
            records = decide(mandate.project, stamp)
            account().count = records
            return response(decision=vault_pb2.Decision(changed=records > 0, records=records))

        return await asyncio.to_thread(checks.once, self._house.repeats, method, request, response, work)


def sought(message: vault_pb2.SoughtPersons) -> list[Sought]:
    """Read who is sought.

    Raises:
        FieldError: nobody, or too many; or a day of birth is none.
    """
    if not 1 <= len(message.persons) <= MOST_SOUGHT:
        raise FieldError(
            f"An erasure seeks 1 to {MOST_SOUGHT} persons.",
            "Ask for fewer at a time.",
            field="sought.persons",
        )
    return [
        Sought(_day(one.born), one.nhs, one.nino, one.upn, one.surname, one.postcode)
        for one in message.persons
    ]


def erasure_message(erasure: Erasure) -> vault_pb2.Erasure:
    """How far an erasure has come."""
    steps = []
    for role in SERVER_ROLES:
        done = erasure.steps.get(role)
        when = checks.timestamp(datetime.fromisoformat(done.when)) if done else None
        certificate = done.certificate.encode() if done else b""
        name = f"SERVER_ROLE_{role.upper()}"
        steps.append(vault_pb2.ErasureStep(role=name, done_time=when, certificate=certificate))
    return vault_pb2.Erasure(
        erasure_id=erasure.erasure_id,
        reason=erasure.reason,
        create_time=checks.timestamp(datetime.fromisoformat(erasure.asked)),
        persons=erasure.persons,
        steps=steps,
        complete=erasure.complete,
    )


def _note(erasure: Erasure) -> None:
    account().count = erasure.persons
    account().details = {"erasure": erasure.erasure_id, "reason": erasure.reason}


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise FieldError(
            "A day of birth is missing, or not written as YYYY-MM-DD.",
            "Every person who is sought has one.",
            field="sought.persons.born",
        ) from None


def _passed_on(mandate: checks.Mandate) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=mandate.request_id, project=mandate.project, purpose=mandate.purpose)
