"""Addresses: lines, whole addresses, towns and partial postcodes."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.records import Kind
from linker.standardise import table

DATA = Path(__file__).parents[1] / "data"
CASES = list(csv.DictReader((DATA / "addresses.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("case", CASES, ids=[case["raw"] for case in CASES])
def test_lines(case: dict[str, str]) -> None:
    made = table(Kind.ADDRESS_LINE, pl.Series([case["raw"]]))
    assert made.select("house", "flat", "street").row(0) == tuple(
        case[part] or None for part in ("house", "flat", "street")
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Flat 2, 14A High St., Cambridge, CB3 0AP", ("14A", "2", "HIGH STREET", "CAMBRIDGE", "CB30AP")),
        (
            "5 Green Lane, Histon, Cambridge, Cambs, CB30AP, UK",
            ("5", None, "GREEN LANE", "CAMBRIDGE", "CB30AP"),
        ),
        ("Rose Cottage, Mill Lane, Ely", ("ROSE COTTAGE", None, "MILL LANE", "ELY", None)),
        ("5 Green Lane CB3 0AP", ("5", None, "GREEN LANE", None, "CB30AP")),
        ("No fixed abode", (None, None, None, None, None)),
    ],
)
def test_whole_addresses(raw: str, expected: tuple[str | None, ...]) -> None:
    made = table(Kind.ADDRESS, pl.Series([raw]))
    assert made.select("house", "flat", "street", "town", "postcode").row(0) == expected


@given(
    number=st.integers(1, 999),
    letter=st.sampled_from(["", "A", "b"]),
    flat=st.integers(1, 99),
    street=st.sampled_from(["Green Lane", "High Street", "St Marys Road", "The Avenue"]),
)
def test_house_and_flat_are_found(number: int, letter: str, flat: int, street: str) -> None:
    written = [f"Flat {flat}, {number}{letter} {street}", f"{number}{letter}, {street.upper()}, Flat {flat}"]
    made = table(Kind.ADDRESS_LINE, pl.Series(written))
    assert made["house"].to_list() == [f"{number}{letter}".upper()] * 2
    assert made["flat"].to_list() == [str(flat)] * 2
    assert made["street"].to_list() == [street.upper()] * 2


@pytest.mark.parametrize(
    ("raw", "house", "flat"),
    [("FLAT 2, 14A", "14A", "2"), ("14 A", "14A", None), ("007", "7", None), ("2/14", "14", "2"),
     ("12 - 14", "12-14", None), ("Rose Cottage", "ROSE COTTAGE", None), ("Flat 3", None, "3")],
)  # fmt: skip
def test_houses(raw: str, house: str | None, flat: str | None) -> None:
    assert table(Kind.HOUSE, pl.Series([raw])).select("", "flat").row(0) == (house, flat)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Stoke-on-Trent", "STOKE ON TRENT"), ("St. Ives", "Saint Ives"), ("Nr Ely", "Ely"),
     ("Stratford-upon-Avon", "Stratford on Avon"), ("Tyne & Wear", "Tyne and Wear")],
)  # fmt: skip
def test_towns(one: str, other: str) -> None:
    made = table(Kind.TOWN, pl.Series([one, other]))
    assert made[""][0] == made[""][1]


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("CB3", (None, "CB3", None, "CB")),
        ("CB3 0", (None, "CB3", "CB30", "CB")),
        ("M11", (None, "M11", None, "M")),
        ("M1 1", (None, "M1", "M11", "M")),
        ("EC1A", (None, "EC1A", None, "EC")),
    ],
)
def test_partial_postcodes(raw: str, parts: tuple[str | None, ...]) -> None:
    assert table(Kind.POSTCODE, pl.Series([raw])).select("", "outcode", "sector", "area").row(0) == parts
