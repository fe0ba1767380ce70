"""The certificate of blocking: never too low, and as low as can be where looking at every pair tells."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linker
from linker.blocking_certificate import certificate
from linker.blocking_facts import observe
from linker.conditions import All, Any, Not, Op, exact, missing
from linker.conditions import Test as OneTest  # pytest would collect them by their own names
from linker.conditions import test as measure
from linker.derive import standard_columns
from linker.encode import encode
from linker.errors import ModelError
from linker.model import BlockingRule, Comparison, Level, Model, TermFrequencies
from linker.predict import score_rows
from linker.program import compile_tests, compile_weights
from tests import pair_oracle as oracle
from tests.made_up_people import register, retyped


def certify(model, left, right=None, threshold=None, **options):
    """The certificate of a model over frames of standard columns."""
    facts = observe(model, encode(left, right, model), left, right)
    return certificate(model, facts, threshold, **options)


def heaviest(model, left, right=None):
    """The largest weight of a pair that no rule holds, by looking at every pair."""
    others = left if right is None else right
    return max(
        (
            oracle.weight(model, left[i], others[j])
            for i, j in oracle.all_pairs(left, right)
            if oracle.producer(model.rules, left[i], others[j]) is None
        ),
        default=-math.inf,
    )


@settings(max_examples=150)
@given(oracle.models(), oracle.crowds(most=8), st.none() | oracle.crowds(most=8))
def test_no_pair_that_the_rules_miss_weighs_more_than_the_bound(model, left, right):
    frames = oracle.frame(left), None if right is None else oracle.frame(right)
    assert certify(model, *frames).bound >= heaviest(model, left, right) - 1e-6


# --- parts of a field ------------------------------------------------------------------------------

_PARTS = [("x", "x"), ("x.part", "x.part"), ("x.part", "x"), ("y", "y")]
_tests = st.one_of(
    st.builds(lambda pair: OneTest(Op.EXACT, *pair), st.sampled_from(_PARTS)),
    st.builds(lambda pair: OneTest(Op.MISSING, *pair), st.sampled_from(_PARTS)),
    st.builds(
        lambda pair, most: OneTest(Op.LEVENSHTEIN, pair[0], pair[1], most),
        st.sampled_from(_PARTS),
        st.sampled_from([1.0, 2.0]),
    ),
)
_conditions = st.recursive(
    _tests,
    lambda part: (
        st.lists(part, min_size=1, max_size=3)
        .map(tuple)
        .flatmap(lambda x: st.sampled_from([All(x), Any(x), Not(x[0])]))
    ),
    max_leaves=4,
)
_shares = st.floats(0.001, 1.0)


@st.composite
def _comparison(draw, tests, name="one"):
    levels = [
        Level(f"level {k}", draw(tests), draw(_shares), draw(_shares)) for k in range(draw(st.integers(0, 3)))
    ]
    return Comparison(name, draw(tests), (*levels, Level("else", None, draw(_shares), draw(_shares))))


@st.composite
def _part_models(draw):
    rules = st.lists(
        st.lists(st.sampled_from(_PARTS), min_size=1, max_size=2, unique=True).map(tuple), max_size=3
    )
    many = range(draw(st.integers(1, 3)))
    return Model(
        tuple(draw(_comparison(_conditions, f"comparison {k}")) for k in many),
        tuple(BlockingRule(columns) for columns in draw(rules)),
        draw(st.floats(0.001, 0.999)),
    )


@st.composite
def _part_crowds(draw):
    """People whose `x.part` is mostly, and sometimes always, the first sign of `x`."""
    faulty = draw(st.booleans())
    people = draw(
        st.lists(
            st.tuples(
                st.none() | st.sampled_from(["AA", "AB", "B"]),
                st.none() | st.sampled_from("AB"),
                st.booleans(),
            ),
            min_size=1,
            max_size=8,
        )
    )
    return [{"x": x, "x.part": y if odd and faulty else x and x[0], "y": y} for x, y, odd in people]


_PART_SCHEMA = dict.fromkeys(("x", "x.part", "y"), pl.String)


@settings(max_examples=150)
@given(_part_models(), _part_crowds(), st.none() | _part_crowds())
def test_what_follows_from_parts_is_used_only_where_the_records_bear_it_out(model, left, right):
    frames = pl.DataFrame(left, _PART_SCHEMA), None if right is None else pl.DataFrame(right, _PART_SCHEMA)
    assert certify(model, *frames).bound >= heaviest(model, left, right) - 1e-6


def test_parts_that_follow_lower_the_bound():
    names = ["AA", "AB", "BA"]
    model = Model(
        (
            Comparison(
                "x", missing("x"), (Level("same", exact("x"), 0.9, 0.1), Level("else", None, 0.1, 0.9))
            ),
            Comparison(
                "y", missing("y"), (Level("same", exact("y"), 0.8, 0.1), Level("else", None, 0.2, 0.9))
            ),
        ),
        (BlockingRule((("x.part", "x.part"),)),),
        0.5,
    )
    frame = pl.DataFrame({"x": names, "x.part": [name[0] for name in names], "y": ["1", "1", "2"]})
    other = math.log2(0.1 / 0.9) + math.log2(0.8 / 0.1)
    assert certify(model, frame, frame.clone()).bound == pytest.approx(other)
    # With one record whose part is another's, equal names no longer imply equal parts.
    faulty = pl.concat([frame, pl.DataFrame({"x": ["AA"], "x.part": ["C"], "y": ["2"]})])
    both = math.log2(0.9 / 0.1) + math.log2(0.8 / 0.1)
    assert certify(model, frame, faulty).bound == pytest.approx(both)


# --- exact where there is every pair -----------------------------------------------------------------

_COLUMNS = ("x", "y", "z")
EVERYBODY = [
    dict(zip(_COLUMNS, values, strict=True)) for values in itertools.product(["1", "2", None], repeat=3)
]
_plain_tests = st.one_of(st.sampled_from(_COLUMNS).map(exact), st.sampled_from(_COLUMNS).map(missing))
_plain_conditions = st.recursive(
    _plain_tests,
    lambda part: (
        st.lists(part, min_size=1, max_size=3)
        .map(tuple)
        .flatmap(lambda x: st.sampled_from([All(x), Any(x), Not(x[0])]))
    ),
    max_leaves=5,
)


@st.composite
def _plain_models(draw):
    pairs = st.sampled_from(_COLUMNS).map(lambda name: (name, name))
    rules = st.lists(st.lists(pairs, min_size=1, max_size=2, unique=True).map(tuple), max_size=4)
    many = range(draw(st.integers(1, 3)))
    return Model(
        tuple(draw(_comparison(_plain_conditions, f"comparison {k}")) for k in many),
        tuple(BlockingRule(columns) for columns in draw(rules)),
        0.5,
    )


@settings(max_examples=100)
@given(_plain_models())
def test_the_bound_is_reached_where_every_pair_there_can_be_is_there(model):
    frame = pl.DataFrame(EVERYBODY, dict.fromkeys(_COLUMNS, pl.String))
    found = certify(model, frame, frame.clone())
    assert found.exact
    assert found.bound == pytest.approx(heaviest(model, EVERYBODY, EVERYBODY))


@settings(max_examples=50)
@given(_plain_models(), st.integers(0, 6))
def test_a_search_cut_short_is_never_too_low(model, nodes):
    frame = pl.DataFrame(EVERYBODY, dict.fromkeys(_COLUMNS, pl.String))
    short, whole = certify(model, frame, frame.clone(), nodes=nodes), certify(model, frame, frame.clone())
    assert short.bound >= whole.bound - 1e-9
    assert short.bound == pytest.approx(whole.bound) or not short.exact


# --- the whole engine --------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [1, 4, 40])
def test_a_trained_model_weighs_no_missed_pair_of_made_up_people_above_the_bound(kept):
    people = register(240)
    trained = linker.train(people, retyped(people)).model
    model = Model(
        trained.comparisons, trained.rules[:kept], trained.prior, trained.frequencies, kin=trained.kin
    )
    left, right = (standard_columns(linker.arrive(side)) for side in (people, retyped(people)))
    encoded = encode(left, right, model)
    rows = np.divmod(np.arange(len(left) * len(right)), len(right))
    weights, _ = score_rows(
        encoded, *rows, compile_tests(model.comparisons, encoded), compile_weights(model, encoded)
    )
    missed = np.ones(len(weights), np.bool_)
    for rule in model.rules:
        pairs = [(left[one].gather(rows[0]), right[other].gather(rows[1])) for one, other in rule.columns]
        missed &= ~np.all([(one == other).fill_null(False).to_numpy() for one, other in pairs], axis=0)
    found = certificate(model, observe(model, encoded, left, right))
    assert missed.any()
    assert found.exact
    assert found.bound >= weights[missed].max() - 1e-6
    # What the witness adds up to is the bound, and no rule is left without a reason to fail.
    said = model.prior_weight + math.fsum(one.weight + one.gain for one in found.witness)
    assert said == pytest.approx(found.bound)
    assert not any(set(rule.columns) <= set(found.agreeing) for rule in model.rules)
    assert found.unequal
    assert not set(found.unequal) & set(found.agreeing)


# --- cases by hand -----------------------------------------------------------------------------------

LEVELS = (Level("same", exact("x"), 0.8, 0.1), Level("else", None, 0.2, 0.9))
ONE = Comparison("x", missing("x"), LEVELS)
TWO = Comparison("y", missing("y"), (Level("same", exact("y"), 0.6, 0.1), Level("else", None, 0.4, 0.9)))
BOTH_KNOWN = pl.DataFrame({"x": ["1", "2"], "y": ["1", "2"]})


def model_of(*rules, comparisons=(ONE, TWO), **options):
    return Model(
        comparisons,
        tuple(BlockingRule(tuple((name, name) for name in rule)) for rule in rules),
        0.5,
        **options,
    )


def test_without_a_rule_everything_can_be_lost():
    found = certify(model_of(), BOTH_KNOWN, BOTH_KNOWN.clone(), threshold=0.0)
    assert found.bound == pytest.approx(math.log2(0.8 / 0.1) + math.log2(0.6 / 0.1))
    assert found.lossless is False
    assert found.unequal == ()


def test_the_cheaper_disagreement_is_taken_and_named():
    found = certify(model_of("xy"), BOTH_KNOWN, BOTH_KNOWN.clone(), threshold=3.0)
    assert found.bound == pytest.approx(math.log2(0.8 / 0.1) + math.log2(0.4 / 0.9))
    assert found.unequal == (("y", "y"),)
    assert found.agreeing == (("x", "x"),)
    assert [(one.comparison, one.level) for one in found.witness] == [("x", "same"), ("y", "else")]
    assert found.lossless is True
    assert certify(model_of("xy"), BOTH_KNOWN, BOTH_KNOWN.clone()).lossless is None


def test_a_missing_value_costs_nothing_and_counts_only_where_there_is_one():
    gap = pl.DataFrame({"x": ["1", None], "y": ["1", "2"]})
    assert certify(model_of("x", "y"), BOTH_KNOWN, gap).bound == pytest.approx(math.log2(0.4 / 0.9))
    none_missing = math.log2(0.2 / 0.9) + math.log2(0.4 / 0.9)
    assert certify(model_of("x", "y"), BOTH_KNOWN, BOTH_KNOWN.clone()).bound == pytest.approx(none_missing)


@pytest.mark.parametrize("right", [None, pl.DataFrame({"x": ["1"] * 3, "y": ["1", "2", "3"]})])
def test_a_rule_on_what_all_records_share_loses_nothing(right):
    alike = pl.DataFrame({"x": ["1"] * 3, "y": ["1", "2", "3"]})
    found = certify(model_of("x"), alike, right, threshold=-50.0)
    assert found.bound == -math.inf
    assert found.lossless is True
    assert found.as_dict()["bound"] is None


def test_values_that_never_meet_cannot_agree():
    other = pl.DataFrame({"x": ["8", "9"], "y": ["1", "2"]})
    assert certify(model_of(), BOTH_KNOWN, other).bound == pytest.approx(
        math.log2(0.2 / 0.9) + math.log2(0.6 / 0.1)
    )


def test_the_rarest_value_that_two_records_hold_counts():
    tf = Comparison("x", missing("x"), (Level("same", exact("x"), 0.8, 0.1, "x", 0.5), LEVELS[1]))
    table = {"x": TermFrequencies({"common": 0.5, "rarer": 0.25}, 0.01)}
    model = model_of(comparisons=(tf,), frequencies=table)
    left = pl.DataFrame({"x": ["common", "rarer", "unlisted"]})
    right = pl.DataFrame({"x": ["common", "rarer"]})
    agreed = math.log2(0.8 / 0.1)
    assert certify(model, left, right).bound == pytest.approx(agreed + 0.5 * math.log2(0.1 / 0.25))
    assert certify(model, left, left.clone()).bound == pytest.approx(agreed + 0.5 * math.log2(0.1 / 0.01))
    # Within one set two records must hold it.
    within = pl.DataFrame({"x": ["common", "common", "rarer", "rarer", "unlisted"]})
    assert certify(model, within).bound == pytest.approx(agreed + 0.5 * math.log2(0.1 / 0.25))


@pytest.mark.parametrize(
    ("right", "rarest"),
    [
        (["common", "rarer"], 0.25),  # the commoner of two values counts, and the right has none so rare
        (["common", None], 0.01),  # where the right is missing, the left counts alone
        ([None, None], 0.01),
    ],
)
def test_unequal_values_count_by_the_commoner(right, rarest):
    """A level that asks for nothing of the column that adjusts it."""
    y = Level("same", exact("y"), 0.8, 0.1, "x")
    model = model_of(
        comparisons=(Comparison("y", missing("y"), (y, LEVELS[1])),),
        frequencies={"x": TermFrequencies({"common": 0.5, "rarer": 0.25}, 0.01)},
    )
    left = pl.DataFrame({"x": ["common", "rarer", "unlisted"], "y": ["1", "2", "3"]})
    other = pl.DataFrame({"x": pl.Series(right, dtype=pl.String), "y": ["1", "2"]})
    assert certify(model, left, other).bound == pytest.approx(math.log2(0.8 / 0.1) + math.log2(0.1 / rarest))


def test_of_rules_that_say_the_same_one_still_counts():
    frame = BOTH_KNOWN.with_columns(pl.col("x").alias("x.joined"))
    expected = certify(model_of("x"), frame, frame.clone())
    for rules in (["x"], ["x.joined"]), (["x.joined"], ["x"]), (["x", "y"], ["x.joined"]):
        found = certify(model_of(*rules), frame, frame.clone())
        assert found.bound == pytest.approx(expected.bound)
        assert found.unequal


def test_comparisons_of_the_same_columns_do_not_contradict_one_another():
    """One level needs the columns equal, the other unequal: only one of them can be had."""
    apart = Comparison(
        "not x", missing("x"), (Level("apart", Not(exact("x")), 0.9, 0.1), Level("else", None, 0.1, 0.9))
    )
    found = certify(model_of(comparisons=(ONE, apart)), BOTH_KNOWN, BOTH_KNOWN.clone())
    together = math.log2(0.8 / 0.1) + math.log2(0.1 / 0.9)
    other = math.log2(0.2 / 0.9) + math.log2(0.9 / 0.1)
    assert found.bound == pytest.approx(max(together, other))


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (measure(Op.JARO_WINKLER, "x", 0.95), measure(Op.JARO_WINKLER, "x", 0.8)),
        (measure(Op.DAMERAU, "x", 1), measure(Op.DAMERAU, "x", 2)),
        (exact("x"), measure(Op.LEVENSHTEIN, "x", 0)),
    ],
)
def test_what_is_near_is_near_by_any_wider_limit(narrow, wide):
    frame = pl.DataFrame({"x": ["ANNA", "ANNE"]})

    def best(condition):
        levels = (Level("the one", condition, 0.9, 0.1), Level("else", None, 0.1, 0.9))
        model = model_of(comparisons=(Comparison("x", missing("x"), levels),))
        return certify(model, frame, frame.clone()).witness[0].level

    assert best(All((narrow, Not(wide)))) == "else"
    assert best(All((wide, Not(narrow)))) == "the one"


def test_models_that_cannot_score_are_refused():
    untrained = Comparison("x", missing("x"), (Level("same", exact("x"), 0.9), Level("else", None, 0.1, 0.9)))
    boundless = Comparison(
        "x", missing("x"), (Level("same", exact("x"), 0.9, 0.0), Level("else", None, 0.1, 1.0))
    )
    no_table = Comparison("x", missing("x"), (Level("same", exact("x"), 0.9, 0.1, "x"), LEVELS[1]))
    for comparison in (untrained, boundless, no_table):
        with pytest.raises(ModelError):
            certify(model_of(comparisons=(comparison,)), BOTH_KNOWN, BOTH_KNOWN.clone())
