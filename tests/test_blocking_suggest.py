"""What rules catch, estimated and measured, and which rules to add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import linker
from linker.blocking import examine
from linker.blocking_counts import parse_rule
from linker.blocking_facts import observe
from linker.blocking_matches import expected_matches, measured_matches
from linker.conditions import exact, missing
from linker.encode import encode
from linker.errors import ModelError, TruthError
from linker.model import BlockingRule, Comparison, Level, Model
from tests.made_up_people import register, retyped

NAMES = Comparison(
    "x",
    missing("x"),
    (Level("same", exact("x"), 0.6), Level("part", exact("x.part"), 0.3), Level("else", None, 0.1)),
)
OTHER = Comparison("y", missing("y"), (Level("same", exact("y"), 0.5), Level("else", None, 0.5)))
MODEL = Model((NAMES, OTHER), (BlockingRule((("x", "x"),)),), 0.5)
PAIRS = [("x", "x"), ("x.part", "x.part"), ("y", "y")]


def frame(missing_y=0):
    """400 people of 400 names, 20 first signs and 200 of something else."""
    number = np.arange(400)
    return pl.DataFrame(
        {
            "x": [f"{i % 20:02}{i}" for i in number],
            "x.part": [f"{i % 20:02}" for i in number],
            "y": [None if i < missing_y else str(i // 2) for i in number],
        }
    )


def imagined(left, right, model=MODEL, **options):
    wide = replace(model, rules=(*model.rules, *(BlockingRule((pair,)) for pair in PAIRS)))
    encoded = encode(left, right, wide)
    return expected_matches(PAIRS, wide, observe(wide, encoded, left, right), encoded, **options)


def share(matches, text):
    return float(matches.caught(parse_rule(text)).mean())


def test_a_model_imagines_matches_by_its_m_and_by_what_levels_imply():
    found = imagined(frame(), frame())
    assert share(found, "x") == pytest.approx(0.6, abs=0.01)
    assert share(found, "x.part") == pytest.approx(0.9, abs=0.01)
    assert share(found, "y") == pytest.approx(0.5, abs=0.012)
    assert share(found, "x + y") == pytest.approx(0.3, abs=0.012)
    assert share(found, "x + x.part") == share(found, "x")  # the whole implies the part
    any_of = found.caught_by_any([parse_rule("x"), parse_rule("y")]).mean()
    assert any_of == pytest.approx(1 - 0.4 * 0.5, abs=0.012)
    assert not found.measured
    assert (imagined(frame(), frame()).equal == found.equal).all()
    assert (imagined(frame(), frame(), seed=1).equal != found.equal).any()


def test_values_are_missing_as_often_as_in_the_records():
    found = imagined(frame(missing_y=100), frame(missing_y=200))
    assert share(found, "y") == pytest.approx(0.5 * 0.75 * 0.5, abs=0.01)


def test_a_column_that_the_last_level_leaves_open_agrees_by_chance():
    only = replace(
        MODEL, comparisons=(replace(NAMES, levels=(NAMES.levels[0], Level("else", None, 0.4))), OTHER)
    )
    found = imagined(frame(), frame(), only)
    assert share(found, "x.part") == pytest.approx(0.6 + 0.4 / 20, abs=0.012)


def test_a_model_without_m_imagines_nothing():
    unknown = replace(
        MODEL, comparisons=(replace(OTHER, levels=(Level("same", exact("y")), Level("else", None, 1.0))),)
    )
    with pytest.raises(ModelError):
        imagined(frame(), frame(), unknown)


def test_links_are_measured_as_they_are():
    left = pl.DataFrame({"x": ["a", "b", None], "x.part": ["p", "p", "q"], "y": ["1", "2", "3"]})
    right = pl.DataFrame({"x": ["a", "c", None], "x.part": ["p", "p", "q"], "y": ["1", "9", "3"]})
    rows = np.arange(3)
    encoded = encode(left, right, replace(MODEL, rules=tuple(BlockingRule((pair,)) for pair in PAIRS)))
    found = measured_matches(PAIRS, encoded, rows, rows)
    assert found.equal.tolist() == [[True, True, True], [False, True, False], [False, True, True]]
    assert found.measured
    with pytest.raises(TruthError):
        measured_matches(PAIRS, encoded, rows[:0], rows[:0])


# --- the whole examination, on made-up people ------------------------------------------------------

PEOPLE = register(900)
AGAIN = retyped(PEOPLE)
TRUTH = pl.DataFrame({"left": PEOPLE["id"], "right": AGAIN["id"]})


def certificate_of(found):
    """Of an examination or a suggestion with a trained model."""
    assert found.certificate is not None
    return found.certificate


@pytest.fixture(scope="module")
def sides():
    return linker.arrive(PEOPLE), linker.arrive(AGAIN)


@pytest.fixture(scope="module")
def model(sides):
    return linker.train(*sides).model


def test_the_estimate_of_what_is_missed_is_near_the_truth(sides, model):
    rules = [parse_rule("surname + date_of_birth.year"), parse_rule("forename.first + postcode")]
    estimate = examine(*sides, model=model, rules=rules)
    measured = examine(*sides, model=model, rules=rules, links=TRUTH)
    assert measured.measured
    assert not estimate.measured
    assert 0.02 < measured.missed < 0.3
    assert estimate.missed == pytest.approx(measured.missed, abs=0.04)


@pytest.mark.parametrize("links", [None, TRUTH])
def test_suggestions_add_up_and_keep_to_the_budget(sides, model, links, monkeypatch):
    monkeypatch.setattr("linker.blocking.SMALL", 0)
    rules = [parse_rule("surname + date_of_birth")]
    found = examine(*sides, model=model, rules=rules, links=links, suggest=True, budget=4)
    assert found.suggestions
    chosen = [one.rule for one in found.suggestions]
    assert sum(one.pairs for one in found.suggestions) <= 4 * 1800
    # The same rules by themselves cost and catch the same; what is imagined is drawn anew.
    again = examine(*sides, model=model, rules=[*rules, *chosen], links=links)
    assert [one.pairs for one in again.counts[1:]] == [one.pairs for one in found.suggestions]
    left_over = found.missed - sum(one.adds for one in found.suggestions)
    assert again.missed == pytest.approx(left_over, abs=1e-9 if again.measured else 0.003)
    assert again.missed < 0.25 * found.missed
    bounds = [certificate_of(one).bound for one in (found, *found.suggestions)]
    assert bounds == sorted(bounds, reverse=True)
    assert certificate_of(again).bound == pytest.approx(bounds[-1])


def test_rules_for_the_certificate_lower_it_to_the_threshold(sides, model):
    before = examine(*sides, model=model, rules=[parse_rule("surname")], threshold=12.0)
    found = examine(
        *sides, model=model, rules=[parse_rule("surname")], threshold=12.0, suggest=True, budget=500
    )
    assert certificate_of(before).lossless is False
    assert found.suggestions
    *others, last = map(certificate_of, found.suggestions)
    assert last.lossless is True
    assert not any(one.lossless for one in others)


def test_nothing_is_suggested_without_a_budget(sides, model, monkeypatch):
    monkeypatch.setattr("linker.blocking.SMALL", 0)
    found = examine(*sides, model=model, rules=[parse_rule("surname")], suggest=True, budget=0)
    assert found.suggestions == ()


def test_within_one_set_every_pair_counts_once(model):
    both = linker.arrive(pl.concat([PEOPLE, AGAIN]))
    found = examine(both, rules=[parse_rule("surname")], suggest=True)
    held = found.columns[0]["surname"].drop_nulls().value_counts()["count"]
    assert found.counts[0].pairs == int((held * (held - 1) // 2).sum())
    assert found.possible == 1800 * 1799 // 2
    assert found.certificate is None
    assert found.suggestions
    assert all(one.certificate is None for one in found.suggestions)


def test_without_a_model_the_default_rules_are_counted_and_those_that_cost_too_much_told(sides, monkeypatch):
    monkeypatch.setattr("linker.workup.SMALL", 0)
    monkeypatch.setattr("linker.workup.RULE_PAIRS_A_RECORD", 1)
    found = examine(*sides)
    assert found.left_out
    assert all(one.pairs > 1800 for one in found.left_out)
    assert all(one.pairs <= 1800 for one in found.counts)
    assert found.pairs == sum(one.new for one in found.counts)


def test_a_rule_on_a_column_that_is_not_there_is_refused(sides):
    with pytest.raises(ModelError, match="shoe_size"):
        examine(*sides, rules=[parse_rule("surname + shoe_size")])
