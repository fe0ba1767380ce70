"""Threads that stay: each new one would hold on to memory of its own, and files come in many parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def _begin() -> None:
    """At first, and in a forked process, which has none of its parent's threads."""
    global _pool
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kept-linker")


_pool: ThreadPoolExecutor
_begin()
os.register_at_fork(after_in_child=_begin)


def each(run: Callable[[Task], Result], tasks: Iterable[Task]) -> list[Result]:
    """What `run` makes of each task, in their order; a task may not wait for others of this kind.

    If one fails, none is still running when its error is raised.
    """
    futures = [_pool.submit(run, task) for task in tasks]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


class Threads(ThreadPoolExecutor):
    """Threads that a stop does not wait for: what one of them still does is undone or done by a crash too."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
