"""Pairs counted before a run, against looking at every pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker import blocking_counts
from linker.blocking_counts import Blocks, count_pairs, parse_rule
from linker.conditions import exact, missing
from linker.errors import ModelError
from linker.model import BlockingRule, Comparison, Level, Model
from tests import pair_oracle as oracle

LEVELS = (Level("same", exact("a"), 0.9, 0.1), Level("else", None, 0.1, 0.9))


def model_of(rules):
    return Model((Comparison("a", missing("a"), LEVELS),), rules, 0.5)


def held(rule, left, right):
    """Pairs of rows that a rule alone holds."""
    others = left if right is None else right
    pairs = oracle.all_pairs(left, right)
    return {(i, j) for i, j in pairs if oracle.producer([rule], left[i], others[j]) is not None}


@settings(max_examples=100)
@given(oracle.rules, oracle.crowds(most=14), st.none() | oracle.crowds(most=14))
def test_pairs_new_pairs_and_largest_blocks_are_those_of_all_pairs(rules, left, right):
    counts = count_pairs(rules, oracle.encoded(model_of(rules), left, right))
    before: set[tuple[int, int]] = set()
    for rule, found in zip(rules, counts, strict=True):
        pairs = held(rule, left, right)
        assert found.rule == rule
        assert found.pairs == len(pairs)
        assert found.new == len(pairs - before)
        assert not found.estimated
        before |= pairs
        sizes: dict[tuple[object, ...], int] = {}
        for i, _ in pairs:
            key = tuple(
                repr(sorted(set(x)) if isinstance(x := left[i][name], list) else x)
                for name, _ in rule.columns
            )
            sizes[key] = sizes.get(key, 0) + 1
        assert [one.pairs for one in found.largest] == sorted(sizes.values(), reverse=True)[:3]


def test_a_sample_says_about_how_many_pairs_are_new(monkeypatch):
    rng = np.random.default_rng(5)
    letters = "ABCDEFGH"
    people = [
        dict.fromkeys(oracle.SCHEMA)
        | {"a": letters[rng.integers(4)], "b": letters[rng.integers(3)], "c": letters[rng.integers(5)]}
        for _ in range(300)
    ]
    rules = tuple(BlockingRule(((name, name),)) for name in "abc")
    encoded = oracle.encoded(model_of(rules), people)
    exactly = count_pairs(rules, encoded)
    monkeypatch.setattr(blocking_counts, "LOOKED_AT", 5_000)
    about = count_pairs(rules, encoded)
    assert [one.pairs for one in about] == [one.pairs for one in exactly]
    assert all(one.estimated for one in about)
    assert about[0].new == exactly[0].new == exactly[0].pairs
    for one, other in zip(about[1:], exactly[1:], strict=True):
        assert one.new == pytest.approx(other.new, rel=0.06)
        assert one.new != other.pairs
    assert about == count_pairs(rules, encoded)  # seeded


def test_a_draw_takes_no_pair_twice_where_it_takes_all():
    people = [dict.fromkeys(oracle.SCHEMA) | {"a": "ANNA", "b": "B" * (i % 3)} for i in range(9)]
    rule = BlockingRule((("a", "a"), ("b", "b")))
    blocks = Blocks.of(rule, oracle.encoded(model_of((rule,)), people))
    left, right = blocks.draw(100, np.random.default_rng(0))
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == sorted(held(rule, people, None))


def test_every_column_of_a_long_rule_counts():
    rule = BlockingRule((("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")))
    same = dict.fromkeys(oracle.SCHEMA) | {"a": "A", "b": "B", "c": "C", "d": 3}
    others = [same | {name: other} for name, other in (("a", "X"), ("b", "X"), ("c", "X"), ("d", 4))]
    (found,) = count_pairs((rule,), oracle.encoded(model_of((rule,)), [same, *others], [same, same]))
    assert found.pairs == 2


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("surname", (("surname", "surname"),)),
        (
            " surname+date_of_birth.year ",
            (("surname", "surname"), ("date_of_birth.year", "date_of_birth.year")),
        ),
        ("forename=surname + postcode", (("forename", "surname"), ("postcode", "postcode"))),
    ],
)
def test_a_rule_is_read_from_its_name(text, columns):
    assert parse_rule(text).columns == columns
    assert parse_rule(parse_rule(text).name) == parse_rule(text)


@pytest.mark.parametrize("text", ["", " + surname", "surname +", "forename=", "=surname"])
def test_a_rule_without_a_column_is_refused(text):
    with pytest.raises(ModelError):
        parse_rule(text)
