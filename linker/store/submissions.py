"""Batches as they arrive, chunk by chunk, and the submissions they become; each is its sender's."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from linker.refusals import Conflict, NotFound, NotReady
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
    REFERENCES,
    SUBMISSIONS,
    Database,
    doom,
    inserted,
    moment,
    new_id,
    notes,
    problem_json,
    take,
    to_json,
    works,
)

_QUERY = sa.select(SUBMISSIONS, BATCHES.c.header, BATCHES.c.sender, BATCHES.c.chunks, BATCHES.c.rows)


class Submissions:
    """Batches and submissions; a batch is a sender's name for a submission."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, batch: Batch, mandate: Mandate, digest: bytes) -> tuple[int, Submission]:
        """The batch's key and its submission; made if the batch is new, and the caller's from then on.

        Raises:
            Conflict: the batch id or the request id was used by another sender, or with another header; or
                the batch was deleted.
        """
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(BATCHES).where(
                    BATCHES.c.project == mandate.project, BATCHES.c.batch_id == batch.batch_id
                )
            ).one_or_none()
            header = to_json(asdict(batch))
            if row is not None and (row.header, row.sender) != (header, mandate.caller):
                raise Conflict(
                    "BATCH_CONFLICT",
                    "The batch id was used for an upload with another header, or by another sender.",
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
                        sender=mandate.caller,
                        header=header,
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
            found = _submission(connection, _one(connection, mandate.project, BATCHES.c.seq == key))
            if found.state is SubmissionState.DELETED:
                raise Conflict(
                    "BATCH_CONFLICT",
                    "The batch was deleted.",
                    "Send the records under a new batch id.",
                    field="header.batch_id",
                )
            return key, found

    def totals(self, key: int) -> tuple[int, int, int]:
        """Durable chunks, rows and bytes of a batch."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(BATCHES.c.chunks, BATCHES.c.rows, BATCHES.c.bytes).where(BATCHES.c.seq == key)
            ).one()
            return row.chunks, row.rows, row.bytes

    def chunk_digests(self, key: int, number: int | None = None) -> list[bytes]:
        """The digests of the durable chunks of a batch, in order; or of the one with this number."""
        query = sa.select(CHUNKS).where(CHUNKS.c.batch == key).order_by(CHUNKS.c.number)
        if number is not None:
            query = query.where(CHUNKS.c.number == number)
        with self._database.read() as connection:
            own = notes(connection)
            return [own.reveal(_place(key, row.number), row.sha256) for row in connection.execute(query)]

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
            own = notes(connection)  # a chunk of one row could be tried out, if its digest were in the clear
            noted = [
                {"batch": key, "number": number, "sha256": own.conceal(_place(key, number), sha256)}
                for number, (sha256, _, _) in enumerate(chunks, start=first)
            ]
            connection.execute(sa.insert(CHUNKS), noted)
            return True

    def living(self) -> dict[str, SubmissionState]:
        """The state of every submission that has files."""
        states = [SubmissionState.RECEIVING, SubmissionState.READY]
        query = sa.select(SUBMISSIONS.c.submission_id, SUBMISSIONS.c.state)
        with self._database.read() as connection:
            rows = connection.execute(query.where(SUBMISSIONS.c.state.in_(states)))
            return {row.submission_id: SubmissionState(row.state) for row in rows}

    def same_content(self, submission: Submission) -> str | None:
        """The id of its sender's ready submission of the same content, if there is one."""
        with self._database.read() as connection:
            return _same(connection, submission)

    def complete(self, key: int, submission: Submission) -> Submission:
        """Keep the outcome of a complete upload.

        If the project already holds the same content of the same sender, the batch becomes another name of
        that submission. What nobody will read, of this one, is to be destroyed then.

        Args:
            key: of the batch.
            submission: as it shall be kept; it is no longer RECEIVING.

        Returns:
            The submission as it is kept, or the earlier one.
        """
        with self._database.write() as connection:
            earlier = None
            if submission.state is SubmissionState.READY:
                earlier = _same(connection, submission)
            mine = SUBMISSIONS.c.submission_id == submission.submission_id
            if earlier is not None and earlier != submission.submission_id:
                connection.execute(
                    sa.update(BATCHES).where(BATCHES.c.seq == key).values(submission_id=earlier)
                )
                connection.execute(sa.delete(SUBMISSIONS).where(mine))
                doom(connection, submission.submission_id)
            else:
                if submission.state is SubmissionState.REFUSED:
                    doom(connection, submission.submission_id)
                connection.execute(
                    sa.update(SUBMISSIONS)
                    .where(mine)
                    .values(
                        state=submission.state,
                        refused_rows=submission.refused_rows,
                        values_set_aside=submission.values_set_aside,
                        content_sha256=notes(connection).conceal(_CONTENT, submission.content_sha256),
                        fields=to_json([asdict(field) for field in submission.fields]),
                        problem=problem_json(submission.problem),
                    )
                )
            return _submission(connection, _one(connection, submission.project, BATCHES.c.seq == key))

    def get(
        self, project: str, *, submission_id: str = "", batch_id: str = "", sender: str | None = None
    ) -> Submission:
        """The submission with this id or, as its sender knows it, of this batch.

        Args:
            project: that owns it.
            submission_id, batch_id: which; one of the two.
            sender: whose it must be; None for anybody's.

        Raises:
            NotFound: there is none in the project, or it is another sender's.
        """
        which = BATCHES.c.batch_id == batch_id if batch_id else _of_id(submission_id)
        with self._database.read() as connection:
            return _submission(connection, _one(connection, project, which, _of(sender)))

    def key_of(self, project: str, submission_id: str, sender: str | None) -> int:
        """The key of the batch that a submission came with; raises as `get` does."""
        with self._database.read() as connection:
            return int(_one(connection, project, _of_id(submission_id), _of(sender)).batch)

    def delete(self, mandate: Mandate, submission_id: str, sender: str | None, digest: bytes) -> Submission:
        """End a submission, whose key and files are to be destroyed then; a deleted one stays deleted.

        Raises:
            NotFound: there is none in the project, or it is another sender's.
            NotReady: a reference or a job that has not finished needs it.
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            which = _of_id(submission_id), _of(sender)
            found = _submission(connection, _one(connection, mandate.project, *which))
            take(connection, mandate, "DeleteSubmission", digest, submission_id)
            _check_unused(connection, mandate.project, submission_id)
            theirs = sa.select(BATCHES.c.seq).where(BATCHES.c.submission_id == submission_id)
            connection.execute(sa.delete(CHUNKS).where(CHUNKS.c.batch.in_(theirs)))
            connection.execute(
                sa.update(SUBMISSIONS)
                .where(SUBMISSIONS.c.submission_id == submission_id)
                .values(state=SubmissionState.DELETED, content_sha256=None)
            )
            doom(connection, submission_id)
            return _submission(connection, _one(connection, found.project, *which))

    def announced_before(self, kind: SubmissionKind, moment: float) -> list[tuple[str, str]]:
        """Project and id of the submissions of a kind that came before a moment and are not deleted."""
        query = sa.select(SUBMISSIONS.c.project, SUBMISSIONS.c.submission_id).where(
            SUBMISSIONS.c.kind == kind,
            SUBMISSIONS.c.created < moment,
            SUBMISSIONS.c.state != SubmissionState.DELETED,
        )
        with self._database.read() as connection:
            return [(row.project, row.submission_id) for row in connection.execute(query)]

    def page(
        self, project: str, after: int, count: int, sender: str | None = None
    ) -> Sequence[tuple[int, Submission]]:
        """At most `count` submissions after a position, each with its position; a sender's, or all."""
        query = (
            _QUERY.where(
                SUBMISSIONS.c.project == project,
                SUBMISSIONS.c.batch == BATCHES.c.seq,
                SUBMISSIONS.c.seq > after,
                _of(sender),
            )
            .order_by(SUBMISSIONS.c.seq)
            .limit(count)
        )
        with self._database.read() as connection:
            return [(row.seq, _submission(connection, row)) for row in connection.execute(query)]

    def senders(self, project: str) -> list[str]:
        """Who has sent anything for a project, as in their certificates, be it deleted or not."""
        query = sa.select(BATCHES.c.sender).where(BATCHES.c.project == project).distinct()
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(BATCHES.c.sender)).scalars())


