"""Where releases are kept: a sealed record and sealed parts each, and who is in, by internal id.

The rules this module keeps:

- Everything but names and the random ids is sealed under a key of the release, which is wrapped under a
  key-encrypting key and renewed with it. Nobody but the attributes role opens it.
- A release knows who is in it. Somebody who is erased, or becomes another person, or whose rows are taken
  away or turn out to be another's, is in none any more, so that it is noticed, and its content goes too; who
  was given out to a recipient stays, to hold later releases against it, until the project ends.
- A build is kept only if everybody who is in it is still there, and may be used, when it is.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from pseudonym.attribute_subjects import unwrapped
from pseudonym.attributes_context import AttributeContext
from pseudonym.errors import NotFoundError, ReleaseError
from pseudonym.release.bundle import ID_BYTES
from pseudonym.seal import new_deks
from pseudonym.sealed_files import SealedFile, seal_parts
from pseudonym.storage.rows_releases import ReleaseRows, SealedRelease

AT_ONCE = 1 << 20  # bytes of a stored part


class State(StrEnum):
    """How far a release has come."""

    CREATED = "created"
    BLOCKED = "blocked"  # checked, and something blocks
    CHECKED = "checked"  # may be approved
    APPROVED = "approved"
    DELIVERED = "delivered"
    DESTROYED = "destroyed"  # as the recipient states


@dataclass(frozen=True, slots=True)
class Record:
    """A release as it is kept.

    Attributes:
        id: 16 random bytes.
        project, name, recipient: whose it is.
        state: see `State`.
        spec: the specification's file.
        requester: the person who asked for it.
        expires: seconds since 1970, as are the other times.
        built: when its tables were built; 0 for never.
        persons: how many were in it then.
        manifest, report: files, or empty.
        columns: of each table, as `columns.Out` has them.
        approvals: files.
        delivered: when it was first given out; 0 for never.
        statement, certificate: files about its destruction, or empty.
    """

    id: bytes
    project: str
    name: str
    recipient: str
    state: State
    spec: str
    requester: str
    expires: int
    built: int = 0
    persons: int = 0
    manifest: str = ""
    report: str = ""
    columns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    approvals: tuple[str, ...] = ()
    delivered: int = 0
    statement: str = ""
    certificate: str = ""


class Releases:
    """The kept releases of one attribute store."""

    def __init__(self, context: AttributeContext) -> None:
        self._context, self._rows = context, ReleaseRows(context.rows.store)

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
            names = (made.name, made.recipient)
            self._rows.add(at, SealedRelease(made.id, project.number, *names, kek.kid, wrapped, sealed))
        return made

    def get(self, project: str, name: str) -> Record:
        """One by its name.

        Raises:
            NotFoundError: there is none, or no such project.
        """
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.get(at, rows.project(at, project).number, name)
        if found is None:
            raise NotFoundError("The project has no release of this name.", "List its releases.")
        return self._opened(found)

    def all(self, project: str) -> list[Record]:
        """All of a project, by name."""
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.of_project(at, rows.project(at, project).number)
        return [self._opened(one) for one in found]

    def everywhere(self) -> list[Record]:
        """All of all projects that are open."""
        rows = self._context.rows
        with rows.read() as at:
            projects = self._rows.projects(at)
        return [one for project in projects for one in self.all(project)]

    def put(
        self, record: Record, parts: Iterable[bytes] | None = None, persons: Sequence[bytes] | None = None
    ) -> Record:
        """Write a record, and with it parts and persons in the place of those before.

        Args:
            record: one that is kept.
            parts: pieces of a sealed file, of any length; None leaves what is there.
            persons: internal ids of who is in; None leaves what is there.

        Raises:
            ReleaseError: one of the persons was erased or restricted meanwhile; nothing is written.
        """
        key = self.key(record)
        with self._context.rows.write() as at:
            self._context.rows.alone(
                at
            )  # an erasure comes before, and is noticed, or after, and takes it away
            self._rows.put_record(at, record.id, _sealed(key, record))
            if parts is not None:
                self._rows.put_parts(at, record.id, _even(parts))
            if persons is not None:
                self._rows.put_persons(at, record.id, persons)
                if self._rows.usable(at, record.id) != len(persons):
                    raise ReleaseError(
                        "People were erased or restricted while the release was built.", "Check it again."
                    )
        return record

    def key(self, record: Record) -> bytes:
        """The key of a release.

        Danger: it opens the whole content; it goes to nobody but sealed to the recipient.
        """
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.get(at, rows.project(at, record.project).number, record.name)
        if found is None:
            raise NotFoundError("The release is not there any more.", "List the project's releases.")
        return self._key(found)

    def parts(self, record: Record) -> Iterator[bytes]:
        """The sealed content, part by part, each in a reading of its own."""
        number = 0
        while True:
            with self._context.rows.read() as at:
                part = self._rows.part(at, record.id, number)
            if part is None:
                return
            yield part
            number += 1

    def drop_parts(self, record: Record) -> int:
        """Delete the content; how many parts there were."""
        with self._context.rows.write() as at:
            return self._rows.drop_parts(at, record.id)

    def whole(self, record: Record) -> bool:
        """Whether all who were in it when it was built are there, and may be used."""
        with self._context.rows.read() as at:
            return self._rows.usable(at, record.id) == record.persons

    def shared(self, record: Record, aids: Sequence[bytes]) -> tuple[int, int]:
        """How many of these persons are in a release, and how many are in it at all."""
        with self._context.rows.read() as at:
            return self._rows.among(at, record.id, aids), self._rows.persons(at, record.id)

    def _key(self, found: SealedRelease) -> bytes:
        return unwrapped(self._context.keks, [(found.release_key, found.kid, found.wrapped)])[0]

    def _opened(self, found: SealedRelease) -> Record:
        content = opened_record(self._key(found), found.release_key, found.ct)
        content["id"], content["state"] = bytes.fromhex(content["id"]), State(content["state"])
        content["approvals"] = tuple(content["approvals"])
        return Record(**content)


_RECORD = "record"


def sealed_record(key: bytes, of: bytes, content: Mapping[str, Any]) -> bytes:
    """A record of plain types, sealed under the key of what it is about.

    Args:
        key: of the release or table.
        of: its id.
        content: the record.
    """
    return b"".join(seal_parts(key, of.hex(), _RECORD, [], json.dumps(content).encode()))


def opened_record(key: bytes, of: bytes, ct: bytes) -> dict[str, Any]:
    """Open what `sealed_record` sealed. Raises SealBrokenError."""
    content: dict[str, Any] = json.loads(SealedFile(key, of.hex(), _RECORD, io.BytesIO(ct)).end)
    return content


def _sealed(key: bytes, record: Record) -> bytes:
    return sealed_record(key, record.id, {**asdict(record), "id": record.id.hex()})


def _even(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of one length, so that the lengths of files do not show."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        while len(kept) >= AT_ONCE:
            yield bytes(kept[:AT_ONCE])
            del kept[:AT_ONCE]
    if kept:
        yield bytes(kept)
