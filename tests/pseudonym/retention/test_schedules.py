"""Schedules: every category has a period, a clock and a reason; what has none is not stored."""

from __future__ import annotations

import tomllib
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym import registers
from pseudonym.errors import InputError, LawError
from pseudonym.retention import schedules
from pseudonym.retention.schedules import BASES, READY_MADE, Clock, Kind, Schedules, Store

READY = schedules.read()
DAYS = st.dates(date(1990, 1, 1), date(2090, 12, 31))


def test_r51_each_category_has_its_reason_and_gaps_of_the_notice_are_flagged():
    assert len(READY.all) >= 10
    for one in READY.all:
        assert one.basis in BASES
        assert len(one.reason) > 20
    gaps = {one.category for one in READY.all if one.gap}
    assert gaps == {"match-file-of-health", "analysis-file", "professional-record"}
    for register in registers.everyone():  # HSCIC and PHE as well, of whom the notice says nothing
        held = READY.kept(Store.HOLDER, register.name)
        assert (held.kind, held.days) == (Kind.MAXIMUM, 31)
        # What a register's own declaration says is not longer than the schedule.
        assert min(one.days for one in register.retentions if one.days) <= held.days
    assert READY.category("analysis-file").store is Store.RECIPIENT


@pytest.mark.parametrize("store", [Store.ATTRIBUTES, Store.IDENTITY, Store.HOLDER])
def test_r51_what_has_no_schedule_is_not_stored(store):
    without = Schedules(tuple(one for one in READY.all if one.store is not store))
    with pytest.raises(LawError) as caught:
        without.kept(store, "npd")
    assert caught.value.reason == "SCHEDULE_MISSING"
    assert "schedules" in caught.value.help
    with pytest.raises(LawError):
        READY.kept(Store.ATTRIBUTES, "school-meals")


def test_r49_r50_minimum_and_maximum_are_different_kinds():
    support, care = READY.category("support-record"), READY.category("social-care-record")
    assert (support.kind, support.clock, support.years) == (Kind.MINIMUM, Clock.LAST_CONTACT, 2)
    assert (care.kind, care.clock, care.years) == (Kind.MINIMUM, Clock.CLOSURE, 25)
    assert support.until(date(2026, 11, 23)) == date(2028, 11, 23)
    assert care.until(date(2024, 2, 29)) == date(2049, 3, 1)  # a minimum is not shortened by the calendar


@given(start=DAYS, years=st.integers(1, 30), kind=st.sampled_from(Kind))
def test_periods_are_of_the_calendar(start, years, kind):
    one = schedules.Schedule("x", "x", Store.COUNCIL, kind, Clock.CLOSURE, "law", "x", years=years)
    until = one.until(start)
    whole = [until + timedelta(days=shift) for shift in (-1, 0, 1)]
    assert until.year == start.year + years
    assert any((day.month, day.day) == (start.month, start.day) for day in whole) or start.day == 29
    earlier = one.until(start - timedelta(days=1))
    assert earlier <= until


WRONG = {
    "no reason": ('reason = "', 'x = "', "lacks reason"),
    "no basis": ('basis = "business-practice"', 'basis = "habit"', "law or business practice"),
    "no period": ("days = 31", "days = 0", "no period"),
    "clock": ('clock = "receipt"', 'clock = "whenever"', "receipt"),
    "kind": ('kind = "maximum"', 'kind = "mostly"', "minimum"),
    "twice": ('category = "match-file-of-health"', 'category = "match-file"', "one category"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_wrong_says_where(case, tmp_path):
    before, after, said = WRONG[case]
    text = READY_MADE.read_text()
    assert before in text
    path = tmp_path / "schedules.toml"
    path.write_text(text.replace(before, after, 1) if case != "no reason" else text.replace(before, after))
    with pytest.raises(InputError, match=said):
        schedules.read(path)
    assert tomllib.loads(text)["schedule"]
