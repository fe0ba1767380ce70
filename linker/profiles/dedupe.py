"""The same person twice in a council's files: within a delivery and across deliveries.

What is found can be given to `link_profile` as `person`: it then knows a record that stands twice from a
twin, where the register has no names to tell them apart.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any as Json

import numpy as np
import polars as pl

from linker.arrival import Source
from linker.cluster import cluster
from linker.model import Model
from linker.predict import Progress, no_progress, probability
from linker.profiles import load
from linker.profiles.deciding import judged
from linker.profiles.drafting import draft
from linker.profiles.figures import manifest_within
from linker.profiles.profile import PROBABILISTIC, Profile
from linker.profiles.scoring import weigh
from linker.profiles.sides import Besides, Period, Side, left_side

_DAY = Period(datetime.date.max, datetime.date.min)  # a council's own file has people of every age


@dataclass(frozen=True)
class ProfileDeduplication:
    """Which records are of one person.

    Attributes:
        persons: record_id, person_id (the smallest id of the person's records), file (1 for the first); every
            record, sorted by file and id.
        links, review: left_id, right_id, stage, key, weight, probability, left_file and right_file of the
            pairs that were joined, and of those that people should look at.
        report, manifest: as of `ProfileResult`, the report short.
        model: the model that scored.
    """

    persons: pl.DataFrame
    links: pl.DataFrame
    review: pl.DataFrame
    report: Mapping[str, Json]
    manifest: Mapping[str, Json]
    model: Model


def dedupe_profile(
    *files: Source,
    profile: Profile | str | Path = "council",
    family: str | None = None,
    protected: str | None = None,
    model: Model | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ProfileDeduplication:
    """Find the records that are of one person, in one file or in several together.

    Args:
        files: deliveries; a record id may stand in several of them.
        profile: a profile, its name, or a file; one without a list of what is carried.
        family, protected, model, seed, threads, progress: as of `link_profile`.

    Raises:
        LinkerError: what is wrong with the profile, the files, columns, records or the model.
    """
    chosen = profile if isinstance(profile, Profile) else load(profile)
    besides = Besides(family, protected)
    sides = [left_side(one, chosen, frozenset(), besides, {}, _DAY) for one in files]
    whole = _together(sides)
    drafted = draft(chosen, whole, whole)
    weighed = weigh(drafted, model, within=True, seed=seed, threads=threads, progress=progress or no_progress)
    stages = {key.name: key.stage for key in chosen.keys}
    names = [key.name for key in drafted.keys]
    pairs, guarded = judged(weighed, [stages[name] for name in names], whole, chosen)
    limit, floor = chosen.thresholds.link, chosen.thresholds.review
    named = _named(pairs.filter(pl.col("decisive") >= floor), whole, names)
    found = cluster(named.select("left_id", "right_id", match_weight="decisive"), whole.ids, limit).rename(
        {"cluster_id": "person_id"}
    )
    person = dict(found.rows())
    same = pl.col("left_id").replace_strict(person) == pl.col("right_id").replace_strict(person)
    joined = same & (pl.col("decisive") >= limit)
    links, review = named.filter(joined), named.filter(~same)
    report = {
        "records": [len(side.ids) for side in sides],
        "persons": found["person_id"].n_unique(),
        "links": links.height,
        "review": review.height,
        "guarded": guarded,
        "stages": [
            {"stage": stage, "key": key, "pairs": many}
            for stage, key, many in links.group_by("stage", "key").len().sort("stage", "key").rows()
        ],
    }
    manifest = manifest_within(chosen, sides, weighed.model, found, seed=seed, model_given=model is not None)
    return ProfileDeduplication(
        _apart(found), _pairs_apart(links), _pairs_apart(review), report, manifest, weighed.model
    )


def _together(sides: list[Side]) -> Side:
    """Several files as one, every id with the number of its file before it."""
    width = len(str(len(sides)))
    ids = [f"{str(place).zfill(width)}:" + side.ids for place, side in enumerate(sides, start=1)]
    first = sides[0]
    return replace(
        first,
        ids=pl.concat(ids),
        columns=pl.concat([side.columns for side in sides], how="diagonal"),
        family=None if first.family is None else pl.concat([s.family for s in sides if s.family is not None]),
        protected=np.concatenate([side.protected for side in sides]),
    )


def _named(pairs: pl.DataFrame, side: Side, keys: list[str]) -> pl.DataFrame:
    ids = side.ids
    left, right = ids.gather(pairs["left"]), ids.gather(pairs["right"])
    ends = pl.DataFrame({"a": left, "b": right})
    return (
        pairs.with_columns(
            ends.select(
                left_id=pl.min_horizontal("a", "b"), right_id=pl.max_horizontal("a", "b")
            ).get_columns()
        )
        .with_columns(
            stage=pl.col("stage").fill_null(PROBABILISTIC),
            key=pl.Series("keys", [*keys, None], dtype=pl.String).gather(pairs["key"].fill_null(len(keys))),
            probability=pl.Series(probability(pairs["weight"].to_numpy())),
        )
        .select("left_id", "right_id", "stage", "key", "weight", "probability", "decisive")
        .sort("left_id", "right_id")
    )


def _split(name: str) -> tuple[pl.Expr, pl.Expr]:
    """The number of the file and the id in it."""
    return (
        pl.col(name).str.extract("^([0-9]+):", 1).cast(pl.Int64),
        pl.col(name).str.replace("^[0-9]+:", ""),
    )


def _apart(persons: pl.DataFrame) -> pl.DataFrame:
    file, own = _split("record_id")
    return persons.select(record_id=own, person_id="person_id", file=file).sort("file", "record_id")


def _pairs_apart(pairs: pl.DataFrame) -> pl.DataFrame:
    (left_file, left), (right_file, right) = _split("left_id"), _split("right_id")
    return pairs.drop("decisive").with_columns(
        left_id=left, right_id=right, left_file=left_file, right_file=right_file
    )
