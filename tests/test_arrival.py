"""Arrival: what is refused, by row and code, and never with a value."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linker
from linker.records import Kind

CANARY = "Zanquilbex"


def arrived(rows, **options):
    return linker.arrive(pl.DataFrame(rows, infer_schema_length=None), **options)


def told(records):
    return [tuple(row) for row in records.refusals.iter_rows()]


def test_rows_without_an_id_with_a_repeated_id_or_with_nothing_are_refused_by_code():
    records = arrived(
        {
            "id": ["1", None, "2", "1", "3", "  ", "4"],
            "forename": ["Ann", "Bob", "Cy", CANARY, None, "Flo", "Gus"],
            "surname": ["Bell", "Crow", "Dunn", "Eden", "  ", "Good", None],
        },
        id_column="id",
    )
    assert records.ids.to_list() == ["1", "2", "4"]
    assert records.frame["forename"].to_list() == ["Ann", "Cy", "Gus"]
    assert told(records) == [
        (2, None, "id_missing", True),
        (4, None, "id_repeated", True),
        (5, None, "nothing_to_compare", True),
        (6, None, "id_missing", True),
    ]
    assert records.refusals.schema == {
        "row": pl.UInt32, "field": pl.String, "reason": pl.String, "refused": pl.Boolean
    }  # fmt: skip


def test_a_value_that_is_no_use_is_set_aside_and_its_row_stays():
    records = arrived(
        {
            "id": ["1", "2", "3"],
            "nhs_number": ["943 476 5919", "943 476 5918", None],
            "surname": ["Bell", "Crow", "Dunn"],
            "dob": ["1980-02-03", "1900-01-01", "1981-02-30"],
        },
        mapping={"nhs_number": "nhs_number", "date_of_birth": "dob"},
    )
    assert records.ids.to_list() == ["1", "2", "3"]
    assert told(records) == [
        (2, "date_of_birth", "default_date", False),
        (2, "nhs_number", "check_digit", False),
        (3, "date_of_birth", "impossible_date", False),
    ]


def test_a_refused_row_is_numbered_as_in_the_file_also_after_others():
    records = arrived(
        {
            "id": [None, "1", None, "2"],
            "surname": ["A", "Bell", "C", "Dunn"],
            "forename": ["Ann", "Bo", "Cy", "Di"],
        },
        id_column="id",
    )
    assert [row for row, *_ in told(records) if row in (1, 3)] == [1, 3]


def test_without_an_id_column_the_row_number_is_the_id():
    records = arrived({"forename": ["Ann", None, "Cy"], "surname": ["Bell", None, "Dunn"]})
    assert records.layout.id_column is None
    assert records.ids.to_list() == ["1", "3"]


def test_ids_are_text_without_the_spaces_around_them():
    records = arrived(
        {"id": [" 7 ", "08"], "forename": ["Ann", "Bo"], "surname": ["Bell", "Crow"]}, id_column="id"
    )
    assert records.ids.to_list() == ["7", "08"]
    numbers = arrived({"id": [7, 8], "forename": ["Ann", "Bo"], "surname": ["Bell", "Crow"]})
    assert numbers.ids.to_list() == ["7", "8"]


def test_what_the_user_says_a_column_is_counts():
    rows = {"key": ["1", "2"], "x": ["Bell", "Crow"], "y": ["Ann", "Bo"], "z": ["1", "2"]}
    records = arrived(rows, id_column="key", mapping={"surname": "x", "forename": "y"}, ignore=["z"])
    assert {field.name: field.columns for field in records.layout.fields} == {
        "surname": ("x",),
        "forename": ("y",),
    }
    assert records.frame.columns == ["x", "y"]


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ({"id": [], "surname": []}, {}),
        ({"id": ["1", "2"]}, {}),
        ({"id": [None, " "], "surname": [CANARY, CANARY], "forename": ["Ann", CANARY]}, {"id_column": "id"}),
        (
            {"id": ["1", "2"], "surname": [None, " "], "forename": [None, None]},
            {"id_column": "id", "mapping": {"surname": "surname"}},
        ),
        ({"surname": [CANARY]}, {"ignore": ["surname"]}),
        ({"surname": [[CANARY]]}, {}),
    ],
    ids=["no rows", "no field", "no id", "nothing to compare", "all ignored", "lists"],
)  # fmt: skip
def test_records_that_are_no_use_are_an_error_that_helps(rows, options):
    with pytest.raises(linker.RecordsError) as caught:
        arrived(rows, **options)
    assert caught.value.help
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"id_column": "nowhere"},
        {"mapping": {"surname": "nowhere"}},
        {"mapping": {"nothing_known": "surname"}},
        {"mapping": {"surname": "surname", "forename": "surname"}},
        {"ignore": ["nowhere"]},
    ],
    ids=str,
)
def test_a_layout_that_cannot_be_is_an_error_that_helps(options):
    with pytest.raises(linker.LayoutError) as caught:
        arrived({"surname": [CANARY, "Bell"], "forename": ["Ann", CANARY]}, **options)
    assert caught.value.help
    assert CANARY not in str(caught.value)


typed = (
    st.none()
    | st.text("Zb1 -'É", max_size=8)
    | st.sampled_from(["", " ", "1980-02-30", "N/A", "unknown", "0"])
)


@settings(max_examples=40)
@given(st.lists(st.tuples(typed, typed, typed, typed), min_size=1, max_size=8))
def test_every_row_is_kept_or_refused_once_and_ids_are_unique(rows):
    frame = pl.DataFrame(rows, dict.fromkeys(("id", "surname", "dob", "postcode"), pl.String), orient="row")
    mapping = {"surname": "surname", "date_of_birth": "dob", "postcode": "postcode"}
    try:
        records = linker.arrive(frame, id_column="id", mapping=mapping)
    except linker.RecordsError:
        return
    refused = records.refusals.filter("refused")
    assert refused["row"].is_unique().all()
    assert len(records.ids) + refused.height == len(rows) == len(records.frame) + refused.height
    assert records.ids.is_unique().all()
    assert not records.ids.null_count()
    kept = [row for number, row in enumerate(rows, start=1) if number not in set(refused["row"])]
    assert records.ids.to_list() == [(row[0] or "").strip() for row in kept]
    assert set(records.refusals["field"].drop_nulls()) <= {Kind.SURNAME, Kind.DATE_OF_BIRTH, Kind.POSTCODE}
    assert records.refusals["reason"].str.contains(r"^[a-z_]+$").all()
    assert set(records.refusals["row"]) <= set(range(1, len(rows) + 1))
