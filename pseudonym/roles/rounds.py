"""Work that a role does again and again in a thread of its own, and at once when somebody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self


class Rounds:
    """Rounds of one sort of work. Close them, or use them as a context.

    Args:
        name: of the thread.
        work: one round; it returns the seconds until the next, if nobody asks before. What it raises ends the
            round, and the next one tries again.
        failed: is told the reason when a round does not succeed.
        pause: seconds after a round that failed.
    """

    def __init__(
        self, name: str, work: Callable[[], float], failed: Callable[[str], object], pause: float = 5.0
    ) -> None:
        self._work, self._failed, self._pause = work, failed, pause
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with a first round."""
        self._thread.start()

    def soon(self) -> None:
        """Begin a round at once, or as soon as the present one has ended."""
        self._wanted.set()

    @property
    def stopping(self) -> bool:
        """Whether long work should come to a good place and return."""
        return self._stop.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                wait = self._work()
            except Exception as error:  # the next round tries again
                self._failed(getattr(error, "reason", type(error).__name__))
                wait = self._pause
            self._wanted.wait(wait)
            self._wanted.clear()
