"""E-mail, phone and the open kinds."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.records import Kind
from linker.standardise import problem, table


def made(kind: Kind, raw: str) -> tuple[object, object]:
    frame = pl.DataFrame({"raw": [raw]})
    return table(kind, frame["raw"])[""].item(), frame.select(problem(kind, pl.col("raw"))).item()


@pytest.mark.parametrize(
    ("raw", "canonical", "reason"),
    [
        ("A.B@C.com", "a.b@c.com", None),
        (" mailto:a@b.org ", "a@b.org", None),
        ("a@b", "a@b", "format"),
        ("ab.com", "ab.com", "format"),
        ("none@none.com", None, "sentinel"),
        ("n/a", None, "sentinel"),
        ("refused to say", None, "sentinel"),
    ],
)
def test_email(raw: str, canonical: str | None, reason: str | None) -> None:
    assert made(Kind.EMAIL, raw) == (canonical, reason)


def test_email_parts() -> None:
    parts = table(Kind.EMAIL, pl.Series(["A.B@C.com", "ab.com", "@c.com"]))
    assert parts["user"].to_list() == ["a.b", None, None]
    assert parts["domain"].to_list() == ["c.com", None, "c.com"]


@given(st.integers(7_000_000_001, 7_999_999_999))
def test_a_mobile_number_in_all_its_forms(number: int) -> None:
    text = str(number)
    forms = [
        f"0{text}",
        f"+44{text}",
        f"0044 {text}",
        f"+44 (0){text}",
        text,
        f"0{text[:4]} {text[4:]}",
        f"44{text}",
    ]
    digits = table(Kind.PHONE, pl.Series(forms))[""].to_list()
    assert set(digits) == ({f"0{text}"} if len(set(text)) > 1 else {None})


@pytest.mark.parametrize(
    ("raw", "canonical", "reason"),
    [
        ("01223 334455 ext 12", "01223334455", None),
        ("+33 1 23 45 67 89", "+33123456789", None),
        ("00000000000", None, "sentinel"),
        ("123", None, "format"),
        ("none", None, "sentinel"),
    ],
)
def test_phone(raw: str, canonical: str | None, reason: str | None) -> None:
    assert made(Kind.PHONE, raw) == (canonical, reason)


@pytest.mark.parametrize(
    ("kind", "raw", "canonical", "reason"),
    [
        (Kind.CATEGORY, " white  british ", "WHITE BRITISH", None),
        (Kind.CATEGORY, "Not stated", None, "sentinel"),
        (Kind.TEXT, "Foo, the bär!", "FOO THE BAR", None),
        (Kind.NUMBER, "£1,200.50", 1200.5, None),
        (Kind.NUMBER, "nan", None, "format"),
        (Kind.NUMBER, "twelve", None, "format"),
        (Kind.IDENTIFIER, "ab-12/3 ", "AB123", None),
        (Kind.IDENTIFIER, "0000000", None, "sentinel"),
        (Kind.HOUSEHOLD, "F 0012", "F0012", None),
        (Kind.HOUSEHOLD, "0", "0", None),
    ],
)
def test_open_kinds(kind: Kind, raw: str, canonical: object, reason: str | None) -> None:
    assert made(kind, raw) == (canonical, reason)
