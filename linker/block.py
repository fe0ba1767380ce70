"""Blocking: rules → candidate pairs, counted before they are run and never materialised.

A rule's key is a 64-bit hash of the codes of its columns. The left is sorted by key; a right row's
candidates are one run of that order. Hash collisions and pairs of earlier rules are recognised by the
codes themselves, when the pair is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linker.encode import Encoded
from linker.kernels import kernel
from linker.model import BlockingRule

_MISSING_KEY = np.uint64(0)


@dataclass(frozen=True)
class BlockIndex:
    """One rule over encoded records.

    Attributes:
        rule: the rule.
        left, right: int16 [columns of the rule], positions of the columns.
        order: int32, left rows sorted by key, rows with a missing part left out.
        start, stop: int64 [right records], each right row's run in `order`.
        pairs: candidate pairs, those of earlier rules included.
    """

    rule: BlockingRule
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]
    order: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    pairs: int


@kernel
def _keys(codes: npt.NDArray[np.int32], columns: npt.NDArray[np.int16], keys: npt.NDArray[np.uint64]) -> None:
    for row in range(codes.shape[0]):
        key = np.uint64(0x9E3779B97F4A7C15)
        for column in columns:
            code = codes[row, column]
            if code < 0:
                key = np.uint64(0)
                break
            # splitmix64's finaliser: mixes every bit of the code into every bit of the key.
            key = key ^ np.uint64(code)
            key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            key = (key ^ (key >> np.uint64(31))) | np.uint64(1)
        keys[row] = key


def block_index(rule: BlockingRule, encoded: Encoded) -> BlockIndex:
    """Index the left side by a rule's key and find each right row's run.

    Raises:
        ModelError: the rule names a column that the records do not have.
    """
    left = np.array([encoded.column(name) for name, _ in rule.columns], np.int16)
    right = np.array([encoded.column(name) for _, name in rule.columns], np.int16)
    left_keys = np.empty(len(encoded.left), np.uint64)
    right_keys = np.empty(len(encoded.right), np.uint64)
    _keys(encoded.left, left, left_keys)
    _keys(encoded.right, right, right_keys)
    order = np.argsort(left_keys, kind="stable")
    order = order[np.searchsorted(left_keys[order], _MISSING_KEY, side="right") :]
    ordered = left_keys[order]
    start = np.searchsorted(ordered, right_keys, side="left")
    stop = np.searchsorted(ordered, right_keys, side="right")
    start[right_keys == _MISSING_KEY] = stop[right_keys == _MISSING_KEY] = 0
    pairs = int((stop - start).sum())
    if encoded.deduplicates:
        pairs = (pairs - len(order)) // 2 if np.array_equal(left, right) else pairs
    return BlockIndex(rule, left, right, order.astype(np.int32), start, stop, pairs)


def block(rules: Sequence[BlockingRule], encoded: Encoded) -> list[BlockIndex]:
    """Index every rule, in order."""
    return [block_index(rule, encoded) for rule in rules]
