"""What of a submission is kept of people when it is joined."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from linker.arrival import arrive
from linker.errors import LinkerError
from linker.joining import check, rows_of, without_child_ninos
from linker.refusals import Invalid
from linker.resources import JobKind, Work

DAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("born", "kept"),
    [
        ("2010-11-23", True),  # sixteen today
        ("2010-11-24", False),
        ("2020-01-01", False),
        ("1980-01-01", True),
        (None, True),  # nobody known to be a child
    ],
)
def test_r16_a_childs_national_insurance_number_is_not_kept_and_is_counted(born, kept):
    rows = pl.DataFrame(
        {"born": [born], "nino": ["AB123456C"]}, schema=dict.fromkeys(("born", "nino"), pl.String)
    )
    found, children = without_child_ninos(rows, DAY)
    assert (found["nino"].to_list(), children) == ((["AB123456C"], 0) if kept else ([None], 1))


def test_r16_it_is_known_however_a_date_is_written():
    frame = pl.DataFrame(
        {
            "forename": ["Ann", "Ben", "Cat"],
            "surname": ["Lee", "May", "Nye"],
            "date of birth": ["03/04/2019", "03/04/1979", ""],
            "nino": ["ab 12 34 56 c", "AB123457C", "AB123458C"],
        }
    )
    found, children = without_child_ninos(rows_of(arrive(frame), "", ""), DAY)
    assert children == 1
    assert found["nino"].to_list() == [None, "AB123457C", "AB123458C"]
    assert found["surname"].to_list() == ["Lee", "May", "Nye"]


def marked(**columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"row_ref": ["a", "b", "c", "d"], "surname": ["Lee", "May", "Nye", "Orr"], **columns})


@pytest.mark.parametrize(
    ("columns", "named", "said"),
    [
        ({"protected": ["yes", "", "", ""]}, "", "--protected protected"),
        ({"protected": ["", "", "", ""]}, "", "--protected protected"),
        ({"protected": ["no", "no", "no", "no"]}, "surname", "in 'protected' who is protected"),
        ({"protected": ["yes", "", "", ""], "is protected": ["no"] * 4}, "is protected", "Only one column"),
        ({"protected": ["yes", "", "", ""]}, "protected", None),
        ({"protected": ["", "", "", ""]}, "protected", None),
        ({}, "", None),
    ],
)
def test_r83_a_join_that_does_not_name_who_is_protected_is_refused(columns, named, said):
    layout = arrive(marked(**columns), id_column="row_ref").layout
    work = Work(JobKind.JOIN, ("sub-1",), protected_column=named)
    asked = []
    persons: Any = SimpleNamespace(check=lambda *given: asked.append(given))
    if said is None:
        check(work, "families", layout, persons)
        assert asked
        return
    with pytest.raises(Invalid, match=said) as caught:
        check(work, "families", layout, persons)
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", "protected_column")


@pytest.mark.parametrize(
    ("marks", "protected"),
    [
        (["yes", "", "", ""], [True, False, False]),
        (["Y", "no", "TRUE", "0"], [True, True, False]),  # the second row has no reference, and is refused
        (["", "", "", ""], [False, False, False]),
    ],
)
def test_r83_who_is_protected_is_read_from_yes_and_no_and_nothing_is_no(marks, protected):
    frame = marked(protected=marks).with_columns(row_ref=pl.Series(["a", None, "c", "d"]))
    assert rows_of(arrive(frame, id_column="row_ref"), "", "protected")["protected"].to_list() == protected


def test_r83_a_mark_that_is_neither_yes_nor_no_is_told_by_its_row():
    frame = marked(protected=["yes", "no", "Adopted 2019", "?"]).with_columns(
        row_ref=pl.Series(["a", None, "c", "d"])
    )
    with pytest.raises(
        LinkerError, match=r"Row 3 says neither yes nor no in 'protected' \(CODE_UNKNOWN\); 2 in all"
    ) as caught:
        rows_of(arrive(frame, id_column="row_ref"), "", "protected")
    assert "2019" not in str(caught.value)
