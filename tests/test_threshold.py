"""The threshold against every threshold there is, and what one-to-one adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.threshold import LEAST, expect, matching_gain

weights = st.lists(
    st.one_of(st.integers(-12, 30).map(float), st.floats(-15, 60, allow_subnormal=False)),
    min_size=1,
    max_size=25,
).map(np.array)
gains = st.sampled_from([0.0, 0.5, 3.0])


def chances(weights, gain):
    return [1.0 / (1.0 + 2.0 ** -(w + gain)) for w in weights]


def brute_force(weights, gain, threshold):
    """Expected precision, recall and F1 of linking all that reach a threshold."""
    right = chances(weights, gain)
    linked = [p for w, p in zip(weights, right, strict=True) if w >= threshold]
    precision = sum(linked) / len(linked) if linked else 1.0
    recall = sum(linked) / max(sum(right), 1e-9)
    return precision, recall, 2 * sum(linked) / (len(linked) + sum(right))


@given(weights, gains)
def test_the_threshold_has_the_best_expected_f1_of_all(weights, gain):
    found = expect(weights, gain)
    likely = weights[weights + gain >= LEAST]
    if not len(likely):
        assert found.threshold > weights.max()
        return
    best = max(brute_force(weights, gain, threshold)[2] for threshold in likely)
    assert brute_force(weights, gain, found.threshold)[2] == pytest.approx(best, abs=1e-12)


@given(weights, gains, st.floats(-20, 65))
def test_what_to_expect_of_a_threshold_that_is_given(weights, gain, threshold):
    found = expect(weights, gain, threshold)
    precision, recall, _ = brute_force(weights, gain, threshold)
    assert found.threshold == threshold
    assert found.precision == pytest.approx(precision, abs=1e-9)
    assert found.recall == pytest.approx(recall, abs=1e-9)


@given(weights, gains)
def test_the_chosen_threshold_expects_what_it_would_if_it_were_given(weights, gain):
    found = expect(weights, gain)
    assert expect(weights, gain, found.threshold) == found
    assert 0.0 <= found.precision <= 1.0
    assert 0.0 <= found.recall <= 1.0 + 1e-12


@given(weights, st.randoms())
def test_the_order_of_the_pairs_does_not_matter(weights, random):
    turned = list(weights)
    random.shuffle(turned)
    assert expect(np.array(turned)) == expect(weights)


def test_nothing_to_expect_of_nothing():
    assert expect(np.empty(0)).threshold == 0.0
    assert expect(np.empty(0), threshold=7.0).threshold == 7.0


def test_two_clear_groups_are_parted_between_them():
    found = expect(np.array([20.0, 25.0, 18.0, -15.0, -20.0, -14.0]))
    assert -14.0 < found.threshold <= 18.0
    assert found.precision > 0.999


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.floats(0, 1), st.floats(0, 1))
def test_one_to_one_gains_nothing_from_a_large_register_and_more_the_more_is_taken(left, right, one, other):
    fewer, more = sorted((one, other))
    gains = [matching_gain(left, right, share * min(left, right)) for share in (fewer, more)]
    assert 0.0 <= gains[0] <= gains[1] <= 6.0
    assert gains[0] == matching_gain(right, left, fewer * min(left, right))
    assert matching_gain(left, right, 0.0) == 0.0


def test_gain_by_hand():
    # Half of each side is taken: a quarter of the pairs is left, two bits.
    assert matching_gain(1000, 1000, 500.0) == pytest.approx(2.0)
    assert matching_gain(1000, 10**8, 500.0) == pytest.approx(1.0, abs=1e-4)
    assert matching_gain(100, 100, 1e9) == 6.0
    assert math.isfinite(matching_gain(1, 1, 1.0))
