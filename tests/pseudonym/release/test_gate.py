"""The gate: what is in a build by mistake or on purpose, and whether the checks find it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from pseudonym import registers
from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.release.build import Built, build, numbered
from pseudonym.release.checks import Checked, check, suppress, unknown_columns
from pseudonym.release.differences import Earlier
from pseudonym.release.report import Report, Weight
from pseudonym.release.spec import Spec
from pseudonym.urn import Kind as Subject
from tests.pseudonym.release.scene import FAMILY_FILE, LINKS, PNC, SPEC, Numbers, people

TODAY = date(2026, 11, 23)
DECLARED = {"family-file": FAMILY_FILE, "pnc": PNC, "linked": LINKS}
KEYS = {"sealing": "11" * 32, "signing": "22" * 32}


def spec(*changes):
    text = SPEC.format(**KEYS)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return Spec.from_toml(text)


def under_numbers(built):
    def numbers(kind, aids):
        return pl.DataFrame(
            {"aid": aids, "urn": Numbers()("", "", kind, aids.to_list(), "")},
            {"aid": pl.Binary, "urn": pl.String},
        )

    families = built.members["family"].drop_nulls().unique().sort()
    return numbered(
        built, numbers(Subject.PERSON, built.members["person"]), numbers(Subject.FAMILY, families)
    )


def made(wanted=None, rows=None, declared=DECLARED, **more):
    """What the gate gets, of a specification and rows."""
    wanted = wanted or spec()
    built = under_numbers(build(wanted, declared, rows or people().rows, TODAY))
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return replace(Checked(wanted, declared, built, None, {}, (), (), now), **more)


def blocking(what):
    return {(one.check, one.place) for one in check(what).findings if one.weight is Weight.BLOCKS}


def with_column(what, table, name, values):
    """The same build with other values in a column of one of its tables."""
    tables = tuple(
        replace(one, frame=one.frame.with_columns(values.alias(name))) if one.name == table else one
        for one in what.built.tables
    )
    return replace(what, built=Built(tables, what.built.members))


def test_r32_what_is_as_declared_passes_and_its_report_reads_back():
    report = check(made())
    assert not report.blocked
    assert Report.from_file(report.to_file()) == report
    assert "may be approved" in report.text()
    assert (report.persons, report.families) == (400, 100)
    rows = made().built.table("persons").frame.drop("person", "family").rows()
    assert report.row_uniques["persons"] == sum(rows.count(row) == 1 for row in rows)
    assert any("alone in all their columns" in one.message for one in report.findings)
    above, _, warnings = report.text().partition("Checked:")
    assert "By all columns together\nrows are alone" in above
    assert "alone in all their columns" in warnings
    assert "By all columns" not in replace(report, row_uniques={"persons": 0}).text()


def test_r28_a_column_beyond_the_specification_blocks():
    what = made()
    more = with_column(what, "persons", "postcode_area", pl.lit("CB1"))
    assert ("columns", "persons") in blocking(more)


def test_r28_a_register_gives_its_declared_columns_for_the_declared_use_and_no_other():
    """A dataset that a project declared with more than the register's declaration has."""
    wider = Dataset("pnc", (*PNC.columns, Column("victim_known", Kind.FLAG, tags=PNC.columns[0].tags)))
    rows = people().rows
    rows["pnc"] = rows["pnc"].with_columns(victim_known=pl.lit(True))
    wanted = spec(
        (
            '{ name = "offence_group" }',
            '{ name = "offence_group" }, { name = "victim_known", meaning = "Known" }',
        )
    )
    found = blocking(made(wanted, rows, DECLARED | {"pnc": wider}))
    assert ("allow-list", "pnc.victim_known") in found
    other_use = spec(('use = "evaluation"', 'use = "enforcement"'))
    assert ("allow-list", "pnc") in blocking(made(other_use))


