"""Made-up people for tables: a dataset of three coded columns, events, and a declaration over them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.tables.building import build_table
from pseudonym.tables.facts import Facts
from pseudonym.tables.spec import TableSpec

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)
CODES = {"a": ("a0", "a1", "a2"), "b": ("b0", "b1", "b2", "b3"), "c": ("c0", "c1")}
PEOPLE = Dataset(
    "people",
    (
        *(Column(name, Kind.CODE, codes=codes) for name, codes in CODES.items()),
        Column("number", Kind.INTEGER, 0, 99),
        Column("since", Kind.MONTH),
    ),
)
EVENTS = Dataset(
    "events",
    (
        Column("what", Kind.CODE, codes=("x", "y")),
        Column("month", Kind.MONTH),
        Column("pounds", Kind.INTEGER, 0, 10**7),
    ),
)
DECLARED = {"people": PEOPLE, "events": EVENTS}
SPEC = """
format = "kinlink-table/1"
name = "{name}"
project = "tf-2026"
title = "A table of made-up people"
use = "evaluation"
purpose = "evaluation-2026"
audience = "publication"
unit = "{unit}"
approvers = ["bob", "dora"]
population = "people"
{head}
{dimensions}
{measures}
"""
COUNT = '[[measures]]\nname = "n"\nkind = "count"\nmeaning = "People"\n'
ANY = '[[measures]]\nname = "any"\nkind = "rate"\nmeaning = "Any event"\ndataset = "events"\n'


def spec(
    *dimensions: str, name: str = "one", unit: str = "person", head: str = "", measures: str = COUNT
) -> TableSpec:
    """A declaration over columns of `people`."""
    made = "".join(
        f'[[dimensions]]\nname = "{one}"\ncolumn = "{one}"\nmeaning = "{one}"\n' for one in dimensions
    )
    return TableSpec.from_toml(
        SPEC.format(name=name, unit=unit, head=head, dimensions=made, measures=measures)
    )


def people(counts: dict[tuple[str, ...], int], size: int = 1, first: int = 0) -> pl.DataFrame:
    """People by cell of a, b and c, so many in each, in families of so many within a cell."""
    rows = []
    number = first
    for (a, b, c), count in counts.items():
        for place in range(count):
            family = f"{a}{b}{c}{first} {place // size}"
            rows.append((_id(f"p{number}"), _id(family), a, b, c, number % 100, "2024-05"))
            number += 1
    schema = {"aid": pl.Binary, "family": pl.Binary, **dict.fromkeys("abc", pl.String)}
    schema |= {"number": pl.Int64, "since": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def drawn(chance: random.Random, mean: float) -> dict[tuple[str, ...], int]:
    """Counts of cells that are mostly small, and some not at all."""
    return {
        (a, b, c): int(chance.gammavariate(0.7, mean / 0.7))
        for a in CODES["a"]
        for b in CODES["b"]
        for c in CODES["c"]
    }


def events(rows: pl.DataFrame, chance: random.Random, share: float) -> pl.DataFrame:
    """Events of some of the people."""
    some = rows.select("aid", "family").filter(pl.Series([chance.random() < share for _ in range(len(rows))]))
    return some.with_columns(
        what=pl.Series([chance.choice("xy") for _ in range(len(some))], dtype=pl.String),
        month=pl.Series([f"2024-{chance.randint(1, 12):02}" for _ in range(len(some))], dtype=pl.String),
        pounds=pl.Series([chance.randint(1, 900) for _ in range(len(some))], dtype=pl.Int64),
    )


def table(
    of: TableSpec,
    rows: pl.DataFrame,
    *,
    given: pl.DataFrame | None = None,
    earlier: Any = (),
    noise: Any = None,
) -> Any:
    """Build a table; a `Made`, whose table may be none."""
    found = {"people": rows, "events": given if given is not None else events(rows, random.Random(1), 0)}
    # As the register keeps it: what was written and read again.
    kept = [Facts.from_json(one.facts.to_json()) for one in earlier]
    return build_table(of, DECLARED, found, NOW, kept, noise)


def _id(text: str) -> bytes:
    return text.encode().ljust(16, b".")
