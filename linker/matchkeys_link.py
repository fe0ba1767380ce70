"""Linking by matchkeys: alone, and as the stage before the model.

link_by_keys(left, right, "ons")      the keys alone
linker.link(left, right, keys="ons")  the keys, then the model for the records that they left over
dedupe_by_keys(records, keys="ons"), linker.dedupe(records, keys="ons")   the same within one set
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any as Json

import polars as pl

from linker.arrival import Source, records_of
from linker.decide import Cardinality, Outcome, clusters
from linker.given import check
from linker.matchkeys import Matchkeys
from linker.matchkeys_ons import key_set
from linker.matchkeys_pass import Matched, match_keys, match_within
from linker.predict import Progress, no_progress
from linker.records import Records

STAGE = "matchkey"
COLUMNS = ("left_id", "right_id", "match_weight", "match_probability", "outcome", "stage", "rule")


@dataclass(frozen=True)
class KeyLinkage:
    """Links between two sets of records by matchkeys alone.

    Attributes:
        links: the columns of `linker.Linkage.links`; match_weight and match_probability are null, stage is
            "matchkey" and rule the key's name. Sorted by the ids.
        review: the same columns for pairs that people should look at: REVIEW (of a clerical key) and
            AMBIGUOUS.
        keys: the set.
        summary: plain figures of the run, no personal value.
        records: the records as they were understood, left and right.
    """

    links: pl.DataFrame
    review: pl.DataFrame
    keys: Matchkeys
    summary: Mapping[str, Json]
    records: tuple[Records, Records]


@dataclass(frozen=True)
class KeyDeduplication:
    """Clusters of the records that are one person, by matchkeys alone.

    Attributes:
        clusters: record_id, cluster_id; as in `linker.Deduplication`.
        links, review, keys, summary: as in `KeyLinkage`; every two records of a cluster have a link.
        records: the records as they were understood.
    """

    clusters: pl.DataFrame
    links: pl.DataFrame
    review: pl.DataFrame
    keys: Matchkeys
    summary: Mapping[str, Json]
    records: tuple[Records, ...]


def link_by_keys(
    left: Source,
    right: Source,
    keys: Matchkeys | str | Path = "ons",
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> KeyLinkage:
    """Link two sets of records by matchkeys alone, one to one; `linker.matchkeys` says how.

    Args:
        left: records, a frame of text, or a file.
        right: the other side.
        keys: a set of matchkeys, the name of one that comes with Kinlink ("ons"), or a file.
        threads: None for one a core.
        progress: called with (stage, done, total); may raise `Cancelled`.

    Raises:
        LinkerError: what is wrong with the files, columns, records or the keys.
    """
    check(threads=threads)
    chosen = key_set(keys)
    sides = (records_of(left), records_of(right))
    began = time.perf_counter()
    matched = match_keys(*sides, chosen, threads=threads, progress=progress or no_progress)
    links, review = _of_keys(matched, Outcome.LINKED), _for_people(matched)
    summary = _summary(sides, matched, links, review, began) | {"cardinality": Cardinality.ONE_TO_ONE.value}
    return KeyLinkage(links, review, chosen, summary, sides)


def dedupe_by_keys(
    records: Source,
    *others: Source,
    keys: Matchkeys | str | Path = "ons",
    threads: int | None = None,
    progress: Progress | None = None,
) -> KeyDeduplication:
    """Find the records that are one person by matchkeys alone; `linker.matchkeys_settle` says how.

    Args:
        records: records, a frame of text, or a file.
        others: further sets, to be gone through with the first; every id then begins with the number of its
            set, as in "2:".
        keys, threads, progress: as in `link_by_keys`.

    Raises:
        LinkerError: what is wrong with the files, columns, records or the keys.
    """
    check(threads=threads)
    chosen = key_set(keys)
    sides = tuple(records_of(source) for source in (records, *others))
    began = time.perf_counter()
    matched = match_within(sides, chosen, threads=threads, progress=progress or no_progress)
    links, review = _of_keys(matched, Outcome.LINKED), _for_people(matched)
    every = links.select("left_id", "right_id", match_weight=pl.lit(math.inf))
    found = clusters(every, matched.ids, 0.0)
    summary = _summary(sides, matched, links, review, began) | {"clusters": found["cluster_id"].n_unique()}
    return KeyDeduplication(found, links, review, chosen, summary, sides)


def _summary(
    sides: Sequence[Records], matched: Matched, links: pl.DataFrame, review: pl.DataFrame, began: float
) -> dict[str, Json]:
    return {
        "records": [len(side.ids) for side in sides],
        "refused": [int(side.refusals["refused"].sum()) for side in sides],
        "set_aside": [int((~side.refusals["refused"]).sum()) for side in sides],
        "candidate_pairs": matched.compared,
        "links": links.height,
        "review": review.height,
        "matchkeys": matched.summary(links),
        "seconds": {"matchkeys": round(time.perf_counter() - began, 3)},
    }


def without_rivals(pairs: pl.DataFrame, matched: Matched, cardinality: Cardinality) -> pl.DataFrame:
    """The model's pairs less those that a link of the keys rules out.

    Args:
        pairs: columns left_id and right_id, any others are kept.
        matched: what the keys decided.
        cardinality: how many links a record may have.
    """
    if cardinality is Cardinality.MANY_TO_MANY:
        return pairs
    links = _of_keys(matched, Outcome.LINKED).select("left_id", "right_id")
    taken = pl.col("left_id").is_in(links["left_id"].implode())
    if cardinality is Cardinality.ONE_TO_ONE:
        taken |= pl.col("right_id").is_in(links["right_id"].implode())
    own = pairs.join(links, on=["left_id", "right_id"], how="semi")
    return pl.concat([pairs.filter(~taken), own]).sort("left_id", "right_id")


def as_evidence(pairs: pl.DataFrame, matched: Matched) -> pl.DataFrame:
    """The model's pairs for `linker.cluster`; a link of the keys is above all of them, scored or not.

    Links of the keys make whole groups, so each of these is in one cluster before the model has a say.
    """
    fixed = _of_keys(matched, Outcome.LINKED).select("left_id", "right_id", match_weight=pl.lit(math.inf))
    scored = pairs.select(fixed.columns).join(fixed, on=["left_id", "right_id"], how="anti")
    return pl.concat([scored, fixed])


def with_keys(
    links: pl.DataFrame,
    review: pl.DataFrame,
    pairs: pl.DataFrame,
    matched: Matched,
    clusters: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The model's decisions with those of the keys, which stand above them.

    What the keys left for people is still theirs if the model linked neither record; within one set, where a
    link rules nothing out, if the two are not in one cluster.

    Args:
        links: what the model linked.
        review: what it leaves for people.
        pairs: the model's scored pairs: a link of a key has the weight and probability of its pair, or
            null where the model did not score it.
        matched: what the keys decided.
        clusters: within one set, record_id and cluster_id of all records.
    """
    pair = ["left_id", "right_id"]
    fixed = _of_keys(matched, Outcome.LINKED)
    scored = pairs.select(*pair, "match_weight", "match_probability")
    fixed = fixed.drop("match_weight", "match_probability").join(scored, on=pair, how="left").select(COLUMNS)
    links = pl.concat([links.join(fixed, on=pair, how="anti"), fixed]).sort(pair)
    review = review.join(fixed, on=pair, how="anti")
    left_over = _for_people(matched).join(review, on=pair, how="anti")
    if clusters is None:
        for side in pair:
            left_over = left_over.join(links, on=side, how="anti")
    else:
        left, right = (
            pl.col(side).replace_strict(clusters["record_id"], clusters["cluster_id"]) for side in pair
        )
        left_over = left_over.filter(left != right)
    return links, pl.concat([review, left_over]).sort(pair)


def _for_people(matched: Matched) -> pl.DataFrame:
    return _of_keys(matched, Outcome.REVIEW, Outcome.AMBIGUOUS)


def _of_keys(matched: Matched, *outcomes: Outcome) -> pl.DataFrame:
    """The keys' pairs of some outcomes, as links are written."""
    unknown = pl.lit(None, pl.Float64)
    return (
        matched.pairs.filter(pl.col("outcome").is_in([one.value for one in outcomes]))
        .with_columns(
            match_weight=unknown, match_probability=unknown, stage=pl.lit(STAGE), rule=pl.col("key")
        )
        .select(COLUMNS)
    )
