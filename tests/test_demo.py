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
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import pseudonym
from benchmarks.county.councils import COUNCILS
from benchmarks.county.presets import REGISTERS
from benchmarks.county.write import delivery_days
from deploy import apart, study
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


LEAST_FOUND = {
    "pnc": 0.94, "prisons": 0.86, "npd": 0.96, "ilr": 0.88, "wpls": 0.93, "hes": 0.73, "mhmds": 0.72,
    "ndtms": 0.84,
}  # fmt: skip
"""Of those who are in a register the share that is linked: some hundredths below what the demo shows, and
more where they are few (64 in prisons)."""
MOST_WRONG = {"hes": 6}
"""Persons linked wrongly, and links to kin and to nobody's people. Of two thousand linked to hospitals, which
have no names, two and one are; elsewhere none, and one is let pass."""


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
    assert list(registers) == list(REGISTERS) == list(LEAST_FOUND)
    with (demo / "links.csv").open() as file:
        rows = list(csv.DictReader(file))
    false = {
        (row["dataset"], row["by"], row["group"]): int(row["count"])
        for row in rows
        if row["measure"] == "false links"
    }
    for name, least in LEAST_FOUND.items():
        hits, there = registers[name]["recall"]
        assert hits / there >= least, (name, hits, there)
        right, made = registers[name]["precision"]
        assert made - right <= MOST_WRONG.get(name, 1), (name, right, made)
        kin = sum(false[f"registers/{name}", "relation", one] for one in ("twin", "sibling"))
        assert kin == registers[name]["twins_and_siblings"] <= MOST_WRONG.get(name, 1), (name, kin)
        assert false[f"registers/{name}", "nobody's", "nobody's"] <= MOST_WRONG.get(name, 1), name
    # A link names one of a person's records: pairs of records that were not linked are not missed.
    assert {row["stage"] for row in rows if row["measure"] == "recall"} == {"person", "family"}


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


class Noting:
    """In the place of the roles: notes what a sender sends."""

    def __init__(self):
        self.sent = ""

    @contextmanager
    def client(self, _role):
        yield self

    linker = attributes = client

    def submit(self, rows, **_):
        self.sent += rows.write_csv()
        return SimpleNamespace(problem=None, submission_id="", rows=rows.height)


def families_in(text):
    return set(re.findall(r"(?<![A-Z0-9])[FMO]F\d{4}(?![A-Z0-9])", text))


def test_r6_families_that_stay_are_nowhere(demo):
    """What its senders send to both roles has the families that are shared, all of them, and no other."""
    stay, leave = set(), set()
    for day in delivery_days():
        for council in COUNCILS:
            noting: Any = Noting()
            found = study.look_through(demo / "county", council, day)
            study.deliver(noting, found, bytes(32), lambda *_: None)
            told = found.explanations()
            eligible, below = (
                set(told.filter(pl.col("outcome") == outcome)["family"]) for outcome in ("eligible", "below")
            )
            assert len(below) > 20
            assert families_in(noting.sent) == eligible
            stay |= below
            leave |= eligible
    assert families_in((demo / "explanations.csv").read_text()) & stay  # the council's own
    outputs = [path for path in demo.iterdir() if path.is_file() and path.name != "explanations.csv"]
    outputs += [path for name in ("analysis", "certificates") for path in (demo / name).iterdir()]
    outputs += [*(demo / "roles").glob("*.log"), demo.parent / "story.txt"]
    assert len(outputs) > 20
    for path in outputs:
        assert families_in(path.read_text(errors="replace")).isdisjoint(stay - leave), path.name


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