_CONTENT = "content"


def _place(batch: int, number: int) -> str:
    return f"chunk/{batch}/{number}"


def _of_id(submission_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(SUBMISSIONS.c.submission_id == submission_id, SUBMISSIONS.c.batch == BATCHES.c.seq)


def _of(sender: str | None) -> sa.ColumnElement[bool]:
    return sa.true() if sender is None else BATCHES.c.sender == sender


def _same(connection: sa.Connection, submission: Submission) -> str | None:
    digest = notes(connection).conceal(_CONTENT, submission.content_sha256)
    return connection.execute(
        sa.select(SUBMISSIONS.c.submission_id).where(
            SUBMISSIONS.c.project == submission.project,
            SUBMISSIONS.c.kind == submission.kind,
            SUBMISSIONS.c.state == SubmissionState.READY,
            SUBMISSIONS.c.content_sha256 == digest,
            SUBMISSIONS.c.batch == BATCHES.c.seq,
            BATCHES.c.sender == submission.sender,
        )
    ).scalar_one_or_none()


def _check_unused(connection: sa.Connection, project: str, submission_id: str) -> None:
    held = sa.select(REFERENCES.c.seq).where(REFERENCES.c.submission_id == submission_id)
    needed = any(submission_id in one["submission_ids"] for one in works(connection, project))
    if needed or connection.execute(held).first():
        raise NotReady(
            "SUBMISSION_IN_USE",
            "A reference or an unfinished job needs the submission.",
            "Drop the reference, or cancel the job, first; whoever links may do so.",
        )


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


def _one(connection: sa.Connection, project: str, *which: sa.ColumnElement[bool]) -> sa.Row[Any]:
    row = connection.execute(
        _QUERY.where(
            BATCHES.c.project == project, SUBMISSIONS.c.submission_id == BATCHES.c.submission_id, *which
        )
    ).one_or_none()
    if row is None:
        raise NotFound("SUBMISSION_NOT_FOUND", "There is no such submission in the project.")
    return row


def _submission(connection: sa.Connection, row: sa.Row[Any]) -> Submission:
    batch, content = _batch(row.header), row.content_sha256
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
        notes(connection).reveal(_CONTENT, content) if content else b"",
        tuple(
            FieldReading(field["name"], field["kind"], tuple(field["columns"]), field["why"])
            for field in json.loads(row.fields or "[]")
        ),
        Problem(**json.loads(row.problem)) if row.problem else None,
        moment(row.created),
        row.sender,
    )
