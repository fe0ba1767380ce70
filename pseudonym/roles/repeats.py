"""What a role has done, by request id: the same request again gets the answer of the first time.

One line for each, on disk before the answer goes out. Only what would otherwise be done twice is kept here:
most methods find by the ids in a request what they have done already.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pseudonym.errors import StoreError
from pseudonym.lines import Lines
from pseudonym.roles.refusals import RequestIdError


class Repeats:
    """What one role has done; its methods may be called from any thread.

    Danger: between what a request does and the line here a crash may come. What then is tried again is done
    again unless the work itself notices; so the work is one that does no harm twice, such as making a later
    key.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there, but for what a crash left half-written.

        Raises:
            StoreError: the file is damaged.
        """
        self._done: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()
        self._running: dict[str, _Turn] = {}
        self._lines = Lines(path)
        whole = self._lines.whole
        try:
            for line in whole.splitlines():
                request_id, digest, answer = json.loads(line)
                self._done[request_id] = digest, base64.b64decode(answer)
        except (ValueError, TypeError):
            self._lines.close()
            raise StoreError("The file of requests is damaged.", "Restore it; nothing was done.") from None
        self._lines.keep(len(whole))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

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
            known, answer = self._done[request_id]
            if known != digest:
                raise RequestIdError(
                    "The request id was used for another request.", "Make a new id for each request."
                )
            return answer
        answer = work()
        line = json.dumps([request_id, digest, base64.b64encode(answer).decode()]).encode() + b"\n"
        with self._lock:
            self._lines.add(line)
            self._done[request_id] = digest, answer
        return answer


@dataclass(slots=True)
class _Turn:
    """Whose turn it is among calls of one id, and how many there are: none is kept without a call."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    calls: int = 0
