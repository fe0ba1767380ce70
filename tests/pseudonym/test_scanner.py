"""The scanner: finds identifiers however they are written, and leaves ordinary attributes alone."""

from __future__ import annotations

import csv
import random
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from pseudonym.scanner import Finding, Sort, looks_like, scan
from pseudonym.values import looks_like_an_identifier

CASES = Path(__file__).parents[1] / "data" / "identifiers.csv"
SORTS = {
    "nhs_number": Sort.NHS,
    "nino": Sort.NINO,
    "upn": Sort.UPN,
    "uln": Sort.ULN,
    "postcode": Sort.POSTCODE,
}


def sorts(value):
    return {found.sort for found in scan(pl.DataFrame({"x": [value]}))}


def published(kind):
    with CASES.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == kind]


@pytest.mark.parametrize("kind", sorted(SORTS))
def test_every_canonical_number_is_found(kind):
    special = {"GIR0AA", "ASCN1ZZ", "BFPO58", "SANTA1", "A111AA"}  # there is no area A
    for row in published(kind):
        if row["canonical"] and not row["reason"] and row["canonical"] not in special:
            assert SORTS[kind] in sorts(row["canonical"]), row
            assert SORTS[kind] in sorts(f"see {row['canonical'].lower()}, of May"), row


@pytest.mark.parametrize("kind", ["nhs_number", "upn", "uln"])
def test_numbers_whose_check_fails_are_not_found(kind):
    for row in published(kind):
        if row["reason"] == "check_digit":
            assert SORTS[kind] not in sorts(row["raw"]), row


def test_pnc_numbers_are_found():
    for row in published("pncid"):
        if row["canonical"] and "/" in row["raw"]:
            assert Sort.PNCID in sorts(row["canonical"]), row
            assert Sort.PNCID in sorts(row["raw"]), row
        if row["reason"] == "check_digit":
            assert Sort.PNCID not in sorts(row["raw"]), row


@pytest.mark.parametrize(
    ("value", "sort"),
    [
        ("943 476 5919", Sort.NHS),
        ("943-476-5919", Sort.NHS),
        ("NHS no: 9434765919.", Sort.NHS),
        (9434765919, Sort.NHS),
        (9434765919.0, Sort.NHS),
        (b"9434765919", Sort.NHS),
        (["0", "9434765919"], Sort.NHS),
        ({"a": "1", "b": "9434765919"}, Sort.NHS),
        ("ab 12 34 56 c", Sort.NINO),
        ("AB-12-34-56-C", Sort.NINO),
        ("AB123456", Sort.NINO),
        (9276308686, Sort.ULN),
        ("1979/0163001B", Sort.PNCID),
        ("79/163001b", Sort.PNCID),
        ("lives at EC1A 1BB now", Sort.POSTCODE),
        ("w1a0ax", Sort.POSTCODE),
        ("m1 1ae", Sort.POSTCODE),
        ("a.b+c@example.org", Sort.EMAIL),
        ("Mail: O'Neil@mail.example.co.uk!", Sort.EMAIL),
        ("07700 900123", Sort.TELEPHONE),
        ("07700900123", Sort.TELEPHONE),
        ("(020) 7946 0123", Sort.TELEPHONE),
        ("0117 496 0123", Sort.TELEPHONE),
        ("+44 7700 900 123", Sort.TELEPHONE),
        ("0044 20 7946 0123", Sort.TELEPHONE),
        ("+44 (0)20 7946 0123", Sort.TELEPHONE),
        ("+353 1 496 0123", Sort.TELEPHONE),
        ("tel 07700-900123", Sort.TELEPHONE),
        ("1990-01-31", Sort.DATE),
        ("1990-01-31T00:00:00", Sort.DATE),
        ("31/01/1990", Sort.DATE),
        ("31.1.90", Sort.DATE),
        ("1/31/1990"[2:] + "-01-31", None),
        ("31 January 1990", Sort.DATE),
        ("31st Jan 1990", Sort.DATE),
        ("31-JAN-90", Sort.DATE),
        ("January 31, 1990", Sort.DATE),
        (19900131, Sort.DATE),
        ("25122009", Sort.SHORT_DATE),
        (1012009, Sort.SHORT_DATE),  # the nought before is lost
        ("251209", Sort.SHORT_DATE),
        (447700900123, Sort.TELEPHONE),
        (442079460123, Sort.TELEPHONE),
        (7911123456, Sort.TELEPHONE),
        (date(1990, 1, 31), Sort.DATE),
        (datetime(1990, 1, 31, 12), Sort.DATE),
    ],
)
def test_what_is_found(value, sort):
    assert sort is None or sort in sorts(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        True,
        0,
        7,
        -1,
        3.5,
        1990,
        "1990",
        "1990-01",
        "2019/20",
        "2019-Q3",
        "2019-2020",
        "20-24",
        "65+",
        "0",
        "12345.67",
        123456.78,
        "£1,234,567.89",
        float("nan"),
        float("inf"),
        "E01012345",  # statistical areas
        "E06000043",
        "W01000123",
        "S12000036",
        "J45.909",  # diseases and operations
        "F32.1",
        "W37.1",
        "O80",
        "Z99.2",
        "38341003",  # SNOMED CT
        "73211009",
        "85.20",  # industries
        "47190",
        "SOC2310",
        "E10",  # outward postcode, of a district
        "BN3",
        "EC1A",
        "BN3 1",
        "A*AA",
        "KS2",
        "Level 3",
        "GCSE grade 9",
        "PT1H30M",
        "12:30",
        "12:30:15",
        "N",
        "White British",
        "Full time",
        "not known",
        "1 of 3",
        "3/4",
        "99999",
        "00000000",
        "1234567890",  # no check digit fits
        "0000000000",
        "9999999999",
        "abc@home",
        "@handle",
        "v1.2.3",
        "192.168.10.12",
        "X12345678901",
        "RX1 01",  # a provider's site
        "RXH01",
        "100%",
        "-0.25",
        "1e10",
    ],
)
def test_what_is_left_alone(value):
    assert sorts(value) == set()


