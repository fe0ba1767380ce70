"""The servicer of `RetentionService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pseudonym.access import Mandate
from pseudonym.roles import callers, checks
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.retaining import Retaining
from pseudonym.roles.threads import to_peer
from pseudonym.v1 import retention_pb2, retention_pb2_grpc


class RetentionServicer(retention_pb2_grpc.RetentionServiceServicer):
    """What of the roles that this server runs is due, and its destruction."""

    def __init__(self, houses: Mapping[Role, House], retaining: Mapping[Role, Retaining]) -> None:
        self._houses, self._retaining = houses, retaining

    async def ListDue(
        self, request: retention_pb2.ListDueRequest, context: object
    ) -> retention_pb2.ListDueResponse:
        retaining = self._of(request.role)
        first, size = checks.page(request)
        found = await asyncio.to_thread(retaining.due)
        shown = [
            retention_pb2.Due(
                category=one.category,
                project=one.project,
                what=one.what,
                due_time=checks.timestamp(one.since),
                reason=retaining.reason(one),
                automatic=one.automatic,
            )
            for one in found[first : first + size]
        ]
        account().count = len(shown)
        return retention_pb2.ListDueResponse(
            due=shown, next_page_token=checks.next_token(first, size, len(found))
        )

    async def RunDestruction(
        self, request: retention_pb2.RunDestructionRequest, context: object
    ) -> retention_pb2.RunDestructionResponse:
        mandate = checks.mandate(request.mandate)
        house = checks.house(self._houses, request.role)
        asked = Mandate(str(callers.current()), mandate.purpose)

        def run() -> retention_pb2.RunDestructionResponse:
            retaining = self._of(request.role)
            certificates, end = retaining.run(mandate, asked), retaining.end_of(mandate.project)
            account().count = len(certificates)
            return retention_pb2.RunDestructionResponse(
                certificates=certificates,
                checkpoint=house.log.sign().note,
                end_time=None if end is None else checks.timestamp(end),
            )

        done = house.repeats, "RunDestruction", request, retention_pb2.RunDestructionResponse, run
        answer: retention_pb2.RunDestructionResponse = await to_peer(checks.once, *done)
        return answer

    async def ListCertificates(
        self, request: retention_pb2.ListCertificatesRequest, context: object
    ) -> retention_pb2.ListCertificatesResponse:
        retaining = self._of(request.role)
        first, size = checks.page(request)
        found = await asyncio.to_thread(retaining.certificates)
        shown = found[first : first + size]
        account().count = len(shown)
        return retention_pb2.ListCertificatesResponse(
            certificates=shown, next_page_token=checks.next_token(first, size, len(found))
        )

    def _of(self, role: int) -> Retaining:
        return self._retaining[checks.house(self._houses, role).role]
