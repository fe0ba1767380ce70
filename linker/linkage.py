"""The whole flow on one screen: records → columns → codes → candidates → weights → decisions.

    link(left, right)   one record of the left with at most one of the right, unless told otherwise
    dedupe(records)     clusters of the records that are one person
    train(left, right)  the model alone
    explain(...)        one pair (linker.explain)

Rows are put in a canonical order first, by their content, so that the order of a file, the number of
threads and the size of the chunks change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any as Json

import polars as pl

from linker import decide
from linker.arrival import Source, records_of
from linker.blocking_losses import Losses, refuse_raw
from linker.cluster import cluster
from linker.decide import Cardinality, Outcome
from linker.digest import digest
from linker.errors import LinkerError
from linker.explain import Explanation
from linker.explain import explain as explain_pair
from linker.given import cardinality_of, check
from linker.manifest import Asked, Manifest, name_of
from linker.matchkeys import Matchkeys
from linker.matchkeys_link import as_evidence, with_keys, without_rivals
from linker.matchkeys_ons import key_set
from linker.matchkeys_pass import Matched, smaller_left
from linker.model import Model
from linker.predict import Progress, Scored, no_progress, probability
from linker.program import shifts
from linker.raw import raw_records
from linker.records import Records
from linker.running import Run
from linker.threshold import Expectation, expect, matching_gain
from linker.train import Training, matches_expected_by
from linker.workup import Workup, canonical

REVIEW_BITS = 4.0  # the clerical band begins so far under the threshold
SURE = 0.99
LOWEST = -10.0  # bits; the lowest weight looked at when a threshold is to be found


@dataclass(frozen=True)
class Linkage:
    """Links between two sets of records.

    Attributes:
        links: left_id, right_id, match_weight (bits), match_probability, outcome, stage, rule; LINKED only,
            sorted by the ids.
        review: the same columns for pairs that people should look at: REVIEW and AMBIGUOUS.
        pairs: every scored pair above the low cut asked for, without outcome; None if not asked for.
        model: the model that scored.
        training: how it was trained; None if it was given.
        threshold: the weight from which a pair may be linked, in bits.
        summary: plain figures of the run, no personal value.
        records: the records as they were understood, left and right.
        asked: what the run was asked to do.
        losses: what the blocking rules can lose; None if not asked for.
    """

    links: pl.DataFrame
    review: pl.DataFrame
    pairs: pl.DataFrame | None
    model: Model
    training: Training | None
    threshold: float
    summary: Mapping[str, Json]
    records: tuple[Records, Records]
    asked: Asked
    losses: Losses | None = None

    @cached_property
    def manifest(self) -> Manifest:
        """All that the result depends on, with digests; made when it is first asked for."""
        return Manifest.of(self)


@dataclass(frozen=True)
class Deduplication:
    """Clusters of the records that are one person.

    Attributes:
        clusters: record_id, cluster_id; every record that was not refused, sorted by record_id. Ids of
            several sets begin with the number of the set, as in "1:".
        links, review, pairs, model, training, threshold, summary, asked, losses: as in `Linkage`.
        records: the records as they were understood.
    """

    clusters: pl.DataFrame
    links: pl.DataFrame
    review: pl.DataFrame
    pairs: pl.DataFrame | None
    model: Model
    training: Training | None
    threshold: float
    summary: Mapping[str, Json]
    records: tuple[Records, ...]
    asked: Asked
    losses: Losses | None = None

    @cached_property
    def manifest(self) -> Manifest:
        """As in `Linkage`."""
        return Manifest.of(self)


def link(
    left: Source,
    right: Source,
    *,
    keys: Matchkeys | str | Path | None = None,
    model: Model | None = None,
    labels: pl.DataFrame | None = None,
    cardinality: Cardinality | str | None = None,
    threshold: float | None = None,
    lead: float = 0.0,
    all_pairs: float | None = None,
    certify: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Linkage:
    """Link two sets of records.

    Args:
        left: records, a frame of text, or a file.
        right: the other side.
        keys: matchkeys that come before the model, by themselves, by the name of a set ("ons") or in a file;
            what they link is fixed. See `linker.matchkeys`.
        model: how to score; None to learn it from the records.
        labels: pairs known to be one person, for the learning; see `linker.labels`.
        cardinality: how many links a record may have; None for one-to-one.
        threshold: the weight from which a pair may be linked, in bits; None to find it.
        lead: bits by which a link must lead over the runner-up; see `decide.link`.
        all_pairs: also return every scored pair of at least this weight.
        certify: also say what the blocking rules can lose, as `linker.blocking` does: some seconds a million
            records.
        seed: of the random pairs.
        threads: None for one a core.
        progress: called with (stage, done, total); may raise `Cancelled`.

    Raises:
        LinkerError: what is wrong with the files, columns, records or the model.
    """
    check(threshold, all_pairs, threads=threads, model=model)
    cardinality = cardinality_of(cardinality)
    chosen = _chosen(keys, model)
    if certify:
        refuse_raw(model)
    sides = (_records(left, model), _records(right, model))
    run = Run(progress or no_progress, threads)
    matched = None if chosen is None else run.match(sides, chosen)
    work = run.prepare(sides, model, labels, seed, certify=certify)
    matches = matches_expected_by(work.model, work.encoded)
    gain = 0.0
    if cardinality is Cardinality.ONE_TO_ONE and threshold is None:
        gain = matching_gain(len(sides[0].ids), len(sides[1].ids), matches)
    scored = run.score(work, min(lowest(threshold), all_pairs or 0.0))
    pairs = _frame(scored, work)
    with run.timed("decide"):
        open_pairs = pairs if matched is None else without_rivals(pairs, matched, cardinality)
        expected = _expect(open_pairs, cardinality, gain, threshold)
        decided = decide.link(
            open_pairs.with_columns(_stage(gain)),
            cardinality=cardinality,
            threshold=expected.threshold,
            review=expected.threshold - REVIEW_BITS,
            lead=lead,
        )
    links, review = _split(decided)
    if matched is not None:
        links, review = with_keys(links, review, pairs, matched)
    summary = run.summary(work, scored, links, review, expected, matches)
    if matched is not None:
        summary |= {"matchkeys": matched.summary(links)}
    summary |= {"cardinality": cardinality.value, "conflicts": _conflicts(decided)}
    return Linkage(
        links,
        review,
        _kept(pairs, all_pairs),
        work.model,
        work.training,
        expected.threshold,
        summary,
        sides,
        _asked(cardinality, threshold, lead, all_pairs, seed, model, labels, chosen),
        run.losses and run.losses.at(expected.threshold),
    )


def dedupe(
    records: Source,
    *others: Source,
    keys: Matchkeys | str | Path | None = None,
    model: Model | None = None,
    labels: pl.DataFrame | None = None,
    threshold: float | None = None,
    all_pairs: float | None = None,
    certify: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Deduplication:
    """Find the records that are one person, in one set or in several together.

    Args:
        records: records, a frame of text, or a file.
        others: further sets, to be linked and deduplicated with the first; every id then begins with the
            number of its set, as in "2:".

    All other arguments and errors as in `link`.
    """
    check(threshold, all_pairs, threads=threads, model=model)
    chosen = _chosen(keys, model)
    if certify:
        refuse_raw(model)
    sides = tuple(_records(source, model) for source in (records, *others))
    run = Run(progress or no_progress, threads)
    matched = None if chosen is None else run.match_within(sides, chosen)
    work = run.prepare(sides, model, labels, seed, together=len(sides) > 1, certify=certify)
    scored = run.score(work, min(lowest(threshold), all_pairs or 0.0))
    pairs = _frame(scored, work)
    with run.timed("decide"):
        expected, clusters, links, review = _grouped(pairs, work.ids[0], threshold, matched)
        if matched is not None:
            links, review = with_keys(links, review, pairs, matched, clusters)
    matches = matches_expected_by(work.model, work.encoded)
    summary = run.summary(work, scored, links, review, expected, matches)
    if matched is not None:
        summary |= {"matchkeys": matched.summary(links)}
    summary |= {"clusters": clusters["cluster_id"].n_unique()}
    return Deduplication(
        clusters,
        links,
        review,
        _kept(pairs, all_pairs),
        work.model,
        work.training,
        expected.threshold,
        summary,
        sides,
        _asked(None, threshold, 0.0, all_pairs, seed, model, labels, chosen),
        run.losses and run.losses.at(expected.threshold),
    )


def decided_again(found: Deduplication, pairs: pl.DataFrame, threshold: float | None) -> Deduplication:
    """What a deduplication comes to where more is known of its pairs.

    Args:
        found: what was found.
        pairs: as in `found`, one row for any two records, of at least the weight `lowest(threshold)`.
        threshold: the weight from which a pair may be linked, in bits; None to find it.
    """
    expected, clusters, links, review = _grouped(pairs, found.clusters["record_id"], threshold, None)
    figures = {
        "links": links.height,
        "review": review.height,
        "threshold": expected.threshold,
        "expected_precision": expected.precision,
        "expected_recall": expected.recall,
        "clusters": clusters["cluster_id"].n_unique(),
    }
    return replace(
        found,
        clusters=clusters,
        links=links,
        review=review,
        pairs=pairs,
        threshold=expected.threshold,
        summary={**found.summary, **figures},
    )


def lowest(threshold: float | None) -> float:
    """The lowest weight that a decision looks at, in bits."""
    return LOWEST if threshold is None else min(LOWEST, threshold - REVIEW_BITS)


def train(
    left: Source,
    right: Source | None = None,
    *,
    labels: pl.DataFrame | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Training:
    """Learn a model for two sets of records, or for one against itself; arguments as in `link`."""
    check(threads=threads)
    sides = (records_of(left),) if right is None else (records_of(left), records_of(right))
    work = Run(progress or no_progress, threads).prepare(sides, None, labels, seed)
    assert work.training is not None
    return work.training


def explain(model: Model, left: Source, right: Source | None, left_id: str, right_id: str) -> Explanation:
    """Why a pair has its weight; `right` None for deduplication. See `linker.explain`."""
    check(model=model)
    own = _records(left, model)
    if right is not None:
        return explain_pair(model, own, _records(right, model), left_id, right_id)
    # Within one set the earlier record in canonical order stands left, as in the run itself.
    own = canonical(own) if model.raw is None else own
    first, second = own.ids.index_of(left_id), own.ids.index_of(right_id)
    if first is not None and second is not None and second < first:
        left_id, right_id = right_id, left_id
    return explain_pair(model, own, own, left_id, right_id)


def comparison_vectors(
    left: Source, right: Source | None = None, *, threads: int | None = None, progress: Progress | None = None
) -> pl.DataFrame:
    """The candidate pairs as vectors, for classifiers that learn from labels (`linker.classifiers`).

    Args:
        left: records, a frame of text, or a file.
        right: the other side; None to compare the left with itself.
        threads: None for one a core.
        progress: called with (stage, done, total).

    Returns:
        left_id, right_id and one column a comparison: 1 for its best level, 0 for its last, evenly spaced
        between, null where a value is missing. Sorted by the ids.
    """
    sides = (records_of(left),) if right is None else (records_of(left), records_of(right))
    run = Run(progress or no_progress, threads)
    work = run.prepare(sides, None, None, 0)
    scored = run.score(work, -math.inf)
    frame = _frame(scored, work, pattern=True)
    comparisons = work.model.comparisons
    places = shifts(comparisons)
    vectors = []
    for place, one in zip(places.tolist(), comparisons, strict=True):
        code = (pl.col("pattern") // (1 << place)) % (1 << one.bits)
        steps = max(1, len(one.levels) - 1)
        vectors.append(pl.when(code > 0).then(1.0 - (code - 1) / steps).alias(one.name))
    return frame.select("left_id", "right_id", *vectors)


def _asked(
    cardinality: Cardinality | None,
    threshold: float | None,
    lead: float,
    all_pairs: float | None,
    seed: int,
    model: Model | None,
    labels: pl.DataFrame | None,
    keys: Matchkeys | None,
) -> Asked:
    pairs = None if labels is None else digest(labels.cast(pl.String))
    way = None if cardinality is None else cardinality.value
    named = None if keys is None else name_of(keys)
    return Asked(way, threshold, lead, all_pairs, seed, model is not None, pairs, named)


def _chosen(keys: Matchkeys | str | Path | None, model: Model | None) -> Matchkeys | None:
    if keys is not None and model is not None and model.raw is not None:
        raise LinkerError(
            "The model reads records as they stand, and matchkeys read standard columns.",
            "Give one of the two.",
        )
    return None if keys is None else key_set(keys)


def _records(source: Source, model: Model | None) -> Records:
    raw = None if model is None else model.raw
    return records_of(source) if raw is None else raw_records(source, raw.id_column)


def _grouped(
    pairs: pl.DataFrame, ids: pl.Series, threshold: float | None, matched: Matched | None
) -> tuple[Expectation, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What to expect of the pairs within a set, its clusters, the links, and what people should look at."""
    considered = pairs.filter(pl.col("match_weight") >= lowest(threshold))
    expected = expect(considered["match_weight"].to_numpy(), 0.0, threshold)
    decided = decide.link(
        considered,
        cardinality=Cardinality.MANY_TO_MANY,
        threshold=expected.threshold,
        review=expected.threshold - REVIEW_BITS,
    )
    evidence = considered if matched is None else as_evidence(considered, matched)
    clusters = cluster(evidence, ids, expected.threshold)
    return expected, clusters, *_split(_within(decided, clusters))


