"""`kinlink blocking`: what it shows, what it keeps to itself, how it refuses."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import linker
from linker.cli import app
from tests.made_up_people import register, retyped


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """left.csv, right.csv, links.csv and model.json, of 300 people."""
    folder = tmp_path_factory.mktemp("blocking")
    people = register(300)
    again = retyped(people)
    people.write_csv(folder / "left.csv")
    again.write_csv(folder / "right.csv")
    people.select(left="id").hstack(again.select(right="id")).write_csv(folder / "links.csv")
    linker.train(people, again).model.save(folder / "model.json")
    return folder


def run(files, *args, code=0, both=True):
    sides = [files / "left.csv", files / "right.csv"][: 2 if both else 1]
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})
    result = runner.invoke(app, ["blocking", *map(str, sides), *map(str, args)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def figures(files, *args, **options):
    return json.loads(run(files, *args, "--json", **options).stdout)["blocking"]


def words(result):
    return " ".join(result.stdout.split())


def values(files):
    return [value for value in register(300)["surname"].str.to_uppercase().unique() if len(value) > 5]


def test_without_a_model_the_default_rules_are_counted(files):
    result = run(files)
    assert "forename.first + surname" in result.stdout
    assert "Largest blocks" in result.stdout
    assert "an estimate from m" in words(result)
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    found = figures(files)
    assert found["records"] == [300, 300]
    assert found["possible_pairs"] == 90_000
    assert found["pairs"] == sum(rule["new"] for rule in found["rules"])
    assert found["certificate"] is None
    assert found["suggestions"] is None


def test_values_of_blocks_are_shown_only_when_asked(files):
    plain, shown = run(files, "--rule", "surname"), run(files, "--rule", "surname", "--show-values")
    assert not any(value in plain.stdout for value in values(files))
    assert any(value in shown.stdout for value in values(files))
    as_json = run(files, "--rule", "surname", "--show-values", "--json")
    assert not any(value in as_json.stdout for value in values(files))


def test_a_model_gives_a_certificate_and_a_threshold_a_verdict(files):
    model = ("--model", files / "model.json")
    bound = figures(files, *model)["certificate"]["bound"]
    result = run(files, *model)
    assert f"{bound:+.2f} bits" in words(result)
    assert "threshold" not in result.stdout
    under, over = run(files, *model, "--threshold", bound + 1), run(files, *model, "--threshold", bound - 1)
    assert "blocking provably loses nothing" in words(under)
    assert "such a pair would be linked" in words(over)
    assert "Such a pair, at worst" in over.stdout


def test_rules_are_suggested_with_what_they_bring_and_cost(files):
    args = (
        "--model",
        files / "model.json",
        "--rule",
        "surname + postcode",
        "--suggest",
        "--links",
        files / "links.csv",
    )
    result = run(files, *args)
    assert "Rules to add, in this order" in result.stdout
    assert "measured on the links given" in words(result)
    found = figures(files, *args)
    assert found["missed_measured_on_links"] is True
    assert [rule["rule"] for rule in found["rules"]] == ["surname + postcode"]
    assert found["suggestions"][0]["adds"] > 0
    assert found["suggestions"][0]["certificate"]["bound"] <= found["certificate"]["bound"]


def test_one_file_is_held_against_itself(files):
    assert figures(files, both=False)["possible_pairs"] == 300 * 299 // 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--rule", "surname +"], "columns with + between them"),
        (["--rule", "shoe_size"], "'shoe_size' names a column"),
        (["--model", "none.json"], "cannot be read"),
        (["--links", "left.csv"], "labelled matches"),
    ],
)
def test_what_does_not_fit_is_refused_in_two_sentences(files, args, said, monkeypatch):
    monkeypatch.chdir(files)
    result = run(files, *args, code=1)
    assert said in " ".join(result.stderr.split())
    assert not any(value in result.output for value in values(files))
