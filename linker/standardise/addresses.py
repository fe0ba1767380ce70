"""Addresses: house, flat, street, town, and a whole address in one column.

Postcodes have a module of their own. Abbreviations are written out to one form ("RD" → "ROAD");
"ST" is a street at the end of a line and a saint before a name.
"""

from __future__ import annotations

from functools import cache

import polars as pl
from polars import field

from linker.standardise.postcodes import postcode
from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import (
    clean,
    is_missing,
    none_if_empty,
    present,
    rows,
    soundex,
    tidy,
    tokens,
    upper,
)

_UNIT = r"(?:FLAT|FLT|APARTMENT|APPT|APT|UNIT|ROOM|RM|SUITE|STUDIO|MAISONETTE|BEDSIT|FL)"
FLAT = rf"\b{_UNIT}\.?\s*(?:NO\.?\s*|NUMBER\s*)?([0-9]+[A-Z]?|[A-Z][0-9]*)\b"
# Scotland and Australia write 2/14 for flat 2 at number 14.
FLAT_STROKE = r"^\s*([0-9]+[A-Z]?)\s*/\s*[0-9]+[A-Z]?\b"
_NUMBER = (
    r"(?:^|[,;]\s*|\s)(?:NO\.?\s*|NUMBER\s*)?"
    r"([0-9]+(?:\s?[A-H]\b|[A-Z]\b)?(?:\s*-\s*[0-9]+[A-Z]?\b)?)(?:[\s,;]|$)"
)
_NO_HOME = r"\b(?:NO FIXED (?:ABODE|ADDRESS)|NFA|OF NO FIXED|HOMELESS|ADDRESS UNKNOWN)\b"
POSTCODE_LAST = (
    r"\b([A-Z]{1,2}[0-9OI][0-9A-Z]?\s*[0-9OI][A-Z]{2})\s*[,.]?\s*"
    r"(?:,\s*(?:UK|UNITED KINGDOM|ENGLAND|SCOTLAND|WALES|NORTHERN IRELAND))?$"
)


def house(raw: pl.Expr) -> Standard:
    """House number ('14A') or name, and the flat ('2') where one is written with it."""
    return let(
        raw,
        *_lines(field("_raw")),
        {"": pl.coalesce(field("_number"), full_words(field("_rest")))},
        _home_problem(),
    )


def address_line(raw: pl.Expr) -> Standard:
    """One line of an address: whole, house, flat, street (what is left) and words."""
    return let(raw, *_lines(field("_raw")), *_line_parts(), {"": full_words(field("_line"))}, *_last())


def address(raw: pl.Expr) -> Standard:
    """A whole address in one column: house, flat, street, town, postcode and words.

    The town is told only where commas part the lines; counties and countries are passed over.
    """
    counties = "|".join(row["word"] for row in rows("places.csv"))
    line, without, last = field("_line"), field("_without"), field("_last")
    several = pl.when(last.is_not_null()).then(without.str.replace(r",[^,]*$", "")).otherwise(without)
    return let(
        raw,
        *_lines(field("_raw")),
        {"": full_words(line), "postcode": postcode(line.str.extract(POSTCODE_LAST, 1)).part("")},
        {
            "_without": line.str.replace(POSTCODE_LAST, "")
            .str.strip_chars(" ,.;")
            .str.replace(rf"(?:\s*,\s*(?:{counties}))+$", "")
        },
        {"_last": without.str.extract(r",\s*([^,0-9]+)$", 1)},
        {"_line": several, "town": _town(last)},
        *_line_steps(),
        *_line_parts(),
        # The street of an address of several lines ends at the comma.
        {
            "street": pl.coalesce(
                full_words(field("_rest").str.extract(_NUMBER + r"\s*([^,]*\p{L}[^,]*)", 2)), field("street")
            )
        },
        {"tokens": tokens(full_words(without))},
        _home_problem(),
    )


