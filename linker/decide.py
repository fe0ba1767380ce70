"""Decisions: which of the scored pairs are links.

    scored pairs ──threshold, cardinality──▶ best assignment ──lead, review band──▶ outcomes
    linked pairs ──connected components──▶ clusters

Invariants: the order of the rows changes nothing; ties are settled by the ids; under one-to-one no
record has two links, and the links of a connected component have the largest total of weight above
the threshold that any one-to-one choice can reach; every pair at or above the threshold touches a link.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.errors import LinkerError, RecordsError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LARGEST_CONTEST = 20_000  # left records; the exact solver's time grows with the square: some seconds here
_BATCH = 1_000  # left records solved in one call: small contests share the cost of the call
_ROUNDS = 16

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What was decided about a pair."""

    LINKED = "LINKED"
    REVIEW = "REVIEW"
    AMBIGUOUS = "AMBIGUOUS"
    NOT_LINKED = "NOT_LINKED"


class Cardinality(StrEnum):
    """How many links a record may have.

    Under many-to-one a left record has at most one link and a right record any number.
    """

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    MANY_TO_MANY = "many-to-many"


def link(
    pairs: pl.DataFrame,
    *,
    cardinality: Cardinality,
    threshold: float,
    review: float | None = None,
    lead: float = 0.0,
) -> pl.DataFrame:
    """Decides about every scored pair that is worth a decision.

    - `LINKED`: in the best assignment, and no open rival within `lead`.
    - `AMBIGUOUS`: in the best assignment but with a rival nearer than `lead`, or such a rival itself. A
      rival is another pair of the same record (under many-to-one: of the same left record). It is open unless
      its other record has a link that beats it by `lead`: who clearly belongs to someone else is no rival.
      A rival counts at any weight, below the review band too if `pairs` holds it.
    - `REVIEW`: in the band from `review` up to `threshold`, and neither record has anything better.
    - `NOT_LINKED`: lost to a better pair of one of its records.

    The assignment under one-to-one is a maximum-weight bipartite matching (Jaro 1989, JASA 84:414-420) in
    each connected component of the pairs at or above the threshold. A component in which more than
    `LARGEST_CONTEST` left records remain in contest is decided greedily from the highest weight down, and a
    warning is logged.

    Args:
        pairs: one row a pair; columns left_id, right_id (text) and match_weight (bits), any others are kept.
        cardinality: how many links a record may have.
        threshold: the match weight, in bits, from which a pair may be a link.
        review: the lower edge of the band for clerical review, in bits; None for no band.
        lead: bits by which a link must lead over the runner-up; 0 switches the rule off. Without effect
            under many-to-many, where there are no rivals.

    Returns:
        The pairs at or above `review` (`threshold` if there is no band) with a further column
        `outcome` (text), sorted by left_id and right_id.

    Raises:
        LinkerError: threshold, review and lead do not go together.
        RecordsError: a pair occurs twice, or has no finite weight.
    """
    floor = threshold if review is None else review
    if not (math.isfinite(threshold) and math.isfinite(floor) and math.isfinite(lead)):
        raise LinkerError("Threshold, review edge and lead must be finite numbers of bits.")
    if floor > threshold:
        raise LinkerError("The review band begins above the threshold.", "Lower its edge, or leave it out.")
    if lead < 0:
        raise LinkerError("The lead over the runner-up is negative.", "Give 0 or more bits.")
    if not pairs["match_weight"].is_finite().all():
        raise RecordsError("A scored pair has no finite match weight.")
    frame = pairs.filter(pl.col("match_weight") >= min(floor, threshold - lead)).sort("left_id", "right_id")
    graph = _graph(frame)
    eligible = np.flatnonzero(graph.weight >= threshold)
    if cardinality is Cardinality.ONE_TO_ONE:
        chosen = _assignment(graph, eligible, threshold)
    elif cardinality is Cardinality.MANY_TO_ONE:
        ranked = eligible[np.argsort(-graph.weight[eligible], kind="stable")]
        chosen = ranked[_leading(graph.left[ranked], graph.lefts)]
    else:
        chosen = eligible
    outcomes = _outcomes(graph, chosen, threshold, lead, cardinality)
    return frame.with_columns(outcomes).filter(pl.col("match_weight") >= floor)


