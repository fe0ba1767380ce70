"""Families over time: who belongs to which family from when to when, and what a family has on a day.

A membership is a row: a person, a family, the first and the last day, null where there is no such limit.
A person may be in two families at once, leave one and come back, and a family that splits is one family's
memberships that end and another's that begin. Everything is asked for a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl


def belongs(on: date | pl.Expr) -> pl.Expr:
    """Whether a membership (`member_from`, `member_to`, both included) holds on a day."""
    begun = pl.col("member_from").is_null() | (pl.col("member_from") <= on)
    return begun & (pl.col("member_to").is_null() | (pl.col("member_to") >= on))


def families_of(rows: pl.DataFrame, on: date) -> pl.DataFrame:
    """Who belongs to which families on a day.

    Args:
        rows: `member`, `family`, `member_from`, `member_to`.
        on: the day.

    Returns:
        `member` and `families`, a sorted list, one row a person who has any.
    """
    there = rows.filter(belongs(on)).drop_nulls(["member", "family"])
    return there.group_by("member").agg(families=pl.col("family").unique().sort()).sort("member")


def roll_up(rows: pl.DataFrame, flags: Sequence[str], on: date) -> pl.DataFrame:
    """What the families have on a day: a flag of any of their members is the family's.

    Args:
        rows: `family`, `member_from`, `member_to` and the flags.
        flags: columns of booleans.
        on: the day.

    Returns:
        `family` and `members`, how many there are on that day; each flag; and `<flag>_members`, how many of
        them have it. One row a family that has a member then, in order.
    """
    there = rows.filter(belongs(on))
    return (
        there.group_by("family")
        .agg(
            pl.len().alias("members"),
            *(pl.col(name).any() for name in flags),
            *(pl.col(name).sum().alias(f"{name}_members") for name in flags),
        )
        .sort("family")
    )


def overlapping(rows: pl.DataFrame) -> pl.Series:
    """Whether a membership overlaps an earlier one of the same person in the same family.

    Args:
        rows: `member`, `family`, `member_from`, `member_to`; those without a member overlap nothing.

    Returns:
        A boolean for each row, in order.
    """
    key = ["family", "member"]
    first, last = date(1, 1, 1), date(9999, 12, 31)
    return (
        rows.select(
            *key, since=pl.col("member_from").fill_null(first), until=pl.col("member_to").fill_null(last)
        )
        .with_row_index("place")
        .sort([*key, "since", "place"], nulls_last=True)
        .with_columns(before=pl.col("until").cum_max().shift(1).over(key))
        .select("place", again=(pl.col("since") <= pl.col("before")) & pl.col("member").is_not_null())
        .sort("place")["again"]
        .fill_null(False)
    )


def same_people(rows: pl.DataFrame, person: Sequence[str]) -> pl.Series:
    """Whether a row's family has the same people as a family that stands above it, two of them or more.

    Args:
        rows: `family` and the columns of `person`.
        person: what tells people apart here, as it is spelt.

    Returns:
        A boolean for each row, in order.
    """
    who = pl.concat_str(
        (pl.col(name).cast(pl.String).str.to_lowercase().fill_null("") for name in person), separator="\x1f"
    )
    sets = (
        rows.with_row_index("place")
        .with_columns(who=who)
        .group_by("family", maintain_order=True)
        .agg(pl.col("who").unique().sort(), pl.col("place").min())
        .sort("place")
        .with_columns(several=pl.col("who").list.len() > 1, key=pl.col("who").list.join("\x1e"))
    )
    again = sets.filter(pl.col("several") & ~pl.col("key").is_first_distinct())["family"]
    return rows["family"].is_in(again.implode()).fill_null(False)
