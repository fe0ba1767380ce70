"""Long work: a durable queue, threads that run it, and the results it leaves.

Invariants: a job is in the store before its caller hears of it; a result has its name only once it is whole
and on disk, and only then is its job SUCCEEDED; what a dead server left RUNNING is run again from its start,
with the same result; once a server has started, no folder is there but of a job that SUCCEEDED. Results are
sealed under a key of the job's own, which is destroyed with them. The owner of the data folder is one server:
`server.py` locks it.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import polars as pl

import linker
from linker import durable, evidence, joining, registers, work
from linker.destruction import destroy_doomed, remove
from linker.errors import Cancelled, LinkerError
from linker.events import event
from linker.explain import Explanation
from linker.intake import Intake
from linker.joining import Persons
from linker.model import Model
from linker.refusals import Invalid, NotFound, NotReady
from linker.resources import (
    Job,
    JobKind,
    JobState,
    Limits,
    Mandate,
    Problem,
    SubmissionKind,
    Table,
    Work,
)
from linker.store import Store
from linker.store.jobs import CANCELLED
from linker.vaulted import Folder, SealedTable, check_sealed

WORD = "job"  # at the start of the id of a job
ATTEMPTS = 3  # runs of a job that takes the server down each time
NOTE_SECONDS = 0.25  # between two notes of progress in the store
PAUSE_SECONDS = 1.0  # before the store is tried again


class Vault(Persons, registers.Registers, Protocol):
    """Where persons are kept: submissions join them, and registers are linked with them."""


class Runner:
    """Runs the jobs of one data folder in threads of its own; its methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        folder: Path,
        limits: Limits,
        workers: int,
        persons: Vault | None = None,
    ) -> None:
        """Queue again what a dead server left.

        Args:
            store: where the queue is kept.
            intake: where the records come from.
            folder: where the results are kept, one folder a job.
            limits: of the queue.
            workers: how many jobs run at once; the engine uses all cores for one.
            persons: where persons are kept, or None where none are.

        Raises:
            LinkerError: the folder holds files in the clear.
        """
        self._persons = persons
        self._store, self._intake, self._folder, self._limits = store, intake, folder, limits
        self._changed = threading.Condition()
        self._cancelled: set[str] = set()
        # `_changed` may be held for as long as the database takes; the event loop must not wait for that.
        self._watching = threading.Lock()
        self._watchers: dict[str, set[Callable[[], None]]] = {}
        self._stopping = False
        self._at_work = 0
        durable.make_folder(folder)
        check_sealed(folder)
        store.jobs.recover(ATTEMPTS)
        destroy_doomed(store, WORD, folder)
        succeeded = store.jobs.succeeded()
        for left in folder.iterdir():
            if left.name not in succeeded:
                remove(left)
        # Daemons: a job that does not come to a step of its progress must not hold up the end.
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(workers)]

    def start(self) -> None:
        """Begin to run jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Put running jobs back into the queue.

        Returns:
            Whether all of them came to a step of their progress within `seconds`; the others are queued
            again at the next start, which does not take them for crashed.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        try:
            self._store.jobs.excuse()
        except Exception as error:
            event("queue_failed", logging.ERROR, exception=type(error).__name__)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._at_work > 0

    def submit(self, asked: Work, mandate: Mandate, method: str, digest: bytes) -> Job:
        """Queue a job, or find the one that the same request made.

        Raises:
            NotFound: a submission or the model is not there.
            NotReady: a submission is not complete, or it was refused.
            Exhausted: too many jobs wait.
            LinkerError: a join can come to nothing: see `joining.check`.
        """
        for submission_id in asked.submission_ids:
            submission = self._store.submissions.get(mandate.project, submission_id=submission_id)
            self._intake.check_ready(submission)
            if asked.kind is JobKind.JOIN and submission.kind is not SubmissionKind.IDENTITIES:
                raise Invalid(
                    "FIELD_INVALID",
                    "An extract of a register is not joined with persons.",
                    "Link it instead: kinlink register link.",
                    field="submission_id",
                )
            if asked.kind is JobKind.REGISTER and submission.kind is not SubmissionKind.EXTRACT:
                raise Invalid(
                    "FIELD_INVALID",
                    "What a council sent is no extract of a register.",
                    "Join it instead: kinlink job join.",
                    field="submission_id",
                )
            if asked.kind is JobKind.JOIN:
                layout = self._intake.layout(submission)
                joining.check(asked, mandate.project, layout, self._keeper())
            if asked.kind is JobKind.REGISTER:
                # Under another name its links would take the place of that register's.
                if submission.source.lower() != asked.register:
                    raise Invalid(
                        "FIELD_INVALID",
                        "The extract came as another register's.",
                        "Name the register that its holder gave as its source.",
                        field="register",
                    )
                self._keeper().check_holder(submission.sender, mandate.project, asked.register)
                self._keeper().check(mandate.project, asked.purpose, asked.actor)
                self._keeper().check_register(mandate.project, asked.register)
        if asked.model and asked.kind is not JobKind.TRAINING:
            model, _ = self._store.models.get(mandate.project, asked.model)
            asked = replace(asked, model_digest=model.digest)
        job = self._store.jobs.add(asked, mandate, method, digest, self._limits.queued_jobs)
        with self._changed:
            self._changed.notify()
        return job

    def cancel(self, mandate: Mandate, job_id: str, digest: bytes) -> Job:
        """Ask a job to stop; a running one stops at the next step of its progress.

        Raises:
            NotFound: there is no such job in the project.
        """
        job = self._store.jobs.cancel(mandate, job_id, digest)
        if job.state is JobState.RUNNING:
            self._cancelled.add(job_id)
        self._notify(job_id)
        destroy_doomed(self._store, WORD, self._folder)
        return job

    def delete(self, mandate: Mandate, job_id: str, digest: bytes) -> Job:
        """Destroy a finished job's result: its key first, then its files. What was deleted stays deleted.

        Raises:
            NotFound: there is no such job in the project.
            NotReady: it has not finished.
        """
        job = self._store.jobs.delete(mandate, job_id, digest)
        destroy_doomed(self._store, WORD, self._folder)
        self._notify(job_id)
        return job

    def watch(self, job_id: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after each change of a job, from any thread; the result ends that."""
        with self._watching:
            self._watchers.setdefault(job_id, set()).add(changed)

        def end() -> None:
            with self._watching:
                watchers = self._watchers.get(job_id, set())
                watchers.discard(changed)
                if not watchers:
                    self._watchers.pop(job_id, None)

        return end

    def _notify(self, job_id: str) -> None:
        with self._watching:
            watchers = tuple(self._watchers.get(job_id, ()))
        for changed in watchers:
            changed()

    # --- threads ---------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            try:
                with self._changed:
                    if self._stopping:
                        return
                    job = self._store.jobs.claim()
                    if job is None:
                        self._changed.wait()
                        continue
                    self._at_work += 1
                try:
                    self._notify(job.job_id)
                    self._run(job)
                finally:
                    self._at_work -= 1
            except Exception as error:  # the store failed
                self._pause(error)

    def _pause(self, error: Exception) -> bool:
        """Wait after a failure of the store; whether the runner stops meanwhile."""
        event("queue_failed", logging.ERROR, exception=type(error).__name__)
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, PAUSE_SECONDS)

    def _run(self, job: Job) -> None:
        event("job_started", job=job.job_id, kind=job.work.kind, attempt=job.attempts)
        began = time.monotonic()
        state, problem, keep = JobState.SUCCEEDED, None, None
        try:
            model = self._perform(job)
            if job.work.kind is JobKind.TRAINING and model is not None:
                keep = (model.digest, model.to_json())
        except Cancelled:
            # At a stop the store decides, which knows of every cancel that was answered.
            if self._stopping and self._store.jobs.release(job) is JobState.QUEUED:
                event("job_put_back", job=job.job_id)
                return
            state, problem = JobState.CANCELLED, CANCELLED
        except LinkerError as error:
            state, problem = JobState.FAILED, Problem(error.reason, error.message, error.help)
        except BaseException as error:  # a panic of native code is no Exception
            state = JobState.FAILED
            problem = Problem("INTERNAL", "The service failed at this job.", "Ask the operator.")
            event("job_error", logging.ERROR, job=job.job_id, exception=type(error).__name__)
        if state is not JobState.SUCCEEDED:
            shutil.rmtree(self._folder / job.job_id, ignore_errors=True)
        while True:
            try:
                self._store.jobs.finish(job, state, problem, keep)
                destroy_doomed(self._store, WORD, self._folder)
                break
            except Exception as error:
                if self._pause(error):
                    return  # it stays RUNNING, and is queued at the next start
        self._cancelled.discard(job.job_id)
        reason = problem.reason if problem else ""
        seconds = round(time.monotonic() - began, 3)
        event("job_finished", job=job.job_id, state=state, reason=reason, seconds=seconds)
        self._notify(job.job_id)

    def _perform(self, job: Job) -> Model | None:
        noted = ("", 0.0)

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal noted
            if self._stopping or job.job_id in self._cancelled:
                raise Cancelled("The job was asked to stop.")
            now = time.monotonic()
            if stage != noted[0] or now - noted[1] >= NOTE_SECONDS:
                noted = (stage, now)
                self._store.jobs.progress(job.job_id, stage, done, total)
                self._notify(job.job_id)

        progress("read", 0, len(job.work.submission_ids))
        submissions = [
            self._store.submissions.get(job.project, submission_id=submission_id)
            for submission_id in job.work.submission_ids
        ]
        sides = [self._intake.records(submission) for submission in submissions]
        model = None
        if job.work.model_digest:
            _, text = self._store.models.get(job.project, job.work.model, job.work.model_digest)
            model = Model.from_json(text)
        draft = self._folder / f"{job.job_id}{durable.DRAFT}"
        shutil.rmtree(draft, ignore_errors=True)
        durable.make_folder(draft)
        self._store.safe.make(job.job_id)
        try:
            right = sides[1] if len(sides) > 1 else None
            sealed = Folder(self._store.safe, draft, job.job_id)
            if job.work.kind is JobKind.JOIN:
                source, sender, judged = submissions[0].source, submissions[0].sender, self._judged(job)
                joining.perform(
                    job, source, sender, sides[0], model, self._keeper(), judged, sealed, progress
                )
            elif job.work.kind is JobKind.REGISTER:
                sender, judged = submissions[0].sender, self._judged(job)
                registers.perform(job, sender, sides[0], self._keeper(), judged, sealed, progress)
            else:
                model = work.perform(job.work, sides[0], right, model, sealed, progress)
            progress("write", 1, 1)
            durable.move_folder(draft, self._folder / job.job_id)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return model

    def _keeper(self) -> Vault:
        if self._persons is None:
            raise LinkerError("This server keeps no persons.", "Ask the identity role's.")
        return self._persons

    # --- results ---------------------------------------------------------------------------------

    def _result(self, project: str, job_id: str) -> tuple[Job, Folder]:
        job = self._store.jobs.get(project, job_id)
        if job.state is not JobState.SUCCEEDED:
            raise NotReady(
                "JOB_NOT_SUCCEEDED",
                f"The job has no result: it is {job.state}.",
                "Wait for it, or start it again." if job.state.finished else "Wait until it has finished.",
            )
        return job, Folder(self._store.safe, self._folder / job_id, job_id)

    @contextmanager
    def table(self, project: str, job_id: str, table: Table) -> Iterator[SealedTable]:
        """A table of a finished job, of which a part at a time is in memory.

        Raises:
            NotFound: there is no such job in the project, or the job has no such table.
            NotReady: the job has no result.
            Damaged: it was altered, or its key is destroyed.
        """
        folder = self._result(project, job_id)[1]
        if not folder.has(str(table)):
            raise NotFound("TABLE_NOT_FOUND", f"The job has no table of {table}.", field="table")
        with folder.table(str(table)) as opened:
            yield opened

    def left_to_people(self, project: str, job_id: str) -> pl.DataFrame:
        """The pairs that a finished job left to people, whole; raises as `table` does."""
        with self.table(project, job_id, Table.REVIEW) as table:
            return table.slice(0, table.height)

    def _judged(self, job: Job) -> pl.DataFrame:
        return evidence.settled(self._store, job, self.left_to_people)

    def report(self, project: str, job_id: str) -> dict[str, Any]:
        """The figures of a finished job; raises as `table` does."""
        figures: dict[str, Any] = json.loads(self._result(project, job_id)[1].read(work.REPORT))
        return figures

    def document(self, project: str, job_id: str, name: str) -> str:
        """The JSON of a finished job's manifest or model; empty if it has none. Raises as `table` does."""
        folder = self._result(project, job_id)[1]
        return folder.read(name).decode() if folder.has(name) else ""

    def explained(self, project: str, records: Sequence[str]) -> list[dict[str, Any]]:
        """Why records of one person were linked with registers, by the jobs of a project that are kept.

        Args:
            project: its name.
            records: the ids of those who are known, as the jobs' tables have them.

        Returns:
            As `registers.explained`, of the last linkage with each register that is kept.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for job in self._store.jobs.with_results(project):
            if job.work.kind is JobKind.REGISTER and job.work.register not in found:
                with suppress(NotReady, NotFound):  # deleted meanwhile
                    folder = self._result(project, job.job_id)[1]
                    found[job.work.register] = registers.explained(job, folder, records)
        return [one for some in found.values() for one in some]

    def explain(self, project: str, job_id: str, left_id: str, right_id: str) -> Explanation:
        """Why a pair has its weight under the model of a finished job.

        Raises:
            NotFound: the project has no such job, its submissions no such record, or the job had no model.
            NotReady: the job has no result.
        """
        job, folder = self._result(project, job_id)
        if job.work.keys_only or job.work.opens_persons:
            raise NotFound(
                "MODEL_NOT_FOUND",
                "The job linked by matchkeys alone, or with persons: no model is kept that gives a weight.",
                "The links of matchkeys name the matchkey that made them.",
                field="job_id",
            )
        model = Model.from_json(folder.read(work.MODEL).decode())
        ids = job.work.submission_ids
        wanted = ((left_id,), (right_id,)) if len(ids) > 1 else ((left_id, right_id),)
        sides = [
            self._intake.records(self._store.submissions.get(project, submission_id=submission_id), only)
            for submission_id, only in zip(ids, wanted, strict=True)
        ]
        for side, one, only in (("left", left_id, sides[0]), ("right", right_id, sides[-1])):
            if one not in only.ids:
                raise NotFound(
                    "RECORD_NOT_FOUND",
                    f"There is no record of this id on the {side} side.",
                    "Check the id; a refused row takes no part.",
                    field=f"{side}_id",
                )
        return linker.explain(model, sides[0], sides[1] if len(sides) > 1 else None, left_id, right_id)
