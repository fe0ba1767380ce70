"""The pass over candidates: threads, chunks and order change nothing; progress, and how it is stopped."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.block import block
from linker.conditions import Op, exact, missing
from linker.conditions import test as measure  # pytest would collect it by its own name
from linker.errors import Cancelled
from linker.model import BlockingRule, Comparison, Level, Model
from linker.predict import scan_candidates
from linker.program import compile_tests, compile_weights
from linker.score import BATCH
from tests import pair_oracle as oracle

MODEL = Model(
    (
        Comparison(
            "a",
            missing("a"),
            (
                Level("same", exact("a"), 0.8, 0.05),
                Level("near", measure(Op.JARO_WINKLER, "a", 0.8), 0.1, 0.05),
                Level("else", None, 0.1, 0.9),
            ),
        ),
    ),
    (BlockingRule((("b", "b"),)), BlockingRule((("c", "c"),))),
    0.01,
)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    letters = np.array(list("ANOR"))
    return [
        dict.fromkeys(oracle.SCHEMA)
        | {"a": "".join(rng.choice(letters, 5)), "b": str(rng.integers(12)), "c": str(rng.integers(9))}
        for _ in range(150)
    ]


@settings(max_examples=30)
@given(
    oracle.models(),
    oracle.crowds(most=10),
    st.none() | oracle.crowds(most=10),
    st.integers(1, 12),
    st.integers(1, 5),
)
def test_threads_and_slices_change_nothing(model, left, right, slice_rows, threads):
    one = oracle.scan(model, left, right, threads=1)
    assert oracle.same(one, oracle.scan(model, left, right, threads=threads, slice_rows=slice_rows))


@pytest.mark.parametrize("slice_rows", [1, 97, 10**9])
@pytest.mark.parametrize("right", [False, True])
def test_any_slice_gives_the_same_pairs_bit_for_bit(people, slice_rows, right):
    sides = (people[:90], people[90:]) if right else (people, None)
    expected = oracle.scan(MODEL, *sides, threads=1)
    assert len(expected.left) > 500
    assert oracle.same(expected, oracle.scan(MODEL, *sides, threads=3, slice_rows=slice_rows))


def test_a_call_that_may_look_at_few_pairs_goes_on_where_it_stopped(people, monkeypatch):
    expected = oracle.scan(MODEL, people)
    assert sum(expected.compared) > 1_000
    monkeypatch.setattr("linker.predict.LOOKS", 1)
    monkeypatch.setattr("linker.predict.KEPT_ROWS", BATCH)
    assert oracle.same(expected, oracle.scan(MODEL, people))


def test_rows_in_another_order_give_the_same_pairs(people):
    left, right = people[:90], people[90:]
    turned = oracle.scan(MODEL, left[::-1], right[::-1])
    plain = oracle.scan(MODEL, left, right)
    again = np.lexsort((59 - turned.right, 89 - turned.left))
    assert np.array_equal(turned.weight[again], plain.weight)
    assert np.array_equal(turned.pattern[again], plain.pattern)
    assert np.array_equal(turned.rule[again], plain.rule)
    assert turned.compared == plain.compared


def test_progress_rises_from_nothing_to_all_in_the_thread_of_the_caller(people):
    heard = []

    def progress(stage, done, total):
        assert threading.current_thread() is threading.main_thread()
        heard.append((stage, done, total))

    oracle.scan(MODEL, people, threads=4, slice_rows=10, progress=progress, stage="some stage")
    stages, done, totals = zip(*heard, strict=True)
    assert set(stages) == {"some stage"}
    assert len(set(totals)) == 1
    assert done[0] == 0
    assert done[-1] == totals[0]
    assert len(done) > 10
    assert all(earlier < later for earlier, later in itertools.pairwise(done))


def test_nothing_to_compare_still_reports_its_end():
    heard = []
    alone = [dict.fromkeys(oracle.SCHEMA)]
    found = oracle.scan(MODEL, alone, progress=lambda *step: heard.append(step))
    assert heard == [("compare", 0, 1), ("compare", 1, 1)]
    assert len(found.left) == 0
    assert found.compared == (0, 0)


def test_no_rules_are_no_candidates(people):
    found = oracle.scan(Model(MODEL.comparisons, (), 0.5), people)
    assert len(found.weight) == 0
    assert found.compared == ()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_cancelled_pass_stops_soon_and_leaves_no_thread(people, threads):
    codes = oracle.encoded(MODEL, people)
    blocks = block(MODEL.rules, codes)
    calls = [0]

    def progress(stage, done, total):
        calls[0] += 1
        if calls[0] == 4:
            raise Cancelled("The work was cancelled.")

    tests, weights = compile_tests(MODEL.comparisons, codes), compile_weights(MODEL, codes)
    with pytest.raises(Cancelled):
        scan_candidates(
            codes, blocks, tests, weights, -np.inf, threads=threads, slice_rows=1, progress=progress
        )
    assert calls[0] == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("linker")]


def test_after_a_cancel_few_slices_are_still_worked_on(people, monkeypatch):
    begun = []

    def slow(*arguments):
        begun.append(arguments)
        time.sleep(0.01)
        return arguments[3], -1, 0, 0

    monkeypatch.setattr("linker.predict.scan", slow)
    handed = []

    def progress(stage, done, total):
        handed.append(done)
        if len(handed) == 3:
            raise Cancelled("The work was cancelled.")

    with pytest.raises(Cancelled):
        oracle.scan(MODEL, people, threads=2, slice_rows=1, progress=progress)
    assert len(begun) <= 2 * 10 < len(people)


def test_an_error_in_a_worker_reaches_the_caller(people, monkeypatch):
    def broken(*arguments):
        raise MemoryError

    monkeypatch.setattr("linker.predict.scan", broken)
    with pytest.raises(MemoryError):
        oracle.scan(MODEL, people, threads=3, slice_rows=10)
