"""Batches as they arrive, chunk by chunk, and the submissions they become."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from linker.refusals import Conflict, NotFound
from linker.resources import (
    Batch,
    FieldReading,
    Format,
    Mandate,
    Problem,
    Submission,
    SubmissionKind,
    SubmissionState,
)
from linker.store.database import (
    BATCHES,
    CHUNKS,
    SUBMISSIONS,
    Database,
    inserted,
    moment,
    new_id,
    problem_json,
    take,
    to_json,
)

_QUERY = sa.select(SUBMISSIONS, BATCHES.c.header, BATCHES.c.chunks, BATCHES.c.rows)


class Submissions:
    """Batches and submissions; a batch is a sender's name for a submission."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, batch: Batch, mandate: Mandate, digest: bytes) -> tuple[int, Submission]:
        """The batch's key and its submission; made if the batch is new.

        Raises:
            Conflict: the batch or the request id was used with another header.
        """
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(BATCHES).where(
                    BATCHES.c.project == mandate.project, BATCHES.c.batch_id == batch.batch_id
                )
            ).one_or_none()
            if row is not None and row.header != to_json(asdict(batch)):
                raise Conflict(
                    "BATCH_CONFLICT",
                    "The batch id was used for an upload with another header.",
                    "Repeat the header unchanged, or choose a new batch id.",
                    field="header.batch_id",
                )
            take(connection, mandate, "Submit", digest, batch.batch_id)
            if row is None:
                submission_id = new_id("sub")
                key = inserted(
                    connection,
                    sa.insert(BATCHES).values(
                        project=mandate.project,
                        batch_id=batch.batch_id,
                        header=to_json(asdict(batch)),
                        submission_id=submission_id,
                    ),
                )
                connection.execute(
                    sa.insert(SUBMISSIONS).values(
                        submission_id=submission_id,
                        project=mandate.project,
                        kind=batch.kind,
                        batch=key,
                        state=SubmissionState.RECEIVING,
                        created=time.time(),
                    )
                )
            else:
                key = row.seq
            return key, _submission(_one_submission(connection, mandate.project, BATCHES.c.seq == key))

    def totals(self, key: int) -> tuple[int, int, int]:
        """Durable chunks, rows and bytes of a batch."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(BATCHES.c.chunks, BATCHES.c.rows, BATCHES.c.bytes).where(BATCHES.c.seq == key)
            ).one()
            return row.chunks, row.rows, row.bytes

    def chunk_digests(self, key: int, number: int | None = None) -> list[bytes]:
        """The digests of the durable chunks of a batch, in order; or of the one with this number."""
        query = sa.select(CHUNKS.c.sha256).where(CHUNKS.c.batch == key).order_by(CHUNKS.c.number)
        if number is not None:
            query = query.where(CHUNKS.c.number == number)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def add_chunks(self, key: int, first: int, chunks: Sequence[tuple[bytes, int, int]]) -> bool:
        """Note that chunks are durable.

        Args:
            key: of the batch.
            first: the number of the first of them; the others follow it.
            chunks: digest, rows and bytes of each.

        Returns:
            Whether the first is the one that comes next; nothing is noted otherwise.
        """
        with self._database.write() as connection:
            updated = connection.execute(
                sa.update(BATCHES)
                .where(BATCHES.c.seq == key, BATCHES.c.chunks == first - 1)
                .values(
                    chunks=first - 1 + len(chunks),
                    rows=BATCHES.c.rows + sum(rows for _, rows, _ in chunks),
                    bytes=BATCHES.c.bytes + sum(size for _, _, size in chunks),
                )
            )
            if updated.rowcount != 1:
                return False
            noted = [
                {"batch": key, "number": number, "sha256": sha256}
                for number, (sha256, _, _) in enumerate(chunks, start=first)
            ]
            connection.execute(sa.insert(CHUNKS), noted)
            return True

    def receiving(self) -> set[str]:
        """The ids of all submissions that are not complete."""
        query = sa.select(SUBMISSIONS.c.submission_id).where(SUBMISSIONS.c.state == SubmissionState.RECEIVING)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def same_content(self, project: str, kind: SubmissionKind, digest: bytes) -> str | None:
        """The id of the ready submission of this content, if there is one."""
        with self._database.read() as connection:
            return _same(connection, project, kind, digest)

    def complete(self, key: int, submission: Submission) -> Submission:
        """Keep the outcome of a complete upload.

        If the project already holds the same content, the batch becomes another name of that submission.

        Args:
            key: of the batch.
            submission: as it shall be kept; it is no longer RECEIVING.

        Returns:
            The submission as it is kept, or the earlier one.
        """
        with self._database.write() as connection:
            earlier = None
            if submission.state is SubmissionState.READY:
                earlier = _same(connection, submission.project, submission.kind, submission.content_sha256)
            mine = SUBMISSIONS.c.submission_id == submission.submission_id
            if earlier is not None and earlier != submission.submission_id:
                connection.execute(
                    sa.update(BATCHES).where(BATCHES.c.seq == key).values(submission_id=earlier)
                )
                connection.execute(sa.delete(SUBMISSIONS).where(mine))
            else:
                connection.execute(
                    sa.update(SUBMISSIONS)
                    .where(mine)
                    .values(
                        state=submission.state,
                        refused_rows=submission.refused_rows,
                        values_set_aside=submission.values_set_aside,
                        content_sha256=submission.content_sha256,
                        fields=to_json([asdict(field) for field in submission.fields]),
                        problem=problem_json(submission.problem),
                    )
                )
            return _submission(_one_submission(connection, submission.project, BATCHES.c.seq == key))

    def get(self, project: str, *, submission_id: str = "", batch_id: str = "") -> Submission:
        """The submission with this id or, as its sender knows it, of this batch.

        Raises:
            NotFound: there is none in the project.
        """
        if batch_id:
            which = BATCHES.c.batch_id == batch_id
        else:
            which = sa.and_(
                SUBMISSIONS.c.submission_id == submission_id, SUBMISSIONS.c.batch == BATCHES.c.seq
            )
        with self._database.read() as connection:
            return _submission(_one_submission(connection, project, which))

    def page(self, project: str, after: int, count: int) -> Sequence[tuple[int, Submission]]:
        """At most `count` submissions after a position, each with its position."""
        query = (
            _QUERY.where(
                SUBMISSIONS.c.project == project,
                SUBMISSIONS.c.batch == BATCHES.c.seq,
                SUBMISSIONS.c.seq > after,
            )
            .order_by(SUBMISSIONS.c.seq)
            .limit(count)
        )
        with self._database.read() as connection:
            return [(row.seq, _submission(row)) for row in connection.execute(query)]


def _same(connection: sa.Connection, project: str, kind: SubmissionKind, digest: bytes) -> str | None:
    return connection.execute(
        sa.select(SUBMISSIONS.c.submission_id).where(
            SUBMISSIONS.c.project == project,
            SUBMISSIONS.c.kind == kind,
            SUBMISSIONS.c.state == SubmissionState.READY,
            SUBMISSIONS.c.content_sha256 == digest,
        )
    ).scalar_one_or_none()


def _batch(header: str) -> Batch:
    parts = json.loads(header)
    return Batch(
        SubmissionKind(parts["kind"]),
        parts["batch_id"],
        parts["source"],
        Format(parts["format"]),
        tuple(parts["columns"]),
        parts["id_column"],
        tuple((kind, columns) for kind, columns in parts["mapping"]),
        tuple(parts["ignore"]),
    )


def _one_submission(connection: sa.Connection, project: str, which: sa.ColumnElement[bool]) -> sa.Row[Any]:
    row = connection.execute(
        _QUERY.where(
            BATCHES.c.project == project, SUBMISSIONS.c.submission_id == BATCHES.c.submission_id, which
        )
    ).one_or_none()
    if row is None:
        raise NotFound("SUBMISSION_NOT_FOUND", "There is no such submission in the project.")
    return row


def _submission(row: sa.Row[Any]) -> Submission:
    batch = _batch(row.header)
    return Submission(
        row.submission_id,
        row.project,
        batch.kind,
        batch.batch_id,
        batch.source,
        SubmissionState(row.state),
        row.chunks,
        row.rows,
        row.refused_rows,
        row.values_set_aside,
        row.content_sha256 or b"",
        tuple(
            FieldReading(field["name"], field["kind"], tuple(field["columns"]), field["why"])
            for field in json.loads(row.fields or "[]")
        ),
        Problem(**json.loads(row.problem)) if row.problem else None,
        moment(row.created),
    )
