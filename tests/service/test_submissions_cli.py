"""`kinlink submission` and `kinlink job delete` against a real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from linker.cli import app
from tests.service.harness import PROJECT, PURPOSE, people


@pytest.fixture
def run(server, monkeypatch):
    monkeypatch.setenv("KINLINK_SERVICE", server.address)
    monkeypatch.setenv("KINLINK_PROJECT", PROJECT)
    monkeypatch.setenv("KINLINK_PURPOSE", PURPOSE)

    def run(*words, code=0):
        done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
        assert done.exit_code == code, done.output
        return done

    return run


def test_what_was_sent_is_listed_shown_and_destroyed_with_its_results(run, tmp_path):
    people(30, seed=31).write_csv(tmp_path / "people.csv")
    sent = run("submit", tmp_path / "people.csv", "--batch", "listed", "--source", "NPD", "--json").stdout
    key = json.loads(sent)["submission"]["submission_id"]
    assert key in run("submission", "list").stdout
    assert f"Submission {key}: ready, 30 rows." in run("submission", "show", key).stdout
    job = json.loads(run("job", "dedupe", key, "--keys", "ons", "--keys-only", "--json").stdout)["job"]
    run("job", "wait", job["job_id"])
    assert f"Job {job['job_id']}: deduplication deleted." in run("job", "delete", job["job_id"]).stdout
    assert "deleted" in run("job", "read", job["job_id"], "--out", tmp_path / "links.csv", code=1).stderr
    for _ in range(2):
        assert f"Submission {key}: deleted, 30 rows." in run("submission", "delete", key).stdout
    listed = json.loads(run("submission", "list", "--json").stdout)["submissions"]
    assert [one["state"] for one in listed if one["submission_id"] == key] == ["deleted"]
    assert "no such submission" in run("submission", "show", "sub-0", code=1).stderr
