"""Comparisons that depend on each other, in pairs of records drawn with a dependence that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import linker
from linker.conditions import exact, missing
from linker.dependence import Seen, dependences
from linker.em import PatternCounts
from linker.model import Comparison, Level
from tests.made_up_people import register, retyped

NAMES = "abcdefg"
M, U = 0.9, 0.04  # of agreement, for each
COMPARISONS = [
    Comparison(name, missing(name), (Level("exact", exact(name)), Level("different", None))) for name in NAMES
]
FITTED_M, FITTED_U = (np.tile([0.0, agree, 1.0 - agree], (len(NAMES), 1)) for agree in (M, U))
FREE = np.zeros(len(NAMES), np.bool_)


def drawn(rng, many, agree, both=None, extra=0.0):
    """[many, comparisons] level codes; the two comparisons `both` hold together more often by `extra`.

    They agree together (strangers), or for m disagree together, with probability p² + extra, each with p.
    """
    levels = np.where(rng.random((many, len(NAMES))) < agree, 1, 2)
    if both is not None:
        held, rare = (1, agree) if agree < 0.5 else (2, 1 - agree)
        together = rare**2 + extra
        chance = rng.random(many)
        one = chance < rare
        other = (chance < together) | ((chance >= rare) & (chance < 2 * rare - together))
        levels[:, both[0]] = np.where(one, held, 3 - held)
        levels[:, both[1]] = np.where(other, held, 3 - held)
    return levels


def counted(*parts):
    distinct, counts = np.unique(np.concatenate(parts), axis=0, return_counts=True)
    return PatternCounts(distinct.astype(np.int64), counts.astype(np.float64))


def found(candidates, random, comparisons=COMPARISONS, held=FREE, share=0.5, kin=0.0):
    return dependences(
        comparisons,
        FITTED_M,
        FITTED_U,
        FITTED_U,
        [Seen(candidates, held, share)],
        Seen(random, FREE, 0.001, kin),
    )


@pytest.fixture(scope="module")
def matches_depend():
    rng = np.random.default_rng(1)
    return counted(drawn(rng, 20_000, M, (0, 1), 0.07), drawn(rng, 20_000, U))


@pytest.fixture(scope="module")
def strangers_depend():
    rng = np.random.default_rng(2)
    return counted(drawn(rng, 300_000, U, (2, 3), 0.0112), drawn(rng, 300, M))


@pytest.fixture(scope="module")
def independent():
    rng = np.random.default_rng(3)
    candidates = counted(drawn(rng, 20_000, M), drawn(rng, 20_000, U))
    return candidates, counted(drawn(rng, 300_000, U), drawn(rng, 300, M))


def test_what_was_drawn_as_dependent_is_found_and_nothing_else(matches_depend, strangers_depend, independent):
    told = found(matches_depend, strangers_depend)
    assert {(one.first, one.second, one.matches) for one in told} == {("a", "b", True), ("c", "d", False)}
    by_kind = {one.matches: one for one in told}
    assert by_kind[True].bits == pytest.approx(np.log2((0.01 + 0.07) / 0.01), abs=0.2)
    assert by_kind[False].bits == pytest.approx(np.log2((0.0016 + 0.0112) / 0.0016), abs=0.2)
    assert by_kind[True].pairs == pytest.approx(0.08 * 20_000, rel=0.1)
    assert found(*independent) == ()


def test_labelled_pairs_need_no_vote_of_the_others(independent):
    pairs = counted(drawn(np.random.default_rng(4), 5_000, M, (4, 5), 0.05))
    [one] = found(pairs, independent[1], share=1.0)
    assert (one.first, one.second, one.matches) == ("e", "f", True)


def test_rarer_together_is_told_too(independent):
    often = 0.6  # a weak comparison, so that disagreeing together is common enough to be missed
    fitted = np.tile([0.0, often, 1.0 - often], (len(NAMES), 1))
    pairs = counted(drawn(np.random.default_rng(5), 5_000, often, (0, 6), -0.12))
    weak = [Seen(pairs, FREE, 1.0)]
    [one] = dependences(COMPARISONS, fitted, FITTED_U, FITTED_U, weak, Seen(independent[1], FREE, 0.001))
    assert (one.first, one.second, one.matches) == ("a", "g", True)
    assert one.bits == pytest.approx(-2.0, abs=0.2)
    assert "less often" in one.sentence
    assert "too little" in one.sentence


def test_too_few_pairs_and_what_a_rule_fixes_say_nothing(matches_depend, independent):
    _, random = independent
    few = counted(drawn(np.random.default_rng(6), 300, M, (0, 1), 0.07))
    assert found(few, random, share=1.0) == ()
    held = FREE.copy()
    held[1] = True
    assert found(matches_depend, random, held=held) == ()


def test_what_kin_explain_is_not_told_again(strangers_depend, independent):
    candidates, _ = independent
    household = [replace(one, shared=one.name in "cd") for one in COMPARISONS]
    assert found(candidates, strangers_depend, household, kin=0.0001) == ()
    assert found(candidates, strangers_depend, household) != ()
    only_one = [replace(one, shared=one.name == "c") for one in COMPARISONS]
    assert found(candidates, strangers_depend, only_one, kin=0.0001) != ()


def test_training_tells_that_who_marries_moves():
    """Slips of the pen are independent in these people, until some change their surname and move at once."""
    people = register(1500, seed=5)
    others = retyped(people, seed=6)
    married = pl.int_range(pl.len()) % 6 == 0
    elsewhere = others.with_columns(
        surname=pl.when(married).then(pl.col("surname").reverse()).otherwise("surname"),
        postcode=pl.when(married).then(pl.lit("NE7 1") + pl.col("id").str.slice(-2)).otherwise("postcode"),
        town=pl.when(married).then(pl.lit("Ulgwyndre")).otherwise("town"),
    )

    def told(diagnostics):
        return [one for one in diagnostics.dependent if {one.first, one.second} == {"surname", "postcode"}]

    assert told(linker.train(people, others).diagnostics) == []
    diagnostics = linker.train(people, elsewhere).diagnostics
    [one] = told(diagnostics)
    assert one.matches
    assert one.bits > 1.0
    assert one.sentence in diagnostics.warnings
    assert one.sentence in diagnostics.as_dict()["warnings"]
