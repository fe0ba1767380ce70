"""The demo from end to end, as `make demo` runs it: outputs, quality, and no identifier out of its place."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import pseudonym
from deploy import demo as demo_program
from deploy import demo_roles
from deploy import roles as roles_program
from deploy.story import Story

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, str(ROOT / "deploy" / "demo.py"), "--folder"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

pytestmark = pytest.mark.slow


def run(folder, *more):
    return subprocess.run(
        [*COMMAND, str(folder), *more], capture_output=True, text=True, timeout=280, env=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "here"
    ended = run(folder, "--picture", str(folder.parent / "demo.svg"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    (folder.parent / "story.txt").write_text(ended.stdout)
    return folder


def records(demo):
    files = (pl.read_csv(demo / f"{name}.csv", infer_schema=False) for name in ("council", "register"))
    return pl.concat(files, how="diagonal")


def test_it_makes_its_outputs_and_tells_of_them(demo):
    guide = (demo / "README.txt").read_text()
    named = {path.name for path in demo.iterdir()} - {"README.txt"}
    assert named == {line.split()[0] for line in guide.splitlines()[2:] if line}
    story = (demo.parent / "story.txt").read_text()
    # A path may be of any length.
    lines = [line for line in story.splitlines() if str(demo) not in line]
    assert len(lines) > 20
    assert max(map(len, lines)) <= 80
    assert "<svg" in (demo.parent / "demo.svg").read_text()


def test_its_links_are_right(demo):
    summary = json.loads((demo / "summary.json").read_text())
    assert summary["quality"]["f1"] >= 0.999
    links, truth = pl.read_parquet(demo / "links.parquet"), pl.read_csv(demo / "truth.csv")
    right = links.join(truth, on=["left_id", "right_id"]).height
    assert 2 * right / (links.height + truth.height) == summary["quality"]["f1"]
    assert summary["links"] == links.height == json.loads((demo / "report.json").read_text())["links"]


def test_every_person_has_one_valid_number(demo):
    numbers = pl.read_csv(demo / "urns.csv")
    summary = json.loads((demo / "summary.json").read_text())
    assert numbers.columns == ["urn"]
    assert numbers["urn"].n_unique() == numbers.height == summary["persons"] == summary["urns"]
    assert numbers["urn"].is_sorted()
    read = [pseudonym.read(urn) for urn in numbers["urn"]]
    assert {(urn.kind, urn.epoch) for urn in read} == {(pseudonym.Kind.PERSON, 1)}


def test_a_later_file_joins_the_persons_who_are_there(demo):
    summary = json.loads((demo / "summary.json").read_text())
    council, later = (pl.read_csv(demo / f"{name}.csv") for name in ("council", "later"))
    assert (council.height, later.height) == (5000, 1000)
    # Each of the later records is a copy of one of the council's: hardly anybody is new.
    assert abs(summary["persons"] - council.height) <= 5


def test_neither_database_holds_what_the_other_is_for(demo):
    found = json.loads((demo / "summary.json").read_text())["found"]
    assert set(found) >= {"surnames in attributes", "codes in identity", "ids in both"}
    # The names of codes are in their declaration, where they belong.
    assert found.pop("codes in attributes") == len(demo_roles.HELP)
    assert set(found.values()) == {0}


def test_what_is_looked_for_would_be_found(demo, tmp_path):
    files = [pl.read_csv(demo / "council.csv", infer_schema=False)]
    shutil.copytree(demo / "roles", tmp_path / "roles")
    number, folder = files[0]["soc_sec_id"][0], tmp_path / "roles"
    (folder / "attributes-role" / "planted.txt").write_text(f"x {number} y\n")
    (folder / "identity-role" / "planted.txt").write_text("x employment-adviser y\n")
    found = demo_roles.look_into(Story(), tmp_path / "roles", files)
    assert (found["numbers in attributes"], found["codes in identity"]) == (1, 1)


@pytest.mark.parametrize(
    "name", ["urns.csv", "report.html", "report.json", "summary.json", "roles/identity.log"]
)
def test_no_identifier_gets_out(demo, name):
    text = (demo / name).read_text()
    # Whole words: a digest or a fraction may hold any seven digits by chance.
    words = set(re.findall(r"(?<![\w.])\w+(?![\w])", text.lower()))
    people = records(demo)
    for column in ("soc_sec_id", "date_of_birth"):
        assert words.isdisjoint(people[column].drop_nulls().to_list()), column
    surnames = people["surname"].drop_nulls().str.to_lowercase()
    assert words.isdisjoint(surnames.filter(surnames.str.len_chars() >= 6).to_list())
    if name != "summary.json":  # which says which pair the story explains
        assert not re.search(r"rec-\d+-", text)


def test_the_story_shows_no_identifier(demo):
    story = (demo.parent / "story.txt").read_text()
    words = set(re.findall(r"(?<![\w.,])\w+(?![\w,])", story.lower()))
    people = records(demo)
    for column in ("soc_sec_id", "date_of_birth"):
        assert words.isdisjoint(people[column].drop_nulls().to_list())


@pytest.mark.parametrize("role", ["identity", "broker", "attributes"])
def test_no_role_said_anything_of_an_error_and_all_stopped(demo, role):
    said = (demo / "roles" / f"{role}.log").read_text().splitlines()
    lines = [json.loads(line) for line in said if line.startswith("{")]
    assert {line["event"] for line in lines if line["level"] != "INFO"} == set()
    assert lines[-1]["event"] == "stopped"


def test_another_folder_is_left_alone(tmp_path):
    kept = tmp_path / "council.csv"
    kept.write_text("mine\n")
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert "no demo made" in ended.stderr
    assert kept.read_text() == "mine\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_as_the_server_starts_leaves_none(tmp_path, monkeypatch, number):
    began = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            began.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr("deploy.roles.subprocess.Popen", Popen)
    monkeypatch.setattr("deploy.demo.write_files", lambda *_: None)
    before = {name: signal.getsignal(name) for name in roles_program.ENDING}
    umask = os.umask(0o077)
    try:
        assert demo_program.main(["--folder", str(tmp_path / "demo")]) == 130
        assert [process.poll() is not None for process in began] == [True]
    finally:
        os.umask(umask)
        for name, handler in before.items():
            signal.signal(name, handler)
        for process in began:
            process.kill()


def test_stopped_in_the_middle_it_stops_the_server_and_replaces_only_its_own(demo, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo, folder)
    log, strange = folder / "roles" / "identity.log", folder / "notes.txt"
    log.unlink()
    strange.write_text("of the user\n")
    process = subprocess.Popen(
        [*COMMAND, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    until = time.monotonic() + 60
    while not (log.exists() and "job_started" in log.read_text()):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped" in said
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"
    assert not (folder / "summary.json").exists()
    assert strange.read_text() == "of the user\n"
