"""Columns made out of standard columns, only where a model or a matchkey reads them.

    full_name.joined, .sorted, .tokens   all names: without spaces; their letters in order; the words
    forename.all, .second, .start        all forenames without spaces; the second; the first two letters
    surname.first                        its first word
    forename.other, surname.other        another name, each half standing in for the one not given
    address.house                        the house, from a column of its own or from the first line
    postcode.short                       the postcode less its last character
    date_of_birth.age                    years of age on Census Day 2021 (Int32)
    initials, .turned                    first letters of forename and surname; the same, surname first
    partial_postcode, .outcode, .area    the sector of a whole postcode, and its parts

They are not among `derive.standard_columns`, because most runs would pay for them in vain.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable

import polars as pl

from linker.standardise.text import none_if_empty, tokens

#: The day on which ages are counted. Fixed, so that a link does not depend on the day it is made.
CENSUS_DAY = datetime.date(2021, 3, 21)

_Here = Collection[str]


def with_composed(columns: pl.DataFrame, reading: Iterable[str]) -> pl.DataFrame:
    """The columns, and those of `reading` that are composed and can be made of them.

    Args:
        columns: standard columns.
        reading: names; those that are there already or are no composed columns are passed over.
    """
    wanted = [name for name in sorted(set(reading)) if name in _COMPOSED and name not in columns.columns]
    made = {name: _COMPOSED[name][1](columns.columns) for name in wanted}
    return columns.with_columns(**{name: one for name, one in made.items() if one is not None})


def fields_read(reading: Iterable[str]) -> frozenset[str]:
    """The fields that columns come from: `forename` and `surname` for `full_name.joined`, say."""
    return frozenset(
        field
        for name in reading
        for field in (_COMPOSED[name][0] if name in _COMPOSED else (name.partition(".")[0],))
    )


def _given(here: _Here) -> pl.Expr | None:
    """All forenames as words."""
    if "forename" not in here:
        return None
    parts = [pl.col(name) for name in ("forename", "middle_name") if name in here]
    words = pl.concat_str(parts, separator=" ", ignore_nulls=True)
    return pl.when(pl.col("forename").is_not_null()).then(words)


def _whole(here: _Here) -> pl.Expr | None:
    """Forenames and surname as words; null unless both are known."""
    given = _given(here)
    if given is None or "surname" not in here:
        return None
    return pl.concat_str([given, pl.col("surname")], separator=" ")


def _first_word(words: pl.Expr) -> pl.Expr:
    return words.str.extract(r"^(\S+)", 1)


def _joined(words: pl.Expr) -> pl.Expr:
    return words.str.replace_all(" ", "", literal=True)


def _of(
    words: Callable[[_Here], pl.Expr | None], make: Callable[[pl.Expr], pl.Expr]
) -> Callable[[_Here], pl.Expr | None]:
    def made(here: _Here) -> pl.Expr | None:
        known = words(here)
        return None if known is None else make(known)

    return made


def _column(name: str) -> Callable[[_Here], pl.Expr | None]:
    return lambda here: pl.col(name) if name in here else None


def _other(part: str, also: str, name: str) -> Callable[[_Here], pl.Expr | None]:
    """First word of the second value of a name, or of the first where only the other half has a second."""

    def made(here: _Here) -> pl.Expr | None:
        if name not in here or (part not in here and also not in here):
            return None
        seconds = [pl.col(one) for one in (part, also) if one in here]
        own = pl.coalesce([pl.col(one) for one in (part, name) if one in here])
        known = pl.any_horizontal(one.is_not_null() for one in seconds)
        return pl.when(known).then(_first_word(own))

    return made


def _initials(*, turned: bool) -> Callable[[_Here], pl.Expr | None]:
    def made(here: _Here) -> pl.Expr | None:
        if "forename.initial" not in here or "surname.initial" not in here:
            return None
        given, family = pl.col("forename.initial"), pl.col("surname.initial")
        return family + given if turned else given + family

    return made


def _house(here: _Here) -> pl.Expr | None:
    parts = [pl.col(name) for name in ("house", "address_line.house") if name in here]
    return pl.coalesce(parts) if parts else None


def _age(days: pl.Expr) -> pl.Expr:
    born = days.cast(pl.Date)
    month_day = born.dt.month().cast(pl.Int32) * 100 + born.dt.day()
    had_birthday = month_day <= CENSUS_DAY.month * 100 + CENSUS_DAY.day
    return CENSUS_DAY.year - born.dt.year() - pl.when(had_birthday).then(0).otherwise(1).cast(pl.Int32)


_NAMES = ("forename", "middle_name", "surname")
_OTHER_NAMES = ("forename", "forename_2", "surname", "surname_2")

# By name: the fields it comes from, and how it is made of the columns that are there.
_COMPOSED: dict[str, tuple[tuple[str, ...], Callable[[_Here], pl.Expr | None]]] = {
    "full_name.joined": (_NAMES, _of(_whole, _joined)),
    "full_name.sorted": (_NAMES, _of(_whole, lambda n: _joined(n).str.split("").list.sort().list.join(""))),
    "full_name.tokens": (_NAMES, _of(_whole, tokens)),
    "forename.all": (_NAMES[:2], _of(_given, _joined)),
    "forename.second": (_NAMES[:2], _of(_given, lambda n: n.str.extract(r"^\S+ (\S+)", 1))),
    "forename.start": (
        ("forename",),
        _of(_column("forename.first"), lambda n: n.str.extract("^(..)", 1)),
    ),
    "surname.first": (("surname",), _of(_column("surname"), _first_word)),
    "forename.other": (_OTHER_NAMES, _other("forename_2.first", "surname_2", "forename.first")),
    "surname.other": (_OTHER_NAMES, _other("surname_2", "forename_2.first", "surname")),
    "address.house": (("house", "address_line"), _house),
    "postcode.short": (
        ("postcode",),
        _of(_column("postcode"), lambda code: none_if_empty(code.str.head(-1))),
    ),
    "date_of_birth.age": (("date_of_birth",), _of(_column("date_of_birth.days"), _age)),
    "initials": (("initials", "forename", "surname"), _initials(turned=False)),
    "initials.turned": (("initials", "forename", "surname"), _initials(turned=True)),
    "partial_postcode": (("partial_postcode", "postcode"), _column("postcode.sector")),
    "partial_postcode.outcode": (("partial_postcode", "postcode"), _column("postcode.outcode")),
    "partial_postcode.area": (("partial_postcode", "postcode"), _column("postcode.area")),
}
