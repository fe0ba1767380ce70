"""A person as one file has him or her: names, birth, sex and address as of a day, with that file's slips.

Every slip is noted: the truth holds, for each record, what went wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import polars as pl

from benchmarks.county.block import Lives
from benchmarks.county.homes import home
from benchmarks.county.naming import TITLES, written_middles, written_surnames
from benchmarks.county.persons import REASSIGNED
from benchmarks.county.spelling import respelt
from benchmarks.dates import written
from benchmarks.draw import Flags, Ints
from benchmarks.errors import Errors, Side, emptied, misdated, misspelt, swapped
from benchmarks.names import COMMUNITIES

#: What can go wrong with a record, each a bit of `slips` in the truth.
SLIPS = (
    "forename_typo", "surname_typo", "initial_only", "half_surname", "title_as_surname", "names_swapped",
    "birth_wrong", "birth_swapped", "birth_default", "sex_wrong", "address_typo", "postcode_typo", "no_abode",
    "forename_missing", "surname_missing", "birth_missing", "sex_missing", "address_missing",
    "postcode_missing",
    "number_wrong", "number_missing", "number_of_relative", "number_superseded",
)  # fmt: skip
BIT = {name: 1 << place for place, name in enumerate(SLIPS)}
NAME, ADDRESS = frozenset({"forename", "surname"}), frozenset({"house", "street", "town", "postcode"})
_Note = Callable[[Flags | pl.Series, str], None]
GOES_BY_MIDDLE, TITLE_AS_SURNAME = 0.3, 0.15


@dataclass(frozen=True)
class Asked:
    """Which records of one file.

    Attributes:
        rows: of `Persons`. on: the day each record is as of. number: of the record, which draws depend on.
        file: the file's name; errors: its slips. columns: which of COLUMNS it carries.
    """

    rows: Ints
    on: Ints
    number: Ints
    file: str
    errors: Errors
    columns: frozenset[str]


@dataclass(frozen=True)
class Written:
    """Records of a file.

    Attributes:
        columns: those asked for of forename, middle, surname, date_of_birth, sex, house, street, town,
            postcode.
        slips: bits of `SLIPS`.
        home: dwelling; surname, forename: codes that the record is from, before any slip.
    """

    columns: dict[str, pl.Series]
    slips: Ints
    home: Ints
    surname: Ints
    forename: Ints


def write_down(lives: Lives, asked: Asked) -> Written:
    """The records, in the order they were asked for."""
    # Files are worse for some communities, so each is written by itself; nearly everybody is in the first.
    community = lives.homes.community[lives.persons.row[asked.rows]]
    groups = [np.flatnonzero(community == place) for place in range(len(COMMUNITIES))]
    parts = [
        _one_group(lives, replace(
            asked, rows=asked.rows[group], on=asked.on[group], number=asked.number[group],
            errors=burdened(asked.errors, lives.county.preset.burden[place]),
        ))
        for place, group in enumerate(groups)
        if len(group) or place == 0
    ]  # fmt: skip
    back = np.argsort(np.concatenate(groups), kind="stable")
    return Written(
        {name: pl.concat([part.columns[name] for part in parts]).gather(back) for name in parts[0].columns},
        *(
            np.concatenate([getattr(part, name) for part in parts])[back]
            for name in ("slips", "home", "surname", "forename")
        ),
    )  # fmt: skip


def burdened(errors: Errors, factor: float) -> Errors:
    """Slips in names, dates and numbers so many times likelier; what is missing too."""
    if factor == 1.0:
        return errors
    scaled = (
        "forename_typo",
        "surname_typo",
        "names_swapped",
        "birth_part",
        "birth_swapped",
        "birth_default",
        "sex_wrong",
    )
    return replace(
        errors,
        **{name: min(0.9, getattr(errors, name) * factor) for name in scaled},
        missing=tuple((name, p if p > 0.3 else min(0.6, p * factor)) for name, p in errors.missing),
    )


def _one_group(lives: Lives, asked: Asked) -> Written:
    county, errors, number = lives.county, asked.errors, asked.number
    noted: list[tuple[Flags, str]] = []
    columns: dict[str, pl.Series] = {}
    draws = Side(county.draws, asked.file)

    def note(flags: Flags | pl.Series, what: str) -> None:
        noted.append((flags.to_numpy() if isinstance(flags, pl.Series) else flags, what))

    forename, surname, double = lives.named.at(lives.persons, asked.rows, asked.on)
    middle = lives.named.middle[asked.rows]
    if errors.nickname:
        # The man whose first name is MOHAMMED is known by the second; others by a nickname.
        by_middle = (middle >= 0) & (county.names.forenames.gather(forename) == "MOHAMMED").to_numpy()
        by_middle &= draws.chance("goes by middle", number, GOES_BY_MIDDLE)
        forename, middle = np.where(by_middle, middle, forename), np.where(by_middle, -1, middle)
        known = np.flatnonzero(draws.chance("nickname", number, errors.nickname))
        forename[known] = county.names.nickname(
            county.draws, lives.persons.number[asked.rows[known]], forename[known]
        )
    codes = surname, forename
    if asked.columns & NAME:
        half = (double >= 0) & draws.chance("half", number, errors.half_surname)
        second = half & draws.chance("which half", number, 0.5)
        surname, double = np.where(second, double, surname), np.where(half, -1, double)
        note(half, "half_surname")
        columns |= _names(lives, asked, forename, middle, written_surnames(county, surname, double), note)
    if "date_of_birth" in asked.columns:
        born = lives.persons.born[asked.rows]
        made = misdated(draws, number, born, errors)
        one_day, turned = (
            draws.chance("birth default", number, errors.birth_default),
            draws.chance("birth swapped", number, errors.birth_swapped),
        )
        note(one_day & (made != born), "birth_default")
        note(turned & ~one_day & (made != born), "birth_swapped")
        note(~one_day & ~turned & (made != born), "birth_wrong")
        columns["date_of_birth"] = _emptied(lives, asked, written(made), "birth_missing", note)
    if "sex" in asked.columns:
        changed = (asked.on >= lives.persons.changed[asked.rows]) & (
            lives.persons.change[asked.rows] == REASSIGNED
        )
        wrong = draws.chance("sex wrong", number, errors.sex_wrong)
        note(wrong, "sex_wrong")
        sex = lives.persons.sex[asked.rows] ^ changed ^ wrong
        columns["sex"] = _emptied(lives, asked, pl.Series("sex", ["F", "M"]).gather(sex), "sex_missing", note)
    lived = home(county, lives.homes, lives.persons, asked.rows, asked.on, asked.file)
    if asked.columns & ADDRESS:
        columns |= _address(lives, asked, lived, note)
    slips = reduce(
        np.bitwise_or,
        [flags.astype(np.int64) * BIT[what] for flags, what in noted],
        np.zeros(len(number), np.int64),
    )
    return Written({name: columns[name] for name in columns if name in asked.columns}, slips, lived, *codes)


def _names(
    lives: Lives, asked: Asked, forename: Ints, middle: Ints, surname: pl.Series, note: _Note
) -> dict[str, pl.Series]:
    county, errors, number, file = lives.county, asked.errors, asked.number, asked.file
    draws = Side(county.draws, file)
    middles = written_middles(county, middle)
    if errors.names_swapped:
        titled = (middle <= -2) & draws.chance("title as surname", number, TITLE_AS_SURNAME)
        rows = np.flatnonzero(titled)
        surname = surname.scatter(
            rows, pl.Series([name for pair in TITLES for name in pair]).gather(-2 - middle[rows])
        )
        middles = middles.set(pl.Series(titled), None)
        note(titled, "title_as_surname")
    columns = {"forename": county.names.forenames.gather(forename), "surname": surname}
    for name in columns:
        p, heard = getattr(errors, f"{name}_typo"), county.preset.respelt
        slipped = misspelt(county.draws, columns[name], number, p * (1 - heard), file)
        slipped = respelt(county.draws, slipped, number, p * heard, file)
        note(slipped.ne_missing(columns[name]), f"{name}_typo")
        columns[name] = slipped
    initial = draws.chance("initial", number, county.preset.initials)
    if initial.any():
        rows = np.flatnonzero(initial)
        columns["forename"] = columns["forename"].scatter(
            rows, columns["forename"].gather(rows).str.slice(0, 1)
        )
    note(initial, "initial_only")
    one, other = swapped(
        county.draws, (columns["forename"], columns["surname"]), number, errors.names_swapped, file
    )
    note(draws.chance("names swapped", number, errors.names_swapped), "names_swapped")
    columns = {"forename": one.alias("forename"), "surname": other.alias("surname")}
    columns = {
        name: _emptied(lives, asked, column, f"{name}_missing", note) for name, column in columns.items()
    }
    return columns | {"middle": middles}


def _address(lives: Lives, asked: Asked, lived: Ints, note: _Note) -> dict[str, pl.Series]:
    county, errors, number, file = lives.county, asked.errors, asked.number, asked.file
    places = county.places
    columns = {"postcode": places.postcodes.gather(places.postcode(lived))}
    if "street" in asked.columns:
        columns |= {
            "house": places.houses.gather(places.house(lived)),
            "street": places.streets.gather(places.street(lived)),
            "town": places.towns.gather(places.town(lived)),
        }
    for name, slip in (("postcode", "postcode_typo"), ("street", "address_typo")):
        if name in columns:
            slipped = misspelt(county.draws, columns[name], number, getattr(errors, f"{name}_typo"), file)
            note(slipped.ne_missing(columns[name]), slip)
            columns[name] = slipped
    nowhere = Side(county.draws, file).chance("no abode", number, errors.no_abode)
    rows = np.flatnonzero(nowhere)
    columns["postcode"] = columns["postcode"].scatter(rows, places.postcodes[-1])
    note(nowhere, "no_abode")
    return {
        name: _emptied(
            lives, asked, column, "postcode_missing" if name == "postcode" else "address_missing", note
        )
        for name, column in columns.items()
    }


def _emptied(lives: Lives, asked: Asked, column: pl.Series, slip: str, note: _Note) -> pl.Series:
    p = dict(asked.errors.missing).get(column.name, 0.0)
    made = emptied(lives.county.draws, column, asked.number, p, asked.file)
    if p:
        note(made.is_null(), slip)
    return made
