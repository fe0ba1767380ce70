"""Where protected tables are kept: a sealed record each, with what may be read and what the register knows.

The rule this module keeps: everything but names and random ids is sealed under a key of the table, which is
wrapped under a key-encrypting key and renewed with it. Nobody but the attributes role opens it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from pseudonym.attribute_subjects import unwrapped
from pseudonym.attributes_context import AttributeContext
from pseudonym.errors import NotFoundError
from pseudonym.release.bundle import ID_BYTES
from pseudonym.release.keeping import opened_record, sealed_record
from pseudonym.seal import new_deks
from pseudonym.storage.rows_tables import SealedTable, TableRows


class State(StrEnum):
    """How far a table has come."""

    CREATED = "created"
    BLOCKED = "blocked"  # checked, and kept back
    CHECKED = "checked"  # may be approved
    APPROVED = "approved"  # released: it may be read, and later tables are held against it
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Record:
    """A table as it is kept.

    Attributes:
        id: 16 random bytes.
        project, name: whose it is.
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

    id: bytes
    project: str
    name: str
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


class Tables:
    """The kept tables of one attribute store."""

    def __init__(self, context: AttributeContext) -> None:
        self._context, self._rows = context, TableRows(context.rows.store)

    def now(self) -> int:
        """The store's clock: seconds since 1970."""
        return self._context.rows.store.now()

    def add(self, record: Record) -> Record:
        """Keep a new one, under a random id.

        Raises:
            DuplicateError: the project has one of this name.
            NotFoundError, EndedError: there is no such project, or it has ended.
        """
        made = replace(record, id=os.urandom(ID_BYTES))
        (key,) = new_deks(1)
        rows = self._context.rows
        with rows.write() as at:
            rows.alone(at)  # the key-encrypting key stays the present one until this is on disk
            project = rows.project(at, made.project)
            kek = self._context.keks.current
            (wrapped,) = kek.wrap_all([key], [made.id])
            sealed = _sealed(key, made)
            self._rows.add(at, SealedTable(made.id, project.number, made.name, kek.kid, wrapped, sealed))
        return made

    def get(self, project: str, name: str) -> Record:
        """One by its name.

        Raises:
            NotFoundError: there is none, or no such project.
        """
        return self._opened(self._found(project, name))

    def all(self, project: str) -> list[Record]:
        """All of a project, by name."""
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.of_project(at, rows.project(at, project).number)
        return [self._opened(one) for one in found]

    def put(self, record: Record) -> Record:
        """Write a record in the place of the one before, whole or not at all."""
        key = self._key(self._found(record.project, record.name))
        with self._context.rows.write() as at:
            self._rows.put_record(at, record.id, _sealed(key, record))
        return record

    def _found(self, project: str, name: str) -> SealedTable:
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.get(at, rows.project(at, project).number, name)
        if found is None:
            raise NotFoundError("The project has no table of this name.", "List its tables.")
        return found

    def _key(self, found: SealedTable) -> bytes:
        return unwrapped(self._context.keks, [(found.table_key, found.kid, found.wrapped)])[0]

    def _opened(self, found: SealedTable) -> Record:
        content = opened_record(self._key(found), found.table_key, found.ct)
        content["id"], content["state"] = bytes.fromhex(content["id"]), State(content["state"])
        for name in ("approvals", "against"):
            content[name] = tuple(content[name])
        return Record(**content)


def _sealed(key: bytes, record: Record) -> bytes:
    return sealed_record(key, record.id, {**asdict(record), "id": record.id.hex()})
