"""A manifest: the same for the same run, another for another, and a run is known again by it."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

import linker
from linker import Manifest, ManifestError
from linker.manifest import Input
from linker.matchkeys_ons import ONS
from linker.predict import Scan
from tests.made_up_people import register, retyped

LEFT = register(400, seed=3)
RIGHT = retyped(LEFT[50:], seed=4)


@pytest.fixture(scope="module")
def run() -> linker.Linkage:
    return linker.link(LEFT, RIGHT)


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


def test_it_is_the_same_whatever_the_order_of_rows_and_the_threads(run):
    again = linker.link(shuffled(LEFT, 1), shuffled(RIGHT, 2), threads=1)
    assert again.manifest == run.manifest
    assert again.links.equals(run.links)
    assert linker.dedupe(LEFT).manifest == linker.dedupe(shuffled(LEFT, 3), threads=1).manifest


@pytest.mark.parametrize("rows_a_slice", [1, 7])  # in training and in scoring
def test_it_is_the_same_whatever_the_size_of_the_slices(run, rows_a_slice, monkeypatch):
    stages, each = set(), Scan.each

    def sliced(scan, work, rows, threads, slice_rows, progress, stage):
        stages.add(stage)
        return each(scan, work, rows, threads, rows_a_slice, progress, stage)

    monkeypatch.setattr(Scan, "each", sliced)
    assert linker.link(LEFT, RIGHT).manifest == run.manifest
    assert stages == {"train", "compare"}


@pytest.mark.parametrize(
    ("wishes", "part"),
    [
        ({"seed": 1}, "asked"),
        ({"threshold": 12.0}, "threshold"),
        ({"threshold": 12.0}, "results"),
        ({"lead": 3.0}, "asked"),
        ({"cardinality": linker.Cardinality.MANY_TO_MANY}, "asked"),
        ({"all_pairs": -5.0}, "asked"),
        ({"keys": "ons"}, "asked"),
        ({"keys": "ons"}, "counts"),
        ({"keys": "ons"}, "results"),
    ],
)
def test_another_wish_gives_another_manifest(run, wishes, part):
    other = linker.link(LEFT, RIGHT, **wishes).manifest
    assert getattr(other, part) != getattr(run.manifest, part)
    assert other.inputs == run.manifest.inputs


def test_one_changed_cell_changes_the_digest_of_its_input(run):
    typed = LEFT.with_columns(town=pl.when(pl.col("id") == "p00007").then(pl.lit("Bexul")).otherwise("town"))
    records = linker.arrive(typed)
    before, after = run.manifest.inputs[0], Input.of(records)
    assert after.digest != before.digest
    assert replace(after, digest=before.digest) == before
    # What takes no part says nothing.
    ignored = linker.arrive(LEFT.with_columns(notes=pl.lit("x")), ignore=["notes"])
    assert Input.of(ignored).digest == before.digest


def test_it_counts_what_the_run_counted_and_holds_no_person(run):
    found = run.manifest.as_dict()
    assert (found["counts"]["links"], found["counts"]["review"]) == (run.links.height, run.review.height)
    assert sum(one["pairs"] for one in found["counts"]["rules"]) == found["counts"]["candidate_pairs"]
    assert [one["records"] for one in found["inputs"]] == [400, 350]
    assert found["model"] == run.model.digest
    text = run.manifest.to_json()
    values = {value for row in LEFT.drop("sex").rows() for value in row} - {None}
    assert not any(f'"{value}"' in text for value in values)
    assert "second" not in text  # nor when it was, nor how long it took


def test_it_is_kept_and_read_back(run, tmp_path):
    run.manifest.save(tmp_path / "m.json")
    assert Manifest.load(tmp_path / "m.json") == run.manifest
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "model.json").write_text(run.model.to_json())
    (tmp_path / "half.json").write_text(json.dumps({"format": "kinlink-manifest/1", "kind": "linkage"}))
    for name in ("broken.json", "model.json", "half.json", "absent.json"):
        with pytest.raises(ManifestError, match=name):
            Manifest.load(tmp_path / name)


def test_r78_the_same_inputs_give_the_same_result_again(run):
    verdict = linker.verify(run.manifest, shuffled(LEFT, 5), shuffled(RIGHT, 6), threads=1)
    assert (verdict.same, verdict.results, verdict.differences) == (True, {"links": True, "review": True}, ())
    assert verdict.again == run.manifest
    several = linker.dedupe(LEFT, RIGHT, threshold=3.0)
    verdict = linker.verify(several.manifest, LEFT, RIGHT)
    assert verdict.results == {"links": True, "review": True, "clusters": True}


def test_a_run_with_labels_and_one_with_a_model_need_them_again(run):
    labels = run.links.head(60).select("left_id", "right_id")
    taught = linker.link(LEFT, RIGHT, labels=labels).manifest
    assert linker.verify(taught, LEFT, RIGHT, labels=shuffled(labels, 1)).same
    with pytest.raises(ManifestError, match="labels"):
        linker.verify(taught, LEFT, RIGHT)
    with pytest.raises(ManifestError, match="labels"):
        linker.verify(taught, LEFT, RIGHT, labels=labels.head(59))
    given = linker.link(LEFT, RIGHT, model=run.model).manifest
    assert linker.verify(given, LEFT, RIGHT, model=run.model).same
    for model in (None, replace(run.model, prior=0.25)):
        with pytest.raises(ManifestError, match="model"):
            linker.verify(given, LEFT, RIGHT, model=model)
    with pytest.raises(ManifestError, match="model"):
        linker.verify(run.manifest, LEFT, RIGHT, model=run.model)


def test_a_run_with_matchkeys_needs_them_again(tmp_path):
    found = linker.link(LEFT, RIGHT, keys="ons")
    before = found.manifest
    assert before.asked.keys == f"ons {ONS.digest}"
    counted = {one["key"]: one["linked"] for one in before.counts["matchkeys"]["keys"]}
    linked = found.links.filter(pl.col("stage") == "matchkey")["rule"]
    assert sum(counted.values()) == linked.len() > 0
    assert all(many == (linked == key).sum() for key, many in counted.items())
    verdict = linker.verify(before, shuffled(LEFT, 7), RIGHT, threads=1)
    assert (verdict.same, verdict.differences, verdict.again) == (True, (), before)
    own = replace(ONS, name="own", keys=ONS.keys[:3])
    own.save(tmp_path / "own.json")
    named = linker.link(LEFT, RIGHT, keys=own).manifest
    assert linker.verify(named, LEFT, RIGHT, keys=tmp_path / "own.json").same
    plain = replace(named, asked=replace(named.asked, keys=None))
    for manifest, keys in ((named, None), (named, "ons"), (before, own), (plain, own)):
        with pytest.raises(ManifestError, match="matchkeys"):
            linker.verify(manifest, LEFT, RIGHT, keys=keys)


def test_a_wrong_input_is_told_before_any_work(run):
    def told(*sources):
        with pytest.raises(ManifestError) as caught:
            linker.verify(run.manifest, *sources)
        return caught.value.message

    assert "Input 2" in told(LEFT, RIGHT.with_columns(pl.col("town").str.to_uppercase()))
    assert "399 records" in told(LEFT[1:], RIGHT)
    assert "another of its inputs" in told(RIGHT, LEFT)
    assert "columns are missing" in told(LEFT.drop("town"), RIGHT)
    assert "2 inputs" in told(LEFT)


def test_what_differs_is_told(run):
    other = replace(
        run.manifest,
        results={"links": "0" * 64, "review": run.manifest.results["review"]},
        code={"version": "0.0.1", "sources": run.manifest.code["sources"]},
        counts=dict(run.manifest.counts) | {"links": 7},
    )
    verdict = linker.verify(other, LEFT, RIGHT)
    assert not verdict.same
    assert verdict.results == {"links": False, "review": True}
    assert any("0.0.1" in one for one in verdict.differences)
    assert any(f"then 7, now {run.links.height}" in one for one in verdict.differences)
    assert len(verdict.differences) == 2
