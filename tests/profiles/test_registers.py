"""Every register links by its profile, and by nothing that it does not carry."""

from __future__ import annotations

import datetime
from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from linker.errors import ProfileError
from linker.profiles import load, names
from linker.profiles.link import ProfileResult, link_profile
from tests.profiles.people import NOT_CARRIED, ON, REGISTERS, council, extract, families, strangers

PEOPLE = families(100)
STRANGERS = strangers(300)
SUPPLIED = {"ndtms": {"local_authority": "Zanton"}}


@cache
def plain(register: str) -> ProfileResult:
    return linked(register, council(PEOPLE))


def linked(register: str, left: pl.DataFrame) -> ProfileResult:
    right = extract(register, [*PEOPLE, *STRANGERS])
    return link_profile(left, right, register, on=ON, family="family_id", supplied=SUPPLIED.get(register))


def right_share(result: ProfileResult) -> tuple[float, float]:
    """Share of links that are right, and of those who could be found, of whom all are there."""
    links = result.links
    right = links.filter(pl.col("left_id").str.slice(1) == pl.col("right_id").str.slice(1)).height
    could = result.outcomes.filter(pl.col("outcome") != "NOT_APPLICABLE")["left_id"].n_unique()
    return right / links.height, right / could


def test_r25_all_eight_registers_and_two_more_have_a_profile() -> None:
    assert set(REGISTERS) | {"council", "generic"} == set(names())
    for name in names():
        profile = load(name)
        assert profile.name == name
        assert profile.holder
        assert profile.purpose
        assert profile.thresholds.review < profile.thresholds.link


@pytest.mark.parametrize("register", REGISTERS)
def test_r26_each_register_finds_its_people(register: str) -> None:
    result = plain(register)
    precision, recall = right_share(result)
    assert precision == 1.0
    assert recall > 0.95
    assert result.outcomes.columns == [
        "left_id", "right_id", "outcome", "stage", "key", "weight", "probability", "lead", "band",
    ]  # fmt: skip
    assert result.outcomes["left_id"].n_unique() == len(PEOPLE)


@pytest.mark.parametrize("register", REGISTERS)
def test_r26_what_a_register_does_not_carry_changes_nothing(register: str) -> None:
    left = council(PEOPLE)
    mixed = left.with_columns(
        pl.col(column).shuffle(seed=place) for place, column in enumerate(NOT_CARRIED[register])
    )
    assert not mixed.equals(left)
    again = linked(register, mixed)
    assert_frame_equal(plain(register).outcomes, again.outcomes)
    assert_frame_equal(plain(register).review, again.review)


@pytest.mark.parametrize(
    ("register", "column"),
    [
        ("hes", "forename"),
        ("npd", "nhs_number"),
        ("ndtms", "surname"),
        ("wpls", "upn"),
        ("pnc", "nino"),
        ("mhmds", "surname"),
    ],
)
def test_r26_an_extract_with_more_than_the_register_carries_is_refused(register: str, column: str) -> None:
    right = extract(register, PEOPLE).with_columns(pl.lit("Zanvor").alias(column))
    with pytest.raises(ProfileError, match="does not carry") as refused:
        link_profile(council(PEOPLE), right, register, on=ON, supplied=SUPPLIED.get(register))
    assert "Zanvor" not in str(refused.value)


def test_r26_a_heading_that_is_somebodys_name_is_not_repeated() -> None:
    right = extract("hes", PEOPLE).with_columns(pl.lit("x").alias("Quilterish Zanvor"))
    with pytest.raises(ProfileError) as refused:
        link_profile(council(PEOPLE), right, "hes", on=ON)
    assert "Quilterish" not in str(refused.value)


def test_r26_ndtms_asks_for_the_authority() -> None:
    with pytest.raises(ProfileError, match="local_authority"):
        link_profile(council(PEOPLE), extract("ndtms", PEOPLE), "ndtms", on=ON)
    other = link_profile(
        council(PEOPLE), extract("ndtms", PEOPLE), "ndtms", on=ON, supplied={"local_authority": "Volton"}
    )
    assert other.links.is_empty()


