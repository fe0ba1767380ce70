"""Processes of their own, each forked from one that has imported everything: an import takes seconds.

They are killed, or serve: whatever a process does after its imports is done as it would be otherwise.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
# The server first: it has something to say to gRPC before anybody imports that.
FORKS.set_forkserver_preload(
    ["server", "tests.forks", "tests.pseudonym.separation.dying", "tests.pseudonym.audit.dying"]
)


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


class ServerProcess:
    """`python server.py …`, as `subprocess.Popen` has it.

    Args:
        arguments: of the command.
        log: the file that gets what it writes.
        code: Python to run in the place of `server.main`, with `server` and `settings` at hand.
    """

    def __init__(self, arguments: Sequence[str], log: Path, code: str = "") -> None:
        given = list(arguments), str(log), code, dict(os.environ)
        self._process = FORKS.Process(target=_serve, args=given, daemon=True)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.pid is not None and self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("server.py", timeout or 0.0)
        return self._process.exitcode


def ended(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """What became of a server that ends by itself; `stderr` is all that it wrote."""
    with tempfile.NamedTemporaryFile() as log:
        process = ServerProcess(arguments, Path(log.name))
        try:
            code = process.wait(timeout)
        finally:
            process.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(arguments, code, "", Path(log.name).read_text())


def _serve(arguments: list[str], log: str, code: str, environment: dict[str, str]) -> None:
    import server

    os.environ.clear()
    os.environ.update(environment)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.argv = ["server.py", *arguments]
    try:
        if code:
            at_hand = {"os": os, "sys": sys, "dataclasses": dataclasses, "server": server}
            exec(code, at_hand | {"settings": server.settings_from(arguments)})
            ended = 0
        else:
            ended = server.main(arguments)
    except SystemExit as left:
        ended = left.code if isinstance(left.code, int) else 1
    logging.shutdown()
    sys.stderr.flush()
    os._exit(ended)
