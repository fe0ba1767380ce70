"""The forms of a person's identifiers that outlast another spelling: for lists that hold no names.

    what is kept of a person ──standardise──▶ names, how they sound, days and their parts, places, numbers

Who keeps such a list keeps a keyed function of each form and nothing else (`pseudonym.optouts`). This side
makes the forms, and knows nothing of keys or lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from linker.records import Kind
from linker.standardise import table

START: Final = 3  # letters at the start of a name: what a slip at its end leaves
NUMBERS: Final = ("nhs", "nino", "upn", "uln", "pncid")
_LETTERS: Final = r"[\p{L}'’]+"


def forms(people: pl.DataFrame, *, brief: bool = False) -> pl.DataFrame:
    """The forms of each row.

    Args:
        people: the columns that are kept of a person (`linker.joining.KEPT`), text, null where nothing is
            known.
        brief: only those by which rows are told that could be anybody's at all: `sound`, `family_sound`,
            `born` and numbers.

    Returns:
        As many rows, in the same order. Text: `first` (forename), `initial`, `sound` and `start` of it;
        `family` (the whole surname), `family_sound`, `family_start`; `born` (YYYYMMDD), `swapped` (day and
        month exchanged), `year_month`, `year_day`, `month_day`; `sex`, `postcode`, `outcode`, and each of
        `NUMBERS` (of a NINO what is compared). Lists of text: `others` (further forenames), `nickname`
        (groups of the first), `parts` (of the surname).
    """
    given = _split(people["given"])
    name = given["names"].list.first()
    told = {"sound": _sound()}
    first = _of_distinct(
        Kind.FORENAME,
        name,
        told
        if brief
        else {
            **{form: pl.col(form) for form in ("first", "initial", "nickname")},
            **told,
            "start": pl.col("first").str.slice(0, START),
        },
    )
    told = {"family_sound": _sound()}
    family = _of_distinct(
        Kind.SURNAME,
        people["surname"],
        told
        if brief
        else {
            "family": pl.col("joined"),
            "parts": pl.col("tokens"),
            **told,
            "family_start": pl.col("joined").str.slice(0, START),
        },
    )
    day = people.select(day=pl.col("born").str.replace_all("-", "", literal=True))
    numbers = people.select(*NUMBERS).with_columns(pl.col("nino").str.slice(0, 8))
    if brief:
        return pl.concat([first, family, day.select(born="day"), numbers], how="horizontal")
    born = day.select(
        born="day",
        swapped=_swapped(),
        year_month=pl.col("day").str.slice(0, 6),
        year_day=pl.col("day").str.slice(0, 4) + pl.col("day").str.slice(6),
        month_day=pl.col("day").str.slice(4),
    )
    where = {"postcode": pl.col(""), "outcode": pl.col("outcode")}
    places = _of_distinct(Kind.POSTCODE, people["postcode"], where)
    others = given.select(others=pl.col("names").list.slice(1))
    parts = [first, others, family, born, people.select("sex"), places, numbers]
    return pl.concat(parts, how="horizontal")


def _split(given: pl.Series) -> pl.DataFrame:
    """Forenames one by one: most people share theirs with others, and few share all of theirs."""
    distinct = given.unique().drop_nulls()
    names = distinct.str.to_uppercase().str.extract_all(_LETTERS)
    made = pl.DataFrame({"given": distinct, "names": names}).filter(pl.col("names").list.len() > 0)
    return given.to_frame("given").join(made, on="given", how="left", maintain_order="left").select("names")


def _of_distinct(kind: Kind, values: pl.Series, forms: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Forms of a column, made once for each value in it."""
    distinct = values.unique().drop_nulls()
    made = table(kind, distinct).select(expr.alias(name) for name, expr in forms.items())
    known = pl.DataFrame({"raw": distinct}).hstack(made)
    return values.to_frame("raw").join(known, on="raw", how="left", maintain_order="left").drop("raw")


def _sound() -> pl.Expr:
    """Soundex, without telling first letters apart that sound alike: it keeps them as they are written."""
    code = pl.col("soundex")
    for alike in ("AEIOUHWY", "KCQX", "GJ", "SZ", "FVP"):
        code = code.str.replace(f"^[{alike}]", alike[0])
    return code


def _swapped() -> pl.Expr:
    """Day and month exchanged, where that is another day."""
    day = pl.col("day")
    year, month, number = day.str.slice(0, 4), day.str.slice(4, 2), day.str.slice(6, 2)
    return pl.when((number <= "12") & (month != number)).then(pl.concat_str(year, number, month))
