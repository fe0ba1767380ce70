"""The ready-made declarations: the three questions over the datasets of the study, and what blocks one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from pseudonym import registers
from pseudonym.datasets import Kind
from pseudonym.errors import InputError
from pseudonym.roles.commands_table import LAYOUTS, ready_made
from pseudonym.study.declaring import dataset
from pseudonym.study.schemes import scheme
from pseudonym.tables.building import build_table
from pseudonym.tables.facts import Facts
from pseudonym.tables.lawful import check_declaration, findings
from pseudonym.tables.spec import TableSpec
from tests.pseudonym.tables.made import NOW
from tests.pseudonym.tables.scene import COUNCILS, people

DECLARED = {"families": dataset(scheme("tf-2015"), COUNCILS)}
DECLARED |= {name: registers.load(name).dataset for name in registers.NAMES}
QUESTIONS = ("how-well", "services", "cost")


def rows(chance: random.Random) -> dict[str, pl.DataFrame]:
    """Rows of all datasets: families, and of each register events of half of the people."""
    known = people(900)
    drawing: dict[Kind, Callable[..., object]] = {
        Kind.CODE: lambda column: chance.choice(column.codes),
        Kind.FLAG: lambda column: chance.random() < 0.3,
        Kind.MONTH: lambda column: f"{chance.choice((2022, 2023, 2024))}-{chance.randint(1, 12):02}",
        Kind.INTEGER: lambda column: chance.randint(column.low, column.high),
        Kind.YEAR: lambda column: chance.randint(column.low, column.high),
    }
    found = {"families": known.with_columns(screened=pl.col("support_from"))}
    for name in registers.NAMES:
        some = known.select("aid", "family").sample(fraction=0.5, seed=len(name))
        values = {
            one.name: [drawing[one.kind](one) for _ in range(len(some))] for one in DECLARED[name].columns
        }
        found[name] = some.with_columns(pl.Series(column, told) for column, told in values.items())
    return found


@pytest.fixture(scope="module")
def made():
    """The three tables, one after the other, as they would be released."""
    data, earlier, found = rows(random.Random(6)), list[Facts](), dict[str, Any]()
    for name in QUESTIONS:
        spec = TableSpec.from_toml(ready_made(name))
        wanted = {one: data[one].select("aid", "family", *columns) for one, columns in spec.datasets.items()}
        found[name] = build_table(spec, DECLARED, wanted, NOW, earlier)
        assert not found[name].report.blocked, name
        earlier.append(found[name].facts)
    return found


def test_r42_how_well_services_work_is_told_before_and_after_by_arm(made):
    table = made["how-well"].table
    assert table.audience == "publication"
    rates = {(one.measure, one.period, one.categories): one for one in table.lines}
    for measure in ("offence", "emergency", "child-in-need", "work-begun", "sessions-missed"):
        for period in ("before", "after"):
            for arm in ("programme", "comparison", "total"):
                line = rates[measure, period, (arm,)]
                assert line.mark or line.of >= 10
    assert rates["child-in-need", "before", ("programme",)].of < rates["offence", "before", ("programme",)].of


def test_r42_which_services_and_benefits_are_used_is_told_to_each_council(made):
    table = made["services"].table
    assert (table.audience, table.area, table.unit) == ("council", "council", "family")
    measures = {name for name, _, _ in table.measures}
    assert {"hospital", "mental-health", "drug-treatment", "universal-credit", "other-benefit"} <= measures
    for area in COUNCILS:
        mine = table.for_area(area).lines
        assert {one.categories[0] for one in mine} == {area, "total"}
        assert {one.measure for one in mine} == measures


def test_r42_what_services_cost_is_unit_costs_whose_source_is_said(made):
    table = made["cost"].table
    assert "Source of unit costs: made-up" in table.rules
    lines = {(one.measure, one.period, one.categories[0]): one for one in table.lines}
    for period in ("before", "after"):
        total, mean = (lines[name, period, "programme"] for name in ("hospital", "hospital-family"))
        assert total.value % 1_000 == 0
        assert mean.value == round(total.value / mean.of, 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_ready_made_declaration_reads_and_says_of_opt_outs_what_is_so(name):
    spec = TableSpec.from_toml(ready_made(name))
    check_declaration(spec)
    health = any(registers.load(one).health for one in spec.datasets.keys() & set(registers.NAMES))
    assert (spec.name, spec.opt_out) == (name, "applied" if health else "")


@pytest.mark.parametrize("said", ["exempt", "exempt: ", "exempt: no opt-outs", "Applied", "yes", "applied "])
def test_r54_what_is_said_of_opt_outs_is_one_of_the_known_words(said):
    spec = TableSpec.from_toml(ready_made("cost"))  # what was kept with any text reads as it did
    with pytest.raises(InputError) as refused:
        check_declaration(dataclasses.replace(spec, opt_out=said))
    assert "applied, or exempt: and one of explicit-consent" in refused.value.help
    assert "no opt-outs" not in refused.value.message + refused.value.help
    check_declaration(dataclasses.replace(spec, opt_out="exempt: made-up-data"))


@pytest.mark.parametrize(
    ("name", "old", "new", "check"),
    [
        ("cost", '"criminal-offence", ', "", "law"),
        ("cost", 'use = "evaluation"', 'use = "curiosity"', "allow-list"),
        ("how-well", 'opt_out = "applied"\n', "", "law"),
    ],
)
def test_r41_what_the_law_and_the_registers_do_not_allow_blocks(name, old, new, check):
    text = ready_made(name)
    assert old in text
    assert list(findings(TableSpec.from_toml(text), DECLARED)) == []
    found = list(findings(TableSpec.from_toml(text.replace(old, new)), DECLARED))
    assert check in {one.check for one in found}