def test_r39_a_canary_in_an_attribute_value_blocks():
    """A surname among the codes of a column: no pattern knows it; planted, it is found however spelt."""
    name = "zebulon-QUILLFEATHER"
    declared = Dataset(
        "family-file",
        (
            *FAMILY_FILE.columns[:2],
            replace(FAMILY_FILE.columns[2], codes=("programme", "comparison", name)),
            *FAMILY_FILE.columns[3:],
        ),
    )
    rows = people().rows
    arm = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(name)).otherwise("arm")
    rows["family-file"] = rows["family-file"].with_columns(arm=arm)
    what = made(None, rows, DECLARED | {"family-file": declared})
    assert ("canaries", "persons.arm") not in blocking(what)
    found = blocking(replace(what, canaries=("Zebulon Quillfeather",)))
    assert ("canaries", "persons.arm") in found
    assert ("canaries", "dictionary of persons.words") in found
    for one in check(replace(what, canaries=("Zebulon Quillfeather",))).findings:
        assert "quillfeather" not in one.message.lower()


@pytest.mark.parametrize(
    ("value", "sort"),
    [
        ("943 476 5919", "NHS number"),
        ("QQ123456C", None),  # of a prefix that was never given out
        ("AB123456C", "National Insurance number"),
        ("CB2 1TN", "postcode"),
        ("14/02/2011", "full date"),
        ("someone@example.org", "e-mail address"),
    ],
)
def test_r39_an_identifier_in_any_table_blocks_and_is_not_repeated(value, sort):
    what = made()
    for table, column in (("persons", "arm"), ("pnc", "offence_group")):
        values = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value)).otherwise(column)
        changed = with_column(what, table, column, values)
        found = blocking(changed)
        assert ("values", f"{table}.{column}") in found  # it is in no list of codes either
        assert (("identifiers", f"{table}.{column}") in found) is (sort is not None)
        report = check(changed)
        assert value not in report.text() + report.to_file().decode()
        if sort:
            assert any(sort in one.message for one in report.findings)


def test_r39_a_number_that_is_an_nhs_number_blocks():
    what = made()
    changed = with_column(what, "persons", "offences", pl.lit(9434765919))
    assert ("identifiers", "persons.offences") in blocking(changed)


def test_r39_a_date_column_blocks():
    changed = with_column(made(), "pnc", "offence_year", pl.lit(date(2020, 1, 2)))
    assert {("values", "pnc.offence_year"), ("identifiers", "pnc.offence_year")} <= blocking(changed)


def test_internal_ids_and_numbers_that_do_not_read_block():
    what = made()
    plain = build(what.spec, DECLARED, people().rows, TODAY)
    assert ("references", "persons.person") in blocking(replace(what, built=plain))
    swapped = with_column(what, "persons", "person", pl.col("family"))
    assert ("references", "persons.person") in blocking(swapped)
    twice = with_column(what, "persons", "person", pl.col("person").first())
    assert ("references", "persons.person") in blocking(twice)


def test_r39_a_set_that_fails_blocks_with_its_figures():
    narrow = spec(
        ('columns = ["age", "sex"]', 'columns = ["age", "sex", "arm", "support_hours", "offences"]'),
        ('sensitive = [{{ column = "arm", l = 2 }}]'.replace("{{", "{").replace("}}", "}"), ""),
    )
    report = check(made(narrow))
    [who] = [one for one in report.sets if one.name == "who"]
    assert who.failing_persons > 0
    assert ("sets of columns", "who") in blocking(made(narrow))
    assert f"{who.failing_persons:,} persons" in report.text()
    assert any(one.what == "leave out" for one in who.proposals)


