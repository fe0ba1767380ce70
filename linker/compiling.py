"""Whoever waits for the compiler is told so: it runs once, and the kernels are then kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event

from linker.kernels import kept

_PACKAGE = __name__.partition(".")[0] + "."


class _Listener(event.Listener):
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell: Callable[[str], None] | None = tell

    def on_start(self, event: event.Event) -> None:
        tell = self._tell
        if tell is not None and event.data["dispatcher"].py_func.__module__.startswith(_PACKAGE):
            self._tell = None
            tell(
                "Compiling the kernels, once on this machine: up to half a minute."
                if kept()
                else "Compiling the kernels, up to half a minute in every run: there is no folder to keep "
                "them in. NUMBA_CACHE_DIR can name one."
            )

    def on_end(self, event: event.Event) -> None:
        """Nobody waits any more."""


@contextmanager
def told_of_compiling(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with one sentence when a kernel of this package has to be compiled; never twice.

    Kernels that are loaded from disk are not told of. `tell` may be called from a worker thread.
    """
    with event.install_listener("numba:compile", _Listener(tell)):
        yield
