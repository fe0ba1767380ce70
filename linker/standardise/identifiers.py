"""Numbers given to people and homes: NHS, CHI, H&C, NINO, UPN, ULN, UPRN.

Every rule yields the canonical value and, beside it, the reason for which a value that is present is
set aside. A check digit is no proof (one random number in eleven passes), but a failed one is a
proof of error.
"""

from __future__ import annotations

import polars as pl
from polars import field

from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import is_missing, none_if_empty, present, tidy, without_accents

_UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"
# Prefixes never allocated, and those used in administration only (HMRC NIM39110).
_NINO_UNUSED = ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
_NINO_ADMINISTRATIVE = ("OO", "CR", "FY", "MW", "NC", "PP", "PY", "PZ")
_ONE_DIGIT = "^(?:" + "|".join(f"{digit}{{5,}}" for digit in range(10)) + ")$"
_NINO = "^[A-Z]{2}[0-9]{6}[A-D]?$"
_VALUE = field("_value")
_MISSING = is_missing(field("_raw"))


def nhs_number(raw: pl.Expr) -> Standard:
    """NHS number: ten digits, modulus 11, in a range that was ever issued (9… is for tests).

    Scottish CHI and Northern Irish H&C numbers share the form and are accepted.
    """
    scottish = (_VALUE >= "0101000000") & (_VALUE < "3113000000")
    issued = scottish | _VALUE.str.contains("^(?:3[2-9]|4|6|7|8[0-5]|9)")
    return checked(
        raw,
        _digits(),
        (_MISSING | _VALUE.str.contains(_ONE_DIGIT), "sentinel"),
        (malformed("^[0-9]{10}$"), "format"),
        (~_modulus_11(), "check_digit"),
        (~issued, "not_allocated"),
    )


def chi(raw: pl.Expr) -> Standard:
    """Scotland's CHI number: a birth date DDMMYY, three digits, modulus 11; a lost nought is restored."""
    born = _VALUE.str.slice(4, 2) + _VALUE.str.slice(2, 2) + _VALUE.str.slice(0, 2)
    # Either century: 290200 is a day of 2000 and none of 1900.
    day = (pl.lit("20") + born).str.to_date("%Y%m%d", strict=False)
    return checked(
        raw,
        _digits().str.replace("^([0-9]{9})$", "0${1}"),
        (_MISSING | _VALUE.str.contains(_ONE_DIGIT), "sentinel"),
        (malformed("^[0-9]{10}$"), "format"),
        (day.is_null(), "impossible_date"),
        (~_modulus_11(), "check_digit"),
    )


def hc_number(raw: pl.Expr) -> Standard:
    """Northern Ireland's H&C number: 3.2 to 3.999 thousand million, modulus 11."""
    return checked(
        raw,
        _digits(),
        (_MISSING | _VALUE.str.contains(_ONE_DIGIT), "sentinel"),
        (malformed("^[0-9]{10}$"), "format"),
        (~_modulus_11(), "check_digit"),
        (~_VALUE.str.contains("^3[2-9]"), "not_allocated"),
    )


def nino(raw: pl.Expr) -> Standard:
    """National Insurance number with or without its suffix, and `first8`, which is what to compare."""
    prefix = _VALUE.str.slice(0, 2)
    made = checked(
        raw,
        _code(field("_raw")),
        (
            _MISSING | _VALUE.str.contains("^(?:X{5,}|0{5,}|9{5,}|[A-Z]{2}(?:000000|999999)[A-Z]?)$"),
            "sentinel",
        ),
        (malformed(_NINO), "format"),
        (
            prefix.str.contains("[DFIQUV]|^.O") | prefix.is_in([*_NINO_UNUSED, *_NINO_ADMINISTRATIVE]),
            "not_allocated",
        ),
    )
    first = field("").str.slice(0, 8).alias("first8")
    return Standard(made.whole.struct.with_fields(first), (*made.names, "first8"))


