"""What leaves the council: nothing but the fields of the check."""

import json
import string
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.errors import InputError, PartnerLateError, SealedError
from pseudonym.hpke import OpeningKey
from pseudonym.padding import unpadded
from pseudonym.partners.checks import CHECKS, COUNTS_AS, About
from pseudonym.partners.questions import Questions, make
from pseudonym.partners.register import Operator, Partner, PartnerRegister
from pseudonym.partners.rows import pick
from tests.partners.made import COLUMNS, FAMILIES, NOW, adults, operator_key

DAY = NOW.date()
PERSONAL = set(COLUMNS) - {"family"}
DECLARED = {
    "out-of-work-benefits": {"forename", "surname", "date_of_birth", "nino"},
    "stable-housing": {"forename", "surname", "date_of_birth"},
    "presented-homeless": {"forename", "surname", "date_of_birth"},
    "temporary-accommodation": {"forename", "surname", "date_of_birth"},
    "anti-social-behaviour": {"forename", "surname", "date_of_birth"},
    "domestic-abuse": {"forename", "surname", "date_of_birth"},
    "call-out": {"address", "postcode", "uprn"},
}
KEY, (PARTNER, _) = operator_key(), OpeningKey.generate()
REGISTER = PartnerRegister(
    "e10000003",
    12,
    (Operator("alice", "alice", KEY.public),),
    (Partner("jcp-ely", frozenset(CHECKS), PARTNER.public),),
)


def made(check, frame, days=14):
    subjects = pick(CHECKS[check], frame, DAY, adults_only=True)
    return make(CHECKS[check], subjects.frame, "e10000003", "jcp-ely", NOW, days)


def opened_bytes(questions):
    """What the partner sees, byte by byte."""
    sealed = questions.sealed(KEY, PARTNER.public).partition(b"\n")[2]
    return unpadded(PARTNER.open(sealed, "partner-questions/1"), "file")[64:]


def test_r17_every_check_has_the_fields_that_were_declared_and_no_others():
    assert {name: set(check.fields) for name, check in CHECKS.items()} == DECLARED
    for fields in DECLARED.values():
        assert not (fields & {"forename", "surname"} and fields & {"address", "postcode", "uprn"})
    for scheme in COUNTS_AS.values():
        assert set(scheme) <= set(CHECKS)


