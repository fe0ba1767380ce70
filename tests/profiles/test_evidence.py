"""What makes a link and what stops one: identifiers, former values, protected people, twins, families."""

from __future__ import annotations

import datetime
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from linker.profiles import load
from linker.profiles.link import ProfileResult, link_profile
from tests.profiles.people import ON, Person, council, extract, families, strangers, upn

PEOPLE = families(60)
STRANGERS = strangers(200)
CHILD = 2  # the third of each family of four


def linked(
    register: str, left: pl.DataFrame, right: list[Person], protected: str | None = None
) -> ProfileResult:
    whole = extract(register, [*right, *STRANGERS])
    return link_profile(left, whole, register, on=ON, family="family_id", protected=protected)


def outcome_of(result: ProfileResult, number: int) -> tuple[str | None, str]:
    rows = result.outcomes.filter(pl.col("left_id") == f"L{number:04d}").select("right_id", "outcome").rows()
    assert len(rows) == 1
    return rows[0][0], rows[0][1]


def with_former(people: list[Person], number: int, **former: str) -> list[Person]:
    return [replace(one, former=former) if one.number == number else one for one in people]


def test_r26_an_identifier_alone_never_links() -> None:
    """A pupil number on the record of somebody else: other name, other day of birth."""
    child = PEOPLE[CHILD]
    others = [one for one in PEOPLE if one.number != CHILD]
    taken = replace(
        STRANGERS[3],
        number=9000,
        born=datetime.date(2012, 3, 4),
        former={"upn": upn(child.number), "uln": "1"},
    )
    result = linked("npd", council(PEOPLE), [*others, taken])
    assert outcome_of(result, CHILD) == (None, "NOT_LINKED") or outcome_of(result, CHILD)[1] == "REVIEW"
    # The same number with name and day of birth that bear it out does.
    assert outcome_of(linked("npd", council(PEOPLE), PEOPLE), CHILD) == (f"R{CHILD:04d}", "LINKED")


def test_r26_an_nhs_number_with_another_day_of_birth_does_not_link() -> None:
    other = replace(PEOPLE[0], born=datetime.date(1950, 6, 7), postcode="LS1 4AP")
    result = link_profile(
        council(PEOPLE),
        extract("hes", [other, *PEOPLE[1:], *STRANGERS]),
        "hes",
        on=ON,
        family="family_id",
        switches={"nhs_number": "a test"},
    )
    assert outcome_of(result, 0)[0] is None


def test_r81_an_alias_and_another_date_of_birth_are_looked_at() -> None:
    man = PEOPLE[0]
    known_as = with_former(
        PEOPLE,
        0,
        forename="TERQUIL",
        surname="OLDERMAB",
        alias_forename=man.forename,
        alias_surname=man.surname,
        pncid="",
    )
    assert outcome_of(linked("pnc", council(PEOPLE), known_as), 0) == ("R0000", "LINKED")
    without = with_former(PEOPLE, 0, forename="TERQUIL", surname="OLDERMAB", pncid="")
    assert outcome_of(linked("pnc", council(PEOPLE), without), 0)[0] is None
    born = with_former(
        PEOPLE, 0, date_of_birth="01/02/1960", alias_date_of_birth=f"{man.born:%d/%m/%Y}", pncid=""
    )
    assert outcome_of(linked("pnc", council(PEOPLE), born), 0) == ("R0000", "LINKED")


def test_r81_a_former_pupil_number_is_looked_at() -> None:
    renumbered = with_former(
        PEOPLE, CHILD, upn=upn(777), former_upn=upn(CHILD), uln="", surname="VORISH", postcode="LS1 4AP"
    )
    result = linked("npd", council(PEOPLE), renumbered)
    assert outcome_of(result, CHILD) == (f"R{CHILD:04d}", "LINKED")
    found = result.outcomes.filter(pl.col("left_id") == f"L{CHILD:04d}")
    assert found["stage"].item() == "identifier"
    assert found["key"].item() == "upn"


def test_r83_a_protected_person_is_not_joined_to_a_former_identity() -> None:
    """After an adoption: a new number and name; the register still knows the old ones as former."""
    changed = with_former(
        PEOPLE, CHILD, upn=upn(777), former_upn=upn(CHILD), uln="", surname="VORISH",
        preferred_surname=PEOPLE[CHILD].surname, postcode="LS1 4AP",
    )  # fmt: skip
    left = council(PEOPLE).with_columns(
        guarded=pl.when(pl.col("record_id") == f"L{CHILD:04d}").then(pl.lit("Y")).otherwise(pl.lit("N"))
    )
    assert outcome_of(linked("npd", left, changed), CHILD)[0] == f"R{CHILD:04d}"
    held = linked("npd", left, changed, protected="guarded")
    assert outcome_of(held, CHILD)[0] is None
    assert held.manifest["asked"]["protected"] == 1
    # Under the present identity a protected person is found as anybody is.
    assert outcome_of(linked("npd", left, PEOPLE, protected="guarded"), CHILD)[0] == f"R{CHILD:04d}"


