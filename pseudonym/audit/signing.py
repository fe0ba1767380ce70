"""When a log signs what it is, and what follows when it cannot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pseudonym.audit.checkpoint import Checkpoint, CheckpointFolder, Signer
from pseudonym.audit.clock import Clock
from pseudonym.audit.merkle import Frontier
from pseudonym.errors import AuditCheckpointError, AuditError, PseudonymError


class Ticking(Protocol):
    """Something that wants to be called now and then: a `Log`."""

    def tick(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Cadence:
    """When checkpoints are due.

    Attributes:
        entries: after so many.
        seconds: so long after the last one, if there are entries that it does not cover.
        patience: how many times either may pass without one before the log takes no more entries.
    """

    entries: int = 1000
    seconds: float = 60.0
    patience: int = 10


class Signing:
    """Makes checkpoints when they are due and has them kept.

    Attributes:
        newest: the newest one that is kept.
        signer: the log's name and key.
    """

    def __init__(
        self, kept: CheckpointFolder, signer: Signer, newest: Checkpoint, clock: Clock, cadence: Cadence
    ) -> None:
        self.signer = signer
        self.newest = newest
        self._kept, self._clock, self._cadence = kept, clock, cadence
        self._since = clock()

    def due(self, size: int) -> bool:
        """Whether a log of this size should be signed now."""
        return self._passed(size, 1)

    def overdue(self, size: int) -> bool:
        """Whether it should have been signed so long ago that nothing may be added."""
        return self._passed(size, self._cadence.patience)

    def sign(self, frontier: Frontier) -> None:
        """Sign a log and have it kept, if anything was added.

        Raises:
            AuditCheckpointError: it cannot be signed, or not be kept.
            AuditTamperedError: another checkpoint of this size is kept.
        """
        if frontier.size > self.newest.size:
            self._keep(frontier)
        self._since = self._clock()

    def hand_over(self, frontier: Frontier, successor: Signer) -> None:
        """Sign a log with the present key and its successor's, have it kept, and go on under the successor's.

        Raises:
            As `sign`; the present key then stays.
        """
        self._keep(frontier, successor)
        self.signer = successor
        self._since = self._clock()

    def _keep(self, frontier: Frontier, *others: Signer) -> None:
        try:
            checkpoint = Checkpoint.sign(self.signer, frontier.size, frontier.root(), *others)
        except PseudonymError:
            raise
        except Exception as error:  # a key may be in a device, which fails in its own ways
            raise AuditCheckpointError(
                "The checkpoint cannot be signed.", "See to the log's signing key."
            ) from error
        self._kept.keep(checkpoint)
        self.newest = checkpoint

    def _passed(self, size: int, times: int) -> bool:
        new = size - self.newest.size
        if new >= times * self._cadence.entries:
            return True
        return new > 0 and self._clock() - self._since >= times * self._cadence.seconds * 1_000_000


@contextmanager
def ticking(log: Ticking, every: float = 1.0) -> Iterator[None]:
    """Let a thread call `log.tick` every so many seconds while the context lasts.

    A checkpoint that cannot be kept is tried again; when that lasts, `append` refuses.
    """
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every):
            try:
                log.tick()
            except AuditError:
                continue

    thread = threading.Thread(target=run, name="audit-checkpoints", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
