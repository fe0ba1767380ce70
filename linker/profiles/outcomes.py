"""From decisions about persons to outcomes of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.decide import Outcome
from linker.predict import probability
from linker.profiles.parts import parts_of
from linker.profiles.profile import Profile
from linker.profiles.scoring import Weighed
from linker.profiles.sides import Side

NOT_APPLICABLE = "NOT_APPLICABLE"
EDGES = (0, 5, 10, 15, 20, 25, 30, 40)  # bits; the bands that the ONS reports precision by
SCHEMA = {
    "left_id": pl.String, "right_id": pl.String, "outcome": pl.String, "stage": pl.String, "key": pl.String,
    "weight": pl.Float64, "probability": pl.Float64, "lead": pl.Float64, "band": pl.String,
}  # fmt: skip
_RANK = {Outcome.LINKED: 0, Outcome.AMBIGUOUS: 1, Outcome.REVIEW: 2, Outcome.NOT_LINKED: 3}
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """Outcomes and pairs for people, as in `ProfileResult`, and what was left over.

    Attributes:
        outcomes, review: see there.
        beyond: links that the profile's `most` ruled out.
        parts: of each link left_id, right_id and what its weight is the sum of (`linker.profiles.parts`).
        conflicts: pairs above the threshold that lost to another link of one of their persons.
    """

    outcomes: pl.DataFrame
    review: pl.DataFrame
    beyond: int
    conflicts: int
    parts: pl.DataFrame


def bands() -> list[str]:
    """The names of the bands, the lowest first."""
    between = [f"{low} to {high}" for low, high in pairwise(EDGES)]
    return [f"below {EDGES[0]}", *between, f"{EDGES[-1]} and over"]


def banded(value: pl.Expr, edges: Sequence[int], labels: Sequence[str]) -> pl.Expr:
    """The label of the band that a number is in; a band begins at its edge."""
    below = (pl.when(value < edge).then(pl.lit(label)) for edge, label in zip(edges, labels, strict=False))
    return pl.when(value.is_not_null()).then(pl.coalesce(*below, pl.lit(labels[-1])))


def outcomes_of(
    settled: pl.DataFrame,
    weighed: Weighed,
    people: tuple[Rows, Rows],
    sides: tuple[Side, Side],
    keys: Sequence[str],
    profile: Profile,
) -> Found:
    """Outcomes of the records.

    Args:
        settled: pairs of persons with their outcome, lead, gain and stage.
        weighed: weighs any pair of records.
        people: of the left and of the right rows, the person.
        sides: the two files.
        keys: names, by position.
        profile: says how many records one person may have.
    """
    named = settled.with_columns(
        key=pl.Series("keys", [*keys, None], dtype=pl.String).gather(settled["key"].fill_null(len(keys)))
    )
    linked = named.filter(pl.col("outcome") == Outcome.LINKED.value)
    links = _records(linked, weighed, people).filter(
        pl.col("best") | (pl.col("weight") >= profile.thresholds.review)
    )
    ids = [
        side.ids.to_frame("id").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
        for side in sides
    ]
    right_rank = ids[1]["id"].rank("ordinal")
    links = links.with_columns(order=right_rank.gather(links["right"])).sort(
        "left", "weight", "order", descending=[False, True, False]
    )
    place = pl.int_range(pl.len()).over("left")
    beyond = links.filter(place >= profile.most).height
    links = links.filter(place < profile.most).with_columns(outcome=pl.lit(Outcome.LINKED.value))
    best = _best(named.filter(pl.col("outcome") != Outcome.LINKED.value), people[0], links)
    rest = pl.DataFrame({"left": np.arange(len(sides[0].ids))}).join(
        links.select("left"), on="left", how="anti"
    )
    rest = rest.join(best, on="left", how="left").with_columns(
        pl.col("outcome").fill_null(Outcome.NOT_LINKED.value), right=pl.lit(None, pl.Int64)
    )
    columns = ["left", "right", "outcome", "stage", "key", "weight", "lead"]
    rows = pl.concat([links.select(columns), rest.select(columns)])
    outside = sides[0].outside.alias("left_id").to_frame().with_columns(outcome=pl.lit(NOT_APPLICABLE))
    outcomes = (
        pl.concat([_named(rows, sides), outside], how="diagonal")
        .select(list(SCHEMA))
        .sort("left_id", "right_id")
    )
    asked = named.filter(pl.col("outcome").is_in([Outcome.REVIEW.value, Outcome.AMBIGUOUS.value]))
    lost = (pl.col("outcome") == Outcome.NOT_LINKED.value) & (pl.col("decisive") >= profile.thresholds.link)
    review = _named(asked.select(columns), sides).sort("left_id", "right_id")
    parts = pl.DataFrame(
        {"left_id": sides[0].ids.gather(links["left"]), "right_id": sides[1].ids.gather(links["right"])}
    ).hstack(parts_of(weighed, links))
    return Found(outcomes, review, beyond, named.filter(lost).height, parts)


def _records(linked: pl.DataFrame, weighed: Weighed, people: tuple[Rows, Rows]) -> pl.DataFrame:
    """Every record of a linked person of the left with every one of that person of the right.

    `best` marks the pair of records that decided.
    """
    members = [
        pl.DataFrame({person: rows, side: np.arange(len(rows))})
        for person, side, rows in zip(("left_person", "right_person"), ("left", "right"), people, strict=True)
    ]
    pairs = linked.select(
        "left_person", "right_person", "stage", "key", "lead", "gain", first="left", second="right"
    )
    pairs = pairs.join(members[0], on="left_person").join(members[1], on="right_person")
    made = weighed.of(pairs["left"].to_numpy(), pairs["right"].to_numpy())
    best = (pl.col("left") == pl.col("first")) & (pl.col("right") == pl.col("second"))
    return pairs.with_columns(weight=made["weight"] + pairs["gain"], best=best)


def _best(others: pl.DataFrame, people: Rows, links: pl.DataFrame) -> pl.DataFrame:
    """Of every left record without a link the best candidate of its person."""
    rank = pl.col("outcome").replace_strict(
        {one.value: place for one, place in _RANK.items()}, return_dtype=pl.Int8
    )
    ranked = others.with_columns(rank=rank).sort(
        "rank", "decisive", "right_person", descending=[False, True, False]
    )
    best = ranked.unique("left_person", keep="first", maintain_order=True)
    rows = pl.DataFrame({"left_person": people, "left": np.arange(len(people))})
    return rows.join(best.drop("left"), on="left_person").drop("left_person")


def _named(rows: pl.DataFrame, sides: tuple[Side, Side]) -> pl.DataFrame:
    """Rows with ids, probability and band."""
    left, right = (side.ids for side in sides)
    band = banded(pl.col("weight"), EDGES, bands())
    return (
        rows.with_columns(
            left_id=left.gather(rows["left"]),
            right_id=right.gather(rows["right"]),
            probability=pl.Series(probability(rows["weight"].fill_null(0.0).to_numpy())),
            band=band,
        )
        .with_columns(
            pl.when(pl.col("weight").is_not_null()).then("probability"),
        )
        .select(list(SCHEMA))
    )
