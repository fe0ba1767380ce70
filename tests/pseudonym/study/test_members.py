"""Families over time, against a plain loop over days and rows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.study.members import belongs, families_of, overlapping, roll_up, same_people

SCHEMA = {
    "member": pl.String, "family": pl.String, "member_from": pl.Date, "member_to": pl.Date,
    "debt": pl.Boolean,
}  # fmt: skip
FIRST = date(2020, 1, 1)


def memberships(*rows: tuple[str | None, str, int | None, int | None, bool]) -> pl.DataFrame:
    days = [
        (who, family, *(None if at is None else FIRST + timedelta(at) for at in span), flag)
        for who, family, *span, flag in rows
    ]
    return pl.DataFrame(days, SCHEMA, orient="row")


def on(at: int) -> date:
    return FIRST + timedelta(at)


ROW = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from(["X", "Y", "Z"]),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.booleans(),
)


def in_order(row: Any) -> bool:
    return None in row[2:4] or bool(row[2] <= row[3])


def holds(row: tuple, at: int) -> bool:
    return (row[2] is None or row[2] <= at) and (row[3] is None or at <= row[3])


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=12), st.integers(0, 9))
def test_r4_a_family_has_on_a_day_what_its_members_of_that_day_have(rows, at):
    rolled = roll_up(memberships(*rows), ["debt"], on(at))
    there = [row for row in rows if holds(row, at)]
    expected = {
        family: (len(mine), any(row[4] for row in mine), sum(row[4] for row in mine))
        for family in {row[1] for row in there}
        for mine in [[row for row in there if row[1] == family]]
    }
    assert {row[0]: row[1:] for row in rolled.iter_rows()} == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=12), st.integers(0, 9))
def test_r4_a_person_may_be_in_several_families_on_a_day(rows, at):
    found = families_of(memberships(*rows), on(at))
    there = [row for row in rows if holds(row, at)]
    expected = {who: sorted({row[1] for row in there if row[0] == who}) for who in {row[0] for row in there}}
    assert dict(found.iter_rows()) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW.filter(in_order), max_size=8))
def test_r4_a_membership_overlaps_an_earlier_one_of_the_same_person_in_the_same_family(rows):
    frame = memberships(*rows)
    again = overlapping(frame)
    for row in rows:
        mine = [at for at, other in enumerate(rows) if other[:2] == row[:2]]
        clash = any(
            all((holds(rows[one], day), holds(rows[other], day)))
            for one in mine for other in mine if one < other for day in range(-1, 11)
        )  # fmt: skip
        assert any(again[at] for at in mine) == clash
    kept = frame.filter(~again)
    for day in range(10):
        assert kept.filter(belongs(on(day))).select("member", "family").is_unique().all()


def test_r4_a_family_that_splits_takes_its_problems_along():
    split = memberships(
        ("mother", "old", None, None, False),
        ("father", "old", None, 4, True),
        ("son", "old", None, 4, False),
        ("father", "new", 5, None, True),
        ("son", "new", 5, None, False),
        ("son", "old", 8, None, False),  # between two homes from then on
    )
    state = {
        at: roll_up(split, ["debt"], on(at)).select("family", "members", "debt").rows() for at in (4, 5, 8)
    }
    assert state == {
        4: [("old", 3, True)],
        5: [("new", 2, True), ("old", 1, False)],
        8: [("new", 2, True), ("old", 2, False)],
    }
    assert families_of(split, on(8)).filter(member="son")["families"].to_list() == [["new", "old"]]
    assert not overlapping(split).any()


def test_the_same_people_under_two_references_are_one_family_delivered_twice():
    frame = pl.DataFrame(
        {
            "family": ["A", "A", "B", "B", "C", "D", "E", "E"],
            "name": ["Ada", "Bo", "BO", "ada", "Ada", "Ada", "Ada", "Cy"],
        }
    )
    again = same_people(frame, ["name"])
    assert again.to_list() == [False, False, True, True, False, False, False, False]
