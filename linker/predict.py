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
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from linker.block import BlockIndex
from linker.encode import Encoded
from linker.program import Tests, Weights
from linker.score import Kept, Workspace, scan, weigh

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
SLICE_ROWS = 1 << 13
KEPT_ROWS = 1 << 15  # pairs that one call can keep …
LOOKS = 1 << 19  # … and look at: well under a second
SCORED_PAIRS = 1 << 17
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
    rule_left, rule_right = padded(blocks)
    workers = threads or os.cpu_count() or 1
    mine, stopped = threading.local(), threading.Event()

    def run(rows: range) -> _Found:
        if not hasattr(mine, "space"):
            mine.space, mine.kept = Workspace.of(encoded.table, tests), Kept.empty(KEPT_ROWS)
        found = _Found([], np.zeros(len(blocks), np.int64), len(rows))
        for k, index in enumerate(blocks):
            row, at = rows.start, -1
            while row < rows.stop and not stopped.is_set():
                row, at, written, compared = scan(
                    k, row, at, rows.stop, LOOKS, index.starts, index.rows, index.tags,
                    encoded.left, encoded.right, encoded.deduplicates, rule_left, rule_right,
                    encoded.table, tests, weights, cut, mine.space, mine.kept,
                )  # fmt: skip
                found.compared[k] += compared
                if written:
                    found.parts.append((k, mine.kept.first(written)))
        return found

    total, done = len(encoded.right), [0]
    size = max(1, min(slice_rows, -(-total // (4 * workers))))
    slices = [range(first, min(first + size, total)) for first in range(0, total, size)]
    compared = np.zeros(len(blocks), np.int64)
    parts: list[tuple[int, Kept]] = [(0, Kept.empty(0))]
    progress(stage, 0, total)
    try:
        for found in in_threads(run, slices, workers, lambda: progress(stage, done[0], total)):
            parts += found.parts
            compared += found.compared
            done[0] += found.rows
            progress(stage, done[0], total)
    finally:
        stopped.set()
    return _sorted(parts, tuple(compared.tolist()))


def _sorted(parts: Sequence[tuple[int, Kept]], compared: tuple[int, ...]) -> Scored:
    left = np.concatenate([part.left for _, part in parts])
    right = np.concatenate([part.right for _, part in parts])
    order = np.argsort((left.astype(np.int64) << 32) | right)
    return Scored(
        left=left[order],
        right=right[order],
        weight=np.concatenate([part.weight for _, part in parts])[order],
        pattern=np.concatenate([part.pattern for _, part in parts])[order],
        rule=np.concatenate([np.full(len(part.left), k, np.int16) for k, part in parts])[order],
        compared=compared,
    )


def score_rows(
    encoded: Encoded,
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    tests: Tests,
    weights: Weights,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Weights and patterns of given pairs of rows, whatever the blocking."""
    out, mine = Kept.empty(len(left)), threading.local()

    def run(first: int) -> None:
        if not hasattr(mine, "space"):
            mine.space = Workspace.of(encoded.table, tests)
        rows = slice(first, first + SCORED_PAIRS)
        lefts, rights = left[rows].astype(np.int32), right[rows].astype(np.int32)
        part = Kept(out.left[rows], out.right[rows], out.weight[rows], out.pattern[rows])
        weigh(
            lefts, rights, len(lefts), encoded.left, encoded.right, encoded.table, tests, weights,
            -np.inf, mine.space, part, 0,
        )  # fmt: skip

    for _ in in_threads(run, range(0, len(left), SCORED_PAIRS), os.cpu_count() or 1):
        pass
    return out.weight, out.pattern


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
