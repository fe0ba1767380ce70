"""EM against data simulated from a model that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.em import FIRST_SHARE, PatternCounts, fit, pattern_ratio, ratios

M = np.array([[0, 0.9, 0.08, 0.02], [0, 0.85, 0.15, 0], [0, 0.95, 0.05, 0], [0, 0.8, 0.15, 0.05]])
U = np.array([[0, 0.02, 0.08, 0.9], [0, 0.1, 0.9, 0], [0, 0.5, 0.5, 0], [0, 0.01, 0.09, 0.9]])
NONE = np.zeros(4, bool)


def simulate(pairs, share, seed, missing=0.0, agree_on=()):
    """Counts of patterns of `pairs` pairs of which a share are matches; a rule makes some fields agree."""
    rng = np.random.default_rng(seed)
    match = rng.random(pairs) < share
    levels = np.zeros((pairs, len(M)), np.int64)
    for c in range(len(M)):
        levels[match, c] = rng.choice(4, match.sum(), p=M[c])
        levels[~match, c] = rng.choice(4, (~match).sum(), p=U[c])
        levels[rng.random(pairs) < missing, c] = 0
    for c in agree_on:
        levels[:, c] = 1
    shifts, bits = np.array([0, 2, 4, 6]), [2] * 4
    return PatternCounts.of((levels << shifts).sum(axis=1), shifts, bits, np.ones(pairs))


def flat(m=M):
    """An expectation that knows nothing but that better levels are likelier."""
    start = np.where(m > 0, [[0, 0.6, 0.3, 0.1]], 0.0)
    return start / start.sum(axis=1, keepdims=True)


def positive(u=U):
    return np.where(u > 0, u, 1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_m_and_the_share_of_matches_are_found_again(share, missing):
    patterns = simulate(400_000, share, 1, missing)
    found = fit([patterns], [NONE], flat(), positive(), strength=1.0)
    assert found.converged
    assert found.shares[0] == pytest.approx(share, rel=0.03)
    assert found.m == pytest.approx(M, abs=0.02)
    assert found.m.sum(axis=1) == pytest.approx(1.0)


def test_rules_share_m_and_each_has_its_own_share():
    rules = [simulate(200_000, share, seed) for seed, share in enumerate((0.05, 0.5))]
    found = fit(rules, [NONE, NONE], flat(), positive(), strength=1.0)
    assert found.shares == pytest.approx((0.05, 0.5), rel=0.03)
    assert found.m == pytest.approx(M, abs=0.01)


def test_what_a_rule_fixes_is_learnt_from_the_others():
    held = np.array([[True, False, False, False], [False, False, False, True]])
    rules = [simulate(200_000, 0.3, 1, agree_on=[0]), simulate(200_000, 0.2, 2, agree_on=[3])]
    found = fit(rules, list(held), flat(), positive(), strength=1.0)
    assert found.m == pytest.approx(M, abs=0.02)
    assert found.shares == pytest.approx((0.3, 0.2), rel=0.05)


def test_a_comparison_that_every_rule_fixes_keeps_its_expectation():
    held = np.array([True, False, False, False])
    expected = flat()
    found = fit([simulate(50_000, 0.3, 1, agree_on=[0])], [held], expected, positive(), strength=5.0)
    assert found.m[0] == pytest.approx(expected[0], abs=1e-12)
    assert found.seen[0].tolist() == [0.0] * 4


def test_a_limit_that_is_reached_is_said():
    patterns = simulate(20_000, 0.1, 1)
    short = fit([patterns], [NONE], flat(), positive(), strength=1.0, iterations=2)
    assert not short.converged
    assert short.iterations == 2
    long = fit([patterns], [NONE], flat(), positive(), strength=1.0)
    assert long.converged
    assert 2 < long.iterations < 500


def test_a_level_that_no_match_shows_has_a_small_m_and_not_none():
    levels = np.array([[1, 1], [3, 2], [3, 1]])
    patterns = PatternCounts(levels, np.array([500.0, 100_000.0, 900.0]))
    u = np.array([[0, 0.001, 0.001, 0.998], [0, 0.01, 0.99, 0]])
    expected = np.array([[0, 0.8, 0.15, 0.05], [0, 0.9, 0.1, 0]])
    found = fit([patterns], [np.zeros(2, bool)], expected, np.maximum(u, 1e-12), strength=10.0)
    assert 0 < found.m[0, 2] == pytest.approx(10 * 0.15 / (found.seen[0].sum() + 10), rel=1e-3)
    assert found.seen[0, 2] == 0.0


def test_all_weight_on_the_expectation_if_it_is_strong_enough():
    found = fit([simulate(10_000, 0.3, 1)], [NONE], flat(), positive(), strength=1e12)
    assert found.m == pytest.approx(flat(), abs=1e-6)


def test_the_same_counts_in_another_order_are_the_same_fit():
    patterns = simulate(50_000, 0.1, 4)
    order = np.random.default_rng(0).permutation(len(patterns.counts))
    turned = PatternCounts(patterns.levels[order], patterns.counts[order])
    one, other = (fit([p], [NONE], flat(), positive(), strength=1.0) for p in (patterns, turned))
    assert one.m == pytest.approx(other.m, abs=1e-9)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=60))
def test_patterns_are_counted_and_unpacked(rows):
    levels = np.array(rows, np.int64)
    shifts = np.array([0, 2, 4, 6])
    counted = PatternCounts.of((levels << shifts).sum(axis=1), shifts, [2] * 4, np.ones(len(rows)))
    seen = {tuple(row): rows.count(tuple(row)) for row in levels.tolist()}
    assert {tuple(row): n for row, n in zip(counted.levels.tolist(), counted.counts, strict=True)} == seen
    totals = counted.level_counts(4)
    for c in range(4):
        assert totals[c].tolist() == [float((levels[:, c] == k).sum()) for k in range(4)]


def test_a_posterior_by_hand():
    log = ratios(np.array([[0, 0.8, 0.2], [0, 0.5, 0.5]]), np.array([[0, 0.1, 0.9], [0, 0.5, 0.5]]))
    patterns = PatternCounts(np.array([[1, 1], [2, 0], [0, 0]]), np.ones(3))
    assert np.exp(pattern_ratio(patterns, log)) == pytest.approx([8.0, 2 / 9, 1.0])
    # One step by Bayes: the ratio r of a pattern makes share * r / (share * r + 1 - share) of it a match.
    for held, seen in (([False, False], (8.0, 2 / 9, 1.0)), ([True, False], (1.0, 1.0, 1.0))):
        posteriors = [FIRST_SHARE * r / (FIRST_SHARE * r + 1 - FIRST_SHARE) for r in seen]
        m = np.array([[0, 0.8, 0.2], [0, 0.5, 0.5]])
        u = np.array([[0, 0.1, 0.9], [0, 0.5, 0.5]])
        step = fit([patterns], [np.array(held)], m, u, strength=1.0, iterations=1)
        assert step.shares[0] == pytest.approx(np.mean(posteriors))
