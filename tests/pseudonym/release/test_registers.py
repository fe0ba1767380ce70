"""The declarations of the eight registers, and a made-up county's extracts in their columns."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from pseudonym import registers
from pseudonym.cli.registers import registers_app
from pseudonym.datasets import Dataset, Kind, Tag
from pseudonym.errors import InputError, NotFoundError
from pseudonym.registers.banding import banded
from pseudonym.values import accept, check_declaration, looks_like_an_identifier

ROOT = Path(__file__).parents[3]
SCHOOL = (
    "to see when your child has been in school, how well they are doing at each Key Stage "
    "and whether they are a Child in Need"
)
WORDS = {
    "pnc": "to see what contact you may have had with the criminal justice system",
    "prisons": "to see what contact you may have had with the criminal justice system",
    "npd": SCHOOL,
    "ilr": SCHOOL,
    "wpls": "to see what benefits you have received and whether you have been employed",
}


@pytest.fixture(scope="module")
def county(tmp_path_factory):
    folder = tmp_path_factory.mktemp("county") / "county"
    command = [sys.executable, "benchmarks/population.py", "county", "--families", "60", "--seed", "3"]
    subprocess.run([*command, "--out", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder / "attributes"


def test_r28_every_register_of_the_notice_is_declared_with_its_words():
    assert [one.name for one in registers.everyone()] == list(registers.NAMES)
    for name, words in WORDS.items():
        assert registers.load(name).purpose("evaluation").words == words
    for one in registers.everyone():
        check_declaration(one.dataset, looks_like_an_identifier)
        assert Dataset.from_json(one.dataset.to_json()) == one.dataset
        assert any("Article 6(1)(e)" in sentence for sentence in one.basis)
        assert any("section 64" in sentence for sentence in one.basis)


def test_what_the_law_says_of_each():
    tags = {
        one.name: set().union(*(field.column.tags for field in one.fields)) for one in registers.everyone()
    }
    assert {name for name, some in tags.items() if Tag.CRIMINAL_OFFENCE in some} == {"pnc", "prisons"}
    assert {name for name, some in tags.items() if Tag.SPECIAL_CATEGORY in some} == {"hes", "mhmds", "ndtms"}
    assert {one.name for one in registers.everyone() if one.health} == {"hes", "mhmds", "ndtms"}
    for one in registers.everyone():
        if one.health:
            assert any("Article 9(2)(g)" in sentence for sentence in one.basis)
        if one.name in ("pnc", "prisons"):
            assert any("Article 10" in sentence for sentence in one.basis)


def test_a_holder_is_a_dated_attribute():
    hes = registers.load("hes")
    assert hes.holder(date(2015, 1, 1)) == "Health and Social Care Information Centre"
    assert hes.holder(date(2016, 8, 1)) == "NHS Digital"
    assert hes.holder(date(2026, 1, 1)) == "NHS England"
    assert registers.load("ndtms").holder(date(2020, 1, 1)) == "Public Health England"


@pytest.mark.parametrize("name", registers.NAMES)
def test_r28_a_countys_extract_fits_its_register_and_brings_no_date(county, name):
    register, extract = registers.load(name), pl.read_parquet(county / f"{name}.parquet")
    made = banded(extract, register, "record_id")
    assert made.columns == ["record_id", *(one.column.name for one in register.fields)]
    taken = accept(made.drop("record_id"), register.dataset, looks_like_an_identifier)
    assert taken.height == extract.height > 0
    assert not any(kind.is_temporal() for kind in taken.dtypes)
    for one in register.fields:
        assert taken[one.column.name].null_count() == extract[one.made_from].null_count()
        if one.column.kind is Kind.MONTH:
            days = extract[one.made_from].to_list()
            assert taken[one.column.name].to_list() == [day and f"{day.year}-{day.month:02d}" for day in days]


def test_dates_as_text_are_taken_and_other_texts_refused_without_their_value():
    pnc = registers.load("pnc")
    row = {"offence_date": ["2024-02-29"], "offence_group": ["theft"], "disposal": ["fine"]}
    assert banded(pl.DataFrame(row), pnc)["offence_month"].to_list() == ["2024-02"]
    with pytest.raises(InputError) as refused:
        banded(pl.DataFrame(row | {"offence_date": ["29 Feb 2024"]}), pnc)
    assert "29 Feb" not in str(refused.value)
    with pytest.raises(InputError, match="disposal"):
        banded(pl.DataFrame(row).drop("disposal"), pnc)


def test_the_commands_tell_it_in_plain_words(county, tmp_path):
    def run(*arguments, code=0):
        done = CliRunner().invoke(registers_app, list(map(str, arguments)), catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    assert len(run("list").splitlines()) == 8
    shown = run("show", "hes")
    for words in (
        "NHS England, from 2023-02-01 (the day is to be confirmed)",
        "at most 31 days",
        "opt-out",
        "made from admission_date",
    ):
        assert words in shown
    assert json.loads(run("show", "pnc", "--declaration"))["name"] == "pnc"
    run("show", "dvla", code=1)
    out = tmp_path / "rows.parquet"
    run("band", "pnc", county / "pnc.parquet", "--keep", "record_id", "--out", out)
    assert out.stat().st_mode & 0o077 == 0  # nobody else reads whose offences these are
    assert pl.read_parquet(out).columns == ["record_id", "offence_month", "offence_group", "disposal"]
    run("band", "pnc", county / "pnc.parquet", "--keep", "record_id", "--out", out, code=1)


def test_a_register_that_says_too_little_is_refused():
    with pytest.raises(NotFoundError):
        registers.load("dvla")
    with pytest.raises(NotFoundError):
        registers.load("pnc").purpose("enforcement")
    with pytest.raises(InputError):
        registers.read({"name": "pnc"})


def test_band_refuses_what_a_column_may_not_have_before_anything_is_sent(tmp_path):
    rows = pl.DataFrame(
        {
            "record_id": ["r1", "r2", "r3"],
            "offence_date": ["2020-01-31", "2021-02-03", None],
            "offence_group": ["theft", "piracy", "theft"],
            "disposal": ["fine", "fine", "9434765919"],
        }
    )
    rows.write_parquet(tmp_path / "events.parquet")

    def band(*more):
        words = ["band", "pnc", tmp_path / "events.parquet", "--out", tmp_path / "banded.parquet", *more]
        return CliRunner().invoke(registers_app, list(map(str, words)), catch_exceptions=False)

    done = band("--keep", "record_id")
    assert done.exit_code == 1
    assert "2 values are not what pnc may have" in done.stderr
    assert "disposal looks_like_nhs (1, the first in row 3)" in done.stderr
    assert "offence_group not_in_list (1, the first in row 2)" in done.stderr
    assert "9434765919" not in done.output
    assert "piracy" not in done.output
    assert not (tmp_path / "banded.parquet").exists()
    assert "no column urn" in band().stderr
    rows.head(1).write_parquet(tmp_path / "events.parquet")
    assert band("--keep", "record_id").exit_code == 0
