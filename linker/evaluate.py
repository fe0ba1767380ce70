"""How good the links are, where the truth is known.

    links or clusters ─┐
    truth ─────────────┴─▶ pairs right, wrong and missed ──▶ precision, recall, F1 with intervals

The truth is taken to be complete: a link that it does not hold is a wrong link, whether or not anyone looked.
Pairs are counted by joins and by group sizes; the pairs of a cluster are never written out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from linker import decide
from linker.truth import check_acquaintance, one_each, pairs_within, read_truth, two_columns

Z = 1.959963984540054  # the normal quantile of two-sided 95% intervals


@dataclass(frozen=True)
class Quality:
    """Pairs right, wrong and missed, and what follows from them.

    A rate is None where nothing is there to rate: precision without links, recall without true pairs. The
    intervals hold for pairs that err independently; pairs of one large cluster do not, and for them the
    intervals are too narrow.

    Attributes:
        tp: true pairs that were linked.
        fp: linked pairs that are not true.
        fn: true pairs that were not linked.
    """

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float | None:
        """The share of the linked pairs that are true."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """The share of the true pairs that were linked."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision_interval(self) -> tuple[float, float] | None:
        """95% interval, Wilson (1927)."""
        return wilson(self.tp, self.tp + self.fp)

    @property
    def recall_interval(self) -> tuple[float, float] | None:
        """95% interval, Wilson (1927)."""
        return wilson(self.tp, self.tp + self.fn)

    @property
    def f1_interval(self) -> tuple[float, float] | None:
        """95% interval: Wilson's for F* = tp / (tp + fp + fn), carried over by F1 = 2 F* / (1 + F*).

        F* is a proportion (of the pairs that are linked or true, those that are both), and F1 a
        rising function of it: Hand, Christen and Kirielle (2021), Machine Learning 110:451-456.
        """
        interval = wilson(self.tp, self.tp + self.fp + self.fn)
        return interval and (2 * interval[0] / (1 + interval[0]), 2 * interval[1] / (1 + interval[1]))

    def as_dict(self) -> dict[str, int | float | None]:
        """Plain figures under flat names: tp, fp, fn, precision, precision_low, precision_high and so on."""
        figures: dict[str, int | float | None] = {"tp": self.tp, "fp": self.fp, "fn": self.fn}
        for name in ("precision", "recall", "f1"):
            figures[name] = getattr(self, name)
            figures[f"{name}_low"], figures[f"{name}_high"] = getattr(self, f"{name}_interval") or (
                None,
                None,
            )
        return figures


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """The 95% score interval of a proportion: Wilson (1927), JASA 22:209-212. None without trials."""
    if trials == 0:
        return None
    share = successes / trials
    centre = share + Z * Z / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if successes == trials else min(1.0, (centre + spread) / scale)
    return low, high


def quality(
    decided: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    left_ids: pl.Series | None = None,
    right_ids: pl.Series | None = None,
) -> Quality:
    """`cluster_quality` for a frame with the columns record_id and cluster_id, else `link_quality`."""
    if {"record_id", "cluster_id"} <= set(decided.columns):
        return cluster_quality(decided, truth)
    return link_quality(decided, truth, left_ids=left_ids, right_ids=right_ids)


def link_quality(
    links: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    left_ids: pl.Series | None = None,
    right_ids: pl.Series | None = None,
    within: bool = False,
) -> Quality:
    """Compares links with the truth.

    Args:
        links: columns left_id and right_id (else the first two columns); of rows with an `outcome` only
            those LINKED count.
        truth: under any names, either two columns with the ids of pairs that match (left, right), or a
            record's id and its entity's id, with a column `side` (left or right) where an id alone
            does not tell the side. A record without an entity matches nothing.
        left_ids: the ids of all left records. With them the truth is checked against the records, and the
            sides of entity ids are known. A few ids of the truth may be missing here, such as those of
            refused records: their pairs count as missed where their side is known, and a warning is logged.
        right_ids: likewise for the right records. Left out if `within`.
        within: the links join records of one file, and the order of the two ids has no meaning. True
            pairs are then closed: if a matches b and b matches c, a matches c.

    Returns:
        The counts of pairs.

    Raises:
        TruthError: the truth cannot be read as either kind, or does not fit the records.
    """
    known = read_truth(truth, left_ids, right_ids, within)
    frame = _linked(links).unique()
    if within:
        frame = _unordered(frame).unique()
    if left_ids is None and right_ids is None:
        check_acquaintance(frame, known)
    tp = int(known.hits(frame).sum())
    return Quality(tp, frame.height - tp, known.total - tp)


