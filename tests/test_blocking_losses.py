"""What the rules can lose, as a run says it: the figures of `kinlink blocking`, in results and reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import linker
from linker.blocking import examine
from linker.blocking_facts import observe
from linker.cli import app, linking
from linker.report import figures, write_report
from linker.sources import Raw, column
from tests.made_up_people import register, retyped


@pytest.fixture(scope="module")
def sides():
    people = register(400)
    return linker.arrive(people), linker.arrive(retyped(people))


@pytest.fixture(scope="module")
def linked(sides):
    return linker.link(*sides, certify=True)


def as_examined(result, *sides):
    """What `kinlink blocking` says of the same records, model and threshold."""
    found = examine(*sides, model=result.model, threshold=result.threshold).as_dict()
    return {name: found[name] for name in ("estimated_share_of_matches_missed", "certificate")}


def test_a_run_says_what_examining_says(sides, linked):
    said = linked.summary["blocking"]
    assert said == as_examined(linked, *sides)
    assert linked.losses.as_dict() == said
    assert said["certificate"]["threshold"] == linked.threshold
    assert said["certificate"]["lossless"] in (True, False)
    assert 0.0 < said["estimated_share_of_matches_missed"] < 1.0
    given = linker.link(*sides, model=linked.model, threshold=3.0, certify=True)
    assert given.summary["blocking"] == as_examined(given, *sides)
    assert given.summary["blocking"]["certificate"]["bound"] == said["certificate"]["bound"]


def test_no_pair_of_the_run_that_the_rules_miss_is_above_the_bound(sides, linked):
    every = replace(linked.model, rules=(linker.model.BlockingRule((("sex", "sex"),)),))
    pairs = linker.link(*sides, model=every, all_pairs=-1e6).pairs
    found = linker.link(*sides, model=linked.model, all_pairs=-1e6).pairs
    assert pairs is not None
    assert found is not None
    missed = pairs.join(found, on=["left_id", "right_id"], how="anti")
    assert missed.height > 1_000
    assert missed["match_weight"].max() <= linked.losses.certificate.bound + 1e-6


def test_deduplication_says_it_too(sides):
    alone = linker.dedupe(sides[0], certify=True)
    assert alone.summary["blocking"] == as_examined(alone, sides[0])
    together = linker.dedupe(*sides, certify=True)
    assert together.summary["blocking"]["certificate"]["threshold"] == together.threshold


def test_it_changes_nothing_else_and_is_looked_up_once(sides, linked, monkeypatch):
    calls = []

    def observed(*given):
        calls.append(1)
        return observe(*given)

    monkeypatch.setattr("linker.blocking_losses.observe", observed)
    plain = linker.link(*sides)
    assert (plain.losses, calls) == (None, [])
    assert "blocking" not in plain.summary
    assert "certify" not in plain.summary["seconds"]
    again = linker.link(*sides, certify=True)
    assert calls == [1]
    assert again.links.equals(plain.links)
    assert again.manifest == plain.manifest
    assert again.summary["seconds"]["certify"] >= 0.0
    figures(again)
    assert calls == [1]


def test_a_model_of_raw_records_is_refused(sides, linked):
    raw = replace(linked.model, raw=Raw({name: column(name) for name in linked.model.columns}, "id"))
    for run in (linker.link, linker.dedupe):
        with pytest.raises(linker.ModelError, match="as they stand"):
            run(*sides, model=raw, certify=True)


def test_the_report_says_it(sides, linked, tmp_path):
    write_report(linked, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    proof = linked.losses.certificate
    assert "What the rules can lose" in page
    assert f"more than {proof.bound:+.2f} bits" in page
    assert f"threshold of {linked.threshold:+.2f} bits" in page
    assert page.count("estimated_share_of_matches_missed") == 0
    assert (
        json.loads((tmp_path / "report.json").read_text())["summary"]["blocking"]
        == linked.summary["blocking"]
    )
    strict = linker.link(*sides, model=linked.model, threshold=proof.bound + 1, certify=True)
    write_report(strict, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "blocking provably loses nothing" in page
    assert "at worst" not in page
    write_report(linker.link(*sides), tmp_path / "report.html")
    assert "What the rules can lose" not in (tmp_path / "report.html").read_text()


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people = register(400)
    people.write_csv("left.csv")
    retyped(people).write_csv("right.csv")
    return tmp_path


def run(*args, code=0):
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


LINK = ("link", "left.csv", "right.csv")


def test_a_report_brings_it_up_to_a_size_and_an_option_decides(folder, monkeypatch):
    def said(*options):
        return json.loads(run(*LINK, *options, "--json").stdout)["summary"].get("blocking")

    assert said() is None
    assert said("--report", "r.html", "--no-certify") is None
    by_report = said("--report", "r.html", "--save-model", "model.json")
    assert by_report is not None
    assert said("--certify") == by_report
    monkeypatch.setattr(linking, "CERTIFIED_RECORDS", 799)
    assert said("--report", "r.html") is None
    assert said("--report", "r.html", "--certify") == by_report
    monkeypatch.setattr(linking, "CERTIFIED_RECORDS", 800)
    assert said("--report", "r.html") == by_report
    # The same as the command that asks nothing else.
    threshold = by_report["certificate"]["threshold"]
    asked = (
        "blocking",
        "left.csv",
        "right.csv",
        "--model",
        "model.json",
        f"--threshold={threshold!r}",
        "--json",
    )
    examined = json.loads(run(*asked).stdout)["blocking"]
    assert {name: examined[name] for name in by_report} == by_report


def test_the_console_shows_it(folder):
    shown = " ".join(run(*LINK, "--certify").stdout.split())
    assert "What the rules can lose" in shown
    assert "the rules miss can weigh more than" in shown or "provably loses nothing" in shown
    assert "What the rules can lose" in run("dedupe", "left.csv", "--certify").stdout
    assert "What the rules can lose" not in run(*LINK).stdout
    alone = run(*LINK, "--keys", "ons", "--keys-only", "--certify", code=2)
    assert "without a model" in " ".join(alone.output.replace("│", " ").split())
    assert Path("links.csv").exists()


def test_without_rules_every_match_is_missed(sides, linked):
    found = linker.link(*sides, model=replace(linked.model, rules=()), certify=True)
    assert found.links.height == 0
    assert found.summary["blocking"]["estimated_share_of_matches_missed"] == 1.0
    bounds = [one.summary["blocking"]["certificate"]["bound"] for one in (found, linked)]
    assert bounds == sorted(bounds, reverse=True)
