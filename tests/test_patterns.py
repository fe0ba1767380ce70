"""Patterns counted while the pairs go by, against the pairs themselves."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker import patterns
from linker.block import block
from linker.patterns import tally
from linker.program import compile_tests
from tests import pair_oracle as oracle
from tests.test_predict import MODEL


def counted(model, left, right=None, **options):
    codes = oracle.encoded(model, left, right)
    blocks = block(model.rules, codes)
    found = tally(codes, blocks, compile_tests(model.comparisons, codes), model.comparisons, **options)
    entries = zip(found.pattern.tolist(), found.held.tolist(), found.counts.tolist(), strict=True)
    return {(pattern, held): count for pattern, held, count in entries}, found.compared


@settings(max_examples=40)
@given(
    oracle.models(),
    oracle.crowds(most=12),
    st.none() | oracle.crowds(most=12),
    st.sampled_from([1, 3]),
)
def test_every_pair_is_counted_once_with_the_rules_that_hold_it(model, left, right, threads):
    others = left if right is None else right
    everything = oracle.scan(model, left, right, -math.inf)
    expected: Counter[tuple[int, int]] = Counter()
    for x, y, pattern in zip(everything.left, everything.right, everything.pattern, strict=True):
        one, other = left[int(x)], others[int(y)]
        held = sum(
            (oracle.producer([rule], one, other) is not None) << k for k, rule in enumerate(model.rules)
        )
        expected[int(pattern), held] += 1
    found, compared = counted(model, left, right, threads=threads)
    assert found == expected
    assert compared == everything.compared


@pytest.mark.parametrize("right", [False, True])
def test_a_table_that_grows_loses_nothing(monkeypatch, right):
    rng = np.random.default_rng(4)
    people = [
        dict.fromkeys(oracle.SCHEMA) | {name: str(rng.integers(6)) for name in "abc"} | {"n": float(k % 9)}
        for k in range(120)
    ]
    model = MODEL
    plain, _ = counted(model, people, people if right else None)
    monkeypatch.setattr(patterns, "_LEAST", 2)
    small, _ = counted(model, people, people if right else None)
    assert small == plain
    assert len(plain) > 4
