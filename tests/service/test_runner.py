"""The runner and its store without a server: what a cancel, a stop, a crash and a failing disk leave."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from linker import jobs, work
from linker.intake import Intake
from linker.jobs import Runner
from linker.resources import Batch, Format, JobKind, JobState, Limits, Mandate, SubmissionKind, Work
from linker.store import Store
from tests.service.harness import PROJECT, PURPOSE, arrow, people, safe_in

LIMITS = Limits()


def mandate(request_id):
    return Mandate(request_id, PROJECT, PURPOSE)


class Service:
    """What `server.py` makes of a data folder, and a job that waits."""

    def __init__(self, folder, safe):
        self.folder = folder
        self.store = Store(folder / "kinlink.sqlite", safe)
        self.intake = Intake(self.store, folder / "submissions", LIMITS)
        self.runner = self.next_runner()

    def next_runner(self):
        return Runner(self.store, self.intake, self.folder / "jobs", LIMITS, 1)

    def submit(self, kind=JobKind.DEDUPLICATION, model=""):
        frame = people(30)
        batch = Batch(
            SubmissionKind.EXTRACT, "one", "NPD", Format.ARROW, tuple(frame.columns), id_column="person_id"
        )
        upload = self.intake.open(batch, mandate("request-batch"), b"batch")
        content = arrow(frame)
        digest = hashlib.sha256(content).digest()
        upload.keep([upload.examine(1, digest, content)])
        submission = upload.end(1, frame.height, hashlib.sha256(digest).digest())
        asked = Work(kind, (submission.submission_id,), model=model)
        return self.runner.submit(asked, mandate("request-job"), "Start", b"job")

    def cancel_in_store(self, job):
        """What a cancel has done before the runner hears of it."""
        self.store.jobs.cancel(mandate("request-cancel"), job.job_id, b"cancel")

    def job(self, job):
        return self.store.jobs.get(PROJECT, job.job_id)

    def wait(self, job, seconds=30.0):
        until = time.monotonic() + seconds
        while not self.job(job).state.finished:
            assert time.monotonic() < until
            time.sleep(0.02)
        return self.job(job)


@pytest.fixture
def service(tmp_path):
    with safe_in(tmp_path) as safe:
        service = Service(tmp_path, safe)
        yield service
        if any(thread.is_alive() for thread in service.runner._threads):
            service.runner.stop(30)
        service.store.close()


@pytest.fixture
def held(monkeypatch):
    """Jobs whose work is one long step: `begun` is set in it, and it lasts until `go_on` is."""
    begun, go_on = threading.Event(), threading.Event()

    def perform(asked, left, right, model, folder, progress):
        begun.set()
        assert go_on.wait(30)
        progress("score", 1, 1)
        raise AssertionError("the job was not asked to stop")

    monkeypatch.setattr(work, "perform", perform)
    yield begun, go_on
    go_on.set()


class Made:
    """Stands for a model."""

    digest = "digest"

    def to_json(self):
        return "{}"


@pytest.fixture
def quick(monkeypatch):
    """Jobs whose work is done at once."""

    def perform(asked, left, right, model, folder, progress):
        folder.write("links", b"links")
        return Made()

    monkeypatch.setattr(work, "perform", perform)


def crash(*_):
    raise SystemExit


@pytest.mark.parametrize("heard", [False, True])
def test_a_cancel_that_was_accepted_holds_at_a_stop(service, held, heard):
    begun, go_on = held
    job = service.submit()
    service.runner.start()
    assert begun.wait(30)
    if heard:
        service.runner.cancel(mandate("request-cancel"), job.job_id, b"cancel")
    else:
        service.cancel_in_store(job)
    assert not service.runner.stop(0)
    go_on.set()
    assert service.runner.stop(30)
    cancelled = service.job(job)
    assert (cancelled.state, cancelled.ended is not None) == (JobState.CANCELLED, True)
    assert cancelled.problem is not None
    assert cancelled.problem.reason == "CANCELLED"
    assert service.store.jobs.claim() is None


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_result_whose_job_did_not_succeed_goes_at_the_next_start(service, quick, monkeypatch, cancelled):
    job = service.submit()
    folder = service.folder / "jobs" / job.job_id
    claimed = service.store.jobs.claim()
    with monkeypatch.context() as patch:
        patch.setattr(service.store.jobs, "finish", crash)
        with pytest.raises(SystemExit):
            service.runner._run(claimed)
    assert (folder / "links.sealed").exists()
    if cancelled:
        service.cancel_in_store(job)
    service.runner = service.next_runner()
    assert service.job(job).state is (JobState.CANCELLED if cancelled else JobState.QUEUED)
    assert not folder.exists()
    if not cancelled:
        service.runner.start()
        assert service.wait(job).state is JobState.SUCCEEDED
        assert service.runner.stop(30)
        service.runner = service.next_runner()
        assert (folder / "links.sealed").exists()


def test_a_store_that_fails_for_a_while_does_not_lose_the_end_of_a_job(service, quick, monkeypatch):
    job, finish = service.submit(JobKind.TRAINING, "trained"), service.store.jobs.finish
    failures: list[tuple] = []

    def failing(*arguments):
        if len(failures) < 2:
            failures.append(arguments)
            raise OSError("the disk is full")
        finish(*arguments)
        finish(*arguments)  # as if the first had been done, and its answer lost

    monkeypatch.setattr(service.store.jobs, "finish", failing)
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.02)
    service.runner.start()
    done = service.wait(job)
    assert (done.state, done.attempts, len(failures)) == (JobState.SUCCEEDED, 1, 2)
    assert service.store.models.get(PROJECT, "trained")[0].job_id == job.job_id


def test_a_stop_does_not_wait_for_a_store_that_fails(service, quick, monkeypatch):
    job, failed = service.submit(), threading.Event()

    def failing(*_):
        failed.set()
        raise OSError("the disk is full")

    monkeypatch.setattr(service.store.jobs, "finish", failing)
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 60)
    service.runner.start()
    assert failed.wait(30)
    assert service.runner.stop(10)
    assert service.job(job).state is JobState.RUNNING
    service.runner = service.next_runner()
    assert service.job(job).state is JobState.QUEUED


def test_a_model_that_cannot_be_written_fails_its_job(service, quick, monkeypatch):
    def unwritable(_):
        raise ValueError

    monkeypatch.setattr(Made, "to_json", unwritable)
    job = service.submit(JobKind.TRAINING, "trained")
    service.runner.start()
    failed = service.wait(job)
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert failed.problem.reason == "INTERNAL"
    assert not (service.folder / "jobs" / job.job_id).exists()


def test_a_stop_in_the_middle_of_a_long_step_is_no_crash(service, held):
    begun, _ = held
    job = service.submit()
    service.runner.start()
    assert begun.wait(30)
    assert not service.runner.stop(0.05)
    # The process ends here and the next one finds:
    service.store.jobs.recover(1)
    assert (service.job(job).state, service.job(job).attempts) == (JobState.QUEUED, 0)


def test_a_job_that_ends_within_a_stop_has_run_once(service):
    job = service.submit()
    claimed = service.store.jobs.claim()
    service.store.jobs.excuse()
    service.store.jobs.finish(claimed, JobState.SUCCEEDED)
    assert service.job(job).attempts == 1


def test_a_watch_does_not_wait_for_the_database(service):
    with service.store._database.write():
        service.runner.start()
        time.sleep(0.3)  # its thread now asks for a job, and waits for the end of this transaction
        began = time.monotonic()
        end = service.runner.watch("job-0", lambda: None)
        end()
        assert time.monotonic() - began < 0.2


def test_a_model_put_again_is_the_one_that_this_request_put(service):
    put = service.store.models.put
    assert put(mandate("request-one"), "name", "digest-1", "{}", b"1").digest == "digest-1"
    assert put(mandate("request-two"), "name", "digest-2", "{}", b"2").digest == "digest-2"
    assert put(mandate("request-one"), "name", "digest-1", "{}", b"1").digest == "digest-1"
    assert service.store.models.get(PROJECT, "name")[0].digest == "digest-2"
