"""Quality against counting by hand, and intervals against SciPy."""

from __future__ import annotations

import itertools
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from linker.errors import TruthError
from linker.evaluate import (
    Quality,
    at_thresholds,
    cluster_quality,
    link_quality,
    quality,
    recall_at_precision,
    wilson,
)


def pairs(*rows, names=("left_id", "right_id")):
    return pl.DataFrame(list(rows), schema=dict.fromkeys(names, pl.String), orient="row")


def counts(quality):
    return quality.tp, quality.fp, quality.fn


LEFT = pl.Series(["a", "b", "c", "d"])
RIGHT = pl.Series(["w", "x", "y", "z"])
LINKS = pairs(("a", "w"), ("b", "x"), ("c", "z"))  # two right, one wrong, one missed


@given(st.integers(0, 400), st.integers(0, 400))
def test_wilson_is_scipys(successes, failures):
    assume(successes + failures > 0)
    expected = stats.binomtest(successes, successes + failures).proportion_ci(0.95, "wilson")
    assert wilson(successes, successes + failures) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_of_a_published_example():
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3: 81/263 and 0/20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_rates_lie_in_their_intervals(tp, fp, fn):
    quality = Quality(tp, fp, fn)
    for name in ("precision", "recall", "f1"):
        rate, interval = getattr(quality, name), getattr(quality, f"{name}_interval")
        if rate is None:
            assert interval is None
        else:
            assert 0 <= interval[0] <= rate <= interval[1] <= 1


def test_rates_and_intervals_by_hand():
    quality = Quality(tp=90, fp=10, fn=30)
    assert (quality.precision, quality.recall) == (0.9, 0.75)
    assert quality.f1 == pytest.approx(2 * 0.9 * 0.75 / (0.9 + 0.75))
    low, high = stats.binomtest(90, 130).proportion_ci(0.95, "wilson")
    assert quality.f1_interval == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    figures = quality.as_dict()
    assert list(figures)[:6] == ["tp", "fp", "fn", "precision", "precision_low", "precision_high"]
    assert (figures["recall_low"], figures["recall_high"]) == quality.recall_interval


def test_nothing_to_rate_is_none():
    assert Quality(0, 0, 0).as_dict()["f1_low"] is None
    assert Quality(0, 0, 3).precision is None
    assert Quality(0, 0, 3).recall == 0.0


def test_the_f1_interval_covers_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    shares = (0.85, 0.05, 0.10)
    true_f1 = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    samples = rng.multinomial(200, shares, size=4000)
    intervals = [Quality(*map(int, sample)).f1_interval or (0.0, 0.0) for sample in samples]
    covered = sum(low <= true_f1 <= high for low, high in intervals) / len(intervals)
    assert 0.935 < covered < 0.965


@pytest.mark.parametrize("names", [("left_id", "right_id"), ("person", "record"), ("id_1", "id_2")])
@pytest.mark.parametrize("ids", [{}, {"left_ids": LEFT, "right_ids": RIGHT}])
def test_true_pairs_under_any_names(names, ids):
    truth = pairs(("a", "w"), ("b", "x"), ("c", "y"), ("c", "y"), names=names)
    assert counts(link_quality(LINKS, truth, **ids)) == (2, 1, 1)


def test_only_linked_rows_count_and_only_once():
    outcomes = pl.Series("outcome", ["LINKED", "LINKED", "REVIEW", "LINKED"])
    links = LINKS.vstack(LINKS[:1]).with_columns(outcomes)
    assert counts(link_quality(links, pairs(("a", "w"), ("c", "z")))) == (1, 1, 1)


def test_numbers_are_ids_as_well_as_text():
    truth = pl.DataFrame({"l": [1, 2], "r": [7, 8]})
    assert counts(link_quality(pairs(("1", "7")), truth)) == (1, 0, 1)


