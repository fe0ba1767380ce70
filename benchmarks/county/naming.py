"""Names over time: at birth, after a marriage or a separation; names gone by; names of a new identity.

A person has up to three surnames one after the other and the days on which they changed, a forename, a middle
name, and for some another surname they are known by. Names are codes into the vocabularies of `names.Names`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.county.county import CHILDREN, ELDER, NEVER, NEWCOMER, PARENT, PARTNER, County
from benchmarks.county.families import drawn_as
from benchmarks.county.persons import ADOPTED, PROTECTED, REASSIGNED, UNCHANGED, Households, Persons
from benchmarks.dates import YEAR, year_of
from benchmarks.draw import Flags, Ints
from benchmarks.errors import Side
from benchmarks.names import COMMUNITIES

MARRIED, KEEPS_NAME, DOUBLE_BARRELLED, TAKES_NEW_NAME, GOES_BACK = 0.6, 0.2, 0.06, 0.3, 0.25
CHILD_HAS = (0.72, 0.22)  # the partner's surname, the parent's own; the rest have both
KNOWN_BY_NEW_PARTNER = 0.2  # of children with one: a surname in use that is not the legal one
MIDDLE = 0.75
ALIASES = 0.08  # of adults and young people: a forename they also give
#: Second names that say what a person is rather than which one, by community and sex; many files have them
#: as the surname.
TITLES = (("BEGUM", "ALI"), ("KAUR", "SINGH"))
TITLED = (0.3, 0.55)
MUSLIM, SIKH_OR_HINDU = COMMUNITIES.index("south_asian_muslim"), COMMUNITIES.index("south_asian_other")


@dataclass(frozen=True)
class Named:
    """One row a person.

    Attributes:
        forename, middle: codes of forenames; middle −1 for none, and −2 … −5 for a title (`TITLES`). surname,
            double: codes of surnames, [3, persons]: first, second, third; double is the second half or −1.
        renamed: days of the second and the third surname, [2, persons], or `NEVER`.
        known_as: code of another surname a child is known by, or −1.
        alias: code of another forename a person gives, or −1.
        new_forename, new_surname: after a protected change of identity.
    """

    forename: Ints
    middle: Ints
    surname: Ints
    double: Ints
    renamed: Ints
    known_as: Ints
    alias: Ints
    new_forename: Ints
    new_surname: Ints

    def at(self, persons: Persons, rows: Ints, on: Ints) -> tuple[Ints, Ints, Ints]:
        """Forename, surname and its second half (−1 for none) of some persons on a day each."""
        turn = (on >= self.renamed[0, rows]).astype(np.int64) + (on >= self.renamed[1, rows])
        surname, double = self.surname[turn, rows], self.double[turn, rows]
        changed = on >= persons.changed[rows]
        other_surname = changed & (persons.change[rows] != REASSIGNED)
        return (
            np.where(changed, self.new_forename[rows], self.forename[rows]),
            np.where(other_surname, self.new_surname[rows], surname),
            np.where(other_surname, -1, double),
        )


def named(county: County, homes: Households, persons: Persons) -> Named:
    """Give everybody in a block their names."""
    draws, names, number = county.draws, county.names, persons.number
    community = homes.community[persons.row]
    forename = _forenames(county, homes, persons, community)
    surname, double, renamed = _surnames(county, homes, persons)
    first = surname[0].copy()
    middle = np.full(len(number), -1, np.int64)
    rows = np.flatnonzero(draws.chance("middle", number, MIDDLE))
    source = Side(draws, "middle")
    middle[rows] = names.forename(
        source, number[rows], community[rows], persons.sex[rows], year_of(persons.born[rows])
    )
    for turn, (place, p) in enumerate(zip((MUSLIM, SIKH_OR_HINDU), TITLED, strict=True)):
        titled = (community == place) & draws.chance("title", number, p)
        middle[titled] = -2 - 2 * turn - persons.sex[titled]
    # MOHAMMED before the name he goes by: half the files have the one, half the other as his forename.
    boys = (
        (community == MUSLIM)
        & (persons.sex == 1)
        & draws.chance("compound", number, county.preset.lookalikes.compound)
    )
    code = int((names.forenames == "MOHAMMED").arg_max() or 0)
    middle[boys & (forename != code)] = forename[boys & (forename != code)]
    forename[boys] = code

    new_partner = np.full(len(homes.number), -1, np.int64)
    newcomers = persons.slot == NEWCOMER
    new_partner[persons.row[newcomers]] = first[newcomers]
    child = (persons.slot >= CHILDREN.start) & (persons.slot < CHILDREN.stop)
    known_as = np.where(
        child & draws.chance("known as", number, KNOWN_BY_NEW_PARTNER), new_partner[persons.row], -1
    )
    alias = np.full(len(number), -1, np.int64)
    given = np.flatnonzero(draws.chance("alias", number, ALIASES))
    other = Side(draws, "alias")
    alias[given] = names.forename(
        other, number[given], community[given], persons.sex[given], year_of(persons.born[given])
    )
    new_forename, new_surname = _after_change(county, homes, persons, forename, first)
    # An adopted child has the household's surname from then on, and had another before.
    adopted = persons.change == ADOPTED
    new_surname[adopted], surname[:, adopted] = first[adopted], new_surname[adopted]
    double[:, adopted] = -1
    return Named(forename, middle, surname, double, renamed, known_as, alias, new_forename, new_surname)


def written_surnames(county: County, surname: Ints, double: Ints) -> pl.Series:
    """Surnames as text, double-barrelled ones with a hyphen."""
    made = county.names.surnames.gather(surname)
    rows = np.flatnonzero(double >= 0)
    if len(rows):
        halves = made.gather(rows) + "-" + county.names.surnames.gather(double[rows])
        made = made.scatter(rows, halves)
    return made.alias("surname")


def written_middles(county: County, middle: Ints) -> pl.Series:
    """Middle names as text, null for none."""
    made = county.names.forenames.gather(np.maximum(middle, 0))
    titles = np.flatnonzero(middle <= -2)
    if len(titles):
        flat = pl.Series([name for pair in TITLES for name in pair])
        made = made.scatter(titles, flat.gather(-2 - middle[titles]))
    return made.set(pl.Series(middle == -1), None).alias("middle")


def _forenames(county: County, homes: Households, persons: Persons, community: Ints) -> Ints:
    """By community, sex and year; no two children of a household share one, but father and son may."""
    draws, names = county.draws, county.names
    of, year = drawn_as(county, homes, persons), year_of(persons.born)
    forename = names.forename(draws, of, community, persons.sex, year)
    for turn in range(4):
        order = np.lexsort((persons.slot, forename, persons.row))
        ordered = persons.row[order], forename[order]
        same = np.flatnonzero((ordered[0][1:] == ordered[0][:-1]) & (ordered[1][1:] == ordered[1][:-1])) + 1
        again = order[same]
        if not len(again):
            break
        forename[again] = names.forename(
            Side(draws, f"again {turn}"),
            persons.number[again],
            community[again],
            persons.sex[again],
            year[again],
        )
    fathers = np.full(len(homes.number), -1, np.int64)
    partner = persons.slot == PARTNER
    fathers[persons.row[partner]] = forename[partner]
    return np.where(persons.junior, fathers[persons.row], forename)


def _surnames(county: County, homes: Households, persons: Persons) -> tuple[Ints, Ints, Ints]:
    draws, house, number = county.draws, homes.number, persons.number
    many = len(house)
    family = county.names.surname(draws, "surname", homes.kin, homes.community)
    own = county.names.surname(draws, "own surname", house, homes.community)
    absent = county.names.surname(draws, "absent surname", house, homes.community)

    def by_slot(slot: int) -> tuple[Ints, Flags]:
        place, there = np.zeros(many, np.int64), np.zeros(many, np.bool_)
        rows = np.flatnonzero(persons.slot == slot)
        place[persons.row[rows]], there[persons.row[rows]] = rows, True
        return place, there

    partner_at, coupled = by_slot(PARTNER)
    parent_at, _ = by_slot(PARENT)
    newcomer_at, new = by_slot(NEWCOMER)
    surname = np.repeat(
        county.names.surname(draws, "person's surname", number, homes.community[persons.row])[None], 3, 0
    )
    double = np.full((3, len(number)), -1, np.int64)
    renamed = np.full((2, len(number)), NEVER)

    # The partner brings the family's surname, the parent takes it on marriage.
    surname[:, partner_at[coupled]] = family[coupled]
    surname[:, parent_at] = np.where(coupled, own, family)
    wed = coupled & draws.chance("married", house, MARRIED) & ~draws.chance("keeps name", house, KEEPS_NAME)
    on = homes.together + (YEAR * 6 * draws.share("wedding", house)).astype(np.int64)
    wed &= on < homes.separated
    barrelled = wed & draws.chance("double-barrelled", house, DOUBLE_BARRELLED / MARRIED)
    at = parent_at[wed]
    renamed[0, at] = on[wed]
    surname[1:, at] = np.where(barrelled, own, family)[wed]
    double[1:, at] = np.where(barrelled, family, -1)[wed]
    back = wed & (homes.separated < NEVER) & draws.chance("goes back", house, GOES_BACK)
    renamed[1, parent_at[back]] = homes.separated[back] + 200
    surname[2, parent_at[back]], double[2, parent_at[back]] = own[back], -1
    again = new & ~back & draws.chance("takes new name", house, TAKES_NEW_NAME)
    renamed[1, parent_at[again]] = persons.joined[newcomer_at[again]] + 400
    surname[2, parent_at[again]], double[2, parent_at[again]] = surname[0, newcomer_at[again]], -1

    # Children: the partner's, the parent's own, or both; one who was never there leaves his name to some.
    child = (persons.slot >= CHILDREN.start) & (persons.slot < CHILDREN.stop)
    row = persons.row[child]
    kind = np.searchsorted(np.cumsum(CHILD_HAS), draws.share("child's surname", house[row]))
    other_parent = np.where(coupled, family, absent)[row]
    parents_own = np.where(coupled, own, family)[row]
    surname[:, child] = np.where(kind == 0, other_parent, parents_own)
    double[:, child] = np.where(kind == 2, other_parent, -1)
    elder = np.flatnonzero(persons.slot == ELDER)
    surname[:, elder] = np.where(coupled, own, family)[persons.row[elder]]
    # A daughter who has left home marries.
    bride = np.flatnonzero(
        child
        & (persons.sex == 0)
        & (persons.left < NEVER)
        & ~persons.care
        & draws.chance("bride", number, 0.3)
    )
    renamed[0, bride] = persons.left[bride] + 500
    surname[1:, bride] = county.names.surname(
        draws, "bride's surname", number[bride], homes.community[persons.row[bride]]
    )
    double[1:, bride] = -1
    return surname, double, renamed


def _after_change(
    county: County, homes: Households, persons: Persons, forename: Ints, surname: Ints
) -> tuple[Ints, Ints]:
    """New forenames and surnames of those whose identity changed; the old ones for everybody else."""
    new_forename, new_surname = forename.copy(), surname.copy()
    rows = np.flatnonzero(persons.change != UNCHANGED)
    if not len(rows):
        return new_forename, new_surname
    draws, number = county.draws, persons.number[rows]
    community, change = homes.community[persons.row[rows]], persons.change[rows]
    sex = persons.sex[rows] ^ (change == REASSIGNED)
    other = county.names.forename(Side(draws, "new"), number, community, sex, year_of(persons.born[rows]))
    given = (change == REASSIGNED) | (change == PROTECTED) | draws.chance("renamed child", number, 0.3)
    new_forename[rows] = np.where(given, other, forename[rows])
    new_surname[rows] = county.names.surname(draws, "new surname", number, community)
    return new_forename, new_surname
