"""The kernels against jellyfish and rapidfuzz, on names, on repetitive text and on any Unicode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jellyfish
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA, Jaro, JaroWinkler, Levenshtein

from linker import kernels

NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ '-"
# Scripts in which no two characters join to one grapheme cluster, astral ones among them.
UNJOINED = NAMES + "àÉßøŁřЖщΩλ中文字あア𐐀𐐨𝒜𝔅😀🦊"
RUBBISH = np.random.default_rng(0).integers(-(2**62), 2**62, kernels.scratch_size(400))


def lengths(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of everyday length, near the width of a machine word, and well beyond it."""
    short = st.text(alphabet, max_size=24)
    word = st.text(alphabet, min_size=60, max_size=70)
    long = st.text(alphabet, min_size=120, max_size=200)
    return st.one_of(short, short, word, long)


@st.composite
def edited(draw: st.DrawFn, alphabet: st.SearchStrategy[str]) -> tuple[str, str]:
    """A text and either another or itself after a few slips of the pen."""
    left = draw(lengths(alphabet))
    if draw(st.booleans()):
        return left, draw(lengths(alphabet))
    right = list(left)
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(right)))
        match draw(st.sampled_from(["insert", "delete", "replace", "swap"])):
            case "insert":
                right.insert(place, draw(alphabet))
            case "delete":
                del right[place : place + 1]
            case "replace":
                right[place : place + 1] = [draw(alphabet)]
            case _:
                right[place : place + 2] = reversed(right[place : place + 2])
    return left, "".join(right)


UNJOINED_PAIRS = st.one_of(
    *(edited(st.sampled_from(letters)) for letters in ("AB", "ABCDE", NAMES, UNJOINED))
)
ANY_PAIRS = edited(st.characters(exclude_categories=["Cs"]))


def call(function: Callable[..., Any], left: str, right: str, *more: object) -> Any:
    """Calls a kernel on two texts that stand apart in one buffer, with scratch full of rubbish."""
    points = [np.frombuffer(part.encode("utf-32-le"), np.uint32) for part in ("xyz", left, "AB", right, "A")]
    chars = np.concatenate(points)
    a0, b0 = 3, 3 + len(left) + 2
    if not more:
        size = kernels.scratch_size(max(len(left), len(right)))
        guard = RUBBISH[size:].copy()
        result = function(chars, a0, a0 + len(left), b0, b0 + len(right), RUBBISH[:size])
        np.testing.assert_array_equal(RUBBISH[size:], guard, "the kernel wrote beyond its scratch")
        return result
    return function(chars, a0, a0 + len(left), b0, b0 + len(right), *more)


@settings(max_examples=400, deadline=None)
@given(pair=ANY_PAIRS | UNJOINED_PAIRS)
def test_all_agree_with_rapidfuzz(pair: tuple[str, str]) -> None:
    left, right = pair
    assert call(kernels.levenshtein, left, right) == Levenshtein.distance(left, right)
    assert call(kernels.damerau_osa, left, right) == OSA.distance(left, right)
    assert call(kernels.jaro, left, right) == pytest.approx(Jaro.similarity(left, right), abs=1e-12)
    assert call(kernels.jaro_winkler, left, right) == pytest.approx(
        JaroWinkler.similarity(left, right), abs=1e-12
    )


@settings(max_examples=400, deadline=None)
@given(pair=UNJOINED_PAIRS)
def test_all_but_osa_agree_with_jellyfish_where_a_character_is_a_code_point(pair: tuple[str, str]) -> None:
    left, right = pair
    assume(left or right)
    assert call(kernels.levenshtein, left, right) == jellyfish.levenshtein_distance(left, right)
    assert call(kernels.jaro, left, right) == pytest.approx(jellyfish.jaro_similarity(left, right), abs=1e-12)
    assert call(kernels.jaro_winkler, left, right) == pytest.approx(
        jellyfish.jaro_winkler_similarity(left, right), abs=1e-12
    )


@settings(max_examples=200, deadline=None)
@given(pair=ANY_PAIRS | UNJOINED_PAIRS)
def test_the_order_of_the_two_strings_does_not_matter(pair: tuple[str, str]) -> None:
    left, right = pair
    for function in (kernels.levenshtein, kernels.damerau_osa, kernels.jaro, kernels.jaro_winkler):
        assert call(function, left, right) == call(function, right, left)


@settings(max_examples=200, deadline=None)
@given(pair=UNJOINED_PAIRS)
def test_osa_lies_between_the_unrestricted_distance_and_levenshtein(pair: tuple[str, str]) -> None:
    left, right = pair
    osa = call(kernels.damerau_osa, left, right)
    assert (
        jellyfish.damerau_levenshtein_distance(left, right) <= osa <= call(kernels.levenshtein, left, right)
    )


# The figures are worked by hand, or Winkler's published ones (MARTHA, DIXON, DWAYNE).
@pytest.mark.parametrize(
    ("left", "right", "levenshtein", "osa", "jaro", "jaro_winkler"),
    [
        ("", "", 0, 0, 1.0, 1.0),
        ("", "A", 1, 1, 0.0, 0.0),
        ("A", "A", 0, 0, 1.0, 1.0),
        ("A", "B", 1, 1, 0.0, 0.0),
        ("AB", "BA", 2, 1, 0.0, 0.0),
        ("CA", "ABC", 3, 3, 0.0, 0.0),
        ("MARTHA", "MARHTA", 2, 1, 17 / 18, 17 / 18 + 3 * 0.1 / 18),
        ("DIXON", "DICKSONX", 4, 4, (4 / 5 + 4 / 8 + 1) / 3, 23 / 30 + 2 * 0.1 * 7 / 30),
        ("DWAYNE", "DUANE", 2, 2, (4 / 6 + 4 / 5 + 1) / 3, 37 / 45 + 0.1 * 8 / 45),
        ("SMITH", "SMITHSON", 3, 3, (2 + 5 / 8) / 3, 7 / 8 + 4 * 0.1 / 8),
    ],
)
def test_known_figures(
    left: str, right: str, levenshtein: int, osa: int, jaro: float, jaro_winkler: float
) -> None:
    assert call(kernels.levenshtein, left, right) == levenshtein
    assert call(kernels.damerau_osa, left, right) == osa
    assert call(kernels.jaro, left, right) == pytest.approx(jaro, abs=1e-12)
    assert call(kernels.jaro_winkler, left, right) == pytest.approx(jaro_winkler, abs=1e-12)


def test_a_prefix_raises_only_what_is_above_the_threshold() -> None:
    below = ("ABCDEFGHIJ", "ABZZZZZZZZ")
    assert call(kernels.jaro, *below) < 0.7
    assert call(kernels.jaro_winkler, *below) == call(kernels.jaro, *below)


def test_a_character_is_a_code_point_not_a_grapheme_cluster() -> None:
    assert call(kernels.levenshtein, "E\u0301", "") == 2
    assert jellyfish.levenshtein_distance("E\u0301", "") == 1


@given(
    left=st.sets(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9)),
    right=st.sets(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9)),
)
def test_common_tokens_are_the_intersection(left: set[int], right: set[int]) -> None:
    tokens = np.array([5, *sorted(left), 5, *sorted(right), 5], np.int32)
    a0, b0 = 1, 2 + len(left)
    assert kernels.common(tokens, a0, a0 + len(left), b0, b0 + len(right)) == len(left & right)
