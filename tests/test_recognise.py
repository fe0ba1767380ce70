"""Recognition of columns: by name, checked by value, by value alone, as mapped."""

from __future__ import annotations

import polars as pl
import pytest

from linker import headings
from linker.arrival import arrive
from linker.defaults import default_comparisons, default_rules
from linker.derive import standard_columns
from linker.errors import LayoutError
from linker.headings import Heading
from linker.recognise import recognise
from linker.records import Field, Kind

SURNAMES = ["Smith", "Jones", "Ahmed", "O'Neil", "Taylor", "Begum"] * 5
POSTCODES = ["CB3 0AP", "EC1A 1BB", "M1 1AE", "W1A 0AX", "DN55 1PT", "B33 8TH"] * 5
DATES = ["1980-03-12", "2001-11-30", "1999-01-02", "1975-06-07", "2010-10-10", "1960-02-28"] * 5
NUMBERS = ["9434765870", "9434765919", "4010232137", "9449305552", "9876543210", "9434765870"] * 5
ROWS = len(SURNAMES)


def kinds(frame: pl.DataFrame, **options: object) -> dict[str, str]:
    return {field.name: field.kind.value for field in recognise(frame, **options).fields}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("given_name", Kind.FORENAME),
        ("first_name", Kind.FORENAME),
        ("Forename1", Kind.FORENAME),
        ("fname_c1", Kind.FORENAME),
        ("PERNAME1", Kind.FORENAME),
        ("person_first_name_l", Kind.FORENAME),
        ("Forename2", Kind.MIDDLE_NAME),
        ("fname_c2", Kind.MIDDLE_NAME),
        ("Middle Names", Kind.MIDDLE_NAME),
        ("LegalSurname", Kind.SURNAME),
        ("pername2", Kind.SURNAME),
        ("lname_c1", Kind.SURNAME),
        ("last_name", Kind.SURNAME),
        ("Client Name", Kind.FULL_NAME),
        ("DateOfBirth", Kind.DATE_OF_BIRTH),
        ("DOB", Kind.DATE_OF_BIRTH),
        ("birth_date", Kind.DATE_OF_BIRTH),
        ("Gender", Kind.SEX),
        ("street_number", Kind.HOUSE),
        ("AddressLine1", Kind.ADDRESS_LINE),
        ("address_1", Kind.ADDRESS_LINE),
        ("enumcap", Kind.ADDRESS_LINE),
        ("Home Address", Kind.ADDRESS),
        ("suburb", Kind.TOWN),
        ("city", Kind.TOWN),
        ("Post Code", Kind.POSTCODE),
        ("pcd", Kind.POSTCODE),
        ("enumpc", Kind.POSTCODE),
        ("UPRN", Kind.UPRN),
        ("NHS_NUMBER", Kind.NHS_NUMBER),
        ("nhs_no", Kind.NHS_NUMBER),
        ("CHI Number", Kind.CHI),
        ("NI Number", Kind.NINO),
        ("NINO", Kind.NINO),
        ("Pupil_UPN", Kind.UPN),
        ("ULN", Kind.ULN),
        ("PNC_ID", Kind.PNCID),
        ("CRO_Number", Kind.CRO),
        ("E-mail address", Kind.EMAIL),
        ("Tel. No.", Kind.PHONE),
        ("family_id", Kind.HOUSEHOLD),
        ("hh_id", Kind.HOUSEHOLD),
        ("soc_sec_id", Kind.IDENTIFIER),
        ("state", Kind.CATEGORY),
    ],
)
def test_names(column: str, kind: Kind) -> None:
    assert headings.read(column).meaning == kind
    assert [
        field.kind for field in recognise(pl.DataFrame({column: []}, schema={column: pl.String})).fields
    ] == [kind]


@pytest.mark.parametrize(
    "column", ["mother_surname", "School Postcode", "GP_Practice_Code", "next_of_kin_name"]
)
def test_names_of_somebody_else(column: str) -> None:
    assert headings.read(column) == Heading(None, elsewhere=True)


