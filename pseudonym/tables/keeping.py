"""Where protected tables are kept: sealed records, with what may be read and what the register knows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pseudonym.attributes_context import AttributeContext
from pseudonym.files import canonical
from pseudonym.release.records import Named, Records
from pseudonym.release.spec import digest
from pseudonym.storage.rows_tables import SealedTable, TableRows
from pseudonym.tables.spec import TableSpec

MANIFEST_FORMAT: Final = "kinlink-table-manifest/1"


class State(StrEnum):
    """How far a table has come."""

    CREATED = "created"
    BLOCKED = "blocked"  # checked, and kept back
    CHECKED = "checked"  # may be approved
    APPROVED = "approved"  # released: it may be read, and later tables are held against it
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Record(Named):
    """A table as it is kept.

    Attributes:
        id, project, name: see `Named`.
        state: see `State`.
        spec: the declaration's file.
        requester: the person who asked for it.
        built: when it was counted, in seconds since 1970, as are the other times; 0 for never.
        persons: how many were counted then.
        manifest, report, table: files, or empty; `table` is what may be read.
        facts: what the register keeps of it; empty where it is kept back.
        standing: whose data might be used then, as `AttributeRights.standing` says it.
        against: the released tables that it was held against.
        approvals: files.
        released: when the second approval came; 0 for never.
        published: when it was marked for publication; 0 for never.
        publisher: the approver who did.
    """

    state: State
    spec: str
    requester: str
    built: int = 0
    persons: int = 0
    manifest: str = ""
    report: str = ""
    table: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    standing: str = ""
    against: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    released: int = 0
    published: int = 0
    publisher: str = ""

    @property
    def is_released(self) -> bool:
        """Whether two people have approved it."""
        return self.state in (State.APPROVED, State.PUBLISHED)


class Tables(Records[Record, SealedTable]):
    """The kept tables of one attribute store."""

    WHAT = "table"

    _rows: TableRows

    def __init__(self, context: AttributeContext) -> None:
        super().__init__(context, TableRows(context.rows.store))

    def put(self, record: Record) -> Record:
        """Write a record in the place of the one before, whole or not at all."""
        sealed = self._sealed(record)
        with self._context.rows.write() as at:
            self._rows.put_record(at, record.id, sealed)
        return record

    def _row(self, record: Record, project: int, kid: str, wrapped: bytes, ct: bytes) -> SealedTable:
        return SealedTable(record.id, project, record.name, kid, wrapped, ct)

    def _read(self, content: dict[str, Any]) -> Record:
        content["state"] = State(content["state"])
        for name in ("approvals", "against"):
            content[name] = tuple(content[name])
        return Record(**content)


def manifest_of(record: Record, spec: TableSpec) -> str:
    """What approvers sign the digest of: everything that the table is, and what it was held against."""
    said = {
        "format": MANIFEST_FORMAT,
        "table": record.name,
        "id": record.id.hex(),
        "project": record.project,
        "purpose": spec.purpose,
        "requester": record.requester,
        "approvers": list(spec.approvers),
        "built": record.built,
        "persons": record.persons,
        "specification": digest(record.spec).hex(),
        "report": hashlib.sha256(record.report.encode()).hexdigest(),
        "content": hashlib.sha256(record.table.encode()).hexdigest(),
        "against": list(record.against),
    }
    return canonical(said).decode()
