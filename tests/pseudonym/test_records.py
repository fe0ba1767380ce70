"""Identity payloads: one spelling, the same by column as one at a time."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym import columns, errors
from pseudonym.records import SCHEMA, Address, Former, Identity, Name

TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=12)
SOME = TEXT.filter(bool)
DAY = st.none() | st.dates(date(1800, 1, 1), date(2100, 12, 31))
NAMES = st.lists(st.builds(Name, TEXT, TEXT).filter(lambda n: n.given or n.surname), max_size=3).map(tuple)
IDENTITIES = st.builds(
    Identity,
    names=NAMES,
    aliases=NAMES,
    born=DAY,
    sex=TEXT,
    addresses=st.lists(
        st.builds(Address, TEXT, TEXT).filter(lambda a: a.lines or a.postcode), max_size=3
    ).map(tuple),
    nhs=TEXT,
    nino=TEXT,
    upn=TEXT,
    uln=TEXT,
    pncid=TEXT,
    former=st.lists(st.builds(Former, SOME, SOME, DAY, DAY), max_size=3).map(tuple),
)
ANN = Identity(
    names=(Name("Ann Mary", "O'Neill-Østergård"),),
    aliases=(Name("Annie", "Jones"),),
    born=date(1990, 1, 31),
    sex="F",
    addresses=(Address('12 "The Oaks", Hove', "BN3 1AB"),),
    nhs="943 476 5919",
    nino="AB123456C",
    upn="B801200005001",
    former=(
        Former("surname", "Brown", None, date(2015, 6, 1)),
        Former("nhs", "4010232137"),
        Former("postcode", "CB3 0AP", date(2010, 1, 1)),
        Former("given", "Anna"),
    ),
)


def frame(people):
    def plain(value):
        if isinstance(value, tuple):
            return [{f.name: getattr(part, f.name) for f in fields(part)} for part in value]
        return value

    return pl.DataFrame(
        [{name: plain(getattr(one, name)) for name in SCHEMA} for one in people], schema=SCHEMA
    )


@given(st.lists(IDENTITIES, max_size=4))
def test_by_column_as_one_at_a_time(people):
    spelt = [one.to_bytes() for one in people]
    assert columns.payloads(frame(people)) == spelt
    assert [Identity.from_bytes(payload) for payload in spelt] == people
    back = columns.frame_of(spelt)
    assert back.schema == SCHEMA
    assert columns.payloads(back) == spelt


def test_the_one_spelling():
    assert ANN.to_bytes().decode() == (
        '{"names":[{"given":"Ann Mary","surname":"O\'Neill-Østergård"}],'
        '"aliases":[{"given":"Annie","surname":"Jones"}],"born":"1990-01-31","sex":"F",'
        '"addresses":[{"lines":"12 \\"The Oaks\\", Hove","postcode":"BN3 1AB"}],'
        '"nhs":"943 476 5919","nino":"AB123456C","upn":"B801200005001",'
        '"former":[{"what":"surname","value":"Brown","until":"2015-06-01"},'
        '{"what":"nhs","value":"4010232137"},'
        '{"what":"postcode","value":"CB3 0AP","since":"2010-01-01"},{"what":"given","value":"Anna"}]}'
    )
    assert Identity().to_bytes() == b"{}"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"sex":""}',
        b'{"sex":"F" }',
        b'{"sex":"F","born":"1990-01-31"}',
        b'{"born":"1990-1-31"}',
        b'{"born":"19900131"}',
        b'{"colour":"red"}',
        b'{"names":[{"given":"A","age":"3"}]}',
        b'{"names":[{}]}',
        b'{"sex":1}',
        b'{"sex":"\\u0046"}',
        b'{"former":[{"what":"x"}]}',
        b"\xff",
    ],
)
def test_another_spelling_is_refused(payload):
    with pytest.raises(errors.SealBrokenError):
        Identity.from_bytes(payload)


def test_an_identity_does_not_show_itself():
    assert repr(ANN) == "Identity(19 values)"


@pytest.mark.parametrize("text", ["a\nb", "\0", "x" * 1001])
def test_texts_that_may_not_be_in_an_identity(text):
    for make in (
        lambda: Identity(sex=text),
        lambda: Identity(names=(Name(text),)),
        lambda: Identity(addresses=(Address("", text),)),
        lambda: Identity(former=(Former("nhs", text),)),
        lambda: columns.payloads(pl.DataFrame({"nhs": ["1", text]})),
        lambda: columns.payloads(pl.DataFrame({"names": [[{"given": text, "surname": None}]]})),
        lambda: columns.payloads(columns.from_flat(pl.DataFrame({"postcode": [text]}))),
    ):
        with pytest.raises(errors.InputError) as caught:
            make()
        assert text not in str(caught.value)


def test_what_is_no_identity_is_refused():
    for make in (
        lambda: Identity(sex="\ud800"),
        lambda: Identity(names=(Name(),)),
        lambda: Identity(former=(Former("nhs", ""),)),
        lambda: Identity(aliases=(Name("A"),) * 101),
        lambda: columns.payloads(pl.DataFrame({"aliases": [[{"given": "A", "surname": "B"}] * 101]})),
        lambda: columns.payloads(pl.DataFrame({"income": [1]})),
        lambda: columns.payloads(pl.DataFrame({"nhs": [9434765919]})),
        lambda: columns.payloads(pl.DataFrame({"born": ["1990-01-31"]})),
    ):
        with pytest.raises(errors.InputError):
            make()


def test_nothing_is_as_good_as_none():
    empty = pl.DataFrame(
        {
            "names": [[{"given": "", "surname": None}], [], None],
            "sex": ["", None, None],
            "born": [None, None, date(2000, 1, 2)],
        },
        schema={name: SCHEMA[name] for name in ("names", "sex", "born")},
    )
    assert columns.payloads(empty) == [b"{}", b"{}", b'{"born":"2000-01-02"}']
    assert columns.payloads(empty.clear()) == []
    assert columns.frame_of([]).schema == SCHEMA
    assert columns.payloads(pl.DataFrame({"sex": [None, None]})) == [b"{}", b"{}"]


def test_flat_rows_become_identities():
    flat = pl.DataFrame(
        {
            "given": ["Ann", None],
            "surname": ["Lee", None],
            "postcode": [None, "BN3 1AB"],
            "born": [date(1990, 1, 31), None],
            "nhs": ["1", None],
        }
    )
    read = [json.loads(payload) for payload in columns.payloads(columns.from_flat(flat))]
    assert read == [
        {"names": [{"given": "Ann", "surname": "Lee"}], "born": "1990-01-31", "nhs": "1"},
        {"addresses": [{"postcode": "BN3 1AB"}]},
    ]


def test_what_people_are_found_by():
    found = columns.found_by(frame([Identity(), ANN]))
    assert sorted(found.rows()) == [
        (1, "nhs", "4010232137"),
        (1, "nhs", "9434765919"),
        (1, "nino", "AB123456"),
        (1, "postcode-dob", "BN31AB|1990-01-31"),
        (1, "postcode-dob", "CB30AP|1990-01-31"),
        (1, "surname-dob", "BROWN|1990-01-31"),
        (1, "surname-dob", "JONES|1990-01-31"),
        (1, "surname-dob", "ONEILLØSTERGARD|1990-01-31"),
        (1, "upn", "B801200005001"),
    ]


def test_spellings_of_one_value_are_found_alike():
    def values(**parts):
        one = columns.from_flat(pl.DataFrame({name: [value] for name, value in parts.items()}))
        return sorted(columns.found_by(one)["value"])

    born = date(2001, 2, 3)
    assert values(surname="Müller-Lüdenscheidt ", born=born) == values(
        surname="MULLER LUDENSCHEIDT", born=born
    )
    assert values(surname="d'Arcy", born=born) == values(surname="D’ARCY", born=born)
    assert values(nino="ab 12 34 56 c") == values(nino="AB123456")
    assert values(postcode="bn3 1ab", born=born) == values(postcode="BN31AB", born=born)
    assert values(surname="Lee") == values(surname="--", born=born) == values(postcode=" ", born=born) == []
