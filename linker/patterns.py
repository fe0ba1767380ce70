"""How often each pattern of levels was seen, counted while the pairs go by.

A pair is not kept: its pattern and the rules that hold it are one entry of a table that is as large as there
are different ones, so that training sees any number of pairs in little memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linker.block import BlockIndex
from linker.encode import Encoded
from linker.kernels import kernel, whole, word
from linker.model import Comparison
from linker.predict import SLICE_ROWS, Progress, Scan, in_threads, no_progress, score_batch
from linker.program import Tests, blank_weights
from linker.score import Kept, Workspace

Ints = npt.NDArray[np.int64]
Batch = tuple[range, range]  # left and right rows
MOST_RULES = 63  # whose hold is noted in one word
_LEAST = 1 << 12


@dataclass(frozen=True)
class Tally:
    """Pairs by pattern and rules.

    Attributes:
        pattern: int64, packed level codes.
        held: int64, bit k says that rule k holds the pairs.
        counts: int64, how many pairs.
        compared: pairs by the first rule that holds them.
    """

    pattern: Ints
    held: Ints
    counts: Ints
    compared: tuple[int, ...]


class _Counter:
    """One thread's table."""

    def __init__(self) -> None:
        self.size = 0
        self.pattern, self.held, self.counts = (np.zeros(_LEAST, np.int64) for _ in range(3))

    def add(self, pairs: Kept) -> None:
        done = 0
        while done < len(pairs.pattern):
            done, self.size = _count(
                pairs.pattern, pairs.held, done, self.pattern, self.held, self.counts, self.size
            )
            if done < len(pairs.pattern):
                self._grow()

    def _grow(self) -> None:
        pattern, held, counts = self.entries()
        self.pattern, self.held, self.counts = (np.zeros(4 * len(self.counts), np.int64) for _ in range(3))
        _put(pattern, held, counts, self.pattern, self.held, self.counts)

    def entries(self) -> tuple[Ints, Ints, Ints]:
        used = self.counts > 0
        return self.pattern[used], self.held[used], self.counts[used]


def tally(
    encoded: Encoded,
    blocks: Sequence[BlockIndex],
    tests: Tests,
    comparisons: Sequence[Comparison],
    *,
    threads: int | None = None,
    progress: Progress = no_progress,
    stage: str = "train",
) -> Tally:
    """Count the patterns of all candidate pairs, each pair once.

    Args:
        encoded: the records.
        blocks: the rules' indexes, in order; of the first `MOST_RULES` it is noted whether they hold a pair.
        tests: the compiled comparisons.
        comparisons: what they were compiled from.
        threads: worker threads; None for one a core.
        progress: called with right rows done and in all; may raise to cancel.
        stage: the name that progress reports.
    """
    noted = min(len(blocks), MOST_RULES)
    scanned = Scan(encoded, blocks, tests, blank_weights(comparisons), -np.inf, noted)
    mine, counters = threading.local(), list[_Counter]()

    def run(part: range) -> Ints:
        if not hasattr(mine, "counter"):
            mine.counter = _Counter()
            counters.append(mine.counter)
        return scanned.run(part, lambda _, pairs: mine.counter.add(pairs))

    compared = np.zeros(len(blocks), np.int64)
    for part in scanned.each(run, len(encoded.right), threads, SLICE_ROWS, progress, stage):
        compared += part
    return _joined([counter.entries() for counter in counters], tuple(compared.tolist()))


def tally_batches(
    encoded: Encoded,
    batches: Sequence[Batch],
    tests: Tests,
    comparisons: Sequence[Comparison],
    *,
    threads: int | None = None,
) -> Tally:
    """Count the patterns of all pairs of each batch's left and right rows.

    In deduplication a batch of rows with themselves has each pair once.
    """
    weights, mine, counters = blank_weights(comparisons), threading.local(), list[_Counter]()
    most = max((len(left) * len(right) for left, right in batches), default=0)

    def run(batch: Batch) -> None:
        if not hasattr(mine, "counter"):
            mine.counter, mine.space = _Counter(), Workspace.of(encoded.table, tests)
            mine.kept = Kept.empty(most)
            counters.append(mine.counter)
        one, other = (np.arange(rows.start, rows.stop, dtype=np.int32) for rows in batch)
        left, right = np.repeat(one, len(other)), np.tile(other, len(one))
        if encoded.deduplicates and batch[0] == batch[1]:
            left, right = left[left < right], right[left < right]
        score_batch(encoded, left, right, tests, weights, mine.space, mine.kept)
        mine.counter.add(mine.kept.first(len(left)))

    for _ in in_threads(run, batches, threads or os.cpu_count() or 1):
        pass
    return _joined([counter.entries() for counter in counters], ())


def _joined(entries: Sequence[tuple[Ints, Ints, Ints]], compared: tuple[int, ...]) -> Tally:
    """The entries of all threads in one order, whatever the threads did."""
    nothing = np.zeros(0, np.int64)
    pattern, held, counts = (np.concatenate([nothing, *(entry[i] for entry in entries)]) for i in range(3))
    order = np.lexsort((held, pattern))
    pattern, held, counts = pattern[order], held[order], counts[order]
    if not len(pattern):
        return Tally(pattern, held, counts, compared)
    new = np.concatenate(([True], (np.diff(pattern) != 0) | (np.diff(held) != 0)))
    first = np.flatnonzero(new)
    return Tally(pattern[first], held[first], np.add.reduceat(counts, first), compared)


@kernel
def _count(
    patterns: Ints, rules: Ints, first: int, pattern: Ints, held: Ints, counts: Ints, size: int
) -> tuple[int, int]:
    """Count pairs into a table until it is half full; returns how many are done, and the entries."""
    mask = len(counts) - 1
    for i in range(first, len(patterns)):
        if 2 * size > mask:
            return i, size
        slot = _slot(patterns[i], rules[i], mask)
        while counts[slot] and (pattern[slot] != patterns[i] or held[slot] != rules[i]):
            slot = (slot + 1) & mask
        if counts[slot] == 0:
            pattern[slot], held[slot] = patterns[i], rules[i]
            size += 1
        counts[slot] += 1
    return len(patterns), size


@kernel
def _put(patterns: Ints, rules: Ints, pairs: Ints, pattern: Ints, held: Ints, counts: Ints) -> None:
    """Put entries into a larger table."""
    mask = len(counts) - 1
    for i in range(len(patterns)):
        slot = _slot(patterns[i], rules[i], mask)
        while counts[slot]:
            slot = (slot + 1) & mask
        pattern[slot], held[slot], counts[slot] = patterns[i], rules[i], pairs[i]


@kernel
def _slot(pattern: int, held: int, mask: int) -> int:
    key = (word(pattern) ^ (word(held) * word(0xD6E8FEB86659FD93))) * word(0x9E3779B97F4A7C15)
    return whole((key ^ (key >> word(32))) & word(mask))
