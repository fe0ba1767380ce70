"""What Splink calls its distances: SQL with holes for pieces of the two records, and what each is here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sqlglot import exp

from linker.conditions import Op
from linker.sources import Make
from linker.splink_sql import parsed


@dataclass(frozen=True)
class Measure:
    """A distance or similarity as SQL writes it.

    Attributes:
        sql: with holes for the pieces of the records; all of one kind in an even number of holes.
        op: what it is.
        make: what a record's pieces become.
        scale: limits are multiplied by it.
        more: and this is added.
    """

    sql: str
    op: Op
    make: Make | None = None
    scale: float = 1.0
    more: float = 0.0


DISTANCES = {
    Op.LEVENSHTEIN, Op.UNRESTRICTED_DAMERAU, Op.HAMMING, Op.DIFFERENCE, Op.PERCENTAGE, Op.KILOMETRES,
    Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU,
}  # fmt: skip
WHOLE = {
    Op.LEVENSHTEIN, Op.UNRESTRICTED_DAMERAU, Op.HAMMING, Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU, Op.COMMON,
}  # fmt: skip
# Of a list without elements the best is null, and so is what NOT makes of it.
NULL_OF_VALUES = {Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU, Op.BEST_JARO_WINKLER, Op.BEST_JARO}

_COSINE_OF_ARC = (
    "sin(radians(__a)) * sin(radians(__c)) + cos(radians(__a)) * cos(radians(__c)) * cos(radians(__d - __b))"
)
_KILOMETRES = (
    f"cast(acos(case when ({_COSINE_OF_ARC}) > 1 then 1 when ({_COSINE_OF_ARC}) < -1 then -1 "
    f"else ({_COSINE_OF_ARC}) end) * 6371 as float)"
)
_DUCKDB_PAIRS = "list_transform(flatten(list_transform(__a, x -> list_transform(__b, y -> [x, y]))), {each})"
_SPARK_PAIRS = "transform(flatten(transform(__a, x -> transform(__b, y -> [x, y]))), {each})"
_SPARK_COSINE = (
    "(aggregate(zip_with(__a, __b, (x, y) -> x * y), CAST(0.0 AS DOUBLE), (acc, x) -> acc + x)) / (nullif("
    "(sqrt(aggregate(transform(__a, x -> x * x), CAST(0.0 AS DOUBLE), (acc, x) -> acc + x))) * "
    "(sqrt(aggregate(transform(__b, x -> x * x), CAST(0.0 AS DOUBLE), (acc, x) -> acc + x))), 0.0))"
)

_BOTH = (
    Measure("levenshtein(__a, __b)", Op.LEVENSHTEIN),
    Measure("damerau_levenshtein(__a, __b)", Op.UNRESTRICTED_DAMERAU),
    Measure("jaccard(__a, __b)", Op.CHARACTER_JACCARD),
    Measure("hamming(__a, __b)", Op.HAMMING),
    Measure("ABS(__a - __b)", Op.DIFFERENCE, Make.NUMBER),
    Measure("ABS(__a - __b) / (CASE WHEN __b > __a THEN __b ELSE __a END)", Op.PERCENTAGE, Make.NUMBER),
    Measure(_KILOMETRES, Op.KILOMETRES, Make.POINT),
    Measure("array_length(array_intersect(__a, __b))", Op.COMMON, Make.ELEMENTS, more=1.0),
)
_PAIRED = (
    ("levenshtein", "levenshtein", "min", Op.BEST_LEVENSHTEIN),
    ("damerau_levenshtein", "damerau_levenshtein", "min", Op.BEST_DAMERAU),
    ("jaro_winkler_similarity", "jaro_winkler", "max", Op.BEST_JARO_WINKLER),
    ("jaro_similarity", "jaro_sim", "max", Op.BEST_JARO),
)
_MEASURES = {
    "duckdb": (
        Measure("ABS(EPOCH(__a) - EPOCH(__b))", Op.DIFFERENCE, Make.SECONDS),
        *_BOTH,
        Measure("jaro_winkler_similarity(__a, __b)", Op.JARO_WINKLER),
        Measure("jaro_similarity(__a, __b)", Op.JARO),
        Measure("editdist3(__a, __b)", Op.LEVENSHTEIN),
        Measure("mismatches(__a, __b)", Op.HAMMING),
        Measure("array_length(list_intersect(__a, __b))", Op.COMMON, Make.ELEMENTS, more=1.0),
        Measure("len(list_intersect(__a, __b))", Op.COMMON, Make.ELEMENTS, more=1.0),
        Measure(
            "1 - levenshtein(__a, __b) / greatest(strlen(__a), strlen(__b))", Op.STANDARDISED_LEVENSHTEIN
        ),
        Measure("array_cosine_similarity(__a, __b)", Op.COSINE, Make.VECTOR),
        Measure("list_cosine_similarity(__a, __b)", Op.COSINE, Make.VECTOR),
        *(
            Measure(
                f"list_{best}({_DUCKDB_PAIRS.format(each=f'pair -> {name}(pair[1], pair[2])')})",
                op,
                Make.ELEMENTS,
            )
            for name, _, best, op in _PAIRED
        ),
    ),
    "spark": (
        Measure("ABS(UNIX_TIMESTAMP(__a) - UNIX_TIMESTAMP(__b))", Op.DIFFERENCE, Make.SECONDS),
        Measure("abs(datediff(__a, __b))", Op.DIFFERENCE, Make.DAY, scale=86400.0),
        *_BOTH,
        Measure("jaro_winkler(__a, __b)", Op.JARO_WINKLER),
        Measure("jaro_sim(__a, __b)", Op.JARO),
        Measure("SIZE(ARRAY_INTERSECT(__a, __b))", Op.COMMON, Make.ELEMENTS, more=1.0),
        Measure(_SPARK_COSINE, Op.COSINE, Make.VECTOR),
        *(
            Measure(
                f"array_{best}({_SPARK_PAIRS.format(each=f'pair -> {name}(pair[0], pair[1])')})",
                op,
                Make.ELEMENTS,
            )
            for _, name, best, op in _PAIRED
        ),
    ),
}
_SMALLER_LIST = "LEAST(ARRAY_SIZE(__a), ARRAY_SIZE(__b))"
SUBSET = f"ARRAY_SIZE(ARRAY_INTERSECT(__a, __b)) = {_SMALLER_LIST}"
NOT_EMPTY = f"{_SMALLER_LIST} <> 0"


@lru_cache
def templates(dialect: str) -> tuple[tuple[exp.Expr, Measure], ...]:
    """The trees of a dialect's measures."""
    return tuple((parsed(one.sql, dialect), one) for one in _MEASURES[dialect])


@lru_cache
def list_template(sql: str, dialect: str) -> exp.Expr:
    """The tree of what is said of two lists, in a dialect."""
    return parsed(sql.replace("ARRAY_SIZE", "SIZE" if dialect == "spark" else "ARRAY_LENGTH"), dialect)
