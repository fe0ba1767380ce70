"""Households: relatives share surname and address, and must not pass for one person.

The people are made up here, half of them living with the one before. Truth is known, so the claims are
those that a user relies on: links are right, the expected precision is honest, and files of different
people are not linked.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import linker
from benchmarks.population import study, write_study

FORENAMES = [
    "OLIVER", "GEORGE", "HARRY", "JACK", "NOAH", "THOMAS", "OSCAR", "WILLIAM", "JAMES", "HENRY",
    "JOSHUA", "ETHAN", "ISAAC", "JOSEPH", "EDWARD", "SAMUEL", "DANIEL", "ARTHUR", "LUCAS", "LOGAN",
    "OLIVIA", "AMELIA", "EMILY", "LILY", "SOPHIA", "GRACE", "POPPY", "CHARLOTTE", "JESSICA", "FREYA",
    "ALICE", "HARRIET", "RUBY", "PHOEBE", "EMMA", "ELSIE", "ROSIE", "MATILDA", "SARAH", "LAURA",
    "HANNAH", "REBECCA", "MARK", "DAVID", "STEPHEN", "JOHN", "PETER",
]  # fmt: skip
BEGINNINGS = [
    "ASH", "BRAD", "CAR", "DAL", "EAST", "FAIR", "GOLD", "HART", "KEN", "LANG", "MAR", "OAK", "PEN",
    "RAD", "SAN", "THORN", "BLACK", "WHIT",
]  # fmt: skip
SURNAMES = [one + end for one in BEGINNINGS for end in ("TON", "FORD", "LEY", "WELL", "BY", "FIELD")]
STREETS = ["HIGH STREET", "STATION ROAD", "PARK ROAD", "CHURCH ROAD", "GREEN LANE", "MILL LANE", "ELM CLOSE"]
TOWNS = {"LEEDS": "LS", "YORK": "YO", "HULL": "HU", "DERBY": "DE", "LINCOLN": "LN", "OXFORD": "OX"}


def people(n: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    home = np.cumsum(draw.random(n) < 0.5)  # half of the people live with the one before
    towns = draw.choice(list(TOWNS), home.max() + 1)
    homes = pl.DataFrame(
        {
            "surname": draw.choice(SURNAMES, len(towns)),
            "address_1": [f"{draw.integers(1, 150)} {street}" for street in draw.choice(STREETS, len(towns))],
            "town": towns,
            "postcode": [
                f"{TOWNS[town]}{draw.integers(1, 20)} {draw.integers(1, 9)}{a}{b}"
                for town, (a, b) in zip(
                    towns, draw.choice(list("ABDEFGHJLNPQ"), (len(towns), 2)), strict=True
                )
            ],
        }
    )
    born = np.datetime64("1940-01-01") + draw.integers(0, 25_000, n)
    person = pl.DataFrame(
        {
            "person": np.arange(n),
            "forename": draw.choice(FORENAMES, n),
            "dob": born.astype(str),
            "sex": draw.choice(["M", "F"], n),
        }
    )
    return pl.concat([person, homes[home]], how="horizontal")


def recorded(truth: pl.DataFrame, seed: int) -> pl.DataFrame:
    """With slips of the pen, gaps and moves."""
    draw = np.random.default_rng(seed)
    out, moved, elsewhere = truth, draw.random(len(truth)) < 0.1, people(len(truth), seed + 1)
    for name in ("address_1", "town", "postcode"):
        out = out.with_columns(
            pl.when(pl.Series(moved)).then(elsewhere[name]).otherwise(pl.col(name)).alias(name)
        )
    for name in ("forename", "surname", "address_1"):
        slipped = out[name].str.slice(0, 2) + out[name].str.slice(3)
        out = out.with_columns(
            pl.when(pl.Series(draw.random(len(out)) < 0.05)).then(slipped).otherwise(pl.col(name)).alias(name)
        )
    for name in out.columns[1:]:
        out = out.with_columns(
            pl.when(pl.Series(draw.random(len(out)) >= 0.04)).then(pl.col(name)).alias(name)
        )
    return out


def two_files(common: float) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """600 and 3,000 records of one town's people, the share of the 600 who are in both, and the truth."""
    everybody = people(4000, 1)
    order = np.random.default_rng(2).permutation(len(everybody)).tolist()
    both = int(600 * common)
    left, right = recorded(everybody[order[:600]], 3), recorded(everybody[order[600 - both : 3600 - both]], 5)
    left = left.with_columns(id=pl.format("L{}", "person"))
    right = right.with_columns(id=pl.format("R{}", "person"))
    truth = left.select("person", left_id="id").join(right.select("person", right_id="id"), on="person")
    return left.drop("person"), right.drop("person"), truth.select("left_id", "right_id")


@pytest.mark.parametrize("common", [0.5, 0.05])
@pytest.mark.parametrize(
    "columns",
    [
        ["id", "forename", "surname", "dob", "sex", "address_1", "town", "postcode"],
        ["id", "forename", "surname", "dob", "postcode"],
    ],
)
def test_relatives_are_not_one_person(common, columns):
    left, right, truth = two_files(common)
    result = linker.link(left.select(columns), right.select(columns))
    quality = linker.evaluate(result.links, truth)
    assert quality.precision is not None
    assert quality.precision >= 0.93
    assert quality.recall is not None
    assert quality.recall >= 0.85
    assert abs(result.summary["expected_precision"] - quality.precision) < 0.08
    assert result.summary["expected_matches"] == pytest.approx(truth.height, rel=0.15)


def test_files_of_different_people_are_hardly_linked():
    left, right, truth = two_files(0.0)
    assert truth.is_empty()
    assert linker.link(left, right).links.height <= 3


def test_households_without_duplicates_stay_as_they_are():
    result = linker.dedupe(people(1500, 7).rename({"person": "id"}))
    assert result.links.height <= 3


def test_a_large_file_without_duplicates_stays_as_it_is(tmp_path):
    """Of 12,000 people EM alone finds brothers and sisters whose addresses are written differently."""
    write_study(study(12_000, 1, 0.0, seed=0), tmp_path, "realistic")
    result = linker.dedupe(tmp_path / "left.parquet")
    assert result.links.height <= 5
    assert result.training is not None
    assert result.training.diagnostics.method == "expectation"
    said = "There are hardly any matches to learn from: every m is an expectation."
    assert said in result.training.diagnostics.warnings
    for one in result.model.comparisons:
        if one.name in ("forename", "date_of_birth", "nhs_number"):
            assert one.levels[0].m is not None
            assert one.levels[0].m > 0.75


def test_one_identifier_alone_links():
    numbers = [f"{n:07d}X" for n in range(1000, 1400)]
    left = pl.DataFrame({"id": [f"L{i}" for i in range(300)], "case_number": numbers[:300]})
    right = pl.DataFrame({"id": [f"R{i}" for i in range(100, 400)], "case_number": numbers[100:]})
    links = linker.link(left, right).links
    assert set(links.select("left_id", "right_id").rows()) == {(f"L{i}", f"R{i}") for i in range(100, 300)}


def test_a_relative_is_named_in_the_explanation():
    left, right, _ = two_files(0.5)
    result = linker.link(left, right)
    pair = result.links.row(0, named=True)
    why = linker.explain(result.model, left, right, pair["left_id"], pair["right_id"])
    assert why.steps[-1].comparison == "relatives"
    assert why.steps[-1].weight <= 0.0
    assert why.steps[-1].total == why.weight == pair["match_weight"]
