"""`kinlink model put` and `list`, `kinlink job train` and `report` against a real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import linker
from linker.cli import app
from tests.service.harness import PROJECT, PURPOSE, people, with_errors

LEFT, RIGHT = people(300, seed=51), with_errors(people(300, seed=51), seed=52)


@pytest.fixture(scope="module")
def sides(server):
    with server.client() as client:
        return [
            client.submit(frame, batch_id=f"models-{name}", source="NPD", id_column="person_id").submission_id
            for frame, name in ((LEFT, "left"), (RIGHT, "right"))
        ]


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


def finished(run, *words):
    job = json.loads(run("job", *words, "--json").stdout)["job"]["job_id"]
    run("job", "wait", job)
    return job


def test_a_model_is_put_listed_and_links(run, sides, tmp_path):
    model = linker.train(*(linker.arrive(side, id_column="person_id") for side in (LEFT, RIGHT))).model
    model.save(tmp_path / "m.json")
    assert model.digest[:16] in run("model", "put", "mine", tmp_path / "m.json").stdout
    listed = json.loads(run("model", "list", "--json").stdout)["models"]
    assert {"name": "mine", "digest": model.digest} in listed
    assert model.digest in run("model", "list").stdout
    job = finished(run, "link", *sides, "--model", "mine")
    report = json.loads(run("job", "report", job, "--json").stdout)["report"]
    assert report["model_digest"] == model.digest
    (tmp_path / "no.json").write_text("{")
    assert "not JSON" in run("model", "put", "mine", tmp_path / "no.json", code=1).output


def test_a_model_is_trained_there(run, sides):
    job = finished(run, "train", "learnt", *sides)
    shown = json.loads(run("job", "report", job, "--json").stdout)["report"]
    listed = json.loads(run("model", "list", "--json").stdout)["models"]
    assert {"name": "learnt", "digest": shown["model_digest"]} in listed


def test_the_report_of_a_job_says_what_each_matchkey_did(run, sides, tmp_path):
    job = finished(run, "link", *sides, "--keys", "ons", "--keys-only")
    out = tmp_path / "report.json"
    shown = run("job", "report", job, "--out", out).stdout
    kept = json.loads(out.read_text())["figures"]
    linked = [one for one in kept["summary"]["matchkeys"]["keys"] if one["linked"]]
    assert linked
    for one in linked:
        assert one["key"] in shown
    assert f"{kept['links']:,}" in next(line for line in shown.splitlines() if "Pairs linked" in line)
    assert "replaced" in run("job", "report", job, "--out", out).stdout
    other = tmp_path / "other.json"
    other.write_text("{}")
    run("job", "report", job, "--out", other, code=1)
    assert "no such job" in run("job", "report", "job-none", code=1).output
