"""PNCID and CRO: the numbers of the Police National Computer and the Criminal Records Office.

Both end in a letter that checks year and serial number, modulo 23.
"""

from __future__ import annotations

import polars as pl
from polars import field

from linker.standardise.dates import century
from linker.standardise.identifiers import malformed
from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import is_missing, present

_LETTERS = "ZABCDEFGHJKLMNPQRTUVWXY"
_TEXT = {"_text": present(field("_raw")).str.to_uppercase().str.replace_all(r"[\s-]", "")}
_SHORT = "^([0-9]{2})/?([0-9]{1,7})([A-Z])$"
# Without a stroke, ten digits and more can only begin with a whole year.
_LONG = "^([0-9]{4})(?:/([0-9]{1,7})|([0-9]{6,7}))([A-Z])$"
_STANDARD = "^([0-9]{1,6})/([0-9]{2})([A-Z])$"
_FILE = "^SF([0-9]{2})/?([0-9]{1,6})([A-Z])$"


def pncid(raw: pl.Expr) -> Standard:
    """'YYYY/NNNNNNND'; the short forms 'YY/N…D' and 'YYN…D' are widened."""
    text, year, serial = field("_text"), field("_year"), field("_serial")
    return let(
        raw,
        _TEXT,
        {
            "_year": pl.coalesce(text.str.extract(_LONG, 1), century(text.str.extract(_SHORT, 1))),
            "_serial": pl.coalesce(
                text.str.extract(_LONG, 2), text.str.extract(_LONG, 3), text.str.extract(_SHORT, 2)
            ).str.zfill(7),
            "_letter": text.str.extract("([A-Z])$", 1),
        },
        {"_value": year + pl.lit("/") + serial + field("_letter"), "_checked": year.str.slice(2, 2) + serial},
        *_verdict("0000000", "^(?:18|19|20)[0-9]{2}/"),
    )


def cro(raw: pl.Expr) -> Standard:
    """'NNNNNN/YYD', or 'SFYY/N…D' of the separate file, whose serial is not padded."""
    text = field("_text")
    year, file_year = text.str.extract(_STANDARD, 2), text.str.extract(_FILE, 1)
    serial, file_serial = text.str.extract(_STANDARD, 1).str.zfill(6), text.str.extract(_FILE, 2)
    letter = field("_letter")
    return let(
        raw,
        _TEXT,
        {
            "_serial": pl.coalesce(serial, file_serial),
            "_letter": text.str.extract("([A-Z])$", 1),
            "_checked": pl.coalesce(year + serial, file_year + file_serial),
        },
        {
            "_value": pl.coalesce(
                serial + pl.lit("/") + year + letter,
                pl.lit("SF") + file_year + pl.lit("/") + file_serial + letter,
            )
        },
        *_verdict("0+", "/"),
    )


def _verdict(nothing: str, form: str) -> tuple[dict[str, pl.Expr], ...]:
    """Sentinel serials, the form, then the letter against year and serial."""
    place = field("_checked").cast(pl.Int64, strict=False) % 23
    letter = place.replace_strict(list(range(23)), list(_LETTERS), default=None, return_dtype=pl.String)
    return (
        {
            PROBLEM: first_reason(
                (is_missing(field("_raw")) | field("_serial").str.contains(f"^{nothing}$"), "sentinel"),
                (malformed(form), "format"),
                (~(letter == field("_letter")).fill_null(False), "check_digit"),
            )
        },
        {"": pl.when(field(PROBLEM).is_null()).then(field("_value"))},
    )
