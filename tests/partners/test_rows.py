"""Which rows may be asked about."""

from datetime import date

import polars as pl
import pytest

from pseudonym.errors import PartnerRowsError
from pseudonym.partners.checks import CHECKS
from pseudonym.partners.rows import pick
from tests.partners.made import FAMILIES, NOW, adults

DAY = NOW.date()
BENEFITS = CHECKS["out-of-work-benefits"]


def changed(**values):
    """The families, with values in the first row."""
    first = FAMILIES.head(1).with_columns(
        pl.lit(value, pl.String).alias(name) for name, value in values.items()
    )
    return pl.concat([first, FAMILIES.slice(1)])


def test_r15_a_child_is_refused_by_its_row_and_nothing_of_it_is_told():
    with pytest.raises(PartnerRowsError) as refused:
        pick(BENEFITS, FAMILIES, DAY)
    assert "Rows that cannot be asked about (a child): 2." in str(refused.value)
    assert "Mia" not in str(refused.value)
    assert pick(BENEFITS, adults(), DAY).frame.height == 3


@pytest.mark.parametrize(
    ("born", "day", "adult"),
    [
        ("2008-11-23", date(2026, 11, 23), True),
        ("2008-11-24", date(2026, 11, 23), False),
        ("2008-02-29", date(2026, 2, 28), True),  # who was born on a leap day is 18 at the month's end
        ("2008-02-29", date(2026, 2, 27), False),
    ],
)
def test_r15_who_is_adult_is_known_to_the_day(born, day, adult):
    frame = adults().head(1).with_columns(pl.lit(born).alias("date_of_birth"))
    if adult:
        assert pick(BENEFITS, frame, day).frame.height == 1
    else:
        with pytest.raises(PartnerRowsError):
            pick(BENEFITS, frame, day)


def test_r15_children_are_left_out_where_that_was_asked_for():
    found = pick(BENEFITS, FAMILIES, DAY, adults_only=True)
    assert "Mia" not in found.frame["forename"]
    assert (found.frame.height, found.passed_over) == (3, 1)


@pytest.mark.parametrize("born", [None, "2030-01-01", "not a day"])
def test_r15_without_a_date_of_birth_nobody_is_adult(born):
    for adults_only in (False, True):
        with pytest.raises(PartnerRowsError, match="no date of birth"):
            pick(BENEFITS, changed(date_of_birth=born), DAY, adults_only=adults_only)


def test_r16_a_childs_national_insurance_number_is_flagged_and_goes_nowhere():
    frame = FAMILIES.with_columns(
        pl.when(pl.col("forename") == "Mia").then(pl.lit("AB123456D")).otherwise("nino").alias("nino")
    )
    found = pick(BENEFITS, frame, DAY, adults_only=True)
    assert found.child_ninos == (2,)
    assert "AB123456D" not in found.frame["nino"]
    with pytest.raises(PartnerRowsError):
        pick(BENEFITS, frame, DAY)


@pytest.mark.parametrize("check", [name for name in CHECKS if name != BENEFITS.name])
def test_r16_no_other_check_takes_a_national_insurance_number(check):
    assert "nino" not in pick(CHECKS[check], FAMILIES, DAY).frame.columns


def test_r17_a_family_of_which_nobody_is_known_to_be_adult_is_refused():
    frame = FAMILIES.filter(pl.col("family") == "F1").slice(1)
    with pytest.raises(PartnerRowsError, match="nobody is known to be adult"):
        pick(CHECKS["stable-housing"], frame, DAY)


def test_r18_anyone_in_the_family_is_asked_about_and_an_address_needs_no_person():
    assert pick(CHECKS["domestic-abuse"], FAMILIES, DAY).frame.height == 4
    homes = FAMILIES.select("family", "address", "postcode", "uprn")
    assert pick(CHECKS["call-out"], homes, DAY).frame.height == 2


@pytest.mark.parametrize(
    ("check", "values", "why"),
    [
        ("call-out", {"postcode": None}, "neither a UPRN"),
        ("call-out", {"address": " "}, "neither a UPRN"),
        ("domestic-abuse", {"surname": None}, "needed field"),
        ("domestic-abuse", {"surname": "x" * 201}, "more than 200"),
        ("domestic-abuse", {"surname": "a\x00b"}, "no name has"),
        ("domestic-abuse", {"family": ""}, "no family"),
    ],
)
def test_rows_that_say_too_little_are_told_by_number(check, values, why):
    with pytest.raises(PartnerRowsError, match=why) as refused:
        pick(CHECKS[check], changed(**values), DAY)
    assert ": 1." in str(refused.value)


def test_r18_the_lines_of_an_address_stay_apart():
    found = pick(CHECKS["call-out"], changed(address=" Flat 2\r\n14  High Street\n\nEly "), DAY)
    assert found.frame["address"][0] == "Flat 2, 14 High Street, Ely"


def test_a_file_without_the_fields_of_a_check_is_refused():
    with pytest.raises(PartnerRowsError, match="date_of_birth"):
        pick(BENEFITS, adults().drop("date_of_birth"), DAY)
    with pytest.raises(PartnerRowsError, match="address"):
        pick(CHECKS["call-out"], adults().drop("address", "postcode", "uprn"), DAY)


def test_the_same_row_twice_is_one_question():
    assert pick(BENEFITS, pl.concat([adults()] * 2), DAY).frame.height == 3
