"""Candidates against every pair there is: none missed, none twice, each by the first rule that holds it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from linker.block import block, block_index
from linker.conditions import exact, missing
from linker.encode import encode
from linker.errors import ModelError
from linker.model import BlockingRule, Comparison, Level, Model
from linker.predict import scan_candidates
from linker.program import blank_weights, compile_tests
from tests import pair_oracle as oracle

LEVELS = (Level("same", exact("a"), 0.9, 0.1), Level("else", None, 0.1, 0.9))


def model_of(*rules):
    return Model((Comparison("a", missing("a"), LEVELS),), tuple(map(BlockingRule, rules)), 0.5)


def produced(model, left, right=None):
    """(left row, right row): rule, of every candidate; a pair that comes twice fails."""
    found = oracle.scan(model, left, right)
    pairs = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert list(found.compared) == [int((found.rule == k).sum()) for k in range(len(model.rules))]
    return dict(zip(pairs, found.rule.tolist(), strict=True))


def brute_force(model, left, right=None):
    others = left if right is None else right
    held = {
        (i, j): oracle.producer(model.rules, left[i], others[j]) for i, j in oracle.all_pairs(left, right)
    }
    return {pair: rule for pair, rule in held.items() if rule is not None}


@settings(max_examples=50)
@given(oracle.rules, oracle.crowds(most=12), oracle.crowds(most=12))
def test_two_sets_give_every_pair_that_a_rule_holds_once_by_the_first(rules, left, right):
    model = model_of(*(rule.columns for rule in rules))
    assert produced(model, left, right) == brute_force(model, left, right)


@settings(max_examples=50)
@given(oracle.symmetric_rules, oracle.crowds(most=16))
def test_one_set_gives_every_pair_that_a_rule_holds_once_by_the_first(rules, people):
    model = model_of(*(rule.columns for rule in rules))
    assert produced(model, people) == brute_force(model, people)


@settings(max_examples=30)
@given(oracle.rules, oracle.crowds(most=12), oracle.crowds(most=12))
def test_an_index_counts_its_rule_alone_before_anything_is_compared(rules, left, right):
    model = model_of(*(rule.columns for rule in rules))
    for rule, index in zip(model.rules, block(model.rules, oracle.encoded(model, left, right)), strict=True):
        held = [oracle.producer([rule], one, other) for one in left for other in right]
        assert index.pairs == sum(k is not None for k in held)


@settings(max_examples=30)
@given(oracle.symmetric_rules, oracle.crowds(most=12))
def test_an_index_of_one_set_counts_pairs_not_orders(rules, people):
    model = model_of(*(rule.columns for rule in rules))
    for rule, index in zip(model.rules, block(model.rules, oracle.encoded(model, people)), strict=True):
        exactly = len(brute_force(model_of(rule.columns), people))
        assert index.pairs == exactly if all(a == b for a, b in rule.columns) else index.pairs >= exactly


def blank(**values):
    return dict.fromkeys(oracle.SCHEMA) | values


def test_a_missing_part_of_a_key_is_in_no_block():
    model = model_of((("a", "a"), ("b", "b")))
    assert produced(model, [blank(a="X"), blank(a="X", b="Y")], [blank(a="X"), blank(a="X", b="Y")]) == {
        (1, 1): 0
    }


def test_a_rule_across_columns_finds_names_that_changed_places():
    model = model_of((("a", "b"), ("b", "a")))
    assert produced(model, [blank(a="ANNE", b="HILL")], [blank(a="HILL", b="ANNE")]) == {(0, 0): 0}
    assert produced(model, [blank(a="ANNE", b="HILL"), blank(a="HILL", b="ANNE")]) == {(0, 1): 0}


def test_a_record_is_never_its_own_partner():
    assert produced(model_of((("a", "b"),)), [blank(a="SAME", b="SAME")]) == {}


def test_keys_that_collide_are_told_apart_by_their_codes(monkeypatch):
    model = model_of((("a", "a"),), (("c", "c"),))
    rng = np.random.default_rng(5)
    left, right = ([blank(a=f"V{k}", c=f"W{k % 3}") for k in rng.integers(0, 9, 25)] for _ in range(2))
    expected = brute_force(model, left, right)

    def one_key_for_all(codes, columns, keys):
        keys[:] = np.where((codes[:, columns] < 0).any(axis=1), 0, 7)

    monkeypatch.setattr("linker.block._keys", one_key_for_all)
    assert produced(model, left, right) == expected


def test_many_records_against_a_join():
    rng = np.random.default_rng(11)

    def side(n):
        values = {
            name: pl.Series(rng.integers(0, many, n).astype(str)).set(pl.Series(rng.random(n) < 0.1), None)
            for name, many in (("a", 90), ("b", 40), ("c", 25))
        }
        return pl.DataFrame(values)

    left, right = side(3000), side(2500)
    model = model_of((("a", "a"), ("b", "b")), (("b", "b"), ("c", "c")), (("a", "c"), ("b", "b")))
    codes = encode(left, right, model)
    tests = compile_tests(model.comparisons, codes)
    nothing = blank_weights(model.comparisons)
    found = scan_candidates(codes, block(model.rules, codes), tests, nothing, -np.inf)
    joined = [
        left.with_row_index("l").join(
            right.with_row_index("r"),
            left_on=[a for a, _ in rule.columns],
            right_on=[b for _, b in rule.columns],
        ).select("l", "r", k=k)
        for k, rule in enumerate(model.rules)
    ]  # fmt: skip
    expected = pl.concat(joined).unique(["l", "r"], keep="first", maintain_order=True).sort("l", "r")
    assert expected.height > 5000
    for name, values in (("l", found.left), ("r", found.right), ("k", found.rule)):
        assert np.array_equal(expected[name].to_numpy(), values)


def test_no_records_on_a_side_are_no_candidates():
    model = model_of((("a", "a"),))
    nobody = pl.DataFrame(schema={"a": pl.String})
    somebody = pl.DataFrame({"a": ["X"]})
    for left, right in ((nobody, somebody), (somebody, nobody), (nobody, nobody), (nobody, None)):
        index = block_index(model.rules[0], encode(left, right, model))
        assert index.pairs == 0


def test_a_rule_names_a_column_that_is_not_there():
    codes = encode(pl.DataFrame({"a": ["X"]}), None, model_of())
    with pytest.raises(ModelError, match="'zz'") as caught:
        block_index(BlockingRule((("zz", "zz"),)), codes)
    assert caught.value.help


def test_a_rule_is_called_by_its_columns():
    assert BlockingRule((("surname", "surname"), ("a", "b"))).name == "surname + a=b"
