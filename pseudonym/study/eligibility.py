"""Which families are shared: those with as many distinct problems as the scheme says, on the delivery's day.

The rules this module keeps:

- A problem counts once for a family, whoever of its members has it, and only of members on that day.
- The arm plays no part, and nobody is left out by hand but who withdrew or objected.
- What withdrew counts for nothing. What was refused counts for nothing either, but a family that falls short
  with refused rows is undecided, and not below.
- Every family of the file has one outcome, and only `eligible` ones are shared.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import polars as pl

from pseudonym.study.members import belongs, roll_up
from pseudonym.study.schemes import Scheme


class Outcome(StrEnum):
    """What becomes of a family."""

    ELIGIBLE = "eligible"  # it has enough problems: shared
    BELOW = "below"  # it has not
    UNDECIDED = "undecided"  # it has not, but rows of it were refused
    WITHDRAWN = "withdrawn"  # all its members are left out
    NOBODY = "nobody"  # it has no member on the day


def decide(rows: pl.DataFrame, refused: pl.DataFrame, scheme: Scheme, day: date) -> pl.DataFrame:
    """Decide about every family of a file.

    Args:
        rows: those that were not refused: `family`, `member_from`, `member_to`, the scheme's flags, and
            `withdrawn` (a code, or null).
        refused: `family` of the rows that were.
        scheme: what counts, and how many.
        day: of the delivery.

    Returns:
        One row a family, in order: `family`, `outcome`, `problems` (distinct), `members` on the day,
        `refused` and `withdrawn` (rows), each flag, and `<flag>_members`, how many have it.
    """
    rolled = roll_up(rows.filter(pl.col("withdrawn").is_null()), scheme.flags, day)
    left_out = (
        rows.filter(pl.col("withdrawn").is_not_null() & belongs(day)).group_by("family").len("withdrawn")
    )
    turned_away = refused.drop_nulls("family").group_by("family").len("refused")
    every = pl.concat([rows.select("family"), refused.select("family")]).drop_nulls().unique().sort("family")
    counts = ["problems", "members", "refused", "withdrawn", *(f"{name}_members" for name in scheme.flags)]
    found = (
        every.join(rolled, on="family", how="left")
        .join(left_out, on="family", how="left")
        .join(turned_away, on="family", how="left")
        .with_columns(pl.col(scheme.flags).fill_null(False))
        .with_columns(problems=pl.sum_horizontal(problem.column for problem in scheme.problems))
        .with_columns(pl.col(counts).fill_null(0).cast(pl.UInt32))
    )
    outcome = (
        pl.when(pl.col("problems") >= scheme.minimum)
        .then(pl.lit(Outcome.ELIGIBLE))
        .when(pl.col("refused") > 0)
        .then(pl.lit(Outcome.UNDECIDED))
        .when(pl.col("members") > 0)
        .then(pl.lit(Outcome.BELOW))
        .when(pl.col("withdrawn") > 0)
        .then(pl.lit(Outcome.WITHDRAWN))
        .otherwise(pl.lit(Outcome.NOBODY))
    )
    return found.select(
        "family", outcome.cast(pl.String).alias("outcome"), *counts[:4], *scheme.flags, *counts[4:]
    ).sort("family")


def shared(rows: pl.DataFrame, families: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows that leave: members on the day of eligible families, but for those who are left out.

    Args:
        rows, day: as `decide` takes them.
        families: what it gave.
    """
    eligible = families.filter(outcome=Outcome.ELIGIBLE.value)["family"]
    return rows.filter(
        pl.col("family").is_in(eligible.implode()) & pl.col("withdrawn").is_null() & belongs(day)
    )