def _expect(
    pairs: pl.DataFrame, cardinality: Cardinality, gain: float, threshold: float | None
) -> Expectation:
    """What to expect of the pairs that can stand beside each other."""
    lowest = LOWEST if threshold is None else min(LOWEST, threshold)
    possible = decide.link(pairs, cardinality=cardinality, threshold=lowest)
    linked = possible.filter(pl.col("outcome") == Outcome.LINKED.value)
    return expect(linked["match_weight"].to_numpy(), gain, threshold)


def _frame(scored: Scored, work: Workup, *, pattern: bool = False) -> pl.DataFrame:
    """Scored pairs with their ids; of a pair within one set the smaller id stands left."""
    rules = pl.Series("rule", [index.rule.name for index in work.blocks], dtype=pl.String)
    left, right = work.ids[0].gather(scored.left), work.ids[-1].gather(scored.right)
    frame = pl.DataFrame(
        {
            "left_id": left,
            "right_id": right,
            "match_weight": scored.weight,
            "match_probability": probability(scored.weight),
            "stage": pl.Series(["probabilistic"]).new_from_index(0, len(left)),
            "rule": rules.gather(scored.rule),
        }
    )
    if pattern:
        frame = frame.with_columns(pattern=pl.Series(scored.pattern))
    if work.encoded.deduplicates:
        frame = smaller_left(frame)
    return frame.sort("left_id", "right_id")


