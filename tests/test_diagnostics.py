"""What training found wrong is told wherever a user looks: by train, by link, in the report."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from functools import partial
from importlib import import_module

import polars as pl
import pytest
from typer.testing import CliRunner

import linker
from linker import report
from linker.cli import app
from linker.dependence import Dependence
from linker.em import fit
from tests.made_up_people import register, retyped

PEOPLE = register(250, seed=12)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    PEOPLE.write_csv(folder / "left.csv")
    retyped(PEOPLE).write_csv(folder / "right.csv")
    return folder / "left.csv", folder / "right.csv"


def run(*args):
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def test_a_training_that_did_not_settle_never_looks_as_if_it_had(files, tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("linker.train"), "fit", partial(fit, iterations=3, tolerance=0.0))
    told = "Training stopped at its limit of 3 rounds before it settled."
    trained = run("train", *files, "--out", tmp_path / "m.json")
    assert "did NOT settle" in trained.stdout
    assert "It settled" not in trained.stdout
    linked = run("link", *files, "--out", tmp_path / "l.csv", "--report", tmp_path / "r.html")
    assert told in " ".join(linked.stderr.split())
    figures = json.loads((tmp_path / "r.json").read_text())
    assert figures["training"]["converged"] is False
    assert told in figures["warnings"]
    assert told in (tmp_path / "r.html").read_text()


def test_every_warning_stands_in_the_report_and_its_figures(files):
    result = linker.link(*map(str, files))
    assert result.training is not None
    found = replace(
        result.training.diagnostics,
        unseen=(("surname", "swapped"),),
        out_of_order=(("forename", "similar"),),
        dependent=(Dependence("surname", "postcode", False, 2.5, 40),),
    )
    figures = report.figures(replace(result, training=replace(result.training, diagnostics=found)))
    assert json.loads(json.dumps(figures))["training"]["dependent"][0]["bits"] == 2.5
    page = html.unescape(report.page(figures))
    assert len(found.warnings) == 3
    for words in (
        "No match showed 'swapped' of surname",
        "'similar' of forename weighs more",
        "Among strangers, surname and postcode agree together 5.7 times more often",
    ):
        assert any(one.startswith(words) for one in figures["warnings"])
        assert words in page


def test_train_tells_what_depends(files, tmp_path):
    married = pl.int_range(pl.len()) % 4 == 0
    retyped(PEOPLE).with_columns(
        surname=pl.when(married).then(pl.col("surname").reverse()).otherwise("surname"),
        postcode=pl.when(married).then(pl.lit("NE7 1") + pl.col("id").str.slice(-2)).otherwise("postcode"),
    ).write_csv(tmp_path / "right.csv")
    told = run("train", files[0], tmp_path / "right.csv", "--out", tmp_path / "m.json").stdout
    assert "Among matches, surname and postcode disagree together" in " ".join(told.split())
