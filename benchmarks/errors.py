"""What goes wrong between a person and a record, with stated rates.

`realistic` has the rates that CRATE measured between two sets of NHS records in Cambridgeshire and
Peterborough (crate_anon/linkage/constants.py), and `hard` about those of the ONS's synthetic data for linkage
(ONSBigData/synthetic4linkage). What happens to people between two files (moves, changes of name) happens on
the right side, slips of the pen on both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numba as nb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.dates import date_of, parts_of
from benchmarks.draw import Draws, Flags, Ints
from benchmarks.people import People, Population


@dataclass(frozen=True)
class Errors:
    """Chances of one side: per record to which the error can happen, unless it says otherwise.

    Attributes:
        nickname: another name in use stands for the forename, where one is known.
        forename_typo, surname_typo, street_typo, postcode_typo: one edit: a letter dropped,
            inserted, replaced or transposed.
        names_swapped: forename and surname have changed places.
        surname_changed: to another one, for females and males.
        half_surname: one half of a double-barrelled surname is dropped.
        birth_part: day, month or year is wrong; the date exists.
        birth_swapped: day and month have changed places, where that gives another date.
        birth_default: the first of January of the year.
        sex_wrong: the other sex.
        moved: a whole household lives elsewhere; moved_alone: a person.
        no_abode: the pseudo-postcode for no fixed abode.
        nhs_transposed, nino_transposed: two neighbouring digits have changed places, where they differ.
        missing: chance of no value, by column.
    """

    nickname: float = 0.0
    forename_typo: float = 0.0
    surname_typo: float = 0.0
    street_typo: float = 0.0
    postcode_typo: float = 0.0
    names_swapped: float = 0.0
    surname_changed: tuple[float, float] = (0.0, 0.0)
    half_surname: float = 0.0
    birth_part: float = 0.0
    birth_swapped: float = 0.0
    birth_default: float = 0.0
    sex_wrong: float = 0.0
    moved: float = 0.0
    moved_alone: float = 0.0
    no_abode: float = 0.0
    nhs_transposed: float = 0.0
    nino_transposed: float = 0.0
    missing: tuple[tuple[str, float], ...] = ()


CLEAN = Errors()
_REALISTIC = Errors(
    nickname=0.03,
    forename_typo=0.009,
    surname_typo=0.005,
    street_typo=0.02,
    postcode_typo=0.005,
    names_swapped=0.001,
    half_surname=0.1,
    birth_part=0.0023,
    birth_swapped=0.0002,
    birth_default=0.0005,
    sex_wrong=0.0017,
    no_abode=0.002,
    nhs_transposed=0.001,
    nino_transposed=0.002,
    missing=(
        ("forename", 0.001), ("surname", 0.0005), ("date_of_birth", 0.005), ("sex", 0.004), ("house", 0.01),
        ("street", 0.01), ("town", 0.02), ("postcode", 0.01), ("nhs_number", 0.25), ("nino", 0.4),
    ),
)  # fmt: skip
_HARD = Errors(
    nickname=0.15,
    forename_typo=0.1,
    surname_typo=0.09,
    street_typo=0.1,
    postcode_typo=0.03,
    names_swapped=0.01,
    half_surname=0.3,
    birth_part=0.15,
    birth_swapped=0.01,
    birth_default=0.005,
    sex_wrong=0.01,
    no_abode=0.005,
    nhs_transposed=0.02,
    nino_transposed=0.02,
    missing=(
        ("forename", 0.03), ("surname", 0.03), ("date_of_birth", 0.03), ("sex", 0.03), ("house", 0.05),
        ("street", 0.03), ("town", 0.05), ("postcode", 0.04), ("nhs_number", 0.6), ("nino", 0.7),
    ),
)  # fmt: skip


def _later(errors: Errors) -> Errors:
    """With what happens to people between the two files."""
    return replace(errors, surname_changed=(0.0567, 0.0134), moved=0.25, moved_alone=0.07)


#: Left and right side by name of the preset.
PRESETS = {
    "clean": (CLEAN, CLEAN),
    "realistic": (_REALISTIC, _later(_REALISTIC)),
    "hard": (_HARD, _later(_HARD)),
}


def befall(population: Population, people: People, errors: Errors, side: str) -> People:
    """The people as one side knows them: moves, names, dates and numbers."""
    draws, number, household = Side(population.draws, side), people.number, people.household
    dwelling = people.dwelling.copy()
    for what, of, p in (
        ("moved", household, errors.moved),
        ("moved alone", number, errors.moved_alone),
    ):
        gone = np.flatnonzero(draws.chance(what, of, p))
        dwelling[gone] = population.elsewhere(f"{side} {what} to", of[gone])

    surname, double = people.surname.copy(), people.double.copy()
    changed = np.flatnonzero(
        draws.chance("surname changed", number, np.array(errors.surname_changed)[people.sex])
    )
    surname[changed] = population.names.surname(
        population.draws, f"{side} new surname", number[changed], people.community[changed]
    )
    double[changed] = -1
    half = np.flatnonzero((double >= 0) & draws.chance("half", number, errors.half_surname))
    second = half[draws.chance("which half", number[half], 0.5)]
    surname[second] = double[second]
    double[half] = -1

    forename = people.forename.copy()
    known = np.flatnonzero(draws.chance("nickname", number, errors.nickname))
    forename[known] = population.names.nickname(population.draws, number[known], forename[known])
    return people._replace(
        forename=forename,
        surname=surname,
        double=double,
        born=misdated(draws, number, people.born, errors),
        sex=people.sex ^ draws.chance("sex wrong", number, errors.sex_wrong),
        dwelling=dwelling,
        nhs_number=transposed(draws, "nhs", number, people.nhs_number, 8, errors.nhs_transposed),
        nino=transposed(draws, "nino", number, people.nino // 4, 5, errors.nino_transposed) * 4
        + people.nino % 4,
    )


def misspelt(source: Draws, text: pl.Series, number: Ints, p: float, side: str) -> pl.Series:
    """The column with one edit in some of its values."""
    draws, what = Side(source, side), f"{text.name} typo"
    chosen = np.flatnonzero(draws.chance(what, number, p))
    if not len(chosen):
        return text
    before = text.gather(chosen)
    width = 2 + int(before.str.len_bytes().max())  # type: ignore[arg-type]
    letters = np.array(before.to_list(), f"S{width}")
    edits = [draws.below(f"{what} {part}", number[chosen], 1 << 30) for part in ("kind", "place", "letter")]
    _edit(letters.view(np.uint8).reshape(len(chosen), width), *edits)
    return replaced(text, chosen, pl.Series(letters.astype(str), dtype=pl.String))


def emptied(source: Draws, text: pl.Series, number: Ints, p: float, side: str) -> pl.Series:
    """The column with some of its values left out."""
    chosen = np.flatnonzero(Side(source, side).chance(f"{text.name} missing", number, p))
    return replaced(text, chosen, pl.Series([None] * len(chosen), dtype=pl.String)) if len(chosen) else text


def swapped(
    source: Draws, names: tuple[pl.Series, pl.Series], number: Ints, p: float, side: str
) -> tuple[pl.Series, pl.Series]:
    """Forename and surname, changed over in some rows."""
    chosen = np.flatnonzero(Side(source, side).chance("names swapped", number, p))
    if not len(chosen):
        return names
    one, other = names
    return replaced(one, chosen, other.gather(chosen)), replaced(other, chosen, one.gather(chosen))


def replaced(text: pl.Series, rows: Ints, values: pl.Series) -> pl.Series:
    """The column with other values in some rows."""
    return text.clone().scatter(rows, values)


def can_be_swapped(born: Ints) -> Flags:
    """Whether day and month changed over give another date."""
    _, month, day = parts_of(born)
    able: Flags = (day <= 12) & (day != month)
    return able


class Side(Draws):
    """The draws of one side: an error there says nothing about the other side."""

    def __init__(self, draws: Draws, side: str) -> None:
        super().__init__(draws.seed)
        self._side = side

    def key(self, what: str) -> np.uint64:
        return super().key(f"{self._side} {what}")


def misdated(draws: Draws, number: Ints, born: Ints, errors: Errors) -> Ints:
    """Another part, day and month changed over, or the first of the year: the last that happens counts."""
    made = born.copy()
    rows = np.flatnonzero(draws.chance("birth part", number, errors.birth_part))
    year, month, day = parts_of(born[rows])
    part = draws.below("which part", number[rows], 3)
    turn = draws.below("how wrong", number[rows], 1 << 20)
    # Another of the 28 days and 12 months that every year has; a year at most nine off.
    day = np.where(part == 0, (day + turn % 27) % 28 + 1, np.minimum(day, 28))
    month = np.where(part == 1, (month - 1 + 1 + turn % 11) % 12 + 1, month)
    year = np.where(part == 2, year - 1 - turn % 9, year)
    made[rows] = date_of(year, month, day)

    year, month, day = parts_of(born)
    rows = np.flatnonzero(can_be_swapped(born) & draws.chance("birth swapped", number, errors.birth_swapped))
    made[rows] = date_of(year[rows], day[rows], month[rows])
    rows = np.flatnonzero(draws.chance("birth default", number, errors.birth_default))
    made[rows] = date_of(year[rows], np.ones(len(rows), np.int64), np.ones(len(rows), np.int64))
    return made


def transposed(draws: Draws, what: str, number: Ints, value: Ints, places: int, p: float) -> Ints:
    """Two neighbouring digits changed over, at one of `places` places from the right; −1 stays."""
    rows = np.flatnonzero(draws.chance(f"{what} transposed", number, p) & (value >= 0))
    unit = 10 ** draws.below(f"{what} place", number[rows], places)
    chosen = value[rows]
    low, high = chosen // unit % 10, chosen // unit // 10 % 10
    made = value.copy()
    made[rows] = chosen + (low - high) * 9 * unit
    return made


# The neighbours of each letter on a British keyboard.
_NEAR = {
    "A": "QWSZ", "B": "VGHN", "C": "XDFV", "D": "ERSF", "E": "WSDR", "F": "RTDG", "G": "TYFH", "H": "YUGJ",
    "I": "UJKO", "J": "UIHK", "K": "IOJL", "L": "OPKM", "M": "NJKL", "N": "BHJM", "O": "IKLP", "P": "OLIU",
    "Q": "WASE", "R": "EDFT", "S": "AWDX", "T": "RFGY", "U": "YHJI", "V": "CFGB", "W": "QASE", "X": "ZSDC",
    "Y": "TGHU", "Z": "ASXC",
}  # fmt: skip
_KEYS = np.zeros((256, 4), np.uint8)
_KEYS[:] = np.frombuffer(b"EARS", np.uint8)
_KEYS[ord("E")] = np.frombuffer(b"WSDR", np.uint8)
for _letter, _near in _NEAR.items():
    _KEYS[ord(_letter)] = np.frombuffer(_near.encode(), np.uint8)
for _digit in range(10):
    _KEYS[48 + _digit] = [48 + (_digit + step) % 10 for step in (1, 9, 3, 7)]


@nb.njit(cache=True, nogil=True)
def _edited(row: Any, kind: Any, place: Any, letter: Any, keys: Any) -> Any:
    size = 0
    while size < len(row) and row[size] != 0:
        size += 1
    if size == 0:
        return
    at = place % size
    other = keys[row[at], letter % 4]
    if kind == 3 and at + 1 < size and row[at] != row[at + 1]:  # transpose
        row[at], row[at + 1] = row[at + 1], row[at]
    elif kind == 0 and size > 2:  # drop
        for i in range(at, size):
            row[i] = row[i + 1] if i + 1 < len(row) else 0
    elif kind == 1:  # insert
        for i in range(size, at, -1):
            row[i] = row[i - 1]
        row[at] = other
    else:  # replace
        row[at] = other


@nb.njit(cache=True, nogil=True)
def _edit_rows(rows: Any, kind: Any, place: Any, letter: Any, keys: Any) -> Any:
    for i in range(len(rows)):
        _edited(rows[i], kind[i] % 4, place[i], letter[i], keys)


def _edit(rows: NDArray[np.uint8], kind: Ints, place: Ints, letter: Ints) -> None:
    _edit_rows(rows, kind, place, letter, _KEYS)