def _within(decided: pl.DataFrame, clusters: pl.DataFrame) -> pl.DataFrame:
    """A link whose records came into two clusters is none, but something to look at."""
    left = clusters.rename({"record_id": "left_id", "cluster_id": "left_cluster"})
    right = clusters.rename({"record_id": "right_id", "cluster_id": "right_cluster"})
    parted = (pl.col("outcome") == Outcome.LINKED.value) & (pl.col("left_cluster") != pl.col("right_cluster"))
    joined = decided.join(left, on="left_id", maintain_order="left").join(
        right, on="right_id", maintain_order="left"
    )
    outcome = pl.when(parted).then(pl.lit(Outcome.AMBIGUOUS.value)).otherwise(pl.col("outcome"))
    return joined.with_columns(outcome.alias("outcome")).drop("left_cluster", "right_cluster")


def _stage(gain: float) -> pl.Expr:
    """A pair that is less likely than not by itself is linked because nothing else is left for it."""
    alone = pl.col("match_weight") >= 0.0
    return pl.when(alone | (gain <= 0.0)).then(pl.col("stage")).otherwise(pl.lit("one-to-one")).alias("stage")


def _split(decided: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Links, and what people should look at."""
    columns = ["left_id", "right_id", "match_weight", "match_probability", "outcome", "stage", "rule"]
    outcome = pl.col("outcome")
    looked_at = outcome.is_in([Outcome.REVIEW.value, Outcome.AMBIGUOUS.value])
    return decided.filter(outcome == Outcome.LINKED.value).select(columns), decided.filter(looked_at).select(
        columns
    )


def _conflicts(decided: pl.DataFrame) -> int:
    """Pairs that are almost surely one person and lost to another link: a record stands twice, perhaps."""
    lost = (pl.col("outcome") == Outcome.NOT_LINKED.value) & (pl.col("match_probability") >= SURE)
    return decided.filter(lost).height


def _kept(pairs: pl.DataFrame, lowest: float | None) -> pl.DataFrame | None:
    return None if lowest is None else pairs.filter(pl.col("match_weight") >= lowest)