def test_r76_a_twin_does_not_take_the_others_record() -> None:
    one, other = PEOPLE[CHILD], PEOPLE[CHILD + 1]
    twins = [replace(other, born=one.born, sex=one.sex) if x.number == other.number else x for x in PEOPLE]
    # The register knows one of them only, and has lost his numbers.
    right = [x for x in twins if x.number != one.number]
    right = [replace(x, former={"upn": "", "uln": ""}) if x.number == other.number else x for x in right]
    result = linked("npd", council(twins), right)
    assert outcome_of(result, other.number) == (f"R{other.number:04d}", "LINKED")
    assert outcome_of(result, one.number)[0] is None
    # Nor where the twin whose record it is was left out of the council's file.
    left = council([x for x in twins if x.number != other.number])
    assert outcome_of(linked("npd", left, right), one.number)[0] is None


def test_r76_twins_in_a_register_without_names_are_left_to_people() -> None:
    one, other = PEOPLE[CHILD], PEOPLE[CHILD + 1]
    twins = [replace(other, born=one.born, sex=one.sex) if x.number == other.number else x for x in PEOPLE]
    result = linked("hes", council(twins), twins)
    for twin in (one, other):
        assert outcome_of(result, twin.number)[0] is None
        assert outcome_of(result, twin.number)[1] in ("REVIEW", "AMBIGUOUS")


def test_r76_no_record_of_the_register_is_given_to_two_people() -> None:
    result = linked("wpls", council(PEOPLE), PEOPLE)
    assert result.links["right_id"].is_unique().all()


def test_r77_a_member_at_the_address_where_another_was_linked_gains() -> None:
    """Whole families moved; those with a number are found by it, and tell where the others are."""
    people, married = families(100, seed=11), 1
    moved = []
    for one in people:
        away = replace(one, postcode=f"LS{one.family % 20 + 1} {one.family // 20}AB", house="9")
        gone = {"nino": "", "surname": f"MARRIED{'ABCDEFG'[one.family % 7]}"}
        moved.append(replace(away, former=gone) if one.number % 4 == married else away)
    left, right = council(people), extract("wpls", [*moved, *STRANGERS])
    asked = load("wpls")
    alone = link_profile(left, right, asked, on=ON)
    held = alone.review.filter(_same() & (pl.col("left_id").str.slice(1).cast(pl.Int64) % 4 == married))
    assert held.height > 10
    highest = float(held["weight"].max())  # type: ignore[arg-type]
    higher = replace(asked, thresholds=replace(asked.thresholds, link=highest + 1.0))
    before, after = (link_profile(left, right, higher, on=ON, family=name) for name in (None, "family_id"))
    assert before.report["household"]["gained"] == 0
    assert after.report["household"]["bits"] > 2.0
    helped = after.links.filter(pl.col("stage") == "household")
    assert helped.height > 5
    assert helped.filter(~_same()).is_empty()
    weights = dict(held.select("left_id", "weight").rows())
    for left_id, weight in helped.select("left_id", "weight").rows():
        assert weight - weights[left_id] == pytest.approx(after.report["household"]["bits"])


def _same() -> pl.Expr:
    return pl.col("left_id").str.slice(1) == pl.col("right_id").str.slice(1)


def test_r26_a_prison_is_nobodys_home() -> None:
    """A family lives at the prison's postcode: that the register says the same says nothing."""
    near = [replace(one, postcode="CB1 1AA") for one in PEOPLE]
    inside = [replace(one, house="HMP NUMBER 4", street="", postcode="CB1 1AA") for one in PEOPLE]
    elsewhere = [replace(one, postcode="LS1 4AP") for one in inside]
    one, other = (linked("prisons", council(near), right) for right in (inside, elsewhere))
    assert_frame_equal(one.outcomes, other.outcomes)
    at_home = [replace(person, postcode="CB1 1AA") for person in PEOPLE]
    assert not one.outcomes.equals(linked("prisons", council(near), at_home).outcomes)


def test_r82_pseudo_postcodes_agree_with_nothing() -> None:
    """No fixed abode on both sides says nothing: the weights are those of a missing postcode."""
    for pseudo in ("NF1 1NF", "ZZ99 3VZ"):
        nowhere = [replace(one, postcode=pseudo, house="", street="") for one in PEOPLE]
        missing = [replace(one, postcode="", house="", street="") for one in PEOPLE]
        right = [*nowhere, *STRANGERS], [*missing, *STRANGERS]
        one, other = (
            link_profile(council(left), extract("pnc", both), "pnc", on=ON)
            for left, both in ((nowhere, right[0]), (missing, right[1]))
        )
        assert_frame_equal(one.outcomes, other.outcomes)