@pytest.mark.parametrize("column", ["surname_id", "colour", "updated_by", "x1", "", "sex offender register"])
def test_names_that_say_nothing_known(column: str) -> None:
    assert headings.read(column).meaning is None


@pytest.mark.parametrize(
    "column", ["PreferredSurname", "former_UPN", "address_line_2", "dob_2", "other forename"]
)
def test_further_values(column: str) -> None:
    assert headings.read(column).further


def test_a_council_file() -> None:
    frame = pl.DataFrame(
        {
            "Person_ID": [f"P{row}" for row in range(ROWS)],
            "Family ID": [f"F{row // 3}" for row in range(ROWS)],
            "Preferred Surname": SURNAMES,
            "Legal Surname": SURNAMES,
            "Name": ["Ann", "Bob", "Cy", "Di", "Ed", "Flo"] * 5,
            "D.O.B.": DATES,
            "Mother's Surname": SURNAMES,
            "Post Code": POSTCODES,
            "Title": ["Mr"] * ROWS,
            "Notes": ["seen at home"] * ROWS,
            "Cluster": ["1"] * ROWS,
            "Source": ["A"] * ROWS,
            "Blank": [None] * ROWS,
            "Fax": ["same"] * ROWS,
        },
        schema_overrides={"Blank": pl.String},
    )
    layout = recognise(frame)
    assert layout.id_column == "Person_ID"
    assert [(field.name, field.columns) for field in layout.fields] == [
        ("household", ("Family ID",)),
        ("surname_2", ("Preferred Surname",)),
        ("surname", ("Legal Surname",)),
        ("forename", ("Name",)),
        ("date_of_birth", ("D.O.B.",)),
        ("mother's surname", ("Mother's Surname",)),
        ("postcode", ("Post Code",)),
    ]
    assert layout.fields[5].kind is Kind.CATEGORY
    assert [column for column, _ in layout.ignored] == ["Title", "Notes", "Cluster", "Source", "Blank", "Fax"]
    assert dict(layout.ignored)["Blank"] == "no values"
    assert dict(layout.ignored)["Fax"] == "one value only"