def cluster_quality(clusters: pl.DataFrame, truth: pl.DataFrame) -> Quality:
    """Compares clusters with the truth, by the pairs of records that share a cluster.

    Args:
        clusters: columns record_id and cluster_id (else the first two columns), one row for each record.
        truth: as for `link_quality` with `within`.

    Returns:
        The counts of pairs.

    Raises:
        TruthError: as for `link_quality`; or a record has two clusters.
    """
    names = [name for name in ("record_id", "cluster_id") if name in clusters.columns]
    frame = two_columns(
        clusters.select(names) if len(names) == 2 else clusters, ("id", "cluster"), "clusters"
    )
    frame = one_each(frame.unique(), "clusters")
    known = read_truth(truth, frame["id"], None, within=True)
    together = frame.join(known.left, on="id").group_by("cluster", "entity").len()
    tp = pairs_within(together["len"])
    return Quality(tp, pairs_within(frame.group_by("cluster").len()["len"]) - tp, known.total - tp)


def at_thresholds(
    pairs: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    left_ids: pl.Series | None = None,
    right_ids: pl.Series | None = None,
    within: bool = False,
) -> pl.DataFrame:
    """Precision and recall if every pair from a threshold up were a link, for every threshold.

    The threshold alone decides here, without cardinality or lead: it shows how well the weights tell
    matches from others. Pairs that were never scored count as missed.

    Args:
        pairs: scored pairs: left_id, right_id, match_weight; each pair once.
        truth: as for `link_quality`.
        left_ids: as for `link_quality`.
        right_ids: as for `link_quality`.
        within: as for `link_quality`.

    Returns:
        One row for each distinct weight, the highest first: threshold (bits), links, tp, fp, fn,
        precision, recall, f1 (null where there is nothing to rate).

    Raises:
        TruthError: as for `link_quality`.
    """
    known = read_truth(truth, left_ids, right_ids, within)
    ids = two_columns(pairs.select("left_id", "right_id"), ("left", "right"), "pairs")
    tp, links = pl.col("tp"), pl.col("links")
    return (
        pl.DataFrame({"threshold": pairs["match_weight"], "hit": known.hits(ids)})
        .group_by("threshold")
        .agg(links=pl.len().cast(pl.Int64), tp=pl.col("hit").sum().cast(pl.Int64))
        .sort("threshold", descending=True)
        .with_columns(tp.cum_sum(), links.cum_sum())
        .select("threshold", "links", "tp", fp=links - tp, fn=known.total - tp)
        .with_columns(
            precision=tp / links,
            recall=tp / pl.lit(known.total or None, pl.Int64),
            f1=2 * tp / (links + known.total),
        )
    )


def recall_at_precision(curve: pl.DataFrame, precision: float = 0.999) -> dict[str, float] | None:
    """The row of `at_thresholds` with the highest recall among those of at least this precision.

    Returns:
        threshold, precision and recall; None where no threshold is as precise.
    """
    good = curve.filter(pl.col("precision") >= precision, pl.col("recall").is_not_null())
    if good.is_empty():
        return None
    # Rows run from the highest threshold down, so recall rises: the last is the best.
    return good.select("threshold", "precision", "recall").row(-1, named=True)


def _linked(links: pl.DataFrame) -> pl.DataFrame:
    if "outcome" in links.columns:
        links = links.filter(pl.col("outcome").cast(pl.String) == decide.Outcome.LINKED.value)
    if {"left_id", "right_id"} <= set(links.columns):
        links = links.select("left_id", "right_id")
    return two_columns(links, ("left", "right"), "links")


def _unordered(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.filter(pl.col("left") != pl.col("right")).select(
        left=pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right")
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
