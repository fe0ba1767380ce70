"""`kinlink reference` and `kinlink match` against a real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import linker
from linker.cli import app
from tests.service.harness import CANARY, PROJECT, PURPOSE, people, with_errors

FRAME = people(200, seed=21)


@pytest.fixture(scope="module")
def submission(server):
    """The id of a submission; the model "trained" is there too."""
    sides = [linker.arrive(side, id_column="person_id") for side in (FRAME, with_errors(FRAME))]
    with server.client() as client:
        client.put_model("trained", linker.train(*sides).model.to_json())
        sent = client.submit(FRAME, batch_id="match-cli", source="NPD", id_column="person_id")
        return sent.submission_id


@pytest.fixture
def run(server, monkeypatch):
    monkeypatch.setenv("KINLINK_SERVICE", server.address)
    monkeypatch.setenv("KINLINK_PROJECT", PROJECT)
    monkeypatch.setenv("KINLINK_PURPOSE", PURPOSE)

    def run(*words, code=0, stdin=None):
        done = CliRunner().invoke(app, [str(word) for word in words], input=stdin, env={"COLUMNS": "200"})
        assert done.exit_code == code, done.output
        return done

    return run


def test_a_reference_is_loaded_listed_asked_and_dropped(run, submission, tmp_path):
    shown = run("reference", "load", "cli", submission, "--model", "trained").stdout
    assert "Reference cli: ready, 200 records." in shown
    assert "date_of_birth" in shown
    listed = json.loads(run("reference", "list", "--json").stdout)["references"]
    assert [one["records"] for one in listed if one["name"] == "cli"] == [200]
    assert "cli" in run("reference", "list").stdout

    row = FRAME.drop("person_id").row(5, named=True)
    typed = [word for name, text in row.items() for word in ("--value", f"{name}={text}")]
    by_value = json.loads(run("match", "cli", *typed, "--json").stdout)
    assert by_value["candidates"][0]["record_id"] == "r000005"
    assert by_value["candidates"][0]["steps"] == []
    path = tmp_path / "record.json"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert json.loads(run("match", "cli", "--record", path, "--json").stdout) == by_value
    assert (
        json.loads(run("match", "cli", "--record", "-", "--json", stdin=json.dumps(row)).stdout) == by_value
    )
    shown = run("match", "cli", "--record", path, "--explain", "--top", "1").stdout
    assert "r000005" in shown
    assert "before anything is compared" in shown
    assert "Nobody" in run("match", "cli", "--value", "surname=Cole", "--floor", "200").stdout

    assert "is dropped" in run("reference", "drop", "cli").stdout
    assert "no such reference" in run("match", "cli", *typed, code=1).stderr


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        ((), None, 2),
        (("--value", "surname=Cole", "--record", "-"), "{}", 2),
        (("--value", CANARY), None, 2),
        (("--record", "-"), f'{{"surname": {CANARY}}}', 1),
        (("--record", "-"), f'["{CANARY}"]', 1),
        (("--record", "-"), '{"surname": 7}', 1),
        (("--record", "absent.json"), None, 1),
        (("--value", f"lastname={CANARY}"), None, 1),
    ],
)
def test_what_is_no_record_is_said_without_repeating_it(run, words, stdin, code):
    done = run("match", "nobody", *words, stdin=stdin, code=code)
    assert CANARY not in done.output
    assert done.stderr
