"""Training against data drawn from a model that is known, and from labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import linker
from linker.block import block
from linker.conditions import exact, missing
from linker.em import PatternCounts
from linker.encode import encode
from linker.errors import TruthError
from linker.labels import matched_rows
from linker.model import BlockingRule, Comparison, Level, Model
from linker.patterns import tally_batches
from linker.program import compile_tests
from linker.train import expected_matches, sampled, train_em, train_labels, without_matches
from tests.made_up_people import register, retyped

AGREE = {"a": 0.95, "b": 0.9, "c": 0.8, "d": 0.7}
VALUES = {"a": 300, "b": 100, "c": 40, "d": 10}


def comparison(name):
    levels = (Level("exact", exact(name), 0.85), Level("different", None, 0.15))
    return Comparison(name, missing(name), levels)


MODEL = Model(
    tuple(map(comparison, AGREE)),
    tuple(BlockingRule(((x, x), (y, y))) for x, y in ("ab", "cd", "bc", "ad")),
    0.001,
)


@pytest.fixture(scope="module")
def simulated():
    """Two files of 2,500 with 1,500 people in both; the people of both stand first."""
    rng = np.random.default_rng(8)
    left = {name: rng.integers(0, many, 2500) for name, many in VALUES.items()}
    right = {name: rng.integers(0, many, 2500) for name, many in VALUES.items()}
    for name, agree in AGREE.items():
        kept = rng.random(1500) < agree
        other = (left[name][:1500] + rng.integers(1, VALUES[name], 1500)) % VALUES[name]
        right[name][:1500] = np.where(kept, left[name][:1500], other)
    sides = [
        pl.DataFrame({name: values.astype(str) for name, values in side.items()}) for side in (left, right)
    ]
    codes = encode(sides[0], sides[1], MODEL)
    return codes, block(MODEL.rules, codes)


@pytest.fixture(scope="module")
def trained(simulated):
    return train_em(MODEL, *simulated)


def test_em_finds_m_u_and_the_prior_that_made_the_data(trained):
    for one in trained.model.comparisons:
        assert one.levels[0].m == pytest.approx(AGREE[one.name], abs=0.05)
        assert one.levels[0].u == pytest.approx(1 / VALUES[one.name], rel=0.1)
        assert sum(level.m for level in one.levels) == pytest.approx(1.0)
        assert sum(level.u for level in one.levels) == pytest.approx(1.0)
    # Pairs that no rule holds are not seen: most matches are.
    assert trained.diagnostics.expected_matches == pytest.approx(1500, rel=0.15)
    assert trained.model.prior == pytest.approx(1500 / 2500**2, rel=0.15)


def test_training_tells_how_it_went(trained):
    told = trained.diagnostics.as_dict()
    assert told["method"] == "em"
    assert told["converged"] is True
    assert [name for name, _ in told["pairs"]] == [rule.name for rule in MODEL.rules]
    assert trained.diagnostics.warnings == ()


def test_threads_change_no_figure_and_the_seed_is_all_there_is_to_chance(simulated, trained):
    assert train_em(MODEL, *simulated, threads=1).model.to_json() == trained.model.to_json()


def test_labels_give_the_m_of_the_labelled_pairs(simulated):
    codes, blocks = simulated
    rows = np.arange(1500, dtype=np.int64)
    found = train_labels(MODEL, codes, blocks, (rows, rows))
    for one in found.model.comparisons:
        column = codes.column(one.name)
        share = float((codes.left[:1500, column] == codes.right[:1500, column]).mean())
        assert one.levels[0].m == pytest.approx(share, abs=0.01)
        assert one.levels[0].u == pytest.approx(1 / VALUES[one.name], rel=0.1)
    assert found.diagnostics.method == "labels"
    assert found.diagnostics.converged is None


def test_a_level_that_nobody_shows_has_bounded_figures_and_is_told(simulated):
    codes, blocks = simulated
    never = Level("never", replace(exact("a"), value=0.0), 0.05)
    levels = (Level("exact", exact("a"), 0.85), never, Level("different", None, 0.1))
    model = replace(MODEL, comparisons=(Comparison("a", missing("a"), levels), *MODEL.comparisons[1:]))
    found = train_em(model, codes, blocks)
    level = found.model.comparisons[0].levels[1]
    assert level.m is not None
    assert level.u is not None
    assert 0 < level.m < 0.05
    assert 0 < level.u < 0.01
    assert abs(level.weight) < 30
    assert ("a", "never") in found.diagnostics.unseen
    assert any("never" in warning for warning in found.diagnostics.warnings)
    linked = linker.Model.from_json(found.model.to_json())
    assert linked.comparisons[0].levels[1].m == level.m


def test_u_has_the_matches_taken_out():
    random = np.array([[0, 0.0595, 0.9405]])  # 0.01 of the pairs are matches that agree in 0.96 …
    m, u = np.array([[0, 0.96, 0.04]]), np.array([[0, 0.0504, 0.9496]])
    assert without_matches(0.01 * m + 0.99 * u, m, 0.01) == pytest.approx(u, abs=1e-12)
    assert without_matches(random, m, 0.0) == pytest.approx(random)
    # … and even if more seem to be matches than agree at all, u stays a probability above nothing.
    absurd = without_matches(np.array([[0, 0.001, 0.999]]), m, 0.5)
    assert absurd[0, 1] > 0
    assert absurd.sum() == pytest.approx(1.0)


def test_the_prior_is_the_share_under_which_it_expects_itself():
    counts = np.array([900.0, 100.0, 5000.0])
    union = PatternCounts(np.array([[1], [2], [3]]), counts)
    ratio = np.log(np.array([[1.0, 1e6, 50.0, 1e-4]]))
    total = 1e7
    matches = expected_matches(union, ratio, total, 10.0)
    odds = matches / total * np.exp(ratio[0, 1:])
    assert counts @ (odds / (1 + odds)) == pytest.approx(matches, rel=1e-4)
    assert expected_matches(union, ratio - 50, total, 10.0) == pytest.approx(0.5)


def test_small_sets_are_sampled_whole_and_large_ones_by_the_seed():
    model = Model((comparison("a"),), (), 0.5)

    def people(n):
        return pl.DataFrame({"a": [str(k) for k in range(n)]})

    def pairs(codes, size, seed=0):
        return [(x, y) for left, right in sampled(codes, size, seed) for x in left for y in right]

    link = encode(people(300), people(200), model)
    assert sorted(pairs(link, 60_000)) == [(i, j) for i in range(300) for j in range(200)]
    dedupe = encode(people(300), None, model)
    tests = compile_tests(model.comparisons, dedupe)
    whole = tally_batches(dedupe, sampled(dedupe, 300 * 150, 0), tests, model.comparisons)
    assert whole.counts.sum() == 300 * 299 // 2
    many = encode(people(5_000), None, model)
    one, same, other = (sampled(many, 200_000, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert all(left.start != right.start for left, right in one)
    assert len(pairs(many, 200_000)) == pytest.approx(200_000, rel=0.2)


# --- labels ---------------------------------------------------------------------------------------


def test_labels_find_their_rows():
    left, right = pl.Series(["a", "b", "c"]), pl.Series(["x", "y", "z"])
    labels = pl.DataFrame(
        {
            "l": ["b", "a", "b", "nobody", "c"],
            "r": ["x", "z", "x", "x", "y"],
            "match": ["1", "TRUE", "1", "1", "no"],
        }
    )
    rows = matched_rows(labels, left, right)
    assert list(zip(*rows, strict=True)) == [(0, 2), (1, 0)]
    numbers = pl.DataFrame({"l": [1, 2], "r": [2, 1], "match": [True, False]})
    assert matched_rows(numbers, pl.Series(["1", "2"]), pl.Series(["1", "2"]))[0].tolist() == [0]


@pytest.mark.parametrize(
    "labels",
    [
        pl.DataFrame({"l": ["Zanquilbex"]}),
        pl.DataFrame({"l": ["Zanquilbex"], "r": ["x"]}),
        pl.DataFrame({"l": ["a"], "r": ["x"], "match": ["0"]}),
    ],
)
def test_labels_of_no_use_are_an_error_that_helps(labels):
    with pytest.raises(TruthError) as caught:
        matched_rows(labels, pl.Series(["a"]), pl.Series(["x"]))
    assert caught.value.help
    assert "Zanquilbex" not in str(caught.value)


def test_a_linkage_learns_from_labels():
    people = register(200, seed=31)
    others = retyped(people, seed=32)
    labels = people.select(left_id="id", right_id=pl.col("id").str.replace("p", "q")).head(120)
    found = linker.link(people, others, labels=labels)
    assert found.training is not None
    assert found.training.diagnostics.method == "labels"
    truth = people.select("id", other=pl.col("id").str.replace("p", "q"))
    quality = linker.evaluate(found.links, truth)
    assert quality.tp > 185
    assert quality.fp < 5
