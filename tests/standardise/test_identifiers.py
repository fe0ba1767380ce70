"""Numbers, sex and postcodes: published cases, and properties against a plain-Python reference."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.records import Kind
from linker.standardise import problem, table

DATA = Path(__file__).parents[1] / "data"
CASES = list(csv.DictReader((DATA / "identifiers.csv").read_text(encoding="utf-8").splitlines()))
SENTINEL_DIGITS = {str(digit) * 10 for digit in range(10)}


def standardised(kind: Kind, values: list[str]) -> list[str | None]:
    return table(kind, pl.Series(values, dtype=pl.String))[""].to_list()


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']} {case['raw']}" for case in CASES])
def test_r82_published_cases(case: dict[str, str]) -> None:
    kind = Kind(case["kind"])
    frame = pl.DataFrame({"raw": [case["raw"]]})
    assert standardised(kind, [case["raw"]]) == [case["canonical"] or None]
    assert frame.select(problem(kind, pl.col("raw"))).item() == (case["reason"] or None)


def modulus_11(number: str) -> bool:
    total = 0
    for index in range(9):
        total += int(number[index]) * (10 - index)
    check = 11 - total % 11
    return check != 10 and str(check % 11) == number[9]


def nhs_reference(number: str) -> bool:
    leading = int(number) // 10**6
    ranges = [(101, 3112), (3200, 4999), (6000, 8599), (9000, 9999)]
    allocated = any(low <= leading <= high for low, high in ranges)
    return number not in SENTINEL_DIGITS and modulus_11(number) and allocated


def chi_reference(number: str) -> bool:
    day, month, year = int(number[:2]), int(number[2:4]), int(number[4:6])
    born = False
    for hundreds in (1900, 2000):
        try:
            datetime.date(hundreds + year, month, day)
            born = True
        except ValueError:
            continue
    return born and modulus_11(number) and number not in SENTINEL_DIGITS


def hc_reference(number: str) -> bool:
    return (
        3_200_000_000 <= int(number) <= 3_999_999_999 and modulus_11(number) and number not in SENTINEL_DIGITS
    )


def uln_reference(number: str) -> bool:
    total = sum(int(digit) * (10 - place) for place, digit in enumerate(number))
    return number[0] != "0" and total % 11 == 10 and number not in SENTINEL_DIGITS


def with_check_digit(nine: int) -> str:
    """A ten-digit number that passes modulus 11 wherever a check digit exists."""
    text = f"{nine:09}"
    remainder = sum(int(digit) * weight for digit, weight in zip(text, range(10, 1, -1), strict=True)) % 11
    return text + str((11 - remainder) % 11)[-1]


ten_digits = st.one_of(
    st.integers(0, 10**10 - 1).map(lambda number: f"{number:010}"),
    st.integers(0, 10**9 - 1).map(with_check_digit),
    st.integers(10_100_000, 319_999_999).map(with_check_digit),
    st.integers(320_000_000, 399_999_999).map(with_check_digit),
    st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)).flatmap(
        lambda day: st.integers(0, 999).map(lambda rest: with_check_digit(int(f"{day:%d%m%y}{rest:03}")))
    ),
)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        (Kind.NHS_NUMBER, nhs_reference),
        (Kind.CHI, chi_reference),
        (Kind.HC_NUMBER, hc_reference),
        (Kind.ULN, uln_reference),
    ],
)
@settings(max_examples=25)
@given(numbers=st.lists(ten_digits, min_size=30, max_size=60))
def test_ten_digit_numbers(kind: Kind, reference: Callable[[str], bool], numbers: list[str]) -> None:
    assert standardised(kind, numbers) == [number if reference(number) else None for number in numbers]


@given(number=st.integers(0, 10**9 - 1), place=st.integers(0, 9), digit=st.integers(1, 9))
def test_one_wrong_digit_is_always_found(number: int, place: int, digit: int) -> None:
    right = with_check_digit(number)
    wrong = right[:place] + str((int(right[place]) + digit) % 10) + right[place + 1 :]
    assert not (modulus_11(right) and standardised(Kind.NHS_NUMBER, [wrong])[0])


def test_a_learner_number_is_never_an_nhs_number() -> None:
    numbers = [f"{number:010}" for number in range(4_000_000_000, 4_000_110_000)]
    nhs = table(Kind.NHS_NUMBER, pl.Series(numbers))[""].is_not_null()
    uln = table(Kind.ULN, pl.Series(numbers))[""].is_not_null()
    assert nhs.sum() > 9000
    assert not (nhs & uln).any()


def nino_reference(number: str) -> bool:
    if len(number) not in (8, 9) or not number[:2].isalpha() or not number[2:8].isdigit():
        return False
    if number[8:] not in ("", "A", "B", "C", "D") or number[2:8] in ("000000", "999999"):
        return False
    unused = ["BG", "GB", "KN", "NK", "NT", "TN", "ZZ", "OO", "CR", "FY", "MW", "NC", "PP", "PY", "PZ"]
    return not set(number[:2]) & set("DFIQUV") and number[1] != "O" and number[:2] not in unused


@settings(max_examples=25)
@given(st.lists(st.from_regex(r"\A[A-Z]{2}[0-9]{6}[A-F]?\Z"), min_size=20, max_size=60))
def test_national_insurance_numbers(numbers: list[str]) -> None:
    made = table(Kind.NINO, pl.Series(numbers))
    assert made[""].to_list() == [number if nino_reference(number) else None for number in numbers]
    assert made["first8"].to_list() == [number[:8] if nino_reference(number) else None for number in numbers]


UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"


def upn_letter(rest: str) -> str:
    total = 0
    for position, symbol in enumerate(rest, start=2):
        total += position * (int(symbol) if symbol.isdigit() else UPN_LETTERS.index(symbol))
    return UPN_LETTERS[total % 23]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(UPN_LETTERS), st.from_regex(rf"\A[0-9]{{11}}[0-9{UPN_LETTERS}]\Z"), st.booleans()
        ),
        min_size=20,
        max_size=60,
    )
)
def test_pupil_numbers(drawn: list[tuple[str, str, bool]]) -> None:
    numbers = [(upn_letter(rest) if right else letter) + rest for letter, rest, right in drawn]
    expected = [
        number if number[0] == upn_letter(number[1:]) and set(number[1:]) != {"0"} else None
        for number in numbers
    ]
    assert standardised(Kind.UPN, numbers) == expected


def check_letter(number: str) -> str:
    return "ZABCDEFGHJKLMNPQRTUVWXY"[int(number) % 23]


@given(
    year=st.integers(1930, 2029),
    serial=st.integers(1, 9_999_999),
    letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
)
def test_police_numbers(year: int, serial: int, letter: str) -> None:
    short = f"{year % 100:02}"
    right = check_letter(f"{short}{serial:07}")
    canonical = f"{year}/{serial:07}{letter}"
    forms = [
        canonical,
        f"{short}/{serial}{letter}",
        f"{year}{serial:07}{letter}",
        f"{short}/{serial:07}{letter}",
    ]
    assert standardised(Kind.PNCID, forms) == [canonical if letter == right else None] * 4


@given(
    year=st.integers(0, 99),
    serial=st.integers(1, 999_999),
    letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
)
def test_criminal_records_office_numbers(year: int, serial: int, letter: str) -> None:
    standard, file = f"{serial:06}/{year:02}{letter}", f"SF{year:02}/{serial}{letter}"
    expected = [
        standard if letter == check_letter(f"{year:02}{serial:06}") else None,
        file if letter == check_letter(f"{year:02}{serial}") else None,
    ]
    assert standardised(Kind.CRO, [standard, file]) == expected


@settings(max_examples=25)
@given(st.lists(st.from_regex(r"\A[0-9]{1,15}\Z"), min_size=10, max_size=40))
def test_property_numbers(numbers: list[str]) -> None:
    expected = []
    for number in numbers:
        value = str(int(number))
        filler = value == "0" or (len(value) >= 6 and set(value) in ({"1"}, {"9"}))
        expected.append(None if filler or len(value) > 12 else value)
    assert standardised(Kind.UPRN, numbers) == expected


def is_postcode(code: str) -> bool:
    """The six forms, letter by letter (ILR specification, appendix C)."""
    outward, inward = code[:-3], code[-3:]
    if not (inward[0].isdigit() and not set(inward[1:]) & set("CIKMOV") and inward[1:].isalpha()):
        return False
    form = "".join("9" if char.isdigit() else "A" for char in outward)
    if form not in ("A9", "A99", "AA9", "AA99", "A9A", "AA9A") or outward[0] in "QVX":
        return False
    if outward[1].isalpha() and outward[1] in "IJZ":
        return False
    if form == "A9A":
        return outward[2] in "ABCDEFGHJKPSTUW"
    return form != "AA9A" or outward[3] in "ABEHMNPRVWXY"


def folded(code: str) -> str:
    return re.sub("[1L]", "I", code.replace("0", "O"))


@settings(max_examples=25)
@given(st.lists(st.from_regex(r"\A[A-Z]{1,2}[0-9][0-9A-Z]?[0-9][A-Z]{2}\Z"), min_size=30, max_size=60))
def test_postcodes(codes: list[str]) -> None:
    made = table(Kind.POSTCODE, pl.Series(codes))
    reasons = pl.DataFrame({"raw": codes}).select(problem(Kind.POSTCODE, pl.col("raw"))).to_series()
    for code, (canonical, outcode, sector, area), reason in zip(
        codes, made.select("", "outcode", "sector", "area").rows(), reasons, strict=True
    ):
        if reason == "pseudo_postcode":
            assert code.startswith(("ZZ", "NF1"))
            assert canonical is outcode is sector is area is None
        elif is_postcode(code):
            assert (canonical, outcode, sector, reason) == (code, code[:-3], code[:-2], None)
            assert area == re.match("[A-Z]+", code)[0]  # type: ignore[index]
        elif reason is None:
            assert is_postcode(canonical)
            assert folded(canonical) == folded(code)
        else:
            assert (canonical, reason) == (code, "format")


@given(
    st.sampled_from(["m", "male", "Boy", "1", "1.0", " M "]),
    st.sampled_from(["f", "girl", "2", "FEMALE", "02"]),
)
def test_sex(male: str, female: str) -> None:
    assert standardised(Kind.SEX, [male, female]) == ["M", "F"]
