"""A record with values corrected: what stays of the former ones, and what does not."""

from __future__ import annotations

import functools
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.corrections import spelt
from pseudonym.errors import InputError
from pseudonym.records import NUMBERS, Address, Former, Identity, Name
from pseudonym.rights.cases import Truth
from pseudonym.rights.correcting import FIELDS, Spelt, check, corrected, spelling
from pseudonym.rights.recognising import recognised, with_recognised

WORDS = st.text("abcdefgh", min_size=1, max_size=6)
PEOPLE = st.builds(
    Identity,
    names=st.builds(Name, WORDS, WORDS).map(lambda one: (one,)),
    born=st.dates(date(1950, 1, 1), date(2020, 1, 1)),
    addresses=st.lists(st.builds(Address, WORDS, WORDS), max_size=2).map(tuple),
    nhs=st.sampled_from(["", "9434765919", "9434765870"]),
)
VALUES = st.dictionaries(
    st.sampled_from(["given", "surname", "address", "postcode", "nhs"]), WORDS, min_size=1
)


@given(PEOPLE, VALUES, st.sampled_from(Truth))
def test_r60_corrected_twice_is_as_corrected_once(person, values, truth):
    once = corrected(person, values, truth)
    assert corrected(once, values, truth) == once
    assert Identity.from_bytes(once.to_bytes()) == once


@given(PEOPLE, VALUES)
def test_r60_what_was_never_true_is_nowhere_any_more_and_what_was_true_once_is_kept(person, values):
    never, former = (corrected(person, values, truth) for truth in (Truth.NEVER, Truth.FORMER))
    old, new = person.names[0], former.names[0]
    if old != new:
        assert old not in (*never.names, *never.aliases)
        assert old in former.aliases
    if person.addresses and person.addresses[0] != former.addresses[0]:
        assert person.addresses[0] in former.addresses[1:]
        assert person.addresses[0] not in never.addresses
    if person.nhs and person.nhs != never.nhs:
        assert Former("nhs", person.nhs) in former.former
        assert person.nhs not in never.texts()


@given(PEOPLE, VALUES)
def test_r60_what_was_held_to_be_true_once_is_taken_out_by_saying_that_it_never_was(person, values):
    former = corrected(person, values, Truth.FORMER)
    never = corrected(former, values, Truth.NEVER)
    assert [one.what for one in never.former if one.what in values] == []
    if "surname" in values:
        assert {one.surname for one in never.aliases} <= {values["surname"]}
    if "given" in values:
        assert {one.given for one in never.aliases} <= {values["given"]}
    if "address" in values:
        assert {one.lines for one in never.addresses} == {values["address"]}
    if "postcode" in values:
        assert {one.postcode for one in never.addresses} == {values["postcode"]}


def test_r60_a_number_that_was_never_the_persons_leaves_no_former_value():
    person = Identity(names=(Name("Ann", "Smith"),), nhs="9434765919", former=(Former("upn", "A1"),))
    moved = corrected(person, {"nhs": "9434765870", "surname": "Smyth"}, Truth.FORMER)
    assert Former("nhs", "9434765919") in moved.former
    again = corrected(moved, {"nhs": "9434765870", "surname": "Smyth"}, Truth.NEVER)
    assert again.former == (Former("upn", "A1"),)  # of a field that was not named
    assert again.aliases == ()


@pytest.mark.parametrize(
    ("values", "truth"),
    [
        ({}, Truth.NEVER),
        ({"shoe": "42"}, Truth.NEVER),
        ({"born": "yesterday"}, Truth.NEVER),
        ({"born": "20010203"}, Truth.NEVER),
        ({"born": "2001-02-03"}, Truth.FORMER),
        ({"surname": " "}, Truth.NEVER),
    ],
)
def test_r60_what_cannot_be_corrected_is_refused(values, truth):
    with pytest.raises(InputError):
        check(values, truth)


def test_r60_every_field_can_be_corrected():
    values = dict.fromkeys(FIELDS, "x") | {"born": "2001-02-03"}
    check(values, Truth.NEVER)
    made = corrected(Identity(), values, Truth.NEVER)
    assert (made.names, made.born, made.sex) == ((Name("x", "x"),), date(2001, 2, 3), "x")
    assert [getattr(made, number) for number in NUMBERS] == ["x"] * len(NUMBERS)


TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"born": "2026-11-24"}, "born: the day is still to come"),
        ({"born": "9999-12-31"}, "born: the day is still to come"),
        ({"born": "0001-01-01"}, "born: the day is too long ago"),
        ({"address": "1 High Street\nCambridge"}, "address on one line"),
        ({"nhs": "9434765918"}, "nhs: its check digit or letter does not fit"),
        ({"nino": "AB12345"}, "nino: it is not written as such a value is"),
        ({"postcode": "PE1 9Z"}, "postcode: it is not written"),
        ({"postcode": "ZZ99 3VZ"}, "postcode: it stands for no place"),
    ],
)
def test_r60_a_value_that_can_be_nobodys_is_refused_and_not_repeated(values, said):
    with pytest.raises(InputError) as caught:
        spelling({"surname": "Ellis-Hale", **values}, Truth.NEVER, spelt, TODAY)
    text = str(caught.value)
    assert said in text
    assert "nothing was changed" in text
    assert not [value for value in (*values.values(), "Ellis-Hale") if value in text]


def test_r60_each_code_of_a_wrong_value_has_words():
    for why in ("format", "check_digit", "not_allocated", "sentinel", "pseudo_postcode", "future_date"):
        found: Spelt = functools.partial(lambda why, values, day: ({}, {"nhs": why}), why)
        with pytest.raises(InputError) as caught:
            spelling({"nhs": "x"}, Truth.NEVER, found, TODAY)
        assert why not in str(caught.value)


def test_r60_values_take_the_spelling_of_those_that_are_kept():
    typed = {"postcode": "cb2 7qx", "nhs": "943 476 5870"}
    right = spelling(typed, Truth.FORMER, spelt, TODAY)
    assert right == {"postcode": "CB27QX", "nhs": "9434765870"}
    # So the value that is there already is no other one.
    person = Identity(addresses=(Address("", "CB27QX"),), nhs="9434765870")
    assert corrected(person, right, Truth.FORMER) == person


def test_r60_a_blank_value_takes_a_number_away():
    typed = {"nhs": " ", "surname": " Hale ", "born": " 2001-02-03 "}
    right = spelling(typed, Truth.NEVER, spelt, TODAY)
    assert right == {"nhs": "", "surname": "Hale", "born": "2001-02-03"}
    assert corrected(Identity(nhs="9434765870"), right, Truth.NEVER).nhs == ""


def test_r60_whoever_names_a_field_that_there_is_not_is_told_which_there_are():
    with pytest.raises(InputError, match=r"given \(the forenames\), surname, born"):
        check({"forename": "Ann"}, Truth.NEVER)


def flat(name, rows):
    schema = [name, "given", "surname", "born", "postcode", *NUMBERS]
    made = [{**dict.fromkeys(schema), **row} for row in rows]
    return pl.DataFrame(made, schema={one: pl.Binary if one == name else pl.String for one in schema})


def test_r62_rows_of_a_restricted_person_are_known_again_and_a_twins_are_not():
    home = {"surname": "O'Neil", "born": "2011-02-03", "postcode": "CB1 2AA"}
    kept = flat("record", [{"record": b"A", "given": "Ann", "nhs": "9434765919", **home}])
    rows = flat(
        "row",
        [
            {"row": b"1", "given": "ann", **home, "surname": "ONEIL", "postcode": "cb12aa"},
            {"row": b"2", "given": "Beth", **home},  # the twin
            {"row": b"3", "given": "Anna", "born": "2011-02-03", "nhs": "943 476 5919"},
            {"row": b"4", "given": "Ann", **home, "nhs": "9434765870"},  # a number says otherwise
            {"row": b"5", "given": "Ann", **home, "born": None},
        ],
    )
    found = recognised(rows, kept)
    assert found.rows() == [(b"1", b"A"), (b"3", b"A")]
    links = pl.DataFrame({"left": [b"1", b"2"], "right": [b"K", b"K"], "weight": [20.0, 21.0]})
    assert sorted(with_recognised(links, found).select("left", "right").rows()) == [
        (b"1", b"A"), (b"2", b"K"), (b"3", b"A")
    ]  # fmt: skip
