"""Dates of birth.

Day before month, as the United Kingdom writes it; the American order only where the other is
impossible. A two-digit year below 30 is of this century. A date that cannot be keeps its eight
digits, since it is mostly one slip away from the right one, but has no day number.
"""

from __future__ import annotations

import datetime

import polars as pl
from polars import field

from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import is_missing, none_if_empty, present, tidy, without_accents

#: Two-digit years below this are 20yy. A constant, so that a link does not depend on the day it is made.
PIVOT = 30
#: Birth dates before this are implausible (Hospital Episode Statistics).
EARLIEST = datetime.date(1895, 1, 1)
#: What systems write for "no date"; 1 January of any other year may be somebody's birthday.
DEFAULTS = ("19000101", "19700101", "18991230", "18991231", "17530101", "00010101", "99991231", "00000000")

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_TIME = r"(?:[T ]+[0-9]{1,2}[:.][0-9]{2}.*)?$"
_YEAR_FIRST = r"^([0-9]{4})[-/. ]([0-9]{1,2})[-/. ]([0-9]{1,2})" + _TIME
_DAY_FIRST = r"^([0-9]{1,2})[-/. ]([0-9]{1,2})[-/. ]([0-9]{4}|[0-9]{2})" + _TIME
_DAY_WORD = (
    r"^([0-9]{1,2})(?:ST|ND|RD|TH)?[-/. ,]*(?:OF )?([A-Z]{3})[A-Z]*[-/. ,]*([0-9]{4}|[0-9]{2})" + _TIME
)
_WORD_DAY = r"^([A-Z]{3})[A-Z]*[-/. ]*([0-9]{1,2})(?:ST|ND|RD|TH)?[-/. ,]+([0-9]{4})" + _TIME
_EIGHT = r"^([0-9]{8})(?:\.0+)?" + _TIME


def date_of_birth(raw: pl.Expr, *, today: datetime.date | None = None) -> Standard:
    """'YYYYMMDD', its parts as text, `days` since 1970-01-01 (Int32) and `swapped` ('YYYYDDMM').

    `days` is null where there is no such day; a part that is not known is "00" in the whole and
    null by itself. Reasons: `default_date`, `partial_date`, `impossible_date`, `future_date` (after
    `today`), `implausible_date`, `format`.
    """
    digits, said = field("_digits"), field("")
    year, month, day = (said.str.slice(start, size) for start, size in ((0, 4), (4, 2), (6, 2)))
    epoch = datetime.date(1970, 1, 1)
    latest = ((today or datetime.datetime.now(tz=datetime.UTC).date()) - epoch).days
    return let(
        raw,
        {"_text": without_accents(present(field("_raw")).str.to_uppercase())},
        _readings(),
        _mended(),
        {"_digits": pl.coalesce(*(field(name) for name in _READINGS))},
        {"": pl.when(~digits.is_in(DEFAULTS)).then(digits)},
        {
            "days": pl.when(~said.str.starts_with("0000")).then(_days(said)),
            "year": year.replace("0000", None),
            "month": month.replace("00", None),
            "day": day.replace("00", None),
            "swapped": year + day + month,
        },
        {
            PROBLEM: first_reason(
                (is_missing(field("_raw")), "sentinel"),
                (digits.is_null() & tidy(field("_raw")).is_not_null(), "format"),
                (said.is_null() & digits.is_not_null(), "default_date"),
                (said.str.contains("^0000|^[0-9]{4}(?:0[1-9]|1[0-2])?00"), "partial_date"),
                (said.is_not_null() & field("days").is_null(), "impossible_date"),
                (field("days") > latest, "future_date"),
                (field("days") < (EARLIEST - epoch).days, "implausible_date"),
            )
        },
    )


def date_from_parts(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """A raw 'YYYY-MM-DD' from three columns of text; "00" stands for a part that is missing.

    Null where all three are missing. The month may be a number or a word.
    """
    y, m, d = (none_if_empty(_whole(part)) for part in (year, month, day))
    m = pl.coalesce(_month(m.str.slice(0, 3)), m)
    known = y.is_not_null() | m.is_not_null() | d.is_not_null()
    parts = [
        century(y).fill_null("0000").str.zfill(4),
        m.fill_null("00").str.zfill(2),
        d.fill_null("00").str.zfill(2),
    ]
    return pl.when(known).then(pl.concat_str(parts, separator="-"))


def _whole(part: pl.Expr) -> pl.Expr:
    return tidy(part).str.to_uppercase().str.replace(r"\.0+$", "")


def _month(word: pl.Expr) -> pl.Expr:
    numbers = [f"{number:02}" for number in range(1, 13)]
    return word.replace_strict(list(_MONTHS), numbers, default=None, return_dtype=pl.String)


def century(year: pl.Expr) -> pl.Expr:
    """A year of two digits in four."""
    tens = PIVOT // 10
    this, last = rf"^([0-{tens - 1}][0-9])$", "^([0-9][0-9])$"
    return year.str.replace(this, "20${1}").str.replace(last, "19${1}")


_READINGS = ("_iso", "_numeric", "_day_word", "_word_day", "_run", "_year_only")


def _readings() -> dict[str, pl.Expr]:
    """What each pattern reads, before anything is mended."""
    text = field("_text")
    day_first, day_word, word_day = (
        text.str.extract_groups(form) for form in (_DAY_FIRST, _DAY_WORD, _WORD_DAY)
    )
    iso = text.str.extract_groups(_YEAR_FIRST)
    eight = text.str.extract(_EIGHT, 1)
    return {
        "_iso": _joined(_group(iso, 1), _group(iso, 2), _group(iso, 3)),
        "_numeric": _joined(century(_group(day_first, 3)), _group(day_first, 2), _group(day_first, 1)),
        "_day_word": _joined(century(_group(day_word, 3)), _month(_group(day_word, 2)), _group(day_word, 1)),
        "_word_day": _joined(_group(word_day, 3), _month(_group(word_day, 1)), _group(word_day, 2)),
        "_run": eight,
        "_reverse": eight.str.slice(4, 4) + eight.str.slice(2, 2) + eight.str.slice(0, 2),
        "_year_only": text.str.extract(r"^((?:1[89]|20)[0-9]{2})(?:\.0+)?$", 1) + pl.lit("0000"),
    }


def _mended() -> dict[str, pl.Expr]:
    """The other order of day and month, or of day and year, where the usual one is impossible."""
    numeric, run, reverse = field("_numeric"), field("_run"), field("_reverse")
    american = numeric.str.contains("^[0-9]{4}(?:1[3-9]|[2-9][0-9])(?:0[1-9]|1[0-2])$")
    plausible = "^(?:1[89]|20)[0-9]{6}$"
    backward = (reverse.str.contains(plausible) & _days(reverse).is_not_null()) & ~(
        run.str.contains(plausible) & _days(run).is_not_null()
    )
    return {
        "_numeric": pl.when(american)
        .then(numeric.str.slice(0, 4) + numeric.str.slice(6, 2) + numeric.str.slice(4, 2))
        .otherwise(numeric),
        "_run": pl.when(backward).then(reverse).otherwise(run),
    }


def _group(groups: pl.Expr, number: int) -> pl.Expr:
    return groups.struct.field(str(number))


def _joined(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    return year + month.str.zfill(2) + day.str.zfill(2)


def _days(digits: pl.Expr) -> pl.Expr:
    return digits.str.to_date("%Y%m%d", strict=False).cast(pl.Int32)
