"""Standardisation: from what somebody typed to values that can be compared.

    table(kind, values)  → the canonical value and the derived parts of a column, as a frame
    parts(kind, raw)     → the same one by one, as expressions
    problem(kind, raw)   → why a value that is present is set aside, as a reason code

Null is missing, and what says nothing (sentinels, pseudo-values, junk) becomes null.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import polars as pl

from linker.records import Kind
from linker.standardise import addresses, contacts, dates, identifiers, names, police, postcodes
from linker.standardise.dates import date_from_parts
from linker.standardise.steps import PROBLEM, Standard

__all__ = ["date_from_parts", "part_names", "parts", "problem", "standard_of", "table"]

_STANDARDS: dict[Kind, Callable[[pl.Expr], Standard]] = {
    Kind.FORENAME: names.forename,
    Kind.MIDDLE_NAME: names.forename,
    Kind.SURNAME: names.surname,
    Kind.FULL_NAME: names.full_name,
    Kind.DATE_OF_BIRTH: dates.date_of_birth,
    Kind.SEX: contacts.sex,
    Kind.HOUSE: addresses.house,
    Kind.ADDRESS_LINE: addresses.address_line,
    Kind.ADDRESS: addresses.address,
    Kind.TOWN: addresses.town,
    Kind.POSTCODE: postcodes.postcode,
    Kind.UPRN: identifiers.uprn,
    Kind.NHS_NUMBER: identifiers.nhs_number,
    Kind.CHI: identifiers.chi,
    Kind.HC_NUMBER: identifiers.hc_number,
    Kind.NINO: identifiers.nino,
    Kind.UPN: identifiers.upn,
    Kind.ULN: identifiers.uln,
    Kind.PNCID: police.pncid,
    Kind.CRO: police.cro,
    Kind.EMAIL: contacts.email,
    Kind.PHONE: contacts.phone,
    Kind.CATEGORY: contacts.category,
    Kind.TEXT: contacts.text,
    Kind.NUMBER: contacts.number,
    Kind.HOUSEHOLD: contacts.identifier,
    Kind.PROTECTED: contacts.category,
    Kind.IDENTIFIER: contacts.identifier,
    Kind.INITIALS: names.initials,
    Kind.PARTIAL_POSTCODE: postcodes.partial_postcode,
    Kind.LOCAL_AUTHORITY: contacts.local_authority,
}


def standard_of(kind: Kind, raw: pl.Expr) -> Standard:
    """The standardisation of a kind, as steps."""
    return _STANDARDS[kind](raw)


@cache
def _of_column(kind: Kind) -> Standard:
    # Only for its parts: what is a problem depends on the day.
    return standard_of(kind, pl.col("raw"))


def part_names(kind: Kind) -> tuple[str, ...]:
    """The names of a kind's parts."""
    return _of_column(kind).names


def table(kind: Kind, values: pl.Series) -> pl.DataFrame:
    """The parts of every value of `kind`: as `parts`, with the steps that they share done once.

    Args:
        kind: what the column is about.
        values: text; null is missing. Distinct values make the least work.

    Returns:
        One column a part, as many rows as there are values.
    """
    standard = _of_column(kind)
    made = values.cast(pl.String).alias("raw").to_frame().select(standard.whole.alias("made"))
    return made.unnest("made").select(standard.names)


def parts(kind: Kind, raw: pl.Expr) -> dict[str, pl.Expr]:
    """The parts of a value of `kind`, by name; "" is the canonical value.

    Args:
        kind: what the column is about.
        raw: one column of text; null is missing.

    Returns:
        Expressions of the same length. All give text, except `days` (Int32), a number's ""
        (Float64), and `tokens` and `nickname` (lists of text). A full name has no "".
    """
    standard = standard_of(kind, raw)
    return {name: standard.part(name) for name in standard.names}


def problem(kind: Kind, raw: pl.Expr) -> pl.Expr:
    """A reason code (text) where a value is present but set aside in whole or in part, else null.

    Codes: `sentinel`, `format`, `check_digit`, `not_allocated`, `pseudo_postcode`, `junk_name`,
    `default_date`, `partial_date`, `impossible_date`, `future_date`, `implausible_date`,
    `no_fixed_abode`.

    Args:
        kind: what the column is about.
        raw: one column of text; null and blank are missing, not problems.
    """
    reason = standard_of(kind, raw).part(PROBLEM)
    return pl.when(raw.cast(pl.String).str.strip_chars() != "").then(reason)
