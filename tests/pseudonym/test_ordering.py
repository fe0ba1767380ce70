"""The order of records by what they say: neither the order in which they come nor ids make a difference."""

from __future__ import annotations

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.ordering import by_content

RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["Ann", "Bo", None]),
        st.sampled_from(["Hale", "Orr"]),
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 2)),
    ),
    max_size=14,
)


def ordered(records, seed):
    """The records in order, after they were shuffled and their ids drawn anew."""
    chance = random.Random(seed)
    drawn = chance.sample(range(10**6), 40)
    rows = [
        (given, surname, str(drawn[person]), None if family is None else str(drawn[20 + family]), place)
        for place, (given, surname, person, family) in enumerate(records)
    ]
    chance.shuffle(rows)
    schema = {"given": pl.String, "surname": pl.String, "person": pl.String, "family": pl.String}
    frame = pl.DataFrame(rows, schema=schema | {"place": pl.Int64}, orient="row")
    found = by_content(frame.drop("place"), ("given", "surname"), ("person", "family"))
    assert found.columns == ["given", "surname", "person", "family"]
    assert sorted(found.rows(), key=str) == sorted((row[:4] for row in rows), key=str)
    return found


def shape(found):
    """What the records say of each other: ids by the order in which they first come."""
    names = {name: list(dict.fromkeys(found[name].to_list())) for name in ("person", "family")}
    return [
        (given, surname, names["person"].index(person), family and names["family"].index(family))
        for given, surname, person, family in found.rows()
    ]


@settings(max_examples=80, deadline=None)
@given(RECORDS, st.integers(0, 99))
def test_r78_what_records_say_is_in_one_order_whatever_their_ids(records, seed):
    found = ordered(records, 1)
    assert found.select("given", "surname").equals(ordered(records, seed).select("given", "surname"))


def test_r78_who_says_the_same_is_told_apart_by_the_person_and_then_by_the_family():
    records = [
        ("Ann", "Hale", 0, 0), ("Ann", "Hale", 1, 1), ("Ann", "Hale", 2, 2),
        ("Bo", "Orr", 0, None), ("Bo", "Hale", 3, 1), ("Bo", "Orr", 4, 2),
    ]  # fmt: skip
    assert len({str(shape(ordered(records, seed))) for seed in range(30)}) == 1
