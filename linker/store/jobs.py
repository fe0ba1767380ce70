"""Jobs: each change of state is one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from linker.refusals import Exhausted, NotFound, NotReady
from linker.resources import (
    Job,
    JobKind,
    JobState,
    Mandate,
    Problem,
    Work,
)
from linker.store.database import (
    JOBS,
    Database,
    doom,
    moment,
    new_id,
    problem_json,
    take,
    work_json,
    work_of,
)
from linker.store.judgements import forget
from linker.store.models import keep_model

CANCELLED = Problem("CANCELLED", "The job was cancelled by its owner; nothing was written.")
_RUNNING = JOBS.c.state == JobState.RUNNING


class Jobs:
    """The queue and what became of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, work: Work, mandate: Mandate, method: str, digest: bytes, most: int) -> Job:
        """Keep a new job, or find the one that the same request made.

        Raises:
            Conflict: the request id was used for another request.
            Exhausted: `most` jobs wait or run already.
        """
        with self._database.write() as connection:
            job_id = new_id("job")
            earlier = take(connection, mandate, method, digest, job_id)
            if earlier is None:
                unfinished = connection.execute(
                    sa.select(sa.func.count())
                    .select_from(JOBS)
                    .where(JOBS.c.state.in_([JobState.QUEUED, JobState.RUNNING]))
                ).scalar_one()
                if unfinished >= most:
                    raise Exhausted(
                        "QUEUE_FULL",
                        "Too many jobs wait.",
                        "Try again once some have finished.",
                        retry_after=30,
                    )
                connection.execute(
                    sa.insert(JOBS).values(
                        job_id=job_id,
                        project=mandate.project,
                        work=work_json(connection, job_id, work),
                        state=JobState.QUEUED,
                        created=time.time(),
                    )
                )
            return _one_job(connection, mandate.project, earlier or job_id)

    def get(self, project: str, job_id: str) -> Job:
        """The job.

        Raises:
            NotFound: there is none in the project.
        """
        with self._database.read() as connection:
            return _one_job(connection, project, job_id)

    def page(self, project: str, after: int, count: int) -> Sequence[tuple[int, Job]]:
        """At most `count` jobs after a position, each with its position."""
        query = (
            sa.select(JOBS)
            .where(JOBS.c.project == project, JOBS.c.seq > after)
            .order_by(JOBS.c.seq)
            .limit(count)
        )
        with self._database.read() as connection:
            return [(row.seq, _job(connection, row)) for row in connection.execute(query)]

    def projects(self) -> dict[str, str]:
        """Every job there ever was, with its project."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(JOBS.c.job_id, JOBS.c.project))
            return {row.job_id: row.project for row in rows}

    def with_results(self, project: str) -> list[Job]:
        """A project's jobs that have a result, the latest first."""
        query = sa.select(JOBS).where(JOBS.c.project == project, JOBS.c.state == JobState.SUCCEEDED)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(JOBS.c.seq.desc()))
            return [_job(connection, row) for row in found]

    def claim(self) -> Job | None:
        """The job that waits longest, now RUNNING; None if none waits."""
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(JOBS).where(JOBS.c.state == JobState.QUEUED).order_by(JOBS.c.seq).limit(1)
            ).one_or_none()
            if row is None:
                return None
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.seq == row.seq)
                .values(state=JobState.RUNNING, attempts=row.attempts + 1, started=time.time())
            )
            return _one_job(connection, row.project, row.job_id)

    def progress(self, job_id: str, stage: str, done: int, total: int) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.update(JOBS).where(JOBS.c.job_id == job_id).values(stage=stage, done=done, total=total)
            )

    def finish(
        self, job: Job, state: JobState, problem: Problem | None = None, model: tuple[str, str] | None = None
    ) -> None:
        """Close a running job; one that does not run any more stays as it is, so this may be repeated.

        Args:
            job: as `claim` returned it.
            state: what became of it.
            problem: why it did not succeed, or None.
            model: digest and JSON of a model, kept under the name the work gives, in the same step.
        """
        with self._database.write() as connection:
            closed = connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.job_id == job.job_id, _RUNNING)
                .values(state=state, problem=problem_json(problem), ended=time.time(), attempts=job.attempts)
            )
            if closed.rowcount and state is not JobState.SUCCEEDED:
                doom(connection, job.job_id)
            if closed.rowcount and model is not None:
                keep_model(connection, job.project, job.work.model, model[0], model[1], job.job_id)

    def release(self, job: Job) -> JobState:
        """Put a running job back as if it had not begun: the server stops on purpose.

        Args:
            job: as `claim` returned it.

        Returns:
            QUEUED, or CANCELLED if its owner has asked for that.
        """
        with self._database.write() as connection:
            for where, values in (
                (JOBS.c.cancel_requested, _cancelled()),
                (sa.true(), {"state": JobState.QUEUED, "attempts": job.attempts - 1}),
            ):
                connection.execute(
                    sa.update(JOBS).where(JOBS.c.job_id == job.job_id, _RUNNING, where).values(values)
                )
            state = _one_job(connection, job.project, job.job_id).state
            if state is JobState.CANCELLED:
                doom(connection, job.job_id)
            return state

    def excuse(self) -> None:
        """Count the present attempt of no running job: the server stops on purpose, whatever they do."""
        with self._database.write() as connection:
            connection.execute(sa.update(JOBS).where(_RUNNING).values(attempts=JOBS.c.attempts - 1))

    def succeeded(self) -> set[str]:
        """The ids of all jobs that have a result."""
        query = sa.select(JOBS.c.job_id).where(JOBS.c.state == JobState.SUCCEEDED)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def recover(self, attempts: int) -> None:
        """Queue again what a server that is gone left RUNNING; give up what took down several."""
        crashed = Problem(
            "JOB_CRASHED",
            "The server stopped without warning each time it ran the job.",
            "It may need more memory than the machine has: ask the operator.",
        )
        ended = sa.or_(JOBS.c.cancel_requested, JOBS.c.attempts >= attempts)
        with self._database.write() as connection:
            doom(connection, *connection.execute(sa.select(JOBS.c.job_id).where(_RUNNING, ended)).scalars())
            for where, values in (
                (JOBS.c.cancel_requested, _cancelled()),
                (
                    JOBS.c.attempts >= attempts,
                    {"state": JobState.FAILED, "problem": problem_json(crashed), "ended": time.time()},
                ),
                (sa.true(), {"state": JobState.QUEUED, "stage": "", "done": 0, "total": 0}),
            ):
                connection.execute(sa.update(JOBS).where(_RUNNING, where).values(values))

    def cancel(self, mandate: Mandate, job_id: str, digest: bytes) -> Job:
        """Ask a job to stop; one that waits is cancelled at once, a finished one stays as it is.

        Raises:
            NotFound: there is no such job in the project.
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            job = _one_job(connection, mandate.project, job_id)
            take(connection, mandate, "CancelJob", digest, job_id)
            values: dict[str, Any] = {"cancel_requested": True}
            if job.state is JobState.QUEUED:
                values |= _cancelled()
                doom(connection, job_id)
            if not job.state.finished:
                connection.execute(sa.update(JOBS).where(JOBS.c.job_id == job_id).values(values))
            return _one_job(connection, mandate.project, job_id)

    def delete(self, mandate: Mandate, job_id: str, digest: bytes) -> Job:
        """End a job's result, whose key and files are to be destroyed then; a deleted one stays deleted.

        Raises:
            NotFound: there is no such job in the project.
            NotReady: it has not finished.
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            job = _one_job(connection, mandate.project, job_id)
            take(connection, mandate, "DeleteJob", digest, job_id)
            if not job.state.finished:
                raise NotReady("JOB_NOT_FINISHED", f"The job is {job.state}.", "Cancel it first.")
            connection.execute(sa.update(JOBS).where(JOBS.c.job_id == job_id).values(state=JobState.DELETED))
            forget(connection, job_id)
            doom(connection, job_id)
            return _one_job(connection, mandate.project, job_id)


def _cancelled() -> dict[str, Any]:
    return {"state": JobState.CANCELLED, "problem": problem_json(CANCELLED), "ended": time.time()}


def _one_job(connection: sa.Connection, project: str, job_id: str) -> Job:
    row = connection.execute(
        sa.select(JOBS).where(JOBS.c.project == project, JOBS.c.job_id == job_id)
    ).one_or_none()
    if row is None:
        raise NotFound("JOB_NOT_FOUND", "There is no such job in the project.", field="job_id")
    return _job(connection, row)


def _job(connection: sa.Connection, row: sa.Row[Any]) -> Job:
    work = Work(**work_of(connection, row))
    return Job(
        row.job_id,
        row.project,
        replace(work, kind=JobKind(work.kind), submission_ids=tuple(work.submission_ids)),
        JobState(row.state),
        row.stage,
        row.done,
        row.total,
        row.attempts,
        row.cancel_requested,
        Problem(**json.loads(row.problem)) if row.problem else None,
        moment(row.created),
        moment(row.started) if row.started is not None else None,
        moment(row.ended) if row.ended is not None else None,
    )
