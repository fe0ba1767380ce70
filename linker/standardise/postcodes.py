"""Postcodes of the United Kingdom.

Pseudo-postcodes (no fixed abode, not known, other countries) pass the syntax and say nothing: they
are missing. A malformed postcode keeps its text, since a slip of one letter still finds its
neighbour; its parts are given as far as they are well formed.
"""

from __future__ import annotations

import polars as pl
from polars import field

from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import is_missing, none_if_empty, tidy, without_accents

# ILR specification, appendix C: which letter may stand where.
_OUTWARD = (
    "(?:[A-PR-UWYZ][0-9][0-9]?|[A-PR-UWYZ][A-HK-Y][0-9][0-9]?"
    "|[A-PR-UWYZ][0-9][ABCDEFGHJKPSTUW]|[A-PR-UWYZ][A-HK-Y][0-9][ABEHMNPRVWXY])"
)
_INWARD = "[0-9][ABD-HJLNP-UW-Z]{2}"
_SPECIAL = (
    "GIR0AA|SANTA1|XM45HQ|BFPO[0-9]{1,4}|GX111AA|(?:ASCN|BBND|BIQQ|FIQQ|PCRN|SIQQ|STHL|TDCU|TKCA)(?:1ZZ)?"
)
_WHOLE = rf"^(?:{_OUTWARD}{_INWARD}|{_SPECIAL})$"
# Office for National Statistics ZZ99 …; the justice system's "no fixed abode"; fillers.
_PSEUDO = "^(?:ZZ[0-9].*|NF11NF|NF11FA|A{3,}|X{3,}|Z{3,}|0+|9+|NFA|NOFIXEDABODE)$"
_TO_LETTER = {"0": "O", "1": "I"}
_TO_DIGIT = {"O": "0", "I": "1", "L": "1"}


def postcode(raw: pl.Expr) -> Standard:
    """'CB30AP', its outcode 'CB3', sector 'CB30' and area 'CB'."""
    return let(raw, *_steps())


def partial_postcode(raw: pl.Expr) -> Standard:
    """As much of a postcode as a register that does not hold the whole gives away: 'CB14' or 'CB144'.

    The value is the sector where it is known, else the outcode; a whole postcode is cut down to its sector.
    """
    return let(
        raw,
        *_steps(),
        {"": pl.coalesce(field("sector"), field("outcode"))},
        {PROBLEM: pl.when(field("").is_null()).then(field(PROBLEM))},
    )


def _steps() -> tuple[dict[str, pl.Expr], ...]:
    code, usable, regular = field("_code"), field("_usable"), field("_regular")
    # A register of partial postcodes holds outcodes or sectors; "M1 1" is a sector, "M11" an outcode.
    spaced = field("_raw").str.contains(r"[0-9A-Za-z]\s+[0-9]\s*$")
    return (
        *_repairs(),
        {"_usable": pl.when(~code.str.contains(_PSEUDO)).then(code)},
        {
            "": pl.when(usable.str.contains("^[A-Z0-9]{5,8}$")).then(usable),
            "_regular": pl.when(~usable.str.contains(rf"^(?:{_SPECIAL})$")).then(usable),
        },
        {
            "sector": pl.coalesce(
                regular.str.extract(rf"^({_OUTWARD}[0-9])[A-Z]{{2}}$", 1),
                pl.when(spaced).then(regular.str.extract(rf"^({_OUTWARD}[0-9])$", 1)),
            )
        },
        {
            "outcode": pl.coalesce(
                field("sector").str.extract("^(.+).$", 1),
                regular.str.extract(rf"^({_OUTWARD})(?:[0-9][A-Z0-9]{{2}})?$", 1),
            )
        },
        {
            "area": field("outcode").str.extract("^([A-Z]+)", 1),
            "_well_formed": code.str.contains(_WHOLE),
            PROBLEM: first_reason(
                (code.str.contains(_PSEUDO), "pseudo_postcode"),
                (is_missing(field("_raw")), "sentinel"),
                (~code.str.contains(_WHOLE) & field("outcode").is_null(), "format"),
                (~code.str.contains(_WHOLE) & field("").is_not_null(), "format"),
                (code.is_null() & tidy(field("_raw")).is_not_null(), "format"),
            ),
        },
    )


def is_postcode(raw: pl.Expr) -> pl.Expr:
    """Whether a value is a well-formed postcode, pseudo-postcodes included; null for null."""
    return postcode(raw).part("_well_formed")


def _repairs() -> tuple[dict[str, pl.Expr], ...]:
    """No spaces, upper case, letters and digits put right where only one of them can stand.

    The inward part is a digit and two letters. The first of the outward part is a letter; what may
    stand behind it depends on its length, so the readings are tried in turn and the first that makes
    a postcode is taken.
    """
    code, head = field("_code"), field("_head")
    inward = code.str.extract("(.)..$", 1).str.replace_many(_TO_DIGIT) + code.str.extract(
        "(..)$", 1
    ).str.replace_many(_TO_LETTER)
    first, second, third, rest = (
        head.str.slice(start, size) for start, size in ((0, 1), (1, 1), (2, 1), (3, None))
    )
    letter_first = first.str.replace_many(_TO_LETTER)
    digit_second, digit_third = second.str.replace_many(_TO_DIGIT), third.str.replace_many(_TO_DIGIT)
    letter_second, digit_rest = second.str.replace_many(_TO_LETTER), rest.str.replace_many(_TO_DIGIT)
    readings = {
        "_as_written": letter_first + second + third + rest,
        "_digits_last": letter_first + second + digit_third + digit_rest,
        "_digit_second": letter_first + digit_second + third + rest,
        "_digit_both": letter_first + digit_second + digit_third + rest,
        "_letters_first": letter_first + letter_second + digit_third + rest,
        "_letters_and_digits": letter_first + letter_second + digit_third + digit_rest,
    }
    fitting = {
        name: pl.when((reading + field("_inward")).str.contains(_WHOLE)).then(reading + field("_inward"))
        for name, reading in readings.items()
    }
    written = pl.when(code.str.contains(_WHOLE)).then(code)
    return (
        {
            "_code": none_if_empty(
                without_accents(field("_raw").str.to_uppercase()).str.replace_all("[^A-Z0-9]", "")
            )
        },
        {"_head": code.str.extract("^(.{2,4})...$", 1), "_inward": inward},
        {"_code": pl.coalesce(written, *fitting.values(), code)},
    )