word = st.text(string.ascii_uppercase, min_size=3, max_size=12)
canary = st.integers(0, 10**9).map(lambda number: f"CANARY{number}")
everybody = st.lists(
    st.tuples(word, word, st.dates(NOW.date().replace(1930), NOW.date()), st.integers(1, 4)),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("check", CHECKS)
@settings(max_examples=20, deadline=None)
@given(everybody, canary)
def test_r15_r17_r18_no_question_ever_holds_a_field_outside_its_list(check, people, planted):
    """Canaries in every other column, the family's reference and columns nobody declared: none leaves."""
    # Of each family somebody is adult, so that every check has somebody to ask about.
    grown = [(forename, surname, date(1980, 1, 1), family) for forename, surname, _, family in people]
    rows = [
        {
            "family": f"{planted}F{family}",
            "forename": forename,
            "surname": surname,
            "date_of_birth": f"{born}",
            "nino": "AB123456C",
            "address": "14 High Street",
            "postcode": "CB7 4AB",
            "uprn": "100090000001",
            "reason": planted,
            "nhs_number": planted,
        }
        for forename, surname, born, family in [*people, *grown]
    ]
    rows = [row | {name: f"{planted}{name}" for name in PERSONAL - DECLARED[check]} for row in rows]
    if "date_of_birth" not in DECLARED[check]:
        rows = [row | {"date_of_birth": planted} for row in rows]
    questions, _, families = made(check, pl.DataFrame(rows))
    data = opened_bytes(questions)
    assert b"CANARY" not in data
    content = json.loads(data)
    assert set(content) == {
        "id", "check", "council", "partner", "made", "expires", "answer_key", "asked"
    }  # fmt: skip
    assert set(content["asked"]) == set(families)
    for subjects in content["asked"].values():
        assert all(set(fields) <= DECLARED[check] for fields in subjects)
        assert len(subjects) == 1 or CHECKS[check].about is About.FAMILY


def test_r17_the_order_of_questions_says_nothing_of_families():
    frame = pl.concat(
        FAMILIES.head(1).with_columns(
            pl.lit(f"F{place // 4}").alias("family"), pl.lit(f"N{place}").alias("surname")
        )
        for place in range(40)
    )
    questions, _, families = made("anti-social-behaviour", frame)
    references = list(json.loads(opened_bytes(questions))["asked"])
    assert references == sorted(references)
    assert [families[one] for one in references] != sorted(families.values())
    again, _, _ = made("anti-social-behaviour", frame)
    assert not set(again.asked) & set(references)  # a reference is used once


def test_r17_a_family_is_one_question_about_its_adults():
    questions, _, families = made("stable-housing", FAMILIES)
    assert sorted(families.values()) == [["F1"], ["F2"]]
    assert sorted(len(all) for all in questions.asked.values()) == [1, 2]
    assert "Mia" not in opened_bytes(questions).decode()


def test_r17_what_is_the_same_is_asked_once_whatever_families_it_is_about():
    """A partner does not learn that somebody, or a home, belongs to two families."""
    twice = pl.concat([FAMILIES, FAMILIES.with_columns(pl.lit("F9").alias("family"))])
    for check in CHECKS:
        questions, _, families = made(check, twice)
        all = [sorted(map(sorted, (one.items() for one in asked))) for asked in questions.asked.values()]
        assert len({str(one) for one in all}) == len(all)
        assert {family for some in families.values() for family in some} == {"F1", "F2", "F9"}
    questions, _, families = made("out-of-work-benefits", twice)
    assert sorted(families.values()) == [["F1", "F9"], ["F2", "F9"], ["F2", "F9"]]


def test_r18_a_home_is_asked_about_once_and_without_a_name():
    questions, _, families = made("call-out", FAMILIES)
    assert sorted(families.values()) == [["F1"], ["F2"]]
    assert sorted(map(sorted, (one for (one,) in questions.asked.values()))) == [
        ["address", "postcode"],
        ["uprn"],
    ]


@pytest.mark.parametrize("check", ["out-of-work-benefits", "stable-housing"])
def test_r15_no_question_about_adults_can_hold_a_child(check):
    """Whoever leaves the rows' checks out does not get it past the question itself, nor the partner."""
    child = {"forename": "Mia", "surname": "Smith", "date_of_birth": "2008-11-24"}
    good, _, _ = made(check, adults())
    reference = next(iter(good.asked))
    for born in ("2008-11-24", "2015-01-02", "not a day", "2008-02-30"):
        with pytest.raises(InputError, match="adults only"):
            replace(good, asked={reference: (child | {"date_of_birth": born},)})
    replace(good, asked={reference: (child | {"date_of_birth": "2008-11-23"},)})


@pytest.mark.parametrize(("day", "adult"), [(27, False), (28, True)])
def test_r15_who_was_born_on_a_leap_day_is_adult_where_the_rows_say_so(day, adult):
    leap = adults().head(1).with_columns(pl.lit("2008-02-29").alias("date_of_birth"))
    on = datetime(2026, 2, day, 12, tzinfo=UTC)
    frame = leap.select("family", "forename", "surname", "date_of_birth")
    check = CHECKS["out-of-work-benefits"]
    if adult:
        assert pick(check, frame, on.date()).frame.height == 1
        make(check, frame, "e10000003", "jcp-ely", on, 1)
    else:
        with pytest.raises(InputError, match="adults only"):
            make(check, frame, "e10000003", "jcp-ely", on, 1)


def test_r15_only_the_partner_opens_questions_and_only_as_they_were_signed():
    questions, _, _ = made("out-of-work-benefits", adults())
    data = questions.sealed(KEY, PARTNER.public)
    found = Questions.open(data, PARTNER, REGISTER, NOW)
    assert (found.asked, found.expires) == (questions.asked, questions.expires)
    other, _ = OpeningKey.generate()
    for key, file in ((other, data), (PARTNER, data[:-1] + bytes([data[-1] ^ 1])), (PARTNER, b"else")):
        with pytest.raises(SealedError):
            Questions.open(file, key, REGISTER, NOW)


def test_r19_questions_that_no_operator_signed_are_not_answered():
    questions, _, _ = made("out-of-work-benefits", adults())
    stranger = questions.sealed(operator_key(), PARTNER.public)
    with pytest.raises(SealedError, match="No operator"):
        Questions.open(stranger, PARTNER, REGISTER, NOW)


def test_questions_to_one_partner_are_not_another_s_to_answer():
    """A partner that seals on what it was sent to a second one gets no answers by it."""
    questions, _, _ = made("out-of-work-benefits", adults())
    second, _ = OpeningKey.generate()
    both = (*REGISTER.partners, Partner("ely-homes", frozenset(CHECKS), second.public))
    register = PartnerRegister("e10000003", 12, REGISTER.operators, both)
    with pytest.raises(SealedError, match="another partner"):
        Questions.open(questions.sealed(KEY, second.public), second, register, NOW)


@pytest.mark.parametrize("days", [1, 31])
def test_r15_questions_expire(days):
    questions, _, _ = made("out-of-work-benefits", adults(), days)
    data = questions.sealed(KEY, PARTNER.public)
    last = NOW + timedelta(days=days)
    Questions.open(data, PARTNER, REGISTER, last - timedelta(seconds=1))
    with pytest.raises(PartnerLateError):
        Questions.open(data, PARTNER, REGISTER, last)
    with pytest.raises(PartnerLateError):  # made by a clock far ahead
        Questions.open(data, PARTNER, REGISTER, NOW - timedelta(hours=1))


@pytest.mark.parametrize("days", [0, 32, 365])
def test_r15_no_question_lives_longer_than_31_days(days):
    with pytest.raises(InputError, match="31 days"):
        made("out-of-work-benefits", adults(), days)


def test_the_length_of_a_file_tells_little():
    two, _, _ = made("out-of-work-benefits", adults().head(2))
    three, _, _ = made("out-of-work-benefits", adults())
    assert len(two.sealed(KEY, PARTNER.public)) == len(three.sealed(KEY, PARTNER.public))


def test_a_question_shows_nothing_of_whom_it_is_about():
    questions, _, _ = made("out-of-work-benefits", adults())
    assert "Smith" not in repr(questions)
    assert repr(KEY) == "OperatorKey()"