def test_findings_count_and_do_not_quote():
    frame = pl.DataFrame(
        {
            "band": ["20-24", "25-29", None, "30-34"],
            "note": ["9434765919", "AB123456C and BN3 1AB", None, "943 476 5870"],
            "day": [date(2020, 1, 1), None, None, None],
        }
    )
    assert scan(frame) == [
        Finding("note", Sort.NHS, 2, 2),
        Finding("note", Sort.NINO, 1, 1),
        Finding("note", Sort.POSTCODE, 1, 1),
        Finding("day", Sort.DATE, 1, 1),
    ]
    assert scan(frame.clear()) == []
    assert "9434765919" not in repr(scan(frame))


def test_ordinary_numbers_are_like_chance_and_identifiers_are_not():
    draw = random.Random(1)
    amounts = [draw.randrange(4 * 10**9, 5 * 10**9) for _ in range(5000)]
    (found,) = [found for found in scan(pl.DataFrame({"pence": amounts})) if found.sort is Sort.NHS]
    assert 300 < found.rows < 600
    assert found.like_chance
    true = (pl.Series(amounts).to_frame("x").filter(looks_like(Sort.NHS, pl.col("x").cast(pl.String))))["x"]
    for numbers in (true, pl.concat([true, pl.Series(amounts[:1500])])):
        (found,) = [found for found in scan(numbers.to_frame("id")) if found.sort is Sort.NHS]
        assert not found.like_chance
    assert not Finding("x", Sort.NHS, 1, 1).like_chance


def test_days_of_six_digits_are_told_from_ordinary_numbers_by_their_column():
    draw = random.Random(3)
    amounts = [draw.randrange(100_000, 1_000_000) for _ in range(3000)]
    (found,) = scan(pl.DataFrame({"pounds": amounts}))
    assert found.sort is Sort.SHORT_DATE
    assert found.like_chance
    text = pl.Series([str(amount) for amount in amounts])
    assert looks_like_an_identifier(text).null_count() == 3000
    born = pl.Series(
        [f"{draw.randrange(1, 29):02}{draw.randrange(1, 13):02}{year:02}" for year in range(100)]
    )
    assert set(looks_like_an_identifier(born)) == {"looks_like_short_date"}
    (found,) = scan(born.to_frame("born"))
    assert not found.like_chance
    mixed = pl.concat([born, text[:200]])
    assert looks_like_an_identifier(mixed)[:100].null_count() == 0
    assert looks_like_an_identifier(pl.Series(["251209", None])).to_list() == ["looks_like_short_date", None]


def test_random_attributes_are_seldom_taken_for_identifiers():
    draw = random.Random(2)
    count = 20_000
    harmless = pl.DataFrame(
        {
            "icd": [
                f"{draw.choice('ABCDEFGHIJ')}{draw.randrange(100):02}.{draw.randrange(10)}"
                for _ in range(count)
            ],
            "lsoa": [f"E01{draw.randrange(10**6):06}" for _ in range(count)],
            "months": [f"{draw.randrange(1990, 2030)}-{draw.randrange(1, 13):02}" for _ in range(count)],
            "pounds": [round(draw.lognormvariate(7, 2), 2) for _ in range(count)],
            "count": [draw.randrange(100_000) for _ in range(count)],
            "ratio": [draw.random() for _ in range(count)],
            "words": [
                " ".join(draw.choices(["low", "pay", "west", "full", "part"], k=4)) for _ in range(count)
            ],
        }
    )
    assert scan(harmless) == []


def test_null_for_null():
    frame = pl.DataFrame({"x": ["9434765919", None, "no"]})
    for sort in Sort:
        assert frame.select(looks_like(sort, pl.col("x")))["x"].to_list() == [sort is Sort.NHS, None, False]
