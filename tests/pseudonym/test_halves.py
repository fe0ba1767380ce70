"""A file in two halves: joined again by the references alone, and by nothing else."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.errors import InputError
from pseudonym.halves import ROW_REF, divide, divide_extract

ROWS = pl.DataFrame(
    {
        "surname": [f"Baxter{i}" for i in range(500)],
        "born": [f"2011-02-{1 + i % 28:02}" for i in range(500)],
        "score": [str(i) for i in range(500)],
    }
)


def test_the_references_and_nothing_else_join_the_halves_again():
    halves = divide(ROWS, ["surname", "born"], ["score"])
    assert halves.identifiers.columns == [ROW_REF, "surname", "born"]
    assert halves.attributes.columns == [ROW_REF, "score"]
    assert halves.identifiers[ROW_REF].n_unique() == 500
    assert halves.identifiers[ROW_REF].str.contains("^[0-9a-f]{32}$").all()
    again = halves.identifiers.join(halves.attributes, on=ROW_REF, validate="1:1").drop(ROW_REF)
    assert again.sort("surname").equals(ROWS.sort("surname"))


def test_the_place_of_a_row_tells_nothing():
    halves = divide(ROWS, ["surname", "born"], ["score"])
    own = halves.identifiers["surname"].str.strip_prefix("Baxter")
    # Of 500 shuffled rows one stays in its place on average; 12 or more do once in 10^9 times.
    assert (own == halves.attributes["score"]).sum() < 12
    assert (own == ROWS["score"]).sum() < 12
    assert (halves.attributes["score"] == ROWS["score"]).sum() < 12


def test_no_two_divisions_share_a_reference():
    one, other = (divide(ROWS, ["surname", "born"], ["score"]).identifiers[ROW_REF] for _ in range(2))
    assert not one.is_in(other.implode()).any()


def test_who_can_foretell_the_bytes_makes_the_same_halves_again():
    drawn = [random.Random(5).randbytes for _ in range(2)]
    one, other = (divide(ROWS, ["surname", "born"], ["score"], draw) for draw in drawn)
    assert one.identifiers.equals(other.identifiers)
    assert one.attributes.equals(other.attributes)
    assert (one.identifiers[ROW_REF] == one.attributes[ROW_REF]).sum() < 12
    assert one.identifiers[ROW_REF].n_unique() == 500


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from("abcdef"), min_size=1), st.data())
def test_every_column_goes_into_exactly_one_half(names, data):
    ours = data.draw(st.sets(st.sampled_from(sorted(names))))
    rows = pl.DataFrame({name: [f"{name}1", f"{name}2"] for name in sorted(names)})
    halves = divide(rows, sorted(ours), sorted(names - ours))
    assert set(halves.identifiers.columns) == ours | {ROW_REF}
    assert set(halves.attributes.columns) == (names - ours) | {ROW_REF}


@pytest.mark.parametrize(
    ("identifiers", "attributes", "named"),
    [
        (["surname", "born", "score"], ["score"], "score"),
        (["surname", "surname", "born"], ["score"], "surname"),
        (["surname", "born", "town"], ["score"], "town"),
        (["surname"], ["score"], "born"),
    ],
)
def test_a_column_in_both_in_neither_or_not_there_is_refused_by_name(identifiers, attributes, named):
    with pytest.raises(InputError, match=named) as caught:
        divide(ROWS, identifiers, attributes)
    assert "Baxter" not in str(caught.value)


def test_a_column_that_is_called_like_the_reference_is_refused():
    rows = ROWS.rename({"score": ROW_REF})
    with pytest.raises(InputError, match=ROW_REF):
        divide(rows, ["surname", "born"], [ROW_REF])


RECORDS = ROWS.select(pl.int_range(500).cast(pl.String).alias("record_id"), "surname", "born")
EVENTS = pl.DataFrame(
    {"record_id": [str(i * i % 300) for i in range(900)], "score": [str(i) for i in range(900)]}
)


def test_r31_the_events_of_an_extract_find_their_record_by_its_reference_alone():
    halves = divide_extract(RECORDS, EVENTS, "record_id")
    assert halves.identifiers.columns == [ROW_REF, "surname", "born"]
    assert halves.attributes.columns == [ROW_REF, "score"]
    assert halves.identifiers[ROW_REF].n_unique() == 500
    told = RECORDS.join(EVENTS, on="record_id").select("surname", "score").sort("score")
    again = halves.identifiers.join(halves.attributes, on=ROW_REF).select("surname", "score").sort("score")
    assert again.equals(told)
    own = halves.identifiers["surname"].str.strip_prefix("Baxter")
    assert (own == RECORDS["record_id"]).sum() < 12


@pytest.mark.parametrize(
    ("records", "events", "named"),
    [
        (RECORDS.drop("record_id"), EVENTS, "record_id"),
        (RECORDS, EVENTS.drop("record_id"), "record_id"),
        (pl.concat([RECORDS, RECORDS[:1]]), EVENTS, "twice"),
        (RECORDS[:100], EVENTS, "of no record"),
        (RECORDS, EVENTS.with_columns(born=pl.lit("2011")), "born"),
        (RECORDS.with_columns(row_ref=pl.lit("x")), EVENTS, ROW_REF),
    ],
)
def test_an_extract_that_cannot_be_divided_is_refused(records, events, named):
    with pytest.raises(InputError, match=named):
        divide_extract(records, events, "record_id")
