"""Values that take the place of wrong ones: as linkage keeps them, or why they can be nobody's."""

from __future__ import annotations

from datetime import date

import pytest

from linker.corrections import spelt
from linker.joining import KEPT

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("nhs", "943 476 5919", "9434765919"),
        ("postcode", "cb2 7qx", "CB27QX"),
        ("nino", "ab 12 34 56 c", "AB123456C"),
        ("sex", "female", "F"),
        ("surname", " O'Neil-Hale ", "O'Neil-Hale"),
        ("given", "Test", "Test"),  # a filler in a file; here somebody has looked at it
        ("address", "No fixed abode", "No fixed abode"),
        ("born", "1970-01-01", "1970-01-01"),
        ("born", "1900-01-01", "1900-01-01"),
        ("born", " 2026-11-23 ", "2026-11-23"),
        ("nhs", "", ""),
        ("nhs", " ", ""),
        ("pncid", "\t", ""),
    ],
)
def test_r60_a_value_is_kept_as_linkage_keeps_it(field, value, kept):
    assert spelt({field: value}, TODAY) == ({field: kept}, {})


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("born", "2026-11-24", "future_date"),
        ("born", "1203-02-01", "implausible_date"),
        ("born", "1894-12-31", "implausible_date"),
        # What systems write for "no date" is somebody's day of birth only where somebody can be born on it.
        ("born", "0001-01-01", "implausible_date"),
        ("born", "1753-01-01", "implausible_date"),
        ("born", "9999-12-31", "future_date"),
        ("born", "0000-00-00", "format"),
        ("born", "20100203", "format"),
        ("born", "2010-W05-3", "format"),
        ("born", "03/02/2010", "format"),
        ("born", "2010-02-30", "format"),
        ("nhs", "9434765918", "check_digit"),
        ("nhs", "943476591", "format"),
        ("nhs", "0000000000", "sentinel"),
        ("nino", "AB12345", "format"),
        ("nino", "QQ123456C", "not_allocated"),
        ("upn", "B801200001001", "check_digit"),
        ("uln", "1234567890", "check_digit"),
        ("pncid", "2001/0000001X", "check_digit"),
        ("postcode", "CB2", "format"),
        ("postcode", "CB2 7Q", "format"),
        ("postcode", "ZZ99 3VZ", "pseudo_postcode"),
        ("sex", "yes", "format"),
        ("surname", "123", "format"),
        ("surname", "Ellis\nHale", "format"),
        ("address", "1 High Street\nCambridge", "format"),
        ("address", "1 High Street\x85Cambridge", "format"),
    ],
)
def test_r60_a_value_that_can_be_nobodys_is_told_by_a_code(field, value, why):
    assert spelt({field: value}, TODAY)[1] == {field: why}


def test_r60_the_day_is_the_roles_and_not_this_machines():
    assert spelt({"born": "2019-01-02"}, date(2019, 1, 1))[1] == {"born": "future_date"}
    assert spelt({"born": "2090-01-02"}, date(2090, 1, 2))[1] == {}


def test_r60_every_field_that_may_be_corrected_is_looked_at():
    assert set(spelt(dict.fromkeys(KEPT, "?"), TODAY)[1]) == set(KEPT) - {"address"}
