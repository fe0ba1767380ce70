"""What is done to an audit log by a process that is going to be killed; it says what was acknowledged."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pseudonym.audit import Cadence, Event, Log, Signer
from pseudonym.audit.writer import Writer
from tests.pseudonym.audit.conftest import OFFICER, ORIGIN, SIGNING


def opened(folder: Path, cadence: Cadence | None = None) -> Log:
    """The log in the folder, or a new one where there is none."""
    signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(SIGNING))
    officer = X25519PrivateKey.from_private_bytes(OFFICER).public_key()
    if not (folder / "log" / "about").exists():
        return Log.create(folder / "log", folder / "kept", signer, officer)
    return Log.open(folder / "log", folder / "kept", signer, officer, cadence=cadence or Cadence())


def _often_marked(entries: int) -> None:
    """Have the writer mark what is on disk after so many entries, so that marks are often under way."""
    Writer.mark.__defaults__ = (entries,)


def appending(folder: str, seed: int, pipe: Connection) -> None:
    """Four threads append batches of different sizes, with and without details, until the process is killed.

    Once `append` has returned, a line is written: first number, the number after the last, and the count by
    which the batch is recognised. Checkpoints and marks are frequent, so that every kind of write is often
    under way.
    """
    _often_marked(50)
    log = opened(Path(folder), Cadence(entries=20))
    out = pipe.fileno()
    os.write(out, f"ready {log.size}\n".encode())
    batches = itertools.count(seed * 1_000_000)

    def work(thread: int) -> None:
        for turn in itertools.count(thread):
            batch = next(batches)
            size = (1, 1, 3, 40)[turn % 4]
            details = b"x" * 5000 if turn % 5 == 0 else b""
            events = [Event("role/test", "kill", "test", count=batch, details=details)] * size
            numbers = log.append(events)
            os.write(out, f"{numbers.start} {numbers.stop} {batch}\n".encode())

    threads = [threading.Thread(target=work, args=(one,)) for one in range(4)]
    for one in threads:
        one.start()


def stepping(folder: str, fatal: int, pipe: Connection) -> None:
    """Open a log, append, close it, and die at the given step.

    Every call that touches a file is a step, and a write is done to the half before the process dies. A
    negative step lets all through and tells the steps, as the last line.
    """
    _often_marked(1)
    steps: list[str] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if len(steps) == fatal:
                if name == "pwrite":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2], args[2])
                os.kill(os.getpid(), signal.SIGKILL)
            steps.append(name)
            return real(*args, **kwargs)

        setattr(os, name, call)

    for name in ("pwrite", "fdatasync", "fsync", "replace", "ftruncate"):
        watched(name)
    log = opened(Path(folder), Cadence(entries=1))
    for count in (2, 3):
        log.append([Event("role/test", "kill", "test")] * count)
        os.write(pipe.fileno(), f"{log.size}\n".encode())
    log.close()
    os.write(pipe.fileno(), json.dumps(steps).encode())
