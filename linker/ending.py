"""The end of a project: every submission, result, reference and model of it is destroyed.

    jobs asked to stop ──▶ references ──▶ results ──▶ submissions ──▶ models; keys first, then the files

Each step may be done again: what a crash cuts off is finished by asking again, or at the next start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from linker.destruction import destroy_doomed
from linker.intake import Intake
from linker.jobs import Runner
from linker.references import References
from linker.refusals import NotReady
from linker.resources import Job, JobState, Mandate, SubmissionState
from linker.store import Store
from linker.store.models import WORD as MODEL

PURPOSE: Final = "retention"
AT_ONCE: Final = 500
PATIENCE: Final = 20.0  # seconds for which a running job may take to come to a step of its progress


def end_project(
    store: Store, runner: Runner, intake: Intake, references: References, project: str
) -> dict[str, int]:
    """Destroy all that is kept of a project.

    Returns:
        How much of each sort there was.

    Raises:
        NotReady: a job runs that does not stop yet; ask again.
    """

    def mandate(what: str) -> tuple[Mandate, bytes]:
        return Mandate(f"end-{what}", project, PURPOSE), what.encode()

    for job in _jobs(store, project):
        if not job.state.finished:
            asked, digest = mandate(f"stop-{job.job_id}")
            runner.cancel(asked, job.job_id, digest)
    _await_rest(store, project)
    counts = dict.fromkeys(("references", "results", "submissions", "models"), 0)
    while page := references.page(project, "", AT_ONCE):
        for reference in page:
            asked, digest = mandate(reference.reference_id)
            references.drop(asked, reference.name, digest)
        counts["references"] += len(page)
    for job in _jobs(store, project):
        if job.state is not JobState.DELETED:
            asked, digest = mandate(job.job_id)
            runner.delete(asked, job.job_id, digest)
            counts["results"] += 1
    after = 0
    while found := store.submissions.page(project, after, AT_ONCE):
        for _, submission in found:
            if submission.state is not SubmissionState.DELETED:
                asked, digest = mandate(submission.submission_id)
                intake.delete(asked, submission.submission_id, None, digest)
                counts["submissions"] += 1
        after = found[-1][0]
    while models := store.models.page(project, "", AT_ONCE):
        for name in {one.name for one in models}:
            asked, digest = mandate(f"model-{name}")
            store.models.delete(asked, name, digest)
            counts["models"] += 1
        destroy_doomed(store, MODEL, None)
    return counts


def _jobs(store: Store, project: str) -> Iterator[Job]:
    after = 0
    while page := store.jobs.page(project, after, AT_ONCE):
        yield from (job for _, job in page)
        after = page[-1][0]


def _await_rest(store: Store, project: str) -> None:
    until = time.monotonic() + PATIENCE
    while any(not job.state.finished for job in _jobs(store, project)):
        if time.monotonic() > until:
            raise NotReady("JOB_NOT_FINISHED", "A job of the project still runs.", "Ask again.")
        time.sleep(0.1)
