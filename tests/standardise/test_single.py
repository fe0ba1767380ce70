"""One value at a time gives what a column gives, for every kind and part, whatever was typed."""

from __future__ import annotations

import random
import string

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.records import Kind
from linker.standardise import part_names, standard_of, table
from linker.standardise.functions import Unknown
from linker.standardise.single import compile_standard, standardise
from linker.standardise.steps import let

ALPHABET = string.ascii_letters + string.digits + " -'./,()&@+_:;"
TYPED = {
    Kind.FORENAME: ["Amelia", "Mr John", "Baby Smith", "anne-marie", "O'Neil", "XX", "Master Tom", "Jim (J)"],
    Kind.SURNAME: ["Baxter-Cole", "Mc Donald", "van der Berg", "Smith nee Jones", "de la Cruz", "St John"],
    Kind.FULL_NAME: ["SMITH, Mr John Paul", "Dr John van der Berg Jr", "Ann Smith", "Ann"],
    Kind.DATE_OF_BIRTH: [
        "1985-02-13",
        "13/02/1985",
        "2/3/85",
        "02-13-1985",
        "13 Feb 1985",
        "Feb 13, 1985",
        "19850213",
        "13021985",
        "1985",
        "1985-00-00",
        "31/02/1999",
        "1985-02-13T00:00:00",
        "19850213.0",
    ],
    Kind.SEX: ["M", "2.0", "female", "9"],
    Kind.HOUSE: ["12", "Flat 2", "12a", "The Elms", "2/3"],
    Kind.ADDRESS_LINE: ["12 High Street", "Flat 2, 14 The Rd", "Rose Cottage, Mill Lane", "NFA"],
    Kind.ADDRESS: ["12 High Street, Exeter, EX1 1AA", "Flat 3, 10 Mill Lane, Ashford"],
    Kind.TOWN: ["Exeter", "St. Ives"],
    Kind.POSTCODE: ["CB3 0AP", "SW1A1AA", "M1 1", "CBE 0AP", "ZZ99 3VZ", "gir 0aa", "C83 OAP", "EX1"],
    Kind.UPRN: ["100023336956", "000123"],
    Kind.NHS_NUMBER: ["9434765919", "943 476 5919", "9434765919.0", "4010232137"],
    Kind.CHI: ["0101701234", "101701234"],
    Kind.HC_NUMBER: ["3200000004", "3201234567"],
    Kind.NINO: ["AB123456C", "QQ123456A", "AB 12 34 56 C"],
    Kind.UPN: ["A123456789012", "H801200001001"],
    Kind.ULN: ["1000000116", "9999999999"],
    Kind.PNCID: ["2001/0012345X", "01/12345X"],
    Kind.CRO: ["123456/99A", "SF39/123456K"],
    Kind.EMAIL: ["a.b@c.org", "mailto:x@y.com", "none@none.com"],
    Kind.PHONE: ["+44 7700 900123", "07700900123", "020 7946 0958 ext 3", "+33 1 23 45 67 89"],
    Kind.NUMBER: ["12.5", "1,200", "-3", "abc", "1e5"],
}


def by_column(kind, values):
    made = table(kind, pl.Series(values, dtype=pl.String)).select(part_names(kind))
    return [
        tuple(tuple(part) if isinstance(part, list) else part for part in row) for row in made.iter_rows()
    ]


def one_by_one(kind, values):
    return [standardise.__wrapped__(kind, value, part_names(kind)) for value in values]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_the_same_one_by_one(kind):
    chance = random.Random(str(kind))
    typed = TYPED.get(kind, ["Some Words 12"])
    values = [None, "", "  ", "unknown", "N/A", "É", "Ünal–Öz", "a\tb", *typed, *map(str.upper, typed)]
    for _ in range(150):
        letters = list(chance.choice(typed))
        for _ in range(chance.randint(1, 3)):
            letters.insert(chance.randrange(len(letters) + 1), chance.choice(ALPHABET))
            letters.pop(chance.randrange(len(letters)))
        values.append("".join(letters))
    values += ["".join(chance.choices(ALPHABET, k=chance.randint(1, 14))) for _ in range(100)]
    assert one_by_one(kind, values) == by_column(kind, values)


@given(kind=st.sampled_from(Kind), values=st.lists(st.text(max_size=20), max_size=5))
def test_any_text_is_the_same_one_by_one(kind, values):
    assert one_by_one(kind, values) == by_column(kind, values)


@pytest.mark.parametrize("kind", Kind)
def test_no_kind_is_left_to_polars(kind):
    program = compile_standard(standard_of(kind, pl.col("raw")), part_names(kind))
    value = TYPED.get(kind, ["Some Words 12"])[0]
    assert program(value) == by_column(kind, [value])[0]


def test_parts_can_be_had_alone_and_in_any_order():
    names = part_names(Kind.SURNAME)
    everything = dict(zip(names, standardise(Kind.SURNAME, "van der Berg", names), strict=True))
    for wanted in (names[::-1], names[1:3], ()):
        assert standardise(Kind.SURNAME, "van der Berg", wanted) == tuple(everything[one] for one in wanted)


def test_a_step_that_is_not_known_is_said():
    for step in (pl.field("_raw").str.reverse(), pl.field("_raw").str.contains(r"\p{Greek}")):
        with pytest.raises(Unknown):
            compile_standard(let(pl.col("raw"), {"": step}), [""])
