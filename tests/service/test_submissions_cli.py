"""`kinlink submission` and `kinlink job delete` against a real server."""

from __future__ import annotations

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app, connection
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
        assert run("submission", "delete", key).stdout == f"Submission {key}: deleted, 30 rows.\n"
    listed = json.loads(run("submission", "list", "--json").stdout)["submissions"]
    assert [one["state"] for one in listed if one["submission_id"] == key] == ["deleted"]
    assert "no such submission" in run("submission", "show", "sub-0", code=1).stderr


def test_refusals_are_listed_by_row_field_and_code(run, tmp_path):
    rows = people(12, seed=32).with_columns(
        date_of_birth=pl.when(pl.int_range(12) == 6).then(pl.lit("1985-02-31")).otherwise("date_of_birth")
    )
    pl.concat([rows, rows[:1]]).write_csv(tmp_path / "people.csv")
    words = ("submit", tmp_path / "people.csv", "--batch", "refused", "--source", "NPD", "--id", "person_id")
    key = json.loads(run(*words, "--json").stdout)["submission"]["submission_id"]
    listed = json.loads(run("submission", "refusals", key, "--json").stdout)["refusals"]
    assert [(one["row"], one["field"], one["refused"]) for one in listed] == [
        (7, "date_of_birth", False),
        (13, None, True),
    ]
    shown = run("submission", "refusals", key).stdout
    assert "id_repeated" in shown
    assert "row left out" in shown
    assert "1985" not in shown


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("--map=surname=lastnaem", "no column 'lastnaem'"),
        ("--map=surnaem=surname", "no kind of field"),
        ("--id=person", "no column 'person'"),
        ("--ignore=not_there", "no column 'not_there'"),
    ],
)
def test_a_mistyped_column_is_refused_before_the_batch_is_used_up(run, tmp_path, wish, said):
    people(30, seed=33).write_csv(tmp_path / "people.csv")
    words = ("submit", tmp_path / "people.csv", "--batch", f"typed-{len(wish)}", "--source", "NPD")
    assert said in run(*words, wish, code=1).stderr
    assert "ready, 30 rows" in run(*words).stdout


def test_why_a_job_failed_stands_in_the_list(run, tmp_path):
    people(3, seed=34).select("person_id", "surname").write_csv(tmp_path / "people.csv")
    sent = run("submit", tmp_path / "people.csv", "--batch", "names", "--source", "NPD", "--json").stdout
    key = json.loads(sent)["submission"]["submission_id"]
    job = json.loads(run("job", "dedupe", key, "--keys", "ons", "--keys-only", "--json").stdout)["job"][
        "job_id"
    ]
    failed = run("job", "wait", job, code=1).stderr.splitlines()[0].removeprefix("Error: ")
    [line] = [line for line in run("job", "list").stdout.splitlines() if line.startswith(f"{job} failed")]
    assert line == f"{job} failed [RECORDS_INVALID]: {failed}"


def test_a_service_that_never_answered_is_given_up_and_named(run, monkeypatch):
    assert connection.REACH < 15
    monkeypatch.setattr(connection, "REACH", 0.3)
    said = run("job", "list", "--service", "localhost:1", code=1).stderr
    assert "cannot be reached at localhost:1" in said
