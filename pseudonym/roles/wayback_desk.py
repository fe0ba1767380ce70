"""Where requests for the way back wait at the broker until they are approved, and are granted once.

Each request is a file of its own, replaced as a whole. It holds the reference numbers that it is about,
which the broker knows anyway; it goes when the request has expired, or the key of its numbers is destroyed.
Until then the identity role, whose answer may have been lost on its way, is told the same again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import polars as pl

from pseudonym import access, clock, wayback
from pseudonym.broker import Broker
from pseudonym.errors import NotFoundError, TamperedError
from pseudonym.files import locked, read_secret_file, replace_file
from pseudonym.requests import Approval, Request, digest_of
from pseudonym.roles.callers import Caller
from pseudonym.roles.checks import Mandate
from pseudonym.roles.refusals import CallerRefusedError, FieldError
from pseudonym.tracing import WAY_BACK
from pseudonym.v1 import broker_pb2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept:
    """A request as it is kept.

    Attributes:
        request: as it came.
        approvals: so far.
        words: the reference numbers, sorted.
        resolved: whether it was granted.
    """

    request: Request
    approvals: tuple[Approval, ...] = ()
    words: tuple[str, ...] = field(default=(), repr=False)
    resolved: bool = False

    def message(self) -> broker_pb2.Reidentification:
        """What callers see of it: everything but the numbers."""
        return broker_pb2.Reidentification(
            name=self.request.name(),
            request=self.request.to_file(),
            approvals=[approval.to_file() for approval in self.approvals],
            state=broker_pb2.REIDENTIFICATION_STATE_RESOLVED
            if self.resolved
            else broker_pb2.REIDENTIFICATION_STATE_OPEN,
        )


class WaybackDesk:
    """The requests of one broker.

    Args:
        folder: where they are kept.
        gate: what the broker checks them with.
        clock: the time.
    """

    def __init__(self, folder: Path, gate: wayback.Gate, clock: Callable[[], datetime] = clock.now) -> None:
        self._folder, self._gate, self._clock = folder, gate, clock
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)

    def ask(self, mandate: Mandate, caller: Caller, content: bytes, words: tuple[str, ...]) -> Kept:
        """Keep a request; the same again does nothing.

        Raises:
            FieldError: the mandate or the numbers are not the request's.
            CallerRefusedError: it is another person's.
            RequestRefusedError: it could never be granted: see `wayback.check_asked`.
            InputError: it is no request.
        """
        request = _read_file(Request.from_file, content, "request")
        _check_person(caller, request.requester)
        _check_mandate(mandate, request)
        if len(words) != request.count or digest_of(request.id, words) != request.digest:
            raise FieldError(
                "The numbers are not the request's.", "Send those it was made for.", field="urns"
            )
        words = tuple(sorted(words))
        wayback.check_asked(self._gate, request, self._clock(), words)
        with self._lock:
            try:
                return self._read(request.name())
            except NotFoundError:
                return self._write(Kept(request, (), words))

    def approve(self, mandate: Mandate, caller: Caller, content: bytes) -> Kept:
        """Keep an approval with its request, in place of the approver's earlier one.

        Raises:
            NotFoundError: there is no such request in the project.
            CallerRefusedError: the approval is another person's.
            RequestRefusedError: it could never help: see `wayback.check_approval`.
            InputError: it is none.
        """
        approval = _read_file(Approval.from_file, content, "approval")
        _check_person(caller, approval.approver)
        with self._lock:
            kept = self.get(mandate.project, approval.request)
            wayback.check_approval(self._gate, kept.request, approval, self._clock())
            others = tuple(one for one in kept.approvals if one.approver != approval.approver)
            return self._write(replace(kept, approvals=(*others, approval)))

    def get(self, project: str, name: bytes) -> Kept:
        """A request.

        Raises:
            NotFoundError: there is none of this name in the project.
        """
        kept = self._read(name)
        if kept.request.project != project:
            raise _missing()
        return kept

    def resolve(
        self, broker: Broker, mandate: Mandate, requester: Caller, asked: access.Mandate, name: bytes
    ) -> tuple[Kept, list[bytes]]:
        """Grant a request, once, and find whom it is about; the same again, until it expires, if asked again.

        Returns:
            The request, and for each number in their order the pid, or nothing where there is none.

        Raises:
            RequestRefusedError: it is not granted: see `wayback.check_request`.
            FieldError: the mandate is not the request's.
            CallerRefusedError: it is another person's.
        """
        with self._lock:
            kept = self.get(mandate.project, name)
            _check_person(requester, kept.request.requester)
            _check_mandate(mandate, kept.request)
            words = list(kept.words)
            wayback.check_request(
                self._gate, kept.request, kept.approvals, self._clock(), words=words, again=True
            )
            if not kept.resolved:
                kept = self._write(replace(kept, resolved=True))
            project, recipient = kept.request.project, kept.request.recipient
            urns = pl.DataFrame({"urn": words})
            aids = broker.tracing.resolve(project, recipient, urns, asked, WAY_BACK)
            known = aids.filter(pl.col("aid").is_not_null()).select("aid")
            found = broker.tracing.pids(project, known, asked, WAY_BACK)
            pids = dict(zip(found["aid"].to_list(), found["pid"].to_list(), strict=True))
        return kept, [pids.get(aid) or b"" for aid in aids["aid"].to_list()]

    def drop_void(self, usable: Callable[[Request], bool]) -> int:
        """Forget requests that have expired, and those of which the numbers' key is destroyed.

        Args:
            usable: whether the key of a request's numbers is there.

        Returns:
            How many were forgotten.
        """
        gone = 0
        with self._lock:
            for path in sorted(self._folder.glob("*.json")):
                request = self._read(bytes.fromhex(path.stem)).request
                if self._clock() >= request.expires or not usable(request):
                    path.unlink()
                    gone += 1
        return gone

    def _read(self, name: bytes) -> Kept:
        path = self._folder / f"{name.hex()}.json"
        if len(name) != 32 or not path.exists():
            raise _missing()
        content = json.loads(read_secret_file(path, "request"))
        return Kept(
            Request.from_file(content["request"].encode()),
            tuple(Approval.from_file(one.encode()) for one in content["approvals"]),
            tuple(content["words"]),
            content["resolved"],
        )

    def _write(self, kept: Kept) -> Kept:
        content = {
            "request": kept.request.to_file().decode(),
            "approvals": [one.to_file().decode() for one in kept.approvals],
            "words": kept.words,
            "resolved": kept.resolved,
        }
        with locked(self._folder):
            replace_file(self._folder / f"{kept.request.name().hex()}.json", json.dumps(content).encode())
        return kept


def _read_file(read: Callable[[bytes], T], content: bytes, field: str) -> T:
    try:
        return read(content)
    except TamperedError:
        raise FieldError(f"This is no {field}.", "Send the file as it was made.", field=field) from None


def _check_person(caller: Caller, name: str) -> None:
    # The development identity is everybody.
    if caller.role is not None and caller.person != name:
        raise CallerRefusedError("The request or approval is another person's.", "Each sends their own.")


def _check_mandate(mandate: Mandate, request: Request) -> None:
    if (request.project, request.purpose) != (mandate.project, mandate.purpose):
        raise FieldError(
            "The mandate is not the request's.", "Name its project and purpose.", field="mandate"
        )


def _missing() -> NotFoundError:
    return NotFoundError("There is no such request for the way back.", "Check its name and project.")
