"""The truth of a made-up county: lives that can be lived, families as the programme has them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from benchmarks.county import truth
from benchmarks.county.block import Lives, block_lives
from benchmarks.county.councils import members
from benchmarks.county.county import CHILDREN, NEVER, NOW, PARTNER, County
from benchmarks.county.persons import ADOPTED
from benchmarks.county.presets import PRESETS
from benchmarks.county.problems import INDICATORS, INTERVENTION
from benchmarks.county.registers import held
from benchmarks.dates import YEAR

FAMILIES = 2500


def within(count, trials, p):
    """Whether a count is within five standard deviations of what the rate says."""
    return abs(count - trials * p) <= 5 * math.sqrt(max(1.0, trials * p * (1 - p)))


def made(preset: str, seed: int = 4) -> Lives:
    county = County(FAMILIES, seed, PRESETS[preset])
    return block_lives(county, next(county.blocks()))


@pytest.fixture(scope="module")
def lives() -> Lives:
    return made("realistic")


@pytest.fixture(scope="module")
def hard_to_tell() -> Lives:
    return made("adversarial")


@pytest.fixture(scope="module")
def badly_kept() -> Lives:
    return made("hard")


@pytest.fixture(scope="module", params=["lives", "hard_to_tell"])
def either(request) -> Lives:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def people(either) -> pl.DataFrame:
    persons = either.persons
    return pl.DataFrame(
        {
            name: getattr(persons, name)
            for name in (
                "number",
                "row",
                "slot",
                "sex",
                "born",
                "died",
                "twin_of",
                "parent_1",
                "parent_2",
                "junior",
            )
        }
    ).with_columns(forename=either.named.forename, middle=either.named.middle)


def test_parents_are_older_and_alive_when_a_child_is_conceived(people):
    for parent in ("parent_1", "parent_2"):
        both = people.join(people, left_on=parent, right_on="number", suffix="_parent")
        assert both.height == (people[parent] >= 0).sum() > 400
        assert (both["born"] - both["born_parent"]).min() > 15.5 * YEAR
        assert (both["died_parent"] - both["born"]).min() > -280
    mothers = people.filter(pl.col("slot").is_between(2, 7)).join(
        people, left_on="parent_1", right_on="number"
    )
    assert (mothers["born"] - mothers["born_right"]).max() < 47 * YEAR


def test_lives_have_a_beginning_before_their_end(either):
    persons = either.persons
    assert (persons.born <= NOW).all()
    assert (persons.died > persons.born).all()
    assert (persons.joined >= persons.born).all()
    assert ((persons.changed == NEVER) == (persons.change == 0)).all()
    assert (persons.changed > persons.born).all()


def test_twins_share_a_day_of_birth_and_parents_and_other_siblings_do_not(people):
    twins = people.filter(pl.col("twin_of") >= 0).join(
        people, left_on="twin_of", right_on="number", suffix="_first"
    )
    assert twins.height >= 50
    for name in ("born", "row", "parent_1", "parent_2"):
        assert (twins[name] == twins[f"{name}_first"]).all()
    children = people.filter(pl.col("slot").is_between(2, 7), pl.col("twin_of") < 0)
    for _, family in children.sort("born").group_by("row"):
        assert all(later - earlier > 0.8 * YEAR for earlier, later in pairwise(family["born"]))


def test_twins_come_as_often_as_the_preset_says(lives, hard_to_tell):
    for one in (lives, hard_to_tell):
        child = (one.persons.slot > CHILDREN.start) & (one.persons.slot < CHILDREN.stop)
        # A birth that would lie ahead is left out, a twin's less often than another's.
        rate = (one.persons.twin_of[child] >= 0).mean()
        assert 0.9 < rate / one.county.preset.lookalikes.twins < 1.6


def test_two_children_of_a_household_have_two_forenames(people):
    named = people.filter(pl.col("slot").is_between(2, 7)).group_by("row", "forename", "middle").len()
    assert (named["len"] > 1).sum() <= named.height / 1000


def test_a_junior_has_his_fathers_forename(hard_to_tell):
    persons, forename = hard_to_tell.persons, hard_to_tell.named.forename
    by_number = dict(zip(persons.number.tolist(), forename.tolist(), strict=True))
    juniors = np.flatnonzero(persons.junior)
    assert len(juniors) > 100
    same = [forename[at] == by_number[persons.parent_2[at]] for at in juniors]
    # He who is called MOHAMMED before his own name is MOHAMMED whatever his father is.
    assert np.mean(same) > 0.9


def test_cousins_bear_one_surname(hard_to_tell):
    homes = hard_to_tell.homes
    second = np.flatnonzero(homes.kin != homes.number)
    assert within(len(second), FAMILIES // 2, hard_to_tell.county.preset.lookalikes.cousins)
    assert (homes.kin[second] == homes.number[second] - 1).all()
    assert (homes.community[second] == homes.community[second - 1]).all()
    partner = {
        int(row): at
        for at, row in enumerate(hard_to_tell.persons.row)
        if hard_to_tell.persons.slot[at] == PARTNER
    }
    pairs = [(partner[at], partner[at - 1]) for at in second.tolist() if at in partner and at - 1 in partner]
    birth = hard_to_tell.named.surname[0]
    unchanged = [(a, b) for a, b in pairs if hard_to_tell.persons.change[[a, b]].sum() == 0]
    assert len(unchanged) > 100
    assert all(birth[a] == birth[b] for a, b in unchanged)


def test_families_are_those_of_the_programme(lives):
    persons, homes = lives.persons, lives.homes
    own = homes.assessed[persons.row]
    here = own & (persons.joined <= NOW) & (persons.left > NOW) & (persons.died > NOW)
    child = (persons.slot >= CHILDREN.start) & (persons.slot < CHILDREN.stop)
    ever = np.bincount(persons.row[own & child], minlength=len(homes.number))[homes.assessed]
    adults = np.bincount(persons.row[here & ~child & (persons.slot < 8)], minlength=len(homes.number))[
        homes.assessed
    ]
    assert 3.0 < here.sum() / FAMILIES < 4.0
    assert 0.22 < (ever >= 3).mean() < 0.36
    assert 0.35 < (adults <= 1).mean() < 0.6


def test_people_belong_to_two_families_in_turn_and_children_to_both(lives):
    known = members(lives)
    numbers = lives.persons.number[known.rows]
    many = pl.Series(numbers).value_counts().filter(pl.col("count") > 1)
    assert many.height > 30
    second = known.second == 1
    assert (known.since[second] >= lives.homes.separated[lives.persons.row[known.rows[second]]]).all()
    partners = second & (known.relation == 4)
    assert partners.any()
    assert (known.family[second] == lives.persons.row[known.rows[second]] + 1).all()
    assert lives.homes.assessed[known.family].all()


def test_an_adopted_child_takes_the_households_surname_and_new_numbers(hard_to_tell):
    persons, named = hard_to_tell.persons, hard_to_tell.named
    rows = np.flatnonzero(persons.change == ADOPTED)
    assert len(rows) > 20
    before, after = (named.at(persons, rows, persons.changed[rows] + days)[1] for days in (-1, 0))
    assert (before != after).mean() > 0.95
    places = [hard_to_tell.nhs_place(rows, persons.changed[rows] + days) for days in (-1, 0)]
    assert (places[0] != places[1]).all()
    grown = rows[(NOW - persons.born[rows] > 12 * YEAR)]
    one = hard_to_tell.upn_place(grown, np.full(len(grown), NOW))[0]
    other = hard_to_tell.upn_place(grown, persons.changed[grown] - 1)[0]
    assert (one != other).all()


def test_no_two_people_share_a_number(lives):
    everybody, today = np.arange(len(lives.persons)), np.full(len(lives.persons), NOW)
    assert len(np.unique(lives.nhs_place(everybody, today))) == len(everybody)
    for place in (lives.nino_place(everybody, today) // 4, lives.upn_place(everybody, today)[0]):
        known = place[place >= 0]
        assert len(np.unique(known)) == len(known) > 1000
    year, serial = lives.pncid(everybody)
    known = (year * 10**7 + serial)[year >= 0]
    assert len(np.unique(known)) == len(known) > 500


def test_a_family_is_eligible_by_two_distinct_problems_of_those_present(lives):
    """Counted again in plain Python from the tables of the truth."""
    families, known = truth.families(lives), truth.problems(lives)
    persons = lives.persons
    stays = pl.DataFrame({"person": persons.number, "joined": persons.joined, "left": persons.left})
    own = truth.people(lives).join(stays, on="person")
    stay = {row["person"]: row for row in own.iter_rows(named=True)}
    screened = dict(families.select("household", "screened").iter_rows())
    found: dict[int, set[str]] = {house: set() for house in screened}
    for row in known.iter_rows(named=True):
        day, who = screened[row["household"]], stay[row["person"]]
        number = (day - np.datetime64("1970-01-01").item()).days
        present = who["joined"] <= number < who["left"] and (who["died"] is None or who["died"] > day)
        if present and row["since"] <= day and (row["until"] is None or row["until"] > day):
            found[row["household"]].add(row["problem"])
    for row in families.iter_rows(named=True):
        assert row["problems"] == len(found[row["household"]])
        assert row["eligible"] == (len(found[row["household"]]) >= 2)
        assert (row["arm"] is not None) == row["eligible"]
    eligible = families.filter("eligible")
    assert 0.5 < eligible.height / families.height < 0.95
    assert within((eligible["arm"] == "intervention").sum(), eligible.height, INTERVENTION)
    started = families.drop_nulls("support_from")
    assert (started["arm"] == "intervention").all()
    assert (started["support_from"] > started["screened"]).all()


def test_problems_come_together_and_support_ends_some(lives):
    correlations = np.corrcoef(lives.needs.problems[:, lives.homes.assessed].astype(float))
    assert correlations[np.triu_indices(len(correlations), 1)].min() > 0.02
    row = lives.persons.row
    year_on = lives.needs.screened[row] + 365
    rates = {}
    for arm in (True, False):
        chosen = lives.needs.eligible[row] & (lives.needs.intervention[row] == arm)
        at_first = (lives.needs.begins <= lives.needs.screened[row]) & (
            lives.needs.ends > lives.needs.screened[row]
        )
        still = at_first & (lives.needs.ends > year_on)
        rates[arm] = still[:, chosen].sum() / at_first[:, chosen].sum()
    assert rates[True] < rates[False] - 0.05


def test_indicators_are_of_the_age_they_are_about(lives):
    for place, one in enumerate(INDICATORS):
        rows = np.flatnonzero(lives.needs.begins[place] < NEVER)
        assert len(rows)
        age = lives.persons.age(lives.needs.screened[lives.persons.row])[rows]
        assert age.min() >= one.ages[0]
        assert age.max() < one.ages[1] + 1


@pytest.mark.parametrize("register", ["pnc", "npd", "ilr", "wpls", "hes", "mhmds", "ndtms"])
def test_a_register_holds_those_it_heard_of_as_often_as_the_preset_says(badly_kept, register):
    one = badly_kept
    heard, records = one.contacts[register], held(one, register)
    preset = one.county.preset
    identity = heard.on >= one.persons.changed[heard.rows]
    known = np.unique(heard.rows * 2 + identity)
    first = records.number % 4 < 2
    assert within(first.sum(), len(known), preset.covered)
    unchanged = (one.persons.change[records.rows] == 0) & first
    assert within((~first).sum(), unchanged.sum(), preset.again_in_register)
    assert np.isin(records.rows * 2 + records.number % 2, known).all()
    ages = {"pnc": 10, "npd": 4, "ilr": 16, "wpls": 16, "mhmds": 18}
    assert ((heard.on - one.persons.born[heard.rows]) / YEAR).min() >= ages.get(register, 0) - 0.01
    assert (heard.on <= np.minimum(NOW, one.persons.died[heard.rows])).all()
    # A record is never newer than the person, nor of the other identity.
    assert (records.on >= one.persons.born[records.rows]).all()
    assert (records.on <= np.minimum(NOW, one.persons.died[records.rows])).all()
    assert ((records.on >= one.persons.changed[records.rows]) == (records.number % 2 == 1)).all()
