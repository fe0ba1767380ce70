"""On the command line: the manifest beside a result, running again by it, and the model of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from linker import Manifest, Matchkeys
from linker.cli import app
from tests.made_up_people import register, retyped


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """left.csv and right.csv: mostly the same people; left surnames stand in a column of no known name."""
    folder = tmp_path_factory.mktemp("data")
    people = register(300, seed=8)
    people.rename({"surname": "x1"}).write_csv(folder / "left.csv")
    retyped(people[40:], seed=9).write_csv(folder / "right.csv")
    return folder


@pytest.fixture(scope="module")
def linked(data: Path) -> Path:
    """The manifest of a run that kept its model."""
    options = ("--map", "surname=x1", "--out", data / "links.csv", "--save-model", data / "kept.json")
    document("link", data / "left.csv", data / "right.csv", *options)
    return data / "links.manifest.json"


def run(*args: object, code: int = 0) -> Result:
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def document(*args: object, code: int = 0) -> dict[str, Any]:
    found = json.loads(run(*args, "--json", code=code).stdout)
    assert isinstance(found, dict)
    return found


def test_a_run_leaves_its_manifest_and_can_be_verified(data, linked, tmp_path):
    manifest = Manifest.load(linked)
    assert manifest.model_file == "kept.json"
    assert manifest.counts["links"] == pl.read_csv(data / "links.csv").height
    shuffled = tmp_path / "left.parquet"  # another order, another format
    pl.read_csv(data / "left.csv", infer_schema=False).reverse().write_parquet(shuffled)
    told = document("verify", linked, shuffled, data / "right.csv", "--threads", 1)
    assert (told["same"], told["differences"]) == (True, [])
    assert told["manifest"]["results"] == manifest.results
    assert "The result is the same" in run("verify", linked, data / "left.csv", data / "right.csv").stdout
    assert {path.name for path in tmp_path.iterdir()} == {"left.parquet"}


def test_another_result_and_another_input_are_told(data, linked, tmp_path):
    files = (data / "left.csv", data / "right.csv")
    other = json.loads(linked.read_text())
    other["results"]["links"] = "0" * 64
    (tmp_path / "m.json").write_text(json.dumps(other))
    told = run("verify", tmp_path / "m.json", *files, code=1).stdout
    assert "DIFFERENT" in told
    assert "NOT the same" in told
    changed = tmp_path / "left.csv"
    changed.write_text(files[0].read_text().replace("-02-", "-03-", 1))
    assert "Input 1 is not the one" in run("verify", linked, changed, files[1], code=1).stderr
    assert document("verify", linked, files[1], files[0], code=1)["error"]["reason"] == "MANIFEST_INVALID"
    assert "cannot be read" in run("verify", tmp_path / "absent.json", *files, code=1).stderr


def test_clusters_are_verified_too(data, tmp_path):
    files = (data / "left.csv", data / "right.csv")
    document("dedupe", *files, "--map", "surname=x1", "--out", tmp_path / "c.csv")
    assert document("verify", tmp_path / "c.manifest.json", *files)["results"].keys() >= {"clusters"}
    told = run("explain", files[0], "--pair", "p00001,p00002", "--run", tmp_path / "c.manifest.json", code=1)
    assert "several files" in told.stderr


def test_a_run_with_a_given_model_is_verified_with_it(data, linked, tmp_path):
    files = (data / "left.csv", data / "right.csv")
    options = ("--map", "surname=x1", "--model", data / "kept.json", "--out")
    document("link", *files, *options, tmp_path / "l.csv")
    manifest = tmp_path / "l.manifest.json"
    assert Manifest.load(manifest).model_file is None  # it is in another folder, of which nothing is said
    assert "--model" in run("verify", manifest, *files, code=1).stderr
    assert document("verify", manifest, *files, "--model", data / "kept.json")["same"]
    run("link", *files, *options, tmp_path / "l.csv", "--save-model", tmp_path / "m.json", code=2)


def test_a_run_with_matchkeys_is_verified_with_them_and_one_by_them_alone_leaves_no_manifest(data, tmp_path):
    files = (data / "left.csv", data / "right.csv", "--map", "surname=x1", "--out", tmp_path / "l.csv")
    manifest, own = tmp_path / "l.manifest.json", tmp_path / "own.json"
    inputs = files[:2]
    document("link", *files, "--keys", "ons")
    assert document("verify", manifest, *inputs)["same"]
    run("matchkeys", "ons", "--out", own)
    own.write_text(own.read_text().replace('"name": "ons"', '"name": "own"'))
    document("link", *files, "--keys", own)
    assert Manifest.load(manifest).asked.keys == f"own {Matchkeys.load(own).digest}"
    assert document("verify", manifest, *inputs, "--keys", own)["same"]
    assert "matchkeys" in run("verify", manifest, *inputs, code=1).stderr
    told = run("link", *files, "--keys", "ons", "--keys-only").stdout
    assert "manifest" not in told
    assert "--run" not in told
    assert not manifest.exists()  # that of the run before would say something else


def test_explain_takes_columns_and_model_from_the_run(data, linked, tmp_path):
    pair = ",".join(pl.read_csv(data / "links.csv").row(0)[:2])
    weight = pl.read_csv(data / "links.csv")["match_weight"][0]
    files = (data / "left.csv", data / "right.csv")
    explained = run("explain", *files, "--pair", pair, "--run", linked, "--json")
    assert json.loads(explained.stdout)["explanation"]["weight"] == weight
    assert "trained" not in explained.stderr
    # Without the model it is trained again, to the same model; and that is told.
    bare = json.loads(linked.read_text()) | {"model_file": None}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    again = run("explain", *files, "--pair", pair, "--run", tmp_path / "bare.json", "--json")
    assert json.loads(again.stdout) == json.loads(explained.stdout)
    assert "trained again" in again.stderr
    (tmp_path / "other.json").write_text(json.dumps(bare | {"model": "0" * 64}))
    told = run("explain", *files, "--pair", pair, "--run", tmp_path / "other.json", code=1)
    assert "not the one of the run" in told.stderr
    run("explain", *files, "--pair", pair, "--run", linked, "--map", "surname=x1", code=2)


def test_a_manifest_never_replaces_what_is_not_one(data, tmp_path):
    (tmp_path / "l.manifest.json").write_text('{"mine": 1}')
    files = (data / "left.csv", data / "right.csv")
    told = run("link", *files, "--map", "surname=x1", "--out", tmp_path / "l.csv", code=1)
    assert "not such an output" in told.stderr
    clash = ("--save-model", tmp_path / "n.manifest.json")
    run("link", *files, "--map", "surname=x1", "--out", tmp_path / "n.csv", *clash, code=2)
    assert (tmp_path / "l.manifest.json").read_text() == '{"mine": 1}'


def test_the_report_shows_the_manifest(data, linked, tmp_path):
    page = tmp_path / "r.html"
    files = (data / "left.csv", data / "right.csv")
    document("link", *files, "--map", "surname=x1", "--out", tmp_path / "l.csv", "--report", page)
    manifest = Manifest.load(linked)
    found = json.loads((tmp_path / "r.json").read_text())["manifest"]
    assert found["results"] == manifest.results
    html = page.read_text()
    for one in (*manifest.results.values(), manifest.model, *(side.digest for side in manifest.inputs)):
        assert f">{one}<" in html