def test_entities_with_a_side_where_ids_are_shared():
    truth = pl.DataFrame(
        {
            "record": ["1", "2", "3", "1", "2", "4"],
            "person": ["p", "q", None, "q", "q", "p"],
            "side": ["left", "Left", "L", "right", "R", "b"],
        }
    )
    links = pairs(("1", "4"), ("2", "1"), ("3", "2"))
    assert counts(link_quality(links, truth)) == (2, 1, 1)
    left, right = pl.Series(["1", "2", "3"]), pl.Series(["1", "2", "4"])
    assert counts(link_quality(links, truth, left_ids=left, right_ids=right)) == (2, 1, 1)
    with pytest.raises(TruthError, match="left record"):
        link_quality(links, truth, left_ids=pl.Series(["x"]), right_ids=right)


def test_entities_without_a_side_go_by_the_records():
    truth = pairs(
        ("a", "1"), ("b", "2"), ("w", "1"), ("x", "2"), ("c", "3"), ("y", "3"), names=("rec", "who")
    )
    assert counts(link_quality(LINKS, truth, left_ids=LEFT, right_ids=RIGHT)) == (2, 1, 1)


def test_records_that_are_not_there_count_as_missed_and_are_reported(caplog):
    truth = pairs(("a", "w"), ("b", "x"), ("d", "z"))
    assert counts(link_quality(LINKS, truth, left_ids=LEFT[:3], right_ids=RIGHT)) == (2, 1, 1)
    assert "1 of 3 ids in the truth are not the id of any left record" in caplog.text
    by_entity = pairs(
        ("a", "1"), ("b", "2"), ("w", "1"), ("x", "2"), ("d", "3"), ("z", "3"), names=("r", "e")
    )
    quality = link_quality(LINKS, by_entity, left_ids=LEFT[:3], right_ids=RIGHT)
    assert counts(quality) == (2, 1, 0)
    assert "they are left out" in caplog.text


def test_a_named_entity_column_is_one_even_if_its_values_look_like_records():
    truth = pairs(("a", "w"), ("w", "w"), ("b", "x"), ("x", "x"), names=("id", "entity_id"))
    assert counts(link_quality(LINKS, truth, left_ids=LEFT, right_ids=RIGHT)) == (2, 1, 0)


entity_tables = st.lists(st.sampled_from([None, "p", "q", "r", "s"]), min_size=1, max_size=7)


@settings(max_examples=100, deadline=None)
@given(entity_tables, entity_tables, st.data())
def test_entities_count_as_their_pairs_would(of_left, of_right, data):
    left = {f"L{i}": entity for i, entity in enumerate(of_left)}
    right = {f"R{i}": entity for i, entity in enumerate(of_right)}
    true = {(a, b) for a in left for b in right if left[a] is not None and left[a] == right[b]}
    possible = list(itertools.product(left, right))
    chosen = set(data.draw(st.lists(st.sampled_from(possible), unique=True, max_size=10)))
    truth = pairs(*left.items(), *right.items(), names=("id", "entity_id"))
    quality = link_quality(
        pairs(*chosen), truth, left_ids=pl.Series(list(left)), right_ids=pl.Series(list(right))
    )
    assert counts(quality) == (len(chosen & true), len(chosen - true), len(true - chosen))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([None, "p", "q", "r"]), min_size=3, max_size=8),
    st.lists(st.sampled_from(["1", "2", "3"]), min_size=8, max_size=8),
)
def test_clusters_count_as_their_pairs_would(entities, numbers):
    ids = [f"r{i}" for i in range(len(entities))]
    cluster, entity = dict(zip(ids, numbers, strict=False)), dict(zip(ids, entities, strict=True))
    couples = list(itertools.combinations(ids, 2))
    together = {(a, b) for a, b in couples if cluster[a] == cluster[b]}
    true = {(a, b) for a, b in couples if entity[a] is not None and entity[a] == entity[b]}
    expected = (len(together & true), len(together - true), len(true - together))
    clusters = pairs(*cluster.items(), names=("record_id", "cluster_id"))
    by_entity = pairs(*entity.items(), names=("id", "whoever"))
    assert counts(cluster_quality(clusters, by_entity)) == expected
    assert counts(quality(clusters, by_entity)) == expected
    links = pairs(*[couple[::-1] for couple in together])
    within = link_quality(links, by_entity, left_ids=pl.Series(ids), within=True)
    assert counts(within) == expected
    if true:
        by_pairs = pairs(*true, names=("one", "other"))
        assert counts(cluster_quality(clusters, by_pairs)) == expected


