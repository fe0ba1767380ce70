"""The servicer of `TableService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pseudonym.roles import approving, callers, checks
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import House
from pseudonym.roles.threads import to_peer
from pseudonym.tables.flow import Reader, TableDesk
from pseudonym.tables.keeping import Record
from pseudonym.tables.spec import TableSpec
from pseudonym.v1 import table_pb2, table_pb2_grpc

_DECIDING = (Role.DATA_PROTECTION_OFFICER, Role.APPROVER, None)


class TableServicer(table_pb2_grpc.TableServiceServicer):
    """Protected tables on their way out."""

    def __init__(self, house: House, desk: TableDesk) -> None:
        self._house, self._desk = house, desk

    async def CreateTable(
        self, request: table_pb2.CreateTableRequest, context: object
    ) -> table_pb2.CreateTableResponse:
        mandate, asked = approving.mandates(request)
        text, person = approving.declared(request), callers.current().person
        record = await asyncio.to_thread(self._desk.create, text, person, asked, mandate.project)
        approving.note("table", record)
        return table_pb2.CreateTableResponse(table=message(record))

    async def CheckTable(
        self, request: table_pb2.CheckTableRequest, context: object
    ) -> table_pb2.CheckTableResponse:
        mandate, asked = approving.mandates(request)
        name = checks.label(request.name, "name")

        def check() -> table_pb2.CheckTableResponse:
            record = self._desk.check(mandate.project, name, asked)
            # What was done is kept by request id, and not sealed: nothing of the table is in it.
            done = table_pb2.Table(name=record.name, project=record.project)
            return table_pb2.CheckTableResponse(table=done)

        # A request that is sent again counts nothing anew: that would make approvals void.
        done = self._house.repeats, "CheckTable", request, table_pb2.CheckTableResponse, check
        await to_peer(checks.once, *done)
        record = await asyncio.to_thread(self._desk.get, mandate.project, name)
        approving.note("table", record)
        return table_pb2.CheckTableResponse(table=message(record))

    async def ApproveTable(
        self, request: table_pb2.ApproveTableRequest, context: object
    ) -> table_pb2.ApproveTableResponse:
        mandate, asked = approving.mandates(request)
        name = checks.label(request.name, "name")
        approval = approving.approval(request)
        record = await asyncio.to_thread(self._desk.approve, mandate.project, name, asked, approval)
        approving.note("table", record)
        return table_pb2.ApproveTableResponse(table=message(record))

    async def ReadTable(
        self, request: table_pb2.ReadTableRequest, context: object
    ) -> table_pb2.ReadTableResponse:
        mandate, asked = approving.mandates(request)
        name = checks.label(request.name, "name")
        record, table = await asyncio.to_thread(self._desk.read, mandate.project, name, asked, _reader())
        approving.note("table", record)
        return table_pb2.ReadTableResponse(content=table.to_file())

    async def PublishTable(
        self, request: table_pb2.PublishTableRequest, context: object
    ) -> table_pb2.PublishTableResponse:
        mandate, asked = approving.mandates(request)
        name, caller = checks.label(request.name, "name"), callers.current()
        person = caller.person if caller.role is not None else None
        record = await asyncio.to_thread(self._desk.publish, mandate.project, name, asked, person)
        approving.note("table", record)
        return table_pb2.PublishTableResponse(table=message(record))

    async def GetTable(
        self, request: table_pb2.GetTableRequest, context: object
    ) -> table_pb2.GetTableResponse:
        project, name = checks.label(request.project, "project"), checks.label(request.name, "name")
        record = await asyncio.to_thread(self._desk.get, project, name)
        approving.note("table", record)
        return table_pb2.GetTableResponse(table=message(record))

    async def ListTables(
        self, request: table_pb2.ListTablesRequest, context: object
    ) -> table_pb2.ListTablesResponse:
        project = checks.label(request.project, "project")
        first, size = checks.page(request)
        found = await asyncio.to_thread(self._desk.all, project, _reader())
        return table_pb2.ListTablesResponse(
            tables=[_line(one) for one in found[first : first + size]],
            next_page_token=checks.next_token(first, size, len(found)),
        )


def message(record: Record) -> table_pb2.Table:
    """A table as those see it who make and approve it."""
    shown = _line(record)
    shown.requester, shown.publisher = record.requester, record.publisher
    shown.manifest, shown.report = record.manifest.encode(), record.report.encode()
    shown.specification, shown.content = record.spec.encode(), record.table.encode()
    shown.approvals.extend(one.encode() for one in record.approvals)
    return shown


def _line(record: Record) -> table_pb2.Table:
    spec = TableSpec.from_toml(record.spec)
    shown = table_pb2.Table(
        name=record.name,
        project=record.project,
        title=spec.title,
        audience=str(spec.audience),
        state=f"TABLE_STATE_{record.state.upper()}",
    )
    for field, when in (("release_time", record.released), ("publish_time", record.published)):
        if when:
            getattr(shown, field).CopyFrom(checks.timestamp(datetime.fromtimestamp(when, UTC)))
    return shown


def _reader() -> Reader:
    caller = callers.current()
    return Reader(caller.person, caller.role is Role.COUNCIL, caller.role in _DECIDING)
