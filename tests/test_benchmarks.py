"""The comparison with other engines: what it counts, and that it runs."""

from __future__ import annotations

import json
import os
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.score import share
from benchmarks.linkage import RULES, agreement, candidates, f1, report, with_rules
from benchmarks.measure import Meter, Result, Spent
from benchmarks.population import study, write_study
from benchmarks.registers import HEADS, RUNS, Row, written
from benchmarks.registers import run as run_registers
from benchmarks.study import Stages, reset_peak, used
from benchmarks.study import run as run_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("people")
    write_study(study(400, 500, 0.7, seed=4), place, "hard")
    return place


@pytest.mark.parametrize("rules", [*RULES.values(), (("sex", "town"), ("town",), ("forename",))])
def test_candidates_are_those_of_a_plain_product(folder, rules):
    left, right = (pl.read_parquet(folder / f"{side}.parquet").to_dicts() for side in ("left", "right"))
    pairs = sum(
        any(all(one[name] is not None and one[name] == other[name] for name in rule) for rule in rules)
        for one, other in product(left, right)
    )
    assert candidates(folder, rules) == pairs > 50


def test_agreement_tells_whose_links_are_whose():
    columns = ["left_id", "right_id", "match_weight"]
    ours = pl.DataFrame([("a", "x", 10.0), ("b", "y", 8.0), ("c", "z", 7.0)], columns, orient="row")
    theirs = pl.DataFrame([("a", "x", 10.5), ("c", "z", 7.0), ("d", "z", 7.0)], columns, orient="row")
    assert agreement(ours, theirs) == (2, 1, 1, 0.5)
    assert str(agreement(ours, ours)).startswith("the same 3 pairs")


def test_f1_of_the_truth_is_one(folder):
    truth = pl.read_parquet(folder / "truth.parquet")
    assert f1(truth, folder) == "1.0000"
    assert f1(truth.head(truth.height // 2), folder) == "0.6667"


def test_a_model_takes_other_rules(tmp_path: Path):
    model = tmp_path / "model.json"
    model.write_text(json.dumps({"blocking_rules_to_generate_predictions": ["1=1"], "comparisons": []}))
    made = json.loads(with_rules(model, RULES["light"], tmp_path / "other.json").read_text())
    assert len(made["blocking_rules_to_generate_predictions"]) == len(RULES["light"])
    rule = made["blocking_rules_to_generate_predictions"][1]["blocking_rule"]
    assert rule == 'l."forename" = r."forename" AND l."date_of_birth" = r."date_of_birth"'


def test_stages_add_up():
    meter = Meter()
    for name in ("one", "two", "one"):
        with meter.stage(name):
            sum(range(1000))
    assert list(meter.spent) == ["one", "two"]
    assert all(spent.wall > 0 and spent.cpu > 0 for spent in meter.spent.values())
    assert meter.loaded > 0
    result = Result({"one": Spent(1.0, 2.0), "two": Spent(0.5, 0.5)}, 10.0, 5.0)
    assert (result.wall(), result.cpu(), result.wall("two")) == (1.5, 2.5, 0.5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_study_is_measured_stage_by_stage(tmp_path: Path):
    lines: list[str] = []
    county = County(600, 3, PRESETS["realistic"], elsewhere=4)
    for line in run_study(Stages(lines.append), tmp_path / "study", county):
        lines.append(line)
    cells = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.count("|") > 9
    ]
    stages = {line[0]: line[1:] for line in cells}
    assert {f"{name}: linked" for name in REGISTERS} <= stages.keys()
    wanted = {"persons of 2024", "the analysis file is built, checked, approved", "in all"}
    assert wanted <= stages.keys()
    peaks = [float(one.replace(",", "")) for one in stages["in all"][-4:]]
    assert all(50 < peak < 4_000 for peak in peaks)
    heads = tuple(f"| {name} | " for name in REGISTERS)
    rows = [line.strip("| ").replace(",", "").split(" | ") for line in lines if line.startswith(heads)]
    assert [row[0] for row in rows] == [*REGISTERS, *REGISTERS]
    for told, (_, *counts, precision, _) in zip(rows[:8], rows[8:], strict=True):
        linked, right, wrong, to_nobodys, to_kin, missed = map(int, counts)
        assert linked == right + wrong > 10
        assert abs(linked - int(told[2])) <= 5
        assert missed < linked
        assert max(wrong, to_nobodys, to_kin) <= 3
        assert precision.startswith(f"{right / linked:.2%} (")
        assert int(told[5]) > 2 * linked, "the register is mostly of nobody's people"


def test_how_good_links_to_registers_are_is_written_by_heritage_and_arm():
    pnc = Row(("pnc", *"1234"), {"british": (3, 4), "intervention": (1, 2)}, {"british": (4, 4)})
    hes = Row(("hes", *"5678"), {"british": (1, 4), "intervention": (0, 0)}, {"british": (3, 4)})
    page = written({"clean": [pnc, hes]}, 50, 3, 6.0)
    assert "registers.py --presets clean --families 50 --seed 3 --elsewhere 6`" in page
    recall, precision = (
        part.splitlines() for part in page.split("Recall of findable:")[1].split("Precision:")
    )
    assert recall[2] == "| register | british | intervention |"
    assert recall[4] == f"| pnc | {share(3, 4)} | {share(1, 2)} |"
    assert recall[5] == f"| hes | {share(1, 4)} | - |"
    assert precision[-1] == f"| hes | {share(3, 4)} |"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_links_to_registers_are_judged_among_people_elsewhere():
    """Of each register: its rows, who is found and how well in each community and arm."""
    rows = run_registers("clean", families=60, seed=3, elsewhere=4.0)
    assert [row.cells[0].split(" ")[0] for row in rows] == [name for name, _ in RUNS]
    for row in rows:
        cells = dict(zip(HEADS, row.cells, strict=True))
        assert int(cells["rows"].replace(",", "")) > 100
        found, there = row.recall["british"]
        assert found > 0.9 * there
        assert set(row.recall) & {"intervention", "comparison"}
        assert sum(made for _, made in row.precision.values()) == 2 * int(cells["links"].replace(",", ""))


def test_a_process_tells_what_it_used_and_its_peak_begins_anew():
    def held() -> float:
        return used(os.getpid()).peak

    reset_peak(os.getpid())
    before = held()
    much = b"x" * (200 << 20)
    assert held() > before + 150
    del much
    reset_peak(os.getpid())
    assert held() < before + 100
    assert used(os.getpid()).cpu > 0


@pytest.mark.slow
def test_all_engines_run_and_two_of_them_find_the_same_links(tmp_path: Path):
    lines = list(report(3000, ["light", "dense"], 1, 1000, tmp_path))
    same = [line for line in lines if line.startswith("- Links of Kinlink and Splink")]
    assert len(same) == 3
    assert all("the same" in line for line in same)
    assert not any(str(tmp_path) in line for line in lines)
