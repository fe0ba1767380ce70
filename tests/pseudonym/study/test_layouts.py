"""A layout says all it must and nothing else; a file is what its layout says, or is refused as a whole."""

from __future__ import annotations

import tomllib

import polars as pl
import pytest

from linker import headings
from pseudonym.errors import CouncilFileError, LayoutError, PseudonymError
from pseudonym.study import fields as own
from pseudonym.study import files
from pseudonym.study.delivery import check
from pseudonym.study.layouts import Layout
from pseudonym.study.proposing import propose
from pseudonym.study.schemes import scheme
from tests.pseudonym.study.conftest import COUNCILS, DAYS
from tests.pseudonym.study.made_up import CHILD, DAY, LAYOUT, layout, rows


def test_r2_the_fields_are_those_of_the_study_and_each_identifier_is_one_that_linkage_knows():
    known = own.fields(scheme("tf-2015"))
    kinds = {
        "forename": "forename", "middle_name": "middle_name", "surname": "surname", "full_name": "full_name",
        "alias_forename": "forename", "alias_surname": "surname", "former_surname": "surname",
        "date_of_birth": "date_of_birth", "sex": "sex", "house": "house", "address_line": "address_line",
        "town": "town", "address": "address", "postcode": "postcode", "nhs_number": "nhs_number",
        "nino": "nino", "upn": "upn", "uln": "uln", "pncid": "pncid",
    }  # fmt: skip
    identifiers = [
        name
        for name, field in known.items()
        if field.part is own.Part.IDENTIFIERS and not name.endswith(own.SOURCE)
    ]
    assert set(identifiers) == set(kinds) | {"family", "protected"}
    assert {name: headings.read(name).meaning for name in kinds} == kinds
    further = {name for name in kinds if headings.read(name).further}
    assert further == {"alias_forename", "alias_surname", "former_surname"}


def test_r3_a_column_that_nobody_declared_refuses_the_file_by_its_heading():
    frame = rows({}).with_columns(pl.lit("She told me ZYZZYVA").alias("Case notes"))
    with pytest.raises(CouncilFileError, match="Case notes") as caught:
        check(frame, layout(), DAY)
    assert "ZYZZYVA" not in str(caught.value)


def test_r2_a_column_that_is_missing_refuses_the_file():
    with pytest.raises(CouncilFileError, match="'Crit'"):
        check(rows({}).drop("Crit"), layout(), DAY)


def test_a_file_without_headings_is_refused_and_nobody_in_its_first_line_is_named():
    frame = rows({}, CHILD)
    frame.columns = [f"ZYZZYVA{at}" for at in range(frame.width)]
    with pytest.raises(CouncilFileError, match="0 of the 22") as caught:
        check(frame, layout(), DAY)
    assert "ZYZZYVA" not in str(caught.value)
    with pytest.raises(CouncilFileError, match="No heading") as caught:
        propose(frame, scheme("tf-2015"))
    assert "ZYZZYVA" not in str(caught.value)


def test_dates_written_otherwise_than_the_layout_says_refuse_the_file():
    frame = rows(*({"Born": f"1985-03-{1 + at:02}"} for at in range(9)))
    with pytest.raises(CouncilFileError, match="9 of 9 values of 'Born' are not written DD/MM/YYYY"):
        check(frame, layout(), DAY)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("kinlink-council-layout/1", "other", "format"),
        ('council = "testshire"', 'council = "?"', "council"),
        ('council = "testshire"', 'council = "Ada Quibble"', "letters"),
        ('scheme = "tf-2015"', 'scheme = "tf-1999"', "scheme"),
        ("[columns]", 'notes = "x"\n[columns]', "notes"),
        ('member = "Ref"', 'remarks = "Ref"', "remarks"),
        ('member = "Ref"', 'member = "First"', "'First' twice"),
        ('family = "Family"', "", "family"),
        ('surname = "Last"', "", "names"),
        ('date_of_birth = "Born"', "", "dates of birth"),
        ('postcode = "Postcode"', "", "addresses"),
        ('arm = { column = "Group", codes = { T = "programme", C = "comparison" } }', "", "get support"),
        ('dates = "DD/MM/YYYY"', 'dates = "%d/%m/%Y"', "not written"),
        ('T = "programme"', 'T = "?"', "still means"),
        ('T = "programme"', 'T = "treated"', "treated"),
        ('T = "programme", C =', 't = "programme", T = "programme", C =', "twice"),
        ('S = "SCHOOL"', 'S = "TRUANCY"', "truancy"),
        ('column = "Rel", codes = { P = "parent", C = "child" }', 'column = "Rel"', "codes"),
        ('former_surname = "Maiden"', 'former_surname = { always = "Quibble" }', "always"),
        ('postcode = "Postcode"', 'postcode = { column = "Postcode", dates = "YYYYMMDD" }', "dates"),
        ('hours = "Hours"', 'hours = "Hours"\nintensity = { column = "x", codes = { a = "light" } }', "both"),
        (
            'former_surname = "Maiden"',
            'protected = { column = "Maiden", codes = { Y = "yes", "?" = "" } }',
            "Decide yes or no",
        ),
        ("[columns]", "[columns", "not TOML"),
    ],
)
def test_r2_a_layout_that_says_too_little_or_too_much_is_refused(old, new, told):
    assert old in LAYOUT
    with pytest.raises(PseudonymError, match=told):
        layout(LAYOUT.replace(old, new))


