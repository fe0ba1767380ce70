"""Matchkeys alone and before the model: links, reports, command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import linker
from linker.cli import app
from linker.conditions import Not, Op, exact, missing
from linker.conditions import Test as Measure
from linker.matchkeys import Matchkey, Matchkeys
from linker.matchkeys_ons import ONS
from linker.matchkeys_pass import match_keys
from linker.model import BlockingRule, Comparison, Level
from linker.report import figures, write_report
from tests import matchkeys_oracle as oracle
from tests import matchkeys_people as made_up


@pytest.fixture(scope="module")
def few():
    homes = made_up.population(180, seed=4)
    people = [person for home in homes for person in home]
    drop = ["other_forename", "other_surname", "other_postcode"]
    left, right = (oracle.frame(side).drop(drop) for side in (people, made_up.seen_again(homes, seed=5)))
    return [linker.arrive(side, id_column="id", mapping={"date_of_birth": "born"}) for side in (left, right)]


@pytest.fixture(scope="module")
def both(few):
    return linker.link(*few, keys="ons", all_pairs=-1e6)


def test_the_keys_alone_link_one_to_one_and_count_what_they_did(few):
    result = linker.link_by_keys(*few)
    matched = match_keys(few[0], few[1], ONS)
    wanted = matched.pairs.filter(pl.col("outcome") == "LINKED")
    assert (
        result.links.select("left_id", "right_id", "rule").rows()
        == wanted.select("left_id", "right_id", "key").rows()
    )
    assert set(result.links["stage"]) == {"matchkey"}
    assert result.links["match_weight"].is_null().all()
    assert set(result.review["outcome"]) <= {"REVIEW", "AMBIGUOUS"}
    counted = result.summary["matchkeys"]
    assert sum(one["linked"] for one in counted["keys"]) == result.links.height == result.summary["links"]
    open_pairs = sum(one["ambiguous"] + one["review"] for one in counted["keys"])
    assert open_pairs == result.review.height
    assert [one["key"] for one in counted["left_out"]] == ["MK33", "MK34"]
    assert counted["digest"] == ONS.digest


def test_the_model_links_the_rest(few, both):
    alone, by_keys = linker.link(*few), linker.link_by_keys(*few)
    ids = ["left_id", "right_id"]
    fixed = both.links.filter(pl.col("stage") == "matchkey")
    assert fixed.select(*ids, "rule").rows() == by_keys.links.select(*ids, "rule").rows()
    assert 0 < fixed.height < both.links.height
    assert both.links.get_column("left_id").is_unique().all()
    assert both.links.get_column("right_id").is_unique().all()
    assert both.links.select(ids).equals(both.links.select(ids).sort(ids))
    # Every link has the weight that the model gives the pair.
    weights = both.pairs.select(*ids, "match_weight", "match_probability")
    joined = both.links.join(weights, on=ids, how="left", suffix="_of_pair")
    assert joined["match_weight"].equals(
        joined["match_weight_of_pair"].alias("match_weight"), null_equal=True
    )
    # No pair is both linked and for people, and nobody looks at a pair of a linked record that a key left.
    assert both.review.join(both.links, on=ids, how="semi").is_empty()
    left_over = both.review.filter(pl.col("stage") == "matchkey")
    assert left_over.join(both.links, on="left_id", how="semi").is_empty()
    assert left_over.join(both.links, on="right_id", how="semi").is_empty()
    # The same model and pairs as without the keys.
    assert both.model.digest == alone.model.digest
    assert both.summary["links"] == both.links.height


def test_a_link_of_a_key_stands_against_the_model(few, both):
    """A key that the model would never follow: somebody else's birthday."""
    left, right = few
    key = Matchkey(
        "someone else",
        "",
        (BlockingRule(tuple((name, name) for name in ("date_of_birth.month", "date_of_birth.day", "sex"))),),
        Not(Measure(Op.DIFFERENCE, "date_of_birth.days", "date_of_birth.days", 3653)),
    )
    perverse = Matchkeys("perverse", "1", (key,))
    matched = match_keys(left, right, perverse)
    forced = matched.pairs.filter(pl.col("outcome") == "LINKED").select("left_id", "right_id")
    assert forced.height > 5
    one = linker.link(left, right, keys=perverse, model=both.model)
    assert one.links.join(forced, on=["left_id", "right_id"], how="semi").height == forced.height
    assert one.links["left_id"].is_unique().all()
    assert one.links["right_id"].is_unique().all()
    # With many to one the right record stays open for others; the left one does not.
    many = linker.link(
        left, right, keys=perverse, model=both.model, cardinality=linker.Cardinality.MANY_TO_ONE
    )
    assert many.links["left_id"].is_unique().all()
    assert many.links["right_id"].is_duplicated().any()
    every = linker.link(
        left, right, keys=perverse, model=both.model, cardinality=linker.Cardinality.MANY_TO_MANY
    )
    assert every.links["left_id"].is_duplicated().any()


