"""Matchkeys: against plain joins, key by key, and that nothing but the records decides."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import linker
from linker.conditions import Any as AnyOf
from linker.conditions import Not, Op, exact, missing
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.errors import ModelError, RecordsError
from linker.matchkeys import Matchkey, Matchkeys
from linker.matchkeys_ons import ONS, key_set
from linker.matchkeys_pass import match_keys
from linker.model import BlockingRule
from tests import matchkeys_oracle as oracle
from tests import matchkeys_people as made_up


def arrived(people):
    return linker.arrive(oracle.frame(people), id_column="id", mapping=oracle.MAPPING)


def decided(left, right, keys=ONS, **options):
    """Key and outcome of every pair that has a key."""
    found = match_keys(arrived(left), arrived(right), keys, **options)
    return {(a, b): (key, outcome) for a, b, key, outcome in found.pairs.rows()}


@pytest.fixture(scope="module")
def files():
    homes = made_up.population(1100, seed=1)
    return [person for home in homes for person in home], made_up.seen_again(homes, seed=2)


@pytest.fixture(scope="module")
def matched(files):
    return match_keys(arrived(files[0]), arrived(files[1]), ONS)


# --- the set of ONS ------------------------------------------------------------------------------


def test_the_ons_keys_decide_as_plain_joins_do(files, matched):
    expected = oracle.outcomes(*files)
    assert {(a, b): (key, outcome) for a, b, key, outcome in matched.pairs.rows()} == expected
    # All that can happen happens, or the comparison would say little.
    assert {outcome for _, outcome in expected.values()} == {"LINKED", "AMBIGUOUS", "REVIEW", "NOT_LINKED"}
    assert len({key for key, _ in expected.values()}) >= 30
    assert matched.left_out == ()
    assert matched.used == tuple(oracle.KEYS)


def test_the_links_are_true(matched):
    links = matched.pairs.filter(pl.col("outcome") == "LINKED")
    right = links["left_id"].str.slice(1, 5) == links["right_id"].str.slice(1, 5)
    assert right.mean() > 0.995
    assert links["left_id"].is_unique().all()
    assert links["right_id"].is_unique().all()


def test_neither_the_order_of_rows_nor_threads_change_anything(files, matched):
    rng = random.Random(0)
    left, right = rng.sample(files[0], len(files[0])), rng.sample(files[1], len(files[1]))
    again = match_keys(arrived(left), arrived(right), ONS, threads=3)
    assert again.pairs.equals(matched.pairs)
    assert match_keys(arrived(left), arrived(right), ONS, threads=1).pairs.equals(matched.pairs)


WOMAN = {
    "id": "1", "forename": "Elizabeth", "middle_name": "Anne", "surname": "Hartley", "born": "1984-05-17",
    "sex": "F", "house": "12", "postcode": "CB4 1AX", "uprn": "100090000001",
    "other_forename": None, "other_surname": None, "other_postcode": None,
}  # fmt: skip
WITHOUT_SEX = {name: column for name, column in oracle.MAPPING.items() if name != "sex"}
NOWHERE = {"uprn": None, "house": None}
FORGIVEN: dict[str, dict[str, str | None]] = {
    "MK01": {"surname": "Hart-Ley"},
    "MK02": {"postcode": "LS9 9ZZ"},
    "MK03": {"middle_name": None, "uprn": None},
    "MK04": {"forename": "Anne", "middle_name": "Elizabeth", "uprn": None},
    "MK05": {"forename": "Liz", "uprn": None},
    "MK06": {"forename": "Liz", "born": "1984-05-18"},
    "MK07": {"forename": "Anne", "middle_name": None},
    "MK08": {"forename": "Elizabath", "uprn": None},
    "MK09": {"forename": "Elisabath", "surname": "Hartlee", "uprn": None},
    "MK10": {"sex": "M"},
    "MK11": {"forename": "Elizabeps", "surname": "Hampley", "uprn": None},
    "MK12": {"forename": "Alizabeps", "surname": "Hampley", "uprn": None},
    "MK13": {"forename": "Hartlee", "surname": "Elizabath", "uprn": None},
    "MK14": {"forename": "Pauline", **NOWHERE},
    "MK15": {"surname": "Brown", **NOWHERE},
    "MK16": {"forename": "Anne", "middle_name": "Jane", "postcode": None},
    "MK17": {"surname": "Brown", "middle_name": None, "postcode": None},
    "MK18": {"forename": "Elizabath", "postcode": None},
    "MK19": {"forename": "Elaine", "postcode": None},
    "MK20": {"born": "1984-05-19", "uprn": None},
    "MK21": {"born": "1979-05-17", "uprn": None},
    "MK22": {"born": "1984-02-03", "uprn": None},
    "MK23": {"born": "1985-05-17", "postcode": None},
    "MK24": {"forename": "Alizabeps", "born": "1985-05-17", "postcode": None},
    "MK25": {"born": "1985-06-18", "postcode": None},
    "MK26": {"born": "1985-06-18", "uprn": None},
    "MK27": {"sex": None, "postcode": None},
    "MK29": {"postcode": "CB4 1AY", **NOWHERE},
    "MK30": {"postcode": "CB4 1ZZ", "uprn": None},
    "MK31": {"postcode": "CB9 9ZZ", **NOWHERE},
    "MK32": {"born": "1988-11-02", **NOWHERE},
    "MK33": {"surname": "Brown", "middle_name": None, "other_surname": "Hartley", **NOWHERE},
    "MK34": {"forename": "Liz", "postcode": "LS2 3CD", "other_postcode": "CB4 1AX", **NOWHERE},
    "MK35": {"forename": "Liz", "surname": "Hartlay", "born": "1985-06-18", "postcode": None},
}


@pytest.mark.parametrize("key", FORGIVEN)
def test_each_key_forgives_what_it_is_for(key):
    changed = WOMAN | FORGIVEN[key]
    outcome = "REVIEW" if key in oracle.CLERICAL else "LINKED"
    assert decided([WOMAN], [changed]) == {("1", "1"): (key, outcome)}
    assert decided([changed], [WOMAN]) == {("1", "1"): (key, outcome)}


def test_a_family_that_moved_is_found_but_not_one_person_alone():
    away = {"postcode": "LS2 3CD", "house": "7", "uprn": "200090000002"}
    child = WOMAN | {"id": "2", "forename": "Omar", "sex": "M", "born": "2010-01-02"}
    other = (
        WOMAN | {"id": "3", "forename": "Zara", "born": "2012-03-04"} | away | {"house": "8", "uprn": None}
    )
    moved = [WOMAN | away, child | away]
    both = {("1", "1"): ("MK28", "LINKED"), ("2", "2"): ("MK28", "LINKED")}
    assert decided([WOMAN, child], moved) == both
    assert decided([WOMAN, child, other], [*moved, other | {"postcode": "NE8 8AA"}]) == both
    assert decided([WOMAN], moved) == {}
    # One of the two went somewhere else, or nobody knows where.
    assert decided([WOMAN, child], [WOMAN | away, child | away | {"house": "8", "uprn": None}]) == {}
    assert decided([WOMAN, child], [WOMAN | away, child | dict.fromkeys(away)]) == {}
    # Where they went, somebody of the same name and birthday lives twice.
    twice = decided([WOMAN, child], [*moved, child | away | {"id": "4"}])
    assert twice["1", "1"] == ("MK28", "LINKED")
    assert twice["2", "2"] == twice["2", "4"] == ("MK28", "AMBIGUOUS")


def test_a_partial_or_impossible_date_is_no_date_of_birth():
    for born in ("1984", "1984-02-31", "00/00/1984"):
        someone = WOMAN | {"born": born}
        assert decided([someone], [someone]) == {("1", "1"): ("MK22", "LINKED")}  # the year alone


# --- what a key links ----------------------------------------------------------------------------


def keys_of(*keys):
    return Matchkeys("test", "1", keys)


def equal(*columns):
    return (BlockingRule(tuple((name, name) for name in columns)),)


NAME_AND_DATE = Matchkey("name and date", "", equal("surname", "date_of_birth"))
NAME = Matchkey("name", "", equal("surname"))
DATE = Matchkey("date", "", equal("date_of_birth"))


def test_a_value_must_be_unique_on_both_sides():
    found = decided(
        [oracle.person("a", "Okafor"), oracle.person("b", "Khan")],
        [oracle.person("x", "Khan"), oracle.person("y", "Khan")],
        keys_of(NAME),
    )
    assert found == {("b", "x"): ("name", "AMBIGUOUS"), ("b", "y"): ("name", "AMBIGUOUS")}
    found = decided(
        [oracle.person("a", "Khan"), oracle.person("b", "Khan")], [oracle.person("x", "Khan")], keys_of(NAME)
    )
    assert set(found.values()) == {("name", "AMBIGUOUS")}


def test_what_an_earlier_key_linked_is_no_rival_later():
    left = [oracle.person("a", "Khan"), oracle.person("b", "Khan", "1999-01-02")]
    right = [oracle.person("x", "Khan"), oracle.person("y", "Khan", "2001-03-04")]
    assert decided(left, right, keys_of(NAME_AND_DATE, NAME)) == {
        ("a", "x"): ("name and date", "LINKED"),
        ("a", "y"): ("name", "NOT_LINKED"),
        ("b", "x"): ("name", "NOT_LINKED"),
        ("b", "y"): ("name", "LINKED"),
    }


def test_a_later_key_links_no_record_past_what_an_earlier_one_left_open():
    left = [oracle.person("a", "Khan")]
    right = [oracle.person("x", "Khan"), oracle.person("y", "Khan"), oracle.person("z", "Patel")]
    found = decided(left, right, keys_of(NAME_AND_DATE, DATE))
    assert found["a", "x"] == found["a", "y"] == ("name and date", "AMBIGUOUS")
    assert found["a", "z"] == ("date", "AMBIGUOUS")
    clerical = replace(NAME_AND_DATE, clerical=True)
    found = decided(left, right[1:], keys_of(clerical, DATE))
    assert found == {("a", "y"): ("name and date", "REVIEW"), ("a", "z"): ("date", "AMBIGUOUS")}


def test_a_missing_part_never_matches():
    nameless = [oracle.person("a", None), oracle.person("b", "Khan", None)]
    assert decided(nameless, nameless, keys_of(NAME_AND_DATE)) == {}
    either = Matchkey("either", "", (*NAME.equal, *DATE.equal))
    assert decided(nameless, nameless, keys_of(either)) == {
        ("a", "a"): ("either", "LINKED"),
        ("b", "b"): ("either", "LINKED"),
    }


def test_columns_of_different_names_can_be_equal():
    maiden = Matchkey("maiden name", "", (BlockingRule((("surname", "surname_2"),)),))
    found = decided(
        [oracle.person("a", "Khan")], [oracle.person("x", "Patel", other_surname="Khan")], keys_of(maiden)
    )
    assert found == {("a", "x"): ("maiden name", "LINKED")}


def test_a_key_that_the_records_cannot_answer_is_left_out_and_listed():
    people = pl.DataFrame({"id": ["1"], "surname": ["Khan"], "dob": ["1984-05-17"]})
    records = linker.arrive(people)
    by_place = Matchkey("place", "", equal("surname", "postcode"))
    crossed = Matchkey("swapped", "", (BlockingRule((("surname", "forename"),)),))
    sexed = replace(DATE, name="sex", where=exact("sex"))
    lenient = replace(DATE, name="lenient", where=AnyOf((exact("sex"), missing("sex"))))
    unless = replace(DATE, name="unless", where=Not(exact("sex")))
    movers = replace(NAME, name="movers", moved=(("uprn",),))
    found = match_keys(records, records, keys_of(by_place, crossed, sexed, movers, lenient, unless, NAME))
    assert found.left_out == (
        ("place", ("postcode",)),
        ("swapped", ("forename",)),
        ("sex", ("sex",)),
        ("movers", ("uprn",)),
    )
    assert found.used == ("lenient", "unless", "name")
    assert found.pairs.rows() == [("1", "1", "lenient", "LINKED")]
    with pytest.raises(RecordsError, match="no matchkey of 'test'"):
        match_keys(records, records, keys_of(by_place))


def test_one_side_may_have_other_fields_than_the_other():
    left = {"id": "1", "name": "Khan, Omar", "dob": "17/05/1984", "house": "3"}
    right = {
        "id": "7",
        "surname": "KHAN",
        "forename": "omar",
        "dob": "1984-05-17",
        "address_line_1": "3 High St",
    }
    key = Matchkey("all", "", equal("full_name.joined", "date_of_birth.days", "address.house"))
    found = match_keys(linker.arrive(pl.DataFrame(left)), linker.arrive(pl.DataFrame(right)), keys_of(key))
    assert found.pairs.rows() == [("1", "7", "all", "LINKED")]


# --- definitions ---------------------------------------------------------------------------------


def test_a_set_survives_being_written_and_read(tmp_path):
    path = tmp_path / "keys.json"
    ONS.save(path)
    assert Matchkeys.load(path) == ONS
    assert Matchkeys.load(path).digest == ONS.digest
    crossed = keys_of(replace(NAME, equal=(BlockingRule((("surname", "surname_2"),)),), clerical=True))
    assert Matchkeys.from_json(crossed.to_json()) == crossed
    assert crossed.digest != ONS.digest != replace(ONS, version="2").digest
    assert key_set("ons") is ONS
    assert key_set(ONS) is ONS
    assert key_set(path) == ONS


def test_the_guide_has_every_key_and_an_example_that_can_be_read():
    guide = (Path(__file__).parents[1] / "docs" / "matchkeys.md").read_text(encoding="utf-8")
    table = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| MK")]
    assert sorted(re.findall(r"MK\d\d", "".join(table))) == [key.name for key in ONS.keys]
    assert {name for row in table if "people" in row for name in re.findall(r"MK\d\d", row)} == {
        key.name for key in ONS.keys if key.clerical
    }
    example = re.search(r"```json\n(.*?)```", guide, re.DOTALL)
    assert example
    assert [key.name for key in Matchkeys.from_json(example[1]).keys] == ["upn", "twin-proof", "maiden"]


def test_without_sex_few_of_the_ons_keys_can_be_answered():
    records = linker.arrive(oracle.frame([WOMAN]).drop("sex"), id_column="id", mapping=WITHOUT_SEX)
    assert match_keys(records, records, ONS).used == ("MK10", "MK27")


KEY = {"name": "a", "equal": [["surname"]]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "not JSON"),
        ("[]", "no matchkeys of the format"),
        ({"format": "kinlink-model/1"}, "no matchkeys of the format"),
        ({"keys": "MK01"}, "no matchkeys of the format"),
        ({"keys": []}, "empty"),
        ({"version": ""}, "no version"),
        ({"keys": [KEY, KEY]}, "one name"),
        ({"keys": [KEY | {"name": ""}]}, "one name"),
        ({"keys": [{"equal": [["surname"]]}]}, "has no name"),
        ({"keys": ["surname"]}, "has no name"),
        ({"keys": [KEY | {"equal": []}]}, "'a' has no columns"),
        ({"keys": [KEY | {"equal": [["surname"], []]}]}, "'a' has no columns"),
        ({"keys": [KEY | {"equal": ["surname"]}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"equal": [[["a", "b", "c"]]]}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"equal": [[7]]}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"equal": [[""]]}]}, "without a name"),
        ({"keys": [KEY | {"clerical": 1}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"label": None}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"moved": 3}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"moved": ["uprn"]}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"moved": [[]]}]}, "without a name"),
        ({"keys": [KEY | {"weight": 3}]}, "cannot be read: 'a'"),
        ({"keys": [KEY | {"where": {"op": "nearly", "left": "surname"}}]}, "condition of the matchkey 'a'"),
        ({"keys": [KEY | {"where": {"op": "jaro", "left": "surname", "value": float("nan")}}]}, "finite"),
        ({"keys": [KEY | {"where": {"all": []}}]}, "condition of the matchkey 'a'"),
    ],
)
def test_bad_definitions_are_refused(text, words):
    if isinstance(text, dict):
        text = json.dumps(
            {"format": "kinlink-matchkeys/1", "name": "n", "version": "1", "keys": [KEY]} | text
        )
    with pytest.raises(ModelError, match=words):
        Matchkeys.from_json(text)


def test_a_set_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match="onz cannot be read"):
        key_set("onz")


def test_a_crossed_condition_reads_both_columns():
    key = replace(NAME, where=Measure(Op.EXACT, "forename", "middle_name"))
    assert key.columns == {"surname", "forename", "middle_name"}
