"""The servicer of `ReleaseService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from pseudonym.audit import Event
from pseudonym.errors import NotFoundError
from pseudonym.release.flow import Certify as CertifyRelease
from pseudonym.release.flow import ReleaseDesk
from pseudonym.release.keeping import Record, State
from pseudonym.release.papers import Statement
from pseudonym.release.spec import Spec
from pseudonym.roles import approving, callers, checks
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import Certify
from pseudonym.roles.opening import House
from pseudonym.roles.threads import to_peer
from pseudonym.v1 import release_pb2, release_pb2_grpc


class ReleaseServicer(release_pb2_grpc.ReleaseServiceServicer):
    """Analysis files on their way out."""

    def __init__(self, house: House, desk: ReleaseDesk) -> None:
        self._house, self._desk = house, desk

    async def CreateRelease(
        self, request: release_pb2.CreateReleaseRequest, context: object
    ) -> release_pb2.CreateReleaseResponse:
        mandate, asked = approving.mandates(request)
        text, person = approving.declared(request), callers.current().person
        record = await asyncio.to_thread(self._desk.create, text, person, asked, mandate.project)
        approving.note("release", record)
        return release_pb2.CreateReleaseResponse(release=message(record, self._now(), inside=True))

    async def CheckRelease(
        self, request: release_pb2.CheckReleaseRequest, context: object
    ) -> release_pb2.CheckReleaseResponse:
        mandate, asked = approving.mandates(request)
        name = checks.label(request.name, "name")

        def check() -> release_pb2.CheckReleaseResponse:
            record = self._desk.check(mandate.project, name, asked)
            # What was done is kept by request id, and not sealed: nothing of the release is in it.
            done = release_pb2.Release(name=record.name, project=record.project)
            return release_pb2.CheckReleaseResponse(release=done)

        # A request that is sent again builds nothing anew: that would make approvals void.
        done = self._house.repeats, "CheckRelease", request, release_pb2.CheckReleaseResponse, check
        await to_peer(checks.once, *done)
        record = await asyncio.to_thread(self._desk.get, mandate.project, name)
        approving.note("release", record)
        return release_pb2.CheckReleaseResponse(release=message(record, self._now(), inside=True))

    async def ApproveRelease(
        self, request: release_pb2.ApproveReleaseRequest, context: object
    ) -> release_pb2.ApproveReleaseResponse:
        mandate, asked = approving.mandates(request)
        name = checks.label(request.name, "name")
        approval = approving.approval(request)
        record = await asyncio.to_thread(self._desk.approve, mandate.project, name, asked, approval)
        approving.note("release", record)
        return release_pb2.ApproveReleaseResponse(release=message(record, self._now(), inside=True))

    async def ReadRelease(
        self, request: release_pb2.ReadReleaseRequest, context: object
    ) -> AsyncIterator[release_pb2.ReadReleaseResponse]:
        mandate, asked = approving.mandates(request)
        name = checks.label(request.name, "name")
        record, parts = await asyncio.to_thread(self._desk.read, mandate.project, name, asked, _researcher())
        approving.note("release", record)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield release_pb2.ReadReleaseResponse(content=part)

    async def CertifyDestroyed(
        self, request: release_pb2.CertifyDestroyedRequest, context: object
    ) -> release_pb2.CertifyDestroyedResponse:
        mandate, _ = approving.mandates(request)
        name = checks.label(request.name, "name")
        statement = approving.paper(Statement.from_file, request.statement, "statement")
        approving.check_person(statement.who)
        record = await asyncio.to_thread(self._desk.certify_destroyed, mandate.project, name, statement)
        approving.note("release", record)
        return release_pb2.CertifyDestroyedResponse(release=message(record, self._now()))

    async def GetRelease(
        self, request: release_pb2.GetReleaseRequest, context: object
    ) -> release_pb2.GetReleaseResponse:
        project, name = checks.label(request.project, "project"), checks.label(request.name, "name")
        record = await asyncio.to_thread(self._desk.get, project, name)
        person = _researcher()
        if person is not None and not _names(record, person):
            raise NotFoundError("The project has no release of this name for you.", "Ask who made it.")
        approving.note("release", record)
        shown = message(record, self._now(), inside=not _is_researcher())
        return release_pb2.GetReleaseResponse(release=shown)

    async def ListReleases(
        self, request: release_pb2.ListReleasesRequest, context: object
    ) -> release_pb2.ListReleasesResponse:
        project = checks.label(request.project, "project")
        first, size = checks.page(request)
        found = await asyncio.to_thread(self._desk.all, project)
        person = _researcher() if _is_researcher() else None
        mine = [one for one in found if person is None or _names(one, person)]
        now = self._now()
        return release_pb2.ListReleasesResponse(
            releases=[_line(one, now) for one in mine[first : first + size]],
            next_page_token=checks.next_token(first, size, len(mine)),
        )

    def _now(self) -> int:
        return self._house.store.now()


def message(record: Record, now: int, *, inside: bool = False) -> release_pb2.Release:
    """A release as a caller sees it.

    Args:
        record: as it is kept.
        now: seconds since 1970.
        inside: whether the caller makes or approves releases; a researcher sees no report, and the manifest
            only of what was approved.
    """
    shown = _line(record, now)
    if inside or record.state in (State.APPROVED, State.DELIVERED, State.DESTROYED):
        shown.manifest = record.manifest.encode()
    if inside:
        shown.report, shown.specification = record.report.encode(), record.spec.encode()
    shown.approvals.extend(one.encode() for one in record.approvals)
    shown.statement, shown.certificate = record.statement.encode(), record.certificate.encode()
    return shown


def release_certifier(certify: Certify) -> CertifyRelease:
    """How the role certifies that the recipient has stated a destruction, and what was deleted here."""

    def certified(record: Record, statement: Statement) -> bytes:
        how = (
            "The recipient states, with its signature, that all its copies are destroyed.",
            "The sealed content that was kept here was deleted.",
        )
        what = f"Release {record.name} for {record.recipient}."
        return certify(record.project, what, (statement.who,), {}, how=how)

    return certified


def overdue_alarm(house: House, desk: ReleaseDesk) -> Callable[[], int]:
    """The daily look for releases that expired and of which nobody stated the destruction, each an entry."""

    def alarm() -> int:
        overdue = desk.overdue()
        events = []
        for one in overdue:
            actor, purpose = "attributes-store", Spec.from_toml(one.spec).purpose
            details = f"{one.name} {one.recipient}".encode()
            events.append(Event(actor, "release.overdue", purpose, one.project, b"", 1, details))
        if events:
            house.log.append(events)
        return len(overdue)

    return alarm


def _line(record: Record, now: int) -> release_pb2.Release:
    return release_pb2.Release(
        name=record.name,
        project=record.project,
        recipient=record.recipient,
        state=f"RELEASE_STATE_{record.state.upper()}",
        requester=record.requester,
        expire_time=checks.timestamp(datetime.fromtimestamp(record.expires, UTC)),
        overdue=record.state is State.DELIVERED and now >= record.expires,
    )


def _is_researcher() -> bool:
    return callers.current().role is Role.RESEARCHER


def _researcher() -> str | None:
    """Who fetches; None for whoever else may call, and the development identity."""
    return callers.current().person if _is_researcher() else None


def _names(record: Record, person: str) -> bool:
    return person in Spec.from_toml(record.spec).researchers
