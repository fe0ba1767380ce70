"""Reading in bulk: the same as one at a time, and every slip of the hand found in thousands of numbers."""

from __future__ import annotations

import itertools
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import UrnError
from pseudonym.reading import READ, REFUSED, read_all
from pseudonym.symbols import VALUES, suspects
from pseudonym.urn import Kind, UrnKey, grouped, read

KEY = bytes(range(32))
SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TABLE = np.frombuffer(SYMBOLS.encode(), dtype=np.uint8)


def numbers(count, seed=1, epoch=7, kind=Kind.PERSON, recipient="r"):
    chance = random.Random(seed)
    return UrnKey(KEY, "p", recipient, epoch).issue_all(kind, [chance.randbytes(16) for _ in range(count)])


def values_of(words):
    octets = np.frombuffer("".join(words).encode(), dtype=np.uint8).reshape(-1, 24)
    return np.searchsorted(np.sort(TABLE), octets).astype(np.uint8)  # the alphabet is in ASCII's order


def words_of(values):
    text = TABLE[values].tobytes().decode()
    return pl.Series([text[i : i + 24] for i in range(0, len(text), 24)])


def assert_all_noticed(values):
    readings = read_all(words_of(values))
    assert readings.read.is_empty()
    assert readings.refused.height == len(values)
    assert readings.refused["reason"].unique().to_list() == ["URN_CHECK"]


def one_at_a_time(texts):
    good, bad = [], []
    for row, text in enumerate(texts, 1):
        try:
            urn = read(text or "")
            good.append((row, urn.kind.value, urn.epoch, urn.word))
        except UrnError as error:
            bad.append((row, error.reason))
    return good, bad


def assert_same(texts):
    readings = read_all(texts)
    good, bad = one_at_a_time(texts)
    assert readings.read.schema == READ
    assert readings.refused.schema == REFUSED
    assert readings.read.rows() == good
    assert readings.refused.select("row", "reason").rows() == bad


WORDS = numbers(5) + numbers(5, 2, 31, Kind.FAMILY)
slips = st.sampled_from(WORDS).flatmap(
    lambda word: st.sampled_from(
        [
            word,
            word.lower(),
            grouped(word),
            f" {word}\r\n",
            word.replace("0", "o").replace("1", "l"),
            word[:-1],
            word + "0",
            word[1:] + word[0],
            "U" + word[1:],
            word[:9] + "é" + word[10:],
            word + "\0",
            "0" * 24,
            "",
            "-",
            None,
        ]
    )
)


@given(st.lists(slips | st.text(max_size=30) | st.text(alphabet=SYMBOLS + "- ", min_size=24, max_size=28)))
def test_bulk_reads_and_refuses_as_one_at_a_time(texts):
    assert_same(texts)


def test_the_place_of_a_strange_character_is_told_and_nothing_else():
    word = WORDS[0]
    texts = [f"{word[:3]}-{word[3]}ſ{word[5:]}", "é", word[:23] + "u", word[:-1], "00" + word[2:]]
    refused = read_all(texts).refused
    assert refused.rows() == [
        (1, "URN_SYMBOL", 5),
        (2, "URN_SYMBOL", 1),
        (3, "URN_SYMBOL", 24),
        (4, "URN_LENGTH", None),
        (5, "URN_CHECK", None),
    ]
    assert word[:8] not in f"{read_all([*texts, word])!r} {refused.write_csv()}"


def test_an_empty_column_and_one_of_separators():
    assert_same([])
    assert_same(["- -", "", None])
    assert read_all(pl.Series([], dtype=pl.String)).read.schema == READ


def test_rows_keep_their_numbers_across_parts():
    texts = numbers(140_000)
    texts[65_535] = texts[65_536] = texts[139_999] = "0"
    readings = read_all(pl.Series(texts))
    assert readings.refused["row"].to_list() == [65_536, 65_537, 140_000]
    assert readings.read["row"].to_list() == [
        row for row in range(1, 140_001) if row not in (65_536, 65_537, 140_000)
    ]
    assert readings.read["urn"].to_list() == [text for text in texts if text != "0"]


def test_every_single_error_in_thousands_of_numbers_is_noticed():
    values = values_of(numbers(2_000))
    for place, change in itertools.product(range(24), range(1, 32)):
        wrong = values.copy()
        wrong[:, place] ^= change
        assert_all_noticed(wrong)


def test_every_double_error_in_some_numbers_is_noticed():
    changes = np.array(list(itertools.product(range(1, 32), repeat=2)), dtype=np.uint8)
    for word in values_of(WORDS):
        for first, second in itertools.combinations(range(24), 2):
            wrong = np.repeat(word[None, :], len(changes), axis=0)
            wrong[:, first] ^= changes[:, 0]
            wrong[:, second] ^= changes[:, 1]
            assert_all_noticed(wrong)


