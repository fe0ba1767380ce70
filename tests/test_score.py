"""Levels and weights against a scorer in plain Python, and at the edges by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.conditions import All, Any, Not, Op, exact, missing
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.encode import encode
from linker.model import BlockingRule, Comparison, Level, Model, TermFrequencies
from linker.predict import probability, score_rows
from linker.program import compile_tests, compile_weights, shifts
from tests import pair_oracle as oracle


def levels_of(model, pattern):
    return [
        int(pattern >> shift) & ((1 << one.bits) - 1)
        for one, shift in zip(model.comparisons, shifts(model.comparisons), strict=True)
    ]


def scored(model, codes, left, right):
    tests, weights = compile_tests(model.comparisons, codes), compile_weights(model, codes)
    return score_rows(codes, np.array(left, np.int64), np.array(right, np.int64), tests, weights)


@settings(max_examples=100)
@given(oracle.models(), oracle.crowds(), oracle.crowds())
def test_every_pair_has_the_level_and_weight_of_a_plain_scorer(model, left, right):
    pairs = oracle.all_pairs(left, right)
    weights, patterns = scored(model, oracle.encoded(model, left, right), *zip(*pairs, strict=True))
    for (i, j), weight, pattern in zip(pairs, weights, patterns, strict=True):
        expected = [oracle.reached(one, left[i], right[j]) for one in model.comparisons]
        assert levels_of(model, pattern) == expected
        assert weight == pytest.approx(oracle.weight(model, left[i], right[j]), abs=1e-9)


@settings(max_examples=30)
@given(oracle.models(), oracle.crowds())
def test_a_pass_over_candidates_weighs_as_single_pairs_do(model, people):
    found = oracle.scan(model, people)
    codes = oracle.encoded(model, people)
    weights, patterns = scored(model, codes, found.left, found.right)
    assert np.array_equal(found.weight, weights)
    assert np.array_equal(found.pattern, patterns)


@settings(max_examples=30)
@given(oracle.models(), oracle.crowds(), oracle.crowds())
def test_a_cut_keeps_what_reaches_it_and_nothing_else(model, left, right):
    everything = oracle.scan(model, left, right)
    cut = float(np.median(everything.weight)) if len(everything.weight) else 0.0
    check_cut(model, left, right, everything, cut)


@settings(max_examples=100)
@given(oracle.models(), oracle.crowds(), oracle.crowds(), st.data())
def test_a_cut_is_exact_where_weights_are_infinite_or_adjusted_beyond_measure(model, left, right, data):
    def extreme(level):
        m = data.draw(st.sampled_from([0.0, level.m, 1.0]))
        return replace(level, m=m, tf_weight=data.draw(st.sampled_from([1000.0, 1.0, -1000.0])))

    comparisons = [replace(one, levels=tuple(map(extreme, one.levels))) for one in model.comparisons]
    model = replace(model, comparisons=tuple(comparisons))
    everything = oracle.scan(model, left, right)
    weights = [weight for weight in everything.weight.tolist() if weight > -math.inf]
    for cut in (data.draw(st.sampled_from([0.0, *weights])), -1e12):
        check_cut(model, left, right, everything, cut)


def check_cut(model, left, right, everything, cut):
    kept = oracle.scan(model, left, right, cut)
    reach = everything.weight >= cut
    assert kept.compared == everything.compared
    for name in ("left", "right", "weight", "pattern", "rule"):
        assert np.array_equal(getattr(kept, name), getattr(everything, name)[reach])


def one_level(condition, **more):
    levels = (Level("yes", condition, 0.5, 0.125, **more), Level("no", None, 0.5, 0.875))
    return Comparison("it", missing("a"), levels)


def holds(condition, left, right):
    """Whether the kernel finds that a condition holds for two records, given as columns."""
    never = Measure(Op.COMMON, "x", "x", 99)
    levels = (Level("yes", condition, 0.9, 0.1), Level("no", None, 0.1, 0.9))
    model = Model((Comparison("it", never, levels),), (), 0.5)
    codes = encode(pl.DataFrame(left), pl.DataFrame(right), model)
    return levels_of(model, scored(model, codes, [0], [0])[1][0]) == [1]


@pytest.mark.parametrize(
    ("op", "left", "right", "limit"),
    [
        (Op.JARO_WINKLER, "MARTHA", "MARHTA", 0.9611111111111111),
        (Op.JARO_WINKLER, "DIXON", "DICKSONX", 0.8133333333333332),
        (Op.JARO, "MARTHA", "MARHTA", 0.9444444444444445),
        (Op.STANDARDISED_LEVENSHTEIN, "ABCDE", "ABCXY", 0.6),
        (Op.STANDARDISED_LEVENSHTEIN, "ABCDEFGHIJ", "ABCDEFGXYZ", 0.7),
        (Op.DIFFERENCE, 2.0, 4.5, 2.5),
        (Op.RELATIVE_DIFFERENCE, 95.0, 100.0, 0.05),
        (Op.RELATIVE_DIFFERENCE, -19.0, -20.0, 0.05),
        (Op.JACCARD, ["P", "Q", "R"], ["P", "Q", "R", "S", "T"], 0.6),
        (Op.JACCARD, [str(n) for n in range(11)], [str(n) for n in range(20)], 0.55),
    ],
)
def test_a_limit_that_is_just_reached_is_reached(op, left, right, limit):
    columns = [{"x": [left]}, {"x": [right]}]
    assert holds(Measure(op, "x", "x", limit), *columns)
    beyond = limit - 1e-9 if op in (Op.DIFFERENCE, Op.RELATIVE_DIFFERENCE) else limit + 1e-9
    assert not holds(Measure(op, "x", "x", beyond), *columns)


def test_edit_distances_count_what_their_names_say():
    assert holds(Measure(Op.DAMERAU, "x", "x", 1), {"x": ["ANNE"]}, {"x": ["NANE"]})
    assert not holds(Measure(Op.LEVENSHTEIN, "x", "x", 1), {"x": ["ANNE"]}, {"x": ["NANE"]})
    # Optimal string alignment edits no part twice: 3, where the unrestricted distance is 2.
    assert not holds(Measure(Op.DAMERAU, "x", "x", 2), {"x": ["CA"]}, {"x": ["ABC"]})


def test_dates_within_days_by_their_day_numbers():
    days = {"x": pl.Series([10_000], dtype=pl.Int32)}, {"x": pl.Series([10_030], dtype=pl.Int32)}
    assert holds(Measure(Op.DIFFERENCE, "x", "x", 30), *days)
    assert not holds(Measure(Op.DIFFERENCE, "x", "x", 29), *days)


def test_a_missing_value_makes_every_test_false_but_missing():
    blank, known = {"x": pl.Series([None], dtype=pl.String)}, {"x": ["A"]}
    for op in Op:
        if op is not Op.MISSING:
            assert not holds(Measure(op, "x", "x", 1.0), blank, known)
            assert not holds(Measure(op, "x", "x", 1.0), blank, blank)
            assert holds(Not(Measure(op, "x", "x", 1.0)), known, blank)
    assert holds(Measure(Op.MISSING, "x", "x"), blank, known)
    assert holds(Measure(Op.MISSING, "x", "x"), known, blank)
    assert not holds(Measure(Op.MISSING, "x", "x"), known, known)


def test_a_missing_field_weighs_nothing():
    model = Model((one_level(exact("a")),), (), 0.25)
    codes = encode(pl.DataFrame({"a": ["X", None]}), pl.DataFrame({"a": ["X", "Y"]}), model)
    weights, _ = scored(model, codes, [0, 0, 1], [0, 1, 0])
    prior = math.log2(0.25 / 0.75)
    assert weights.tolist() == pytest.approx([prior + 2.0, prior + math.log2(0.5 / 0.875), prior], abs=1e-12)


def test_a_rare_value_gains_and_a_common_one_loses_and_the_commoner_counts():
    level = one_level(Measure(Op.LEVENSHTEIN, "a", "a", 9), tf="a", tf_weight=0.5)
    table = {"a": TermFrequencies({"SMITH": 0.5, "JONES": 0.25}, 1 / 1024)}
    model = Model((level,), (), 0.5, table)
    codes = encode(
        pl.DataFrame({"a": ["SMITH", "QUILL", "QUILL"]}),
        pl.DataFrame({"a": ["SMITH", "QUILL", "JONES"]}),
        model,
    )
    weights, _ = scored(model, codes, [0, 1, 2], [0, 1, 2])
    base = math.log2(0.125)
    assert weights.tolist() == pytest.approx(
        [2 + 0.5 * (base + 1), 2 + 0.5 * (base + 10), 2 + 0.5 * (base + 2)]
    )


def test_as_many_comparisons_as_fit_one_pattern_keep_their_levels_apart():
    # 21 comparisons of up to 7 levels: 63 bits, all of them used.
    conditions = [exact("a"), *(Measure(Op.LEVENSHTEIN, "a", "a", k) for k in range(1, 6))]
    levels = tuple(Level(str(k), condition, 0.1, 0.1) for k, condition in enumerate([*conditions, None]))
    model = Model(tuple(Comparison(f"c{k}", missing("a"), levels) for k in range(21)), (), 0.5)
    codes = encode(pl.DataFrame({"a": ["AAAAAAAA"]}), pl.DataFrame({"a": ["AAAABBBB", "CCCCCCCC"]}), model)
    _, patterns = scored(model, codes, [0, 0], [0, 1])
    assert levels_of(model, patterns[0]) == [5] * 21
    assert levels_of(model, patterns[1]) == [7] * 21


def test_all_of_nothing_is_never_built_from_words_and_nested_joins_short_cut():
    deep = Any((All((exact("a"), Not(exact("b")))), All((Not(exact("a")), exact("b")))))
    model = Model(
        (
            Comparison(
                "xor", missing("a", "b"), (Level("one", deep, 0.5, 0.1), Level("else", None, 0.5, 0.9))
            ),
        ),
        (BlockingRule((("c", "c"),)),),
        0.5,
    )
    left = pl.DataFrame({"a": ["1"], "b": ["1"], "c": ["1"]})
    right = pl.DataFrame({"a": ["1", "1", "2", "2"], "b": ["1", "2", "1", "2"], "c": ["1"] * 4})
    _, patterns = scored(model, encode(left, right, model), [0] * 4, range(4))
    assert [levels_of(model, pattern) for pattern in patterns] == [[2], [1], [1], [2]]


def test_probability_of_any_weight():
    weights = np.array([-math.inf, -5000.0, -1.0, 0.0, 1.0, 5000.0, math.inf])
    assert probability(weights).tolist() == pytest.approx([0.0, 0.0, 1 / 3, 0.5, 2 / 3, 1.0, 1.0])


def test_a_least_frequency_can_raise_a_gain_that_is_taken_away():
    same = Level("same", exact("a"), 0.5, 0.125, tf="a", tf_weight=-1.0, tf_minimum=0.9)
    comparisons = (
        Comparison("a", missing("a"), (same, Level("other", None, 0.5, 0.875))),
        Comparison(
            "b", missing("b"), (Level("same", exact("b"), 0.5, 0.0001), Level("other", None, 0.5, 0.9999))
        ),
    )
    rules = (BlockingRule((("a", "a"),)),)
    model = Model(comparisons, rules, 0.5, {"a": TermFrequencies({}, 1 / 1024)})
    blank = dict.fromkeys(oracle.SCHEMA)
    people = [blank | {"a": "X", "b": "Y"}], [blank | {"a": "X", "b": "Z"}]
    (weight,) = oracle.scan(model, *people).weight
    for cut in (weight, weight - 0.5, weight - 2.0):
        assert oracle.scan(model, *people, cut).weight.tolist() == [weight]
    assert not len(oracle.scan(model, *people, weight + 0.001).weight)


def test_a_level_that_kin_never_reach_counts_as_no_kin():
    people = [dict.fromkeys(oracle.SCHEMA) | {"a": "X"}]
    rules = (BlockingRule((("a", "a"),)),)

    def weight(kin):
        levels = (Level("same", exact("a"), 0.5, 0.125, kin=kin), Level("other", None, 0.5, 0.875, kin=1.0))
        model = Model((Comparison("a", missing("a"), levels, shared=True),), rules, 0.5, kin=0.3)
        return oracle.scan(model, people, people).weight

    assert weight(0.0) == pytest.approx(weight(1e-12), abs=1e-6)
