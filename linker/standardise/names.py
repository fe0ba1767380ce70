"""Names: titles, junk, prefixes, particles, hyphens, apostrophes, both folds, nickname groups.

Names of other scripts pass through unchanged. Digits and punctuation are no part of a name.
"""

from __future__ import annotations

from functools import cache

import polars as pl
from polars import field

from linker.standardise.steps import PROBLEM, Standard, first_reason, let
from linker.standardise.text import rows, soundex, tidy, tokens, upper, words

# Written into names by case-management systems; the name follows.
_MARKERS = r"\b(?:MIG[ _]ERROR|NO[ _]SHOW|DUPLICATE)[ _]+"
_BRACKETS = r"[(\[{][^)\]}]*[)\]}]?"
_FORMERLY = r" (?:NEE|FORMERLY|PREVIOUSLY|AKA|ALIAS) .*$"
_BABY = (
    r"^(?:(?:BABY|INFANT|NEWBORN)(?: (?:BOY|GIRL|MALE|FEMALE|ONE|TWO|[A-C])| OF .*)?"
    r"|(?:TWIN|TRIPLET)(?: (?:ONE|TWO|THREE|[A-C]|I{1,3}))?|BOY|GIRL|MALE|FEMALE)$"
)
_REPEATED = r"^(?:X{2,}|Z{3,}|TEST(?: .*)?|Q{2,}|A{3,}|B{3,})$"
_NOT_NAMES = (
    "NOT ENTERED",
    "NOT KNOWN",
    "NOT GIVEN",
    "NOT STATED",
    "NOT RECORDED",
    "NOT AVAILABLE",
    "NO NAME",
)


def forename(raw: pl.Expr) -> Standard:
    """Canonical forename and its derived parts; also for middle names."""
    name = field("")
    return let(
        raw,
        {"_plain": _forename(field("_raw")), "_wide": _forename(field("_raw"), expanded=True)},
        {"": _unless_junk("_plain", "forename"), "expanded": _unless_junk("_wide", "forename")},
        {"first": name.str.extract(r"^(\S+)", 1), "joined": name.str.replace_all(" ", "")},
        {
            "nickname": _groups(field("first")),
            "soundex": soundex(field("first")),
            "initial": name.str.slice(0, 1),
            PROBLEM: _junk(),
        },
    )


def surname(raw: pl.Expr) -> Standard:
    """Canonical surname, prefixes joined to what follows, and its derived parts."""
    prefix = rf"\b({_alternatives('prefix')}) "
    name = field("")
    return let(
        raw,
        {"_plain": _surname(field("_raw")), "_wide": _surname(field("_raw"), expanded=True)},
        {
            "": _unless_junk("_plain", "surname").str.replace_all(prefix, "${1}"),
            "expanded": _unless_junk("_wide", "surname").str.replace_all(prefix, "${1}"),
            "_words": _surname_words(field("_raw")),
        },
        {
            "joined": name.str.replace_all(" ", ""),
            "_telling": tidy(field("_words").str.replace_all(rf"\b(?:{_alternatives('particle')})\b", " ")),
        },
        {"_words": pl.when(name.is_not_null()).then(pl.coalesce(field("_telling"), field("_words")))},
        {
            "tokens": tokens(field("_words")),
            "soundex": soundex(field("joined")),
            "initial": name.str.slice(0, 1),
            PROBLEM: _junk(),
        },
    )


def full_name(raw: pl.Expr) -> Standard:
    """A whole name in its pieces as written: "SMITH, Mr John Paul" or "Dr John van der Berg Jr".

    The pieces are standardised by their own kinds. A single word is taken for a surname.
    """
    titles = rf"(?i)^(?:(?:{_alternatives('title')})\b\.?\s+)+"
    suffixes = rf"(?i)(?:[\s,]+(?:{_alternatives('suffix')})\b\.?)+$"
    plain = rf"(?i)^(?:(.*?)\s+)?((?:(?:{_alternatives('prefix')})\s+)*\S+)$"
    whole = tidy(
        tidy(field("_raw").str.replace_all("_", " ")).str.replace(suffixes, "").str.replace(titles, "")
    )
    after = tidy(
        field("_whole").str.extract(r"^[^,]+,\s*(.*)$", 1).str.replace(titles, "").str.replace_all(",", " ")
    )
    comma = field("_whole").str.contains("^[^,]+,")
    return let(
        raw,
        {"_whole": whole},
        {
            "_given": pl.when(comma).then(after).otherwise(field("_whole").str.extract(plain, 1)),
            "_family": field("_whole").str.extract("^([^,]+),", 1),
        },
        {
            "forename": field("_given").str.extract(r"^(\S+)", 1),
            "middle_name": field("_given").str.extract(r"^\S+\s+(.+)$", 1),
            "surname": tidy(
                pl.when(comma).then(field("_family")).otherwise(field("_whole").str.extract(plain, 2))
            ),
            PROBLEM: first_reason(
                (field("_whole").is_null() & tidy(field("_raw")).is_not_null(), "junk_name")
            ),
        },
    )


