"""The digest of a table: the written definition in plain Python is the oracle."""

from __future__ import annotations

import hashlib
import json
import struct

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.digest import digest

WORD = 2**64
KINDS = {pl.String(): "text", pl.Float64(): "number"}


def mixed(word: int) -> int:
    word = (word ^ (word >> 33)) * 0xFF51AFD7ED558CCD % WORD
    word = (word ^ (word >> 33)) * 0xC4CEB9FE1A85EC53 % WORD
    return word ^ (word >> 33)


def by_definition(frame: pl.DataFrame) -> str:
    sums = [0, 0]
    for row in frame.iter_rows(named=True):
        one = other = 0
        for name, value in row.items():
            seed = hashlib.sha256(f"{KINDS[frame.schema[name]]} {name}".encode()).digest()
            a, b = struct.unpack("<QQ", seed[:16])
            content = (
                b""
                if value is None
                else value.encode()
                if isinstance(value, str)
                else struct.pack("<d", value)
            )
            for byte in content:
                a = (a ^ byte) * 0x100000001B3 % WORD
                b = (b ^ byte) * 0x9E3779B97F4A7C15 % WORD
            size = 0 if value is None else len(content) + 1
            one, other = (one + mixed(a ^ size)) % WORD, (other + mixed((b + size) % WORD)) % WORD
        sums[0] += mixed(one ^ mixed(other))
        sums[1] += mixed((other + 0x9E3779B97F4A7C15) % WORD)
    columns = sorted([name, KINDS[kind]] for name, kind in frame.schema.items())
    told = [frame.height, columns, [f"{one % WORD:016x}" for one in sums] if frame.height else []]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


TEXT = st.none() | st.text(max_size=5)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.none() | st.floats(allow_nan=False)), max_size=12)
SCHEMA = {"surname": pl.String, "né": pl.String, "weight": pl.Float64}


@given(ROWS, st.integers(1, 5), st.integers(1, 3))
def test_it_is_the_written_definition_whatever_the_chunks_and_threads(rows, chunk_rows, threads):
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    assert digest(frame, chunk_rows=chunk_rows, threads=threads) == by_definition(frame)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_says_nothing(rows, random):
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    order = random.sample(range(len(rows)), len(rows))
    assert digest(frame[order].select(random.sample(list(SCHEMA), 3))) == digest(frame)


@pytest.mark.parametrize(
    "changed",
    [
        pl.col("a").replace("y", "Y"),
        pl.col("a").replace("y", None),
        pl.col("b").fill_null(""),
        pl.col("a").reverse(),  # all values are there, in other rows
        pl.col("w").replace(2.0, 2.0000000000000004),
    ],
)
def test_any_changed_cell_changes_it(changed):
    frame = pl.DataFrame({"a": ["x", "y", "yz"], "b": ["", None, "x"], "w": [1.0, 2.0, None]})
    assert digest(frame.with_columns(changed)) != digest(frame)


def test_what_is_a_change():
    frame = pl.DataFrame({"a": ["x", "y"], "b": ["y", "x"]})
    twice = pl.concat([frame, frame])
    others = [
        frame.rename({"a": "b", "b": "a"})[:1],  # the same cells under the other column's name
        frame[:1],
        twice,
        pl.concat([twice, frame]),
        pl.DataFrame({"a": ["x", "x"], "b": ["y", "y"]}),
        pl.DataFrame({"a": ["xy", ""], "b": ["", "xy"]}),  # the bytes of a row run together the same
        frame.with_columns(c=pl.lit(None, pl.String)),
        frame.cast({"a": pl.String}).with_columns(b=pl.lit(None, pl.Float64)),
        frame.clear(),
    ]
    assert len({digest(one) for one in [frame, *others]}) == len(others) + 1
