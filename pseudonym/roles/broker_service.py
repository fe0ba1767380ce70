"""The servicer of `BrokerService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pseudonym import access
from pseudonym.broker import Broker
from pseudonym.errors import KeyMissingError
from pseudonym.keys import Keyset
from pseudonym.requests import Request
from pseudonym.roles import callers, checks
from pseudonym.roles.arrow import ROWS, ReadArrow, frame, written
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError
from pseudonym.roles.wayback_desk import Kept, WaybackDesk
from pseudonym.tracing import WAY_BACK
from pseudonym.v1 import broker_pb2, broker_pb2_grpc

T = TypeVar("T")


class BrokerServicer(broker_pb2_grpc.BrokerServiceServicer):
    """The broker's operations."""

    def __init__(self, house: House, broker: Broker, wayback: WaybackDesk, read: ReadArrow) -> None:
        self._house, self._broker, self._wayback, self._read = house, broker, wayback, read
        wayback.drop_void(self._usable)

    def _usable(self, request: Request) -> bool:
        """Whether the key of the numbers that a request for the way back is about is there."""
        try:
            self._house.keyset.urn_key(request.project, request.recipient, request.epoch)
        except KeyMissingError:
            return False
        return True

    async def BeginProject(
        self, request: broker_pb2.BeginProjectRequest, context: object
    ) -> broker_pb2.BeginProjectResponse:
        mandate = checks.mandate(request.mandate)
        epoch = request.epoch or 1

        def begin() -> None:
            _make_aid_key(self._house.keyset, mandate.project)
            self._broker.begin_project(mandate.project, epoch)

        await asyncio.to_thread(begin)
        return broker_pb2.BeginProjectResponse()

    async def OpenDomain(
        self, request: broker_pb2.OpenDomainRequest, context: object
    ) -> broker_pb2.OpenDomainResponse:
        mandate = checks.mandate(request.mandate)
        recipient = checks.label(request.recipient, "recipient")

        def open_domain() -> broker_pb2.OpenDomainResponse:
            epoch = _make_urn_key(self._house.keyset, mandate.project, recipient, request.next_epoch)
            self._broker.open_domain(mandate.project, recipient, epoch)
            return broker_pb2.OpenDomainResponse(epoch=epoch)

        answer: broker_pb2.OpenDomainResponse = await asyncio.to_thread(
            checks.once,
            self._house.repeats,
            "OpenDomain",
            request,
            broker_pb2.OpenDomainResponse,
            open_domain,
        )
        return answer

    async def MapSubjects(
        self, request: broker_pb2.MapSubjectsRequest, context: object
    ) -> broker_pb2.MapSubjectsResponse:
        mandate = checks.mandate(request.mandate)

        def take() -> broker_pb2.MapSubjectsResponse:
            rows = frame(self._read, request.arrow, ("row_ref", "pid", "fid"))
            account().count = rows.height
            taken = self._broker.take(mandate.project, rows)
            return broker_pb2.MapSubjectsResponse(rows=taken.rows, erased=taken.erased)

        return await asyncio.to_thread(take)

    async def ListRows(
        self, request: broker_pb2.ListRowsRequest, context: object
    ) -> broker_pb2.ListRowsResponse:
        project = checks.label(request.project, "project")
        after, size = _place(request.page_token), min(request.page_size or ROWS, ROWS)

        def outgoing() -> broker_pb2.ListRowsResponse:
            rows = self._broker.outgoing(project, after, size)
            account().count = rows.height
            more = rows["row_ref"][-1].hex() if rows.height == size else ""
            return broker_pb2.ListRowsResponse(
                arrow=written(rows.rename({"family": "family_aid"})), next_page_token=more
            )

        return await asyncio.to_thread(outgoing)

    async def AcknowledgeRows(
        self, request: broker_pb2.AcknowledgeRowsRequest, context: object
    ) -> broker_pb2.AcknowledgeRowsResponse:
        mandate = checks.mandate(request.mandate)

        def acknowledge() -> broker_pb2.AcknowledgeRowsResponse:
            rows = frame(self._read, request.arrow, ("row_ref",))
            account().count = rows.height
            forgotten = self._broker.acknowledge(mandate.project, rows)
            return broker_pb2.AcknowledgeRowsResponse(forgotten=forgotten)

        return await asyncio.to_thread(acknowledge)

    async def IssueUrns(
        self, request: broker_pb2.IssueUrnsRequest, context: object
    ) -> broker_pb2.IssueUrnsResponse:
        mandate, kind = checks.mandate(request.mandate), checks.kind(request.kind)
        recipient, asked = checks.label(request.recipient, "recipient"), _mandate(mandate)

        def issue() -> broker_pb2.IssueUrnsResponse:
            aids = frame(self._read, request.arrow, ("aid",))
            account().count = aids.height
            urns = self._broker.issue(mandate.project, recipient, kind, aids, asked).select("urn")
            return broker_pb2.IssueUrnsResponse(arrow=written(urns))

        return await asyncio.to_thread(issue)

    async def ResolveAids(
        self, request: broker_pb2.ResolveAidsRequest, context: object
    ) -> broker_pb2.ResolveAidsResponse:
        mandate = checks.mandate(request.mandate)
        recipient, asked = checks.label(request.recipient, "recipient"), _mandate(mandate)

        def resolve() -> broker_pb2.ResolveAidsResponse:
            # The attributes role alone gets here; it learns aids, which it has, and never a pid.
            urns = frame(self._read, request.arrow, (), ("urn",))
            account().count = urns.height
            found = self._broker.tracing.resolve(mandate.project, recipient, urns, asked, WAY_BACK)
            return broker_pb2.ResolveAidsResponse(arrow=written(found.select("aid", "reason")))

        return await asyncio.to_thread(resolve)

    async def RequestReidentification(
        self, request: broker_pb2.RequestReidentificationRequest, context: object
    ) -> broker_pb2.RequestReidentificationResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        account().count = len(request.urns)

        def ask() -> Kept:
            self._wayback.drop_void(self._usable)
            return self._wayback.ask(mandate, caller, request.request, tuple(request.urns))

        kept = await asyncio.to_thread(ask)
        return broker_pb2.RequestReidentificationResponse(reidentification=kept.message())

    async def ApproveReidentification(
        self, request: broker_pb2.ApproveReidentificationRequest, context: object
    ) -> broker_pb2.ApproveReidentificationResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        kept = await asyncio.to_thread(self._wayback.approve, mandate, caller, request.approval)
        account().count = 1
        return broker_pb2.ApproveReidentificationResponse(reidentification=kept.message())

    async def GetReidentification(
        self, request: broker_pb2.GetReidentificationRequest, context: object
    ) -> broker_pb2.GetReidentificationResponse:
        project = checks.label(request.project, "project")
        kept = await asyncio.to_thread(self._wayback.get, project, request.name)
        return broker_pb2.GetReidentificationResponse(reidentification=kept.message())

    async def ResolveReidentification(
        self, request: broker_pb2.ResolveReidentificationRequest, context: object
    ) -> broker_pb2.ResolveReidentificationResponse:
        mandate = checks.mandate(request.mandate)
        requester = callers.read_passed_on(request.requester)
        asked = access.Mandate(str(requester), mandate.purpose)
        kept, pids = await asyncio.to_thread(
            self._wayback.resolve, self._broker, mandate, requester, asked, request.name
        )
        account().count = len(pids)
        return broker_pb2.ResolveReidentificationResponse(reidentification=kept.message(), pids=pids)

    async def ListSupersessions(
        self, request: broker_pb2.ListSupersessionsRequest, context: object
    ) -> broker_pb2.ListSupersessionsResponse:
        project, recipient = (checks.label(getattr(request, one), one) for one in ("project", "recipient"))
        kind, purpose = checks.kind(request.kind), checks.purpose(request.purpose, "purpose")
        first, size = checks.page(request)
        asked = access.Mandate(str(callers.current()), purpose)
        found = await asyncio.to_thread(self._broker.changes.superseded, project, recipient, kind, asked)
        shown = found.slice(first, size)
        account().count = shown.height
        return broker_pb2.ListSupersessionsResponse(
            supersessions=[
                broker_pb2.Supersession(old_urn=old, new_urn=new, change=change, day=day)
                for old, new, change, day in shown.select("old", "new", "change", "day").rows()
            ],
            next_page_token=checks.next_token(first, size, found.height),
        )


def _mandate(mandate: checks.Mandate) -> access.Mandate:
    return access.Mandate(str(callers.current()), mandate.purpose)


def _place(token: str) -> bytes:
    try:
        place = bytes.fromhex(token)
    except ValueError:
        place = b"?"
    if len(place) not in (0, 16):
        raise FieldError(
            "The page token is none.", "Give back the one of the page before.", field="page_token"
        )
    return place


def _make_aid_key(keyset: Keyset, project: str) -> None:
    try:
        keyset.aid_key(project)
    except KeyMissingError:
        keyset.add_aid_key(project)  # refuses where there was one that is destroyed


def _make_urn_key(keyset: Keyset, project: str, recipient: str, following: bool) -> int:
    """Make the recipient's first key or the next one; the epoch of the present one."""
    try:
        key = keyset.urn_key(project, recipient)
    except KeyMissingError:
        return keyset.add_urn_key(project, recipient).epoch
    if following:
        key = keyset.rotate_urn_key(project, recipient)
    return key.epoch
