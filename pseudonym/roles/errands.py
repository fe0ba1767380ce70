"""What the attributes role does of people's rights: it asks the broker for errands, and does them in order.

    broker ──(errand, aids)──▶ mark, unlink, or gather and seal ──(sealed)──▶ broker forgets the aids

Each errand may be done again. One that cannot be done is tried again in the next round. Only a mark holds up
those after it: a mark that is lifted must not come before the mark. A mark of a project that is not opened
here yet waits until it is.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence

from pseudonym import hpke
from pseudonym.access import Mandate
from pseudonym.attribute_subjects import Flag
from pseudonym.attributes import Attributes
from pseudonym.attributes_rights import Which
from pseudonym.errors import EndedError, NotFoundError
from pseudonym.rights.halves import ATTRIBUTES, context
from pseudonym.roles.peer import Peer
from pseudonym.roles.rounds import Rounds
from pseudonym.v1 import common_pb2
from pseudonym.v1 import rights_errand_pb2 as pb

SERVICE = "/pseudonym.v1.RightsErrandService/"
EVERY = 10.0  # seconds between two questions
PATIENCE = 3.0  # seconds for which a broker that is down is asked again: a stop waits for it
_KIND = pb.ErrandKind
_WHICH = {
    _KIND.ERRAND_KIND_COPY: Which.ALL,
    _KIND.ERRAND_KIND_PROVIDED: Which.PROVIDED,
    _KIND.ERRAND_KIND_LINKS: Which.LINKS,
}


class Errands:
    """The attributes role's part in people's rights.

    Args:
        attributes: the attribute store's operations.
        officer: the data protection officer's public key, 32 bytes.
        broker: gives the broker, or raises why it cannot be called.
        failed: is told the reason when a round does not succeed.
    """

    def __init__(
        self,
        attributes: Attributes,
        officer: bytes,
        broker: Callable[[], Peer],
        failed: Callable[[str], object],
    ) -> None:
        self._attributes, self._officer, self._broker = attributes, officer, broker
        self._failed = failed
        self._lock = threading.Lock()  # what is lifted in one round is not marked anew by another
        self._marked: set[tuple[str, str]] = set()  # errand and project, where the errand waits for another
        self.rounds = Rounds("errands", self._work, failed)

    def follow(self) -> int:
        """Do what the broker has; how many errands.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
            PseudonymError: an errand cannot be done; the others were.
        """
        with self._lock:
            return self._follow()

    def unmarked(self) -> set[bytes]:
        """Do the marks that wait at the broker; whose could not be done.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
        """
        with self._lock:
            waiting = [one for one in self._waiting() if one.errand.kind == _KIND.ERRAND_KIND_MARK]
            for place, notice in enumerate(waiting):
                try:
                    self._carry_out(notice)
                except Exception as error:  # told in each round, too
                    self._failed(getattr(error, "reason", type(error).__name__))
                    return {aid for one in waiting[place:] for whose in one.marked for aid in whose.aids}
        return set()

    def _waiting(self) -> Sequence[pb.ErrandNotice]:
        asked = pb.ListErrandsRequest()
        answer = self._broker().call(f"{SERVICE}ListErrands", asked, pb.ListErrandsResponse, PATIENCE)
        return answer.errands

    def _follow(self) -> int:
        failure: Exception | None = None
        waiting = self._waiting()
        for notice in waiting:
            try:
                self._carry_out(notice)
            except Exception as error:  # one that cannot be done holds up no other but those after its mark
                failure = error
                if notice.errand.kind == _KIND.ERRAND_KIND_MARK:
                    break
        if failure is not None:
            raise failure
        return len(waiting)

    def _carry_out(self, notice: pb.ErrandNotice) -> None:
        errand = notice.errand
        sealed = self._do(errand, {one.project: list(one.aids) for one in notice.marked})
        if sealed is None:
            return
        done = pb.AcknowledgeErrandRequest(
            mandate=common_pb2.Mandate(
                request_id=os.urandom(16).hex(), project=errand.project, purpose=errand.purpose
            ),
            errand_id=errand.errand_id,
            sealed=sealed,
        )
        self._broker().call(f"{SERVICE}AcknowledgeErrand", done, pb.AcknowledgeErrandResponse)
        self._marked = {one for one in self._marked if one[0] != errand.errand_id}

    def _do(self, errand: pb.RightsErrand, marked: dict[str, list[bytes]]) -> bytes | None:
        """What was gathered, or None where something is left to do."""
        asked, rights = Mandate(errand.requester, errand.purpose), self._attributes.rights
        if errand.kind in _WHICH:
            aids = marked.get(errand.project, [])
            try:
                held = rights.copy(errand.project, aids, asked, _WHICH[errand.kind]) if aids else {}
            except (NotFoundError, EndedError):  # the project was never opened here, or is destroyed
                held = {}
            content = json.dumps(held, ensure_ascii=False).encode()
            return hpke.seal(self._officer, content, *context(errand.case_id, errand.project, ATTRIBUTES))
        late = False
        for project, aids in marked.items():
            try:
                if errand.kind == _KIND.ERRAND_KIND_MARK:
                    if (errand.errand_id, project) in self._marked:
                        continue
                    if project not in self._attributes.known():
                        late = True
                        continue
                    rights.mark(project, aids, Flag(errand.flags), list(errand.purposes), asked)
                    self._marked.add((errand.errand_id, project))
                elif errand.kind == _KIND.ERRAND_KIND_UNLINK:
                    rights.unlink(project, aids, asked)
            except (NotFoundError, EndedError):
                continue
        return None if late else b""

    def _work(self) -> float:
        self.follow()
        return EVERY
