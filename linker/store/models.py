"""Models by project and name; an older one stays for the jobs that began with it."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from linker.refusals import NotFound, NotReady
from linker.resources import (
    Mandate,
    StoredModel,
)
from linker.store.database import (
    MODELS,
    REFERENCES,
    Database,
    doom,
    moment,
    new_id,
    notes,
    take,
    works,
)

WORD = "mod"  # at the start of the id of a model's key


class Models:
    """The models of all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, mandate: Mandate, name: str, model_digest: str, model_json: str, digest: bytes
    ) -> StoredModel:
        """Keep a model under a name, and return that model, whatever was put there since.

        Raises:
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            if take(connection, mandate, "PutModel", digest, name) is None:
                keep_model(connection, mandate.project, name, model_digest, model_json, "")
        return self.get(mandate.project, name, model_digest)[0]

    def get(self, project: str, name: str, digest: str = "") -> tuple[StoredModel, str]:
        """The last model of this name (or that of this digest) and its JSON.

        Raises:
            NotFound: there is none in the project.
        """
        query = sa.select(MODELS).where(MODELS.c.project == project, MODELS.c.name == name)
        if digest:
            query = query.where(MODELS.c.digest == digest)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(MODELS.c.seq.desc()).limit(1)).one_or_none()
            if row is None:
                raise _not_found()
            return _model(row), notes(connection).safe.reveal(row.key, "json", row.json).decode()

    def page(self, project: str, after: str, count: int) -> list[StoredModel]:
        """At most `count` models by name, after a name."""
        last = (
            sa.select(sa.func.max(MODELS.c.seq))
            .where(MODELS.c.project == project, MODELS.c.name > after)
            .group_by(MODELS.c.name)
        )
        query = sa.select(MODELS).where(MODELS.c.seq.in_(last)).order_by(MODELS.c.name).limit(count)
        with self._database.read() as connection:
            return [_model(row) for row in connection.execute(query)]

    def delete(self, mandate: Mandate, name: str, digest: bytes) -> None:
        """End a model, with all that were kept under its name before; keys are to be destroyed then.

        Raises:
            NotFound: there is none in the project.
            NotReady: a reference or a job that has not finished needs one of them.
            Conflict: the request id was used for another request.
        """
        of_it = sa.and_(MODELS.c.project == mandate.project, MODELS.c.name == name)
        with self._database.write() as connection:
            if take(connection, mandate, "DeleteModel", digest, name) is not None:
                return
            keys = list(connection.execute(sa.select(MODELS.c.key).where(of_it)).scalars())
            if not keys:
                raise _not_found()
            held = sa.select(REFERENCES.c.seq).where(
                REFERENCES.c.project == mandate.project, REFERENCES.c.model == name
            )
            waiting = any(one["model"] == name for one in works(connection, mandate.project))
            if waiting or connection.execute(held).first():
                raise NotReady(
                    "MODEL_IN_USE",
                    "A reference or an unfinished job needs the model.",
                    "Drop the reference, or cancel the job, first.",
                )
            connection.execute(sa.delete(MODELS).where(of_it))
            doom(connection, *keys)


def _not_found() -> NotFound:
    return NotFound("MODEL_NOT_FOUND", "There is no such model in the project.", field="name")


def keep_model(
    connection: sa.Connection, project: str, name: str, digest: str, model_json: str, job_id: str
) -> None:
    """Make this the last model of its name, under a key of its own: its frequencies are people's values."""
    key, safe = new_id(WORD), notes(connection).safe
    safe.make(key)
    sealed = safe.conceal(key, "json", model_json.encode())
    connection.execute(
        sa.insert(MODELS).values(
            project=project,
            name=name,
            digest=digest,
            key=key,
            json=sealed,
            job_id=job_id,
            updated=time.time(),
        )
    )


def _model(row: sa.Row[Any]) -> StoredModel:
    return StoredModel(row.name, row.digest, row.job_id, moment(row.updated))