def clusters(pairs: pl.DataFrame, ids: pl.Series, threshold: float) -> pl.DataFrame:
    """Joins records that are linked, directly or through others, into clusters.

    Args:
        pairs: columns left_id, right_id (text) and match_weight (bits); both ids name records of `ids`.
        ids: the ids of all records, unique.
        threshold: the match weight from which a pair joins its records; minus infinity for every pair.

    Returns:
        Columns record_id and cluster_id, one row a record, sorted by record_id. The cluster's id is the
        smallest id in it, in the order of text.

    Raises:
        RecordsError: an id occurs twice in `ids`, or a pair names a record that is not there.
    """
    records = ids.cast(pl.String).sort().rename("record_id")
    if records.n_unique() != len(records):
        raise RecordsError("Record ids are repeated.", "Give every record an id of its own.")
    place = pl.DataFrame({"id": records, "place": np.arange(len(records))})
    ends = (
        pairs.filter(pl.col("match_weight") >= threshold)
        .select("left_id", "right_id")
        .join(place, left_on="left_id", right_on="id", how="left")
        .join(place, left_on="right_id", right_on="id", how="left", suffix="_right")
        .select("place", "place_right")
    )
    if unknown := ends.filter(pl.any_horizontal(pl.all().is_null())).height:
        raise RecordsError(f"{unknown} pairs name a record that is not among the records.")
    labels = components(ends["place"].to_numpy(), ends["place_right"].to_numpy(), len(records))
    smallest = _first_rows(labels, len(records))[labels]
    return pl.DataFrame({"record_id": records, "cluster_id": records.gather(smallest)})


@dataclass(frozen=True)
class _Graph:
    """The pairs as numbers: codes follow the order of the ids, rows are sorted by left, then right."""

    left: Ints
    right: Ints
    weight: Floats
    lefts: int
    rights: int


def _graph(frame: pl.DataFrame) -> _Graph:
    left = frame["left_id"].rle_id().cast(pl.Int64).to_numpy()
    right = (frame["right_id"].rank("dense").cast(pl.Int64) - 1).to_numpy()
    if np.any((np.diff(left) == 0) & (np.diff(right) == 0)):
        raise RecordsError("A pair of records occurs twice among the scored pairs.", "Keep each pair once.")
    weight = frame["match_weight"].cast(pl.Float64).to_numpy()
    return _Graph(left, right, weight, int(left.max(initial=-1)) + 1, int(right.max(initial=-1)) + 1)


def _first_rows(codes: Ints, size: int) -> Ints:
    """For each code the first row that holds it, -1 where none does."""
    rows = np.full(size, -1, dtype=np.int64)
    rows[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of repeated places NumPy keeps the last written
    return rows


def _leading(codes: Ints, size: int) -> Mask:
    """True for the first row of each code."""
    leading: Mask = _first_rows(codes, size)[codes] == np.arange(len(codes))
    return leading


def components(a: Ints, b: Ints, size: int) -> Ints:
    """The component of each of `size` nodes, given the edges a to b; numbered by their first node."""
    from scipy import sparse  # here, because SciPy takes half a second that most commands need not wait
    from scipy.sparse import csgraph

    edges = sparse.coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(size, size))
    _, labels = csgraph.connected_components(edges, directed=False)
    return np.asarray(labels, dtype=np.int64)


def _assignment(graph: _Graph, eligible: Ints, threshold: float) -> Ints:
    """The rows of a one-to-one choice with the largest total gain (weight above the threshold)."""
    gain = graph.weight - threshold
    ranked = eligible[np.argsort(-gain[eligible], kind="stable")]
    settled, contested = _settle(graph, ranked, gain)
    won = _solve(graph, contested, gain)
    # What no solver was asked about, and pairs that gain nothing: exactly at the threshold.
    taken_left, taken_right = np.zeros(graph.lefts, np.bool_), np.zeros(graph.rights, np.bool_)
    taken_left[graph.left[won]] = True
    taken_right[graph.right[won]] = True
    free = contested[~(taken_left[graph.left[contested]] | taken_right[graph.right[contested]])]
    return np.concatenate([settled, won, _greedy(graph, free)])


def _settle(graph: _Graph, ranked: Ints, gain: Floats) -> tuple[Ints, Ints]:
    """Picks the pairs that need no solver: those that gain as much as the best two they could displace.

    A choice without such a pair can be exchanged for one with it at no loss, because the pair displaces
    at most one other pair of each of its records. Each round removes the settled records, which lets
    further pairs settle.

    Returns:
        The settled rows, and the rows still in contest, by rank.
    """
    settled = []
    for _ in range(_ROUNDS):
        left, right, gains = graph.left[ranked], graph.right[ranked], gain[ranked]
        top_left, top_right = _leading(left, graph.lefts), _leading(right, graph.rights)
        next_left, next_right = np.zeros(graph.lefts), np.zeros(graph.rights)
        next_left[left[~top_left][::-1]] = gains[~top_left][::-1]
        next_right[right[~top_right][::-1]] = gains[~top_right][::-1]
        sure = top_left & top_right & (gains >= next_left[left] + next_right[right])
        if not sure.any():
            break
        settled.append(ranked[sure])
        taken_left, taken_right = np.zeros(graph.lefts, np.bool_), np.zeros(graph.rights, np.bool_)
        taken_left[left[sure]] = True
        taken_right[right[sure]] = True
        ranked = ranked[~(taken_left[left] | taken_right[right])]
    return np.concatenate([*settled, ranked[:0]]), ranked


