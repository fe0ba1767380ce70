"""Bands, recodes, counts and ages, against the same in plain Python; and the tables that come of them."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.release.columns import column
from pseudonym.release.spec import ColumnUse

TODAY = date(2026, 11, 23)
KINDS = Dataset(
    "all-kinds",
    (
        Column("number", Kind.INTEGER, -50, 500),
        Column("money", Kind.DECIMAL, 0, 100_000, 2),
        Column("code", Kind.CODE, codes=("a", "b", "c")),
        Column("born", Kind.YEAR, 1900, 2026),
        Column("month", Kind.MONTH),
        Column("quarter", Kind.QUARTER),
        Column("flag", Kind.FLAG),
    ),
)


def told(use, values, dtype=None):
    expression, out = column(use, KINDS, use.out, TODAY)
    return pl.DataFrame({use.name: pl.Series(values, dtype=dtype)}).select(expression)[use.out].to_list(), out


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-50, 500)), min_size=1),
    st.sampled_from((1, 5, 7, 100)),
    st.one_of(st.none(), st.integers(-10, 50)),
    st.one_of(st.none(), st.integers(60, 400)),
)
def test_r39_a_band_holds_its_value_and_is_in_its_list(values, width, bottom, top):
    use = ColumnUse("number", width=width, bottom=bottom, top=top, meaning="A number")
    labels, out = told(use, values, pl.Int64)
    for value, label in zip(values, labels, strict=True):
        if value is None:
            assert label is None
            continue
        assert label in out.codes
        if bottom is not None and value <= bottom:
            assert label == f"{bottom} or less"
        elif top is not None and value >= top:
            assert label == f"{top} or more"
        else:
            low, _, high = label.partition(" to ") if " to " in label else (label, "", label)
            assert int(low) <= value <= int(high)
            assert int(high) - int(low) < width
    assert len(set(out.codes)) == len(out.codes)


@pytest.mark.parametrize(
    ("use", "values", "expected"),
    [
        (ColumnUse("number", top=10, bottom=0), [-3, 5, 70, None], [0, 5, 10, None]),
        (
            ColumnUse("born", age_on=2026, width=10, top=60),
            [2020, 1996, 1950, None],
            ["0-9", "30-39", "60 or more", None],
        ),
        (ColumnUse("month", age_on=2026, width=10, top=60), ["2016-02"], ["10-19"]),
        (ColumnUse("month", band="year"), ["2024-02", None], [2024, None]),
        (
            ColumnUse("month", band="quarter"),
            ["2024-03", "2024-04", "2024-12"],
            ["2024-Q1", "2024-Q2", "2024-Q4"],
        ),
        (ColumnUse("quarter", band="year"), ["2024-Q3"], [2024]),
        (
            ColumnUse("month", band="year", width=5, bottom=2009, top=2020),
            ["2012-01", "2021-01"],
            ["2010-2014", "2020 or more"],
        ),
        (
            ColumnUse("code", recode=(("a", "x"), ("b", "x"), ("c", "y"))),
            ["a", "b", "c", None],
            ["x", "x", "y", None],
        ),
        (ColumnUse("flag"), [True, None], [True, None]),
    ],
)
def test_r39_what_is_told_of_a_value(use, values, expected):
    assert told(ColumnUse(**{**_members(use), "meaning": "Something"}), values)[0] == expected


def _members(use):
    return {name: getattr(use, name) for name in use.__slots__}


@pytest.mark.parametrize(
    "use",
    [
        ColumnUse("code", width=5, meaning="x"),
        ColumnUse("code", recode=(("a", "x"),), meaning="x"),  # b and c become nothing
        ColumnUse("number", recode=(("1", "x"),), meaning="x"),
        ColumnUse("quarter", band="quarter", meaning="x"),
        ColumnUse("number", band="year", meaning="x"),
        ColumnUse("flag", top=1, meaning="x"),
        ColumnUse("number", age_on=2026, meaning="x"),
        ColumnUse("money", width=10, meaning="x"),
        ColumnUse("number"),  # nobody says what it means
        ColumnUse("missing", meaning="x"),
    ],
)
def test_what_cannot_be_told_so_is_refused(use):
    with pytest.raises(InputError):
        column(use, KINDS, use.out, TODAY)