@pytest.mark.parametrize("register", ["hes", "mhmds"])
def test_r73_the_nhs_number_is_used_only_where_somebody_says_why(register: str) -> None:
    moved = [replace(one, postcode="LS1 4AP") for one in PEOPLE]
    right = extract(register, [*moved, *STRANGERS])
    without = link_profile(council(PEOPLE), right, register, on=ON, family="family_id")
    assert without.links.is_empty()
    with_reason = link_profile(
        council(PEOPLE),
        right,
        register,
        on=ON,
        family="family_id",
        switches={"nhs_number": "Section 251, ref 7"},
    )
    precision, recall = right_share(with_reason)
    assert precision == 1.0
    assert recall > 0.95
    assert with_reason.manifest["asked"]["switches"] == {"nhs_number": "Section 251, ref 7"}
    assert set(with_reason.links["stage"]) == {"identifier"}
    with pytest.raises(ProfileError, match="without a reason"):
        link_profile(council(PEOPLE), right, register, on=ON, switches={"nhs_number": " "})
    with pytest.raises(ProfileError, match="no switch"):
        link_profile(council(PEOPLE), right, register, on=ON, switches={"names": "why not"})


def test_r29_who_cannot_be_in_the_register_is_told_apart() -> None:
    day = datetime.date(2024, 12, 31)
    # Each on the edge: 3 and 19 are in, a day younger or older is out.
    edges = {
        "in: three today": datetime.date(2021, 12, 31),
        "out: three tomorrow": datetime.date(2022, 1, 1),
        "in: twenty tomorrow": datetime.date(2005, 1, 1),
        "out: twenty today": datetime.date(2004, 12, 31),
    }
    people = [replace(PEOPLE[place], born=born) for place, born in enumerate(edges.values())]
    everybody = [*people, *PEOPLE[4:]]
    result = link_profile(council(everybody), extract("npd", [*everybody, *STRANGERS]), "npd", on=day)
    outcome = dict(result.outcomes.select("left_id", "outcome").rows())
    for person, words in zip(people, edges, strict=True):
        assert (outcome[f"L{person.number:04d}"] == "NOT_APPLICABLE") == words.startswith("out"), words
    out = result.outcomes.filter(pl.col("outcome") == "NOT_APPLICABLE")
    assert out["right_id"].null_count() == out.height
    assert out["weight"].null_count() == out.height
    # An extract that reaches back knows those who were at school then.
    earlier = link_profile(
        council(everybody), extract("npd", everybody), "npd", on=day, since=datetime.date(2010, 1, 1)
    )
    outcome = dict(earlier.outcomes.select("left_id", "outcome").rows())
    assert outcome[f"L{people[3].number:04d}"] != "NOT_APPLICABLE"


@pytest.mark.parametrize(
    ("register", "youngest"),
    [("pnc", 10), ("ilr", 14), ("wpls", 16), ("mhmds", 18), ("ndtms", 9), ("npd", 3)],
)
def test_r29_the_youngest_age_of_each_register(register: str, youngest: int) -> None:
    first, last = load(register).age_range(ON, ON)
    born = datetime.date(1970, 1, 1) + datetime.timedelta(days=last or 0)
    assert born == datetime.date(ON.year - youngest, ON.month, ON.day)
    assert (first is None) == (register != "npd")


def test_r78_the_same_input_gives_the_same_links_in_any_order() -> None:
    left, right = council(PEOPLE), extract("wpls", [*PEOPLE, *STRANGERS])
    one = link_profile(left, right, "wpls", on=ON, family="family_id", threads=1)
    mixed = left.sample(fraction=1.0, shuffle=True, seed=3), right.sample(fraction=1.0, shuffle=True, seed=4)
    other = link_profile(*mixed, "wpls", on=ON, family="family_id", threads=2)
    assert_frame_equal(one.outcomes, other.outcomes)
    assert one.manifest["results"] == other.manifest["results"]
    assert one.manifest["profile"] == {
        "name": "wpls",
        "version": load("wpls").version,
        "digest": load("wpls").digest,
    }
    kept = link_profile(left, right, "wpls", on=ON, family="family_id", model=one.model)
    assert_frame_equal(one.outcomes, kept.outcomes)


def test_r78_nothing_besides_the_records_is_needed() -> None:
    result = link_profile(council(PEOPLE), extract("generic", [*PEOPLE, *STRANGERS]), "generic", on=ON)
    precision, recall = right_share(result)
    assert precision == 1.0
    assert recall > 0.99
