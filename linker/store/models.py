"""Models by project and name; an older one stays for the jobs that began with it."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from linker.refusals import NotFound
from linker.resources import (
    Mandate,
    StoredModel,
)
from linker.store.database import (
    MODELS,
    Database,
    moment,
    take,
)


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
            raise NotFound("MODEL_NOT_FOUND", "There is no such model in the project.", field="name")
        return _model(row), row.json

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


def keep_model(
    connection: sa.Connection, project: str, name: str, digest: str, model_json: str, job_id: str
) -> None:
    """Make this the last model of its name."""
    connection.execute(
        sa.insert(MODELS).values(
            project=project, name=name, digest=digest, json=model_json, job_id=job_id, updated=time.time()
        )
    )


def _model(row: sa.Row[Any]) -> StoredModel:
    return StoredModel(row.name, row.digest, row.job_id, moment(row.updated))