def test_a_model_may_read_composed_columns(few, both):
    model = both.model
    comparison = Comparison(
        "postcode less one",
        missing("postcode.short"),
        (
            Level("same", exact("postcode.short"), 0.9, 0.01),
            Level("other", None, 0.1, 0.99),
        ),
    )
    one = linker.link(*few, model=replace(model, comparisons=(*model.comparisons, comparison)))
    left_id, right_id, weight = one.links.select("left_id", "right_id", "match_weight").row(0)
    assert linker.explain(one.model, few[0], few[1], left_id, right_id).weight == weight


def test_reports_say_what_each_key_did(few, both, tmp_path):
    write_report(both, tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    assert "MK01" in page
    assert "Mean probability by the model" in page
    assert "postcode_2" in page
    alone = linker.link_by_keys(*few)
    write_report(alone, tmp_path / "alone.html")
    page = (tmp_path / "alone.html").read_text()
    assert "MK01" in page
    assert "Match weights" not in page
    assert (
        figures(alone)["summary"]["matchkeys"]
        == json.loads((tmp_path / "alone.json").read_text())["summary"]["matchkeys"]
    )


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def folder(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, records in zip(("left.csv", "right.csv"), few, strict=True):
        records.frame.with_columns(id=records.ids).write_csv(tmp_path / name)
    return tmp_path


def run(*args, code=0):
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


FILES = ("link", "left.csv", "right.csv", "--map", "date_of_birth=born", "--id", "id")


def test_the_command_links_by_keys_alone_and_before_the_model(few, both, folder):
    shown = run(*FILES, "--keys", "ons", "--keys-only", "--report", "report.html").stdout
    assert "Matchkeys ons, version 1" in shown
    assert "Left out for want of columns" in shown
    assert "Threshold" not in shown
    expected = linker.link_by_keys(*few)
    found = pl.read_csv("links.csv", infer_schema=False)
    ids = ["left_id", "right_id", "rule"]
    assert found.select(ids).rows() == expected.links.select(ids).rows()
    assert pl.read_csv("links.review.csv").height == expected.review.height
    assert "Matchkeys" in Path("report.html").read_text()
    document = json.loads(run(*FILES, "--keys", "ons", "--json").stdout)
    assert document["links"] == both.links.height
    assert document["summary"]["matchkeys"]["keys"][0]["key"] == "MK01"


def test_a_set_can_be_written_changed_and_used(few, folder):
    assert "for people to decide" in run("matchkeys", "--out", "own.json").stdout
    assert Matchkeys.load("own.json") == ONS
    data = json.loads(Path("own.json").read_text())
    data |= {"name": "own", "keys": data["keys"][:3]}
    Path("changed.json").write_text(json.dumps(data))
    document = json.loads(run(*FILES, "--keys", "changed.json", "--keys-only", "--json").stdout)
    assert document["summary"]["matchkeys"]["name"] == "own"
    assert [one["key"] for one in document["summary"]["matchkeys"]["keys"]] == ["MK01", "MK02", "MK03"]
    assert "model" not in document
    run("matchkeys", "changed.json", "--out", "changed.json", code=1)  # an input is not written over


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keys-only",), "needs --keys"),
        (("--keys", "ons", "--keys-only", "--threshold", "3"), "without a model"),
        (("--keys", "ons", "--keys-only", "--many-to-one"), "one to one"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder, options, words):
    assert words in " ".join(run(*FILES, *options, code=2).output.replace("│", " ").split())
    assert not Path("links.csv").exists()


def test_unreadable_keys_are_refused_before_anything_is_read(folder):
    assert "cannot be read" in run(*FILES, "--keys", "nothing.json", code=1).stderr
