"""What SECURITY.md says is tested: each threat names tests that exist, and none is left out."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without the table's own head."""
    part = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[2:]]


THREATS = rows("Threats and what answers them")
TESTS = {threat: re.findall(r"`([^`]+)`", named) for threat, named in rows("Tests against each")}


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_threat_has_an_answer_a_rest_and_tests():
    assert len(THREATS) > 25
    assert {len(row) for row in THREATS} == {3}
    assert [row[0] for row in THREATS if row[0] not in TESTS] == []
    assert TESTS.keys() <= {row[0] for row in THREATS}
    assert all(TESTS.values())


@pytest.mark.parametrize("named", sorted({one for some in TESTS.values() for one in some}))
def test_the_tests_exist(named):
    path, _, name = named.partition("::")
    assert name.startswith("test_")
    assert name in functions(path)


def test_files_named_beside_an_answer_exist():
    for _, answer, stays in THREATS:
        for name in re.findall(r"`([^`]*test_[a-z_]+\.py)`", answer + stays):
            assert list((ROOT / "tests").rglob(Path(name).name)), name


def test_every_dependency_is_pinned_with_its_hashes_and_nothing_generated_is_kept():
    lock = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) > 50
    for line in lines:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line
    assert "--require-hashes" in (ROOT / "Makefile").read_text()
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "linker/v1", "pseudonym/v1"], capture_output=True, text=True
    )
    assert listed.stdout == ""
