"""The rules of a case: its clock, its one decision, and what a refusal needs."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import ConflictError, InputError
from pseudonym.rights.cases import Asker, Case, Decision, Delay, Found, Outcome, Proof, State, Truth, refusals
from pseudonym.rights.clock import Urgency, after, due, urgency
from pseudonym.rights.marks import Mark, mark_of
from pseudonym.rights.reasons import GROUNDS, Refusal, Right

DAYS = st.dates(date(2020, 1, 1), date(2099, 12, 31))
TODAY = date(2026, 11, 23)


def case(right=Right.ACCESS, **changes):
    made = Case("rt-1", "tf-2026", right, "council", "abcd", TODAY, Asker.SELF, (Proof.KNOWN,), Found.ONE)
    return replace(made, **changes)


def decide(one, decision, proofs=(), tag="1234", today=TODAY):
    return one.decide(decision, proofs, by="olive", purpose="rights", tag=tag, today=today)


def granting(right):
    extra: dict[Right, dict[str, Any]] = {
        Right.RECTIFICATION: {"truth": Truth.NEVER},
        Right.ERASURE: {"ground": "OBJECTION"},
    }
    return Decision(Outcome.GRANTED, **extra.get(right, {}))


@pytest.mark.parametrize(
    ("received", "months", "last"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2026, 11, 30), 3, date(2027, 2, 28)),
        (date(2026, 12, 1), 1, date(2027, 1, 1)),
        (date(2026, 3, 31), 1, date(2026, 4, 30)),
    ],
)
def test_r66_a_month_ends_on_the_day_of_the_same_number_or_on_the_months_last(received, months, last):
    assert after(received, months) == last


@given(DAYS, st.integers(0, 24))
def test_r66_a_clock_never_skips_a_month(day, months):
    ended = after(day, months)
    assert (ended.year * 12 + ended.month) - (day.year * 12 + day.month) == months
    assert ended.day == min(day.day, monthrange(ended.year, ended.month)[1])


@given(DAYS, st.integers(-200, 200))
def test_r66_what_is_late_is_overdue_and_what_is_near_is_soon(received, days):
    last = due(received, extended=False)
    today = last + timedelta(days=days)
    said = urgency(last, today, closed=False)
    assert said is (Urgency.OVERDUE if days > 0 else Urgency.SOON if days >= -7 else Urgency.RUNNING)
    assert urgency(last, today, closed=True) is Urgency.STOPPED


def test_r66_a_clock_is_extended_once_and_in_time():
    longer = case().extended(Delay.COMPLEX, TODAY)
    assert longer.due == date(2027, 2, 23)
    assert longer.extended(Delay.COMPLEX, TODAY) == longer
    with pytest.raises(ConflictError):
        longer.extended(Delay.NUMEROUS, TODAY)
    case().extended(Delay.COMPLEX, date(2026, 12, 23))
    with pytest.raises(ConflictError):
        case().extended(Delay.COMPLEX, date(2026, 12, 24))


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("reason", Refusal)
def test_r66_each_reason_refuses_the_rights_that_the_law_gives_it_and_no_other(right, reason):
    decision = Decision(Outcome.REFUSED, (reason,))
    if right in GROUNDS[reason].rights:
        assert decide(case(right), decision).state is State.DECIDING
    else:
        with pytest.raises(InputError):
            decide(case(right), decision)


ARTICLES = {
    Right.ACCESS: "15(1)",
    Right.RECTIFICATION: "16",
    Right.ERASURE: "17(1)",
    Right.RESTRICTION: "18(1)",
    Right.PORTABILITY: "20(1)",
    Right.OBJECTION: "21(1)",
    Right.EXPLANATION: "15(1)(h)",
    Right.LIFTING: "18(3)",
}


@pytest.mark.parametrize("right", ARTICLES)
def test_r66_a_refusal_cites_the_article_of_what_was_asked(right):
    refused = decide(case(right, found=Found.NOBODY), Decision(Outcome.REFUSED, (Refusal.NOTHING_HELD,)))
    ((reason, law, words),) = refusals(refused)
    assert (reason, law) == (Refusal.NOTHING_HELD, f"UK GDPR Art {ARTICLES[right]}")
    assert words


def test_r66_no_reason_cites_several_articles_at_once():
    laws = {law for ground in GROUNDS.values() for law in ground.laws.values()}
    assert not [law for law in laws if " and " in law or "," in law]


@pytest.mark.parametrize("right", Right)
def test_r66_a_refusal_without_a_reason_is_impossible(right):
    for outcome in (Outcome.REFUSED, Outcome.PARTLY):
        with pytest.raises(InputError):
            decide(case(right), replace(granting(right), outcome=outcome))
    assert decide(case(right), granting(right)).granted
    with pytest.raises(InputError):
        decide(case(right), replace(granting(right), reasons=(Refusal.EXCESSIVE,)))


@pytest.mark.parametrize("found", [Found.NOBODY, Found.SEVERAL])
def test_r66_nothing_is_granted_to_whom_nobody_stands_behind_or_who_was_not_checked(found):
    with pytest.raises(InputError) as caught:
        decide(case(found=found), granting(Right.ACCESS))
    said = {Found.NOBODY: ("Nobody agrees", "nothing-held"), Found.SEVERAL: ("Several", "not-identifiable")}
    assert all(word in str(caught.value) for word in said[found])
    with pytest.raises(InputError):
        decide(case(proofs=()), granting(Right.ACCESS))
    assert decide(case(proofs=()), granting(Right.ACCESS), [Proof.DOCUMENT]).proofs == (Proof.DOCUMENT,)


@pytest.mark.parametrize(
    ("right", "option"), [(Right.RECTIFICATION, "--correct and --truth"), (Right.ERASURE, "--ground")]
)
def test_r60_r61_what_a_decision_lacks_or_has_too_much_is_told_by_its_option(right, option):
    with pytest.raises(InputError, match=f"Use {option}"):
        decide(case(right), Decision(Outcome.GRANTED))
    with pytest.raises(InputError, match=f"Leave {option} out"):
        decide(case(Right.ACCESS), granting(right))


def test_r58_that_nobody_was_found_is_an_answer_to_whether_data_are_used():
    assert decide(case(Right.USED, found=Found.NOBODY), granting(Right.USED)).granted
    with pytest.raises(InputError):
        decide(case(Right.USED, found=Found.SEVERAL), granting(Right.USED))


def test_a_case_is_decided_once():
    decided = decide(case(), granting(Right.ACCESS))
    assert decide(decided, granting(Right.ACCESS)) is decided
    for other in (Decision(Outcome.WITHDRAWN), granting(Right.ACCESS)):
        with pytest.raises(ConflictError):
            decide(decided, other, tag="5678")


@pytest.mark.parametrize("right", Right)
def test_what_is_kept_of_a_case_is_read_as_it_was(right):
    made = decide(case(right, delay=Delay.COMPLEX, lifts="rt-0"), granting(right)).done("identity").closed()
    assert Case.from_bytes(made.to_bytes()) == made
    assert Case.from_bytes(case(right).to_bytes()) == case(right)


def test_r62_r64_what_is_in_force_adds_up_and_what_is_lifted_is_not():
    restricted = decide(case(Right.RESTRICTION), granting(Right.RESTRICTION))
    limited = [
        decide(case(Right.RESTRICTION), Decision(Outcome.GRANTED, purposes=(purpose,)))
        for purpose in ("b-use", "a-use")
    ]
    objected = decide(case(Right.OBJECTION), granting(Right.OBJECTION))
    refused = decide(case(Right.OBJECTION), Decision(Outcome.REFUSED, (Refusal.COMPELLING_GROUNDS,)))
    assert mark_of([refused, case(Right.RESTRICTION)]) == Mark()
    assert mark_of(limited) == Mark(purposes=("a-use", "b-use"))
    assert mark_of([restricted, objected, *limited]) == Mark(True, True, ("a-use", "b-use"))
    assert mark_of([replace(restricted, lifted=TODAY), objected]) == Mark(objected=True)
