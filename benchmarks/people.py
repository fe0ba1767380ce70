"""Made-up people in households: who each person is, as a function of the seed and the person's number.

A person is a number; everything about the person is computed from it, so a population of sixty million takes
no memory. Persons come in blocks of a thousand, a block is divided into households by one of a few templates,
and a household has a dwelling, a naming community and a surname which its members mostly share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.dates import TODAY, YEAR, first_of_year, year_of
from benchmarks.draw import Draws, Flags, Ints, Permutation
from benchmarks.identifiers import NHS_NUMBERS, NINO_PREFIXES, nhs_number
from benchmarks.names import COMMUNITIES, names
from benchmarks.places import Places

BLOCK, HOMES = 1000, 512  # persons, and dwellings at most, of a block
TEMPLATES = 64
#: Shares of households with one, two, … six persons (about those of the census of 2021).
HOUSEHOLD_SIZES = (0.30, 0.34, 0.16, 0.13, 0.05, 0.02)
COUPLES = (0.0, 0.78, 0.70, 0.80, 0.80, 0.75)  # of households by size: the first two are a couple
PARTNER_KEEPS_NAME = 0.22
DOUBLE_BARRELLED = 0.025  # of households
TWINS = 0.015  # of children with an elder sibling
#: Naming communities by kind of district, in the order of `names.COMMUNITIES`, and how common the kind is.
MIXES = np.array(
    [
        [0.95, 0.02, 0.01, 0.01, 0.01],
        [0.86, 0.05, 0.04, 0.03, 0.02],
        [0.60, 0.08, 0.16, 0.09, 0.07],
        [0.72, 0.20, 0.03, 0.02, 0.03],
    ]
)
MIX_SHARES = (0.45, 0.30, 0.15, 0.10)
#: Born on an unknown day, which was written down as 1 January: by community.
FIRST_OF_JANUARY = np.array([0.0005, 0.001, 0.02, 0.006, 0.03])
#: Ages of the first person of a household at nought, a fifth, … all of them: of one, two, more persons.
AGES = ((18, 31, 48, 63, 77, 101), (19, 31, 44, 59, 71, 92), (20, 32, 38, 44, 52, 76))
AGE_POINTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
NINO_FROM = 16  # years of age


class People(NamedTuple):
    """Some persons, a row each; names and addresses are codes into the population's vocabularies.

    Attributes:
        number: which persons.
        household: a number of the household.
        community: place in `names.COMMUNITIES`.
        sex: place in `names.SEXES`.
        forename, surname: codes; `double` is the second half of a double-barrelled surname or −1.
        born: days since 1970-01-01.
        dwelling: where they live.
        nhs_number: ten digits with their check digit.
        nino: prefix · 10⁶ + digits, times four, + suffix; −1 for those too young.
    """

    number: Ints
    household: Ints
    community: Ints
    sex: Ints
    forename: Ints
    surname: Ints
    double: Ints
    born: Ints
    dwelling: Ints
    nhs_number: Ints
    nino: Ints


class Population:
    """The people of one seed.

    Attributes:
        count: how many persons there are.
        draws: the source of chance.
        names, places: the vocabularies.
    """

    def __init__(self, count: int, seed: int) -> None:
        """Prepare; nobody is made yet.

        Raises:
            ValueError: more people than there are NHS numbers to give.
        """
        if count > NHS_NUMBERS:
            raise ValueError(f"At most {NHS_NUMBERS:,} people.")
        self.count, self.draws, self.names = count, Draws(seed), names()
        homes = -(-count // BLOCK) * HOMES
        self.places = Places(homes, self.draws)
        self._dwellings = Permutation(self.places.count, self.draws, "dwelling")
        self._nhs = Permutation(NHS_NUMBERS, self.draws, "nhs number")
        self._ninos = Permutation(len(NINO_PREFIXES) * 10**6, self.draws, "nino")
        self._ordinal, self._place, self._size = _templates(seed)
        self._mixes = Mixes(self.places, self.draws)

    def people(self, number: Ints) -> People:
        """The persons of these numbers."""
        draws = self.draws
        block, within = number // BLOCK, number % BLOCK
        template = draws.below("template", block, TEMPLATES)
        place, size = (table[template, within].astype(np.int64) for table in (self._place, self._size))
        household = block * HOMES + self._ordinal[template, within]
        dwelling = self._dwellings.to(household)
        community = self._mixes.community(household, dwelling)
        couple = draws.share("couple", household) < np.array(COUPLES)[size - 1]
        partner = couple & (place == 1)
        sex = self._sex(number, household, place, partner)
        born = self._born(household, place, size, partner, ~partner & (place > 0))
        community_birth = draws.chance("born 1 January", number, FIRST_OF_JANUARY[community])
        born = np.where(community_birth, first_of_year(born), born)
        year = year_of(born)
        surname = self.names.surname(draws, "surname", household, community)
        own = partner & draws.chance("keeps name", household, PARTNER_KEEPS_NAME)
        surname = np.where(own, self.names.surname(draws, "own surname", number, community), surname)
        double = np.full(len(number), -1, np.int64)
        doubled = ~own & (community == 0) & draws.chance("double-barrelled", household, DOUBLE_BARRELLED)
        double[doubled] = self.names.surname(draws, "second half", household[doubled], community[doubled])
        return People(
            number,
            household,
            community,
            sex,
            self.names.forename(draws, number, community, sex, year),
            surname,
            double,
            born,
            dwelling,
            nhs_number(self._nhs.to(number)),
            self._nino(number, born),
        )

    def elsewhere(self, what: str, of: Ints) -> Ints:
        """A dwelling to move to for each number in `of`."""
        return self.draws.below(what, of, self.places.count)

    def _sex(self, number: Ints, household: Ints, place: Ints, partner: Flags) -> Ints:
        """The first of a household and children by chance, a partner nearly always the other sex."""
        first = self.draws.below("sex of first", household, 2)
        other = first ^ ~self.draws.chance("same sex", household, 0.02)
        own = self.draws.below("sex", number, 2)
        return np.where(place == 0, first, np.where(partner, other, own)).astype(np.int64)

    def _born(self, household: Ints, place: Ints, size: Ints, partner: Flags, child: Flags) -> Ints:
        """Days since 1970: the first by the size of the household, a partner near, children a birth apart."""
        draws = self.draws
        share = draws.share("age", household)
        points = np.minimum(size, 3) - 1
        age = np.choose(points, [np.interp(share, AGE_POINTS, ages) for ages in AGES])
        gap = 9.0 * (draws.share("gap 1", household) + draws.share("gap 2", household) - 0.7)
        partner_age = np.where(age + gap < 18.0, age, age + gap)
        # A twin has the birthday of the child before.
        event = household * 8 + place
        event -= child & (place > 1) & draws.chance("twin", event, TWINS)
        parent = 18 + 13 * (draws.share("parent 1", event) + draws.share("parent 2", event))
        young = np.where(age > parent, age - parent, 17.9 * draws.share("young", event))
        years = np.where(child, young, np.where(partner, partner_age, age))
        return int(TODAY.astype(np.int64)) - (years * YEAR).astype(np.int64)

    def _nino(self, number: Ints, born: Ints) -> Ints:
        made = self._ninos.to(number) * 4 + self.draws.below("nino suffix", number, 4)
        grown = born <= int(TODAY.astype(np.int64)) - NINO_FROM * YEAR
        return np.where(grown, made, -1)


class Mixes:
    """Which naming community a household is of, by the kind of district it lives in."""

    def __init__(self, places: Places, draws: Draws) -> None:
        """Give each district its kind."""
        districts = np.arange(int(places.district_of[-1]) + 1)
        mix = np.searchsorted(np.cumsum(MIX_SHARES), draws.share("mix", districts))
        self._places, self._draws = places, draws
        self._bounds = np.cumsum(MIXES, axis=1)[np.minimum(mix, len(MIXES) - 1)]

    def community(self, household: Ints, dwelling: Ints) -> Ints:
        """Places in `names.COMMUNITIES`."""
        district = self._places.district_of[self._places.postcode(dwelling)]
        share = self._draws.share("community", household)
        community = np.zeros(len(household), np.int64)
        for bound in self._bounds.T[:-1]:
            community += share >= bound[district]
        return np.minimum(community, len(COMMUNITIES) - 1)


def _templates(seed: int) -> tuple[NDArray[np.int16], NDArray[np.int8], NDArray[np.int8]]:
    """Ways to divide a block into households: each person's household, place in it, and its size."""
    rng = np.random.default_rng(seed)
    ordinals: list[Ints] = []
    places: list[Ints] = []
    sizes: list[Ints] = []
    while len(ordinals) < TEMPLATES:
        drawn = rng.choice(np.arange(1, len(HOUSEHOLD_SIZES) + 1), HOMES, p=HOUSEHOLD_SIZES)
        ends = np.cumsum(drawn)
        if ends[-1] < BLOCK:
            continue
        many = int(np.searchsorted(ends, BLOCK)) + 1
        drawn[many - 1] -= ends[many - 1] - BLOCK
        drawn = drawn[:many]
        ordinals.append(np.repeat(np.arange(many), drawn))
        places.append(np.arange(BLOCK) - np.repeat(np.cumsum(drawn) - drawn, drawn))
        sizes.append(np.repeat(drawn, drawn))
    return np.array(ordinals, np.int16), np.array(places, np.int8), np.array(sizes, np.int8)
