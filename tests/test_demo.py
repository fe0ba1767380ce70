"""The demo from end to end, as `make demo` runs it: outputs, quality, and no identifier out of its place."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import pseudonym
from benchmarks.county.presets import REGISTERS
from deploy import apart
from deploy import demo as demo_program
from deploy import roles as roles_program
from linker.cli import app
from pseudonym.roles.callers import Role

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, str(ROOT / "deploy" / "demo.py"), "--folder"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(folder, *more):
    return subprocess.run(
        [*COMMAND, str(folder), *more], capture_output=True, text=True, timeout=800, env=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "here"
    ended = run(folder, "--picture", str(folder.parent / "demo.svg"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    (folder.parent / "story.txt").write_text(ended.stdout)
    return folder


@pytest.fixture(scope="module")
def summary(demo):
    return json.loads((demo / "summary.json").read_text())


def identifiers(demo):
    """What tells who somebody is, of the councils' people and the registers': names, days, numbers."""
    frames = [
        pl.read_parquet(path)
        for path in (demo / "county").glob("*s/**/*.parquet")
        if "truth" not in str(path)
    ]
    told = re.compile(r"name|surname|birth|dob|nhs|nino|ni_number|ni number|upn|uln|pnc", re.IGNORECASE)
    return {
        value
        for frame in frames
        for column in frame.columns
        if told.search(column)
        for value in frame[column].drop_nulls().cast(pl.String).unique()
        if len(value) >= 8
    }


def test_it_makes_its_outputs_and_tells_of_them(demo):
    guide = (demo / "README.txt").read_text()
    named = {path.name for path in demo.iterdir()} - {"README.txt"}
    listed, _, notes = guide.partition("\n\n")[2].partition("\n\n")
    assert named == {line.split()[0] for line in listed.splitlines()}
    # The certificate is checked as the guide says, without a server.
    [command] = re.findall(r"(?m)^    \S*kinlink (retention verify .*)$", notes)
    checked = CliRunner().invoke(app, shlex.split(command))
    assert checked.exit_code == 0, checked.output
    answer = (demo / "answer.txt").read_text()
    assert answer.startswith("Answer to your request for access (UK GDPR Article 15)")
    assert json.loads((demo / "access.json").read_text())["case"]["case_id"] in answer
    story = (demo.parent / "story.txt").read_text()
    # A path may be of any length.
    lines = [line for line in story.splitlines() if str(demo) not in line]
    assert len(lines) > 60
    assert max(map(len, lines)) <= 80
    # A line that is too long for the screen leaves a word alone on the next one.
    assert [line for line in lines if re.fullmatch(r" +[a-z]+", line)] == []
    assert "<svg" in (demo.parent / "demo.svg").read_text()


def test_r27_links_are_right_and_are_told_with_what_they_miss(demo, summary):
    registers = summary["registers"]
    assert list(registers) == list(REGISTERS)
    right = [sum(one["precision"][place] for one in registers.values()) for place in (0, 1)]
    assert right[0] / right[1] >= 0.997
    for name in ("pnc", "npd", "wpls"):
        hits, there = registers[name]["recall"]
        assert hits / there >= 0.93, name
    with (demo / "links.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = {(row["dataset"], row["group"]) for row in rows if row["measure"] == "false links"}
    assert {(f"registers/{name}", kin) for name in REGISTERS for kin in ("twin", "sibling")} <= told


def test_r29_not_applicable_is_apart_from_not_linked(demo, summary):
    persons = pl.read_parquet(demo / "analysis" / "persons.parquet")
    for name, counted in summary["registers"].items():
        told = dict(persons[f"link_{name}_outcome"].value_counts().iter_rows())
        assert told.get("LINKED", 0) == counted["persons_linked"]
        assert told.get("NOT_APPLICABLE", 0) == counted.get("persons_not_applicable", 0)
        assert told.get("NOT_LINKED", 0) == counted["persons_not_linked"]


def test_r32_r33_the_analysis_file_is_whole_and_its_numbers_are_valid(demo, summary):
    folder = demo / "analysis"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["files"]) > 5
    for file in manifest["files"]:
        content = (folder / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["name"]
    assert manifest["rows"] == summary["analysis"]
    persons = pl.read_parquet(folder / "persons.parquet")
    read = [pseudonym.read(urn) for urn in persons["person"]]
    assert {(urn.kind, urn.epoch) for urn in read} == {(pseudonym.Kind.PERSON, 1)}
    assert persons["person"].n_unique() == persons.height
    said = set(pl.read_csv(folder / "dictionary.csv").select("table", "name").iter_rows())
    for table in ("persons", "families", "npd", "pnc", "wpls"):
        assert {(table, name) for name in pl.read_parquet(folder / f"{table}.parquet").columns} <= said


def test_r6_families_that_stay_are_nowhere(demo):
    told = pl.read_csv(demo / "explanations.csv", infer_schema=False)
    few = told.filter(pl.col("outcome") == "below")["family"].to_list()
    assert len(few) > 20
    words = {one.encode() for one in few}
    for role in ("identity", "broker", "attributes"):
        for path in (demo / "roles" / f"{role}-role").rglob("*"):
            if path.is_file():
                assert words.isdisjoint(re.findall(rb"[A-Z]F\d{4}", path.read_bytes())), path.name


def test_r34_nothing_lies_where_it_does_not_belong(summary):
    found = summary["found"]
    assert set(found) >= {"surnames in attributes", "NHS numbers in identity", "ids in both"}
    assert set(found.values()) == {0}


def test_what_is_looked_for_would_be_found(demo, tmp_path):
    surname = next(
        one
        for one in pl.read_parquet(demo / "county" / "registers" / "npd.parquet")["surname"]
        if len(one) >= 9
    )
    number = pl.read_parquet(demo / "county" / "registers" / "hes.parquet")["nhs_number"].drop_nulls()[0]
    for role in Role:
        (tmp_path / f"{role}-role").mkdir()
    (tmp_path / "attributes-role" / "planted.bin").write_bytes(f"\0{surname}\1".encode())
    (tmp_path / "broker-role" / "planted.bin").write_bytes(f"\0{number}\1".encode())
    found = apart.found_in(tmp_path, {"surnames": {surname}, "numbers": {number}})
    assert found[Role.ATTRIBUTES] == {"surnames": 1, "numbers": 0}
    assert found[Role.BROKER] == {"surnames": 0, "numbers": 1}


def test_r23_no_identifier_gets_out(demo):
    known = identifiers(demo)
    assert len(known) > 10_000
    out = [demo / name for name in ("report.txt", "summary.json", "links.csv")]
    out += [path for path in (demo / "analysis").iterdir() if path.suffix in (".csv", ".json", ".toml")]
    out += [demo / "roles" / f"{role}.log" for role in ("identity", "broker", "attributes")]
    out += [demo.parent / "story.txt"]
    for path in out:
        words = set(re.findall(r"[\w-]{8,}", path.read_text()))
        assert words.isdisjoint(known), path.name


@pytest.mark.parametrize("role", ["identity", "broker", "attributes"])
def test_no_role_said_anything_of_an_error_and_all_stopped(demo, role):
    said = (demo / "roles" / f"{role}.log").read_text().splitlines()
    lines = [json.loads(line) for line in said if line.startswith("{")]
    assert {line["event"] for line in lines if line["level"] != "INFO"} == set()
    assert lines[-1]["event"] == "stopped"


@pytest.mark.parametrize("text", ["", "12", "599", "0k", "2000k", "-5", "1e4", "10K"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="families"):
        demo_program.size(text)


def test_sizes():
    assert (demo_program.size("1200"), demo_program.size("100k")) == (1_200, 100_000)


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
    monkeypatch.setattr("deploy.demo_steps.Demo.make_county", lambda *_: None)
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
    until = time.monotonic() + 120
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
