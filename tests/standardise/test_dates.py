"""Dates of birth: ways of writing, defaults, the impossible, and dates in parts."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.records import Kind
from linker.standardise import table
from linker.standardise.dates import DEFAULTS, date_from_parts, date_of_birth

DATA = Path(__file__).parents[1] / "data"
CASES = list(csv.DictReader((DATA / "dates.csv").read_text(encoding="utf-8").splitlines()))
EPOCH = datetime.date(1970, 1, 1)
births = st.dates(datetime.date(1895, 1, 1), datetime.date(2029, 12, 31)).filter(
    lambda day: f"{day:%Y%m%d}" not in DEFAULTS
)


@pytest.mark.parametrize("case", CASES, ids=[case["raw"] for case in CASES])
def test_cases(case: dict[str, str]) -> None:
    standard = date_of_birth(pl.col("raw"), today=datetime.date(2026, 6, 1))
    frame = pl.DataFrame({"raw": [case["raw"]]})
    canonical, days, reason = frame.select(
        standard.part("").alias("canonical"), standard.part("days"), standard.part("_problem")
    ).row(0)
    assert canonical == (case["canonical"] or None)
    assert days == ((datetime.date.fromisoformat(case["day"]) - EPOCH).days if case["day"] else None)
    assert reason == (case["reason"] or None)


@given(births)
def test_however_it_is_written(day: datetime.date) -> None:
    written = [f"{day:%Y-%m-%d}", f"{day:%Y%m%d}", f"{day:%d/%m/%Y}", f"{day:%d.%m.%Y}", f"{day:%d-%m-%Y}"]
    written += [
        f"{day:%d %b %Y}",
        f"{day:%d %B %Y}",
        f"{day:%Y-%m-%dT00:00:00}",
        f"{day.day}/{day.month}/{day.year}",
    ]
    made = table(Kind.DATE_OF_BIRTH, pl.Series(written))
    expected = {
        "": f"{day:%Y%m%d}",
        "days": (day - EPOCH).days,
        "year": f"{day:%Y}",
        "month": f"{day:%m}",
        "day": f"{day:%d}",
        "swapped": f"{day:%Y%d%m}",
    }
    assert made.select(sorted(expected)).rows() == [tuple(expected[name] for name in sorted(expected))] * len(
        written
    )


@given(births.filter(lambda day: day.day > 12))
def test_american_order_only_where_the_other_is_impossible(day: datetime.date) -> None:
    assert table(Kind.DATE_OF_BIRTH, pl.Series([f"{day:%m/%d/%Y}"]))[""].to_list() == [f"{day:%Y%m%d}"]


@given(st.integers(1900, 2029), st.integers(0, 99), st.integers(0, 99))
def test_eight_digits_are_never_lost(year: int, month: int, day: int) -> None:
    digits = f"{year}{month:02}{day:02}"
    made = table(Kind.DATE_OF_BIRTH, pl.Series([digits]))
    try:
        expected = (datetime.date(year, month, day) - EPOCH).days
    except ValueError:
        expected = None
    if digits in DEFAULTS:
        assert made[""].to_list() == [None]
    elif expected is not None:
        assert made[["", "days"]].rows() == [(digits, expected)]
    else:
        # Impossible one way; kept, or read the other way round where that is a day.
        turned = digits[4:] + digits[2:4] + digits[:2]
        assert made[""].item() in (digits, turned)
        assert (made["days"].item() is not None) == (made[""].item() == turned and turned != digits)


def test_parts_put_together() -> None:
    frame = pl.DataFrame(
        {
            "y": ["1980", "80", "2003", None, None, "1980.0", "2001"],
            "m": ["3", "03", None, "10", None, "3.0", "May"],
            "d": ["12", "12", None, "5", " ", "12.0", "1"],
        }
    )
    made = frame.select(date_from_parts(pl.col("y"), pl.col("m"), pl.col("d")).alias("raw"))["raw"]
    assert made.to_list() == [
        "1980-03-12",
        "1980-03-12",
        "2003-00-00",
        "0000-10-05",
        None,
        "1980-03-12",
        "2001-05-01",
    ]
    dates = table(Kind.DATE_OF_BIRTH, made)
    assert dates[""].to_list()[:4] == ["19800312", "19800312", "20030000", "00001005"]
    assert dates["month"].to_list()[2:4] == [None, "10"]
    assert dates["year"].to_list()[2:4] == ["2003", None]
    assert dates["days"].to_list()[2:5] == [None, None, None]
