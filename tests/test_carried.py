"""What leaves for a register's holder: those who can be in it, with what it carries, by hand."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from linker.carried import carried
from linker.errors import ProfileError
from tests.test_profile_links import COLUMNS

DAY = date(2026, 11, 23)
ROWS = [
    # person, record, given, surname, born, postcode, NHS number, UPN
    ("1", "r1", "Zoë Anne", "Ó Briain", "2015-03-01", "CB1 1AA", "9434765919", "B801200005001"),
    ("1", "r2", "Zoe", "Marsh", "2015-03-01", "LS2 3CD", None, None),
    ("1", "r2", "Zoe", "Marsh", "2015-03-01", "LS2 3CD", None, None),
    ("2", "r3", "Noah", "Hale", "1979-11-21", "EC1A 1BB", "9434765870", None),
    ("3", "r4", "Ivy", "Dunn", "2006-11-23", "CB2 1TN", None, None),
    ("4", "r5", "Leo", "Frost", "2006-11-24", None, None, None),
    ("5", "r6", "Mia", None, None, "CB4 3LE", None, None),
]


@pytest.fixture
def known():
    names = ["person", "record", "given", "surname", "born", "postcode", "nhs", "upn"]
    frame = pl.DataFrame(ROWS, schema=dict.fromkeys(names, pl.String), orient="row")
    missing = [name for name in COLUMNS if name not in names]
    return frame.with_columns(pl.lit("E10000003").alias(name) for name in missing).with_columns(
        family=pl.lit(None, pl.String), sex=pl.lit("female"), address=pl.lit("1 High Street")
    )


def test_r29_r31_by_age_and_by_what_the_register_carries(known):
    npd = carried(known, "npd", DAY)
    # 20 on the day is too old, 19 is not; who has no day of birth may be in it.
    assert npd.select("person", "record").rows() == [("1", "r1"), ("1", "r2"), ("4", "r5"), ("5", "r6")]
    assert set(npd.columns) == {
        "person", "record", "forename", "surname", "date_of_birth", "sex", "postcode", "upn", "uln",
    }  # fmt: skip
    assert npd["upn"].to_list() == ["B801200005001", None, None, None]
    assert set(carried(known, "wpls", DAY)["person"]) == {"2", "3", "4", "5"}
    ndtms = carried(known, "ndtms", DAY)
    assert set(ndtms.columns) == {
        "person", "record", "initials", "date_of_birth", "sex", "local_authority", "partial_postcode",
    }  # fmt: skip
    assert dict(ndtms.select("record", "initials").rows())["r1"] == "ZÓ"
    assert dict(ndtms.select("record", "initials").rows())["r6"] is None
    assert ndtms["partial_postcode"].to_list() == ["CB1 1", "LS2 3", "EC1A 1", "CB2 1", None, "CB4 3"]


def test_r73_the_nhs_number_leaves_only_where_somebody_says_why(known):
    assert "nhs_number" not in carried(known, "hes", DAY).columns
    with_reason = carried(known, "hes", DAY, "s251-2026")
    assert with_reason["nhs_number"].drop_nulls().to_list() == ["9434765919", "9434765870"]
    assert not {"forename", "surname", "initials"} & set(with_reason.columns)
    for register in ("npd", "pnc", "wpls"):
        assert "nhs_number" not in carried(known, register, DAY, "s251-2026").columns
    with pytest.raises(ProfileError):
        carried(known, "dvla", DAY)