def test_r39_suppression_lets_a_set_pass_and_is_reported():
    rows = people(800).rows
    old = pl.int_range(pl.len()) < 12
    rows["family-file"] = rows["family-file"].with_columns(
        birth_year=pl.when(old).then(1950).otherwise(pl.col("birth_year").clip(1968)),
        sex=pl.when(old & (pl.int_range(pl.len()) > 0)).then(pl.lit("f")).otherwise("sex"),
    )
    blocked = made(None, rows)
    assert ("sets of columns", "who") in blocking(blocked)
    allowed = spec(("k = 10\nfamilies = 10", "k = 10\nfamilies = 10\nsuppress = 0.2"))
    plain = build(allowed, DECLARED, rows, TODAY)
    smaller, blanked = suppress(allowed, under_numbers(plain))
    what = replace(made(allowed, rows), built=smaller, blanked=blanked)
    assert blanked["who"] > 0
    assert ("sets of columns", "who") not in blocking(what)
    report = check(what)
    assert any("blanked" in one.message for one in report.findings)
    assert (
        smaller.table("persons").frame.filter(pl.col("age").is_null() & pl.col("sex").is_null()).height
        == blanked["who"]
    )


def test_health_data_need_a_word_on_the_opt_out():
    hes = registers.load("hes").dataset
    rows = people().rows
    rows["hes"] = rows["pnc"].select(
        "aid",
        "family",
        admission_month="offence_month",
        discharge_month="offence_month",
        episode=pl.lit("elective"),
        cause=pl.lit("injury"),
    )
    part = '[[datasets]]\nname = "hes"\nform = "counts"\ncounts = [{ to = "stays", top = 3 }]\n'
    for said, blocks in (
        ("", True),
        ('opt_out = "exempt: "', True),
        ('opt_out = "applied"', False),
        ('opt_out = "exempt: section 64 research"', False),
    ):
        wanted = spec(('[[sets]]\nname = "who"', f'{part}{said}\n\n[[sets]]\nname = "who"'))
        assert (("law", "hes") in blocking(made(wanted, rows, DECLARED | {"hes": hes}))) is blocks


def test_a_tag_that_the_specification_does_not_cover_blocks():
    what = made()
    uncovered = replace(what, spec=replace(what.spec, tags=frozenset()))
    assert ("law", "pnc.offence_group") in blocking(uncovered)
    assert ("law", "persons.offences") in blocking(uncovered)  # a count of offences is of offences


def test_r39_differences_against_an_earlier_release_are_reported():
    what = made()
    columns = {
        one.name: [
            replace(out, how="year of the month", kind="year") if out.source == "pnc.offence_month" else out
            for out in one.columns
            if out.name != "sex"
        ]
        for one in what.built.tables
    }
    finer = made(spec(('to = "offence_year", band = "year"', 'to = "offence_year", band = "quarter"')))
    report = check(replace(finer, earlier=[Earlier("wave-0", columns, 395, 0, 5)]))
    told = {one.place: one.message for one in report.findings if one.check == "earlier releases"}
    assert "finer" in told["pnc.offence_year"]
    assert "new for 395 persons who are in wave-0" in told["persons.sex"]
    assert "Only 5 persons are new" in told["wave-0"]
    assert "persons.age" not in told
    assert not report.blocked
    nobody = check(replace(finer, earlier=[Earlier("wave-0", columns, 0, 300, 400)]))
    assert not [one for one in nobody.findings if one.check == "earlier releases"]


def test_sets_name_columns_that_are_there():
    wrong = spec(('columns = ["age", "sex"]', 'columns = ["age", "county"]'))
    assert unknown_columns(wrong, DECLARED, TODAY) == ["persons.county"]


def test_the_least_that_a_specification_says():
    for change in (
        ('approvers = ["bob", "dora"]', 'approvers = ["bob", "bob"]'),
        ('researchers = ["rita"]', "researchers = []"),
        ("title =", "titel ="),
        ('form = "events"', 'form = "everything"'),
        ('format = "kinlink-release/1"', 'format = "kinlink-release/2"'),
        ("k = 10", "k = 1"),
        ('table = "pnc"', 'table = "pnc"\nnonsense = 1'),
    ):
        with pytest.raises(InputError):
            spec(change)
