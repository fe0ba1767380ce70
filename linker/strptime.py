"""Dates and times from text as DuckDB's `try_strptime` reads them, as seconds since 1970.

It is laxer than most: spaces around the text, one digit where two are usual, a year of one to four digits.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import polars as pl

from linker.errors import ModelError

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
)  # fmt: skip
_SPACE = r"[ \t\n\x0b\x0c\r]"
# %:z is no directive of strptime: Z or an offset, as Spark's XXX.
_DIRECTIVES = {
    "%Y": r"(?P<Y>[0-9]{1,4})",
    "%y": r"(?P<y>[0-9]{1,2})",
    "%m": r"(?P<m>[0-9]{1,2})",
    "%d": r"(?P<d>[0-9]{1,2})",
    "%H": r"(?P<H>[0-9]{1,2})",
    "%M": r"(?P<M>[0-9]{1,2})",
    "%S": r"(?P<S>[0-9]{1,2})",
    "%f": r"(?P<f>[0-9]{1,6})",
    "%b": f"(?P<b>(?i:{'|'.join(name[:3] for name in _MONTHS)}))",
    "%B": f"(?P<b>(?i:{'|'.join(_MONTHS)}))",
    "%:z": r"(?P<z>Z|[+-][0-9]{2}:[0-9]{2})",
}


# DuckDB's words for special dates: no format has a field for them, so that all of them are its first of 1900.
_WORDS = f"^{_SPACE}*(?i:-?infinity|epoch){_SPACE}*$"
_OF_WORDS = -2208988800 * 1_000_000


def pattern_of(form: str) -> str:
    """The regular expression of the texts that a format reads.

    Raises:
        ModelError: names the directive that is not known.
    """
    pattern = ""
    pieces = re.findall(r"%:?.|\s+|.", form, re.DOTALL)
    for piece, after in itertools.zip_longest(pieces, pieces[1:], fillvalue=""):
        if piece.isspace():
            pattern += f"{_SPACE}+"
        elif piece.startswith("%"):
            if piece not in _DIRECTIVES or _DIRECTIVES[piece] in pattern:
                raise ModelError(f"The date format '{form}' has a part that is not read: {piece}.")
            # As many digits as may be are taken, so that digits are left for what follows at once.
            digits = _DIRECTIVES[piece]
            pattern += digits.replace("{1,", "{") if after in _DIRECTIVES else digits
        else:
            pattern += re.escape(piece)
    return f"^{_SPACE}*{pattern}{_SPACE}*$"


def seconds_of(texts: pl.Series, form: str) -> pl.Series:
    """Seconds since 1970, Float64; null where the text does not fit the format or is no date."""
    groups = texts.to_frame("text").select(pl.col("text").str.extract_groups(pattern_of(form)).alias("found"))
    there = [field.name for field in groups.schema["found"].fields]  # type: ignore[attr-defined]

    def number(name: str, otherwise: int) -> pl.Expr:
        if name not in there:
            return pl.lit(otherwise, pl.Int64)
        return pl.col("found").struct.field(name).cast(pl.Int64)

    year, month = number("Y", 1900), number("m", 1)
    if "y" in there:
        year = pl.when(number("y", 0) < 69).then(number("y", 0) + 2000).otherwise(number("y", 0) + 1900)
    if "b" in there:
        words = pl.col("found").struct.field("b").str.to_lowercase().str.slice(0, 3)
        month = words.replace_strict([name[:3] for name in _MONTHS], range(1, 13), return_dtype=pl.Int64)
    fraction = pl.lit(0, pl.Int64)
    if "f" in there:
        fraction = pl.col("found").struct.field("f").str.pad_end(6, "0").cast(pl.Int64)
    made = groups.with_columns(Y=year, m=month, d=number("d", 1)).with_columns(
        H=number("H", 0), M=number("M", 0), S=number("S", 0), f=fraction, z=_offset("z" in there)
    )
    seconds = _days() * 86400 + pl.col("H") * 3600 + pl.col("M") * 60 + pl.col("S") - pl.col("z")
    in_day = (pl.col("H") < 24) & (pl.col("M") < 60) & (pl.col("S") < 60)
    micros = made.select(pl.when(_is_date() & in_day).then(seconds * 1_000_000 + pl.col("f"))).to_series()
    return from_micros(micros.set(texts.str.contains(_WORDS).fill_null(False), _OF_WORDS))


def from_micros(micros: pl.Series) -> pl.Series:
    """Seconds of microseconds, to the last bit: Polars would multiply by the inverse of a million."""
    seconds = pl.Series(np.divide(micros.fill_null(0).to_numpy(), 1e6))
    return seconds.set(micros.is_null(), None)


def _offset(there: bool) -> pl.Expr:
    if not there:
        return pl.lit(0, pl.Int64)
    text = pl.col("found").struct.field("z")
    hours, minutes = (text.str.slice(at, 2).cast(pl.Int64, strict=False) for at in (1, 4))
    seconds = hours * 3600 + minutes * 60
    return pl.when(text == "Z").then(0).when(text.str.starts_with("-")).then(-seconds).otherwise(seconds)


def _is_date() -> pl.Expr:
    """Whether Y, m and d are a day of the calendar."""
    leap = ((pl.col("Y") % 4 == 0) & (pl.col("Y") % 100 != 0)) | (pl.col("Y") % 400 == 0)
    longest = (
        pl.when(pl.col("m") == 2)
        .then(28 + leap.cast(pl.Int64))
        .otherwise(30 + (pl.col("m") + pl.col("m") // 8) % 2)
    )
    return pl.col("m").is_between(1, 12) & (pl.col("d") >= 1) & (pl.col("d") <= longest)


def _days() -> pl.Expr:
    """Days since 1970 of Y, m and d, by Hinnant's civil-to-days; a year from 0 to 9999."""
    year = pl.col("Y") - (pl.col("m") <= 2).cast(pl.Int64)
    era = year.floordiv(400)
    of_era = year - era * 400
    of_year = (153 * ((pl.col("m") + 9) % 12) + 2) // 5 + pl.col("d") - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
