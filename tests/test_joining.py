"""What of a submission is kept of people when it is joined."""

from datetime import date

import polars as pl
import pytest

from linker.arrival import arrive
from linker.joining import rows_of, without_child_ninos

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
