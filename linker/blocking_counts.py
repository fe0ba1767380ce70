"""How many pairs each blocking rule gives, and its largest blocks, before anything is compared.

A rule's pairs are counted exactly, from the sizes of its blocks. Which of them no earlier rule gives is
looked up pair by pair where they are few, and otherwise in a random sample of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any as Json
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.errors import ModelError
from linker.model import BlockingRule

LOOKED_AT = (
    200_000  # pairs of a rule; the share of new ones in a sample is off by a quarter of a percent at most
)
LARGEST = 3

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]


class Coded(Protocol):
    """Records in codes: `linker.encode.Encoded`, or some of its rows."""

    @property
    def left(self) -> Codes:
        """Codes [records, columns]; missing is -1."""

    @property
    def right(self) -> Codes:
        """Of the other side; the left itself for deduplication."""

    @property
    def deduplicates(self) -> bool:
        """One set of records against itself."""

    def column(self, name: str) -> int:
        """Position of a column."""


@dataclass(frozen=True)
class Block:
    """Records that agree on a rule's columns.

    Attributes:
        left, right: how many records of each side.
        pairs: candidates among them.
        row: a left row of the block, to look up its values.
    """

    left: int
    right: int
    pairs: int
    row: int


@dataclass(frozen=True)
class RuleCount:
    """What a rule gives.

    Attributes:
        rule: the rule.
        pairs: candidates, those of earlier rules included; exact.
        new: candidates that no earlier rule gives.
        estimated: `new` is from a sample; a run counts them all.
        largest: the largest blocks, the one of most pairs first.
    """

    rule: BlockingRule
    pairs: int
    new: int
    estimated: bool
    largest: tuple[Block, ...]

    def as_dict(self) -> dict[str, Json]:
        """Plain data; no value of a record."""
        blocks = [{name: size for name, size in asdict(one).items() if name != "row"} for one in self.largest]
        return {
            "rule": self.rule.name,
            "pairs": self.pairs,
            "new": self.new,
            "estimated": self.estimated,
            "largest": blocks,
        }


def parse_rule(text: str) -> BlockingRule:
    """The rule of a name, as in "surname + date_of_birth.year" or "forename=surname + postcode".

    Raises:
        ModelError: the text names no column somewhere.
    """
    pairs = []
    for part in text.split("+"):
        left, mark, right = (word.strip() for word in part.partition("="))
        if not left or (mark and not right):
            raise ModelError(
                "A blocking rule is not written as columns with + between them.",
                "Write it as in: surname + date_of_birth.year, or forename=surname + postcode.",
            )
        pairs.append((left, right or left))
    return BlockingRule(tuple(pairs))


def count_pairs(rules: Sequence[BlockingRule], encoded: Coded, *, seed: int = 0) -> tuple[RuleCount, ...]:
    """Count the candidates of each rule, in the order of the rules.

    Args:
        rules: on columns that the records have.
        encoded: the records; deduplication counts a pair once.
        seed: of the samples.

    Raises:
        ModelError: a rule names a column that the records do not have.
    """
    rng = np.random.default_rng(seed)
    counts = []
    for k, rule in enumerate(rules):
        blocks = Blocks.of(rule, encoded)
        left, right = blocks.draw(LOOKED_AT, rng)
        # All columns of a record stand side by side: fetched once, they serve every earlier rule.
        ours, theirs = encoded.left[left], encoded.right[right]
        fresh = np.ones(len(left), np.bool_)
        for earlier in rules[:k]:
            fresh &= ~_agree(earlier, encoded, ours, theirs)
        estimated = blocks.products > LOOKED_AT
        pairs = blocks.pairs
        new = round(pairs * float(fresh.mean())) if estimated and len(fresh) else int(fresh.sum())
        counts.append(RuleCount(rule, pairs, new, estimated, blocks.largest(LARGEST)))
    return tuple(counts)


def equal(pair: tuple[str, str], encoded: Coded, left: Codes, right: Codes) -> Flags:
    """Whether two columns are there and equal, in each pair of these rows of codes."""
    ours, theirs = left[:, encoded.column(pair[0])], right[:, encoded.column(pair[1])]
    return np.asarray((ours >= 0) & (ours == theirs))


def _agree(rule: BlockingRule, encoded: Coded, left: Codes, right: Codes) -> Flags:
    found = np.ones(len(left), np.bool_)
    for pair in rule.columns:
        found &= equal(pair, encoded, left, right)
    return found


class Blocks(NamedTuple):
    """The blocks of one rule.

    Attributes:
        left, right: int64, rows sorted by block; rows of no block are left out.
        left_start, right_start: int64 [blocks], where each block begins in them.
        left_size, right_size: int64 [blocks], its records.
        within: bool; the sides are one set, and of two rows the earlier stands left.
        symmetric: bool; the rule asks the same of both rows.
    """

    left: Rows
    right: Rows
    left_start: Rows
    right_start: Rows
    left_size: Rows
    right_size: Rows
    within: bool
    symmetric: bool

    @staticmethod
    def of(rule: BlockingRule, encoded: Coded) -> Blocks:
        """Group the rows of both sides by what the rule compares."""
        ours, theirs = _keys(rule, encoded)
        sizes = (
            ours.group_by("key").len("left").join(theirs.group_by("key").len("right"), on="key").sort("key")
        )
        rows = [
            side.join(sizes, on="key", how="semi").sort("key", "row")["row"].to_numpy()
            for side in (ours, theirs)
        ]
        left_size, right_size = (sizes[name].cast(pl.Int64).to_numpy() for name in ("left", "right"))
        return Blocks(
            rows[0],
            rows[1],
            np.cumsum(left_size) - left_size,
            np.cumsum(right_size) - right_size,
            left_size,
            right_size,
            encoded.deduplicates,
            all(left == right for left, right in rule.columns),
        )

    @property
    def products(self) -> int:
        """Left rows times right rows, over the blocks: within one set more than the pairs."""
        return int(self.left_size @ self.right_size)

    @property
    def pairs(self) -> int:
        """Candidates, each once."""
        return int(self.block_pairs().sum())

    def block_pairs(self) -> Rows:
        """Candidates of each block, each once."""
        if not self.within:
            return np.asarray(self.left_size * self.right_size)
        if self.symmetric:
            return np.asarray(self.left_size * (self.left_size - 1) // 2)
        # Rows ascend within a block: each right row has the left rows before it.
        many = len(self.left_size)
        last = int(max(self.left.max(initial=0), self.right.max(initial=0))) + 1
        number = np.arange(many, dtype=np.int64)
        left = np.repeat(number, self.left_size) * last + self.left
        block = np.repeat(number, self.right_size)
        before = np.searchsorted(left, block * last + self.right) - self.left_start[block]
        return np.bincount(block, before, minlength=many).astype(np.int64)

    def largest(self, most: int) -> tuple[Block, ...]:
        """The blocks of most pairs."""
        pairs = self.block_pairs()
        order = np.argsort(-pairs, kind="stable")[:most]
        return tuple(
            Block(
                int(self.left_size[k]),
                int(self.right_size[k]),
                int(pairs[k]),
                int(self.left[self.left_start[k]]),
            )
            for k in order
            if pairs[k]
        )

    def draw(self, most: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """All candidates where the products are at most so many, else those among as many at random.

        Returns:
            Left and right rows.
        """
        products = self.left_size * self.right_size
        ends, total = np.cumsum(products), self.products
        at = np.arange(total) if total <= most else rng.integers(0, total, most)
        block = np.searchsorted(ends, at, side="right")
        ours, theirs = np.divmod(at - (ends - products)[block], self.right_size[block])
        left, right = self.left[self.left_start[block] + ours], self.right[self.right_start[block] + theirs]
        if self.within:
            once = left < right
            left, right = left[once], right[once]
        return left, right


def _keys(rule: BlockingRule, encoded: Coded) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`row` and `key` of the rows of both sides that miss no column of the rule."""
    sides = []
    for side, codes in enumerate((encoded.left, encoded.right)):
        columns = codes[:, [encoded.column(pair[side]) for pair in rule.columns]]
        rows = np.flatnonzero((columns >= 0).all(axis=1))
        sides.append((np.full(len(rows), side), rows, columns[rows].astype(np.uint64)))
    key = np.concatenate([columns[:, 0] for _, _, columns in sides])
    for k in range(1, len(rule.columns)):
        if k > 1:  # back to 32 bits, so that the next code has room beside it
            key = pl.Series(key).rank("dense").cast(pl.UInt64).to_numpy()
        key = key << np.uint64(32) | np.concatenate([columns[:, k] for _, _, columns in sides])
    whole = pl.DataFrame(
        {
            "side": np.concatenate([side for side, _, _ in sides]),
            "row": np.concatenate([rows for _, rows, _ in sides]),
            "key": key,
        }
    )
    first, second = (whole.filter(pl.col("side") == side).drop("side") for side in (0, 1))
    return first, second
