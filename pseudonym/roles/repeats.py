"""What a role has done, by request id: the same request again gets the answer of the first time.

One line for each, on disk before the answer goes out. Only what would otherwise be done twice is kept here:
most methods find by the ids in a request what they have done already.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pseudonym.errors import StoreError
from pseudonym.roles.refusals import RequestIdError


class Repeats:
    """What one role has done; its methods may be called from any thread.

    Danger: between what a request does and the line here a crash may come. What then is tried again is done
    again unless the work itself notices; so the work is one that does no harm twice, such as making a later
    key.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there, and cut off what a crash left half-written.

        Raises:
            StoreError: the file is damaged.
        """
        self._done: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()
        self._running: dict[str, threading.Lock] = {}
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(self._handle, "rb", closefd=False) as file:
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            for line in whole.splitlines():
                request_id, digest, answer = json.loads(line)
                self._done[request_id] = digest, base64.b64decode(answer)
        except (ValueError, TypeError):
            os.close(self._handle)
            raise StoreError("The file of requests is damaged.", "Restore it; nothing was done.") from None
        os.ftruncate(self._handle, len(whole))
        os.lseek(self._handle, len(whole), os.SEEK_SET)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

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
            turn = self._running.setdefault(request_id, threading.Lock())
        with turn:
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
                os.write(self._handle, line)
                os.fsync(self._handle)
                self._done[request_id] = digest, answer
                self._running.pop(request_id, None)
            return answer
