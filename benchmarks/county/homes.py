"""Where people live on a day: a household's dwellings one after the other, and who is with which household.

A household's moves are a function of its number, so a household that is not in the block, or that exists only
because somebody left home, has a history too.
"""

from __future__ import annotations

import numpy as np

from benchmarks.county.county import HOSTELS, NOW, PARTNER, SINCE, SLOTS, County
from benchmarks.county.persons import Households, Persons
from benchmarks.draw import Ints

MOVES = 5  # a household moves at most so often in the fifteen years …
MOVE = (0.35, 0.22)  # … each time with this chance, families of the study and others


def dwelling(county: County, household: Ints, on: Ints) -> Ints:
    """The dwelling of each household, real or not, on a day."""
    draws = county.draws
    moved: Ints = np.full(len(household), -1, np.int64)
    latest: Ints = np.full(len(household), SINCE - 1)
    p = np.where((household < county.families) | (household >= county.households), *MOVE)
    for turn in range(MOVES):
        day = SINCE + (draws.share(f"move {turn}", household) * (NOW - SINCE)).astype(np.int64)
        counts = draws.chance(f"moves {turn}", household, p) & (day <= on) & (day > latest)
        moved, latest = np.where(counts, turn, moved), np.where(counts, day, latest)
    made = county.place("dwelling", household % county.places.count)
    rows = np.flatnonzero(household >= county.households)
    made[rows] = draws.below("first dwelling", household[rows], county.places.count)
    for turn in range(MOVES):
        rows = np.flatnonzero(moved == turn)
        made[rows] = draws.below(f"dwelling {turn}", household[rows], county.places.count)
        hostel = rows[draws.chance(f"hostel {turn}", household[rows], county.preset.lookalikes.hostel)]
        made[hostel] = (
            draws.below(f"which hostel {turn}", household[hostel], HOSTELS) * 16 % county.places.count
        )
    return made


def household_of(
    county: County, homes: Households, persons: Persons, rows: Ints, on: Ints, turn: str
) -> Ints:
    """The household each of some persons lives with on a day.

    A child of separated parents who lives with both is with one or the other, by chance and `turn`: each file
    asked at another time.
    """
    at = persons.row[rows]
    house = homes.number[at]
    early, late = on < persons.joined[rows], on >= persons.left[rows]
    made = np.where(early, persons.before[rows], np.where(late, persons.after[rows], house))
    shared = homes.between[at] & (persons.parent_2[rows] >= 0) & (on >= homes.separated[at]) & ~late & ~early
    shared &= county.draws.chance(f"{turn} with the other parent", persons.number[rows], 0.4)
    other = np.where(homes.blended[at], house + 1, house * SLOTS + PARTNER + county.span)
    return np.where(shared, other, made)


def home(county: County, homes: Households, persons: Persons, rows: Ints, on: Ints, turn: str) -> Ints:
    """The dwelling of each of some persons on a day."""
    return dwelling(county, household_of(county, homes, persons, rows, on, turn), on)
