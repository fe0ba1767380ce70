"""Clusters: records that are one person, judged by all the evidence between two groups.

A chain of links is not enough. One wrong link would make two families of records one, so a link joins the
groups of its two records only if the evidence of all pairs across speaks for it in sum: greedy additive
contraction for correlation clustering (Bansal, Blum and Chawla 2004; Keuper et al. 2015), from the
strongest link down. Evidence of one pair is bounded below, because the errors of one distorted record show
in all its pairs; a pair that was not scored, or under the lowest weight kept, is weak evidence against.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.kernels import kernel

AGAINST = -4.0  # bits; the most that one pair says against
UNSEEN = -2.0  # bits; what a pair says that is not among the scored pairs
FOR = 10.0  # bits; the most that one pair says for

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def cluster(pairs: pl.DataFrame, ids: pl.Series, threshold: float) -> pl.DataFrame:
    """Join the records that are linked and that agree as groups.

    Args:
        pairs: left_id, right_id, match_weight (bits) of every scored pair, those below the threshold as
            evidence against.
        ids: of all records, unique.
        threshold: the weight from which a pair may join its records, in bits.

    Returns:
        record_id and cluster_id, one row a record, sorted by record_id; the cluster's id is the smallest id
        in it. Every cluster is connected by pairs at or above the threshold.
    """
    records = ids.sort().alias("record_id")
    ranked = pairs.sort(["match_weight", "left_id", "right_id"], descending=[True, False, False])
    place = pl.Enum(records)
    left, right = (
        ranked[side].cast(place).to_physical().to_numpy().astype(np.int64) for side in ("left_id", "right_id")
    )
    weight = ranked["match_weight"].to_numpy()
    links = int(np.searchsorted(-weight, -threshold, side="right"))
    ends, others = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[order], np.arange(len(records) + 1))
    # A threshold below 0 is a wish to join what is unlikely: evidence is then counted from there.
    evidence = np.concatenate([weight, weight])[order] - min(threshold, 0.0)
    gain = np.clip(evidence, AGAINST, FOR) - UNSEEN
    group = np.arange(len(records))
    following, last, size = np.full(len(group), -1), group.copy(), np.ones(len(group))
    _contract(left[:links], right[:links], starts, others[order], gain, group, following, last, size)
    smallest = np.full(len(records), len(records))
    np.minimum.at(smallest, group, np.arange(len(records)))
    return pl.DataFrame({"record_id": records, "cluster_id": records.gather(smallest[group])})


@kernel
def _contract(
    left: Ints,
    right: Ints,
    starts: Ints,
    others: Ints,
    gain: Floats,
    group: Ints,
    following: Ints,
    last: Ints,
    size: Floats,
) -> None:
    """Join groups along the links.

    The members of a group are a chain from its first; `gain` is each pair's evidence beyond that of an
    unseen pair.
    """
    for link in range(len(left)):
        one, other = group[left[link]], group[right[link]]
        if one == other:
            continue
        if size[one] < size[other]:
            one, other = other, one
        evidence = UNSEEN * size[one] * size[other]
        member = other
        while member >= 0:
            for position in range(starts[member], starts[member + 1]):
                if group[others[position]] == one:
                    evidence += gain[position]
            member = following[member]
        if evidence < 0.0:
            continue
        member = other
        while member >= 0:
            group[member] = one
            member = following[member]
        following[last[one]] = other
        last[one] = last[other]
        size[one] += size[other]
