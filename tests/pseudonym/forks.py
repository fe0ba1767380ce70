"""Processes to be killed, each forked from one that has imported everything: an import takes seconds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.pseudonym.separation.dying", "tests.pseudonym.audit.dying"])


def started(work: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Have a process do some work, with one end of a pipe as the last argument; the other end is ours."""
    ours, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=work, args=(*arguments, theirs))
    process.start()
    theirs.close()
    return process, ours


def said(pipe: Connection) -> bytes:
    """All that a process wrote to its end of the pipe, once it has ended."""
    found = b""
    while more := os.read(pipe.fileno(), 1 << 16):
        found += more
    pipe.close()
    return found
