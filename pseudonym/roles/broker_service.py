"""The servicer of `BrokerService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TypeVar

import polars as pl

from pseudonym import access, hpke, uses
from pseudonym.broker import Broker
from pseudonym.changes import renewal_context, sealed
from pseudonym.errors import KeyMissingError, NotFoundError
from pseudonym.holders import PrfKey
from pseudonym.keys import Keyset
from pseudonym.requests import Request
from pseudonym.roles import callers, checks, ending
from pseudonym.roles.arrow import ROWS, ReadArrow, frame, written
from pseudonym.roles.destroying import Certify
from pseudonym.roles.erasure_desk import ErasureDesk
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError
from pseudonym.roles.register_methods import RegisterMethods
from pseudonym.roles.wayback_desk import Kept, WaybackDesk
from pseudonym.tracing import WAY_BACK
from pseudonym.v1 import broker_pb2, broker_pb2_grpc

T = TypeVar("T")


class BrokerServicer(RegisterMethods, broker_pb2_grpc.BrokerServiceServicer):
    """The broker's operations."""

    def __init__(
        self,
        house: House,
        broker: Broker,
        wayback: WaybackDesk,
        erasures: ErasureDesk,
        certify: Certify,
        ended: Callable[[str], bool],
        read: ReadArrow,
    ) -> None:
        self._house, self._broker, self._wayback, self._read = house, broker, wayback, read
        self._erasures, self._certify, self._ended = erasures, certify, ended
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
            rows = frame(self._read, request.arrow, ("row_ref", "pid", "unit", "fid"))
            account().count = rows.height
            taken = self._broker.take(mandate.project, rows)
            return broker_pb2.MapSubjectsResponse(rows=taken.rows, erased=taken.erased)

        return await asyncio.to_thread(take)

    async def ListRows(
        self, request: broker_pb2.ListRowsRequest, context: object
    ) -> broker_pb2.ListRowsResponse:
        project = checks.label(request.project, "project")
        after, size = checks.place(request.page_token), min(request.page_size or ROWS, ROWS)

        def outgoing() -> broker_pb2.ListRowsResponse:
            rows = self._broker.outgoing(project, after, size)
            account().count = rows.height
            more = rows["row_ref"][-1].hex() if rows.height == size else ""
            return broker_pb2.ListRowsResponse(
                arrow=written(rows.rename({"family": "family_aid"})), next_page_token=more
            )

        return await asyncio.to_thread(outgoing)

    async def MoveSubjects(
        self, request: broker_pb2.MoveSubjectsRequest, context: object
    ) -> broker_pb2.MoveSubjectsResponse:
        purpose = checks.purpose(request.mandate.purpose, "mandate.purpose")
        kind = checks.kind(request.kind)
        asked = access.Mandate(str(callers.current()), purpose)

        def follow() -> broker_pb2.MoveSubjectsResponse:
            changes = frame(self._read, request.changes, ("before", "after"), ("left",))
            members = frame(self._read, request.members, ("unit", "holder"))
            account().count = changes.height
            moves = self._broker.changes.follow(kind, changes, members, asked)
            return broker_pb2.MoveSubjectsResponse(moves=sum(moves.values()))

        return await asyncio.to_thread(follow)

    async def FollowMoves(
        self, request: broker_pb2.FollowMovesRequest, context: object
    ) -> broker_pb2.FollowMovesResponse:
        mandate = checks.mandate(request.mandate)

        def moves() -> broker_pb2.FollowMovesResponse:
            found = self._broker.changes.moves(mandate.project, request.after, ROWS)
            account().count = found.height
            text = found.with_columns(pl.col("number").cast(pl.String))
            return broker_pb2.FollowMovesResponse(arrow=written(text), more=found.height == ROWS)

        return await asyncio.to_thread(moves)

    async def AcknowledgeRows(
        self, request: broker_pb2.AcknowledgeRowsRequest, context: object
    ) -> broker_pb2.AcknowledgeRowsResponse:
        mandate = checks.mandate(request.mandate)

        def acknowledge() -> broker_pb2.AcknowledgeRowsResponse:
            rows = frame(self._read, request.arrow, ("row_ref",))
            account().count = rows.height
            forgotten = self._broker.acknowledge(mandate.project, rows, request.run or None)
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

    async def ListRecordKeys(
        self, request: broker_pb2.ListRecordKeysRequest, context: object
    ) -> broker_pb2.ListRecordKeysResponse:
        project, purpose = (
            checks.label(request.project, "project"),
            checks.purpose(request.purpose, "purpose"),
        )
        asked = access.Mandate(str(callers.current()), purpose)

        def keys() -> broker_pb2.ListRecordKeysResponse:
            aids = frame(self._read, request.arrow, ("aid",))
            account().count = aids.height
            key = _cell_key(self._house.keyset, project)
            return broker_pb2.ListRecordKeysResponse(keys=self._broker.record_keys(project, aids, key, asked))

        return await asyncio.to_thread(keys)

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
            onward = self._broker.changes.onward(mandate.project, found)
            return broker_pb2.ResolveAidsResponse(arrow=written(onward.with_columns(found["reason"])))

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

    async def RenewUrns(
        self, request: broker_pb2.RenewUrnsRequest, context: object
    ) -> AsyncIterator[broker_pb2.RenewUrnsResponse]:
        mandate, recipient = checks.mandate(request.mandate), checks.label(request.recipient, "recipient")
        project, public, asked = mandate.project, request.public_key, _mandate(mandate)

        def begin() -> tuple[int, Iterator[tuple[int, bool, bytes]]]:
            hpke.seal(public, b"")  # refuses what is no key, before anything is made
            lists = self._broker.changes.renewed(project, recipient, request.old_epoch, asked)
            epoch = self._house.keyset.urn_key(project, recipient).epoch
            epochs = request.old_epoch, epoch

            def seal(number: int, last: bool, plain: bytes) -> bytes:
                return hpke.seal(public, plain, *renewal_context(project, recipient, epochs, number, last))

            return epoch, sealed(lists, seal)

        epoch, parts = await asyncio.to_thread(begin)
        account().details = {"recipient": recipient, "key": hashlib.sha256(public).hexdigest()}
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            number, last, content = part
            yield broker_pb2.RenewUrnsResponse(number=number, last=last, sealed=content, new_epoch=epoch)

    async def DestroyDomain(
        self, request: broker_pb2.DestroyDomainRequest, context: object
    ) -> broker_pb2.DestroyDomainResponse:
        mandate, recipient = checks.mandate(request.mandate), checks.label(request.recipient, "recipient")
        asked = _mandate(mandate)

        def destroy() -> broker_pb2.DestroyDomainResponse:
            project, keyset = mandate.project, self._house.keyset
            doomed = [request.epoch] if request.epoch else ending.epochs(keyset, project, recipient)
            if not doomed:
                raise NotFoundError("The project has no such recipient.", "Check its name.")
            kids: list[str] = []
            counts = Counter[str]()
            for epoch in doomed:
                shred = ending.shredder(keyset, ending.of_epoch(project, recipient, epoch))
                gone, rows = self._broker.erasure.destroy_domain(project, recipient, epoch, shred, asked)
                kids += gone
                counts.update(rows)
            what = f"Keys and reference numbers of {recipient}, epochs {', '.join(map(str, doomed))}."
            certificate = self._certify(project, what, (asked.actor,), counts, kids)
            checkpoint = ending.noted(self._house, project, asked, certificate)
            return broker_pb2.DestroyDomainResponse(certificate=certificate, checkpoint=checkpoint)

        account().details = {"recipient": recipient, "epoch": str(request.epoch)}
        answer: broker_pb2.DestroyDomainResponse = await asyncio.to_thread(
            checks.once,
            self._house.repeats,
            "DestroyDomain",
            request,
            broker_pb2.DestroyDomainResponse,
            destroy,
        )
        return answer

    async def ListMembers(
        self, request: broker_pb2.ListMembersRequest, context: object
    ) -> broker_pb2.ListMembersResponse:
        project, after = checks.label(request.project, "project"), checks.place(request.page_token)
        asked = access.Mandate(str(callers.current()), "end-of-project")
        erasure, more = self._broker.erasure, None
        if request.pids:
            some = _ids(request.pids)
            pids = await asyncio.to_thread(erasure.nowhere_else, project, some, self._ended)
        else:
            pids, more = await asyncio.to_thread(erasure.only_here, project, asked, after, self._ended)
        account().count = len(pids)
        return broker_pb2.ListMembersResponse(pids=pids, next_page_token=more.hex() if more else "")

    async def EraseSubjects(
        self, request: broker_pb2.BrokerServiceEraseSubjectsRequest, context: object
    ) -> broker_pb2.BrokerServiceEraseSubjectsResponse:
        mandate, requester = checks.mandate(request.mandate), callers.read(request.requester)
        pids = _ids(request.pids)
        asked = access.Mandate(str(requester), mandate.purpose)
        account().count = len(pids)
        return await asyncio.to_thread(self._erasures.take, request.erasure_id, mandate.project, asked, pids)

    async def ListErasures(
        self, request: broker_pb2.ListErasuresRequest, context: object
    ) -> broker_pb2.ListErasuresResponse:
        waiting = await asyncio.to_thread(self._erasures.waiting)
        account().count = len(waiting)
        return broker_pb2.ListErasuresResponse(erasures=waiting)

    async def AcknowledgeErasure(
        self, request: broker_pb2.AcknowledgeErasureRequest, context: object
    ) -> broker_pb2.AcknowledgeErasureResponse:
        checks.mandate(request.mandate)
        forgotten = await asyncio.to_thread(self._erasures.followed, request.erasure_id, request.certificate)
        account().count = forgotten
        return broker_pb2.AcknowledgeErasureResponse()

    async def ListErasedUrns(
        self, request: broker_pb2.ListErasedUrnsRequest, context: object
    ) -> broker_pb2.ListErasedUrnsResponse:
        project, recipient = (checks.label(getattr(request, one), one) for one in ("project", "recipient"))
        first, size = checks.page(request)
        since = request.since_day
        found = await asyncio.to_thread(self._broker.erasure.erased, project, recipient, since)
        shown = found.slice(first, size)
        account().count = shown.height
        return broker_pb2.ListErasedUrnsResponse(
            erased=[broker_pb2.ErasedUrn(urn=urn, day=day) for urn, day in shown.select("urn", "day").rows()],
            next_page_token=checks.next_token(first, size, found.height),
        )


