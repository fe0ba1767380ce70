"""References by project and name, and how many changes of each are durable."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from linker.refusals import Conflict, Exhausted, NotFound
from linker.resources import Mandate, StoredReference
from linker.store.database import REFERENCES, Database, doom, moment, new_id, take


class References:
    """The references of all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        mandate: Mandate,
        name: str,
        submission_id: str,
        model: tuple[str, str],
        digest: bytes,
        most: int,
    ) -> StoredReference:
        """Note a reference, or find the one that the same request made.

        Args:
            mandate: who asks, and why.
            name: within the project.
            submission_id: where its records come from.
            model: name and digest.
            digest: of the request.
            most: references that there may be.

        Raises:
            Conflict: the request id was used for another request, or the name is taken.
            Exhausted: there are too many references.
            NotFound: the request was made before, and its reference is gone.
        """
        with self._database.write() as connection:
            reference_id = new_id("ref")
            known = take(connection, mandate, "LoadReference", digest, reference_id)
            if known is not None:
                return _one(connection, REFERENCES.c.reference_id == known)
            if connection.execute(sa.select(REFERENCES.c.seq).where(_named(mandate.project, name))).first():
                raise Conflict(
                    "REFERENCE_EXISTS",
                    "The project has a reference of this name already.",
                    "Choose another name, or drop that one first.",
                    field="name",
                )
            if connection.execute(sa.select(sa.func.count()).select_from(REFERENCES)).scalar_one() >= most:
                raise Exhausted(
                    "REFERENCES_FULL",
                    "The service holds as many references as it may.",
                    "Drop one first.",
                    retry_after=30.0,
                )
            connection.execute(
                sa.insert(REFERENCES).values(
                    reference_id=reference_id,
                    project=mandate.project,
                    name=name,
                    submission_id=submission_id,
                    model=model[0],
                    model_digest=model[1],
                    created=time.time(),
                )
            )
            return _one(connection, REFERENCES.c.reference_id == reference_id)

    def get(self, project: str, name: str) -> StoredReference:
        """The reference of this name.

        Raises:
            NotFound: there is none in the project.
        """
        with self._database.read() as connection:
            return _one(connection, _named(project, name))

    def page(self, project: str, after: str, count: int) -> list[StoredReference]:
        """At most `count` references by name, after a name."""
        query = (
            sa.select(REFERENCES)
            .where(REFERENCES.c.project == project, REFERENCES.c.name > after)
            .order_by(REFERENCES.c.name)
            .limit(count)
        )
        with self._database.read() as connection:
            return [_reference(row) for row in connection.execute(query)]

    def all(self) -> list[StoredReference]:
        """Every reference, the oldest first."""
        with self._database.read() as connection:
            return [
                _reference(row)
                for row in connection.execute(sa.select(REFERENCES).order_by(REFERENCES.c.seq))
            ]

    def drop(self, mandate: Mandate, name: str, digest: bytes) -> str | None:
        """Forget a reference; its key and files are to be destroyed then.

        Returns:
            Its id; None if the same request has dropped it before.

        Raises:
            NotFound: there is none in the project.
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            if take(connection, mandate, "DropReference", digest, name) is not None:
                return None
            reference = _one(connection, _named(mandate.project, name))
            connection.execute(
                sa.delete(REFERENCES).where(REFERENCES.c.reference_id == reference.reference_id)
            )
            doom(connection, reference.reference_id)
            return reference.reference_id

    def change(self, mandate: Mandate, method: str, digest: bytes, reference_id: str, number: int) -> bool:
        """Note that a change is durable.

        Returns:
            Whether it is new; nothing is noted if the same request was made before.

        Raises:
            NotFound: the reference was dropped meanwhile.
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            if take(connection, mandate, method, digest, reference_id) is not None:
                return False
            changed = connection.execute(
                sa.update(REFERENCES)
                .where(REFERENCES.c.reference_id == reference_id, REFERENCES.c.changes == number - 1)
                .values(changes=number)
            )
            if changed.rowcount != 1:
                raise _not_found()
            return True

    def fold(self, reference_id: str, number: int) -> None:
        """Note that the file of a change holds all changes up to it."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(REFERENCES).where(REFERENCES.c.reference_id == reference_id).values(folded=number)
            )


def _named(project: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(REFERENCES.c.project == project, REFERENCES.c.name == name)


def _not_found() -> NotFound:
    return NotFound("REFERENCE_NOT_FOUND", "There is no such reference in the project.", field="name")


def _one(connection: sa.Connection, which: sa.ColumnElement[bool]) -> StoredReference:
    row = connection.execute(sa.select(REFERENCES).where(which)).one_or_none()
    if row is None:
        raise _not_found()
    return _reference(row)


def _reference(row: sa.Row[Any]) -> StoredReference:
    return StoredReference(
        row.reference_id,
        row.name,
        row.project,
        row.submission_id,
        row.model,
        row.model_digest,
        row.changes,
        row.folded,
        moment(row.created),
    )
