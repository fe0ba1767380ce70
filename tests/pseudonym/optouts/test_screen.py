"""Who is known again by tokens, however they are spelt, and who is not."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.forms import forms
from pseudonym.errors import SealBrokenError
from pseudonym.optouts.screen import Screen
from pseudonym.optouts.tokens import FIELDS, packed, tokens, tokens_of, unpacked
from tests.pseudonym.optouts.people import KEY, anybody, rows


def listed(*people):
    return Screen([tokens_of(KEY.digests, forms(rows(one))) for one in people], KEY.digests)


def matched(person, *others, on=None):
    found = listed(on or anybody()).matches(rows(person, *others), forms)
    return found["row"].to_list()


SAME = {
    "as they are": {},
    "another postcode and no number": {"postcode": "PE274QX", "nhs": None},
    "mistyped": {"given": "Ameila", "surname": "Okonkwo Baxtr", "nhs": None},
    "misheard, moved": {"given": "Emelia", "surname": "Baxter", "postcode": "CB19ZZ", "nhs": None},
    "a pet name": {"given": "Millie", "postcode": "PE274QX", "nhs": None},
    "half of a double name": {"surname": "Baxter", "postcode": "PE274QX", "nhs": None},
    "day and month exchanged": {"born": "2011-03-02", "nhs": None},
    "one part of the day wrong": {"born": "2011-02-08", "nhs": None},
    "names exchanged": {"given": "Okonkwo", "surname": "Amelia", "nhs": None},
    "married, nearby": {"surname": "Thistlewood", "postcode": "CB17TT", "nhs": None},
    "the number alone with a day": {"given": None, "surname": None, "postcode": None},
    "no day, the same home": {"born": None, "nhs": None},
    "a middle name less": {"given": "Amelia", "postcode": "PE274QX", "nhs": None},
}
OTHERS = {
    "a twin": {"given": "Wilfred", "sex": "M", "nhs": "9434765870"},
    "a twin sister without a number": {"given": "Charlotte", "nhs": None},
    "an older sister": {"given": "Charlotte", "born": "2008-11-20", "nhs": None},
    "a mother of her name": {"born": "1979-11-21", "nhs": None},
    "a namesake": {"born": "1985-06-17", "postcode": "PE274QX", "nhs": None},
    "a namesake of the same year": {"born": "2011-09-21", "postcode": "PE274QX", "nhs": None},
    "of the same day": {"given": "Charlotte", "surname": "Jones", "postcode": "PE274QX", "nhs": None},
    "of the same day and forename": {"surname": "Jones", "postcode": "PE274QX", "nhs": None},
    "of the same home": {"given": "Tom", "surname": "Jones", "born": None, "nhs": None},
    "nobody in particular": {"given": None, "surname": None, "born": None, "postcode": None, "nhs": None},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_r52_the_same_person_is_known_again(changes):
    assert matched(anybody(**changes)) == [0]


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_r52_somebody_else_is_not(changes):
    assert matched(anybody(**changes)) == []


def test_an_alias_and_a_former_home_are_of_the_person_too():
    known = rows(anybody(), anybody(surname="Thistlewood", postcode="PE274QX", nhs=None))
    screen = Screen([tokens_of(KEY.digests, forms(known))], KEY.digests)
    later = anybody(surname="Thistlewood", postcode="CB11AA", nhs=None)
    assert screen.matches(rows(later), forms)["row"].to_list() == [0]


def test_rows_are_told_by_their_place_and_people_by_theirs():
    other = anybody(given="Noah", surname="Ellis", born="1979-11-21", postcode="CB27QX", nhs=None)
    screen = listed(anybody(), other)
    stranger = anybody(given="Freya", surname="Marsh", born="1990-05-12", postcode="CB98TT", nhs=None)
    found = screen.matches(rows(stranger, other, anybody(), other), forms)
    assert found.rows() == [(1, 1), (2, 0), (3, 1)]


def test_nobody_on_the_list_matches_nobody():
    assert Screen([], KEY.digests).matches(rows(anybody()), forms).is_empty()
    assert listed(anybody()).matches(rows(), forms).is_empty()


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
PERSON = st.fixed_dictionaries(
    {
        "given": st.none() | TEXT,
        "surname": st.none() | TEXT,
        "born": st.none() | st.dates().map(str),
        "sex": st.sampled_from([None, "F", "M"]),
        "postcode": st.none() | TEXT,
        "nhs": st.none() | st.from_regex("[0-9]{10}", fullmatch=True),
    }
)


@given(st.lists(PERSON, min_size=1, max_size=4))
def test_any_text_makes_forms_and_what_is_packed_comes_back(people):
    found = tokens_of(KEY.digests, forms(rows(*people)))
    octets = packed(found)
    assert unpacked(octets) == found
    assert len(octets) % (100 * 17) == 0
    listed_all = Screen([found], KEY.digests)
    assert set(listed_all.matches(rows(*people), forms)["row"]) <= set(range(len(people)))


def test_what_is_no_tokens_is_refused():
    with pytest.raises(SealBrokenError):
        unpacked(b"\0" * 18)


def test_a_token_is_an_hmac_of_label_field_and_value_each_with_its_length():
    """Against a message put together by hand: `enc` is injective, so that no two fields share a token."""
    message = b"\x00\x03" + b"".join(
        len(one).to_bytes(4, "big") + one for one in (b"suppression/1", b"name", b"ANN")
    )
    assert tokens(KEY.digests, "name", ["ANN"]) == [hmac.digest(bytes(range(32)), message, "sha256")[:16]]
    same = {tokens(KEY.digests, field, ["12"])[0] for field in set(FIELDS.values())}
    assert len(same) == len(set(FIELDS.values()))