def initials(raw: pl.Expr) -> Standard:
    """The first letters of forename and surname: "J.P.S." is 'JS'; `turned` is 'SJ'.

    One letter alone names nobody and five are no initials: null.
    """
    letters = field("_letters")
    first, last = letters.str.extract("^(.)", 1), letters.str.extract("(.)$", 1)
    some = letters.str.contains("^.{2,4}$")
    return let(
        raw,
        {"_letters": upper(field("_raw")).str.replace_all(r"[^\p{L}]", "")},
        {"": pl.when(some).then(first + last), "turned": pl.when(some).then(last + first)},
        {PROBLEM: _junk()},
    )


def _junk() -> pl.Expr:
    """`junk_name` for what stands in a name's place and is none."""
    return first_reason((tidy(field("_raw")).is_not_null() & field("").is_null(), "junk_name"))


def _letters(raw: pl.Expr, *, expanded: bool = False) -> pl.Expr:
    """Folded words of letters, the systems' markers taken off; null where nothing is left."""
    text = upper(raw, expanded=expanded).str.replace_all(_MARKERS, "")
    return tidy(text.str.replace_all(r"[^\p{L}\p{M}]+", " "))


def _forename(raw: pl.Expr, *, expanded: bool = False) -> pl.Expr:
    name = _letters(raw.str.replace_all(_BRACKETS, " "), expanded=expanded)
    name = name.str.replace(rf"^(?:(?:{_alternatives('title')}) )+", "")
    return name.str.replace(rf"(?: (?:{_alternatives('suffix')}))+$", "")


def _surname(raw: pl.Expr, *, expanded: bool = False) -> pl.Expr:
    return _forename(raw, expanded=expanded).str.replace(_FORMERLY, "")


def _surname_words(raw: pl.Expr) -> pl.Expr:
    """All words of a surname, former ones included."""
    name = _letters(raw).str.replace_all(r"\b(?:NEE|FORMERLY|PREVIOUSLY|AKA|ALIAS)\b", " ")
    name = tidy(name).str.replace(rf"(?: (?:{_alternatives('suffix')}))+$", "")
    return name.str.replace_all(rf"\b({_alternatives('bound')}) ", "${1}")


def _unless_junk(step: str, part: str) -> pl.Expr:
    name = field(step)
    junk = name.is_in([*words("names.csv", f"{part}_junk"), *_NOT_NAMES, ""]) | name.str.contains(_REPEATED)
    if part == "forename":
        # Lord and Master are surnames too; before a forename they are titles and nothing else.
        junk = junk | name.is_in(words("names.csv", "title")) | name.str.contains(_BABY)
    return pl.when(~junk).then(name)


@cache
def _alternatives(part: str) -> str:
    return "|".join(sorted(words("names.csv", part), key=lambda word: (-len(word), word)))


@cache
def nickname_groups() -> dict[str, tuple[str, ...]]:
    """Name → the groups it belongs to; a group is known by its fullest form."""
    groups: dict[str, set[str]] = {}
    for row in rows("nicknames.csv"):
        for name in (row["group"], *row["names"].split()):
            groups.setdefault(name, set()).add(row["group"])
    return {name: tuple(sorted(ids)) for name, ids in groups.items()}


def _groups(first: pl.Expr) -> pl.Expr:
    groups = nickname_groups()
    ids = ["|".join(found) for found in groups.values()]
    found = first.replace_strict(list(groups), ids, default=None, return_dtype=pl.String)
    return found.str.split("|")
