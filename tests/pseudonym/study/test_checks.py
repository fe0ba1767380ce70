"""What is refused or set aside: by row and code, and no value told."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from pseudonym.errors import CouncilFileError
from pseudonym.study.delivery import check, divide
from pseudonym.study.reading import read
from tests.pseudonym.study.made_up import CHILD, DAY, KEY, LAYOUT, layout, rows

OK = {"Family": "F9", "First": "Zed", "Last": "Ampersand"}
MINE = {"Ref": "P1"}


def faults(*changed):
    return check(rows(*changed), layout(), DAY).faults.select("row", "code", "refused").rows()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Family": None}, "FAMILY_MISSING"),
        ({"First": None, "Last": None, "Born": None}, "NOBODY"),
        ({"Born": "01/01/2025"}, "NOT_BORN_YET"),
        ({"Screened": "01/01/2025"}, "DATE_IN_FUTURE"),
        ({"Start": "01/01/2025"}, "DATE_IN_FUTURE"),
        ({"End": "01/01/2025"}, "DATE_IN_FUTURE"),
        ({"In": "01/01/2025"}, "DATE_IN_FUTURE"),
        ({"Screened": "01/05/1023"}, "DATE_IMPLAUSIBLE"),
        ({"Screened": "31/02/2023"}, "DATE_UNREADABLE"),
        ({"Screened": "soon, said Zyzzyva"}, "DATE_UNREADABLE"),
        ({"End": "31/05/2023"}, "ENDS_BEFORE_START"),
        ({"In": "02/01/2020", "Out": "01/01/2020"}, "ENDS_BEFORE_START"),
        ({"Rel": "Zyzzyva"}, "CODE_UNKNOWN"),
        ({"Group": "X"}, "CODE_UNKNOWN"),
        ({"Help": "Zyzzyva"}, "CODE_UNKNOWN"),
        ({"Crit": "W;S;Zyzzyva"}, "CODE_UNKNOWN"),
        ({"Hours": "many"}, "NO_NUMBER"),
        ({"Ref": "said by Ms Zyzzyva on the telephone"}, "FREE_TEXT"),
        ({"Ref": "Zyzzyva\nand more"}, "FREE_TEXT"),
        ({"Family": "F1 but see F2 and F3 too"}, "FREE_TEXT"),
    ],
)
def test_r1_a_bad_row_is_refused_by_row_and_code_and_takes_no_part(changed, code):
    found = check(rows(OK, changed, OK | {"First": "Yan"}), layout(), DAY)
    assert found.faults.select("row", "code").rows() == [(2, code)]
    assert found.faults["refused"].all()
    assert sorted(found.leaving["row"]) == [1, 3]
    assert "yzzyva" not in found.faults.write_csv() + repr(found)


@pytest.mark.parametrize(
    ("changed", "code", "column"),
    [
        ({"Born": "31/02/1985"}, "DATE_UNREADABLE", "date_of_birth"),
        ({"Born": "01/01/1085"}, "DATE_IMPLAUSIBLE", "date_of_birth"),
        ({"Sex": "Q"}, "CODE_UNKNOWN", "sex"),
        ({"First": "Ada, who told me that she cannot pay the rent"}, "FREE_TEXT", "forename"),
        ({"Postcode": "see the file of her sister"}, "FREE_TEXT", "postcode"),
        ({"BornSaid": "a neighbour"}, "CODE_UNKNOWN", "date_of_birth_source"),
    ],
)
def test_r3_an_identifier_that_does_not_read_is_set_aside_and_its_row_stays(changed, code, column):
    found = check(rows(changed, OK), layout(), DAY)
    assert found.faults.rows() == [(1, column, code, False)]
    assert found.leaving.filter(row=1)[column].to_list() == [None]
    assert not set(changed.values()) & set(found.leaving.filter(row=1).cast(pl.String).row(0))


def test_a_code_that_stands_for_not_known_is_no_fault():
    found = check(rows({"Sex": "u"}), layout(), DAY)
    assert (found.faults.height, found.leaving["sex"].to_list()) == (0, [None])


@pytest.mark.parametrize(
    ("born", "relation", "kept"),
    [
        ("31/12/2008", "C", True),  # sixteen on the delivery's day
        ("01/01/2009", "C", False),
        ("01/01/2009", "P", False),
        ("29/02/2008", None, True),
        (None, "C", False),
        (None, "P", True),
        ("31/02/2008", "C", False),  # of unknown age
    ],
)
def test_r16_a_childs_national_insurance_number_is_set_aside_and_told(born, relation, kept):
    found = check(rows({"Born": born, "Rel": relation, "NI": "QQ123456C"}, OK), layout(), DAY)
    assert found.leaving.filter(row=1)["nino"].to_list() == ["QQ123456C" if kept else None]
    told = found.faults.filter(code="NINO_OF_CHILD")
    assert told.select("row", "refused").rows() == ([] if kept else [(1, False)])
    assert kept or "QQ123456C" not in divide(found, KEY).halves.identifiers.write_csv()


def test_r13_what_is_in_a_file_twice_is_refused_from_the_second_on():
    assert faults(MINE, {"Ref": "P2", "First": "Bo"}, MINE) == [(3, "ROW_REPEATED", True)]
    assert faults(MINE, MINE | {"Hours": "31"}) == [(2, "MEMBER_REPEATED", True)]
    # In another family, or after having left: no repetition.
    assert faults(MINE, MINE | {"Family": "F2"}) == []
    assert faults(MINE | {"Out": "01/01/2023"}, MINE | {"In": "02/01/2023"}) == []
    assert faults(MINE | {"Out": "01/01/2023"}, MINE | {"In": "01/01/2023"}) == [(2, "MEMBER_REPEATED", True)]


def test_r13_a_family_delivered_twice_under_two_references_is_refused_from_the_second_on():
    pair: tuple[dict[str, str | None], ...] = ({}, CHILD)
    other = tuple({**one, "Family": "F2", "Hours": "31"} for one in pair)
    assert faults(*pair, *other) == [(3, "FAMILY_REPEATED", True), (4, "FAMILY_REPEATED", True)]
    later = [{**one, "In": "01/01/2024"} for one in other]
    earlier = [{**one, "Out": "31/12/2023"} for one in pair]
    assert faults(*earlier, *later) == []  # a new reference, and not a second family
    assert faults(*pair, other[0]) == []  # a mother with a child here and none there


def test_a_family_in_two_arms_is_refused_as_a_whole():
    found = check(rows({}, CHILD | {"Group": "C"}, OK), layout(), DAY)
    assert found.faults.select("row", "code").rows() == [(1, "ARM_CONFLICT"), (2, "ARM_CONFLICT")]
    assert found.families.select("family", "outcome").rows() == [("F1", "undecided"), ("F9", "eligible")]


def test_the_arm_of_one_who_has_left_is_no_conflict():
    found = check(rows({}, CHILD | {"Group": "C", "Out": "01/01/2023"}), layout(), DAY)
    assert (found.faults.height, found.leaving["row"].to_list()) == (0, [1])


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("YYYY-MM-DD", "2015-10-09"), ("YYYY-MM-DD", "2015-10-09T00:00:00"),
        ("YYYY-MM-DD", "2015-10-09 00:00"), ("YYYY/MM/DD", "2015/10/09"),
        ("YYYYMMDD", "20151009"), ("DD/MM/YYYY", "9/10/2015"),
        ("DD-MM-YYYY", "09-10-2015"), ("DD.MM.YYYY", "09.10.2015"), ("DD MMM YYYY", "9 OCT 2015"),
        ("DD-MMM-YYYY", "09-Oct-2015"),
    ],
)  # fmt: skip
def test_dates_are_read_as_the_layout_says_they_are_written_and_in_no_other_way(form, text):
    own = LAYOUT.replace('date_of_birth = "Born"', f'date_of_birth = {{ column = "Born", dates = "{form}" }}')
    found = check(rows({"Born": text}, {"Born": "10/09/15"}), layout(own), DAY)
    assert found.leaving["date_of_birth"].to_list() == [date(2015, 10, 9), None]
    assert found.faults.rows() == [(2, "date_of_birth", "DATE_UNREADABLE", False)]


def test_a_file_of_which_nothing_can_be_used_is_refused_as_a_whole():
    with pytest.raises(CouncilFileError, match="NOT_BORN_YET"):
        check(rows({"Born": "01/01/2025"}), layout(), DAY)


def test_r14_who_told_goes_with_what_was_told():
    changed = ({"BornSaid": "fam", "CritSaid": "police"}, CHILD | {"BornSaid": "PROF"})
    text = LAYOUT + '[columns.surname_source]\nalways = "professional"\n'
    made = divide(check(rows(*changed), layout(text), DAY), KEY).halves
    own = made.identifiers.sort("forename")
    assert own["date_of_birth_source"].to_list() == ["family-member", "professional"]
    assert own["surname_source"].to_list() == ["professional"] * 2
    assert sorted(made.attributes["problems_source"].to_list(), key=str) == [None, "partner"]
    assert not [name for name in made.attributes.columns if name.startswith(("date_of", "surname"))]


def test_problems_are_said_by_list_by_flag_or_by_indicator():
    flag = 'HEALTH = { column = "Ill", codes = { Y = "yes", N = "no" } }\n'
    text = LAYOUT.replace('H = "HEALTH"\n', "").replace("[columns.problems]", flag + "[columns.problems]")
    frame = rows({"Crit": "n; LAC"}, {"Crit": ""}, {"Crit": None}, {"Crit": "W;W"})
    frame = frame.with_columns(Ill=pl.Series(["Y", "N", None, None]))
    seen = read(frame, layout(text)).rows
    flags = ("work_fin", "neet", "child_help", "looked_after", "school", "health", "problem_debt")
    assert seen.select(flags).rows() == [
        (True, True, True, True, False, True, None),
        (False, False, False, False, False, False, None),
        (False, False, False, False, False, None, None),
        (True, False, False, False, False, None, None),
    ]


def test_hours_become_a_band():
    hours = ["0", "19.5", "20", "59", "60", "9999", None]
    found = check(rows(*({"Family": f"F{at}", "Hours": one} for at, one in enumerate(hours))), layout(), DAY)
    bands = ["light", "light", "medium", "medium", "high", "high", None]
    assert found.leaving.sort("row")["intensity"].to_list() == bands


MARKED = LAYOUT.replace(
    'former_surname = "Maiden"',
    'protected = { column = "Maiden", codes = { yes = "yes", X = "yes", N = "no" } }',
)


def test_r83_who_is_protected_is_yes_or_no_in_every_row_that_leaves_and_in_each_of_a_members():
    other = {"Family": "F2", "Ref": "P9", "First": "Yan"}
    found = check(
        rows({}, other | {"Maiden": "yes"}, other | {"Family": "F3"}, OK | {"Maiden": "n"}),
        layout(MARKED),
        DAY,
    )
    assert found.faults.rows() == []
    sent = divide(found, KEY).halves.identifiers
    said = sent.select("family", "protected").sort("family").rows()
    assert said == [("F1", "no"), ("F2", "yes"), ("F3", "yes"), ("F9", "no")]
    # Nobody is marked, or everybody: the column is there all the same.
    assert set(divide(check(rows({}, OK), layout(MARKED), DAY), KEY).halves.identifiers["protected"]) == {
        "no"
    }
    # Rows without a reference of the member are each somebody.
    alone = check(rows({"Ref": None, "Maiden": "x"}, OK | {"Ref": None}), layout(MARKED), DAY)
    assert sorted(alone.leaving["protected"]) == [False, True]


def test_r83_a_mark_that_the_layout_does_not_translate_refuses_its_row():
    found = check(rows(OK, {"Maiden": "Zyzzyva"}), layout(MARKED), DAY)
    assert found.faults.rows() == [(2, "protected", "CODE_UNKNOWN", True)]
    assert found.leaving["row"].to_list() == [1]
    assert "yzzyva" not in found.faults.write_csv() + repr(found)