@pytest.mark.parametrize("council", COUNCILS)
def test_a_proposed_layout_reads_the_file_once_what_is_open_is_decided(clean, layouts, council):
    frame = files.read(clean / f"councils/{council}/{DAYS[1]}.parquet")
    text = propose(frame, scheme("tf-2015"))
    made = tomllib.loads(text)
    with pytest.raises(LayoutError, match="council"):
        Layout.from_toml(text)
    asked = {source.field.name: source.column for source in layouts[council].sources}
    told = {name: said if isinstance(said, str) else said["column"] for name, said in made["columns"].items()}
    assert told == {name: column for name, column in asked.items() if not str(column).startswith("crit_")}
    problems = ("CRIME_ASB", "SCHOOL", "CHILD_HELP", "WORK_FIN", "DA", "HEALTH")
    text = text.replace('council = "?"', f'council = "{council}"')
    for at, problem in enumerate(problems, 1):
        text = text.replace(f'"{at}" = "?"', f'"{at}" = "{problem}"')
        text = text.replace(
            f'# "crit_{at}"', f'{problem} = {{ column = "crit_{at}", codes = {{ Y = "yes", N = "no" }} }}'
        )
    assert check(frame, Layout.from_toml(text), DAY).figures() == (
        check(frame, layouts[council], DAY).figures()
    )


def test_r3_a_proposal_holds_headings_and_codes_and_nothing_else_of_a_value():
    frame = rows(
        *({"First": f"Zyzzyva{at}", "Postcode": f"CB{at} 1ZY", "Group": "T", "Crit": "W"} for at in range(60))
    )
    frame = frame.with_columns(Notes=pl.lit("zyzzyva"), Gender=pl.col("First"))
    text = propose(frame, scheme("tf-2015"))
    assert "zyzzyva" not in text.lower()
    assert "1ZY" not in text
    assert '# "Notes"' in text


def test_r14_a_proposal_knows_who_told_and_takes_either_hours_or_their_intensity():
    frame = rows({"BornSaid": "Professional"}).rename({"BornSaid": "DOB Source", "Hours": "Support Hours"})
    frame = frame.with_columns(Intensity=pl.lit("high"))
    columns = tomllib.loads(propose(frame, scheme("tf-2015")))["columns"]
    assert columns["date_of_birth_source"]["codes"] == {"Professional": "professional"}
    assert ("hours" in columns, "intensity" in columns) == (True, False)
    turned = tomllib.loads(propose(frame.select(reversed(frame.columns)), scheme("tf-2015")))["columns"]
    assert ("hours" in turned, "intensity" in turned) == (False, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n3\n", "row 2"),
        ("a,b\n1,2,3\n", "row 1"),
        ('a,b\n"1,2\n3,4\n', "not closed"),
        ("a,a\n1,2\n", "another's"),
        ("a,b\n", "no rows"),
        ("", "empty"),
        ("a,b\n\xe9,2\n", "UTF-8"),
    ],
)
def test_r1_a_file_of_a_wrong_structure_is_refused_as_a_whole(tmp_path, text, told):
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CouncilFileError, match=told):
        files.read(path)


def test_a_file_is_read_with_quotes_marks_and_line_ends_as_spreadsheets_write_them(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes('\ufeff"a","b; c"\r\n"1, ""x""","2\n3"\r\n ,4\r\n'.encode())
    assert files.read(path).to_dict(as_series=False) == {"a": ['1, "x"', None], "b; c": ["2\n3", "4"]}
    with pytest.raises(CouncilFileError, match="no known kind"):
        files.read(path.rename(tmp_path / "file.xlsx"))
