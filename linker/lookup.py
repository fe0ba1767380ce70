"""Blocking rules over records that come and go: an index of those loaded, and chains of those put later.

    starts[rule, bucket] ──▶ rows, tags      as in `linker.block`, the rules side by side
    heads[rule, bucket] ──▶ row ──▶ nexts[rule, row] ──▶ … ──▶ -1      a row is added in front

Nothing is sorted again: a row that is gone is stepped over, and a row put later hangs on one chain a rule.
Keys, the order of the rules and the arithmetic of the weights are those of the pass over whole files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from linker.block import block_index, block_key, bucket_of, tag_of
from linker.encode import Codes, Encoded
from linker.kernels import kernel, whole
from linker.model import BlockingRule
from linker.program import Tests, Weights
from linker.score import BATCH, Kept, Workspace, produced_by, weigh
from linker.spelling import ValueTable

KEPT = 1 << 13  # pairs that one call of `search` can keep
LEAST = 1 << 12  # rows put later, at least, that there is room for
_LINE = 16  # codes in a cache line


class Found(NamedTuple):
    """Pairs of a search: left and right row, weight in bits, packed levels, rule."""

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    pattern: npt.NDArray[np.int64]
    rule: npt.NDArray[np.int16]

    @staticmethod
    def of(kept: Kept, rule: npt.NDArray[np.int16]) -> Found:
        """What a kernel kept, and its rules."""
        return Found(kept.left, kept.right, kept.weight, kept.pattern, rule)

    def at(self, rows: Any) -> Found:
        """Some of the pairs."""
        return Found(
            self.left[rows], self.right[rows], self.weight[rows], self.pattern[rows], self.rule[rows]
        )


def joined(parts: Sequence[Found]) -> Found:
    """All pairs of some searches, by right row."""
    parts = parts or [Found.of(Kept.empty(0), np.empty(0, np.int16))]
    found = Found(
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.pattern for part in parts]),
        np.concatenate([part.rule for part in parts]),
    )
    return found.at(np.argsort(found.right, kind="stable"))


class Desk:
    """What one thread writes on, kept from search to search."""

    def __init__(self) -> None:
        self.kept, self.rule = Kept.empty(KEPT), np.empty(KEPT, np.int16)
        self.space: Workspace | None = None

    def prepare(self, table: ValueTable, tests: Tests) -> Workspace:
        """Clean it: the place of a value may have been that of another, in an earlier search."""
        if self.space is None or len(self.space.scratch) < table.scratch:
            self.space = Workspace.of(table, tests)
        self.space.memo_key.fill(-1)
        return self.space


class Lookup:
    """Where the rows of a key are, for every rule.

    Attributes:
        left, right: int16 [rules, widest + 1], columns of the rules, -1 after the last.
        starts: int32 [rules, buckets + 1], each bucket's first place in `rows`.
        rows, tags: int32 and uint32, rows by bucket, rule after rule, and bits of their keys.
        heads: int32 [rules, buckets], the row that came last, counted from those loaded.
        nexts: int32 [rules, rows put later].
        loaded: how many rows are in the index.
    """

    def __init__(self, rules: Sequence[BlockingRule], encoded: Encoded) -> None:
        """Index the left side.

        Raises:
            ModelError: a rule names a column that the records do not have.
        """
        widest = max((len(rule.columns) for rule in rules), default=0)
        self.left = np.full((len(rules), widest + 1), -1, np.int16)
        self.right = self.left.copy()
        self.loaded = len(encoded.left)
        starts, rows, tags, filled = [], [], [], 0
        for k, rule in enumerate(rules):
            index = block_index(rule, encoded)
            self.left[k, : len(index.left)], self.right[k, : len(index.right)] = index.left, index.right
            starts.append((index.starts + filled).astype(np.uint32))
            rows.append(index.rows.copy())
            tags.append(index.tags.copy())
            filled += len(index.rows)
        self.starts = np.stack(starts) if rules else np.zeros((0, 2), np.uint32)
        self.rows = np.concatenate([np.zeros(0, np.int32), *rows])
        self.tags = np.concatenate([np.zeros(0, np.uint32), *tags])
        self._make_room(LEAST)

    def add(self, rows: Codes, first: int, last: int) -> None:
        """Hang the rows first..last-1 on the chains of every rule; `rows` are all there are."""
        if last - self.loaded > self.nexts.shape[1]:
            self._make_room(2 * (last - self.loaded))
            first = self.loaded
        hang(rows, first, last, self.loaded, self.left, self.heads, self.nexts)

    def find(
        self,
        desk: Desk,
        right_rows: range,
        alive: npt.NDArray[np.bool_],
        left: Codes,
        right: Codes,
        table: ValueTable,
        tests: Tests,
        weights: Weights,
        floor: float,
    ) -> list[Found]:
        """All pairs of at least `floor` bits, in parts; see `search`."""
        space, first = desk.prepare(table, tests), right_rows.start
        parts = []
        k, y, at, later = 0, first, -1, -2
        while k < len(self.left):
            k, y, at, later, written = search(
                k, y, at, later, first, right_rows.stop,
                self.starts, self.rows, self.tags, self.heads, self.nexts, self.loaded,
                alive, left, right, self.left, self.right, table, tests, weights, floor,
                space, desk.kept, desk.rule,
            )  # fmt: skip
            if written:
                parts.append(Found.of(desk.kept.first(written), desk.rule[:written].copy()))
        return parts

    def _make_room(self, later: int) -> None:
        self.heads = np.full((len(self.left), 1 << (later - 1).bit_length()), -1, np.int32)
        self.nexts = np.full((len(self.left), later), -1, np.int32)


@kernel
def hang(
    rows: Codes,
    first: int,
    last: int,
    loaded: int,
    columns: npt.NDArray[np.int16],
    heads: npt.NDArray[np.int32],
    nexts: npt.NDArray[np.int32],
) -> None:
    """Hang rows on the chains of every rule; a row with a missing part on none."""
    for k in range(len(columns)):
        for row in range(first, last):
            key = block_key(rows, row, columns[k])
            if key != 0:
                bucket = bucket_of(key, heads.shape[1])
                nexts[k, row - loaded] = heads[k, bucket]
                heads[k, bucket] = row - loaded


@kernel
def search(
    k: int,
    y: int,
    at: int,
    later: int,
    first: int,
    last: int,
    starts: npt.NDArray[np.uint32],
    rows: npt.NDArray[np.int32],
    tags: npt.NDArray[np.uint32],
    heads: npt.NDArray[np.int32],
    nexts: npt.NDArray[np.int32],
    loaded: int,
    alive: npt.NDArray[np.bool_],
    left: Codes,
    right: Codes,
    rule_left: npt.NDArray[np.int16],
    rule_right: npt.NDArray[np.int16],
    table: ValueTable,
    tests: Tests,
    weights: Weights,
    cut: float,
    space: Workspace,
    kept: Kept,
    kept_rule: npt.NDArray[np.int16],
) -> tuple[int, int, int, int, int]:
    """Score the candidates that the rules give for right rows first to last - 1.

    Args:
        k: the rule to go on with.
        y: the right row to go on with.
        at: the place in its bucket to go on from; -1 for the beginning.
        later: the row put later to go on from; -2 for the head of the chain.
        first, last: the right rows.
        starts, rows, tags, heads, nexts, loaded: see `Lookup`.
        alive: by left row.
        left, right: codes.
        rule_left, rule_right: columns of all rules, -1 after the last.
        table, tests, weights, cut: see `score.weigh`.
        space: to write on.
        kept, kept_rule: the output.

    Returns:
        rule, right row, place and row put later to go on with, and pairs written; it is done at the rule
        after the last.
    """
    written = 0
    while k < len(rule_left) and written + BATCH <= len(kept.left):
        count = 0
        while y < last and count < BATCH:
            key = block_key(right, y, rule_right[k])
            if key != 0:
                bucket, tag = bucket_of(key, starts.shape[1] - 1), tag_of(key)
                end = whole(starts[k, bucket + 1])
                if at < 0:
                    at = whole(starts[k, bucket])
                while at < end and count < BATCH:
                    if tags[at] == tag:
                        space.left[count], space.right[count] = rows[at], y
                        count += 1
                    at += 1
                if at == end and later == -2:
                    later = heads[k, bucket_of(key, heads.shape[1])]
                while at == end and later >= 0 and count < BATCH:
                    space.left[count], space.right[count] = loaded + later, y
                    count += 1
                    later = nexts[k, later]
                if at < end or later >= 0:
                    break
            y += 1
            at, later = -1, -2
        # All rows are asked for at once: the processor waits for many reads, and not for each.
        for i in range(count):
            touched = 0
            for column in range(0, left.shape[1], _LINE):
                touched ^= left[space.left[i], column]
            space.touched[i] = touched
        fresh = 0
        for i in range(count):
            x, z = space.left[i], space.right[i]
            space.left[fresh], space.right[fresh] = x, z
            fresh += alive[x] and produced_by(k, left, x, right, z, rule_left, rule_right)
        before = written
        written = weigh(
            space.left, space.right, fresh, left, right, table, tests, weights, cut,
            rule_left, rule_right, 0, space, kept, written,
        )  # fmt: skip
        for i in range(before, written):
            kept_rule[i] = k
        if y == last:
            k += 1
            y, at, later = first, -1, -2
    return k, y, at, later, written
