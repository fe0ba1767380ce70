"""What a role has done, by request id: the same request again gets the answer of the first time.

One line for each, on disk before the answer goes out, and kept for 31 days: whoever sends a request again
does so within that time. Only what would otherwise be done twice is kept here: most methods find by the ids
in a request what they have done already.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pseudonym import clock
from pseudonym.roles.kept_lines import DAY, KeptLines
from pseudonym.roles.refusals import RequestIdError

KEEP_DAYS = 31


class Repeats:
    """What one role has done; its methods may be called from any thread.

    Danger: between what a request does and the line here a crash may come. What then is tried again is done
    again unless the work itself notices; so the work is one that does no harm twice, such as making a later
    key.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = clock.seconds) -> None:
        """Read what is there, and forget what is older than 31 days.

        Args:
            path: the file.
            clock: seconds since 1970.

        Raises:
            StoreError: the file is damaged.
        """
        self._done: dict[str, tuple[str, bytes, int]] = {}
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _Turn] = {}
        self._file = KeptLines(path, "requests", self._read, clock)
        self._shorten()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def once(self, request_id: str, digest: str, work: Callable[[], bytes]) -> bytes:
        """Do the work of a request, or return the answer of the first time.

        Args:
            request_id: the request's id.
            digest: of the method and of all that is asked, so that an id is not used for two requests.
            work: does it, and returns the answer as bytes.

        Raises:
            RequestIdError: the id was used for another request.
        """
        with self._lock:
            turn = self._running.setdefault(request_id, _Turn())
            turn.calls += 1
        try:
            with turn.lock:
                return self._once(request_id, digest, work)
        finally:
            with self._lock:
                turn.calls -= 1
                if not turn.calls:
                    del self._running[request_id]

    def _once(self, request_id: str, digest: str, work: Callable[[], bytes]) -> bytes:
        if request_id in self._done:
            known, answer, _ = self._done[request_id]
            if known != digest:
                raise RequestIdError(
                    "The request id was used for another request.", "Make a new id for each request."
                )
            return answer
        answer = work()
        with self._lock:
            if self._file.due():
                self._shorten()
            done = digest, answer, int(self._clock())
            self._file.add(_line(request_id, done))
            self._done[request_id] = done
        return answer

    def _read(self, line: bytes) -> None:
        request_id, digest, answer, moment = json.loads(line)
        self._done[request_id] = digest, base64.b64decode(answer), int(moment)

    def _shorten(self) -> None:
        oldest = self._clock() - KEEP_DAYS * DAY
        self._done = {name: done for name, done in self._done.items() if done[2] >= oldest}
        self._file.shorten(_line(name, done) for name, done in self._done.items())


@dataclass(slots=True)
class _Turn:
    """Whose turn it is among calls of one id, and how many there are: none is kept without a call."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    calls: int = 0


def _line(request_id: str, done: tuple[str, bytes, int]) -> bytes:
    digest, answer, moment = done
    return json.dumps([request_id, digest, base64.b64encode(answer).decode(), moment]).encode()
