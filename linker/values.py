"""Values: what the values of a column bear out, of a claim that its name makes or without one."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from linker.records import Kind
from linker.standardise import parts
from linker.standardise.postcodes import is_postcode

_SAMPLE = 2000
_BORNE_OUT = 0.5
_TOLD = 0.8
_FEW = 50
_WORDY = 8
_VALUE = pl.col("value")
_CHECKED = (
    Kind.NHS_NUMBER,
    Kind.CHI,
    Kind.HC_NUMBER,
    Kind.NINO,
    Kind.UPN,
    Kind.ULN,
    Kind.PNCID,
    Kind.CRO,
    Kind.UPRN,
)
_NAMES = (Kind.FORENAME, Kind.MIDDLE_NAME, Kind.SURNAME, Kind.FULL_NAME)
_OTHERWISE = {
    Kind.POSTCODE: (Kind.TEXT, "by name, but not UK postcodes"),
    Kind.DATE_OF_BIRTH: (Kind.TEXT, "by name, but not dates"),
    Kind.SEX: (Kind.CATEGORY, "by name, but not codes of sex"),
    Kind.EMAIL: (Kind.TEXT, "by name, but not e-mail addresses"),
    Kind.PHONE: (Kind.TEXT, "by name, but not phone numbers"),
    Kind.NUMBER: (Kind.TEXT, "by name, but not numbers"),
}
_EVENT_WORDS = frozenset(
    [
        "date",
        "dt",
        "time",
        "day",
        "year",
        "month",
        "death",
        "died",
        "dod",
        "admission",
        "admitted",
        "discharge",
        "start",
        "end",
        "begin",
        "expiry",
        "event",
        "registered",
        "registration",
        "referral",
        "referred",
        "received",
        "closed",
        "opened",
        "visit",
        "appointment",
        "arrest",
        "sentence",
    ]
)


@dataclass(frozen=True)
class Seen:
    """A column at a glance.

    Attributes:
        count: values that are present (rows).
        distinct: different values among them.
        sample: up to a few thousand of the different values, one column `value`.
        wordy: whether the values are sentences.
    """

    count: int
    distinct: int
    sample: pl.DataFrame
    wordy: bool


def look(column: pl.Series) -> Seen:
    """Count a column's values and take a sample that does not depend on the order of rows."""
    text = column.cast(pl.String).str.strip_chars().rename("value")
    text = text.filter((text != "").fill_null(False))
    different = text.unique()
    sample = different.to_frame()
    if different.len() > _SAMPLE:
        order = different.hash(seed=0) % (different.len() // _SAMPLE)
        sample = sample.filter(order == 0)
    words = sample.select(_VALUE.str.count_matches(r"\S+").mean()).item()
    return Seen(text.len(), different.len(), sample, wordy=(words or 0) > _WORDY)


def is_key(column: pl.Series) -> bool:
    """Whether no value is missing and none repeats."""
    text = column.cast(pl.String)
    blank = int((text.fill_null("").str.strip_chars() == "").sum())
    return blank == 0 and text.n_unique() == text.len()


def is_nearly_key(column: pl.Series) -> bool:
    """Whether all but a few values are there and differ: an id with faults, whose rows can be refused."""
    text = column.cast(pl.String).str.strip_chars()
    present = text.filter((text != "").fill_null(False))
    return present.n_unique() >= 0.9 * column.len()


def is_date_part(column: pl.Series, part: str) -> bool:
    """Whether most values could be a year, a month or a day of a month."""
    seen = look(column)
    number = _VALUE.str.replace(r"\.0+$", "").cast(pl.Int32, strict=False)
    fits = {
        "birth_year": number.is_between(1850, 2100) | number.is_between(0, 99),
        "birth_month": number.is_between(0, 12)
        | _VALUE.str.contains("(?i)^(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"),
        "birth_day": number.is_between(0, 31),
    }[part]
    return _share(seen, fits) >= _BORNE_OUT or not seen.count


def borne_out(kind: Kind, seen: Seen) -> tuple[Kind, str]:
    """The kind a column is, given that its name says `kind`, and why."""
    if not seen.count:
        return kind, "by name"
    if kind in (Kind.ADDRESS, Kind.ADDRESS_LINE):
        return _address(kind, seen), "by name"
    if _share(seen, _fits(kind)) >= _BORNE_OUT:
        return kind, "by name"
    if kind in _CHECKED:
        return Kind.IDENTIFIER, f"by name, but mostly not valid as {kind.value}"
    if kind in _NAMES:
        return Kind.CATEGORY, "by name, but not names as they are written"
    return _OTHERWISE.get(kind, (kind, "by name"))


def told(seen: Seen) -> Kind | None:
    """The kind that the values alone tell, or None."""
    if not seen.count:
        return None
    if _share(seen, _fits(Kind.EMAIL)) >= _TOLD:
        return Kind.EMAIL
    if _share(seen, is_postcode(_VALUE)) >= _TOLD:
        return Kind.POSTCODE
    for kind in (Kind.NHS_NUMBER, Kind.NINO, Kind.UPN, Kind.ULN, Kind.PNCID, Kind.CRO):
        if _share(seen, _fits(kind)) >= _TOLD:
            return kind
    whole = _VALUE.str.len_chars() >= 6
    if _share(seen, whole & _fits(Kind.DATE_OF_BIRTH)) >= _TOLD:
        return Kind.DATE_OF_BIRTH
    written = _VALUE.str.contains(r"^(?:\+|0)[0-9 ()-]{9,}$")
    if _share(seen, written & _fits(Kind.PHONE)) >= _TOLD:
        return Kind.PHONE
    return None


def has_codes(seen: Seen) -> bool:
    """Whether nearly all values have a digit."""
    return _share(seen, _VALUE.str.contains("[0-9]")) >= _TOLD


def is_other_date(words: tuple[str, ...]) -> bool:
    """Whether a column's name speaks of another event than a birth."""
    return any(word in _EVENT_WORDS for word in words)


def open_kind(seen: Seen) -> Kind | None:
    """Category, number, identifier or text; None for sentences and running numbers."""
    if seen.wordy:
        return None
    few = seen.distinct * 2 <= seen.count and seen.distinct <= max(_FEW, seen.count // 100)
    if few or not seen.count:
        return Kind.CATEGORY
    number = parts(Kind.NUMBER, _VALUE)[""]
    if _share(seen, number.is_not_null()) >= 0.95:
        return None if _is_running(seen) else Kind.NUMBER
    code = _VALUE.str.contains(r"^[A-Za-z0-9/-]{6,}$") & _VALUE.str.contains("[0-9]")
    if seen.distinct >= 0.9 * seen.count and _share(seen, code) >= 0.9:
        return Kind.IDENTIFIER
    return Kind.TEXT


def _is_running(seen: Seen) -> bool:
    """Whether every row has its own whole number and the numbers leave few gaps."""
    if seen.distinct < 20 or seen.distinct < seen.count:
        return False
    number = parts(Kind.NUMBER, _VALUE)[""]
    low, high = seen.sample.select(number.min().alias("low"), number.max().alias("high")).row(0)
    return bool(high - low <= 1.1 * seen.distinct) and _share(seen, _VALUE.str.contains("^[0-9]+$")) == 1


def _address(kind: Kind, seen: Seen) -> Kind:
    """A whole address has commas or ends in a postcode; a line has its house and street."""
    coded = _share(seen, parts(Kind.ADDRESS, _VALUE)["postcode"].is_not_null())
    commas = _share(seen, _VALUE.str.count_matches(",") >= 2)
    whole = coded >= 0.3 or (kind is Kind.ADDRESS and commas >= 0.3)
    return Kind.ADDRESS if whole else Kind.ADDRESS_LINE


def _fits(kind: Kind) -> pl.Expr:
    made = parts(kind, _VALUE)
    if kind in _NAMES:
        return ~_VALUE.str.contains("[0-9]") & _VALUE.str.contains(r"\p{L}")
    if kind is Kind.POSTCODE:
        return is_postcode(_VALUE) | made["outcode"].is_not_null()
    if kind is Kind.DATE_OF_BIRTH:
        return made["year"].is_not_null()
    if kind is Kind.EMAIL:
        return made["user"].is_not_null()
    return made[""].is_not_null()


def _share(seen: Seen, condition: pl.Expr) -> float:
    if not seen.sample.height:
        return 0.0
    share = seen.sample.select(condition.fill_null(False).mean()).item()
    return float(share)