@pytest.mark.parametrize(
    ("column", "values", "kind", "why"),
    [
        ("postcode", ["2600", "4011", "0800"] * 10, Kind.TEXT, "by name, but not UK postcodes"),
        ("postcode", POSTCODES, Kind.POSTCODE, "by name"),
        ("postcode", ["CB3", "EC1A", "M1"] * 10, Kind.POSTCODE, "by name"),
        (
            "nhs_no",
            ["1234567", "7654321", "22"] * 10,
            Kind.IDENTIFIER,
            "by name, but mostly not valid as nhs_number",
        ),
        ("nhs_no", NUMBERS, Kind.NHS_NUMBER, "by name"),
        ("dob", ["young", "old", "n/a"] * 10, Kind.TEXT, "by name, but not dates"),
        ("dob", ["19801399", "19700101", "31/02/2001"] * 10, Kind.DATE_OF_BIRTH, "by name"),
        ("sex", ["blue", "red", "M"] * 10, Kind.CATEGORY, "by name, but not codes of sex"),
        (
            "surname",
            ["a1f9c2", "77be01", "0ffe31"] * 10,
            Kind.CATEGORY,
            "by name, but not names as they are written",
        ),
        ("address", ["1 Elm Rd, Ely, CB3 0AP", "2 Oak Rd, Ely, CB3 0AP"] * 15, Kind.ADDRESS, "by name"),
        ("address", ["1 Elm Rd", "2 Oak Rd", "3 Ash Rd"] * 10, Kind.ADDRESS_LINE, "by name"),
        ("address_1", ["1 Elm Rd, Ely, CB3 0AP", "2 Oak Rd, Ely, CB3 0AP"] * 15, Kind.ADDRESS, "by name"),
        ("foo", POSTCODES, Kind.POSTCODE, "by its values"),
        ("foo", NUMBERS, Kind.NHS_NUMBER, "by its values"),
        ("foo", DATES, Kind.DATE_OF_BIRTH, "by its values"),
        ("foo", ["a@b.com", "c@d.org", "e@f.uk"] * 10, Kind.EMAIL, "by its values"),
        ("foo", ["07700 900123", "01223 334455", "+44 7700 900124"] * 10, Kind.PHONE, "by its values"),
        ("foo", ["red", "blue", "green"] * 10, Kind.CATEGORY, "by its values"),
        ("foo", [f"{row * 7.5}" for row in range(30)], Kind.NUMBER, "by its values"),
        ("foo", [f"word {chr(97 + row)}" for row in range(26)], Kind.TEXT, "by its values"),
        ("foo", [f"REF-{row * 7919:06}" for row in range(30)], Kind.IDENTIFIER, "by its values"),
    ],
)
def test_values_have_the_last_word(column: str, values: list[str], kind: Kind, why: str) -> None:
    fields = recognise(pl.DataFrame({column: values})).fields
    expected = column if kind in (Kind.TEXT, Kind.CATEGORY, Kind.NUMBER, Kind.IDENTIFIER) else kind.value
    assert fields == (Field(expected, kind, (column,), why),)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"foo": [str(row) for row in range(1, 40)]}, "a running number"),
        (
            {"foo": ["they were seen at home on a day in the spring", "a b c d e f g h i"] * 3},
            "free text",
        ),
        ({"admission_date": DATES}, "a date, but not said to be of birth"),
        ({"foo": DATES, "dob": DATES}, "a date, but not said to be of birth"),
        ({"mother_dob": DATES}, "a date, but about somebody or something else"),
        ({"id": ["1", "1", "2"]}, "named as a record id, but its values repeat or are missing"),
    ],
)
def test_ignored(columns: dict[str, list[str]], reason: str) -> None:
    assert recognise(pl.DataFrame(columns)).ignored == ((next(iter(columns)), reason),)


def test_dates_in_parts() -> None:
    frame = pl.DataFrame({"bd": ["3", "31"], "by": ["1980", "2001"], "bm": ["4", None], "n": ["a", "b"]})
    field = recognise(frame).fields[0]
    assert (field.kind, field.columns) == (Kind.DATE_OF_BIRTH, ("by", "bm", "bd"))
    frame = pl.DataFrame({"dob_day": ["3"], "dob_mon": ["4"], "dob_year": ["1980"]})
    assert recognise(frame).fields[0].columns == ("dob_year", "dob_mon", "dob_day")


def test_birthday_is_a_date_where_it_is_no_part() -> None:
    assert kinds(pl.DataFrame({"birthday": DATES})) == {"date_of_birth": "date_of_birth"}


def test_id_by_preference() -> None:
    frame = pl.DataFrame({"person_id": ["1", "2"], "rec_id": ["a", "b"], "soc_sec_id": ["8", "9"]})
    layout = recognise(frame)
    assert layout.id_column == "rec_id"
    assert layout.ignored == (("person_id", "another record id"),)
    assert recognise(frame, id_column="soc_sec_id").id_column == "soc_sec_id"
    assert recognise(pl.DataFrame({"surname": ["x"]})).id_column is None


def test_mapping() -> None:
    frame = pl.DataFrame(
        {"a": SURNAMES, "y": ["1980"] * ROWS, "m": ["1"] * ROWS, "d": ["2"] * ROWS, "b": SURNAMES}
    )
    layout = recognise(frame, mapping={"surname_2": "a", "date_of_birth": "y+m+d", "surname": "b"}, ignore=[])
    assert [(field.name, field.columns, field.why) for field in layout.fields] == [
        ("surname_2", ("a",), "as mapped"),
        ("date_of_birth", ("y", "m", "d"), "as mapped"),
        ("surname", ("b",), "as mapped"),
    ]


