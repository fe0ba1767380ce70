"""Why a family is shared or is not, in plain words, for the council's own record: it never leaves.

Shared. 2 of 6 problems on 2024-12-31, and 2 are enough: School absence problems (1 member); Children in need
(2 members; on child protection plans).
"""

from __future__ import annotations

from datetime import date

import polars as pl

from pseudonym.study.eligibility import Outcome
from pseudonym.study.schemes import Problem, Scheme

_HEADS = {
    Outcome.ELIGIBLE: "Shared.",
    Outcome.BELOW: "Not shared.",
    Outcome.UNDECIDED: "Not shared, and not decided: rows of the family were refused. Correct them first.",
    Outcome.WITHDRAWN: "Not shared: all members are left out, for they withdrew or objected.",
    Outcome.NOBODY: "Not shared: nobody belongs to the family on that day.",
}


def explain(families: pl.DataFrame, scheme: Scheme, day: date) -> pl.DataFrame:
    """Explain what was decided about families.

    Args:
        families: as `eligibility.decide` gives them.
        scheme: what they were decided by.
        day: of the delivery.

    Returns:
        `family`, `outcome`, `problems`, `minimum` and `why`, one row a family, in order.
    """
    head = pl.col("outcome").replace_strict(
        [outcome.value for outcome in _HEADS], list(_HEADS.values()), return_dtype=pl.String
    )
    counted = pl.format(
        f" {{}} of {len(scheme.problems)} problems on {day}, and {scheme.minimum} are enough", "problems"
    )
    told = pl.concat_str(
        [_problem(problem) for problem in scheme.problems], separator="; ", ignore_nulls=True
    )
    any_told = pl.when(pl.col("problems") > 0).then(": " + told + ".").otherwise(pl.lit("."))
    left_out = pl.when((pl.col("withdrawn") > 0) & (pl.col("members") > 0)).then(
        pl.format(" {} left out, who withdrew or objected, and counted for nothing.", _members("withdrawn"))
    )
    refused = pl.when((pl.col("refused") > 0) & (pl.col("outcome") == Outcome.ELIGIBLE)).then(
        pl.format(" Rows of it that were refused, and counted for nothing: {}.", "refused")
    )
    said = (pl.col("members") > 0) | (pl.col("problems") > 0)
    why = (
        head
        + pl.when(said).then(counted + any_told).otherwise(pl.lit(""))
        + left_out.fill_null("")
        + refused.fill_null("")
    )
    return families.select("family", "outcome", "problems", minimum=pl.lit(scheme.minimum), why=why)


def _problem(problem: Problem) -> pl.Expr:
    signs = [
        pl.when(indicator.code).then(pl.lit(f"; {indicator.words}")).otherwise(pl.lit(""))
        for indicator in problem.indicators
    ]
    who = _members(f"{problem.column}_members")
    return pl.when(problem.column).then(pl.concat_str(pl.lit(f"{problem.words} ("), who, *signs, pl.lit(")")))


def _members(count: str) -> pl.Expr:
    return pl.format(
        "{} {}", count, pl.when(pl.col(count) == 1).then(pl.lit("member")).otherwise(pl.lit("members"))
    )