def _solve(graph: _Graph, contested: Ints, gain: Floats) -> Ints:
    """Solves the contested components exactly, small ones in batches, leaving out the too large."""
    if not len(contested):
        return contested
    rows = np.sort(contested)
    lefts, left = np.unique(graph.left[rows], return_inverse=True)
    rights, right = np.unique(graph.right[rows], return_inverse=True)
    labels = components(left, right + len(lefts), len(lefts) + len(rights))
    sizes = np.bincount(labels[: len(lefts)])
    small = sizes <= LARGEST_CONTEST
    if not small.all():
        _log.warning(
            "%d groups of rival pairs, the largest with %d left records, are too large for an assignment "
            "and were decided from the highest weight down. A higher threshold would divide them.",
            int((~small).sum()),
            int(sizes.max()),
        )
    batch = (np.cumsum(np.where(small, sizes, 0)) // _BATCH)[labels[left]]
    order = np.argsort(batch, kind="stable")
    order = order[small[labels[left[order]]]]
    cuts = np.flatnonzero(np.diff(batch[order])) + 1
    won = [part[_best_matching(left[part], right[part], gain[rows[part]])] for part in np.split(order, cuts)]
    return rows[np.concatenate(won)]


def _best_matching(left: Ints, right: Ints, gain: Floats) -> Mask:
    """True for the edges of a maximum-gain matching; edges sorted by left, then right."""
    if not len(left):
        return np.zeros(0, np.bool_)
    from scipy import sparse
    from scipy.sparse import csgraph

    lefts, left = np.unique(left, return_inverse=True)
    rights, right = np.unique(right, return_inverse=True)
    # The solver wants every left node matched: each gets a partner of its own that stands for "no link".
    # It takes zeros for missing edges: one is added everywhere, which moves every full matching alike.
    alone = np.arange(len(lefts))
    values = np.concatenate([gain + 1.0, np.ones(len(lefts))])
    ends = (np.concatenate([left, alone]), np.concatenate([right, len(rights) + alone]))
    matrix = sparse.csr_array((values, ends), shape=(len(lefts), len(rights) + len(lefts)))
    _, partner = csgraph.min_weight_full_bipartite_matching(matrix, maximize=True)
    matched: Mask = partner[left] == right
    return matched


def _greedy(graph: _Graph, ranked: Ints) -> Ints:
    """Takes the pairs in the order given, each if both its records are still free."""
    # A loop, since each step depends on the one before; only the rest of the solver comes here.
    taken_left: set[int] = set()
    taken_right: set[int] = set()
    chosen = []
    for row, left, right in zip(
        ranked.tolist(), graph.left[ranked].tolist(), graph.right[ranked].tolist(), strict=True
    ):
        if left not in taken_left and right not in taken_right:
            taken_left.add(left)
            taken_right.add(right)
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)


def _outcomes(
    graph: _Graph, chosen: Ints, threshold: float, lead: float, cardinality: Cardinality
) -> pl.Expr:
    """The outcome of each row of the graph, as an expression of literals."""
    one_left = cardinality is not Cardinality.MANY_TO_MANY
    one_right = cardinality is Cardinality.ONE_TO_ONE
    picked = np.zeros(len(graph.weight), np.bool_)
    picked[chosen] = True
    held_left, held_right = np.full(graph.lefts, -np.inf), np.full(graph.rights, -np.inf)
    if one_left:
        held_left[graph.left[chosen]] = graph.weight[chosen]
    if one_right:
        held_right[graph.right[chosen]] = graph.weight[chosen]
    held = np.maximum(held_left[graph.left], held_right[graph.right])  # the strongest choice of either record
    beaten = ~picked & (held > -np.inf)
    near = beaten & (held - graph.weight < lead) if lead > 0 else np.zeros_like(picked)
    unsure_left, unsure_right = np.zeros(graph.lefts, np.bool_), np.zeros(graph.rights, np.bool_)
    unsure_left[graph.left[near]] = one_left
    unsure_right[graph.right[near]] = one_right
    ambiguous = near | (picked & (unsure_left[graph.left] | unsure_right[graph.right]))
    return (
        pl.when(pl.Series(ambiguous))
        .then(pl.lit(Outcome.AMBIGUOUS.value))
        .when(pl.Series(picked))
        .then(pl.lit(Outcome.LINKED.value))
        .when(pl.Series(beaten))
        .then(pl.lit(Outcome.NOT_LINKED.value))
        .otherwise(pl.lit(Outcome.REVIEW.value))
        .alias("outcome")
    )
