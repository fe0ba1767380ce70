"""Three councils' files of a made-up county, held against its truth, to halves that roles would take."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from pseudonym.frames import table
from pseudonym.halves import ROW_REF
from pseudonym.scanner import scan
from pseudonym.study import fields as own
from pseudonym.study import files
from pseudonym.study.declaring import dataset
from pseudonym.study.delivery import check, divide
from pseudonym.values import accept, looks_like_an_identifier
from tests.pseudonym.study.conftest import COUNCILS, DAYS, truth_of
from tests.pseudonym.study.made_up import KEY

EVERY_FILE = [(council, day) for council in COUNCILS for day in DAYS]
WORDS = {"programme": "intervention", "comparison": "comparison", None: None}


def delivered(county, layouts, council, day):
    frame = files.read(county / f"councils/{council}/{day}.parquet")
    return check(frame, layouts[council], date.fromisoformat(day))


@pytest.mark.parametrize(("council", "day"), EVERY_FILE)
@pytest.mark.parametrize("preset", ["clean", "realistic"])
def test_r6_the_families_shared_are_those_that_the_truth_says_are_eligible(
    request, layouts, preset, council, day
):
    county = request.getfixturevalue(preset)
    found = delivered(county, layouts, council, day)
    truth = truth_of(county, council, day)
    raw = files.read(county / f"councils/{council}/{day}.parquet")
    columns = {source.field.name: source.column for source in layouts[council].sources}
    families = raw.select(record_id=columns["member"], family=columns["family"]).join(truth, on="record_id")
    decided = families.unique("family").join(found.families, on="family")
    assert decided.height == found.families.height == truth["household"].n_unique()
    assert decided.filter("eligible")["outcome"].unique().to_list() == ["eligible"]
    assert decided.filter(~pl.col("eligible"))["outcome"].unique().to_list() == ["below"]
    # All members of an eligible family leave, and nobody else.
    leaving = found.leaving.select(record_id="member", said="arm")
    assert set(leaving["record_id"]) == set(families.filter("eligible")["record_id"])
    joined = leaving.join(truth, on="record_id")
    assert [WORDS[said] for said in joined["said"]] == joined["arm"].to_list()


@pytest.mark.parametrize(("council", "day"), EVERY_FILE)
def test_r35_names_dates_addresses_and_numbers_are_in_one_half_and_roles_take_the_other(
    realistic, layouts, council, day
):
    found = delivered(realistic, layouts, council, day)
    division = divide(found, KEY)
    who, what = division.halves.identifiers, division.halves.attributes
    assert set(who.columns) & set(what.columns) == {ROW_REF}
    known = own.fields(layouts[council].scheme)
    assert all(known[name].part is own.Part.IDENTIFIERS for name in who.columns if name != ROW_REF)
    assert not {*own.NAMES, *own.PLACES, *own.NUMBERS, "date_of_birth", "sex", "family", "member"} & set(
        what.columns
    )
    assert {"date_of_birth", "family"} <= set(who.columns)
    # No value of one half is one of the other, but for short ones such as F and 1.
    long = {
        value for name in who.columns for value in who[name].drop_nulls().to_list()
        if name != ROW_REF and len(value) > 4
    }  # fmt: skip
    assert not long & {value for name in what.columns for value in what[name].to_list() if name != ROW_REF}
    assert scan(what.drop(ROW_REF)) == []
    declared = dataset(layouts[council].scheme, COUNCILS)  # as one that all councils of a project share
    accept(table(what.drop(ROW_REF)), declared, looks_like_an_identifier)
    # The place of a row tells nothing: of shuffled rows one stays where the other half has it, on average.
    assert (who[ROW_REF] == what[ROW_REF]).sum() < 12
    # The reference joins what belongs together: the quarter of birth is that of the date.
    both = who.join(what, on=ROW_REF, validate="1:1").drop_nulls("date_of_birth")
    born = both["date_of_birth"].str.to_date()
    quarters = [f"{day.year}-Q{(day.month + 2) // 3}" for day in born]
    assert both["birth_quarter"].to_list() == quarters
    assert both.height > 0.9 * found.leaving.height


@pytest.mark.parametrize("council", COUNCILS)
def test_r1_the_same_content_is_one_submission_in_whatever_order_it_comes(realistic, layouts, council):
    frame = files.read(realistic / f"councils/{council}/{DAYS[1]}.parquet")
    day = date.fromisoformat(DAYS[1])

    def made(of, on=day, key=KEY):
        return divide(check(of, layouts[council], on), key)

    def batch(*args):
        return made(*args).receipt["batch"]

    once = batch(frame)
    for one in (frame, frame.select(reversed(frame.columns)).reverse()):
        again = made(one)
        assert again.receipt["batch"] == once
        assert again.halves.identifiers.equals(made(frame).halves.identifiers)
        assert again.halves.attributes.equals(made(frame).halves.attributes)
    refs = set(made(frame).halves.identifiers[ROW_REF])
    for different in ((frame, date(2025, 1, 1)), (frame, day, bytes(32))):
        assert batch(*different) != once
        assert not refs & set(made(*different).halves.identifiers[ROW_REF])
    eligible = check(frame, layouts[council], day).leaving["row"][0] - 1
    column = next(one.column for one in layouts[council].sources if one.field.name == "postcode")
    other = frame.with_row_index("at").with_columns(
        pl.when(pl.col("at") == eligible).then(pl.lit("CB3 0AP")).otherwise(column).alias(column)
    )
    assert batch(other.drop("at")) != once
    assert once.startswith(f"tf-2015-{council}-2024-12-31-")


@pytest.mark.parametrize("council", COUNCILS)
def test_r8_both_arms_have_the_same_columns_and_the_receipt_counts_them(realistic, layouts, council):
    found = delivered(realistic, layouts, council, DAYS[1])
    division = divide(found, KEY)
    arms = division.halves.attributes["arm"].unique().drop_nulls().sort().to_list()
    assert arms == ["comparison", "programme"]
    receipt = division.receipt
    assert receipt["rows"] == {
        "in_file": found.in_file, "refused": 0, "leaving": division.halves.identifiers.height,
    }  # fmt: skip
    assert sum(receipt["families"].values()) == found.families.height
    assert sum(receipt["leaving_by_arm"].values()) == receipt["families"]["eligible"]
    everyone = {value for name in own.NAMES + own.NUMBERS for value in found.leaving[name].drop_nulls()}
    assert not everyone & set(str(receipt).replace("'", " ").split())
