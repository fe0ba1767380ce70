"""Where releases are kept: a sealed record and sealed parts each, and who is in, by internal id.

The rules this module keeps:

- Everything but names and the random ids is sealed, as `records` has it.
- A release knows who is in it. Somebody who is erased, or becomes another person, or whose rows are taken
  away or turn out to be another's, is in none any more, so that it is noticed, and its content goes too; who
  was given out to a recipient stays, to hold later releases against it, until the project ends.
- A build is kept only if everybody who is in it is still there, and may be used, when it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pseudonym.attributes_context import AttributeContext
from pseudonym.errors import ReleaseError
from pseudonym.release.records import Named, Records
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
class Record(Named):
    """A release as it is kept.

    Attributes:
        id, project, name: see `Named`.
        recipient: whose numbers it has.
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


class Releases(Records[Record, SealedRelease]):
    """The kept releases of one attribute store."""

    WHAT = "release"

    _rows: ReleaseRows

    def __init__(self, context: AttributeContext) -> None:
        super().__init__(context, ReleaseRows(context.rows.store))

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
        sealed = self._sealed(record)
        with self._context.rows.write() as at:
            self._context.rows.alone(
                at
            )  # an erasure comes before, and is noticed, or after, and takes it away
            self._rows.put_record(at, record.id, sealed)
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
        return self._key(self._found(record.project, record.name))

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

    def _row(self, record: Record, project: int, kid: str, wrapped: bytes, ct: bytes) -> SealedRelease:
        return SealedRelease(record.id, project, record.name, record.recipient, kid, wrapped, ct)

    def _read(self, content: dict[str, Any]) -> Record:
        content["state"], content["approvals"] = State(content["state"]), tuple(content["approvals"])
        return Record(**content)


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
