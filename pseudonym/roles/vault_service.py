"""The servicer of `VaultService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pseudonym import wayback
from pseudonym.openings import Mandate
from pseudonym.requests import Approval, Request
from pseudonym.roles import callers, checks
from pseudonym.roles.callers import Caller
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.peer import Peer
from pseudonym.roles.people_desk import PeopleDesk
from pseudonym.roles.refusals import FieldError
from pseudonym.standing import Stamp
from pseudonym.v1 import broker_pb2, common_pb2, vault_pb2, vault_pb2_grpc
from pseudonym.vault import Vault

SERVICE = "/pseudonym.v1.BrokerService/"


class VaultServicer(vault_pb2_grpc.VaultServiceServicer):
    """The vault's operations."""

    def __init__(
        self, house: House, vault: Vault, gate: wayback.Gate, broker: Callable[[], Peer], desk: PeopleDesk
    ) -> None:
        self._house, self._vault, self._gate = house, vault, gate
        self._broker, self._desk = broker, desk

    async def LookUp(self, request: vault_pb2.LookUpRequest, context: object) -> vault_pb2.LookUpResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        return await asyncio.to_thread(self._look_up, mandate, caller, request.reidentification)

    def _look_up(self, mandate: checks.Mandate, caller: Caller, name: bytes) -> vault_pb2.LookUpResponse:
        granted, pids = self._granted(mandate, caller, name)
        known = list(dict.fromkeys(pid for pid in pids if pid))
        account().count = len(known)
        opened = self._vault.open(known, Mandate(str(caller), mandate.purpose, mandate.project))
        by_pid: dict[bytes, list[object]] = {pid: [] for pid in known}
        for row in opened.drop("row_id", "version", "received_day").to_dicts():
            by_pid[row.pop("pid")].append(row)
        answer = json.dumps([by_pid.get(pid) for pid in pids], default=str, ensure_ascii=False).encode()
        return vault_pb2.LookUpResponse(count=len(known), sealed=wayback.seal_answer(granted, answer))

    def _granted(
        self, mandate: checks.Mandate, caller: Caller, name: bytes
    ) -> tuple[wayback.Granted, list[bytes]]:
        """What the broker resolves of a request, once this role has checked the approvals itself."""
        asked = broker_pb2.ResolveReidentificationRequest(
            mandate=_passed_on(mandate), name=name, requester=str(caller)
        )
        response = broker_pb2.ResolveReidentificationResponse
        found = self._broker().call(f"{SERVICE}ResolveReidentification", asked, response)
        request = Request.from_file(found.reidentification.request)
        approvals = [Approval.from_file(one) for one in found.reidentification.approvals]
        pids = list(found.pids)
        count = len({pid for pid in pids if pid})
        if request.name() != name or (request.project, request.purpose) != (mandate.project, mandate.purpose):
            raise FieldError(
                "The mandate is not the request's.", "Name its project and purpose.", field="mandate"
            )
        granted = wayback.check_request(self._gate, request, approvals, datetime.now(UTC), count=count)
        return granted, pids

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
            stamp = Stamp(datetime.now(UTC), str(caller), mandate.purpose, mandate.request_id)
            records = decide(mandate.project, stamp)
            account().count = records
            return response(decision=vault_pb2.Decision(changed=records > 0, records=records))

        return await asyncio.to_thread(checks.once, self._house.repeats, method, request, response, work)


def _passed_on(mandate: checks.Mandate) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=mandate.request_id, project=mandate.project, purpose=mandate.purpose)