def town(raw: pl.Expr) -> Standard:
    """Cleaned town; "near …" is taken for the place itself, SAINT is written ST."""
    return let(raw, {"": _town(_at_home(field("_raw")))}, {"soundex": soundex(field(""))}, _home_problem())


def _town(name: pl.Expr) -> pl.Expr:
    text = clean(name.str.replace_all("&", " and ")).str.replace(r"^(?:NR|NEAR) ", "")
    return text.str.replace_all(r"\bSAINT\b", "ST").str.replace_all(r"\bUPON\b", "ON")


def _home_problem() -> dict[str, pl.Expr]:
    return {
        PROBLEM: first_reason(
            (upper(field("_raw")).str.contains(_NO_HOME), "no_fixed_abode"),
            (is_missing(field("_raw")), "sentinel"),
        )
    }


def _at_home(raw: pl.Expr) -> pl.Expr:
    return pl.when(~upper(raw).str.contains(_NO_HOME)).then(present(raw))


def _lines(raw: pl.Expr) -> tuple[dict[str, pl.Expr], ...]:
    """`_line` (see `folded`) and its pieces."""
    return ({"_line": folded(raw)}, *_line_steps())


def folded(raw: pl.Expr) -> pl.Expr:
    """Upper case and folded, with the commas, strokes and the dashes of number ranges; null for no home."""
    text = _at_home(raw).str.replace_all(r"([0-9][A-Za-z]?)\s*[-–]\s*([0-9])", "${1}~${2}")
    return tidy(
        upper(text).str.replace_all("~", "-").str.replace_all(r"[\r\n;|]+", ",").str.strip_chars(" ,.")
    )


def _line_steps() -> tuple[dict[str, pl.Expr], ...]:
    """Flat, `_rest` (the line without it) and `_number` of `_line`."""
    line = field("_line")
    stroke = line.str.replace(r"^\s*[0-9]+[A-Z]?\s*/\s*([0-9]+[A-Z]?\b)", "${1}")
    number = field("_rest").str.extract(_NUMBER, 1).str.replace_all(r"\s", "")
    return (
        {
            "flat": pl.coalesce(line.str.extract(FLAT, 1), line.str.extract(FLAT_STROKE, 1)),
            "_rest": none_if_empty(stroke.str.replace(FLAT, " ").str.strip_chars(" ,.")),
        },
        {"_number": number.str.replace(r"^0+([0-9])", "${1}")},
    )


def _line_parts() -> tuple[dict[str, pl.Expr], ...]:
    """House and street of `_rest`."""
    rest, number, name = field("_rest"), field("_number"), field("_name")
    after = (
        pl.when(number.is_not_null())
        .then(rest.str.extract(_NUMBER + r"\s*(.*)$", 2))
        .when(name.is_not_null())
        .then(rest.str.extract(r"^[^,]*,(.*)$", 1))
        .otherwise(rest)
    )
    return (
        {"_name": pl.when(number.is_null()).then(rest.str.extract(r"^([^,]*\p{L}[^,]*),", 1))},
        {"house": pl.coalesce(number, full_words(name)), "street": full_words(after)},
    )


def _last() -> tuple[dict[str, pl.Expr], ...]:
    return {"tokens": tokens(field(""))}, _home_problem()


def full_words(line: pl.Expr) -> pl.Expr:
    """Words of a line in their full forms; null where nothing is left."""
    text = line.str.replace_all(r"\bST\.?((?: (?:NORTH|SOUTH|EAST|WEST))?\s*(?:,|$))", "STREET${1}")
    text = text.str.replace_all(r"\bSAINT\b", "ST").str.replace_all("&", " AND ")
    # Two spaces between words, so that neighbouring words do not share the one they are bounded by.
    spaced = pl.lit(" ") + text.str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "  ") + pl.lit(" ")
    full = _abbreviations()
    return tidy(spaced.str.replace_many(list(full), list(full.values())))


@cache
def _abbreviations() -> dict[str, str]:
    return {f" {row['short']} ": f" {row['full']} " for row in rows("streets.csv")}
