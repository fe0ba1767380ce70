"""Households and the people in them over fifteen years: births, couples, separations, care, deaths.

Everything is laid out on a grid of households by places (`county.SLOTS`) and pressed into one row a person at
the end. Dates are days since 1970-01-01, `NEVER` for what has not happened by the last delivery.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.county.county import (
    CHILDREN,
    ELDER,
    NEVER,
    NEWCOMER,
    NOW,
    PARENT,
    PARTNER,
    SINCE,
    SLOTS,
    Block,
    County,
)
from benchmarks.county.persons import (
    ADOPTED,
    PROTECTED,
    REASSIGNED,
    Households,
    Persons,
    Reals,
)
from benchmarks.dates import YEAR, first_of_year
from benchmarks.draw import Flags, Ints
from benchmarks.people import AGE_POINTS, AGES, FIRST_OF_JANUARY

#: Shares of families with one, two, … six children: a third of the assessed ones have three or more.
ASSESSED_CHILDREN, OTHER_CHILDREN = (0.33, 0.34, 0.19, 0.09, 0.03, 0.02), (0.44, 0.41, 0.11, 0.04, 0.0, 0.0)
WITH_CHILDREN, COUPLES_ALONE = 0.35, 0.33  # of the other households
COUPLE = (0.75, 0.85)  # of families with children, assessed and others: both parents once lived together …
SEPARATED = (0.35, 0.12)  # … and no longer do
NEW_PARTNER, ELDERS, BLENDED, BETWEEN = 0.3, 0.06, 0.25, 0.2
CARE, LEAVES_HOME = 0.03, 0.75
CHANGED = (0.0, 0.004, 0.001, 0.0005)  # of assessed families' children, of people over 14, of adults


def lives(county: County, block: Block) -> tuple[Households, Persons]:
    """The households of a block and all who ever lived in them."""
    grid = _Grid(county, *_households(county, block))
    eldest = _children(grid)
    _couples(grid, eldest)
    _later(grid, eldest, block.families)
    homes, number, there = grid.homes, grid.number, grid.there
    # Adults from some countries were born on a day nobody wrote down: 1 January in every file.
    unknown = np.repeat(FIRST_OF_JANUARY[homes.community], SLOTS)
    spiked = county.draws.chance("born 1 January", number.ravel(), unknown).reshape(number.shape)
    spiked[:, CHILDREN] = False
    born = np.where(spiked & there, first_of_year(grid.born), grid.born)
    sex = _sexes(county, homes, number, grid.twin_of, grid.children)
    # A parent dies after the last child is born.
    last_birth = born[:, CHILDREN].max(axis=1, initial=0, where=there[:, CHILDREN])[:, None]
    not_before = np.maximum(grid.joined, last_birth * (np.arange(SLOTS) == PARENT))
    died = _deaths(county, number, there, born, not_before)
    one, two = _parents(number, there, born, died, homes)
    row, slot = np.nonzero(there)
    flat = Persons(
        number=number[there], row=row, slot=slot, sex=sex[there], born=born[there], died=died[there],
        joined=grid.joined[there], left=grid.left[there], before=number[there] + 2 * county.span,
        after=number[there] + county.span, twin_of=grid.twin_of[there],
        parent_1=one[there], parent_2=two[there],
        junior=_juniors(county, homes, number, sex, two)[there], care=np.zeros(len(row), np.bool_),
        changed=np.full(len(row), NEVER), change=np.zeros(len(row), np.int64),
    )  # fmt: skip
    return homes, _fates(county, homes, flat)


class _Grid:
    """Who is in which place of which household, [households, SLOTS]; the steps below fill it in turn."""

    def __init__(self, county: County, homes: Households, children: Ints, couple: Flags) -> None:
        self.county, self.homes, self.children, self.couple = county, homes, children, couple
        self.number = homes.number[:, None] * SLOTS + np.arange(SLOTS)
        self.there = np.zeros(self.number.shape, np.bool_)
        self.born, self.joined, self.left = (np.full(self.number.shape, NEVER) for _ in range(3))
        self.twin_of = np.full(self.number.shape, -1)
        self.parent_born: Reals = np.zeros(len(homes.number))

    def each(self, what: str) -> Reals:
        """A draw for each place."""
        return self.county.draws.share(what, self.number.ravel()).reshape(self.number.shape)

    def one(self, what: str) -> Reals:
        """A draw for each household."""
        return self.county.draws.share(what, self.homes.number)

    def happens(self, what: str, p: float | Reals) -> Flags:
        """Something that comes to some of the households."""
        return self.county.draws.chance(what, self.homes.number, p)


def _children(grid: _Grid) -> Reals:
    """The eldest's birth, which is given back, and the gaps to the others; the parent's follows from it."""
    one, assessed = grid.one, grid.homes.assessed
    eldest = NOW - YEAR * (0.2 + np.where(assessed, 20.5, 27.0) * one("eldest"))
    gaps = YEAR * (0.85 + 4.5 * grid.each("gap")[:, CHILDREN] ** 2)
    twin = grid.each("twin")[:, CHILDREN] < grid.county.preset.lookalikes.twins
    twin[:, 0], gaps[:, 0] = False, 0.0
    births = eldest[:, None] + np.cumsum(np.where(twin, 0.0, gaps), axis=1)
    start = 16.5 + np.where(assessed, 0.0, 3.0) + 9.0 * (one("start 1") + one("start 2"))
    alone = np.where(
        grid.couple, np.interp(one("age"), AGE_POINTS, AGES[1]), np.interp(one("age"), AGE_POINTS, AGES[0])
    )
    grid.parent_born = np.where(grid.children > 0, eldest - YEAR * start, NOW - YEAR * alone)
    wanted = np.arange(6) < grid.children[:, None]
    grid.there[:, CHILDREN] = wanted & (births <= NOW) & (births - grid.parent_born[:, None] <= 46 * YEAR)
    grid.born[:, CHILDREN] = grid.joined[:, CHILDREN] = births.astype(np.int64)
    twin_of = grid.twin_of
    for place in range(CHILDREN.start + 1, CHILDREN.stop):
        first = np.where(twin_of[:, place - 1] >= 0, twin_of[:, place - 1], grid.number[:, place - 1])
        twin_of[:, place] = np.where(twin[:, place - CHILDREN.start] & grid.there[:, place], first, -1)
    made: Reals = eldest
    return made


def _couples(grid: _Grid, eldest: Reals) -> None:
    """Parent and partner: when they were born, moved in together and, some, apart."""
    one, born, joined, parents = grid.one, grid.born, grid.joined, grid.children > 0
    grid.there[:, PARENT], grid.there[:, PARTNER] = True, grid.couple
    born[:, PARENT] = grid.parent_born.astype(np.int64)
    older = YEAR * 9.0 * (one("older 1") + one("older 2") - 0.7)
    latest = np.where(parents, eldest - 16.5 * YEAR, NOW - 19 * YEAR)
    born[:, PARTNER] = np.minimum(grid.parent_born - older, latest).astype(np.int64)
    joined[:, PARENT] = born[:, PARENT] + int(16 * YEAR)
    grown = np.maximum(born[:, PARENT], born[:, PARTNER]) + 16.4 * YEAR
    met = np.where(parents, eldest - YEAR * (0.5 + 4 * one("met")), grown + 12 * YEAR * one("met"))
    together = np.minimum(np.maximum(grown, met), NOW - 90).astype(np.int64)
    joined[:, PARTNER] = together
    apart = grid.couple & grid.happens("separated", np.where(grid.homes.assessed, *SEPARATED))
    separated = np.where(apart, together + 30 + one("when apart") * (NOW - together - 30), NEVER)
    grid.left[:, PARTNER] = separated
    grid.homes = _with(
        grid.homes,
        together=np.where(grid.couple, together, NEVER),
        separated=separated.astype(np.int64),
    )


def _later(grid: _Grid, eldest: Reals, families: int) -> None:
    """New partners and grandparents who came to live with a family."""
    one, born, joined, parents = grid.one, grid.born, grid.joined, grid.children > 0
    apart = grid.homes.separated < NEVER
    # A partner who moves in with the family next in number is its new partner.
    blended = np.zeros(len(parents), np.bool_)
    pairs = np.arange(0, families - 1, 2)
    blended[pairs] = apart[pairs] & ~grid.couple[pairs + 1] & parents[pairs + 1]
    blended &= grid.happens("blended", BLENDED)
    grid.homes = _with(grid.homes, blended=blended)
    free = np.maximum(np.where(apart, grid.homes.separated, eldest + YEAR), SINCE)
    joined[:, NEWCOMER] = free + 60 + one("when new") * 3000
    new = parents & (apart | ~grid.couple) & grid.happens("new", NEW_PARTNER)
    grid.there[:, NEWCOMER] = new & (joined[:, NEWCOMER] <= NOW) & ~np.roll(blended, 1)
    near = grid.parent_born + YEAR * 14 * (one("newcomer") - 0.5)
    born[:, NEWCOMER] = np.minimum(near, joined[:, NEWCOMER] - 18 * YEAR)
    grid.there[:, ELDER] = parents & grid.happens("elder", ELDERS)
    born[:, ELDER] = grid.parent_born - YEAR * (17 + 20 * one("elder's age"))
    joined[:, ELDER] = NOW - YEAR * 10 * one("elder came")


def _households(county: County, block: Block) -> tuple[Households, Ints, Flags]:
    """With how many children there will be, and whether two parents or partners."""
    draws, house = county.draws, block.household
    assessed = np.arange(len(house)) < block.families
    likes = county.preset.lookalikes
    kind = draws.share("kind", house)
    family = assessed | (kind < WITH_CHILDREN)
    share = draws.share("children", house)
    children = 1 + np.where(
        assessed,
        np.searchsorted(np.cumsum(ASSESSED_CHILDREN[:-1]), share),
        np.searchsorted(np.cumsum(OTHER_CHILDREN[:-1]), share),
    )
    couple = np.where(
        family,
        draws.chance("couple", house, np.where(assessed, *COUPLE)),
        kind < WITH_CHILDREN + COUPLES_ALONE,
    )
    second = assessed & (house % 2 == 1)
    kin = np.where(second & draws.chance("cousins", house, likes.cousins), house - 1, house)
    community = county.mixes.community(kin, county.place("dwelling", kin))
    never = np.full(len(house), NEVER)
    none = np.zeros(len(house), np.bool_)
    between = draws.chance("between", house, BETWEEN)
    return (
        Households(house, assessed, community, kin, never, never, none, between),
        np.where(family, children, 0),
        couple,
    )


def _with(homes: Households, **changed: NDArray[np.generic]) -> Households:
    return Households(**(vars(homes) | changed))


def _sexes(county: County, homes: Households, number: Ints, twin_of: Ints, children: Ints) -> Ints:
    """0 female, 1 male. Most parents who bring up children are mothers; namesakes are of one sex."""
    draws = county.draws
    sex = draws.below("sex", _drawn_as(county, homes, number).ravel(), 2).reshape(number.shape)
    sex[:, PARENT] = draws.chance("father", homes.number, np.where(children > 0, 0.08, 0.5))
    for place in (PARTNER, NEWCOMER):
        same = draws.chance("same sex", number[:, place], 0.02)
        sex[:, place] = sex[:, PARENT] ^ ~same
    alike = draws.chance("twins alike", number.ravel(), county.preset.lookalikes.same_sex).reshape(
        number.shape
    )
    for place in range(CHILDREN.start + 1, CHILDREN.stop):
        other = sex[:, place - 1] ^ ~alike[:, place]
        sex[:, place] = np.where(twin_of[:, place] >= 0, other, sex[:, place])
    return sex


def _drawn_as(county: County, homes: Households, number: Ints) -> Ints:
    """Whose draw of sex and forename each has: their own, or that of a cousin of the same place."""
    child = np.zeros(SLOTS, np.bool_)
    child[CHILDREN] = True
    cousin = (homes.kin != homes.number)[:, None] & child
    alike = county.draws.chance("namesake", number.ravel(), county.preset.lookalikes.namesakes)
    return np.where(cousin & alike.reshape(number.shape), number - SLOTS, number)


def drawn_as(county: County, homes: Households, persons: Persons) -> Ints:
    """As `_drawn_as`, one for each person."""
    grid = homes.number[:, None] * SLOTS + np.arange(SLOTS)
    made: Ints = _drawn_as(county, homes, grid)[persons.row, persons.slot]
    return made


def _deaths(county: County, number: Ints, there: Flags, born: Ints, not_before: NDArray[np.generic]) -> Ints:
    """Deaths of the last ten years, more of them with age."""
    draws, flat = county.draws, number.ravel()
    age = (NOW - born) / YEAR
    p = np.where(age > 60, 0.12, np.where(age > 18, 0.006, 0.002)).ravel()
    dies = draws.chance("dies", flat, p).reshape(number.shape)
    on = NOW - (draws.share("died", flat).reshape(number.shape) * 10 * YEAR)
    on = np.maximum(on, np.maximum(born, not_before) + 1).astype(np.int64)
    return np.where(dies & there & (on <= NOW), on, NEVER)


def _parents(number: Ints, there: Flags, born: Ints, died: Ints, homes: Households) -> tuple[Ints, Ints]:
    """A child's parents: the first, and the partner if they were together nine months before."""
    one, two = np.full(number.shape, -1, np.int64), np.full(number.shape, -1, np.int64)
    one[:, CHILDREN] = number[:, [PARENT]]
    until = np.minimum(homes.separated, died[:, PARTNER])[:, None] + 270
    theirs = (
        there[:, [PARTNER]] & (born[:, CHILDREN] <= until) & (born[:, CHILDREN] > homes.together[:, None])
    )
    two[:, CHILDREN] = np.where(theirs, number[:, [PARTNER]], -1)
    one[:, PARENT] = np.where(there[:, ELDER], number[:, ELDER], -1)
    return one, two


