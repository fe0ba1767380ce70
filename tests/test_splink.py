"""Models of Splink against Splink itself: every condition, every pair, every weight."""

from __future__ import annotations

from typing import Any

import pytest
from splink import ColumnExpression
from splink import comparison_level_library as cll
from splink import comparison_library as library

from linker.model import Model
from linker.splink import read_splink
from tests.splink_oracle import LEFT, RIGHT, assert_same, settings, sql

cl: Any = library  # its annotations do not allow a ColumnExpression


def custom(*levels, name="custom"):
    return cl.CustomComparison([*levels, cll.ElseLevel()], output_column_name=name)


_LETTERS = r"regexp_extract({}, '([A-Z]+)(\d)', 2)"


def null(name):
    return cll.NullLevel(name)


COMPARISONS = {
    "exact": [cl.ExactMatch("f").configure(term_frequency_adjustments=True)],
    "levenshtein": [cl.LevenshteinAtThresholds("f", [1, 2, 4])],
    "damerau": [cl.DamerauLevenshteinAtThresholds("f", [1, 2, 4])],
    "jaccard": [cl.JaccardAtThresholds(ColumnExpression("f").nullif(""), [0.9, 0.5])],
    "jaro": [cl.JaroAtThresholds("f", [0.9, 0.8, 0.6])],
    "jaro_winkler": [cl.JaroWinklerAtThresholds("f", [0.9, 0.8, 0.7, 0.5])],
    "similarities_without_exact": [
        custom(null("f"), cll.JaroWinklerLevel("f", 0.8), cll.JaroLevel("f", 0.6)),
        custom(null("s"), cll.LevenshteinLevel("s", 0), cll.DamerauLevenshteinLevel("s", 1), name="other"),
    ],
    "hamming": [cl.DistanceFunctionAtThresholds("h", "hamming", [1, 2], higher_is_more_similar=False)],
    "pairwise": [
        cl.PairwiseStringDistanceFunctionAtThresholds("t", name, limits)
        for name, limits in {
            "jaro_winkler": [0.9, 0.6],
            "jaro": [0.9],
            "levenshtein": [1, 3],
            "damerau_levenshtein": [1],
        }.items()
    ],
    "times": [
        cl.AbsoluteTimeDifferenceAtThresholds(
            "stamp", input_is_string=True, metrics=["hour", "day", "month"], thresholds=[2, 1, 1]
        ),
        cl.AbsoluteTimeDifferenceAtThresholds(
            "at", input_is_string=False, metrics=["minute", "day"], thresholds=[60, 3]
        ),
    ],
    "dates": [
        cl.AbsoluteDateDifferenceAtThresholds(
            "day", input_is_string=False, metrics=["day", "year"], thresholds=[1, 1]
        ),
        cl.AbsoluteDateDifferenceAtThresholds(
            "dob",
            input_is_string=True,
            metrics=["day", "year"],
            thresholds=[1, 10],
            datetime_format="%Y-%m-%d",
        ),
    ],
    "arrays": [cl.ArrayIntersectAtSizes("t", [2, 1]), cl.ArrayIntersectAtSizes("k", [3, 1])],
    "subsets": [
        custom(null("k"), cll.ArraySubsetLevel("k")),
        custom(null("k"), cll.ArraySubsetLevel("k", empty_is_subset=True), name="or_empty"),
        custom(null("k"), cll.ExactMatchLevel("k"), name="in_order"),
    ],
    "kilometres": [cl.DistanceInKMAtThresholds("la", "lo", [1, 3, 5])],
    "birth": [
        cl.DateOfBirthComparison("dob", input_is_string=True),
        cl.DateOfBirthComparison("day", input_is_string=False),
    ],
    "postcode": [
        cl.PostcodeComparison("pc"),
        cl.PostcodeComparison("pc", lat_col="la", long_col="lo", km_thresholds=[1, 4]),
    ],
    "email": [cl.EmailComparison("em")],
    "name": [cl.NameComparison("f"), cl.NameComparison("s", dmeta_col_name="t")],
    "forename_surname": [
        cl.ForenameSurnameComparison("f", "s", forename_surname_concat_col_name="fs"),
        cl.ForenameSurnameComparison("f", "s"),
    ],
    "cosine": [cl.CosineSimilarityAtThresholds("v", [0.99, 0.9])],
    "reversed": [
        custom(null("f"), cll.ColumnsReversedLevel("f", "s", symmetrical=True)),
        custom(cll.ColumnsReversedLevel("f", "s"), name="one_way"),
    ],
    "numbers": [
        custom(null("x"), cll.PercentageDifferenceLevel("x", 0.1), cll.PercentageDifferenceLevel("x", 0.95)),
        custom(
            null("n"), cll.PercentageDifferenceLevel("n", 0.4), cll.AbsoluteDifferenceLevel("n", 2), name="n"
        ),
    ],
    "literals": [
        custom(cll.LiteralMatchLevel("g", "M", "string"), cll.LiteralMatchLevel("g", "F", "string", "left")),
        custom(cll.LiteralMatchLevel("n", "5", "int", "right"), name="int"),
        custom(cll.LiteralMatchLevel("x", "100.5", "float"), name="float"),
        custom(cll.LiteralMatchLevel("day", "1990-01-07", "date", "left"), name="date"),
    ],
    "and_or_not": [
        custom(
            null("f"),
            cll.And(cll.ExactMatchLevel("f"), cll.Not(cll.LevenshteinLevel("s", 1))),
            cll.Or(cll.ExactMatchLevel("s"), cll.Not(cll.ExactMatchLevel("g"))),
            cll.Not(cll.Or(cll.JaroWinklerLevel("f", 0.7), cll.NullLevel("dob"))),
            cll.Not(cll.And(cll.ExactMatchLevel("g"), cll.AbsoluteDifferenceLevel("n", 3))),
        ),
    ],
    "sql": [
        custom(
            sql("f_r is null and s_l is not null"),
            sql("levenshtein(f_r, f_l) < 2"),
            sql("0.6 < jaro_winkler_similarity(f_l, f_r)"),
            sql("\"G_l\" in ('M', 'F') and g_r <> 'M'"),
            sql("NOT (f_l IS NULL OR f_r IS NULL) AND s_l IS NULL") | {"is_null_level": True},
            sql(rf"{_LETTERS.format('upper(pc_l)')} = {_LETTERS.format('upper(pc_r)')}"),
            sql("substr(f_l, 1, 1) || right(s_l, 2) = left(f_r, 1) || right(s_r, 2)"),
            sql("t_l[1] = t_r[-1] OR trim(coalesce(f_l, pc_l)) = trim(coalesce(f_r, pc_r))"),
        ),
    ],
    "limits_that_always_hold": [
        custom(
            null("f"),
            sql("jaro_winkler_similarity(f_l, f_r) < 0"),
            sql("jaro_similarity(s_l, s_r) >= 0 and g_l = g_r"),
            sql("jaro_similarity(f_l, f_r) >= -0.5"),
        ),
    ],
    "columns": [
        cl.ExactMatch(ColumnExpression("f").lower()),
        cl.JaroWinklerAtThresholds(ColumnExpression("s").substr(1, 4), [0.8]),
        cl.LevenshteinAtThresholds(ColumnExpression("n").cast_to_string(), 1),
        cl.LevenshteinAtThresholds(ColumnExpression("day").cast_to_string(), 2),
        cl.LevenshteinAtThresholds(ColumnExpression("at").cast_to_string(), 3),
        cl.LevenshteinAtThresholds(ColumnExpression("x").cast_to_string(), 1),
        cl.ExactMatch(ColumnExpression("t").access_extreme_array_element("last")),
        cl.ExactMatch("UPPER(f) || s"),
        cl.ExactMatch("x"),
        cl.ExactMatch("t"),
    ],
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_pair_has_the_weight_that_splink_gives_it(name):
    given = settings(COMPARISONS[name], seed=len(name))
    assert_same(given, LEFT, RIGHT)
    # What is read is written and read back without loss.
    model = read_splink(given)
    assert Model.from_json(model.to_json()).digest == model.digest
