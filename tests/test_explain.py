"""Explanations: they add up to the stored weight, and what is told to people holds nothing of theirs."""

from __future__ import annotations

import importlib
import json
import math
import re

import polars as pl
import pytest
from hypothesis import given, settings

import linker
from linker.conditions import exact, missing
from linker.model import BlockingRule, Comparison, Level, Model, TermFrequencies
from tests import pair_oracle as oracle
from tests.made_up_people import register, retyped


@pytest.fixture(scope="module")
def sides():
    people = register(150, seed=21)
    return linker.arrive(people), linker.arrive(retyped(people[30:], seed=22))


@pytest.fixture(scope="module")
def linked(sides):
    return linker.link(sides[0], sides[1], all_pairs=-1e6)


def sample(frame, many):
    return frame.sample(min(many, frame.height), seed=4).iter_rows(named=True)


def test_every_explanation_is_the_stored_weight_to_the_last_bit(linked, sides):
    for pair in [*sample(linked.links, 10), *sample(linked.pairs, 10)]:
        told = linker.explain(linked.model, sides[0], sides[1], pair["left_id"], pair["right_id"])
        assert told.weight == pair["match_weight"]
        assert told.probability == pair["match_probability"]
        assert told.rule == pair["rule"]
        total = told.prior
        assert total == linked.model.prior_weight
        for step in told.steps:
            total += step.weight + step.frequency
            assert step.total == total
        assert total == told.weight
        *compared, last = [step.comparison for step in told.steps]
        assert compared == [one.name for one in linked.model.comparisons]
        assert last == "relatives"


def test_each_step_is_a_level_of_the_model_with_its_figures(linked, sides):
    pair = linked.links.row(0, named=True)
    told = linker.explain(linked.model, sides[0], sides[1], pair["left_id"], pair["right_id"])
    for step, comparison in zip(told.steps[:-1], linked.model.comparisons, strict=True):
        if step.m is None:
            assert (step.u, step.weight, step.frequency) == (None, 0.0, 0.0)
            continue
        level = next(one for one in comparison.levels if one.label == step.level)
        assert (step.m, step.u) == (level.m, level.u)
        assert step.weight == math.log2(level.m / level.u)
    assert json.loads(json.dumps(told.as_dict()))["weight"] == told.weight


def test_sentences_hold_no_value_of_a_person(linked, sides):
    left, right = (
        {
            row[0]: row
            for row in side.frame.with_columns(side.ids).select("id", pl.all().exclude("id")).iter_rows()
        }
        for side in sides
    )
    for pair in [*sample(linked.links, 6), *sample(linked.pairs, 6)]:
        a, b = pair["left_id"], pair["right_id"]
        said = "\n".join(linker.explain(linked.model, sides[0], sides[1], a, b).sentences()).lower()
        words = set(re.findall(r"\w+", said))
        for value in [*left[a], *right[b]]:
            if value is None or value in ("M", "F"):
                continue
            assert value.lower() not in said
            assert not words & {part.lower() for part in re.split(r"\W", value) if len(part) > 2}


def test_a_pair_that_no_rule_holds_can_be_explained(linked, sides):
    held = set(linked.pairs.select("left_id", "right_id").iter_rows())
    a, b = next((a, b) for a in sides[0].ids for b in sides[1].ids if (a, b) not in held)
    told = linker.explain(linked.model, sides[0], sides[1], a, b)
    assert told.rule is None
    assert told.weight < linked.threshold
    assert told.sentences()[-1].endswith(f"probability {told.probability:.4f}.")


def test_a_pair_within_one_set(linked):
    people = pl.concat([register(60, seed=3), retyped(register(60, seed=3), seed=5)])
    found = linker.dedupe(people, all_pairs=-1e6)
    assert found.pairs is not None
    for pair in sample(found.pairs, 6):
        told = linker.explain(found.model, people, None, pair["left_id"], pair["right_id"])
        assert told.weight == pair["match_weight"]
        assert told.rule == pair["rule"]


def people_of(**columns):
    return pl.DataFrame({"id": [str(k) for k in range(len(next(iter(columns.values()))))]} | columns)


def test_words_for_rare_common_missing_and_neutral():
    def comparison(name, m, u, tf=None):
        levels = (Level("exact", exact(name), m, u, tf), Level("different", None, 1 - m, 1 - u))
        return Comparison(name, missing(name), levels)

    model = Model(
        (
            comparison("surname", 0.9, 0.01, "surname"),
            comparison("forename", 0.5, 0.5),
            comparison("town", 0.9, 0.1),
            comparison("sex", 0.99, 0.5),
        ),
        (BlockingRule((("sex", "sex"),)),),
        0.001,
        {"surname": TermFrequencies({"SMITH": 0.2}, 0.0001)},
    )
    rows = people_of(
        surname=["Smith", "Quill", "Smith"],
        forename=["Ann", "Ann", "Ann"],
        sex=["M", "M", "F"],
        town=["Leeds", None, "York"],
    )
    records = linker.arrive(
        rows, mapping={"surname": "surname", "town": "town", "forename": "forename", "sex": "sex"}
    )
    common = linker.explain(model, records, None, "0", "0").sentences()
    rare = linker.explain(model, records, None, "1", "1").sentences()
    other = linker.explain(model, records, None, "0", "2").sentences()
    assert "commoner than most" in common[1]
    assert "odds of one person 4.5 times higher" in common[1]  # one in five: 0.9 / 0.2
    assert "rarer than most" in rare[1]
    assert "times higher" in rare[1]
    assert common[2].endswith("this speaks neither way.")
    assert "not known on both sides" in rare[3]
    assert "odds of one person 9.0 times lower" in other[3]  # 0.1 / 0.9
    assert "50 times lower" in other[4]  # 0.01 / 0.5


@settings(max_examples=25)
@given(oracle.models(), oracle.people, oracle.people)
def test_any_model_adds_up(model, left, right):
    """The frames are handed past standardisation: any text is its own standard."""
    with pytest.MonkeyPatch.context() as patch:
        frames = iter([oracle.frame([left]), oracle.frame([right])])
        patch.setattr(
            importlib.import_module("linker.explain"), "standard_columns", lambda records: next(frames)
        )
        record = linker.arrive(people_of(surname=["Smith"], forename=["Ann"]))
        told = linker.explain(model, record, record, "0", "0")
    assert told.weight == pytest.approx(oracle.weight(model, left, right), abs=1e-9)
    producer = oracle.producer(model.rules, left, right)
    assert told.rule == (None if producer is None else model.rules[producer].name)
    assert told.steps[-1].total == told.weight
