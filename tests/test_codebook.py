"""Dictionaries of texts: Polars is the witness."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import distance

from linker.codebook import Codebook
from linker.conditions import Op
from linker.kernels import kernel
from linker.program import OPS
from linker.score import _hopeless
from linker.spelling import Looks, spell
from linker.views import text_view

TEXTS = st.text(max_size=40) | st.text("AB", max_size=14)
COLUMNS = st.lists(st.none() | TEXTS, max_size=40)


def added(book, series):
    codes = np.full((len(series), 3), -1, np.int32)
    book.add(text_view(series), codes, 1)
    assert (codes[:, [0, 2]] == -1).all()
    return codes[:, 1]


@given(COLUMNS, COLUMNS)
def test_equal_texts_have_one_code_in_the_order_of_their_coming(first, second):
    book, whole = Codebook(), pl.Series(first + second, dtype=pl.String)
    codes = np.concatenate([added(book, whole[: len(first)]), added(book, whole[len(first) :])])
    distinct = whole.drop_nulls().unique(maintain_order=True)
    assert book.texts().to_list() == distinct.to_list()
    assert [None if code < 0 else distinct[int(code)] for code in codes] == whole.to_list()
    assert book.texts(1).to_list() == distinct[1:].to_list()


@given(COLUMNS, COLUMNS, COLUMNS)
def test_what_came_after_a_mark_is_forgotten(kept, one, other):
    book, plain = Codebook(), Codebook()
    for texts in (kept,):
        added(book, pl.Series(texts, dtype=pl.String)), added(plain, pl.Series(texts, dtype=pl.String))
    mark = book.mark()
    added(book, pl.Series(one, dtype=pl.String))
    book.back(mark)
    assert book.texts().to_list() == plain.texts().to_list()
    again, expected = (added(x, pl.Series(other, dtype=pl.String)) for x in (book, plain))
    assert again.tolist() == expected.tolist()


def test_a_book_that_grows_many_times_and_goes_back():
    rng = np.random.default_rng(5)
    numbers = pl.Series(rng.integers(0, 300_000, 200_000)).cast(pl.String)
    texts = ("a street as long as can be, number " + numbers).append(numbers)
    book = Codebook()
    few = added(book, texts[:500])
    mark = book.mark()
    codes = added(book, texts)
    assert book.size == texts.n_unique()
    assert book.texts().gather(codes).equals(texts)
    book.back(mark)
    again = added(book, texts[:500])
    assert again.tolist() == few.tolist()
    assert book.size == mark[0]


@pytest.mark.parametrize("pieces", [[0, 3], [1, 4], [5, 8]])
def test_slices_and_chunks_are_read_as_they_are(pieces):
    whole = pl.Series(["A", None, "a text that does not fit", "É", None, "", "B" * 12, "B" * 13])
    cut = whole[slice(*pieces)]
    for series in (cut, pl.concat([cut, whole], rechunk=False)):
        book = Codebook()
        codes = added(book, series)
        assert [None if code < 0 else book.texts()[int(code)] for code in codes] == series.to_list()


def test_a_slice_reads_its_own_buffers_alone():
    chunks = [pl.Series([f"row {row} of the long texts of chunk {k}" for row in range(50)]) for k in range(6)]
    chunks.append(pl.Series([None, "short"] * 5))
    whole = pl.concat(chunks).rechunk()
    everything = text_view(whole)
    assert len(everything.bases) > 6
    for first, rows, share in ((0, 50, 1), (120, 20, 1), (40, 20, 2), (300, 10, 0), (0, 310, 6)):
        cut, book = whole[first : first + rows], Codebook()
        view = text_view(cut)
        assert len(view.store) == len(everything.store) * share // 6
        codes = added(book, cut)
        assert [None if code < 0 else book.texts()[int(code)] for code in codes] == cut.to_list()
    alone = text_view(whole[120:140])
    assert alone.store.base is not None  # the buffer itself, and no copy of it


@kernel
def hopeless(one: int, other: int, op: int, limit: float) -> bool:
    return _hopeless(one, other, op, limit)


SIMILAR = st.one_of(
    st.tuples(st.text(max_size=70), st.text(max_size=70)),
    st.tuples(st.text("ABCD1 ", max_size=12), st.text("ABCD1 ", max_size=12)),
)


@given(SIMILAR)
def test_no_pair_is_hopeless_that_reaches_its_limit(pair):
    one, other = pair
    book = Codebook()
    added(book, pl.Series([one + "\0", other + "\0"]))  # never equal to nothing
    one, other = one + "\0", other + "\0"
    if one == other:
        return
    signatures = spell(book, 0, Looks(measured=True), None).signature
    longer = max(len(one), len(other))
    for op, reached in (
        (Op.LEVENSHTEIN, distance.Levenshtein.distance(one, other)),
        (Op.DAMERAU, distance.OSA.distance(one, other)),
        (Op.STANDARDISED_LEVENSHTEIN, 1.0 - distance.Levenshtein.distance(one, other) / longer),
        (Op.JARO, distance.Jaro.similarity(one, other)),
        (Op.JARO_WINKLER, distance.JaroWinkler.similarity(one, other, prefix_weight=0.1)),
    ):
        assert not hopeless(signatures[0], signatures[1], OPS[op], float(reached))


def test_most_strangers_are_hopeless():
    rng = np.random.default_rng(2)
    names = ["".join(rng.choice(list("ABCDEFGHIJKLMNOPRSTUW"), 7)) for _ in range(60)]
    book = Codebook()
    added(book, pl.Series(names))
    signatures = spell(book, 0, Looks(measured=True), None).signature
    told = [hopeless(x, y, OPS[Op.LEVENSHTEIN], 2.0) for x in signatures[:30] for y in signatures[30:]]
    assert sum(told) > 0.8 * len(told)
