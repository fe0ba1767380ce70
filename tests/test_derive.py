"""Standard columns: what each field gives, whatever file it came from."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linker
from linker.derive import problems, raw_values, standard_columns
from linker.records import Field, Kind
from linker.standardise import parts


def columns_of(rows, **mapping):
    return standard_columns(linker.arrive(pl.DataFrame(rows), mapping=mapping))


def test_fields_give_columns_by_their_names_and_parts():
    made = columns_of(
        {
            "a": ["O'Neil", None],
            "b": ["José", "Ann"],
            "c": ["03/02/1980", "1981-12-31"],
            "d": ["cb3 0ap", "LS1 4AP"],
        },
        surname="a", forename="b", date_of_birth="c", postcode="d",
    )  # fmt: skip
    assert made["surname"].to_list() == ["ONEIL", None]
    assert made["forename"].to_list() == ["JOSE", "ANN"]
    assert made["date_of_birth"].to_list() == ["19800203", "19811231"]
    assert made["date_of_birth.year"].to_list() == ["1980", "1981"]
    assert made["date_of_birth.swapped"][0] == "19800302"
    assert made["postcode.outcode"].to_list() == ["CB3", "LS1"]


def test_a_whole_name_gives_the_columns_of_its_pieces():
    whole = columns_of(
        {"n": ["SMITH, John Paul", "Ann Bell"], "d": ["1980-02-03", "1981-02-03"]},
        full_name="n",
        date_of_birth="d",
    )
    apart = columns_of(
        {"f": ["John", "Ann"], "s": ["Smith", "Bell"], "d": ["1980-02-03", "1981-02-03"]},
        forename="f", surname="s", date_of_birth="d",
    )  # fmt: skip
    for name in ("surname", "surname.soundex", "forename.first", "date_of_birth"):
        assert whole[name].to_list() == apart[name].to_list()


def test_a_date_in_three_columns_is_the_date():
    rows = {"y": ["1980", "1981"], "m": ["2", "12"], "d": ["3", "31"], "s": ["Bell", "Crow"]}
    made = columns_of(rows, date_of_birth="y+m+d", surname="s")
    assert made["date_of_birth"].to_list() == ["19800203", "19811231"]


def test_of_two_fields_that_give_one_column_the_first_with_a_value_counts():
    rows = {
        "p": ["CB3 0AP", None],
        "w": ["1 High Street, Leeds, LS1 4AP", "2 High Street, Leeds, LS1 4AP"],
        "s": ["Bell", "Crow"],
    }
    made = columns_of(rows, postcode="p", address="w", surname="s")
    assert made["postcode"].to_list() == ["CB30AP", "LS14AP"]


@settings(max_examples=30)
@given(st.lists(st.none() | st.text("ANN-' Éoé", max_size=10), min_size=1, max_size=12))
def test_work_on_distinct_values_is_work_on_each(values):
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.String), "y": ["Ann"] * len(values)})
    made = columns_of(frame, surname="x", forename="y")
    alone = frame.select(
        **{f"surname.{k}".rstrip("."): one for k, one in parts(Kind.SURNAME, pl.col("x")).items()}
    )
    for name in alone.columns:
        assert made[name].to_list() == alone[name].to_list()


def test_problems_name_the_row_and_the_reason():
    field = Field("date_of_birth", Kind.DATE_OF_BIRTH, ("d",), "as mapped")
    found = problems(pl.DataFrame({"d": ["1980-02-03", None, "1900-01-01", "1900-01-01"]}), field)
    assert found.rows() == [(2, "default_date"), (3, "default_date")]


@pytest.mark.parametrize("count", [1, 3])
def test_raw_values_are_one_a_record(count):
    frame = pl.DataFrame({"a": ["1980", None], "b": ["2", None], "c": ["3", None]})
    field = Field("date_of_birth", Kind.DATE_OF_BIRTH, ("a", "b", "c")[:count], "as mapped")
    raw = raw_values(frame, field)
    assert len(raw) == 2
    assert raw[1] is None
