"""The generator of made-up people: valid numbers, stated rates, natural skew, the same people every time."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.dates import TODAY
from benchmarks.draw import Draws, Permutation
from benchmarks.errors import CLEAN, PRESETS, Errors, can_be_swapped
from benchmarks.people import FIRST_OF_JANUARY, Population
from benchmarks.population import COLUMNS, records, study, write_study
from linker.standardise.identifiers import nhs_number, nino
from linker.standardise.postcodes import postcode
from linker.standardise.steps import PROBLEM

MANY = 40_000


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(MANY, seed=5)


@pytest.fixture(scope="module")
def clean(population) -> pl.DataFrame:
    return records(population, np.arange(MANY), CLEAN, "left")


def within(count, trials, p):
    """Whether a count is within five standard deviations of what the rate says."""
    return abs(count - trials * p) <= 5 * math.sqrt(max(1.0, trials * p * (1 - p)))


def differing(one, other):
    return int(one.ne_missing(other).sum())


@pytest.mark.parametrize(
    ("column", "rule"), [("nhs_number", nhs_number), ("nino", nino), ("postcode", postcode)]
)
def test_every_number_and_postcode_is_valid(clean, column, rule):
    known = clean.select(pl.col(column).drop_nulls())
    checked = known.select(rule(pl.col(column)).whole.alias("checked")).unnest("checked")
    assert checked[PROBLEM].null_count() == known.height > MANY / 2


def test_the_tables_digits_are_those_that_a_plain_sum_gives(clean):
    digits = np.array([[int(digit) for digit in number] for number in clean["nhs_number"][:2000]])
    assert set(digits @ np.arange(10, 0, -1) % 11 - digits[:, 9] * 0) == {0}


def test_nobody_shares_an_nhs_number_or_a_nino(clean):
    assert clean["nhs_number"].n_unique() == MANY
    assert clean["nino"].drop_nulls().str.slice(0, 8).is_unique().all()


def test_children_have_no_nino_and_others_do(clean):
    sixteen = (TODAY - np.timedelta64(round(16 * 365.2425), "D")).astype(str)
    child = clean["date_of_birth"] > sixteen
    # A day written as 1 January is set after the number was given.
    spiked = clean["date_of_birth"].str.ends_with("01-01")
    assert (clean["nino"].is_null() == child).filter(~spiked).all()


def test_names_are_skewed(clean):
    surnames = clean["surname"].value_counts(sort=True)
    assert surnames["surname"][0] == "SMITH"
    assert 0.006 < surnames["count"][0] / MANY < 0.012
    assert 0.25 < surnames["count"][:500].sum() / MANY < 0.5
    assert surnames.height > 6_000
    assert (surnames["count"] == 1).sum() > 2_000
    forenames = clean["forename"].value_counts(sort=True)
    assert 0.01 < forenames["count"][0] / MANY < 0.03
    assert forenames.height > 1_200


def test_forenames_belong_to_a_sex_and_a_time(clean):
    year = clean["date_of_birth"].str.slice(0, 4).cast(pl.Int32)
    for name, sex, low, high in (
        ("DORIS", "F", 1900, 1945),
        ("ISLA", "F", 2009, 2030),
        ("KEVIN", "M", 1940, 1990),
    ):
        of_name = clean["forename"] == name
        assert of_name.sum() > 5
        assert set(clean["sex"].filter(of_name)) == {sex}
        assert year.filter(of_name).is_between(low, high).all()


def test_ages_and_the_first_of_january(population, clean):
    born = clean["date_of_birth"].str.to_date()
    age = (int(TODAY.astype(np.int64)) - born.to_physical().to_numpy()) / 365.2425
    assert age.min() >= 0
    assert age.max() < 105
    for low, high, least, most in ((0, 16, 0.12, 0.28), (16, 65, 0.5, 0.7), (65, 120, 0.12, 0.25)):
        assert least < ((age >= low) & (age < high)).mean() < most
    people = population.people(np.arange(MANY))
    rates = FIRST_OF_JANUARY[people.community] + 1 / 365.2425  # and those really born on the day
    spiked = clean["date_of_birth"].str.ends_with("01-01").sum()
    assert abs(spiked - rates.sum()) < 5 * math.sqrt(rates.sum())
    assert spiked > 1.5 * MANY / 365


def test_a_household_shares_an_address_and_mostly_a_surname(population, clean):
    home = clean.with_columns(pl.Series("household", population.people(np.arange(MANY)).household))
    homes = home.group_by("household").agg(
        pl.len(), pl.col("house", "street", "postcode", "surname").n_unique()
    )
    assert (homes["house"] == 1).all()
    assert (homes["postcode"] == 1).all()
    assert 2.0 < MANY / homes.height < 2.7
    several = homes.filter(pl.col("len") > 1)
    assert 0.7 < (several["surname"] == 1).sum() / several.height < 0.95
    postcodes = home["postcode"].n_unique()
    assert 8 < homes.height / postcodes <= 16


def test_postcodes_lie_in_one_town(clean):
    assert (clean.group_by("postcode").agg(pl.col("town").n_unique())["town"] == 1).all()


RATES = [
    ("nickname", "forename", 0.2),
    ("forename_typo", "forename", 0.2),
    ("surname_typo", "surname", 0.2),
    ("street_typo", "street", 0.2),
    ("postcode_typo", "postcode", 0.2),
    ("birth_part", "date_of_birth", 0.2),
    ("birth_swapped", "date_of_birth", 0.2),
    ("sex_wrong", "sex", 0.05),
    ("half_surname", "surname", 0.4),
]


@pytest.mark.parametrize(("error", "column", "p"), RATES)
def test_an_error_happens_at_its_rate_and_to_its_column_alone(population, clean, error, column, p):
    made = records(population, np.arange(MANY), Errors(**{error: p}), "right")
    able = pl.Series([True]).new_from_index(0, MANY)
    people = population.people(np.arange(MANY))
    if error == "nickname":
        known = population.names.nickname(population.draws, people.number, people.forename)
        able = pl.Series(known != people.forename)
    elif error == "birth_swapped":
        able = pl.Series(can_be_swapped(people.born))
    elif error == "half_surname":
        able = pl.Series(people.double >= 0)
    changed = made[column].ne_missing(clean[column])
    assert not (changed & ~able).any()
    assert within(changed.sum(), able.sum(), p)
    others = [name for name in COLUMNS if name != column]
    assert made.select(others).equals(clean.select(others))


def test_digits_change_places_at_their_rate_where_they_differ(population, clean):
    made = records(population, np.arange(MANY), Errors(nhs_transposed=0.2, nino_transposed=0.2), "right")
    for column in ("nhs_number", "nino"):
        known = clean[column].is_not_null()
        one, other = clean[column].filter(known), made[column].filter(known)
        assert within(differing(one, other), len(one), 0.2 * 0.9)  # one neighbour in ten is the same digit
        assert [sorted(value) for value in one] == [sorted(value) for value in other]
        assert (made[column].is_null() == clean[column].is_null()).all()


def test_changes_of_name_and_address_happen_at_their_rates(population, clean):
    errors = Errors(surname_changed=(0.2, 0.05), moved=0.2, moved_alone=0.1)
    made = records(population, np.arange(MANY), errors, "right")
    changed = made["surname"] != clean["surname"]
    for sex, p in (("F", 0.2), ("M", 0.05)):
        chosen = clean["sex"] == sex
        # A new surname is the old one by chance for one in three hundred.
        assert within(changed.filter(chosen).sum(), chosen.sum(), p * 0.997)
    moved = made["postcode"] != clean["postcode"]
    household = population.people(np.arange(MANY)).household
    homes = (
        pl.DataFrame({"household": household, "moved": moved})
        .group_by("household")
        .agg(pl.col("moved").all())
    )
    # A household moves whole, or all of its members of themselves: the one, the two.
    assert 0.2 < homes["moved"].sum() / homes.height < 0.2 + 0.8 * (0.31 * 0.1 + 0.35 * 0.01) + 0.02
    assert abs(moved.sum() / MANY - (1 - 0.8 * 0.9)) < 0.015


def test_missing_swapped_pseudo_and_default_values(population, clean):
    errors = Errors(
        names_swapped=0.1, birth_default=0.1, no_abode=0.1, missing=(("nhs_number", 0.3), ("town", 0.05))
    )
    made = records(population, np.arange(MANY), errors, "left")
    swapped = (made["forename"] == clean["surname"]) & (made["surname"] == clean["forename"])
    assert within(swapped.sum(), MANY, 0.1)
    assert within((made["postcode"] == "ZZ99 3VZ").sum(), MANY, 0.1)
    assert within(made["nhs_number"].null_count(), MANY, 0.3)
    assert within(made["town"].null_count(), MANY, 0.05)
    spiked = clean["date_of_birth"].str.ends_with("-01-01")
    assert within(made["date_of_birth"].filter(~spiked).str.ends_with("-01-01").sum(), (~spiked).sum(), 0.1)


def test_errors_of_the_two_sides_are_independent(population, clean):
    errors = Errors(surname_typo=0.3)
    one, other = (
        records(population, np.arange(MANY), errors, side)["surname"].ne_missing(clean["surname"])
        for side in ("left", "right")
    )
    assert within((one & other).sum(), MANY, 0.09)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_files_are_the_same_whatever_the_chunks_and_the_truth_is_true(tmp_path: Path, preset):
    laid = study(3000, 5000, 0.7, seed=3)
    write_study(laid, tmp_path / "one", preset)
    write_study(laid, tmp_path / "many", preset, chunk=700)
    files = {}
    for name in ("left", "right", "truth"):
        files[name], again = (pl.read_parquet(tmp_path / way / f"{name}.parquet") for way in ("one", "many"))
        assert files[name].equals(again)
    left, right, truth = files.values()
    assert (left.height, right.height, truth.height) == (3000, 5000, 2100)
    assert left["record_id"].n_unique() == 3000
    assert right["record_id"].n_unique() == 5000
    both = truth.join(left, left_on="left_id", right_on="record_id").join(
        right, left_on="right_id", right_on="record_id", suffix="_right"
    )
    assert both.height == 2100
    known = both.drop_nulls(["nhs_number", "nhs_number_right"])
    agree = (known["nhs_number"] == known["nhs_number_right"]).sum() / known.height
    if preset == "clean":
        assert agree == 1
        assert all((both[name].eq_missing(both[f"{name}_right"])).all() for name in COLUMNS)
        shared = left.join(right, on="nhs_number")
        assert shared.height == 2100  # and nobody else is on both
    else:
        assert agree > 0.9
        assert within(both["nhs_number"].null_count(), 2100, dict(PRESETS[preset][0].missing)["nhs_number"])


def test_a_seed_gives_other_people(population):
    other = Population(MANY, seed=6)
    one, two = (people.people(np.arange(2000)) for people in (population, other))
    assert (one.forename == two.forename).mean() < 0.05
    assert (one.nhs_number == two.nhs_number).sum() == 0


def test_presets_state_probabilities():
    for errors in (side for sides in PRESETS.values() for side in sides):
        flat = dataclasses.astuple(errors)[:-1]
        values = [*np.hstack(flat), *(p for _, p in errors.missing)]
        assert all(0 <= p < 1 for p in values)
        assert {name for name, _ in errors.missing} <= set(COLUMNS)


@pytest.mark.parametrize("many", [1, 2, 3, 10, 997, 4096, 10_001])
def test_a_permutation_is_one_and_has_an_inverse(many):
    shuffle = Permutation(many, Draws(2), "test")
    numbers = np.arange(many)
    moved = shuffle.to(numbers)
    assert sorted(moved) == list(range(many))
    assert (shuffle.back(moved) == numbers).all()
    if many > 100:
        assert (moved == numbers).mean() < 0.05


def test_a_right_side_too_small_for_the_overlap_is_refused():
    with pytest.raises(ValueError, match="room for the overlap"):
        study(100, 50, 0.7, seed=1)
