"""The engine in plain Python, from what its documents say: strings, loops, other people's distances.

Shared by the engine's tests. Records are dictionaries of standard columns; None is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any as Value

import numpy as np
import polars as pl
from hypothesis import strategies as st
from rapidfuzz import distance

from linker.block import block
from linker.conditions import All, Any, Condition, Not, Op, Test
from linker.encode import Encoded, encode
from linker.model import BlockingRule, Comparison, Level, Model, TermFrequencies
from linker.predict import Scored, scan_candidates
from linker.program import compile_tests, compile_weights

Record = Mapping[str, Value]

# Two texts that are compared with each other, a third on its own, two lists of words, two numbers.
TEXTS, LISTS, NUMBERS = ("a", "b", "c"), ("t", "s"), ("n", "d")
SCHEMA = pl.Schema(
    dict.fromkeys(TEXTS, pl.String)
    | dict.fromkeys(LISTS, pl.List(pl.String))
    | {"n": pl.Float64, "d": pl.Int32}
)


def holds(condition: Condition, left: Record, right: Record) -> bool:
    match condition:
        case All(of=parts):
            return all(holds(part, left, right) for part in parts)
        case Any(of=parts):
            return any(holds(part, left, right) for part in parts)
        case Not(of=part):
            return not holds(part, left, right)
        case Test(op, name, other, limit):
            return _test(op, left[name], right[other], limit)


def _test(op: Op, x: Value, y: Value, limit: float) -> bool:
    if op is Op.MISSING:
        return x is None or y is None
    if x is None or y is None:
        return False
    if isinstance(x, list):
        x, y = set(x), set(y)
    if op in (Op.JARO_WINKLER, Op.JARO) and x == y == "":
        return limit <= 0.0  # as DuckDB has it; standard columns hold no empty text
    match op:
        case Op.EXACT:
            return bool(x == y)
        case Op.JARO_WINKLER:
            return distance.JaroWinkler.similarity(x, y, prefix_weight=0.1) >= limit
        case Op.JARO:
            return distance.Jaro.similarity(x, y) >= limit
        case Op.LEVENSHTEIN:
            return distance.Levenshtein.distance(x, y) <= limit
        case Op.DAMERAU:
            return distance.OSA.distance(x, y) <= limit
        case Op.STANDARDISED_LEVENSHTEIN:
            longer = max(len(x), len(y))
            return longer == 0 or 1.0 - distance.Levenshtein.distance(x, y) / longer >= limit
        case Op.COMMON:
            return len(x & y) >= limit
        case Op.SUBSET:
            return (x <= y or y <= x) and min(len(x), len(y)) >= limit
        case Op.JACCARD:
            return len(x & y) / len(x | y) >= limit
        case Op.DIFFERENCE:
            return bool(abs(x - y) <= limit)
        case Op.RELATIVE_DIFFERENCE:
            larger = max(abs(x), abs(y))
            return larger == 0 or bool(abs(x - y) / larger <= limit)
        case Op.UNRESTRICTED_DAMERAU:
            return distance.DamerauLevenshtein.distance(x, y) <= limit
        case Op.HAMMING:
            return 0 < len(x) == len(y) and distance.Hamming.distance(x, y) <= limit
        case Op.CHARACTER_JACCARD:
            return bool(x and y) and len(set(x) & set(y)) / len(set(x) | set(y)) >= limit
        case Op.PERCENTAGE:
            larger = max(x, y)
            if larger == 0:  # a number above 0 divided by it is infinite, 0 is nothing
                return False
            return bool(abs(x - y) / larger <= limit)
        case Op.BEST_LEVENSHTEIN:
            return min(distance.Levenshtein.distance(one, other) for one in x for other in y) <= limit
        case Op.BEST_DAMERAU:
            return min(distance.DamerauLevenshtein.distance(one, other) for one in x for other in y) <= limit
        case Op.BEST_JARO_WINKLER:
            return max(distance.JaroWinkler.similarity(one, other) for one in x for other in y) >= limit
        case Op.BEST_JARO:
            return max(distance.Jaro.similarity(one, other) for one in x for other in y) >= limit
        case _:
            raise NotImplementedError(op)


def reached(comparison: Comparison, left: Record, right: Record) -> int:
    """0 for the null level, else the number of the level, from 1."""
    if holds(comparison.null, left, right):
        return 0
    for number, level in enumerate(comparison.levels, start=1):
        if level.condition is None or holds(level.condition, left, right):
            return number
    raise AssertionError("the last level takes what no other took")


def weight(model: Model, left: Record, right: Record) -> float:
    total = math.log2(model.prior) - math.log2(1.0 - model.prior)
    kin = model.kin / (1.0 - model.kin)
    for comparison in model.comparisons:
        code = reached(comparison, left, right)
        if code == 0:
            continue
        level = comparison.levels[code - 1]
        assert level.m is not None
        assert level.u is not None
        total += math.log2(level.m) - math.log2(level.u)
        gain = 0.0
        if level.tf is not None:
            gain = level.tf_weight * _frequency_gain(model, comparison, level.tf, left, right)
        total += gain
        if level.kin is not None:
            kin *= level.kin / level.u * 2.0**gain
    return total - math.log2(1.0 + kin)


def _frequency_gain(model: Model, comparison: Comparison, column: str, left: Record, right: Record) -> float:
    table, base = model.frequencies[column], comparison.levels[0].u
    assert base is not None
    known = [value for value in (left[column], right[column]) if value is not None]
    if not known:
        return 0.0
    return math.log2(base) - math.log2(max(table.values.get(value, table.rare) for value in known))


def producer(rules: Sequence[BlockingRule], left: Record, right: Record) -> int | None:
    """Position of the first rule that holds the pair."""
    for k, rule in enumerate(rules):
        if all(_test(Op.EXACT, left[a], right[b], 0.0) for a, b in rule.columns):
            return k
    return None


def all_pairs(left: Sequence[Record], right: Sequence[Record] | None) -> list[tuple[int, int]]:
    """Rows of every pair there is; within one set the earlier row stands left."""
    if right is None:
        return [(i, j) for j in range(len(left)) for i in range(j)]
    return [(i, j) for i in range(len(left)) for j in range(len(right))]


def frame(records: Sequence[Record]) -> pl.DataFrame:
    return pl.DataFrame(list(records), SCHEMA, orient="row")


def encoded(model: Model, left: Sequence[Record], right: Sequence[Record] | None = None) -> Encoded:
    return encode(frame(left), None if right is None else frame(right), model)


def scan(
    model: Model,
    left: Sequence[Record],
    right: Sequence[Record] | None = None,
    cut: float = -math.inf,
    **options: Value,
) -> Scored:
    """What the engine makes of standard columns, from codes to scored candidates."""
    codes = encoded(model, left, right)
    tests, weights = compile_tests(model.comparisons, codes), compile_weights(model, codes)
    return scan_candidates(codes, block(model.rules, codes), tests, weights, cut, **options)


def same(one: Scored, other: Scored) -> bool:
    """Bit for bit."""
    names = ("left", "right", "weight", "pattern", "rule")
    return one.compared == other.compared and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in names
    )


# --- what Hypothesis draws -----------------------------------------------------------------------

# Few letters and few lengths, so that near misses are common; accents and an astral sign; above 64 too.
words = st.one_of(
    st.text("ABÉ", max_size=4),
    st.text("ANOR", min_size=3, max_size=8),
    st.sampled_from(["MARTHA", "MARHTA", "DIXON", "DICKSONX", "𝔸B", "B𝔸", "A" * 70, "A" * 69 + "B"]),
)
_values = {
    **dict.fromkeys(TEXTS, st.none() | words),
    **dict.fromkeys(LISTS, st.none() | st.lists(st.sampled_from("PQRSTÉ"), min_size=1, max_size=5)),
    "n": st.none() | st.integers(-6, 6).map(lambda n: n / 4),
    "d": st.none() | st.integers(0, 40),
}
people = st.fixed_dictionaries(_values)


def crowds(least: int = 1, most: int = 7) -> st.SearchStrategy[list[dict[str, Value]]]:
    """Sets of records in which many values repeat."""
    pools: dict[str, list[Value]] = {
        "a": ["ANNA", "ANNE", "NORA"],
        "b": ["NORA", "ANNA", "B"],
        "c": ["AB", "BA"],
        "t": [["P", "Q"], ["Q", "P", "P"], ["R"]],
        "s": [["P"], ["R", "Q"]],
        "n": [0.0, 1.5],
        "d": [3, 30],
    }
    few = st.fixed_dictionaries({name: st.none() | st.sampled_from(pool) for name, pool in pools.items()})
    return st.lists(people | few, min_size=least, max_size=most)


# Limits of similarities lie where no two short strings stand: a tie is tested by itself.
_similar = st.sampled_from([0.3501, 0.5003, 0.7003, 0.8003, 0.9003, 0.9203])
_limits = {
    Op.MISSING: st.just(0.0),
    Op.EXACT: st.just(0.0),
    Op.JARO_WINKLER: _similar,
    Op.JARO: _similar,
    Op.LEVENSHTEIN: st.integers(0, 4).map(float),
    Op.DAMERAU: st.integers(0, 4).map(float),
    Op.STANDARDISED_LEVENSHTEIN: _similar,
    Op.COMMON: st.integers(1, 3).map(float),
    Op.SUBSET: st.integers(0, 3).map(float),
    Op.JACCARD: _similar,
    Op.DIFFERENCE: st.sampled_from([0.0, 0.25, 1.0, 7.0]),
    Op.RELATIVE_DIFFERENCE: st.sampled_from([0.0503, 0.3503, 0.9003]),
    Op.PERCENTAGE: st.sampled_from([0.0503, 0.3503, 0.9003]),
    Op.CHARACTER_JACCARD: _similar,
    Op.BEST_JARO_WINKLER: _similar,
    Op.BEST_JARO: _similar,
    **dict.fromkeys(
        (Op.UNRESTRICTED_DAMERAU, Op.HAMMING, Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU),
        st.integers(0, 4).map(float),
    ),
}
_TEXT_OPS = (
    Op.JARO_WINKLER, Op.JARO, Op.LEVENSHTEIN, Op.DAMERAU, Op.STANDARDISED_LEVENSHTEIN,
    Op.UNRESTRICTED_DAMERAU, Op.HAMMING, Op.CHARACTER_JACCARD,
)  # fmt: skip
_LIST_OPS = (
    Op.COMMON, Op.SUBSET, Op.JACCARD,
    Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU, Op.BEST_JARO_WINKLER, Op.BEST_JARO,
)  # fmt: skip
_columns: dict[Op, list[tuple[str, str]]] = {
    **{op: [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"), ("c", "c")] for op in _TEXT_OPS},
    **{key: [("t", "t"), ("t", "s"), ("s", "t"), ("s", "s")] for key in _LIST_OPS},
    **{key: [("n", "n"), ("d", "d")] for key in (Op.DIFFERENCE, Op.RELATIVE_DIFFERENCE, Op.PERCENTAGE)},
    **dict.fromkeys((Op.MISSING, Op.EXACT), [(x, x) for x in SCHEMA] + [("a", "b"), ("t", "s"), ("s", "t")]),
}


@st.composite
def tests(draw: st.DrawFn) -> Test:
    op = draw(st.sampled_from(list(_columns)))
    left, right = draw(st.sampled_from(_columns[op]))
    return Test(op, left, right, draw(_limits[op]))


def _joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return several.map(All) | several.map(Any) | parts.map(Not)


conditions = st.recursive(tests(), _joined, max_leaves=6)
_shares = st.floats(1e-6, 1.0, exclude_min=False)


@st.composite
def comparisons(draw: st.DrawFn, name: str = "one") -> Comparison:
    conditional = draw(st.lists(conditions, max_size=4))
    levels = tuple(
        Level(
            f"level {k}",
            condition,
            draw(_shares),
            draw(_shares),
            draw(st.none() | st.sampled_from(TEXTS)),
            draw(st.sampled_from([0.0, 0.5, 1.0])),
        )
        for k, condition in enumerate([*conditional, None])
    )
    return Comparison(name, draw(conditions), levels)


# Within one set a rule across columns says which record stands left; these read the same both ways.
symmetric_rules = st.lists(
    st.sampled_from(
        [
            (("a", "a"),),
            (("b", "b"), ("c", "c")),
            (("t", "t"),),
            (("n", "n"),),
            (("d", "d"), ("a", "a")),
            (("a", "b"), ("b", "a")),
        ]
    ).map(BlockingRule),
    max_size=4,
).map(tuple)
rules = st.lists(
    st.lists(
        st.sampled_from([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"), ("c", "c"), ("t", "t"), ("d", "d")]),
        min_size=1,
        max_size=3,
        unique=True,
    ).map(lambda columns: BlockingRule(tuple(columns))),
    max_size=4,
).map(tuple)


@st.composite
def models(draw: st.DrawFn, rules: st.SearchStrategy[tuple[BlockingRule, ...]] = rules) -> Model:
    many = draw(st.integers(1, 4))
    frequencies = st.builds(TermFrequencies, st.dictionaries(words, _shares, max_size=4), _shares)
    return Model(
        tuple(draw(comparisons(f"comparison {k}")) for k in range(many)),
        draw(rules),
        draw(st.floats(1e-9, 0.999)),
        {name: draw(frequencies) for name in TEXTS},
    )
