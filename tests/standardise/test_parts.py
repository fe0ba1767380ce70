"""What holds for every kind: the same by table and by expression, value by value, null in, null out."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from linker.records import Kind
from linker.standardise import parts, problem, table

MESSY = [
    "Smith, Mr John",
    "van der Berg",
    "Flat 2, 14A High St., Ely, CB3 0AP",
    "12/03/1980",
    "31/02/1980",
    "943 476 5870",
    "0000000000",
    "QQ123456C",
    "81/34U",
    "SF05/482703J",
    "B801200005001",
    "a.b@c.com",
    "+44 7700 900123",
    "Ünal–Öz",
    "unknown",
    "ZZ99 3VZ",
    "1,200.50",
    "-",
    " ",
    "",
    None,
]
PARTS = {
    Kind.FORENAME: {"", "first", "expanded", "joined", "nickname", "soundex", "initial"},
    Kind.MIDDLE_NAME: {"", "first", "expanded", "joined", "nickname", "soundex", "initial"},
    Kind.SURNAME: {"", "expanded", "joined", "tokens", "soundex", "initial"},
    Kind.FULL_NAME: {"forename", "middle_name", "surname"},
    Kind.DATE_OF_BIRTH: {"", "days", "year", "month", "day", "swapped"},
    Kind.HOUSE: {"", "flat"},
    Kind.ADDRESS_LINE: {"", "house", "flat", "street", "tokens"},
    Kind.ADDRESS: {"", "house", "flat", "street", "town", "postcode", "tokens"},
    Kind.TOWN: {"", "soundex"},
    Kind.POSTCODE: {"", "outcode", "sector", "area"},
    Kind.NINO: {"", "first8"},
    Kind.EMAIL: {"", "user", "domain"},
    Kind.TEXT: {"", "tokens"},
    Kind.INITIALS: {"", "turned"},
    Kind.PARTIAL_POSTCODE: {"", "outcode", "sector", "area"},
}
TYPES = {"days": pl.Int32(), "nickname": pl.List(pl.String), "tokens": pl.List(pl.String)}


@pytest.mark.parametrize("kind", Kind)
def test_parts_and_their_types(kind: Kind) -> None:
    made = table(kind, pl.Series(MESSY))
    assert set(made.columns) == PARTS.get(kind, {""})
    for name, dtype in made.schema.items():
        assert dtype == (pl.Float64() if kind is Kind.NUMBER else TYPES.get(name, pl.String()))


@pytest.mark.parametrize("kind", Kind)
def test_table_and_expressions_agree(kind: Kind) -> None:
    frame = pl.DataFrame({"raw": MESSY}, schema={"raw": pl.String})
    assert_frame_equal(frame.select(**parts(kind, pl.col("raw"))), table(kind, frame["raw"]))


@pytest.mark.parametrize("kind", Kind)
def test_each_value_by_itself(kind: Kind) -> None:
    together = table(kind, pl.Series(MESSY, dtype=pl.String))
    alone = pl.concat([table(kind, pl.Series([value], dtype=pl.String)) for value in MESSY])
    assert_frame_equal(together, alone)


@pytest.mark.parametrize("kind", Kind)
def test_missing_stays_missing_and_is_no_problem(kind: Kind) -> None:
    blank = pl.Series("raw", [None, "", "  "], dtype=pl.String)
    made = table(kind, blank)
    assert all(made[name].null_count() == 3 for name in made.columns)
    assert blank.to_frame().select(problem(kind, pl.col("raw"))).to_series().null_count() == 3
    assert table(kind, blank.head(0)).height == 0


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.FULL_NAME])
@settings(max_examples=10)
@given(values=st.lists(st.text(max_size=24), min_size=10, max_size=60))
def test_any_text_is_taken(kind: Kind, values: list[str]) -> None:
    frame = pl.DataFrame({"raw": values}, schema={"raw": pl.String})
    made = table(kind, frame["raw"])
    reasons = frame.select(problem(kind, pl.col("raw"))).to_series()
    assert made.height == len(values)
    if kind is not Kind.NUMBER:
        assert not (made[""] == "").any()
    lost = made[""].is_null() & reasons.is_null() & (frame["raw"].str.strip_chars() != "")
    # What is dropped without a reason has neither a letter nor a digit to it, or is partly given.
    for value, row in zip(frame["raw"].filter(lost), made.filter(lost).rows(), strict=True):
        written = any(unicodedata.category(char) in ("Lu", "Ll", "Lo", "Nd") for char in value)
        assert not written or any(part is not None for part in row)
