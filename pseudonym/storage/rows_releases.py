"""The releases' tables, as `pseudonym.release.keeping` uses them: sealed records and parts, and who is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.rows_sealed import SealedRows
from pseudonym.storage.schema_attributes import PROJECT, RELEASE, RELEASE_PART, RELEASE_PERSON, SUBJECT

LIMITED = 4  # `pseudonym.attribute_subjects.Flag.LIMITED`


class SealedRelease(NamedTuple):
    """A release with its wrapped key and sealed record."""

    release_key: bytes
    project: int
    name: str
    recipient: str
    kid: str
    wrapped: bytes
    ct: bytes

    @property
    def id(self) -> bytes:
        """The release's."""
        return self.release_key


class ReleaseRows(SealedRows[SealedRelease]):
    """The releases in the attributes' database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, RELEASE, SealedRelease._make)

    def put_parts(self, at: sa.Connection, release_key: bytes, parts: Iterator[bytes]) -> None:
        """Put sealed parts in the place of those before."""
        self.drop_parts(at, release_key)
        for number, part in enumerate(parts):
            columns: dict[str, list[Any]] = {"release_key": [release_key], "number": [number], "ct": [part]}
            self.store.insert(at, RELEASE_PART, columns)

    def drop_parts(self, at: sa.Connection, release_key: bytes) -> int:
        """Delete the parts of one; how many there were."""
        gone = at.execute(sa.delete(RELEASE_PART).where(RELEASE_PART.c.release_key == release_key)).rowcount
        if gone:
            self.store.purge_later(at)
        return gone

    def part(self, at: sa.Connection, release_key: bytes, number: int) -> bytes | None:
        """One sealed part, by its number from 0."""
        here = (RELEASE_PART.c.release_key == release_key) & (RELEASE_PART.c.number == number)
        found = at.execute(sa.select(RELEASE_PART.c.ct).where(here)).scalar_one_or_none()
        return bytes(found) if found is not None else None

    def put_persons(self, at: sa.Connection, release_key: bytes, aids: Sequence[bytes]) -> None:
        """Put who is in one in the place of who was."""
        if at.execute(sa.delete(RELEASE_PERSON).where(RELEASE_PERSON.c.release_key == release_key)).rowcount:
            self.store.purge_later(at)
        ordered = sorted(aids)
        self.store.insert(at, RELEASE_PERSON, {"release_key": [release_key] * len(ordered), "aid": ordered})

    def persons(self, at: sa.Connection, release_key: bytes) -> int:
        """How many are in one, as far as they are still known."""
        query = sa.select(sa.func.count()).where(RELEASE_PERSON.c.release_key == release_key)
        return int(at.execute(query).scalar_one())

    def usable(self, at: sa.Connection, release_key: bytes) -> int:
        """How many of those in one are there and not flagged."""
        query = sa.select(sa.func.count()).select_from(RELEASE_PERSON)
        query = query.join(SUBJECT, SUBJECT.c.aid == RELEASE_PERSON.c.aid)
        # Who is limited left the releases for the purposes in question when that was noted.
        free = SUBJECT.c.flags.in_([0, LIMITED])
        query = query.where(RELEASE_PERSON.c.release_key == release_key, free)
        return int(at.execute(query).scalar_one())

    def people(self, at: sa.Connection, release_key: bytes, after: bytes, limit: int) -> list[bytes]:
        """Who is in one, by internal id, some at a time."""
        query = sa.select(RELEASE_PERSON.c.aid).where(
            RELEASE_PERSON.c.release_key == release_key, RELEASE_PERSON.c.aid > after
        )
        return list(at.execute(query.order_by(RELEASE_PERSON.c.aid).limit(limit)).scalars())

    def leave(self, at: sa.Connection, release_key: bytes, aids: Sequence[bytes]) -> None:
        """Take people out of one, which is then not given out any more."""
        pairs = {"release_key": [release_key] * len(aids), "aid": list(aids)}
        self.store.delete(at, RELEASE_PERSON, pairs)

    def among(self, at: sa.Connection, release_key: bytes, aids: Sequence[bytes]) -> int:
        """How many of these are in one."""
        query = sa.select(RELEASE_PERSON.c.aid).where(RELEASE_PERSON.c.release_key == release_key)
        return sum(1 for _ in self.store.among(at, query, RELEASE_PERSON.c.aid, aids))

    def projects(self, at: sa.Connection) -> list[str]:
        """The names of the projects that have any."""
        query = sa.select(PROJECT.c.name).where(PROJECT.c.number.in_(sa.select(RELEASE.c.project)))
        return list(at.execute(query.order_by(PROJECT.c.name)).scalars())

    def delete_project(self, project: int) -> dict[str, int]:
        """Delete a project's releases; counts by table, of those that had any."""
        with self.store.transaction() as at:
            keys = sa.select(RELEASE.c.release_key).where(RELEASE.c.project == project)
            counts = {
                table.name: at.execute(sa.delete(table).where(table.c.release_key.in_(keys))).rowcount
                for table in (RELEASE_PART, RELEASE_PERSON, RELEASE)
            }
            if any(counts.values()):
                self.store.purge_later(at)
        return {name: count for name, count in counts.items() if count}
