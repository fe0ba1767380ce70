"""The certificate of blocking: never too low, and as low as can be where that can be checked by trying all pairs."""

from __future__ import annotations

import itertools
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.blocking_certificate import certificate
from linker.blocking_facts import observe
from linker.conditions import All, Any, Not, Op, exact, missing
from linker.conditions import test as measure  # pytest would collect it by its own name
from linker.encode import encode
from linker.model import BlockingRule, Comparison, Level, Model, TermFrequencies
from tests import pair_oracle as oracle


def certify(model, left, right=None, threshold=None, **options):
    """The certificate of a model over frames of standard columns."""
    facts = observe(model, encode(left, right, model), left, right)
    return certificate(model, facts, threshold, **options)


def heaviest(model, left, right):
    """The largest weight of a pair that no rule holds, by looking at every pair."""
    others = left if right is None else right
    return max(
        (
            oracle.weight(model, left[i], others[j])
            for i, j in oracle.all_pairs(left, right)
            if oracle.producer(model.rules, left[i], others[j]) is None
        ),
        default=-math.inf,
    )


@settings(max_examples=300)
@given(oracle.models(), oracle.crowds(most=8), st.none() | oracle.crowds(most=8))
def test_no_pair_that_the_rules_miss_weighs_more_than_the_bound(model, left, right):
    frames = oracle.frame(left), None if right is None else oracle.frame(right)
    assert certify(model, *frames).bound >= heaviest(model, left, right) - 1e-6
