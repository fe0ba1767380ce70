"""`kinlink pairs` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest

import linker
from tests.made_up_people import register, retyped


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pairs")
    people = register(300, seed=3)
    people.write_csv(place / "left.csv")
    retyped(people[40:]).write_parquet(place / "right.parquet", row_group_size=64)
    linker.train(place / "left.csv", place / "right.parquet").model.save(place / "model.json")
    return place


def kinlink(folder, *words):
    command = [sys.executable, "-c", "from linker.cli import main; main()", *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_pairs_are_written_as_the_library_finds_them(folder):
    done = kinlink(
        folder, "pairs", "left.csv", "right.parquet", "--model", "model.json", "--out", "found.parquet"
    )
    assert done.returncode == 0, done.stderr
    assert "found.parquet" in done.stdout
    model = linker.Model.load(folder / "model.json")
    expected = linker.pairs(folder / "left.csv", folder / "right.parquet", model=model)
    assert pl.read_parquet(folder / "found.parquet").equals(expected)
    assert expected.height > 100
    within = kinlink(folder, "pairs", "left.csv", "--model", "model.json", "--threshold", "-2", "--json")
    assert within.returncode == 0, within.stderr
    few = linker.pairs(folder / "left.csv", model=model, threshold=-2.0)
    assert json.loads(within.stdout)["pairs"] == few.height
    assert pl.read_csv(folder / "pairs.csv").height == few.height


def test_what_is_missing_is_said(folder):
    without = kinlink(folder, "pairs", "left.csv", "right.parquet")
    assert without.returncode == 2
    assert "--model" in without.stderr
    nowhere = kinlink(folder, "pairs", "left.csv", "none.parquet", "--model", "model.json")
    assert nowhere.returncode == 1
    assert "none.parquet does not exist" in nowhere.stderr
