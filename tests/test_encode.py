"""Codes: equal exactly when the values are, and a table that holds what they stand for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from linker.conditions import Op, exact, missing
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.encode import Encoder, encode
from linker.errors import ModelError
from linker.model import BlockingRule, Comparison, Level, Model
from linker.predict import score_rows
from linker.program import blank_weights, compile_tests
from linker.spelling import LENGTH, LENGTH_BITS
from tests import pair_oracle as oracle


def model_of(*conditions, rules=()):
    made = tuple(
        Comparison(str(k), missing(one.left), (Level("yes", one), Level("no", None)))
        for k, one in enumerate(conditions)
    )
    return Model(made, tuple(map(BlockingRule, rules)), 0.5)


# Everything in the drawn records, a shared with b and t with s.
WHOLE = model_of(
    exact("a"),
    exact("c"),
    exact("n"),
    exact("d"),
    Measure(Op.LEVENSHTEIN, "a", "a", 1),
    Measure(Op.DIFFERENCE, "n", "n", 1),
    Measure(Op.DIFFERENCE, "d", "d", 1),
    Measure(Op.EXACT, "a", "b"),
    Measure(Op.COMMON, "t", "s", 1),
)


def text_of(codes, name, code):
    """The characters that the distances see."""
    place = int(codes.table.place[codes.offsets[name][0] + code])
    first = place >> LENGTH_BITS
    return codes.table.chars[first : first + (place & LENGTH)].astype("<u4").tobytes().decode("utf-32-le")


@settings(max_examples=60)
@given(oracle.crowds(), oracle.crowds())
def test_codes_are_equal_exactly_when_values_are_and_stand_for_them(left, right):
    codes = oracle.encoded(WHOLE, left, right)
    cells = [
        (name, record[name], int(side[row, codes.column(name)]))
        for side, records in ((codes.left, left), (codes.right, right))
        for row, record in enumerate(records)
        for name in codes.columns
    ]
    assert all((value is None) == (code == -1) for _, value, code in cells)
    groups = [("a", "b"), ("c",), ("t", "s"), ("n",), ("d",)]
    for group in groups:
        known = [(value, code) for name, value, code in cells if name in group and value is not None]
        for value, code in known:
            for other, its_code in known:
                same = set(value) == set(other) if isinstance(value, list) else value == other
                assert same == (code == its_code)
            base, size = codes.offsets[group[0]]
            assert 0 <= code < size
            if isinstance(value, str):
                assert codes.values(group[0])[code] == value
                if group[0] in codes.sketches:
                    assert text_of(codes, group[0], code) == value
            elif isinstance(value, list):
                starts = codes.table.token_starts[base + code : base + code + 2]
                tokens = codes.table.tokens[slice(*starts)]
                assert len(tokens) == len(set(value))
                assert (np.diff(tokens) > 0).all()
            else:
                assert codes.table.numbers[base + code] == value


@given(oracle.crowds(), oracle.crowds(), oracle.crowds())
def test_a_part_of_the_other_side_is_encoded_as_the_whole_and_forgotten(left, part, rest):
    frames = [oracle.frame(records) for records in (left, part, rest)]
    encoder = Encoder(frames[0], WHOLE, frames[1].schema)
    for frame in frames[1:] * 2:
        whole = encode(frames[0], frame, WHOLE)
        with encoder.with_part(frame) as codes:
            for side in ("left", "right"):
                rows, others = getattr(codes, side), getattr(whole, side)
                assert np.array_equal(rows[:, : len(codes.columns)], others[:, : len(codes.columns)])
                for name, at in codes.sketches.items():  # a missing value has no signature
                    there = rows[:, codes.column(name)] >= 0
                    assert np.array_equal(rows[there, at : at + 2], others[there, at : at + 2])
            for one, other in zip(codes.table, whole.table, strict=True):
                np.testing.assert_array_equal(one, other)
            assert codes.offsets == whole.offsets


def test_one_set_is_its_own_other_side():
    codes = oracle.encoded(WHOLE, [dict.fromkeys(oracle.SCHEMA) | {"a": "X"}])
    assert codes.deduplicates
    assert codes.right is codes.left
    both = oracle.encoded(WHOLE, *[[dict.fromkeys(oracle.SCHEMA) | {"a": "X"}]] * 2)
    assert not both.deduplicates


def test_columns_that_meet_through_a_third_share_a_dictionary():
    model = model_of(Measure(Op.EXACT, "a", "b"), rules=[(("b", "c"),)])
    codes = encode(pl.DataFrame({"a": ["X"], "b": ["Y"], "c": ["X"]}), None, model)
    assert codes.left[0, :3].tolist() == [0, 1, 0]
    apart = encode(pl.DataFrame({"a": ["X"], "c": ["X"]}), None, model_of(exact("a"), exact("c")))
    assert apart.books["a"] is not apart.books["c"]
    assert codes.books["a"] is codes.books["c"]


def test_empty_lists_say_nothing_and_the_order_and_repeats_of_words_do_not_matter():
    words = pl.Series([["B", "A"], ["A", "B", "A"], [], None, ["A"]], dtype=pl.List(pl.String))
    codes = encode(pl.DataFrame({"t": words}), None, model_of(Measure(Op.COMMON, "t", "t", 1)))
    assert codes.left[:, 0].tolist() == [0, 0, -1, -1, 1]


def test_a_column_that_only_one_side_has_is_missing_on_the_other():
    codes = encode(
        pl.DataFrame({"a": ["X"]}), pl.DataFrame({"b": ["X"]}), model_of(Measure(Op.EXACT, "a", "b"))
    )
    assert codes.left[0, :2].tolist() == [0, -1]
    assert codes.right[0, :2].tolist() == [-1, 0]


def test_a_column_that_nobody_has_is_said_with_what_to_do():
    with pytest.raises(ModelError, match="'zz'") as caught:
        encode(pl.DataFrame({"a": ["CANARY"]}), None, model_of(exact("a"), exact("zz")))
    assert "--map" in caught.value.help
    assert "CANARY" not in str(caught.value)


def test_a_column_without_any_value():
    nothing = pl.DataFrame({"a": pl.Series([None, None], dtype=pl.String)})
    codes = encode(nothing, None, model_of(exact("a")))
    assert codes.left[:, 0].tolist() == [-1, -1]


def test_characters_outside_the_common_planes_are_one_each():
    model = model_of(Measure(Op.LEVENSHTEIN, "a", "a", 1))
    codes = encode(pl.DataFrame({"a": ["𝔸É", "Ω"]}), None, model)
    assert [text_of(codes, "a", code) for code in codes.left[:, 0]] == ["𝔸É", "Ω"]


@pytest.mark.parametrize(
    ("op", "limit"), [(Op.JARO_WINKLER, 0.9), (Op.LEVENSHTEIN, 1), (Op.STANDARDISED_LEVENSHTEIN, 0.9)]
)
@pytest.mark.parametrize("values", [[["PETER"], ["MARIA"]], [12345.0, 67890.0]], ids=["lists", "numbers"])
def test_letters_of_what_is_no_text_are_not_alike_by_being_none(op, limit, values):
    model = model_of(Measure(op, "x", "x", limit))
    codes = encode(pl.DataFrame({"x": values}), None, model)
    row = np.array([0]), np.array([1])
    tests, nothing = compile_tests(model.comparisons, codes), blank_weights(model.comparisons)
    assert score_rows(codes, *row, tests, nothing)[1].tolist() == [2]
