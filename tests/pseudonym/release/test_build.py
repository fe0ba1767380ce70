"""The tables of a release: one row a person, and what comes of several; the eight registers in one file."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym import registers
from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.registers.banding import banded
from pseudonym.release.build import build
from pseudonym.release.checks import check
from pseudonym.release.spec import ColumnUse, Count, Form, QuasiSet, Use
from tests.pseudonym.release.scene import people
from tests.pseudonym.release.test_gate import DECLARED, TODAY, blocking, made, spec
from tests.pseudonym.separation.parts import column

ROOT = Path(__file__).parents[3]
WAVES = Dataset("waves", (Column("wave", Kind.MONTH), Column("hours", Kind.INTEGER, 0, 99)))
MONTHS = ("2024-01", "2024-02", "2025-01", None)


def of_waves(**more):
    use = Use("waves", Form.PERSON, (ColumnUse("hours", meaning="Hours"),), **more)
    return replace(spec(), datasets=(use,), population="", sets=spec().sets[:1])


def rows(found):
    ids = [bytes([person]) * 16 for person, _, _ in found]
    frame = column(aid=ids, family=[None] * len(ids))
    waves = pl.Series("wave", [wave for _, wave, _ in found], dtype=pl.String)
    return frame.with_columns(waves, pl.Series("hours", [hours for _, _, hours in found], dtype=pl.Int64))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(MONTHS), st.integers(0, 3)), max_size=12))
def test_r32_of_several_waves_a_persons_latest_is_taken(found):
    by_person: dict[int, list[tuple[str, int]]] = {}
    for person, wave, hours in found:
        by_person.setdefault(person, []).append((wave or "", hours))
    table = (
        build(of_waves(latest="wave"), {"waves": WAVES}, {"waves": rows(found)}, TODAY).table("persons").frame
    )
    # Of two of one wave the smaller: any rule would do, but it has to be the same whenever it is built.
    expected = {
        bytes([person]) * 16: min(hours for wave, hours in some if wave == max(one for one, _ in some))
        for person, some in by_person.items()
    }
    assert dict(table.select("person", "hours").rows()) == expected


ADULT, CHILD, FRIEND = (bytes([number]) * 16 for number in (1, 2, 3))
IN_TWO = (  # who, in which family, when, hours
    (CHILD, "old", "2024-01", 1), (CHILD, "new", "2025-01", 2), (CHILD, "old", "2024-02", 3),
    (ADULT, "one", "2025-01", 5), (ADULT, "two", "2025-01", 5), (FRIEND, "one", "2025-01", 7),
)  # fmt: skip


def told(order, seed):
    """Rows of people in two families, told in an order, under ids of families that are drawn at random."""
    drawn = {name: random.Random(f"{seed} {name}").randbytes(16) for name in ("old", "new", "one", "two")}
    some = [IN_TWO[place] for place in order]
    found = column(aid=[row[0] for row in some], family=[drawn[row[1]] for row in some]).with_columns(
        pl.Series("wave", [row[2] for row in some]), pl.Series("hours", [row[3] for row in some])
    )
    return {"waves": found}, {family: name for name, family in drawn.items()}


@pytest.mark.parametrize("seed", range(4))
def test_r4_r78_who_is_in_two_families_counts_in_that_of_the_latest_row_whoever_was_told_last(seed):
    seen = set()
    for order in ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 4, 0, 5, 1, 3)):
        data, names = told(order, seed)
        built = build(of_waves(latest="wave"), {"waves": WAVES}, data, TODAY)
        found = dict(built.members.iter_rows())
        assert names[found[CHILD]] == "new"
        seen.add(names[found[ADULT]])
    assert len(seen) == 1


def test_r4_the_family_of_a_person_is_that_of_the_row_whose_columns_count():
    data, names = told(range(6), 1)
    built = build(of_waves(latest="wave"), {"waves": WAVES}, data, TODAY)
    child = built.table("persons").frame.filter(person=CHILD).row(0, named=True)
    assert (names[child["family"]], child["hours"]) == ("new", 2)


def test_r78_of_two_families_that_say_the_same_of_somebody_no_id_decides():
    chosen = set()
    for seed in range(20):
        data, names = told(range(6), seed)
        members = build(of_waves(latest="wave"), {"waves": WAVES}, data, TODAY).members
        chosen.add(names[dict(members.iter_rows())[ADULT]])
    assert len(chosen) == 1


def test_a_second_row_of_a_person_is_refused_where_nothing_says_which():
    with pytest.raises(InputError, match="second"):
        build(of_waves(), {"waves": WAVES}, {"waves": rows([(1, "2024-01", 1), (1, "2024-02", 1)])}, TODAY)
    by_sex = replace(spec(), datasets=(replace(spec().datasets[0], latest="sex"),))
    with pytest.raises(InputError, match="no month"):
        build(by_sex, DECLARED, people().rows, TODAY)


def test_a_person_outside_the_population_is_in_no_table():
    known = people()
    known.rows["family-file"] = known.rows["family-file"].head(100)
    built = build(spec(), DECLARED, known.rows, TODAY)
    inside = set(known.aids[:100])
    for table in built.tables:
        if "person" in table.frame.columns:
            assert set(table.frame["person"]) <= inside
    assert built.members.height == 100
    everybody = build(replace(spec(), population=""), DECLARED, known.rows, TODAY)
    assert everybody.members.height == 400


@pytest.fixture(scope="module")
def county(tmp_path_factory):
    folder = tmp_path_factory.mktemp("county") / "county"
    command = [sys.executable, "benchmarks/population.py", "county", "--families", "150", "--seed", "4"]
    subprocess.run([*command, "--out", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


def eight_uses():
    """Every declared column of every register, months as years, and how many rows a person has."""
    for one in registers.everyone():
        columns = tuple(
            ColumnUse(field.column.name, band="year" if field.column.kind is Kind.MONTH else "")
            for field in one.fields
        )
        counts = (Count(f"{one.name}_rows", 3),)
        yield Use(one.name, Form.EVENTS, columns, counts, opt_out="applied" if one.health else "")


def test_r28_r32_the_eight_registers_of_a_county_in_one_file(county):
    truth = pl.read_parquet(county / "truth" / "records.parquet")
    truth = truth.filter(pl.col("file").str.starts_with("registers/"))
    whose = dict(truth.select("record_id", "person").iter_rows())
    data, declared = {}, {one.name: one.dataset for one in registers.everyone()}
    for one in registers.everyone():
        extract = banded(pl.read_parquet(county / "attributes" / f"{one.name}.parquet"), one, "record_id")
        aids = [whose[record].to_bytes(16, "big") for record in extract["record_id"]]
        data[one.name] = column(aid=aids, family=[None] * len(aids)).hstack(extract.drop("record_id"))
    sets = (QuasiSet("contacts", ("pnc_rows", "hes_rows")),)
    wanted = replace(spec(), datasets=tuple(eight_uses()), sets=sets, population="")
    what = made(wanted, data, declared)
    found = blocking(what)
    assert not {name for name, _ in found} & {
        "columns",
        "allow-list",
        "law",
        "values",
        "identifiers",
        "references",
    }
    report = check(what)
    for name in registers.NAMES:
        assert report.rows[name] == data[name].height > 0
    hes = what.built.table("hes").frame
    years = pl.read_parquet(county / "attributes" / "hes.parquet")["admission_date"].dt.year()
    assert sorted(hes["admission_month"]) == sorted(years)
