"""Where the broker takes errands about people's rights, until the attributes role has done them.

    identity ──(pids)──▶ take: paper on disk ─▶ waiting ──(aids)──▶ attributes
             ◀──(sealed)── done ◀──────────────────────(sealed)──────┘

A paper holds aids, never pids, and none once its errand is done; of what was gathered, sealed to the data
protection officer, it holds nothing once identity has it. It lies beside the ledger of erasures, not in the
database: see `papers`.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Sequence
from typing import Any

from pseudonym.access import Mandate
from pseudonym.broker_rights import BrokerRights
from pseudonym.errors import NotFoundError
from pseudonym.roles.papers import Papers
from pseudonym.roles.refusals import FieldError
from pseudonym.v1 import rights_errand_pb2 as pb

_ID = re.compile(r"ri-[0-9a-f]{24}")
_KIND = pb.ErrandKind
GATHERING = frozenset({_KIND.ERRAND_KIND_COPY, _KIND.ERRAND_KIND_PROVIDED, _KIND.ERRAND_KIND_LINKS})
"""The errands that bring something back."""


class ErrandDesk:
    """The errands of one broker; usable from any thread.

    Args:
        papers: where they are kept.
        rights: what the broker knows of the people they are about.
    """

    def __init__(self, papers: Papers, rights: BrokerRights) -> None:
        self._papers, self._rights = papers, rights
        self._lock = threading.Lock()

    def take(
        self, errand: pb.RightsErrand, pids: Sequence[bytes], *, received: bool
    ) -> pb.SendErrandResponse:
        """Take an errand, unless it was taken; how far it has come.

        Args:
            errand: what is to be done.
            pids: whom it is about.
            received: whether what was gathered may be forgotten.

        Raises:
            FieldError: the id or the kind is none.
        """
        name = checked(errand.errand_id)
        asked = Mandate(errand.requester, errand.purpose)
        with self._lock:
            paper = self._papers.read(name)
            if paper is None:
                entering = errand.kind == _KIND.ERRAND_KIND_MARK and not errand.case_id
                aids = self._rights.enter(errand.project, pids) if entering else self._rights.aids(pids)
                whose = aids if errand.kind in (_KIND.ERRAND_KIND_MARK, _KIND.ERRAND_KIND_UNLINK) else {}
                if errand.kind in GATHERING:
                    whose = {name: some for name, some in aids.items() if name == errand.project}
                if errand.kind == _KIND.ERRAND_KIND_UNLINK:
                    self._rights.corrected(whose, asked)
                paper = {
                    "errand": base64.b64encode(errand.SerializeToString()).decode(),
                    "aids": {project: [aid.hex() for aid in some] for project, some in whose.items()},
                    "here": bool(aids.get(errand.project)),
                    "done": errand.kind == _KIND.ERRAND_KIND_LOCATE,
                    "sealed": "",
                }
                self._papers.write(name, paper)
            if received and paper["sealed"]:
                paper["sealed"] = ""
                self._papers.write(name, paper)
        return pb.SendErrandResponse(
            here=paper["here"],
            done=paper["done"],
            sealed=base64.b64decode(paper["sealed"]),
            ended=self._rights.ended(errand.project),
        )

    def waiting(self) -> list[pb.ErrandNotice]:
        """What the attributes role has not done yet, in order."""
        with self._lock:
            return [
                pb.ErrandNotice(
                    errand=_errand(paper),
                    marked=[
                        pb.MarkedAids(project=project, aids=[bytes.fromhex(aid) for aid in some])
                        for project, some in paper["aids"].items()
                        if not self._rights.ended(project)
                    ],
                )
                for _, paper in self._papers.all()
                if not paper["done"]
            ]

    def done(self, errand_id: str, sealed: bytes) -> int:
        """Take the attributes role's word that an errand is done, and forget its aids; how many they were.

        Raises:
            NotFoundError: there is no such errand.
        """
        with self._lock:
            paper = self._papers.read(checked(errand_id))
            if paper is None:
                raise NotFoundError("There is no such errand.", "Check its id.")
            count = sum(map(len, paper["aids"].values()))
            if not paper["done"]:
                done: dict[str, Any] = {"aids": {}, "done": True, "sealed": base64.b64encode(sealed).decode()}
                self._papers.write(errand_id, paper | done)
        return count


def checked(errand_id: str) -> str:
    """The id of an errand.

    Raises:
        FieldError: it has not the form of one.
    """
    if not _ID.fullmatch(errand_id):
        raise FieldError("errand_id is none.", "It is ri- and 24 hexadecimal digits.", field="errand_id")
    return errand_id


def _errand(paper: dict[str, Any]) -> pb.RightsErrand:
    return pb.RightsErrand.FromString(base64.b64decode(paper["errand"]))
