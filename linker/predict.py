"""The pass over all candidates: slices of right rows on a thread pool, results in columns.

The kernels release the GIL; a call to one is short enough to report progress and to stop at. The order of
the results depends on nothing but the pairs: they are sorted by left and right row at the end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from linker.block import BlockIndex
from linker.encode import Encoded
from linker.program import Tests, Weights
from linker.score import Kept, Workspace, scan, weigh
from linker.threads import each

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
SLICE_ROWS = 1 << 13
KEPT_ROWS = 1 << 15  # pairs that one call can keep …
LOOKS = 1 << 19  # … and look at: well under a second
_NO_RULES = np.full((1, 1), -1, np.int16)
TICK = 0.5  # seconds between two reports of progress, so that a run can be cancelled


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


@dataclass(frozen=True)
class _Found:
    """What a slice of right rows gave: pairs, and the rule of each part."""

    parts: list[tuple[int, Kept]]
    compared: npt.NDArray[np.int64]
    rows: int


def scan_candidates(
    encoded: Encoded,
    blocks: Sequence[BlockIndex],
    tests: Tests,
    weights: Weights,
    cut: float,
    *,
    threads: int | None = None,
    slice_rows: int = SLICE_ROWS,
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
        slice_rows: right rows that a thread takes at a time, at most.
        progress: called with right rows done and in all; may raise to cancel.
        stage: the name that progress reports.
    """
    scanned = Scan(encoded, blocks, tests, weights, cut)
    compared = np.zeros(len(blocks), np.int64)
    parts: list[tuple[int, Kept]] = [(0, Kept.empty(0))]

    def run(rows: range) -> _Found:
        kept: list[tuple[int, Kept]] = []
        counts = scanned.run(rows, lambda k, part: kept.append((k, part.copy())))
        return _Found(kept, counts, len(rows))

    for found in scanned.each(run, len(encoded.right), threads, slice_rows, progress, stage):
        parts += found.parts
        compared += found.compared
    return _sorted(parts, tuple(compared.tolist()))


class Scan:
    """The candidates of some right rows at a time, for any number of threads."""

    def __init__(
        self,
        encoded: Encoded,
        blocks: Sequence[BlockIndex],
        tests: Tests,
        weights: Weights,
        cut: float,
        noted: int = 0,
    ) -> None:
        """Prepare a pass: as in `scan_candidates`; of so many rules it is noted whether they hold."""
        self._encoded, self._blocks, self._tests, self._weights = encoded, blocks, tests, weights
        self._cut, self._noted = cut, noted
        self._rule_left, self._rule_right = padded(blocks)
        self._left = [encoded.left if index.packed is None else index.packed for index in blocks]
        self._mine, self._stopped = threading.local(), threading.Event()

    def run(self, rows: range, take: Callable[[int, Kept], None]) -> npt.NDArray[np.int64]:
        """Hand out the pairs that are kept; returns how many were compared, by rule.

        Args:
            rows: right rows.
            take: called with the rule and pairs, which it must not hold on to.
        """
        encoded, compared = self._encoded, np.zeros(len(self._blocks), np.int64)
        if not hasattr(self._mine, "space"):
            self._mine.space = Workspace.of(encoded.table, self._tests)
            self._mine.kept = Kept.empty(KEPT_ROWS)
        for k, index in enumerate(self._blocks):
            row, at = rows.start, -1
            while row < rows.stop and not self._stopped.is_set():
                row, at, written, counted = scan(
                    k, row, at, rows.stop, LOOKS, index.starts, index.rows, index.tags,
                    self._left[k], index.packed is not None, encoded.right, encoded.deduplicates,
                    self._rule_left, self._rule_right, encoded.table, self._tests, self._weights,
                    self._cut, self._noted, self._mine.space, self._mine.kept,
                )  # fmt: skip
                compared[k] += counted
                if written:
                    take(k, self._mine.kept.first(written))
        return compared

    def each(
        self,
        run: Callable[[range], Result],
        rows: int,
        threads: int | None,
        slice_rows: int,
        progress: Progress,
        stage: str,
    ) -> Iterator[Result]:
        """What `run` makes of each slice of the first right rows, as it comes."""
        workers, done = threads or os.cpu_count() or 1, [0]
        size = max(1, min(slice_rows, -(-rows // (4 * workers))))
        slices = [range(first, min(first + size, rows)) for first in range(0, rows, size)]
        progress(stage, 0, rows)
        try:
            for part, result in in_threads(
                lambda part: (part, run(part)), slices, workers, lambda: progress(stage, done[0], rows)
            ):
                yield result
                done[0] += len(part)
                progress(stage, done[0], rows)
        finally:
            self._stopped.set()


def _sorted(parts: Sequence[tuple[int, Kept]], compared: tuple[int, ...]) -> Scored:
    left, right = (np.concatenate([part[side] for _, part in parts]) for side in (0, 1))
    order = np.argsort((left.astype(np.int64) << 32) | right)
    columns: list[Callable[[], npt.NDArray[Any]]] = [
        lambda: left,
        lambda: right,
        lambda: np.concatenate([part.weight for _, part in parts]),
        lambda: np.concatenate([part.pattern for _, part in parts]),
        lambda: np.concatenate([np.full(len(part.left), k, np.int16) for k, part in parts]),
    ]
    left, right, weight, pattern, rule = each(lambda column: column()[order], columns)
    return Scored(left, right, weight, pattern, rule, compared)


def score_rows(
    encoded: Encoded,
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    tests: Tests,
    weights: Weights,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Weights and patterns of given pairs of rows, whatever the blocking."""
    space, out = Workspace.of(encoded.table, tests), Kept.empty(len(left))
    score_batch(encoded, left.astype(np.int32), right.astype(np.int32), tests, weights, space, out)
    return out.weight, out.pattern


def score_batch(
    encoded: Encoded,
    left: npt.NDArray[np.int32],
    right: npt.NDArray[np.int32],
    tests: Tests,
    weights: Weights,
    space: Workspace,
    out: Kept,
) -> None:
    """As `score_rows`, by one thread with its own workspace and output."""
    weigh(
        left, right, len(left), encoded.left, encoded.right, encoded.table,
        tests, weights, -np.inf, _NO_RULES, _NO_RULES, 0, space, out, 0,
    )  # fmt: skip


def probability(weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / (1 + 2^-weight), without overflow."""
    return np.asarray(1.0 / (1.0 + np.exp2(-np.clip(weight, -1000.0, 1000.0))))


def in_threads(
    run: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Results as they come; when the consumer stops, nothing further is begun.

    Args:
        run: what to do with each task.
        tasks: begun in order.
        workers: threads.
        tick: called now and then while nothing comes.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="linker") as pool:
        waiting = iter(tasks)
        running: set[Future[Result]] = set()
        try:
            while True:
                for task in waiting:
                    running.add(pool.submit(run, task))
                    # Few in hand: results are taken as fast as they are made, memory stays small.
                    if len(running) > 2 * workers:
                        break
                if not running:
                    return
                finished, running = wait(running, timeout=TICK, return_when=FIRST_COMPLETED)
                if not finished:
                    tick()
                for future in finished:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def padded(blocks: Sequence[BlockIndex]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """The rules' columns as two tables, -1 after the last."""
    widest = max((len(index.left) for index in blocks), default=1)
    rule_left = np.full((max(1, len(blocks)), widest + 1), -1, np.int16)
    rule_right = rule_left.copy()
    for k, index in enumerate(blocks):
        rule_left[k, : len(index.left)], rule_right[k, : len(index.right)] = index.left, index.right
    return rule_left, rule_right
