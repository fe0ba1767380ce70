"""Which references of families are one family: the rule, on whom they hold.

A source's own reference is a family, from one delivery to the next. Two references are one family if

- the same adults are in both, and at least one adult is, and
- at least two persons are in both.

So a family that a second council delivers is known again, also with a child more or less. Parents who live
apart and share their children are two families, and no chain of references makes them one: whatever is linked
has the same adults throughout. A reference that a protected person is in is linked with none. Where the rule
says too little, a reviewer merges; nothing here divides.
"""

from __future__ import annotations

import polars as pl


def alike(members: pl.DataFrame, new: pl.Series) -> pl.DataFrame:
    """The links that references of a delivery have to each other and to those that are known.

    Args:
        members: family (a reference's unit), pid, adult (Boolean; true where the age is not known) and
            protected (Boolean): who is in which.
        new: the units of the delivery's references.

    Returns:
        left, right (left < right) and weight: how many persons they share.
    """
    people = members.group_by("family", "pid").agg(pl.col("adult").any(), pl.col("protected").any())
    open_ = people.filter(~pl.col("protected").any().over("family"))
    adults = (
        open_.filter("adult")
        .group_by("family")
        .agg(pl.col("pid").sort().bin.encode("hex").str.join(" ").alias("adults"))
    )
    held = open_.join(adults, on="family").select("family", "pid", "adults")
    return (
        held.join(held, on=["adults", "pid"], suffix="_other")
        .filter(pl.col("family") < pl.col("family_other"))
        .group_by(left="family", right="family_other")
        .agg(weight=pl.len().cast(pl.Float64))
        .filter(pl.col("weight") >= 2)
        .filter(pl.col("left").is_in(new.implode()) | pl.col("right").is_in(new.implode()))
        .sort("left", "right")
    )
