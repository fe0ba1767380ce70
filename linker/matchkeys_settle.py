"""What a set of matchkeys links, given the first key that each pair meets.

Between two sets a record has one link at most: a pair is linked if it is the only one of both its records.

Within one set a person may stand any number of times, so what must be unique is not the pair but the group.
After each key, the pairs that meet it or an earlier one join records into groups. A group is *whole* if every
two of its records are such a pair: all say the same, and nobody else comes into question. A whole group is
linked. In any other two records that should be one person do not meet: what is not linked yet is ambiguous,
until a later key makes the group whole. For two records alone that is the rule of two sets. What is linked is
whole groups, so that no chain of links joins records that no key joins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.decide import Outcome, components
from linker.matchkeys import Matchkey
from linker.predict import Scored

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Settled = tuple[Rows, npt.NDArray[np.int8]]

_FREE, _LINKED, _OPEN = 0, 1, 2  # what a record is while the keys are gone through
OUTCOMES = (Outcome.NOT_LINKED, Outcome.LINKED, Outcome.REVIEW, Outcome.AMBIGUOUS)
_OVER, _LINK, _CLERICAL, _AMBIGUOUS = range(4)  # positions in it


def settle_between(
    keys: Sequence[Matchkey],
    scored: Scored,
    first: Rows,
    met: Mapping[int, Mask],
    columns: Sequence[pl.DataFrame],
) -> Settled:
    """Go through the keys in order, for pairs of two sets.

    Args:
        keys: in order.
        scored: the pairs.
        first: each pair's first key, by position; the number of keys for none. Keys of movers left out.
        met: which pairs meet each key of movers, as far as one pair alone can say.
        columns: of the left and of the right records.

    Returns:
        Each pair's key (position; their number for none) and outcome (position in `OUTCOMES`).
    """
    left, right, rank = scored.left, scored.right, first.copy()
    outcome = np.full(len(left), _OVER, np.int8)
    left_state, right_state = (np.full(len(side), _FREE, np.int8) for side in columns)
    for place, key in enumerate(keys):
        over = (left_state[left] == _LINKED) | (right_state[right] == _LINKED)
        if key.moved:
            movers = met[place] & (~over | (outcome == _LINK))
            rank[_moved(movers, key, scored, columns) & (rank > place) & ~over] = place
        rows = np.flatnonzero((rank == place) & ~over)
        a, b = left[rows], right[rows]
        single = _once(a) & _once(b) & (left_state[a] == _FREE) & (right_state[b] == _FREE)
        outcome[rows] = np.where(single, _CLERICAL if key.clerical else _LINK, _AMBIGUOUS)
        state = np.where(single & (not key.clerical), _LINKED, _OPEN)
        left_state[a], right_state[b] = state, state
    return rank, outcome


def settle_within(
    keys: Sequence[Matchkey],
    scored: Scored,
    first: Rows,
    met: Mapping[int, Mask],
    columns: Sequence[pl.DataFrame],
) -> Settled:
    """Go through the keys in order, for pairs of one set; arguments and result as of `settle_between`."""
    rank, outcome = first.copy(), np.full(len(first), _AMBIGUOUS, np.int8)
    groups = _Groups(len(columns[0]))
    for place, key in enumerate(keys):
        if key.moved:
            rank[_moved_within(met[place], key, scored, columns[0]) & (rank > place)] = place
        rows = np.flatnonzero(rank == place)
        if not len(rows):
            continue
        groups.join(scored.left[rows], scored.right[rows], clerical=key.clerical)
        if key.clerical:
            outcome[rows[groups.whole(scored.left[rows])]] = _CLERICAL
            continue
        waiting = np.flatnonzero((rank <= place) & (outcome == _AMBIGUOUS))
        records = scored.left[waiting]
        outcome[waiting[groups.whole(records) & ~groups.clerical(records)]] = _LINK
    return rank, outcome


class _Groups:
    """Records joined by pairs, and how many pairs each group has."""

    def __init__(self, records: int) -> None:
        self._group = np.arange(records)  # of each record: the first record of its group
        # Of each group, by its first record:
        self._records = np.ones(records, np.int64)
        self._pairs = np.zeros(records, np.int64)
        self._clerical = np.zeros(records, np.bool_)

    def join(self, left: npt.NDArray[np.int32], right: npt.NDArray[np.int32], *, clerical: bool) -> None:
        """Add pairs, each of which is new."""
        ends = np.concatenate([self._group[left], self._group[right]])
        joined, codes = np.unique(ends, return_inverse=True)
        a, b = codes[: len(left)], codes[len(left) :]
        labels = components(a, b, len(joined))
        _, firsts = np.unique(labels, return_index=True)
        heads = joined[firsts]
        self._records[heads] = np.bincount(labels, self._records[joined])
        self._pairs[heads] = np.bincount(labels, self._pairs[joined]) + np.bincount(labels[a])
        self._clerical[heads] = clerical | (np.bincount(labels, self._clerical[joined]) > 0)
        moves = np.arange(len(self._group))
        moves[joined] = heads[labels]
        self._group = moves[self._group]

    def whole(self, records: npt.NDArray[np.int32]) -> Mask:
        """Whether all pairs of the group of each record are there."""
        size, pairs = self._records[self._group[records]], self._pairs[self._group[records]]
        return np.asarray(2 * pairs == size * (size - 1))

    def clerical(self, records: npt.NDArray[np.int32]) -> Mask:
        """Whether a pair of a clerical key is in the group of each record."""
        return np.asarray(self._clerical[self._group[records]])


def _once(codes: npt.NDArray[np.int32]) -> Mask:
    """True where a code stands only once."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] == 1)


def _moved(movers: Mask, key: Matchkey, scored: Scored, columns: Sequence[pl.DataFrame]) -> Mask:
    """Which of the pairs lead from an address to another as the pair of somebody else does too."""
    rows = np.flatnonzero(movers)
    people = pl.DataFrame({"row": rows, "left": scored.left[rows], "right": scored.right[rows]})
    several = (pl.col("left").n_unique() > 1) & (pl.col("right").n_unique() > 1)
    return _together(len(movers), people, several, key, columns[0], columns[1])


def _moved_within(movers: Mask, key: Matchkey, scored: Scored, columns: pl.DataFrame) -> Mask:
    """The same within one set, where it is not said which address came first.

    One person may stand at both addresses more than once, so records do not tell people apart: pairs
    that hang together by any of their records are one person's.
    """
    rows = np.flatnonzero(movers)
    left, right = scored.left[rows], scored.right[rows]
    person = components(left.astype(np.int64), right.astype(np.int64), len(columns))[left]
    one_way = pl.DataFrame({"row": rows, "left": left, "right": right, "person": person})
    other_way = one_way.rename({"left": "right", "right": "left"}).select(one_way.columns)
    several = pl.col("person").n_unique() > 1
    return _together(len(movers), pl.concat([one_way, other_way]), several, key, columns, columns)


def _together(
    pairs: int, people: pl.DataFrame, several: pl.Expr, key: Matchkey, left: pl.DataFrame, right: pl.DataFrame
) -> Mask:
    """Mark the rows of the people whose move from one address to another is that of several."""
    together = np.zeros(pairs, np.bool_)
    for names in key.moved:
        ends = [
            side[name].gather(people[end]).alias(f"{end} {name}")
            for end, side in (("left", left), ("right", right))
            for name in names
        ]
        moves = people.with_columns(ends).drop_nulls()
        together[moves.filter(several.over([one.name for one in ends]))["row"].to_numpy()] = True
    return together