def _ids(pids: Sequence[bytes]) -> list[bytes]:
    if len(pids) > ROWS:
        raise FieldError(f"There are more than {ROWS} ids.", "Send fewer at a time.", field="pids")
    return list(pids)


def _mandate(mandate: checks.Mandate) -> access.Mandate:
    return access.Mandate(str(callers.current()), mandate.purpose)


def _make_aid_key(keyset: Keyset, project: str) -> None:
    try:
        keyset.aid_key(project)
    except KeyMissingError:
        keyset.add_aid_key(project)  # refuses where there was one that is destroyed


def _cell_key(keyset: Keyset, project: str) -> PrfKey:
    """The project's key for record keys, made when it is first asked for."""
    try:
        return keyset.cell_key(project)
    except KeyMissingError:
        keyset.add(f"{uses.CKP}:{project}")  # refuses where there was one that is destroyed
        return keyset.cell_key(project)


def _make_urn_key(keyset: Keyset, project: str, recipient: str, following: bool) -> int:
    """Make the recipient's first key, or the next one, also after one that is destroyed; its epoch.

    Raises:
        KeyMissingError: the present key was destroyed, and no next one is asked for.
    """
    if not ending.epochs(keyset, project, recipient):
        return keyset.add_urn_key(project, recipient).epoch
    if following:
        return keyset.rotate_urn_key(project, recipient).epoch
    return keyset.urn_key(project, recipient).epoch