def test_double_errors_by_chance_in_thousands_of_numbers_are_noticed():
    values = values_of(numbers(5_000, seed=3))
    chance = np.random.default_rng(4)
    for first, second in itertools.combinations(range(24), 2):
        wrong = values.copy()
        wrong[:, first] ^= chance.integers(1, 32, len(values), dtype=np.uint8)
        wrong[:, second] ^= chance.integers(1, 32, len(values), dtype=np.uint8)
        assert_all_noticed(wrong)


def test_every_exchange_of_neighbours_in_thousands_of_numbers_is_noticed():
    values = values_of(numbers(20_000, seed=5))
    for place in range(23):
        differ = values[:, place] != values[:, place + 1]
        wrong = values[differ]
        wrong[:, [place, place + 1]] = wrong[:, [place + 1, place]]
        assert_all_noticed(wrong)


def test_three_wrong_symbols_pass_about_once_in_a_thousand():
    # The promise ends at two, and the page of the format says how often more goes unnoticed.
    values = values_of(numbers(200_000, seed=6))
    chance = np.random.default_rng(7)
    for place in (4, 11, 19):
        values[:, place] ^= chance.integers(1, 32, len(values), dtype=np.uint8)
    passed = read_all(words_of(values)).read.height
    assert 100 < passed < 320  # 200,000 / 961 = 208, standard deviation 14


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"recipient": "nis-analysis"}, {"recipient": "dwp-extract"}),
        ({"epoch": 1}, {"epoch": 2}),
        ({"kind": Kind.PERSON}, {"kind": Kind.FAMILY}),
    ],
    ids=["recipients", "epochs", "kinds"],
)
def test_numbers_of_one_person_agree_as_by_chance(left, right):
    # One key for both, the worst case: only the labels in the message differ.
    count = 40_000
    x, y = (_bits(numbers(count, seed=8, **side)) for side in (left, right))
    agree = x == y
    # A payload's agreement is binomial (100, 1/2): mean 50, variance 25.
    total = agree.sum(axis=1)
    assert abs(total.mean() - 50) < 4 * 5 / count**0.5
    assert abs(total.var() - 25) < 4 * 25 * (2 / count) ** 0.5
    # Each of the 100 bits by itself, and each of one against each of the other: 10,100 normal deviates.
    z = (agree.sum(axis=0) - count / 2) / (count / 4) ** 0.5
    across = (2.0 * x - 1).T @ (2.0 * y - 1) / count**0.5
    deviates = np.concatenate([z, across.ravel()])
    assert np.abs(deviates).max() < 5.2  # chance of more among 10,100: 0.002
    assert abs((deviates**2).mean() - 1) < 0.06  # 4 standard deviations
    # Nor do people keep their places: the order by one number says nothing of the order by the other.
    ranks = [np.lexsort(side.T[::-1]).argsort() for side in (x, y)]
    assert abs(np.corrcoef(ranks[0], ranks[1])[0, 1]) < 4 / count**0.5
    assert not set(map(bytes, np.packbits(x, axis=1))) & set(map(bytes, np.packbits(y, axis=1)))


def _bits(words):
    return np.unpackbits(values_of(words)[:, 2:22, None], axis=2)[:, :, 3:].reshape(len(words), 100)


def test_a_single_slip_is_among_the_suspects():
    chance = random.Random(9)
    for word in numbers(300, seed=10):
        values = [VALUES[symbol] for symbol in word]
        place = chance.randrange(24)
        wrong = values.copy()
        wrong[place] ^= chance.randint(1, 31)
        assert suspects(wrong)[0] == place
        first = chance.randrange(23)
        if values[first] != values[first + 1]:
            wrong = values.copy()
            wrong[first], wrong[first + 1] = wrong[first + 1], wrong[first]
            assert suspects(wrong)[1] == first


def test_a_suspect_is_named_only_if_putting_it_right_makes_a_number():
    chance = random.Random(11)
    single, swaps = [], []
    for word in numbers(2_000, seed=12):
        values = [VALUES[symbol] for symbol in word]
        for place in chance.sample(range(24), 4):
            values[place] ^= chance.randint(1, 31)
        wrong, exchanged = suspects(values)
        if wrong is not None:
            single += [[*values[:wrong], value, *values[wrong + 1 :]] for value in range(32)]
        if exchanged is not None:
            values[exchanged], values[exchanged + 1] = values[exchanged + 1], values[exchanged]
            swaps.append(values)
    assert len(single) > 32_000
    assert np.array(_fit(single)).reshape(-1, 32).sum(axis=1).tolist() == [1] * (len(single) // 32)
    assert len(swaps) > 10
    assert all(_fit(swaps))


def _fit(values):
    refused = read_all(words_of(np.array(values, dtype=np.uint8))).refused
    unfit = set(refused.filter(pl.col("reason") == "URN_CHECK")["row"])
    return [row not in unfit for row in range(1, len(values) + 1)]
