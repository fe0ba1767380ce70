"""All the truth about one block of households, put together, and the numbers its people have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.county.contacts import ELSEWHERE, Contacts, contacts
from benchmarks.county.county import CHILDREN, NEVER, NOW, SINCE, Block, County
from benchmarks.county.families import lives
from benchmarks.county.naming import Named, named
from benchmarks.county.persons import UNCHANGED, Households, Persons
from benchmarks.county.problems import Needs, needs
from benchmarks.dates import YEAR, year_of
from benchmarks.draw import Ints

NINO_FROM, UPN_FROM, ULN_FROM = 16, 4, 14  # years of age


@dataclass(frozen=True)
class Lives:
    """The people of a block and what became of them.

    Attributes:
        county, homes, persons, named, needs, contacts: see their modules.
        renumbered: day from which a person has another NHS number, `NEVER` for most: a change of identity, or
            a number that was replaced.
        known_to_police: day of the first contact, or `NEVER`.
        sibling: row of the person beside each in the household, −1 for none.
    """

    county: County
    homes: Households
    persons: Persons
    named: Named
    needs: Needs
    contacts: dict[str, Contacts]
    renumbered: Ints
    known_to_police: Ints
    sibling: Ints

    def nhs_place(self, rows: Ints, on: Ints) -> Ints:
        """Places in the list of NHS numbers: those that the persons had on a day each."""
        second = on >= self.renumbered[rows]
        return self.county.place("nhs", self.persons.number[rows] + second * self.county.span)

    def nino_place(self, rows: Ints, on: Ints) -> Ints:
        """Places of NINOs, times four, plus the suffix; −1 for those too young on the day."""
        number = self.persons.number[rows]
        made = self.county.place("nino", number) * 4 + self.county.draws.below("nino suffix", number, 4)
        return np.where((on - self.persons.born[rows]) / YEAR >= NINO_FROM, made, -1)

    def upn_place(self, rows: Ints, on: Ints) -> tuple[Ints, Ints]:
        """Places of UPNs and the years given; −1 for those not yet at school. New after an adoption."""
        persons = self.persons
        second = (on >= persons.changed[rows]) & (persons.change[rows] != UNCHANGED)
        born = year_of(persons.born[rows])
        given = np.where(
            second,
            np.maximum(born + UPN_FROM, year_of(np.minimum(persons.changed[rows], NOW))),
            born + UPN_FROM,
        )
        at_school = ((on - persons.born[rows]) / YEAR >= UPN_FROM) & (born >= 2000)
        place = self.county.place("upn", persons.number[rows] + second * self.county.span)
        return np.where(at_school, place, -1), given

    def pncid(self, rows: Ints) -> tuple[Ints, Ints]:
        """Year and serial of PNCIDs, never both alike. Year −1 for those unknown to the police."""
        first = self.known_to_police[rows]
        place = self.county.place("pncid", self.persons.number[rows])
        ages = -(-self.county.span // 10**7)  # so many people share a serial, in years that differ
        year = year_of(np.minimum(first, NOW))
        year -= (year - place // 10**7) % ages
        return np.where(first < NEVER, year, -1), place % 10**7


def block_lives(county: County, block: Block) -> Lives:
    """Make one block."""
    homes, persons = lives(county, block)
    names = named(county, homes, persons)
    wants = needs(county, homes, persons)
    heard = contacts(county, homes, persons, wants, ELSEWHERE if block.elsewhere else {})
    draws, number = county.draws, persons.number
    replaced = SINCE + (draws.share("superseded on", number) * (NOW - SINCE)).astype(np.int64)
    superseded = draws.chance("superseded", number, county.preset.superseded) & (replaced > persons.born)
    renumbered = np.where(superseded & (persons.change == UNCHANGED), replaced, persons.changed)
    police = np.full(len(persons), NEVER)
    np.minimum.at(police, heard["pnc"].rows, heard["pnc"].on)
    return Lives(county, homes, persons, names, wants, heard, renumbered, police, _siblings(persons))


def _siblings(persons: Persons) -> Ints:
    child = (persons.slot >= CHILDREN.start) & (persons.slot < CHILDREN.stop)
    place = np.arange(len(persons))
    before, after = np.maximum(place - 1, 0), np.minimum(place + 1, len(persons) - 1)

    def beside(other: Ints) -> Ints:
        same = (persons.row[other] == persons.row) & (child[other] == child) & (other != place)
        return np.where(same, other, -1)

    one, two = beside(before), beside(after)
    return np.where(one >= 0, one, two)
