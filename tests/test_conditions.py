"""Conditions as data and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker import conditions
from linker.conditions import All, Any, Not, Op, exact, from_data, missing, to_data
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.errors import ModelError
from tests import pair_oracle as oracle


@given(oracle.conditions)
def test_a_condition_comes_back_from_json(condition):
    assert from_data(json.loads(json.dumps(to_data(condition)))) == condition


@given(oracle.conditions, oracle.people, oracle.people)
def test_not_of_not_is_the_condition_and_joins_obey_de_morgan(condition, left, right):
    plain = oracle.holds(condition, left, right)
    assert oracle.holds(Not(Not(condition)), left, right) == plain
    assert oracle.holds(Not(Any((condition,))), left, right) == oracle.holds(
        All((Not(condition),)), left, right
    )


def test_every_test_of_a_condition_in_reading_order():
    one, two, three = exact("a"), Measure(Op.LEVENSHTEIN, "b", "c", 1), missing("d")
    assert list(conditions.tests_of(All((one, Not(Any((two, three))))))) == [one, two, three]
    assert list(conditions.tests_of(missing("a", "b"))) == [missing("a"), missing("b")]


def test_what_is_as_usual_is_left_out_of_the_data():
    assert to_data(exact("a")) == {"op": "exact", "left": "a"}
    assert to_data(Measure(Op.JARO, "a", "b", 0.5)) == {"op": "jaro", "left": "a", "right": "b", "value": 0.5}
    assert conditions.test(Op.COMMON, "t", 1) == Measure(Op.COMMON, "t", "t", 1)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        "exact",
        7,
        {"op": "exact"},
        {"op": "nearly", "left": "a"},
        {"op": ["exact"], "left": "a"},
        {"op": "exact", "left": 1},
        {"op": "exact", "left": "a", "right": None},
        {"op": "jaro", "left": "a", "value": "0.5"},
        {"op": "jaro", "left": "a", "value": True},
        {"all": []},
        {"any": []},
        {"all": {"op": "exact", "left": "a"}},
        {"all": [None]},
        {"not": None},
        {"not": []},
    ],
)
def test_what_is_no_condition_is_refused_with_the_vocabulary(data):
    with pytest.raises(ModelError) as caught:
        from_data(data)
    assert "jaro_winkler" in caught.value.help


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(list(Op)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["all", "any", "not", "op", "left", "right", "value"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_data_is_a_condition_or_a_model_error(data):
    try:
        condition = from_data(data)
    except ModelError:
        return
    again = to_data(condition)
    assert to_data(from_data(again)) == again or "nan" in str(again)
