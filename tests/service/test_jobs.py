"""Jobs: run again after a crash, put back at a stop, cancelled at a step."""

from __future__ import annotations

import pytest

from linker.client import ServiceError
from linker.resources import JobState
from tests.service.harness import Server, people, quiet_port, with_errors

LEFT = people(2_000)
RIGHT = with_errors(LEFT)
# Every job stays at the engine's first step until it is asked to stop.
HELD = """
import time
from linker import work
perform = work.perform
def held(asked, left, right, model, folder, progress):
    def step(*reached):
        while True:
            progress(*reached)
            time.sleep(0.02)
    return perform(asked, left, right, model, folder, step)
work.perform = held
os._exit(server.run(settings))
"""


def start(server):
    """Two submissions and a job, in the middle of its work; the server is one that holds it there."""
    client = server.client()
    sides = [
        client.submit(frame, batch_id=name, source="NPD", id_column="person_id").submission_id
        for frame, name in ((LEFT, "left"), (RIGHT, "right"))
    ]
    job = client.start_linkage(*sides)
    for seen in client.watch(job.job_id):
        if seen.state is JobState.RUNNING and seen.stage not in ("", "read"):
            return client, sides, seen
    raise AssertionError("the job is over: the server does not hold it")


@pytest.mark.slow
def test_a_job_is_run_again_after_the_server_was_killed(tmp_path):
    with Server(tmp_path / "data", code=HELD) as server:
        _, sides, caught = start(server)
        server.kill()
        assert not (tmp_path / "data" / "jobs" / caught.job_id).exists()
    with Server(tmp_path / "data") as server:
        client = server.client()
        job = client.wait(caught.job_id)
        assert (job.state, job.problem, job.attempts) == (JobState.SUCCEEDED, None, 2)
        links = client.read_links(job.job_id)
        undisturbed = client.wait(client.start_linkage(*sides).job_id)
        assert links.equals(client.read_links(undisturbed.job_id))
        assert links.height > 1_000
        assert not list((tmp_path / "data" / "jobs").glob("*.part"))


@pytest.mark.slow
def test_a_job_is_put_back_at_a_stop_and_its_watcher_goes_on(tmp_path):
    address = f"127.0.0.1:{quiet_port()}"
    with Server(tmp_path / "data", "--listen", address, code=HELD) as server:
        client, _, caught = start(server)
        watched = client.watch(caught.job_id)
        assert next(watched).state is JobState.RUNNING
        assert server.stop() == 0
        assert server.events("job_put_back")
        with Server(tmp_path / "data", "--listen", address):
            *_, last = watched
            assert (last.state, last.attempts) == (JobState.SUCCEEDED, 1)


def test_a_cancelled_job_stops_and_leaves_nothing(tmp_path):
    with Server(tmp_path / "data", code=HELD) as server:
        client, sides, caught = start(server)
        waiting = client.start_linkage(*sides, seed=1)
        assert client.cancel(waiting.job_id).state is JobState.CANCELLED
        assert client.cancel(caught.job_id).cancel_requested
        job = client.wait(caught.job_id)
        assert job.state is JobState.CANCELLED
        assert job.problem is not None
        assert job.problem.reason == "CANCELLED"
        with pytest.raises(ServiceError) as refused:
            client.read_links(caught.job_id)
        assert refused.value.reason == "JOB_NOT_SUCCEEDED"
        assert not list((tmp_path / "data" / "jobs").iterdir())
        assert client.cancel(caught.job_id).state is JobState.CANCELLED


@pytest.mark.slow
def test_a_job_that_takes_the_server_down_each_time_is_given_up(tmp_path):
    code = "import linker.work\nlinker.work.perform = lambda *_: os._exit(9)\nserver.run(settings)"
    with Server(tmp_path / "data") as server:
        client = server.client()
        submission = client.submit(people(5), batch_id="five", source="NPD")
        server.stop()
    job = ""
    for _ in range(3):
        with Server(tmp_path / "data", code=code) as server:
            if not job:
                job = server.client().start_deduplication(submission.submission_id).job_id
            assert server.process.wait(timeout=60) == 9
    with Server(tmp_path / "data", code=code) as server:
        given_up = server.client().job(job)
        assert given_up.state is JobState.FAILED
        assert given_up.problem is not None
        assert given_up.problem.reason == "JOB_CRASHED"


def test_an_unexpected_error_fails_the_job_without_its_words(tmp_path):
    code = (
        "import linker.work, polars\n"
        "def perform(*_): raise polars.exceptions.PanicException('Zanzibarsdotter')\n"
        "linker.work.perform = perform\n"
        "server.run(settings)"
    )
    with Server(tmp_path / "data", code=code) as server:
        client = server.client()
        submission = client.submit(people(5), batch_id="five", source="NPD")
        job = client.wait(client.start_deduplication(submission.submission_id).job_id)
        assert job.state is JobState.FAILED
        assert job.problem is not None
        assert job.problem.reason == "INTERNAL"
        assert "Zanzibarsdotter" not in repr(job) + server.log
        assert server.events("job_error")[0]["exception"] == "PanicException"
