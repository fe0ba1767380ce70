"""A council's book: minimum periods that a contact begins anew, one lead at a time, claims as counts."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.casework import written
from pseudonym.casework.book import Book, Claim, Right
from pseudonym.errors import InputError, LawError, LeadError, NotFoundError, RetentionError
from pseudonym.lawful.sharing import Wish
from pseudonym.retention import schedules
from pseudonym.retention.schedules import Kind, Schedules

READY = schedules.read()
TODAY = date(2026, 11, 23)
SUPPORT, CARE = "support-record", "social-care-record"
DAYS = st.dates(date(1990, 1, 1), date(2060, 12, 31))


def book(**contacts):
    made = Book(READY)
    for family, day in contacts.items():
        made = made.contact(family, SUPPORT, day)
    return made


def team(made=None):
    made = made or book(f1=TODAY, f2=TODAY)
    return made.add_professional("p1", "Dana Scott", "01223 000000").add_professional("p2", "Ray Mears")


@given(contacts=st.lists(DAYS, min_size=1, max_size=6), today=DAYS)
def test_r49_two_years_from_the_latest_contact_in_whatever_order_they_came(contacts, today):
    made = Book(READY)
    for day in contacts:
        made = made.contact("f1", SUPPORT, day)
    until = made.until("f1", SUPPORT)
    assert until == READY.category(SUPPORT).until(max(contacts))
    if today < until:
        with pytest.raises(RetentionError) as caught:
            made.delete("f1", SUPPORT, today)
        assert caught.value.reason == "RETENTION_MINIMUM"
        assert not made.over(today)
    else:
        assert [one.kind for one in made.over(today)] == [Kind.MINIMUM]
        assert "f1" not in made.delete("f1", SUPPORT, today).families


def test_r49_a_contact_resets_the_clock_and_a_right_or_a_law_goes_before_it():
    made = book(f1=date(2024, 11, 22))
    made.delete("f1", SUPPORT, TODAY)
    reset = made.contact("f1", SUPPORT, date(2026, 1, 1))
    with pytest.raises(RetentionError, match="2028-01-01"):
        reset.delete("f1", SUPPORT, TODAY)
    assert reset.delete("f1", SUPPORT, TODAY, right=Right.ERASURE).families == {}
    assert reset.delete("f1", SUPPORT, TODAY, law="court-order").families == {}


def test_r50_a_social_care_record_is_kept_for_25_years_from_its_closure():
    made = book(f1=date(1999, 1, 1)).contact("f1", CARE, date(2000, 5, 6))
    with pytest.raises(RetentionError, match="open"):
        made.delete("f1", CARE, date(2090, 1, 1))  # its time has not begun
    closed = made.close("f1", CARE, date(2001, 11, 24))
    with pytest.raises(RetentionError, match="2026-11-24"):
        closed.delete("f1", CARE, TODAY)
    left = closed.delete("f1", CARE, TODAY + timedelta(days=1))
    assert set(left.families["f1"].records) == {SUPPORT}  # the other record has a time of its own
    with pytest.raises(RetentionError):  # a contact opens it again
        closed.contact("f1", CARE, TODAY).delete("f1", CARE, date(2060, 1, 1))


def test_r51_a_category_without_a_schedule_is_not_recorded():
    without = Schedules(tuple(one for one in READY.all if one.category != SUPPORT))
    with pytest.raises(LawError) as caught:
        Book(without).contact("f1", SUPPORT, TODAY)
    assert caught.value.reason == "SCHEDULE_MISSING"
    with pytest.raises(InputError):
        book().contact("f1", "identities", TODAY)  # not a council's
    nobody = Schedules(tuple(one for one in READY.all if one.category != "professional-record"))
    with pytest.raises(LawError):
        Book(nobody).add_professional("p1", "Dana Scott")


def test_r11_one_lead_at_a_time_and_an_enquiry_hears_the_name_alone():
    made = team().set_lead("f1", "p1", TODAY)
    assert made.enquire("f1") == "Dana Scott"
    assert made.set_lead("f1", "p1", TODAY) == made  # the same again
    with pytest.raises(LeadError) as caught:
        made.set_lead("f1", "p2", TODAY)
    assert caught.value.reason == "LEAD_TAKEN"
    assert "Dana" not in str(caught.value)
    assert made.enquire("f2") is None
    assert made.enquire("nobody") is None
    ended = made.end_lead("f1", TODAY)
    assert ended.enquire("f1") is None
    assert ended.set_lead("f1", "p2", TODAY).enquire("f1") == "Ray Mears"
    with pytest.raises(NotFoundError):
        ended.end_lead("f1", TODAY)


def test_r12_professionals_have_a_schedule_of_their_own_and_are_in_no_record_but_as_a_code():
    made = team().set_lead("f1", "p1", TODAY).leave("p1", TODAY)
    assert made.enquire("f1") is None  # who has left leads for nobody
    with pytest.raises(LeadError):
        made.set_lead("f2", "p1", TODAY)
    until = READY.category("professional-record").until(TODAY)
    assert [one for one in made.over(until) if one.kind is Kind.MAXIMUM] == []
    [over] = [one for one in made.over(until + timedelta(days=1)) if one.kind is Kind.MAXIMUM]
    assert (over.of, over.category) == ("p1", "professional-record")
    forgotten = made.forget_professional("p1")
    assert b"Dana" not in written.to_bytes(forgotten)
    assert forgotten.families["f1"].leads == ()
    families = written.to_bytes(made).split(b'"professionals"')[0]
    assert b"Dana" not in families
    # No record of a family outlives it for their sake, nor the reverse.
    assert set(made.delete("f2", SUPPORT, TODAY, law="x").professionals) == {"p1", "p2"}


def test_r10_claims_are_counts_alone():
    made = book(f1=TODAY).claim("2026-q4", Claim(120, 30, {"work": 12, "progress": 18}))
    assert b'"claimed": 30' in written.to_bytes(made)
    for wrong in (Claim(10, 11), Claim(-1, 0), Claim(3, 1, {"work": -2}), Claim(3, 1, {"F 1": 1})):
        with pytest.raises(InputError):
            made.claim("2026-q4", wrong)


def test_r71_what_shows_a_wish_is_recorded_with_the_family():
    made = book(f1=TODAY).wish("f1", Wish.PLAN_SIGNED, TODAY).wish("f1", Wish.REFERRAL, date(2026, 1, 2))
    assert made.families["f1"].wishes == (
        (Wish.REFERRAL, date(2026, 1, 2)),
        (Wish.PLAN_SIGNED, TODAY),
    )
    with pytest.raises(NotFoundError):
        made.wish("f9", Wish.REFERRAL, TODAY)


def test_the_book_is_read_as_it_was_written():
    made = team().set_lead("f1", "p1", TODAY).leave("p2", TODAY).wish("f1", Wish.REFERRAL, TODAY)
    made = made.contact("f1", CARE, TODAY).close("f1", CARE, TODAY).claim("2026-q4", Claim(3, 1, {"work": 1}))
    again = written.from_bytes(written.to_bytes(made), READY)
    assert written.to_bytes(again) == written.to_bytes(made)
    assert again == made