def _juniors(county: County, homes: Households, number: Ints, sex: Ints, father: Ints) -> Flags:
    junior = np.zeros(number.shape, np.bool_)
    place = CHILDREN.start
    chosen = county.draws.chance("junior", homes.number, county.preset.lookalikes.junior)
    junior[:, place] = chosen & (sex[:, place] == 1) & (sex[:, PARTNER] == 1) & (father[:, place] >= 0)
    return junior


def _fates(county: County, homes: Households, persons: Persons) -> Persons:
    """Who leaves home, goes into care or becomes somebody else, and where people live then."""
    draws, number = county.draws, persons.number
    child = (persons.slot >= CHILDREN.start) & (persons.slot < CHILDREN.stop)
    assessed = homes.assessed[persons.row]
    left, after = persons.left.copy(), persons.after.copy()
    moves_to = persons.slot == PARTNER
    after = np.where(moves_to & homes.blended[persons.row], homes.number[persons.row] + 1, after)
    grown = persons.born + (YEAR * (17.7 + 7 * draws.share("leaves at", number))).astype(np.int64)
    leaves = child & draws.chance("leaves home", number, LEAVES_HOME)
    left = np.where(leaves & (grown <= NOW), grown, left)
    taken = persons.born + (YEAR * 16 * draws.share("care at", number)).astype(np.int64)
    care = child & assessed & draws.chance("care", number, CARE) & (taken <= NOW)
    left = np.where(care, taken, left)
    foster = 3 * county.span + draws.below("foster", number, 1 + county.households // 100)
    after = np.where(care, foster, after)

    p = np.array(CHANGED) * county.preset.lookalikes.identity
    share = draws.share("identity", number)
    at = draws.share("identity at", number)
    change = np.zeros(len(number), np.int64)
    changed = np.full(len(number), NEVER)
    adoptable = child & ~care & (persons.twin_of < 0)
    cases = (
        (ADOPTED, adoptable, persons.born + YEAR * (1 + 9 * at), p[ADOPTED] * np.where(assessed, 1.0, 0.1)),
        (REASSIGNED, persons.age(NOW) > 16, np.maximum(persons.born + 14 * YEAR, SINCE), p[REASSIGNED]),
        (PROTECTED, persons.age(NOW) > 20, np.maximum(persons.born + 18 * YEAR, SINCE), p[PROTECTED]),
    )  # fmt: skip
    low: Reals = np.zeros(len(number))
    for kind, able, on, chance in cases:
        if kind != ADOPTED:
            on = on + at * np.maximum(0, NOW - on)
        chosen = able & (share >= low) & (share < low + chance) & (on <= NOW) & (on < persons.died)
        change[chosen], changed[chosen] = kind, on[chosen].astype(np.int64)
        low = low + chance
    joined = np.where(change == ADOPTED, changed, persons.joined)
    left = np.where((change == ADOPTED) & (left <= joined), NEVER, left)
    return Persons(
        **(
            vars(persons)
            | {
                "left": left,
                "after": after,
                "care": care,
                "changed": changed,
                "change": change,
                "joined": joined,
            }
        )
    )
