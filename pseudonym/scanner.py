"""Values that look like something by which a person is known: for stores that must hold none of them.

    column ──▶ one test a kind, anywhere in the text ──▶ findings: column, kind, how many rows

Everything is a Polars expression; no value appears in a finding. The tests are meant to find: some harmless
codes pass them too. One in eleven random ten-digit numbers passes the check of an NHS number, another one in
eleven that of a learner number, and one in 27 numbers of six digits is a day, a month and two digits of a
year; `Finding.like_chance` says when a column has no more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Sort(StrEnum):
    """What a value looks like."""

    NHS = "NHS number"
    NINO = "National Insurance number"
    UPN = "unique pupil number"
    ULN = "unique learner number"
    PNCID = "PNC number"
    POSTCODE = "postcode"
    EMAIL = "e-mail address"
    TELEPHONE = "telephone number"
    DATE = "full date"
    SHORT_DATE = "date in digits"


@dataclass(frozen=True, slots=True)
class Finding:
    """That some values of a column look like identifiers.

    Attributes:
        column: its name.
        sort: what they look like.
        rows: how many.
        of_the_form: how many have the form at all, check digits aside.
    """

    column: str
    sort: Sort
    rows: int
    of_the_form: int

    @property
    def like_chance(self) -> bool:
        """Whether ordinary numbers of that length would do the same: by check digit, in a long column."""
        if self.sort not in _CHANCES or self.of_the_form < 50:
            return False
        expected = self.of_the_form * _CHANCES[self.sort]
        return bool(self.rows <= expected + 4 * expected**0.5)


_CHANCES = {Sort.NHS: 1 / 11, Sort.ULN: 1 / 11, Sort.SHORT_DATE: 31 * 12 / 10_000}
_UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"
_PNC_LETTERS = "ZABCDEFGHJKLMNPQRTUVWXY"
_AREAS = (
    "AB|AL|BA|BB|BD|BF|BH|BL|BN|BR|BS|BT|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH|DL|DN|DT|DY|EC|EH|EN|EX|FK|FY"
    "|GL|GU|GY|HA|HD|HG|HP|HR|HS|HU|HX|IG|IM|IP|IV|JE|KA|KT|KW|KY|LA|LD|LE|LL|LN|LS|LU|ME|MK|ML|NE|NG|NN|NP|NR|NW|OL"
    "|OX|PA|PE|PH|PL|PO|PR|RG|RH|RM|SA|SE|SG|SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|TA|TD|TF|TN|TQ|TR|TS|TW|UB|WA|WC|WD|WF"
    "|WN|WR|WS|WV|YO|ZE|B|E|G|L|M|N|S|W"
)
_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_YEAR = "(?:18[5-9][0-9]|19[0-9]{2}|20[0-4][0-9])"
_MONTH = "(?:0?[1-9]|1[0-2])"
_DAY = "(?:0?[1-9]|[12][0-9]|3[01])"
_FORMS: dict[Sort, str] = {
    Sort.NHS: r"\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}\b",
    Sort.ULN: r"\b[1-9][0-9]{9}\b",
    # HMRC's letters; prefixes that were never given out are taken away afterwards.
    Sort.NINO: r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[ -]?[0-9]{2}){3}(?:[ -]?[A-D])?\b",
    Sort.UPN: rf"\b[{_UPN_LETTERS}][0-9]{{11}}[0-9{_UPN_LETTERS}]\b",
    Sort.PNCID: r"\b(?:(?:18|19|20)[0-9]{2}/?[0-9]{7}|[0-9]{2}/[0-9]{1,7})[A-HJ-NP-RT-Z]\b",
    Sort.POSTCODE: rf"\b(?:(?:{_AREAS})[0-9][0-9A-Z]? ?[0-9][ABD-HJLNP-UW-Z]{{2}}|GIR ?0AA)\b",
    Sort.EMAIL: r"[A-Z0-9._%+'-]+@[A-Z0-9-]+(?:\.[A-Z0-9-]+)*\.[A-Z]{2,}\b",
    # Noughts before 1, 2, 3, 7 and 8 as Ofcom numbers them, or any number with its country; and what is left
    # of these where a column of numbers took nought and plus away, but for landlines without their nought,
    # which nearly half of all numbers of ten digits could be.
    Sort.TELEPHONE: (
        r"(?:^|[^0-9A-Z+.])(?:(?:\(?(?:\+|00)44\)?[ -]?(?:\(0\))?[ -]?|\(?0)[12378][0-9]{1,4}\)?"
        r"(?:[ -]?[0-9]){6,9}|\+[1-9](?:[ -]?[0-9]){8,13})(?:$|[^0-9])"
        r"|^44[12378][0-9]{9}$|^7[1-57-9][0-9]{8}$"
    ),
    Sort.DATE: (
        rf"\b(?:{_YEAR}[-/. ]{_MONTH}[-/. ]{_DAY}|{_DAY}[-/. ]{_MONTH}[-/. ](?:{_YEAR}|[0-9]{{2}})"
        rf"|{_DAY}(?:ST|ND|RD|TH)?[-/. ]?(?:{_MONTHS})[A-Z]*[-/.,]? ?(?:{_YEAR}|[0-9]{{2}})"
        rf"|(?:{_MONTHS})[A-Z]* {_DAY}(?:ST|ND|RD|TH)?,? {_YEAR})(?:\b|T)"
        rf"|^{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])$"
    ),
    Sort.SHORT_DATE: "^[0-9]{6,8}$",
}
_NINO_UNUSED = "^(?:BG|GB|KN|NK|NT|TN|ZZ)"


def looks_like(sort: Sort, text: pl.Expr) -> pl.Expr:
    """Whether a text holds something of a sort, anywhere in it; null for null.

    Args:
        sort: what to look for.
        text: a column of text.
    """
    upper = text.str.to_uppercase()
    has_form = upper.str.contains(_FORMS[sort])
    check = _CHECKS.get(sort)
    if check is None:
        return has_form
    each = pl.element().str.replace_all("[^A-Z0-9]", "")
    held = pl.when(has_form).then(upper.str.extract_all(_FORMS[sort]))
    return pl.when(has_form).then(held.list.eval(check(each)).list.any()).otherwise(has_form)


def short_dates(text: pl.Expr) -> pl.Expr:
    """Which of a column's texts are days in digits (DDMMYY, DDMMYYYY): if more than a quarter of such are.

    Ordinary numbers of six digits have that form one time in 27, days of birth always: the column tells.
    """
    short = looks_like(Sort.SHORT_DATE, text)
    return short & (4 * short.sum() > text.str.contains(_FORMS[Sort.SHORT_DATE]).sum())


def scan(frame: pl.DataFrame) -> list[Finding]:
    """Look through every column of a frame.

    Text and numbers are looked at as they would be written; columns of days or moments are full dates
    outright. Lists and structs are looked into.

    Returns:
        What was found, by column; nothing for what is clean.
    """
    findings: list[Finding] = []
    for column in frame.iter_columns():
        findings += _scan_column(column.name, column)
    return findings


def _scan_column(name: str, column: pl.Series) -> list[Finding]:
    if isinstance(column.dtype, pl.List | pl.Array):
        return _scan_column(name, column.explode())
    if isinstance(column.dtype, pl.Struct):
        return [
            found for part in column.struct.unnest() for found in _scan_column(f"{name}.{part.name}", part)
        ]
    present = len(column) - column.null_count()
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return [Finding(name, Sort.DATE, present, present)] if present else []
    if column.dtype in (pl.Boolean, pl.Null) or column.dtype.is_temporal():
        return []
    texts = _texts(column).rename("text").to_frame().lazy()
    counted = texts.select(
        expression.sum().alias(f"{what}:{sort.value}")
        for sort in Sort
        for what, expression in (
            ("rows", looks_like(sort, pl.col("text"))),
            ("form", pl.col("text").str.to_uppercase().str.contains(_FORMS[sort])),
        )
    ).collect()
    numbers = counted.row(0, named=True)
    return [
        Finding(name, sort, rows, numbers[f"form:{sort.value}"])
        for sort in Sort
        if (rows := numbers[f"rows:{sort.value}"])
    ]


def _texts(column: pl.Series) -> pl.Series:
    """Values as text; a number that a spreadsheet made 9434765919.0 is a whole one again."""
    if column.dtype.is_float():
        number = column.fill_nan(None)
        whole = pl.when((number.round(0) == number) & (number.abs() < 1e15)).then(number)
        return pl.select(
            pl.coalesce(whole.cast(pl.Int64, strict=False).cast(pl.String), number.cast(pl.String))
        ).to_series()
    if column.dtype == pl.Binary:
        return column.cast(pl.String, strict=False)
    return column.cast(pl.String)


def _digit(code: pl.Expr, place: int) -> pl.Expr:
    return code.str.slice(place, 1).cast(pl.Int32, strict=False)


def _nhs(code: pl.Expr) -> pl.Expr:
    total = pl.sum_horizontal(_digit(code, place) * (10 - place) for place in range(9))
    issued = code.str.contains("^(?:[0-3]|4|6|7|8[0-5]|9)") & ~code.str.contains(_ONE_DIGIT)
    return ((11 - total % 11) % 11 == _digit(code, 9)) & issued


def _uln(code: pl.Expr) -> pl.Expr:
    total = pl.sum_horizontal(_digit(code, place) * (10 - place) for place in range(10))
    return (total % 11 == 10) & ~code.str.contains(_ONE_DIGIT)


_ONE_DIGIT = "^(?:" + "|".join(f"{digit}{{10}}" for digit in range(10)) + ")$"


def _nino(code: pl.Expr) -> pl.Expr:
    return ~code.str.contains(_NINO_UNUSED)


def _upn(code: pl.Expr) -> pl.Expr:
    last = code.str.slice(12, 1)
    value = pl.coalesce(last.cast(pl.Int32, strict=False), _place(last, _UPN_LETTERS))
    total = pl.sum_horizontal(_digit(code, place) * (place + 1) for place in range(1, 12)) + 13 * value
    return _place(code.str.slice(0, 1), _UPN_LETTERS) == total % 23


def _pncid(code: pl.Expr) -> pl.Expr:
    """The last letter checks the year's last two digits and the serial number of seven digits."""
    serial = code.str.extract("^(?:18|19|20)?([0-9]{2}[0-9]{7})[A-Z]$", 1)
    short = code.str.extract("^([0-9]{2})[0-9]{1,7}[A-Z]$", 1) + code.str.extract(
        "^[0-9]{2}([0-9]{1,7})[A-Z]$", 1
    ).str.zfill(7)
    checked = pl.coalesce(serial, short).cast(pl.Int64, strict=False) % 23
    return _place(code.str.slice(-1), _PNC_LETTERS) == checked


def _place(letter: pl.Expr, letters: str) -> pl.Expr:
    return letter.replace_strict(list(letters), list(range(23)), default=None, return_dtype=pl.Int64)


def _short_date(code: pl.Expr) -> pl.Expr:
    day, month = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0[1-9]|1[0-2])"
    # A column of numbers takes the nought of a day away.
    return code.str.contains(f"^(?:{day}{month}[0-9]{{2}}|(?:{day}|[1-9]){month}{_YEAR})$")


_CHECKS: dict[Sort, Callable[[pl.Expr], pl.Expr]] = {
    Sort.NHS: _nhs,
    Sort.ULN: _uln,
    Sort.NINO: _nino,
    Sort.UPN: _upn,
    Sort.PNCID: _pncid,
    Sort.SHORT_DATE: _short_date,
}
