"""What holds of what people judged: rounds, third persons, agreement, and what a run makes of it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from linker import evidence
from linker.judgements import (
    JUDGED,
    Agreement,
    Round,
    Verdict,
    compared,
    kappa,
    progress,
    round_of,
    standing,
    together,
    waits_for,
)

ANN, BEN, CAT, DAN = "ann", "ben", "cat", "dan"
SAME, DIFFERENT, CANNOT_TELL, EXPERT = (one.value for one in Verdict)


def judged(*rows):
    return pl.DataFrame(rows, schema=JUDGED, orient="row")


def one(*rows, second=False):
    """The standing of a queue of one pair."""
    return standing(1, judged(*((0, *row) for row in rows)), pl.Series([second])).row(0, named=True)


def waiting(found, who):
    frame = pl.DataFrame([found], schema_overrides={"wants": pl.Int64})
    frame = frame.with_columns(pl.col("first_by", "second_by", "third_by").cast(pl.String))
    return frame.select(waits_for(who)).item()


def test_a_pair_waits_for_anybody_and_is_settled_by_one():
    assert waiting(one(), ANN)
    found = one((1, ANN, SAME))
    assert (found["wants"], found["verdict"]) == (None, SAME)
    assert not any(waiting(found, who) for who in (ANN, BEN))


def test_r75_a_share_waits_for_another_person_and_a_third_decides_where_they_differ():
    found = one((1, ANN, SAME), second=True)
    assert (found["wants"], found["verdict"]) == (Round.SECOND, None)
    assert (waiting(found, ANN), waiting(found, BEN)) == (False, True)
    assert one((1, ANN, SAME), (2, BEN, SAME), second=True)["verdict"] == SAME
    found = one((1, ANN, SAME), (2, BEN, DIFFERENT), second=True)
    assert (found["wants"], found["verdict"]) == (Round.THIRD, None)
    assert [waiting(found, who) for who in (ANN, BEN, CAT)] == [False, False, True]
    assert one((1, ANN, SAME), (2, BEN, DIFFERENT), (3, CAT, DIFFERENT), second=True)["verdict"] == DIFFERENT


def test_who_asks_for_an_expert_gets_another_person():
    found = one((1, ANN, EXPERT))
    assert found["wants"] == Round.THIRD
    assert (waiting(found, ANN), waiting(found, BEN)) == (False, True)
    assert one((1, ANN, EXPERT), (3, BEN, CANNOT_TELL))["verdict"] == CANNOT_TELL


def test_r75_the_latest_judgement_of_a_round_holds():
    assert one((1, ANN, SAME), (1, ANN, DIFFERENT))["verdict"] == DIFFERENT
    assert round_of(one((1, ANN, SAME)), ANN) is Round.FIRST
    assert round_of(one((1, ANN, SAME)), BEN) is None
    assert round_of(one((1, ANN, SAME), second=True), BEN) is Round.SECOND


def test_who_was_second_is_not_asked_to_be_first_when_the_first_takes_theirs_back():
    found = one((2, BEN, SAME), second=True)
    assert found["wants"] == Round.FIRST
    assert [waiting(found, who) for who in (ANN, BEN, CAT)] == [True, False, True]
    found = one((2, BEN, SAME), (3, CAT, SAME), second=True)
    assert [waiting(found, who) for who in (ANN, BEN, CAT)] == [True, False, False]


verdicts = st.sampled_from(list(Verdict))
judges = st.sampled_from([ANN, BEN, CAT, DAN])
rounds = st.lists(st.tuples(st.integers(0, 4), judges, st.none() | verdicts), max_size=30)


@given(rounds, st.lists(st.booleans(), min_size=5, max_size=5))
def test_r75_nobody_is_two_of_the_people_who_judge_a_pair(asked, second):
    """Whoever comes judges what waits for them, in any order: a pair has its rounds of different people."""
    rows: list[tuple[int, int, str, str]] = []
    for pair, who, verdict in asked:
        if verdict is None:  # takes back
            rows = [row for row in rows if (row[0], row[2]) != (pair, who)]
            continue
        found = standing(5, judged(*rows), pl.Series(second))
        look = round_of(found.row(pair, named=True), who)
        # What `round_of` allows to somebody new is what the queue shows them.
        new = who not in [found[f"{name}_by"][pair] for name in ("first", "second", "third")]
        shown = bool(found.filter(waits_for(who) & (pl.col("pair") == pair)).height)
        assert shown == (new and look is not None)
        if look is not None:
            rows.append((pair, look.value, who, verdict.value))
    found = standing(5, judged(*rows), pl.Series(second))
    for row in found.iter_rows(named=True):
        people = [row[name] for name in ("first_by", "second_by", "third_by") if row[name] is not None]
        assert len(set(people)) == len(people)
        assert (row["wants"] is None) == (row["verdict"] is not None)
    told = progress(found)
    assert told.pairs == told.not_judged + told.waiting + told.settled == 5
    assert told.settled == told.same + told.different + told.cannot_tell


@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=40))
def test_kappa_is_scikit_learns(pairs):
    one, other = ([verdict.value for verdict in side] for side in zip(*pairs, strict=True))
    found = kappa(pl.Series(one), pl.Series(other))
    if set(one) == set(other) and len(set(one)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cohen_kappa_score(one, other))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(10, 18)), min_size=1, max_size=20, unique=True))
def test_what_hangs_together_is_a_component(edges):
    pairs = pl.DataFrame(edges, schema=["left_id", "right_id"], orient="row").cast(pl.String)
    parent: dict[str, str] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for left, right in edges:
        parent[root(left)] = root(right)
    for number, (left, _) in enumerate(edges):
        wanted = [at for at, (other, _) in enumerate(edges) if root(other) == root(left)]
        assert together(pairs, number) == wanted


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (["Ann", "Anna"], ["ANNA"], Agreement.EQUAL),
        (["Katherine"], ["Kathryn"], Agreement.ALIKE),
        (["Ann"], ["Zoe"], Agreement.DIFFERENT),
        ([], ["Zoe"], Agreement.MISSING),
        ([""], ["Zoe"], Agreement.MISSING),
    ],
)
def test_fields_are_compared_over_all_their_values(left, right, expected):
    assert compared(left, right) is expected


# --- what a run makes of it ---------------------------------------------------------------------------


DAY = "2026-11-23"


def settled(*rows):
    return pl.DataFrame([(*row, DAY) for row in rows], schema=evidence.EVIDENCE, orient="row")


def test_links_of_a_join_keep_to_what_was_judged_whichever_record_is_left():
    links = pl.DataFrame({"left": ["a", "c"], "right": ["b", "d"], "weight": [9.0, 8.0]})
    found = evidence.on_links(links, settled(("b", "a", False), ("e", "f", True)))
    assert found.rows() == [("c", "d", 8.0, False), ("e", "f", evidence.BITS, True)]


def test_outcomes_of_a_register_keep_to_what_was_judged():
    outcomes = pl.DataFrame(
        {
            "person": ["1", "2", "3", "4", "1"],
            "outcome": ["REVIEW", "AMBIGUOUS", "LINKED", "NOT_APPLICABLE", "AMBIGUOUS"],
            "stage": "probabilistic",
            "key": "k",
            "weight": [7.0, 6.0, 20.0, None, 6.0],
            "probability": 0.5,
            "band": "5-to-10",
            "row_ref": ["x", "y", "z", None, "y"],
        }
    )
    known = pl.DataFrame({"person": ["1", "1", "2", "3", "4"], "record": ["r1", "r1b", "r2", "r3", "r4"]})
    judged = settled(("r1b", "x", False), ("r2", "y", True), ("gone", "x", True))
    found = evidence.on_outcomes(outcomes, known, judged)
    assert sorted(found.select("person", "outcome", "row_ref").rows(), key=str) == [
        ("2", "LINKED", "y"),
        ("3", "LINKED", "z"),
        ("4", "NOT_APPLICABLE", None),
    ]
    assert found.filter(pl.col("person") == "2")["stage"].to_list() == [evidence.CLERICAL]
    assert evidence.on_outcomes(outcomes, known, evidence.NOTHING).equals(outcomes)


def test_r60_what_was_judged_of_values_that_were_corrected_since_holds_no_more():
    judged = settled(("r1", "x", True), ("r2", "y", True), ("r3", "z", True), ("r4", "r1", False))
    days = {"r1": "2026-11-24", "r2": "2026-11-22", "r3": None, "gone": "2026-11-30"}
    changed = pl.DataFrame({"record": list(days), "changed": list(days.values())})
    found = evidence.still_true(judged, changed)
    assert found.rows() == [("r2", "y", True, DAY), ("r3", "z", True, DAY)]
    # On the same day it may have been before.
    assert evidence.still_true(judged[:1], changed.with_columns(changed=pl.lit(DAY))).is_empty()
    assert evidence.still_true(judged, changed.clear()).equals(judged)
