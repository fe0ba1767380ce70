"""The answers that the identity role gave to granted requests for the way back, until the requests expire.

A request is granted once, and its answer may be lost on its way: it is then given again, the same bytes,
sealed to the requester's key. This role cannot open it. Each answer is a file of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pseudonym import clock
from pseudonym.files import locked, read_secret_file, replace_file
from pseudonym.requests import Request
from pseudonym.roles.callers import Caller
from pseudonym.roles.checks import Mandate
from pseudonym.roles.refusals import CallerRefusedError, FieldError


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    Attributes:
        project: of the request.
        purpose: of the request.
        requester: who asked, as in the certificate.
        expires: when the request does, seconds since 1970.
        count: how many people it is about.
        sealed: the answer, sealed to the requester's key.
    """

    project: str
    purpose: str
    requester: str
    expires: int
    count: int
    sealed: bytes = field(repr=False)


class Answers:
    """The answers of one identity role.

    Hold `lock` from `get` until the answer was kept: a request that is sent twice at once is answered once.

    Args:
        folder: where they are kept.
        clock: the time.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime] = clock.now) -> None:
        self.lock = threading.Lock()
        self._folder, self._clock = folder, clock
        folder.mkdir(mode=0o700, exist_ok=True)
        self.drop_expired()

    def get(self, name: bytes, mandate: Mandate, caller: Caller) -> Answer | None:
        """The answer to a request, if it was given and the request has not expired.

        Raises:
            CallerRefusedError: it was given to another person.
            FieldError: the mandate is not the request's.
        """
        self.drop_expired()
        path = self._path(name)
        if len(name) != 32 or not path.exists():
            return None
        found = _read(path)
        if found.requester != str(caller):
            raise CallerRefusedError("The request is another person's.", "Each looks up their own.")
        if (found.project, found.purpose) != (mandate.project, mandate.purpose):
            raise FieldError(
                "The mandate is not the request's.", "Name its project and purpose.", field="mandate"
            )
        return found

    def keep(self, request: Request, requester: str, count: int, sealed: bytes) -> Answer:
        """Keep an answer until its request expires. It is on disk when this returns."""
        expires = int(request.expires.timestamp())
        answer = Answer(request.project, request.purpose, requester, expires, count, sealed)
        content = {slot: getattr(answer, slot) for slot in Answer.__slots__} | {"sealed": sealed.hex()}
        with locked(self._folder):
            replace_file(self._path(request.name()), json.dumps(content).encode())
        return answer

    def drop_expired(self) -> int:
        """Forget the answers to requests that have expired; how many."""
        gone = 0
        for path in sorted(self._folder.glob("*.json")):
            if self._clock().timestamp() >= _read(path).expires:
                path.unlink()
                gone += 1
        return gone

    def _path(self, name: bytes) -> Path:
        return self._folder / f"{name.hex()}.json"


def _read(path: Path) -> Answer:
    content = json.loads(read_secret_file(path, "answer"))
    return Answer(**content | {"sealed": bytes.fromhex(content["sealed"])})
