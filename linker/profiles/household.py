"""The second look at a family (R77): who is linked tells where the others may be.

A family that moved stands in the register at an address that the council does not know. Where a member is
linked to a record there, a candidate for another member at that address gains what that is worth: log2 of how
often it is so of links, over how often strangers share an address. Relatives share it too: only pairs that
agree on date of birth, and on forename or else sex, gain. What a guard stopped stays stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.profiles.sides import Side

LEAST = 20  # links at another postcode, below which nothing is learnt
MOST_BITS = 10.0  # what an address in common can be worth, at most
CAUTION = 10.0  # strangers share an address so many times more often than by chance: a hostel, a new tenant
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Support:
    """What another member at the same address is worth.

    Attributes:
        bits: of match weight.
        m, u: share of links and of strangers that have it; None if too few were seen.
        gained: pairs that gained.
    """

    bits: float
    m: float | None
    u: float | None
    gained: int


NONE = Support(0.0, None, None, 0)


def supported(
    persons: pl.DataFrame,
    linked: pl.DataFrame,
    left: Side,
    right: Side,
    address: tuple[str, ...],
) -> tuple[pl.DataFrame, Support]:
    """The pairs of persons that are still open, with what the family's links are worth to them.

    Args:
        persons: all pairs of persons in question.
        linked: those of them that are linked.
        left, right: the sides; the left knows its families.
        address: right columns that make an address.
    """
    taken = [linked[one].implode() for one in ("left_person", "right_person")]
    open_pairs = persons.filter(
        ~pl.col("left_person").is_in(taken[0]) & ~pl.col("right_person").is_in(taken[1])
    )
    usable = "level postcode" in persons.columns and all(one in right.columns.columns for one in address)
    if left.family is None or not address or not usable or linked.is_empty():
        return open_pairs, NONE
    backed = _backed(persons, linked, left, right, address).filter(_own_birth(persons))
    of_links = backed.join(linked, on=["left_person", "right_person"], how="semi")["backed"].drop_nulls()
    if len(of_links) < LEAST:
        return open_pairs, NONE
    m = (int(of_links.sum()) + 1.0) / (len(of_links) + 2.0)
    u = min(1.0, CAUTION * _agreement(_places(right, address)))
    bits = min(MOST_BITS, max(0.0, math.log2(m / u)))
    gains = backed.filter(pl.col("backed").fill_null(False) & ~pl.col("stopped")).select(
        "left_person", "right_person", pl.lit(bits).alias("gain")
    )
    made = open_pairs.join(gains, on=["left_person", "right_person"], how="left").with_columns(
        pl.col("gain").fill_null(0.0)
    )
    made = made.with_columns(
        weight=pl.col("weight") + pl.col("gain"), decisive=pl.col("decisive") + pl.col("gain")
    )
    return made, Support(bits, m, u, int((made["gain"] > 0).sum()))


def _own_birth(persons: pl.DataFrame) -> pl.Expr:
    """Pairs at another postcode that agree on what tells relatives apart: date of birth, forename or sex."""
    made = (pl.col("level postcode") > 1) & (pl.col("level date_of_birth") == 1)
    if "level forename" in persons.columns:
        last = int(persons["level forename"].max() or 0)  # type: ignore[arg-type]
        return made & pl.col("level forename").is_between(1, max(1, last - 1))
    return made & (pl.col("level sex") == 1) if "level sex" in persons.columns else made


def _places(side: Side, address: tuple[str, ...]) -> pl.Series:
    return side.columns.select(place=pl.concat_str(address, separator="|", ignore_nulls=False))["place"]


def _agreement(places: pl.Series) -> float:
    """The chance that two records of the register share an address."""
    counts = places.drop_nulls().value_counts()["count"].to_numpy().astype(np.float64)
    total = float(counts.sum())
    return (float((counts * (counts - 1.0)).sum()) + 1.0) / max(1.0, total * (total - 1.0))


def _backed(
    persons: pl.DataFrame, linked: pl.DataFrame, left: Side, right: Side, address: tuple[str, ...]
) -> pl.DataFrame:
    """Whether another member of the left person's family is linked to a record at the right person's address.

    Null where no other member is linked to a record with an address, or this one has none.
    """
    assert left.family is not None
    places = _places(right, address)
    known = persons.with_columns(
        family=left.family.gather(persons["left"]), place=places.gather(persons["right"])
    )
    homes = (
        linked.select(
            other=pl.col("left_person"),
            family=left.family.gather(linked["left"]),
            home=places.gather(linked["right"]),
        )
        .drop_nulls()
        .unique()
    )
    pairs = known.select("left_person", "right_person", "family", "place").drop_nulls()
    met = (
        pairs.join(homes, on="family")
        .filter(pl.col("other") != pl.col("left_person"))
        .group_by("left_person", "right_person")
        .agg(backed=(pl.col("home") == pl.col("place")).any())
    )
    return known.join(met, on=["left_person", "right_person"], how="left").drop("family", "place")
