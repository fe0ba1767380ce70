"""Sex, e-mail and phone, and the open kinds: category, text, number, identifier, household."""

from __future__ import annotations

import polars as pl
from polars import field

from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import clean, is_missing, none_if_empty, present, tidy, tokens, upper

_SEX = {
    "M": ("1", "M", "MALE", "MAN", "BOY", "MASCULINE"),
    "F": ("2", "F", "FEMALE", "WOMAN", "GIRL", "FEMININE", "W"),
    "X": ("X", "OTHER", "I", "INDETERMINATE", "INTERSEX", "NON BINARY", "NONBINARY", "NB"),
}
# ISO 5218 and the registers: 0 not known, 9 not specified. Missing, never a disagreement.
_SEX_UNSTATED = ("0", "9", "U", "N", "NS", "UNSTATED", "NOT DISCLOSED", "PREFER NOT TO SAY")
_NO_EMAIL = r"^(none|no|noemail|no-email|nomail|na|null|test|unknown|nobody|refused)@"
_EMAIL = r"^[^@\s,;]+@[^@\s,;]+\.[^@\s,;.]+$"
_NO_PHONE = r"^\+?0*(?:7?0*|1*|2*|7*|8*|9*|123456789)$"
_KIND_OF_AUTHORITY = (
    r"\b(?:(?:CITY|BOROUGH|DISTRICT|COUNTY|METROPOLITAN|LONDON|ROYAL|UNITARY|OF|THE|AND|COUNCIL|AUTHORITY|DAT"
    r"|LB|MBC|DC|CC|BC|UA))\b"
)
_MISSING = is_missing(field("_raw"))


def sex(raw: pl.Expr) -> Standard:
    """'M', 'F' or 'X'; null for not known and not specified."""
    codes = {word: code for code, words in _SEX.items() for word in words}
    word = field("_word")
    return let(
        raw,
        {"_word": clean(field("_raw").str.replace(r"^\s*0*([0-9])(?:\.0+)?\s*$", "${1}"))},
        {"": word.replace_strict(list(codes), list(codes.values()), default=None, return_dtype=pl.String)},
        {
            PROBLEM: first_reason(
                (_MISSING | word.is_in(_SEX_UNSTATED), "sentinel"),
                (word.is_not_null() & field("").is_null(), "format"),
            )
        },
    )


def email(raw: pl.Expr) -> Standard:
    """Lower case; a malformed address keeps its text (one slip is near), without user and domain."""
    text = present(field("_raw")).str.to_lowercase().str.replace(r"^mailto:", "").str.replace_all(r"\s", "")
    address = field("_address")
    # Without an at sign, a dot is the least that tells a damaged address from a remark.
    nothing = address.str.contains(_NO_EMAIL) | ~address.str.contains("[@.]")
    return let(
        raw,
        {"_address": none_if_empty(text.str.strip_chars("<>\"'.,;"))},
        {"": pl.when(~nothing).then(address)},
        {
            "user": field("").str.extract(r"^([^@]+)@", 1),
            "domain": field("").str.extract(r"@([^@]+)$", 1),
            PROBLEM: first_reason(
                (_MISSING | nothing, "sentinel"), (~address.str.contains(_EMAIL), "format")
            ),
        },
    )


def phone(raw: pl.Expr) -> Standard:
    """National digits ('07…'), +44 and 0044 folded; other countries keep '+' and their code."""
    text = present(field("_raw")).str.replace(r"(?i)\s*(?:ext?|extension|x)\.?\s*[0-9]+$", "")
    text = text.str.replace(r"\(0\)", "").str.replace(r"\.0+$", "").str.replace_all(r"[^0-9+]", "")
    text = text.str.replace(r"^(?:\+|00)44\+?0?", "0").str.replace(r"^440?([1-3789][0-9]{8,9})$", "0${1}")
    # A spreadsheet drops the leading nought.
    text = text.str.replace(r"^00", "+").str.replace(r"^([1-3789][0-9]{9})$", "0${1}")
    number = field("_number")
    return let(
        raw,
        {"_text": text},
        {"_number": _one_plus(field("_text"))},
        {
            PROBLEM: first_reason(
                (_MISSING | number.str.contains(_NO_PHONE), "sentinel"),
                (~number.str.contains(r"^\+?[0-9]{6,15}$"), "format"),
            )
        },
        {"": pl.when(field(PROBLEM).is_null()).then(number)},
    )


def _one_plus(text: pl.Expr) -> pl.Expr:
    """Digits with no plus sign but a leading one."""
    return text.str.extract(r"^(\+?)", 1) + text.str.replace_all(r"\+", "")


def category(raw: pl.Expr) -> Standard:
    """Upper case, single spaces; "unknown" and its like are missing."""
    return let(raw, {"": present(field("_raw")).str.to_uppercase()}, _nothing())


def local_authority(raw: pl.Expr) -> Standard:
    """The authority's name without what kind of authority it is: "City of Kinham Council" is 'KINHAM'.

    A code of the Office for National Statistics ('E10000003') stays as it is.
    """
    name = clean(present(field("_raw"))).str.replace_all(_KIND_OF_AUTHORITY, " ")
    return let(raw, {"_name": name}, {"": tidy(field("_name"))}, _nothing())


def text(raw: pl.Expr) -> Standard:
    """Cleaned upper case and its words."""
    return let(raw, {"": clean(present(field("_raw")))}, {"tokens": tokens(field(""))}, _nothing())


def number(raw: pl.Expr) -> Standard:
    """A finite Float64; thousands separators and a pound sign are taken off."""
    said = present(field("_raw"))
    return let(
        raw,
        {"_number": said.str.replace_all(r"[£,\s]", "").cast(pl.Float64, strict=False)},
        {"": pl.when(field("_number").is_finite()).then(field("_number"))},
        {
            PROBLEM: first_reason(
                (_MISSING, "sentinel"), (tidy(field("_raw")).is_not_null() & field("").is_null(), "format")
            )
        },
    )


def identifier(raw: pl.Expr) -> Standard:
    """Upper case without spaces and punctuation; null for one nought, nine or X repeated."""
    filler = field("_code").str.contains(r"^(?:0{3,}|9{4,}|X{3,})$")
    return let(
        raw,
        {"_code": none_if_empty(upper(present(field("_raw"))).str.replace_all(r"[^\p{L}\p{N}]", ""))},
        {"": pl.when(~filler).then(field("_code")), PROBLEM: first_reason((_MISSING | filler, "sentinel"))},
    )


def _nothing() -> dict[str, pl.Expr]:
    return {PROBLEM: first_reason((_MISSING, "sentinel"))}