def upn(raw: pl.Expr) -> Standard:
    """Unique pupil number: check letter, eleven digits, and a digit or (temporary) a letter.

    The authority's code is not held against a list: authorities are made and merged.
    """
    return checked(
        raw,
        _code(field("_raw")),
        (_MISSING | _VALUE.str.contains("^(?:.?0{12}|0{5,}|9{5,})$"), "sentinel"),
        (malformed(f"^[{_UPN_LETTERS}][0-9]{{11}}[0-9{_UPN_LETTERS}]$"), "format"),
        (~_upn_letter_fits(), "check_digit"),
    )


def uln(raw: pl.Expr) -> Standard:
    """Unique learner number: ten digits, the first not 0, weighted sum 10 modulo 11."""
    return checked(
        raw,
        _digits(),
        (_MISSING | _VALUE.str.contains(_ONE_DIGIT), "sentinel"),
        (malformed("^[1-9][0-9]{9}$"), "format"),
        (_weighted(range(10, 0, -1)) % 11 != 10, "check_digit"),
    )


def uprn(raw: pl.Expr) -> Standard:
    """Unique property reference number: up to twelve digits, leading noughts dropped."""
    return checked(
        raw,
        _digits().str.strip_chars_start("0"),
        (_MISSING | _VALUE.str.contains("^(?:|9{6,}|1{6,})$"), "sentinel"),
        (malformed("^[0-9]{1,12}$"), "format"),
    )


def checked(raw: pl.Expr, value: pl.Expr, *cases: tuple[pl.Expr, str]) -> Standard:
    """`value`, made from `pl.field("_raw")`, where no case speaks against it.

    Args:
        raw: one column of text.
        value: the canonical form; the cases know it as `pl.field("_value")`.
        cases: conditions and the reason codes they give, the first that holds counts.
    """
    return let(
        raw,
        {"_value": value},
        {PROBLEM: first_reason(*cases)},
        {"": pl.when(field(PROBLEM).is_null()).then(_VALUE)},
    )


def malformed(form: str) -> pl.Expr:
    """Whether something was written that is not of the form."""
    return tidy(field("_raw")).is_not_null() & ~_VALUE.str.contains(form).fill_null(False)


def _code(raw: pl.Expr) -> pl.Expr:
    """Upper-case letters and digits without spaces and punctuation."""
    return none_if_empty(without_accents(present(raw).str.to_uppercase()).str.replace_all(r"[\s./\\-]", ""))


def _digits() -> pl.Expr:
    """As `_code`, with the ".0" taken off that a spreadsheet puts behind a number."""
    return _code(field("_raw").str.replace(r"^\s*([0-9]+)\.0+\s*$", "${1}"))


def _weighted(weights: range) -> pl.Expr:
    return pl.sum_horizontal(
        _VALUE.str.slice(place, 1).cast(pl.Int32, strict=False) * weight
        for place, weight in enumerate(weights)
    )


def _modulus_11() -> pl.Expr:
    """The check digit of NHS, CHI and H&C numbers; a remainder of 10 fits no digit."""
    expected = (11 - _weighted(range(10, 1, -1)) % 11) % 11
    return (expected == _VALUE.str.slice(9, 1).cast(pl.Int32, strict=False)).fill_null(False)


def _upn_letter_fits() -> pl.Expr:
    values = {letter: place for place, letter in enumerate(_UPN_LETTERS)} | {
        str(digit): digit for digit in range(10)
    }
    last = _VALUE.str.slice(12, 1).replace_strict(
        list(values), list(values.values()), default=None, return_dtype=pl.Int32
    )
    digits = [_VALUE.str.slice(place, 1).cast(pl.Int32, strict=False) * (place + 1) for place in range(1, 12)]
    remainder = (pl.sum_horizontal(digits) + 13 * last) % 23
    letter = remainder.replace_strict(
        list(range(23)), list(_UPN_LETTERS), default=None, return_dtype=pl.String
    )
    return (letter == _VALUE.str.slice(0, 1)).fill_null(False)
