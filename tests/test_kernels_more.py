"""The further measures, and what is read from text, against DuckDB's own functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import distance

from linker import kernels, kernels_more
from linker.conditions import exact, missing
from linker.errors import ModelError
from linker.model import Comparison, Level, Model
from linker.raw import model_columns
from linker.sources import Make, Raw, Source, column
from linker.splink import read_splink
from linker.strptime import seconds_of
from tests.test_kernels import ANY_PAIRS, RUBBISH, UNJOINED_PAIRS, call


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")
        yield connection


def ask(database: duckdb.DuckDBPyConnection, sql: str, *values: object) -> Any:
    ((found,),) = database.execute(f"SELECT {sql}", list(values)).fetchall()
    return found


def in_bytes(function: Any, left: str, right: str) -> Any:
    """A kernel on the bytes of two texts, without scratch where it needs none."""
    one, other = left.encode(), right.encode()
    chars = np.frombuffer(one + other + b"\0", np.uint8).astype(np.uint32)
    middle, end = len(one), len(one) + len(other)
    # A character can have four bytes: the scratch is as long as these texts need it, and no longer.
    scratch = np.resize(RUBBISH, kernels.scratch_size(max(len(one), len(other))))
    more = () if function in (kernels_more.hamming, kernels_more.character_jaccard) else (scratch,)
    return function(chars, 0, middle, middle, end, *more)


PAIRS = st.one_of(UNJOINED_PAIRS, ANY_PAIRS).filter(lambda pair: "\0" not in pair[0] + pair[1])


@settings(max_examples=300, deadline=None)
@given(PAIRS)
def test_bytes_are_counted_as_duckdb_counts_them(database, pair):
    left, right = pair
    for sql, function in {
        "levenshtein": kernels.levenshtein,
        "damerau_levenshtein": kernels_more.damerau,
        "jaro_similarity": kernels.jaro,
        "jaro_winkler_similarity": kernels.jaro_winkler,
    }.items():
        if left or right or function not in (kernels.jaro, kernels.jaro_winkler):
            assert in_bytes(function, left, right) == ask(database, f"{sql}(?, ?)", left, right), sql
    if left and right:
        expected = ask(database, "jaccard(?, ?)", left, right)
        assert in_bytes(kernels_more.character_jaccard, left, right) == expected
        if len(left.encode()) == len(right.encode()):
            expected = ask(database, "hamming(?, ?)", left, right)
            assert in_bytes(kernels_more.hamming, left, right) == expected


def test_what_duckdb_counts():
    assert [in_bytes(kernels_more.damerau, "CA", "ABC"), in_bytes(kernels.damerau_osa, "CA", "ABC")] == [2, 3]
    assert in_bytes(kernels.levenshtein, "é", "e") == 2
    assert in_bytes(kernels.levenshtein, "é", "è") == 1
    assert math.isnan(in_bytes(kernels_more.character_jaccard, "", "a"))
    assert math.isnan(in_bytes(kernels_more.hamming, "ab", "abc"))


@settings(max_examples=300, deadline=None)
@given(PAIRS)
def test_unrestricted_distance_of_code_points(pair):
    assert call(kernels_more.damerau, *pair) == distance.DamerauLevenshtein.distance(*pair)
    assert call(kernels_more.damerau, *pair) == call(kernels_more.damerau, *reversed(pair))


LISTS = st.lists(st.text("ABÉ", max_size=5), max_size=4)


@settings(max_examples=200, deadline=None)
@given(LISTS, LISTS)
def test_the_best_of_two_lists(database, left, right):
    texts = ["\x1f".join(["\0", *values]) for values in (left, right)]
    pairs = "flatten(list_transform(?::varchar[], x -> list_transform(?::varchar[], y -> [x, y])))"
    for name, best, measure in (
        ("levenshtein", "min", kernels_more.BEST_LEVENSHTEIN),
        ("damerau_levenshtein", "min", kernels_more.BEST_DAMERAU),
        ("jaro_winkler_similarity", "max", kernels_more.BEST_JARO_WINKLER),
        ("jaro_similarity", "max", kernels_more.BEST_JARO),
    ):
        sql = f"list_{best}(list_transform({pairs}, pair -> {name}(pair[1], pair[2])))"
        expected = ask(database, sql, left, right)
        found = in_bytes(lambda *args, which=measure: kernels_more.best(which, *args), *texts)
        assert found == expected or (math.isnan(found) and expected is None)


NUMBERS = (
    st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-30) | st.integers(-3, 3).map(float) | st.just(-0.0)
)


@settings(max_examples=200, deadline=None)
@given(NUMBERS, NUMBERS)
def test_percentage_divides_as_splink_does(database, x, y):
    sql = "(ABS(a - b) / (CASE WHEN b > a THEN b ELSE a END)) FROM (SELECT ?::double AS a, ?::double AS b)"
    expected = ask(database, sql, x, y)
    found = kernels_more.percentage(x, y)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
def test_cosine_to_the_last_bit(database, numbers):
    left, right = ([pair[side] for pair in numbers] for side in (0, 1))
    size = len(left)
    expected = ask(database, f"array_cosine_similarity(?::double[{size}], ?::double[{size}])", left, right)
    found = kernels_more.cosine(np.array(left + right), 0, size, size, 2 * size)
    assert found == (math.inf if math.isnan(expected) else expected)


@settings(max_examples=200, deadline=None)
@given(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_kilometres_are_those_of_splink(database, point, north, east):
    la, lo = point
    along = "cos(radians(a)) * cos(radians(c)) * cos(radians(d - b))"
    arc = f"(sin(radians(a)) * sin(radians(c)) + {along})"
    sql = f"cast(acos(case when {arc} > 1 then 1 when {arc} < -1 then -1 else {arc} end) * 6371 as float)"
    places = "SELECT ?::double AS a, ?::double AS b, ?::double AS c, ?::double AS d"
    other = la + north, lo + east
    expected = ask(database, f"{sql} FROM ({places})", la, lo, *other)
    assert kernels_more.kilometres(np.array([la, lo, *other]), 0, 2) == expected


FORMATS = (
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%Y%m%d",
    "%d %b %y",
    "%Y-%m-%dT%H:%M:%SZ",
    "%d %B %Y %H:%M",
    "%Y-%m-%d %H:%M:%S.%f",
)


@st.composite
def stamps(draw: st.DrawFn, form: str) -> str:
    number = st.integers(0, 32).map(str) | st.integers(0, 32).map("{:02d}".format)
    year = st.integers(0, 9999).map(str) | st.integers(1896, 2030).map(str)
    text = form
    for directive, values in {
        "%Y": year,
        "%m": st.integers(0, 13).map(str),
        **dict.fromkeys(["%y", "%d", "%H", "%M", "%S"], number),
        "%b": st.sampled_from(["Jan", "feb", "MAY", "Sept"]),
        "%B": st.sampled_from(["January", "may", "Jun"]),
        "%f": st.integers(0, 9999999).map(str),
    }.items():
        text = text.replace(directive, draw(values))
    return draw(st.sampled_from(["", "", " ", "\t"])) + text + draw(st.sampled_from(["", "", " ", "1", "x"]))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(FORMATS))
def test_dates_are_read_as_duckdb_reads_them(database, data, form):
    texts = data.draw(
        st.lists(
            stamps(form)
            | st.sampled_from(["infinity", " -Infinity\t", "EPOCH", "epoch x", "inf"])
            | st.text(max_size=12).filter(lambda text: "\0" not in text),
            min_size=1,
        )
    )
    table = pl.DataFrame({"text": texts})
    database.register("stamps", table.to_arrow())
    expected = database.execute(f"SELECT epoch(try_strptime(text, '{form}')) FROM stamps").fetchall()
    assert seconds_of(table["text"], form).to_list() == [value for (value,) in expected]


def test_a_format_that_is_not_known_is_refused():
    with pytest.raises(ModelError, match="%A"):
        seconds_of(pl.Series(["x"]), "%A %d")


STEPS = {
    "lower(t)": Source(Make.LOWER, (column("t"),)),
    "upper(t)": Source(Make.UPPER, (column("t"),)),
    "trim(t)": Source(Make.TRIM, (column("t"),)),
    "substring(t, 2, 3)": Source(Make.SUBSTRING, (column("t"),), (2, 3)),
    "right(t, 2)": Source(Make.LAST, (column("t"),), (2,)),
    "nullif(t, '')": Source(Make.NULLIF, (column("t"),), ("",)),
    "t || 'é' || t": Source(
        Make.JOIN, (Source(Make.JOIN, (column("t"), Source(Make.LITERAL, (), ("é",)))), column("t"))
    ),
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.text(max_size=9).filter(lambda text: "\0" not in text), min_size=1, max_size=40)
)
def test_pieces_of_text_are_those_of_duckdb(database, texts):
    table = pl.DataFrame({"t": pl.Series(texts, dtype=pl.String)})
    database.register("pieces", table.to_arrow())
    for sql, source in STEPS.items():
        expected = [value for (value,) in database.execute(f"SELECT {sql} FROM pieces").fetchall()]
        assert made(source, table) == expected, sql


def made(source: Source, table: pl.DataFrame) -> list[Any]:
    name = source.name
    comparison = Comparison("one", missing(name), (Level("same", exact(name)), Level("other", None)))
    model = Model((comparison,), (), 0.5, raw=Raw({name: source}, "id"))
    return model_columns(model, [table])[0][name].to_list()


PATTERNS = (
    "^[A-Za-z]{1,2}[0-9][A-Za-z0-9]? [0-9]", "^[A-Za-z]{1,2}", "^[^@]+", r"\d+", r"[\d\s]+", r"\w+", r"\W",
    r"\D+x", "a.b", "b$", r"(a|b)(\s*)", "[é-ü]+", "[[a]",
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abé@AB 12\n_xü[٣", max_size=9), min_size=1, max_size=30), st.sampled_from(PATTERNS))
def test_regular_expressions_mean_what_they_mean_to_duckdb(database, texts, pattern):
    table = pl.DataFrame({"t": texts})
    database.register("extracts", table.to_arrow())
    expected = database.execute(f"SELECT regexp_extract(t, '{pattern}', 0) FROM extracts").fetchall()
    sql = f"regexp_extract(t_l, '{pattern}', 0) = regexp_extract(t_r, '{pattern}', 0)"
    levels = [{"sql_condition": sql}, {"sql_condition": "ELSE"}]
    model = read_splink({"comparisons": [{"output_column_name": "t", "comparison_levels": levels}]})
    (name,) = [name for name in model_columns(model, [table])[0].columns if name.startswith("extract")]
    assert model_columns(model, [table])[0][name].to_list() == [value for (value,) in expected]