def test_mapping_leaves_the_rest_to_recognition() -> None:
    frame = pl.DataFrame(
        {"known_as": SURNAMES, "surname": SURNAMES, "shade": ["red", "blue"] * 15, "x": SURNAMES}
    )
    layout = recognise(frame, mapping={"surname": "known_as", "category": "shade"}, ignore=["x"])
    assert {field.name: field.columns for field in layout.fields} == {
        "surname": ("known_as",),
        "surname_2": ("surname",),
        "shade": ("shade",),
    }
    assert layout.ignored == (("x", "as asked"),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mapping": {"lastname": "a"}}, "no kind of field called 'lastname'"),
        ({"mapping": {"surname": "nope"}}, "no column 'nope'"),
        ({"mapping": {"surname": "a", "forename": "a"}}, "'a' is named twice"),
        ({"mapping": {"surname": "a"}, "ignore": ["a"]}, "'a' is named twice"),
        ({"mapping": {"surname": "a"}, "id_column": "a"}, "'a' is named twice"),
        ({"mapping": {"date_of_birth": "a+b"}}, "mapped to 2 columns"),
        ({"mapping": {"address_line": "a+b+c"}}, "mapped to 3 columns"),
        ({"id_column": "nope"}, "no column 'nope'"),
        ({"ignore": ["nope"]}, "no column 'nope'"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, object], message: str) -> None:
    frame = pl.DataFrame({"a": ["1"], "b": ["2"], "c": ["3"]})
    with pytest.raises(LayoutError, match=message):
        recognise(frame, **options)  # type: ignore[arg-type]


def test_order_of_rows_makes_no_difference() -> None:
    frame = pl.DataFrame(
        {
            "id": [str(row) for row in range(9000)],
            "nhs_no": [f"{row * 104729:010}" for row in range(9000)],
            "foo": [f"{row % 97} word" for row in range(9000)],
            "postcode": [POSTCODES[row % 6] if row % 2 else f"{row}" for row in range(9000)],
        }
    )
    assert recognise(frame) == recognise(frame.reverse())


def test_names_of_fields_are_unique() -> None:
    frame = pl.DataFrame({"State": ["a", "b"] * 5, "state": ["c", "d"] * 5, "Region": ["e", "f"] * 5})
    assert list(kinds(frame)) == ["state", "state_2", "region"]


def test_columns_that_are_not_text() -> None:
    frame = pl.DataFrame({"dob": [None, "1980-01-02"], "nhs_no": [9434765870, 9434765919]}).with_columns(
        pl.col("dob").str.to_date()
    )
    assert kinds(frame) == {"date_of_birth": "date_of_birth", "nhs_number": "nhs_number"}


@pytest.mark.parametrize(
    "heading", ["protected", "Protected?", "PROTECTED_RECORD", "IsProtected", "protected flag"]
)
@pytest.mark.parametrize(
    "marks", [["no"] * 30, [""] * 30, ["yes", "", ""] * 10, ["0"] * 30, [f"{row}" for row in range(30)]]
)
def test_r83_who_is_protected_takes_part_whatever_the_values_and_is_compared_with_nothing(
    heading: str, marks: list[str]
) -> None:
    frame = pl.DataFrame({"surname": ["Ash", "Elm", "Oak"] * 10, heading: marks})
    why = "by name; says who is protected: not compared"
    assert recognise(frame).fields[1] == Field("protected", Kind.PROTECTED, (heading,), why)
    records = arrive(frame)
    columns = standard_columns(records).columns
    assert "protected" in columns
    compared = {
        name.split(".")[0]
        for one in default_comparisons(records.layout.fields, columns)
        for name in one.columns
    }
    ruled = {
        name
        for rule in default_rules(records.layout.fields, columns)
        for pair in rule.columns
        for name in pair
    }
    assert compared == {"surname"}
    assert "protected" not in ruled
