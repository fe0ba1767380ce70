"""The pass over all candidates: chunks of right rows on a thread pool, results in columns.

The kernels release the GIL; a chunk is small enough to report progress and to stop at. The order of the
results depends on nothing but the pairs: they are sorted by left and right row at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from linker.block import BlockIndex
from linker.encode import Encoded
from linker.program import Tests, Weights
from linker.score import scan

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
CHUNK_PAIRS = 1 << 17


def no_progress(stage: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Scored:
    """Pairs kept by a pass, sorted by left and right row.

    Attributes:
        left, right: int32 rows.
        weight: float64 match weights in bits.
        pattern: int64 packed level codes.
        rule: int16 position of the rule that produced the pair.
        compared: pairs compared, by rule.
    """

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    pattern: npt.NDArray[np.int64]
    rule: npt.NDArray[np.int16]
    compared: tuple[int, ...]


class _Columns(NamedTuple):
    """What the kernel writes of a chunk, as in `Scored`."""

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    pattern: npt.NDArray[np.int64]

    def first(self, rows: int) -> _Columns:
        """A copy of the first rows, so that the rest can go."""
        return _Columns(
            self.left[:rows].copy(),
            self.right[:rows].copy(),
            self.weight[:rows].copy(),
            self.pattern[:rows].copy(),
        )

    @staticmethod
    def empty(size: int) -> _Columns:
        return _Columns(
            np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size), np.empty(size, np.int64)
        )


@dataclass(frozen=True)
class _Chunk:
    rule: int
    first: int
    last: int
    pairs: int


def scan_candidates(
    encoded: Encoded,
    blocks: Sequence[BlockIndex],
    tests: Tests,
    weights: Weights,
    cut: float,
    *,
    threads: int | None = None,
    chunk_pairs: int = CHUNK_PAIRS,
    progress: Progress = no_progress,
    stage: str = "compare",
) -> Scored:
    """Score every candidate pair once and keep those of weight >= cut.

    Args:
        encoded: the records.
        blocks: the rules' indexes, in order; a pair belongs to the first rule that holds it.
        tests: the compiled comparisons.
        weights: the compiled weights.
        cut: the lowest weight kept, in bits; -inf keeps all.
        threads: worker threads; None for one a core.
        chunk_pairs: candidates a chunk, about.
        progress: called with pairs done and in all after each chunk; may raise to cancel.
        stage: the name that progress reports.
    """
    rule_left, rule_right = _padded(blocks)

    def run(chunk: _Chunk) -> tuple[_Chunk, int, _Columns]:
        index = blocks[chunk.rule]
        out = _Columns.empty(chunk.pairs)
        written, compared = scan(
            chunk.rule, chunk.first, chunk.last, index.order, index.start, index.stop,
            encoded.left, encoded.right, encoded.deduplicates, rule_left, rule_right,
            encoded.table, tests, weights, cut,
            out.left, out.right, out.weight, out.pattern,
        )  # fmt: skip
        return chunk, compared, out.first(written)

    chunks = [chunk for k, index in enumerate(blocks) for chunk in _chunks(k, index, chunk_pairs)]
    total, done = sum(chunk.pairs for chunk in chunks), 0
    compared_by_rule = [0] * len(blocks)
    parts: list[tuple[int, _Columns]] = [(0, _Columns.empty(0))]
    progress(stage, 0, total)
    for chunk, compared, part in _in_threads(run, chunks, threads):
        compared_by_rule[chunk.rule] += compared
        parts.append((chunk.rule, part))
        done += chunk.pairs
        progress(stage, done, total)
    found = _Columns(
        np.concatenate([part.left for _, part in parts]),
        np.concatenate([part.right for _, part in parts]),
        np.concatenate([part.weight for _, part in parts]),
        np.concatenate([part.pattern for _, part in parts]),
    )
    rule = np.concatenate([np.full(len(part.left), k, np.int16) for k, part in parts])
    order = np.lexsort((found.right, found.left))
    return Scored(
        left=found.left[order],
        right=found.right[order],
        weight=found.weight[order],
        pattern=found.pattern[order],
        rule=rule[order],
        compared=tuple(compared_by_rule),
    )


def score_rows(
    encoded: Encoded,
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    tests: Tests,
    weights: Weights,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Weights and patterns of given pairs of rows, whatever the blocking.

    Each pair is a block of its own to the same kernel: its right row, and a run of one left row.
    """
    out = _Columns.empty(len(left))
    any_pair = np.full((1, 1), -1, np.int16)

    def run(first: int) -> None:
        rows = slice(first, first + CHUNK_PAIRS)
        order, codes = left[rows].astype(np.int32), encoded.right[right[rows]]
        place = np.arange(len(order) + 1, dtype=np.int64)
        scan(
            0, 0, len(order), order, place[:-1], place[1:], encoded.left, codes, False, any_pair, any_pair,
            encoded.table, tests, weights, -np.inf,
            out.left[rows], out.right[rows], out.weight[rows], out.pattern[rows],
        )  # fmt: skip

    for _ in _in_threads(run, range(0, len(left), CHUNK_PAIRS), None):
        pass
    return out.weight, out.pattern


def probability(weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / (1 + 2^-weight), without overflow."""
    return np.asarray(1.0 / (1.0 + np.exp2(-np.clip(weight, -1000.0, 1000.0))))


def _in_threads(
    run: Callable[[Task], Result], tasks: Sequence[Task], threads: int | None
) -> Iterator[Result]:
    """Results as they come; when the consumer stops, nothing further is begun."""
    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="linker") as pool:
        waiting = iter(tasks)
        running: set[Future[Result]] = set()
        try:
            while True:
                for task in waiting:
                    running.add(pool.submit(run, task))
                    # Few in hand: results are taken as fast as they are made, memory stays small.
                    if len(running) > workers:
                        break
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def _chunks(k: int, index: BlockIndex, chunk_pairs: int) -> Iterator[_Chunk]:
    """Runs of right rows with about `chunk_pairs` candidates each; rows without any are stepped over."""
    ends = np.cumsum(index.stop - index.start)
    first, before, rows = 0, 0, len(ends)
    while first < rows and before < ends[-1]:
        last = min(rows, int(np.searchsorted(ends, before + chunk_pairs, side="left")) + 1)
        pairs = int(ends[last - 1]) - before
        if pairs:
            yield _Chunk(k, first, last, pairs)
        first, before = last, int(ends[last - 1])


def _padded(blocks: Sequence[BlockIndex]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """The rules' columns as two tables, -1 after the last."""
    widest = max((len(index.left) for index in blocks), default=1)
    rule_left = np.full((max(1, len(blocks)), widest), -1, np.int16)
    rule_right = rule_left.copy()
    for k, index in enumerate(blocks):
        rule_left[k, : len(index.left)], rule_right[k, : len(index.right)] = index.left, index.right
    return rule_left, rule_right
