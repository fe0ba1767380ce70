"""Decisions against brute force on small graphs, and by hand."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker import decide
from linker.decide import Cardinality, Outcome
from linker.errors import LinkerError, RecordsError


def frame(*pairs):
    return pl.DataFrame(
        list(pairs),
        schema={"left_id": pl.String, "right_id": pl.String, "match_weight": pl.Float64},
        orient="row",
    )


def outcomes(decided):
    return {(left, right): outcome for left, right, _, outcome in decided.iter_rows()}


def linked(decided):
    return decided.filter(pl.col("outcome") == Outcome.LINKED)


def one_to_one(pairs, threshold=0.0, **more):
    return decide.link(pairs, cardinality=Cardinality.ONE_TO_ONE, threshold=threshold, **more)


# Few distinct weights, so that ties, and weights exactly at the threshold, are common.
weights = st.one_of(st.integers(-3, 6).map(float), st.floats(-5, 40, allow_nan=False, allow_subnormal=False))


@st.composite
def graphs(draw, side=5):
    cells = [(f"L{i}", f"R{j}") for i in range(side) for j in range(side)]
    kept = draw(st.lists(st.sampled_from(cells), unique=True, max_size=12))
    return frame(*[(left, right, draw(weights)) for left, right in kept])


def best_total(pairs, threshold):
    """The largest total gain, by trying every set of pairs that share no record."""
    edges = [row for row in pairs.iter_rows() if row[2] >= threshold]

    def search(at, left, right):
        if at == len(edges):
            return 0.0
        best = search(at + 1, left, right)
        a, b, weight = edges[at]
        if a not in left and b not in right:
            best = max(best, weight - threshold + search(at + 1, left | {a}, right | {b}))
        return best

    return search(0, frozenset(), frozenset())


@settings(max_examples=300, deadline=None)
@given(graphs(), st.sampled_from([0.0, 2.0, -1.5]))
def test_one_to_one_reaches_the_best_total_that_brute_force_finds(pairs, threshold):
    links = linked(one_to_one(pairs, threshold))
    assert links["left_id"].is_unique().all()
    assert links["right_id"].is_unique().all()
    assert (links["match_weight"] >= threshold).all()
    total = float((links["match_weight"] - threshold).sum())
    assert total == pytest.approx(best_total(pairs, threshold), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_no_pair_at_the_threshold_is_left_with_both_records_free(pairs):
    decided = one_to_one(pairs, 0.0, review=-3.0)
    links = linked(decided)
    free = decided.filter(
        ~pl.col("left_id").is_in(links["left_id"].implode())
        & ~pl.col("right_id").is_in(links["right_id"].implode())
    )
    assert (free["match_weight"] < 0.0).all()
    assert set(free["outcome"]) <= {Outcome.REVIEW}


@settings(max_examples=150, deadline=None)
@given(
    graphs(), st.randoms(use_true_random=False), st.sampled_from(list(Cardinality)), st.sampled_from([0, 2])
)
def test_the_order_of_the_rows_changes_nothing(pairs, random, cardinality, lead):
    order = list(range(pairs.height))
    random.shuffle(order)
    decided = [
        decide.link(rows, cardinality=cardinality, threshold=1.0, review=-2.0, lead=lead)
        for rows in (pairs, pairs[order])
    ]
    assert decided[0].equals(decided[1])


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_contests_beside_one_another_do_not_meddle(pairs):
    other = pairs.select(pl.col("left_id", "right_id") + "x", "match_weight")
    alone = linked(one_to_one(pairs))["match_weight"].sum()
    both = linked(one_to_one(pl.concat([pairs, other])))["match_weight"].sum()
    assert both == pytest.approx(2 * alone, abs=1e-9)


def test_many_batches_of_contests_are_each_solved(monkeypatch):
    monkeypatch.setattr(decide, "_BATCH", 3)
    rng = np.random.default_rng(5)
    blocks = []
    for block in range(40):
        cells = [(f"L{block}-{i}", f"R{block}-{j}") for i in range(3) for j in range(3)]
        blocks.append(
            frame(*[(a, b, float(w)) for (a, b), w in zip(cells, rng.uniform(9, 10, 9), strict=True)])
        )
    decided = linked(one_to_one(pl.concat(blocks)))
    assert decided.height == 120
    assert decided["match_weight"].sum() == pytest.approx(sum(best_total(block, 0.0) for block in blocks))


def test_the_best_pair_gives_way_where_the_total_gains():
    decided = one_to_one(frame(("a", "x", 10.0), ("a", "y", 9.0), ("b", "x", 9.0)))
    assert outcomes(decided) == {
        ("a", "x"): Outcome.NOT_LINKED,
        ("a", "y"): Outcome.LINKED,
        ("b", "x"): Outcome.LINKED,
    }


def test_the_gain_counts_from_the_threshold_not_from_zero():
    decided = one_to_one(frame(("a", "x", 10.0), ("a", "y", 9.0), ("b", "x", 9.0)), threshold=8.5)
    assert linked(decided).rows() == [("a", "x", 10.0, "LINKED")]


def test_ties_go_to_the_smaller_ids():
    tied = frame(("b", "x", 5.0), ("a", "y", 5.0), ("a", "x", 5.0))
    assert linked(one_to_one(tied[:1].vstack(tied[2:]))).rows() == [("a", "x", 5.0, "LINKED")]
    assert linked(one_to_one(tied[1:])).rows() == [("a", "x", 5.0, "LINKED")]


def test_review_holds_what_has_nothing_better():
    pairs = frame(("a", "x", 12.0), ("a", "y", 6.0), ("b", "y", 5.0), ("c", "z", 4.0), ("d", "z", 1.0))
    assert outcomes(one_to_one(pairs, 10.0, review=4.0)) == {
        ("a", "x"): Outcome.LINKED,
        ("a", "y"): Outcome.NOT_LINKED,
        ("b", "y"): Outcome.REVIEW,
        ("c", "z"): Outcome.REVIEW,
    }
    assert one_to_one(pairs, 10.0).rows() == [("a", "x", 12.0, "LINKED")]


def test_a_near_runner_up_makes_both_ambiguous_and_a_far_one_neither():
    pairs = frame(("a", "x", 12.0), ("a", "y", 10.5), ("a", "z", 8.0))
    assert outcomes(one_to_one(pairs, 5.0, lead=2.0)) == {
        ("a", "x"): Outcome.AMBIGUOUS,
        ("a", "y"): Outcome.AMBIGUOUS,
        ("a", "z"): Outcome.NOT_LINKED,
    }
    assert linked(one_to_one(pairs, 5.0, lead=1.5)).rows() == [("a", "x", 12.0, "LINKED")]
    assert linked(one_to_one(pairs, 5.0)).height == 1


def test_a_rival_for_the_right_record_counts_too():
    pairs = frame(("a", "x", 12.0), ("b", "x", 11.5))
    assert set(outcomes(one_to_one(pairs, 5.0, lead=1.0)).values()) == {Outcome.AMBIGUOUS}


def test_a_rival_below_every_band_still_makes_a_link_ambiguous():
    pairs = frame(("a", "x", 10.2), ("a", "y", 9.9))
    assert one_to_one(pairs, 10.0, lead=1.0).rows() == [("a", "x", 10.2, "AMBIGUOUS")]


def test_a_runner_up_that_clearly_belongs_to_another_is_no_rival():
    pairs = frame(("a", "x", 20.0), ("a", "y", 19.5), ("b", "y", 40.0))
    assert outcomes(one_to_one(pairs, 5.0, lead=1.0)) == {
        ("a", "x"): Outcome.LINKED,
        ("a", "y"): Outcome.NOT_LINKED,
        ("b", "y"): Outcome.LINKED,
    }


def test_twins_that_cannot_be_told_apart_are_ambiguous():
    pairs = frame(("a", "x", 20.0), ("a", "y", 19.5), ("b", "x", 19.5), ("b", "y", 20.0))
    assert set(outcomes(one_to_one(pairs, 5.0, lead=1.0)).values()) == {Outcome.AMBIGUOUS}
    assert linked(one_to_one(pairs, 5.0, lead=0.5)).rows() == [
        ("a", "x", 20.0, "LINKED"),
        ("b", "y", 20.0, "LINKED"),
    ]


def test_many_to_one_gives_each_left_record_its_best():
    pairs = frame(("a", "x", 9.0), ("b", "x", 8.0), ("b", "y", 7.5), ("c", "y", 6.0), ("c", "x", 6.0))
    decided = decide.link(pairs, cardinality=Cardinality.MANY_TO_ONE, threshold=5.0)
    assert [row[:2] for row in linked(decided).rows()] == [("a", "x"), ("b", "x"), ("c", "x")]
    near = decide.link(pairs, cardinality=Cardinality.MANY_TO_ONE, threshold=5.0, lead=1.0)
    assert [row[:2] for row in linked(near).rows()] == [("a", "x")]


def test_many_to_many_links_all_from_the_threshold_and_reviews_the_band():
    pairs = frame(("a", "x", 9.0), ("a", "y", 8.0), ("b", "x", 5.0), ("c", "x", 2.0))
    decided = decide.link(pairs, cardinality=Cardinality.MANY_TO_MANY, threshold=8.0, review=5.0, lead=3.0)
    assert outcomes(decided) == {
        ("a", "x"): Outcome.LINKED,
        ("a", "y"): Outcome.LINKED,
        ("b", "x"): Outcome.REVIEW,
    }


def test_other_columns_are_kept_and_no_pairs_give_no_decisions():
    pairs = frame(("a", "x", 9.0)).with_columns(rule=pl.lit("surname"))
    assert one_to_one(pairs).columns == ["left_id", "right_id", "match_weight", "rule", "outcome"]
    for cardinality in Cardinality:
        empty = decide.link(pairs[:0], cardinality=cardinality, threshold=0.0, lead=1.0)
        assert empty.height == 0
        assert empty.schema["outcome"] == pl.String


def test_a_contest_too_large_for_the_solver_is_decided_from_the_top_and_said(monkeypatch, caplog):
    monkeypatch.setattr(decide, "LARGEST_CONTEST", 1)
    pairs = frame(("a", "x", 10.0), ("a", "y", 9.0), ("b", "x", 9.0), ("b", "z", 1.0), ("c", "w", 3.0))
    with caplog.at_level(logging.WARNING):
        decided = one_to_one(pairs)
    assert [row[:2] for row in linked(decided).rows()] == [("a", "x"), ("b", "z"), ("c", "w")]
    assert "2 left records" in caplog.text


@pytest.mark.parametrize(
    "more",
    [{"threshold": float("inf")}, {"threshold": float("nan")}, {"review": 11.0}, {"lead": -1.0}],
)
def test_settings_that_do_not_go_together_are_refused(more):
    with pytest.raises(LinkerError):
        one_to_one(frame(("a", "x", 9.0)), **{"threshold": 10.0, **more})


def test_a_repeated_pair_and_a_weight_that_is_no_number_are_refused():
    with pytest.raises(RecordsError, match="twice"):
        one_to_one(frame(("a", "x", 9.0), ("b", "x", 8.0), ("a", "x", 7.0)))
    with pytest.raises(RecordsError, match="finite"):
        one_to_one(frame(("a", "x", float("nan"))))


def components_by_hand(edges, ids):
    group = {record: {record} for record in ids}
    for a, b in edges:
        joined = group[a] | group[b]
        for record in joined:
            group[record] = joined
    return {record: min(members) for record, members in group.items()}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text("abc0", min_size=1, max_size=3), unique=True, min_size=2, max_size=9),
    st.data(),
)
def test_clusters_are_the_connected_components(ids, data):
    possible = list(itertools.combinations(sorted(ids), 2))
    edges = data.draw(st.lists(st.sampled_from(possible), unique=True, max_size=8))
    pairs = frame(*[(a, b, 5.0) for a, b in edges])
    result = decide.clusters(pairs, pl.Series(ids), 5.0)
    assert dict(result.iter_rows()) == components_by_hand(edges, ids)
    assert result["record_id"].to_list() == sorted(ids)
    assert decide.clusters(pairs, pl.Series(ids), 5.1)["cluster_id"].to_list() == sorted(ids)


def test_clusters_refuse_unknown_and_repeated_ids():
    with pytest.raises(RecordsError, match="1 pairs"):
        decide.clusters(frame(("a", "z", 5.0)), pl.Series(["a", "b"]), 0.0)
    with pytest.raises(RecordsError, match="repeated"):
        decide.clusters(frame(), pl.Series(["a", "a"]), 0.0)
