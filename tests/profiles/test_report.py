"""The report, the reach, the manifest, the council's own file, and the command line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app
from linker.errors import ProfileError
from linker.model import Comparison, Level, Model, TermFrequencies
from linker.profiles import load, names
from linker.profiles.dedupe import dedupe_profile
from linker.profiles.describe import described
from linker.profiles.figures import expected_precision
from linker.profiles.link import link_profile
from linker.profiles.page import write_profile_report
from linker.profiles.profile import parse
from linker.profiles.reach import before, reach
from tests.profiles.people import ON, council, extract, families, strangers

PEOPLE = families(60)
RIGHT = [*PEOPLE, *strangers(200)]
RESULT = link_profile(council(PEOPLE), extract("npd", RIGHT), "npd", on=ON, family="family_id", arm="arm")


def test_r74_the_report_adds_up() -> None:
    report, outcomes = RESULT.report, RESULT.outcomes
    assert sum(report["outcomes"].values()) == len(PEOPLE)
    assert report["links"] == RESULT.links.height
    linked = [one for one in report["stages"] if one["outcome"] == "LINKED"]
    assert sum(one["pairs"] for one in linked) == RESULT.links.height
    assert sum(one["linked"] for one in report["bands"]) == RESULT.links.height
    for by in ("age", "sex", "area", "arm"):
        groups = [one for one in report["linked_by"] if one["by"] == by]
        assert sum(one["records"] for one in groups) == len(PEOPLE)
        assert sum(one["linked"] for one in groups) == report["outcomes"]["LINKED"]
        assert sum(one["applicable"] for one in groups) == len(PEOPLE) - report["outcomes"]["NOT_APPLICABLE"]
    ages = {one["group"]: one for one in report["linked_by"] if one["by"] == "age"}
    assert ages["25-44"]["applicable"] == 0
    assert ages["25-44"]["share"] is None
    assert {one["group"] for one in report["linked_by"] if one["by"] == "arm"} == {"programme", "comparison"}
    assert outcomes.filter(pl.col("outcome") == "NOT_LINKED").height == report["outcomes"]["NOT_LINKED"]


def test_r74_the_expected_precision_is_that_of_the_chances() -> None:
    links = pl.DataFrame({"probability": [0.9, 0.8, 1.0, 0.7]})
    found = expected_precision(links)
    spread = 1.96 * math.sqrt(0.09 + 0.16 + 0.0 + 0.21) / 4
    assert found["estimate"] == pytest.approx(0.85)
    assert found["low"] == pytest.approx(0.85 - spread)
    assert found["high"] == 1.0
    assert expected_precision(links.clear())["estimate"] is None


def test_r74_a_report_holds_no_value_of_a_person(tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    beside = write_profile_report(RESULT.report, RESULT.manifest, place)
    whole = place.read_text() + beside.read_text()
    for person in PEOPLE:
        for value in (person.surname, person.postcode, person.born.isoformat(), f"L{person.number:04d}"):
            assert value not in whole
    assert json.loads(beside.read_text())["manifest"]["profile"]["name"] == "npd"


def test_r26_the_highest_weight_is_what_the_best_levels_add_up_to() -> None:
    from linker.conditions import exact, missing

    one = Comparison("a", missing("a"), (Level("exact", exact("a"), 0.8, 0.1), Level("else", None, 0.2, 0.9)))
    rare = Comparison(
        "b", missing("b"), (Level("exact", exact("b"), 0.5, 0.25, tf="b"), Level("else", None, 0.5, 0.75))
    )
    model = Model((one, rare), (), 0.2, {"b": TermFrequencies({}, 1 / 64)})
    highest, parts = reach(model)
    assert parts == {
        "a": pytest.approx(3.0),
        "b": pytest.approx(math.log2(0.5 / 0.25) + math.log2(0.25 * 64)),
    }
    assert highest == pytest.approx(math.log2(0.25) + 3.0 + 5.0)


def test_r26_no_pair_weighs_more_than_can_be_reached() -> None:
    assert RESULT.outcomes["weight"].max() <= RESULT.report["highest_weight"]["bits"] + 1e-9


def test_r26_registers_without_names_reach_less_than_those_with() -> None:
    about = {name: before(load(name), frozenset())[0] for name in names()}
    with_names = min(about[name] for name in ("pnc", "prisons", "npd", "ilr", "wpls"))
    assert max(about["hes"], about["mhmds"], about["ndtms"]) < with_names
    assert described(load("hes"))["highest_weight"]["with_switches"] > about["hes"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name =", "not TOML"),
        ('name = "x"', "cannot be read"),
    ],
)
def test_r26_a_profile_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        parse(text, "mine.toml")


def test_r26_an_unknown_word_in_a_condition_is_named(tmp_path: Path) -> None:
    from importlib import resources

    text = resources.files("linker.profiles").joinpath("npd.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("forename_not_against & dob |", "forename_vaguely & dob |"))
    with pytest.raises(ProfileError, match="forename_vaguely"):
        link_profile(council(PEOPLE), extract("npd", RIGHT), mine, on=ON)
    with pytest.raises(ProfileError, match="no profile of that name"):
        load("nowhere")


def test_r78_a_changed_profile_has_another_digest(tmp_path: Path) -> None:
    from importlib import resources

    text = resources.files("linker.profiles").joinpath("npd.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("link = 8", "link = 9"))
    assert load(mine).digest != load("npd").digest
    mine.write_text("# a remark\n" + text)
    assert load(mine).digest == load("npd").digest


def test_r26_the_council_finds_the_same_person_within_and_across_deliveries() -> None:
    again = [replace(one, number=one.number, forename=one.forename[:1]) for one in PEOPLE[:3]]
    twice = council(again).with_columns(record_id=pl.col("record_id").str.replace("L", "X"))
    first = pl.concat([council(PEOPLE), twice])
    within = dedupe_profile(first, family="family_id")
    person = dict(within.persons.select("record_id", "person_id").rows())
    assert all(person[f"X{place:04d}"] == person[f"L{place:04d}"] for place in range(3))
    assert len(set(person.values())) == len(PEOPLE)
    moved = council([replace(one, postcode="LS1 4AP", street="Hark Lane") for one in PEOPLE])
    across = dedupe_profile(council(PEOPLE), moved, family="family_id").persons
    sizes = across.group_by("record_id").agg(pl.col("person_id").n_unique(), pl.len())
    assert (sizes["person_id"] == 1).all()
    assert (sizes["len"] == 2).all()
    assert across["person_id"].n_unique() == len(PEOPLE)


def test_r26_profiles_on_the_command_line(tmp_path: Path) -> None:
    run = CliRunner().invoke
    shown = run(app, ["profile", "show", "ndtms", "--json"])
    assert shown.exit_code == 0
    found = json.loads(shown.stdout)["profile"]
    assert found["carries"] == ["initials", "date_of_birth", "sex", "local_authority", "partial_postcode"]
    assert found["applicable"] == "people of 9 and over"
    assert found["requires"] == ["local_authority"]
    listed = json.loads(run(app, ["profile", "list", "--json"]).stdout)["profiles"]
    assert [one["name"] for one in listed] == list(names())
    assert "bits" in run(app, ["profile", "show", "hes"]).stdout

    left, right, out = (tmp_path / name for name in ("left.csv", "right.csv", "out.csv"))
    council(PEOPLE).write_csv(left)
    extract("npd", RIGHT).write_csv(right)
    asked = ["link", str(left), str(right), "--profile", "npd", "--out", str(out)]
    done = run(
        app,
        [
            *asked,
            "--on",
            "2024-12-31",
            "--family",
            "family_id",
            "--arm",
            "arm",
            "--report",
            str(tmp_path / "r.html"),
        ],
    )
    assert done.exit_code == 0, done.output
    written = pl.read_csv(out, infer_schema=False)
    assert written.select("left_id", "right_id", "outcome").equals(
        RESULT.outcomes.select("left_id", "right_id", "outcome")
    )
    assert (tmp_path / "out.manifest.json").exists()
    assert (tmp_path / "r.json").exists()
    for found in ("out.manifest.json", "r.json"):
        refused = run(app, ["verify", str(tmp_path / found), str(left), str(right)])
        assert refused.exit_code == 1
        assert "by profile" in refused.stderr
    assert run(app, asked).exit_code == 2
    assert run(app, [*asked, "--on", "2024-12-31", "--keys", "ons"]).exit_code == 2
    assert run(app, ["link", str(left), str(right), "--on", "2024-12-31"]).exit_code == 2
