"""The servicer of `AuditService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pseudonym.audit import Entry, Log
from pseudonym.roles import checks
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.urn import enc
from pseudonym.v1 import audit_pb2, audit_pb2_grpc


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """The audit logs of the roles that this server runs."""

    def __init__(self, houses: Mapping[Role, House]) -> None:
        self._houses = houses

    def _log(self, role: int) -> Log:
        return checks.house(self._houses, role).log

    async def GetCheckpoint(
        self, request: audit_pb2.GetCheckpointRequest, context: object
    ) -> audit_pb2.GetCheckpointResponse:
        return audit_pb2.GetCheckpointResponse(checkpoint=self._log(request.role).checkpoint.note)

    async def ProveInclusion(
        self, request: audit_pb2.ProveInclusionRequest, context: object
    ) -> audit_pb2.ProveInclusionResponse:
        log = self._log(request.role)
        size = request.size or log.size
        root, hashes = await asyncio.to_thread(lambda: (log.root(size), log.inclusion(request.index, size)))
        return audit_pb2.ProveInclusionResponse(size=size, root=root, hashes=hashes)

    async def ProveConsistency(
        self, request: audit_pb2.ProveConsistencyRequest, context: object
    ) -> audit_pb2.ProveConsistencyResponse:
        log = self._log(request.role)
        size = request.new_size or log.size
        hashes = await asyncio.to_thread(log.consistency, request.old_size, size)
        return audit_pb2.ProveConsistencyResponse(new_size=size, hashes=hashes)

    async def ListEntries(
        self, request: audit_pb2.ListEntriesRequest, context: object
    ) -> audit_pb2.ListEntriesResponse:
        log = self._log(request.role)
        first, size = checks.page(request)
        total = log.size
        numbers = range(first, min(first + size, total))
        entries = await asyncio.to_thread(lambda: [log.entry(number) for number in numbers])
        account().count = len(entries)
        return audit_pb2.ListEntriesResponse(
            entries=[entry_message(entry) for entry in entries],
            next_page_token=checks.next_token(first, size, total),
        )


def entry_message(entry: Entry) -> audit_pb2.Entry:
    """An entry with the bytes that its leaf is the hash of."""
    return audit_pb2.Entry(
        index=entry.number,
        time=checks.timestamp(entry.time),
        actor=entry.actor,
        action=entry.action,
        purpose=entry.purpose,
        project=entry.project,
        subject=entry.subject,
        count=entry.count,
        digest=entry.digest,
        sealed=entry.sealed,
        leaf=leaf(entry),
    )


def leaf(entry: Entry) -> bytes:
    """The entry in its one encoding."""
    return enc(
        "audit/1",
        entry.number.to_bytes(8, "big"),
        entry.microseconds.to_bytes(8, "big"),
        entry.actor,
        entry.action,
        entry.purpose,
        entry.project,
        entry.subject,
        entry.count.to_bytes(8, "big"),
        entry.digest,
        entry.sealed,
    )
