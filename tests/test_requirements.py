"""What docs/requirements.md says is kept has tests of its name and files; the rest has a reason."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "requirements.md").read_text()
KEPT, _, LEFT_OUT = TEXT.partition("\n## Not kept yet\n")


def rows(text: str) -> list[list[str]]:
    """The cells of the rows that begin with a requirement."""
    found = (line.strip("|").split(" | ") for line in text.splitlines() if re.match(r"\| R\d+ \|", line))
    return [[cell.strip() for cell in line] for line in found]


@cache
def names_of_tests() -> frozenset[str]:
    """The requirements that stand in the names of tests."""
    names = (
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    )
    told = (re.match(r"test_((?:r\d+_)+)", name) for name in names)
    return frozenset(one.upper() for found in told if found for one in found[1].strip("_").split("_"))


def test_every_requirement_is_kept_or_left_out_with_a_reason():
    kept, left_out = [row[0] for row in rows(KEPT)], [row[0] for row in rows(LEFT_OUT)]
    assert sorted([*kept, *left_out], key=lambda name: int(name[1:])) == [f"R{n}" for n in range(1, 86)]
    assert all(len(row) == 4 and len(row[3]) > 10 for row in rows(LEFT_OUT))


@pytest.mark.parametrize("row", rows(KEPT), ids=lambda row: row[0])
def test_what_is_kept_is_tested_by_name_and_where_it_is_said_to_be(row):
    name, grade, _, keepers = row
    assert grade in ("M", "S", "C")
    assert name in names_of_tests()
    places = re.findall(r"`([^`]+)`", keepers)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_no_test_names_a_requirement_that_there_is_not():
    assert names_of_tests() <= {f"R{n}" for n in range(1, 86)}
