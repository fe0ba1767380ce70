"""Erasing people over all three roles, led by the identity role.

    asked ─▶ found in the vault ─▶ paper on disk ─▶ ledger, erased here ─▶ told to the broker ─▶ …
                                                  the attributes role follows the broker (`exchange`)

The rules this module keeps:

- Whoever was found stands in a paper on disk before anything is erased; from then on every step is done, if
  need be after a crash or once the broker can be reached again, and may be done twice.
- The paper lies beside the ledger, not in the database: a database that is put back does not forget that the
  other roles are still to be told.
- Nothing by which a person was sought is kept. That a request is the same one again is told by 16 bits of a
  keyed function: too few to try identifiers against, even with the key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pseudonym import clock
from pseudonym.errors import ConflictError, NotFoundError, PseudonymError
from pseudonym.identity_erasure import IdentityErasure
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.checks import Mandate
from pseudonym.roles.destroying import Certify
from pseudonym.roles.papers import Papers
from pseudonym.roles.peer import Peer
from pseudonym.roles.refusals import RequestIdError
from pseudonym.roles.rounds import Rounds
from pseudonym.v1 import broker_pb2, common_pb2

METHOD = "/pseudonym.v1.BrokerService/EraseSubjects"
MOST = 25_000
"""Internal ids in one erasure."""
EVERY = 60.0  # seconds between rounds, as long as something is pending
IDLE = 3_600.0
LONGEST_WAIT = 10.0  # seconds for which somebody who waits for an answer waits for another erasure
PATIENCE = 3.0  # seconds for which the broker is tried again: the rounds come back to it


@dataclass(frozen=True, slots=True)
class Done:
    """A role's part: when this role learned that it is done (ISO 8601, UTC), and the certificate of it."""

    when: str
    certificate: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure, as its paper has it.

    Attributes:
        erasure_id: its own id.
        mandate: under which it was asked for.
        requester: by whom, as in the certificate.
        reason: the name of the reason.
        tag: by which the request is known again, four hexadecimal digits.
        asked: when, ISO 8601, UTC.
        persons: how many internal ids it is about.
        pids: the ids, until all roles have followed.
        steps: the parts that are done, by role.
    """

    erasure_id: str
    mandate: Mandate
    requester: str
    reason: str
    tag: str
    asked: str
    persons: int
    pids: tuple[bytes, ...] = field(repr=False)
    steps: dict[Role, Done]

    @property
    def complete(self) -> bool:
        """Whether every role has done its part."""
        return len(self.steps) == len(SERVER_ROLES)


class Erasing:
    """The erasures of one identity role; usable from any thread.

    Args:
        papers: where they are kept.
        erasure: what forgets people here.
        certify: signs what was done here.
        broker: gives the broker, or raises why it cannot be called.
        failed: is told the reason when a round does not succeed.
    """

    def __init__(
        self,
        papers: Papers,
        erasure: IdentityErasure,
        certify: Certify,
        broker: Callable[[], Peer],
        failed: Callable[[str], object],
    ) -> None:
        self._papers, self._erasure, self._certify, self._broker = papers, erasure, certify, broker
        self.rounds = Rounds("erasing", self._work, failed)
        self._asking, self._working = threading.Lock(), threading.Lock()
        self._known = {name: _read(name, content) for name, content in papers.all()}

    def begin(
        self,
        mandate: Mandate,
        requester: str,
        reason: str,
        tag: str,
        find: Callable[[], Sequence[bytes]],
    ) -> Erasure:
        """Take up an erasure, unless the request was taken up before; then do what can be done at once.

        Args:
            mandate: of the request.
            requester: who asks.
            reason: the name of the reason.
            tag: what the request is known by.
            find: the ids of all that are to be erased, or raises why nobody is.

        Raises:
            RequestIdError: the id was used for another request.
            NotFoundError: there is nobody.
            ConflictError: there are too many people for one erasure.
        """
        with self._asking:
            same = (one for one in self._known.values() if one.mandate.request_id == mandate.request_id)
            erasure = next(same, None)
            asked = mandate, requester, reason, tag
            if erasure and (erasure.mandate, erasure.requester, erasure.reason, erasure.tag) != asked:
                raise RequestIdError(
                    "The request id was used for another request.", "Make a new id for each request."
                )
            if erasure is None:
                pids = tuple(find())
                if not pids:
                    raise NotFoundError("None of the persons is known any more.", "Nobody was erased.")
                if len(pids) > MOST:
                    raise ConflictError(
                        "These are too many people for one erasure.", "Ask for fewer at a time."
                    )
                name = f"er-{os.urandom(8).hex()}"
                erasure = self._keep(
                    Erasure(name, mandate, requester, reason, tag, _now(), len(pids), pids, {})
                )
        self._attempt(erasure)
        return self._known[erasure.erasure_id]

    def get(self, project: str, erasure_id: str) -> Erasure:
        """An erasure, after asking the broker how far it has come, if nobody is asking already.

        Raises:
            NotFoundError: the project has none of this id.
        """
        erasure = self._known.get(erasure_id)
        if erasure is None or erasure.mandate.project != project:
            raise NotFoundError("There is no such erasure in the project.", "Check the id and the project.")
        if not self._working.locked():
            self._attempt(erasure)
        return self._known[erasure_id]

    def _attempt(self, erasure: Erasure) -> None:
        """Do what can be done now; what cannot is tried again in rounds, and the server's log says why."""
        if not erasure.complete:
            with suppress(PseudonymError):
                self._advance(erasure.erasure_id, LONGEST_WAIT)
            self.rounds.soon()

    def _work(self) -> float:
        failure: Exception | None = None
        for erasure in list(self._known.values()):
            if not erasure.complete:
                try:
                    self._advance(erasure.erasure_id, -1)
                except Exception as error:  # one that cannot go on holds up no other
                    failure = error
        if failure is not None:
            raise failure
        return IDLE if all(one.complete for one in self._known.values()) else EVERY

    def _advance(self, erasure_id: str, wait: float) -> None:
        """Do the steps that are not done, unless others are at it for longer than one waits; -1 for ever."""
        if not self._working.acquire(timeout=wait):
            return
        try:
            erasure = self._known[erasure_id]
            if Role.IDENTITY not in erasure.steps:
                count = self._erasure.erase(erasure.pids)
                certificate = self._certify(
                    erasure.mandate.project,
                    "The identities of persons, whatever project they belong to.",
                    (erasure.requester,),
                    {"subject": count},
                )
                erasure = self._done(erasure, Role.IDENTITY, certificate)
            if not erasure.complete:
                self._tell(erasure)
        finally:
            self._working.release()

    def _tell(self, erasure: Erasure) -> None:
        mandate = common_pb2.Mandate(
            request_id=erasure.erasure_id, project=erasure.mandate.project, purpose=erasure.mandate.purpose
        )
        told = broker_pb2.BrokerServiceEraseSubjectsRequest(
            mandate=mandate,
            erasure_id=erasure.erasure_id,
            requester=erasure.requester,
            pids=erasure.pids,
        )
        answer = self._broker().call(METHOD, told, broker_pb2.BrokerServiceEraseSubjectsResponse, PATIENCE)
        for role, certificate in (
            (Role.BROKER, answer.certificate),
            (Role.ATTRIBUTES, answer.attributes_certificate),
        ):
            if certificate and role not in erasure.steps:
                erasure = self._done(erasure, role, certificate)

    def _done(self, erasure: Erasure, role: Role, certificate: bytes) -> Erasure:
        steps = {**erasure.steps, role: Done(_now(), certificate.decode())}
        erasure = replace(erasure, steps=steps)
        return self._keep(replace(erasure, pids=()) if erasure.complete else erasure)

    def _keep(self, erasure: Erasure) -> Erasure:
        content: dict[str, Any] = {
            "request_id": erasure.mandate.request_id,
            "project": erasure.mandate.project,
            "purpose": erasure.mandate.purpose,
            "requester": erasure.requester,
            "reason": erasure.reason,
            "tag": erasure.tag,
            "asked": erasure.asked,
            "persons": erasure.persons,
            "pids": [pid.hex() for pid in erasure.pids],
            "steps": {role: [done.when, done.certificate] for role, done in erasure.steps.items()},
        }
        self._papers.write(erasure.erasure_id, content)
        self._known[erasure.erasure_id] = erasure
        return erasure


def _read(name: str, content: dict[str, Any]) -> Erasure:
    return Erasure(
        name,
        Mandate(content["request_id"], content["project"], content["purpose"]),
        content["requester"],
        content["reason"],
        content["tag"],
        content["asked"],
        content["persons"],
        tuple(bytes.fromhex(pid) for pid in content["pids"]),
        {Role(role): Done(*done) for role, done in content["steps"].items()},
    )


def _now() -> str:
    return clock.now().isoformat(timespec="seconds")
