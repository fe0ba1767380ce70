"""Blocking: rules → candidate pairs, counted before they are run and never materialised.

A rule's key is a 64-bit hash of the codes of its columns. Left rows stand in buckets by the first bits of
their keys, with 32 bits of the key beside each row; a right row looks through its bucket. Hash collisions
and pairs of earlier rules are recognised by the codes themselves, when the pair is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.encode import Codes, Encoded, aligned
from linker.kernels import half, inlined_kernel, kernel, whole, word
from linker.model import BlockingRule
from linker.threads import each

_CACHED = 1 << 21  # bytes of codes that stay near the processor
_DENSE = 8  # rows in the bucket that a right row looks through, on average
_LOOKS = 64  # rows in a bucket, on average, up to which pairs are counted one by one


@dataclass(frozen=True)
class BlockIndex:
    """One rule over encoded records.

    Attributes:
        rule: the rule.
        left, right: int16 [columns of the rule], positions of the columns.
        starts: int32 [buckets + 1], each bucket's first place in `rows`; buckets are a power of 2.
        rows: int32, left rows by bucket, ascending in each; rows with a missing part are left out.
        tags: uint32, of each row 32 bits of its key that are not the bucket's.
        encoded: the records.
    """

    rule: BlockingRule
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]
    starts: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    tags: npt.NDArray[np.uint32]
    encoded: Encoded

    @cached_property
    def pairs(self) -> int:
        """Candidate pairs, those of earlier rules included."""
        return self.count()

    def count(self) -> int:
        """`pairs`, counted anew: rules can be counted side by side, which a cached property forbids."""
        encoded = self.encoded
        if _look(encoded.right, self.right, self.starts) <= _LOOKS * len(encoded.right):
            counts = _count(encoded.right, self.right, self.starts, self.tags)
        else:
            counts = _multiplied(_keys(encoded.left, self.left), _keys(encoded.right, self.right))
        if encoded.deduplicates and np.array_equal(self.left, self.right):
            return int(counts - len(self.rows)) // 2
        return int(counts)

    @cached_property
    def packed(self) -> Codes | None:
        """The left codes in the order of `rows`, where blocks are so large that reading them is the cost."""
        if self.encoded.left.nbytes < _CACHED or _neighbours(self.starts) < _DENSE * len(self.rows):
            return None
        packed = aligned(len(self.rows), self.encoded.left.shape[1])
        np.take(self.encoded.left, self.rows, axis=0, out=packed, mode="clip")
        return packed


@inlined_kernel
def block_key(codes: Codes, row: int, columns: npt.NDArray[np.int16]) -> int:
    """The key of a row; 0 where a part is missing."""
    key = word(0x9E3779B97F4A7C15)
    for column in columns:
        if column < 0:
            break
        code = codes[row, column]
        if code < 0:
            return word(0)
        # splitmix64's finaliser: mixes every bit of the code into every bit of the key.
        key = key ^ word(code)
        key = (key ^ (key >> word(30))) * word(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> word(27))) * word(0x94D049BB133111EB)
        key = (key ^ (key >> word(31))) | word(1)
    return key


@inlined_kernel
def bucket_of(key: int, buckets: int) -> int:
    """Where the rows of a key stand."""
    # The lowest bit is always set; the 32 above it are the tag.
    return whole((key >> word(33)) & word(buckets - 1))


@inlined_kernel
def tag_of(key: int) -> int:
    """What tells the keys of a bucket apart."""
    return half((key >> word(1)) & word(0xFFFFFFFF))


@kernel
def _index(
    codes: Codes,
    columns: npt.NDArray[np.int16],
    starts: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    rows: npt.NDArray[np.int32],
    tags: npt.NDArray[np.uint32],
) -> int:
    """Sort the rows into their buckets by counting; returns how many have a key."""
    buckets = len(starts) - 1
    for row in range(len(codes)):
        key = block_key(codes, row, columns)
        keys[row] = key
        if key != 0:
            starts[bucket_of(key, buckets) + 1] += 1
    for bucket in range(buckets):
        starts[bucket + 1] += starts[bucket]
    keyed = starts[buckets]
    for row in range(len(codes) - 1, -1, -1):
        if keys[row] != 0:
            bucket = bucket_of(keys[row], buckets)
            starts[bucket + 1] -= 1
            place = starts[bucket + 1]
            rows[place], tags[place] = row, tag_of(keys[row])
    # Each end was moved back to the beginning of its own bucket: shift them into place.
    for bucket in range(buckets):
        starts[bucket] = starts[bucket + 1]
    starts[buckets] = keyed
    return int(keyed)


@kernel
def _neighbours(starts: npt.NDArray[np.int32]) -> int:
    """How many rows stand in the same bucket as a row, itself included, summed over all rows."""
    neighbours = whole(0)
    for bucket in range(len(starts) - 1):
        size = whole(starts[bucket + 1] - starts[bucket])
        neighbours += size * size
    return neighbours


@kernel
def _look(codes: Codes, columns: npt.NDArray[np.int16], starts: npt.NDArray[np.int32]) -> int:
    """How many rows stand in the buckets that the right rows look through."""
    looks = 0
    for row in range(len(codes)):
        key = block_key(codes, row, columns)
        if key != 0:
            bucket = bucket_of(key, len(starts) - 1)
            looks += starts[bucket + 1] - starts[bucket]
    return looks


def _keys(codes: Codes, columns: npt.NDArray[np.int16]) -> pl.Series:
    keys = np.empty(len(codes), np.uint64)
    _write_keys(codes, columns, keys)
    return pl.Series("key", keys[keys != 0])


@kernel
def _write_keys(codes: Codes, columns: npt.NDArray[np.int16], keys: npt.NDArray[np.uint64]) -> None:
    for row in range(len(codes)):
        keys[row] = block_key(codes, row, columns)


def _multiplied(left: pl.Series, right: pl.Series) -> int:
    """Pairs of equal keys, however many: the sizes of the blocks are multiplied."""
    sizes = [keys.value_counts(name="rows") for keys in (left, right)]
    both = sizes[0].join(sizes[1], on="key")
    rows, others = (both[name].cast(pl.Float64) for name in ("rows", "rows_right"))
    return int((rows * others).sum())


@kernel
def _count(
    codes: Codes,
    columns: npt.NDArray[np.int16],
    starts: npt.NDArray[np.int32],
    tags: npt.NDArray[np.uint32],
) -> int:
    pairs = 0
    for row in range(len(codes)):
        key = block_key(codes, row, columns)
        if key != 0:
            bucket, tag = bucket_of(key, len(starts) - 1), tag_of(key)
            for place in range(starts[bucket], starts[bucket + 1]):
                pairs += tags[place] == tag
    return pairs


def block_index(rule: BlockingRule, encoded: Encoded) -> BlockIndex:
    """Index the left side by a rule's key.

    Raises:
        ModelError: the rule names a column that the records do not have.
    """
    left = np.array([encoded.column(name) for name, _ in rule.columns], np.int16)
    right = np.array([encoded.column(name) for _, name in rule.columns], np.int16)
    count = len(encoded.left)
    buckets = 1 << max(4, (count - 1).bit_length())
    starts = np.zeros(buckets + 1, np.int32)
    rows, tags = np.empty(count, np.int32), np.empty(count, np.uint32)
    keyed = _index(encoded.left, left, starts, np.empty(count, np.uint64), rows, tags)
    return BlockIndex(rule, left, right, starts, rows[:keyed], tags[:keyed], encoded)


def block(rules: Sequence[BlockingRule], encoded: Encoded) -> list[BlockIndex]:
    """Index every rule, in order."""
    return each(lambda rule: block_index(rule, encoded), rules)