def test_true_pairs_within_one_file_are_closed():
    clusters = pairs(("a", "1"), ("b", "1"), ("c", "1"), ("d", "2"), names=("record_id", "cluster_id"))
    assert counts(cluster_quality(clusters, pairs(("a", "b"), ("c", "b")))) == (3, 0, 0)


def test_a_clusters_file_as_truth_for_another():
    clusters = pairs(("a", "a"), ("b", "a"), ("c", "c"), ("d", "c"), names=("record_id", "cluster_id"))
    truth = pairs(("a", "a"), ("b", "a"), ("c", "c"), ("d", "d"), names=("r", "s"))
    assert counts(cluster_quality(clusters, truth)) == (1, 1, 0)


def scored(*rows):
    schema = {"left_id": pl.String, "right_id": pl.String, "match_weight": pl.Float64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def test_the_curve_agrees_with_linking_at_each_threshold():
    weighed = scored(("a", "w", 9.0), ("b", "x", 7.0), ("b", "w", 7.0), ("c", "y", 2.0), ("d", "w", -1.0))
    truth = pairs(("a", "w"), ("b", "x"), ("c", "y"), ("d", "z"))
    curve = at_thresholds(weighed, truth)
    assert curve["threshold"].to_list() == [9.0, 7.0, 2.0, -1.0]
    for row in curve.iter_rows(named=True):
        quality = link_quality(weighed.filter(pl.col("match_weight") >= row["threshold"]), truth)
        assert counts(quality) == (row["tp"], row["fp"], row["fn"])
        assert (row["precision"], row["recall"]) == (quality.precision, quality.recall)
        assert row["f1"] == pytest.approx(quality.f1)
    assert recall_at_precision(curve, 0.7) == {"threshold": 2.0, "precision": 0.75, "recall": 0.75}
    assert recall_at_precision(curve) == {"threshold": 9.0, "precision": 1.0, "recall": 0.25}
    assert recall_at_precision(curve[1:], 0.9) is None


def test_the_curve_within_one_file_takes_pairs_either_way_round():
    weighed = scored(("a", "b", 5.0), ("a", "c", 3.0))
    curve = at_thresholds(weighed, pairs(("b", "a")), left_ids=pl.Series(["a", "b", "c"]), within=True)
    assert curve["tp"].to_list() == [1, 1]
    assert curve["fp"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("truth", "ids", "words"),
    [
        (pl.DataFrame({"id": ["a"]}), {}, "fewer than two columns"),
        (pairs(), {}, "no rows"),
        (pairs(("a", None)), {}, "lack an id"),
        (pairs(("q", "r")), {}, "No id of the truth"),
        (pairs(("a", "w"), ("q", "x")), {"left_ids": LEFT, "right_ids": RIGHT}, "1 of 2 ids .* left record"),
        (pairs(("w", "a"), ("x", "b")), {"left_ids": LEFT, "right_ids": RIGHT}, "exchanged"),
        (pairs(("a", "e"), names=("id", "entity_id")), {}, "on which side"),
        (pairs(("a", "e"), names=("id", "entity_id")), {"left_ids": LEFT, "right_ids": LEFT}, "both sides"),
        (
            pairs(("a", "e"), ("q", "e"), names=("id", "entity_id")),
            {"left_ids": LEFT, "right_ids": RIGHT},
            "1 of 2 ids",
        ),
        (
            pairs(("a", "e"), ("a", "f"), names=("id", "entity_id")),
            {"left_ids": LEFT, "within": True},
            "1 rec",
        ),
        (pairs(("a", "e", "up"), names=("id", "entity", "side")), {}, "no valid side"),
        (pairs((None, "e"), names=("id", "entity")), {"left_ids": LEFT, "within": True}, "no record id"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused_without_naming_an_id(truth, ids, words):
    with pytest.raises(TruthError, match=words) as refused:
        link_quality(LINKS, truth, **ids)
    assert not re.search(r"\b[wxqef]\b", str(refused.value))


def test_a_record_in_two_clusters_is_refused():
    clusters = pairs(("a", "1"), ("a", "2"), names=("record_id", "cluster_id"))
    with pytest.raises(TruthError, match="more than once"):
        cluster_quality(clusters, pairs(("a", "b")))
