"""Where the broker takes erasures from the identity role, and keeps them until the attributes role follows.

    identity ──(pids)──▶ take: paper on disk ─▶ ledger, erased ─▶ waiting ──(aids)──▶ attributes
                                                                  done ◀──(certificate)──┘

A paper holds aids, never pids, and none once they are acknowledged. It lies beside the ledger, not in the
database: see `papers`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

from pseudonym.access import Mandate
from pseudonym.broker_erasure import BrokerErasure
from pseudonym.errors import NotFoundError
from pseudonym.roles.destroying import Certify
from pseudonym.roles.papers import Papers
from pseudonym.roles.refusals import FieldError
from pseudonym.urn import Kind
from pseudonym.v1 import broker_pb2

_ID = re.compile(r"er-[0-9a-f]{16}")


class ErasureDesk:
    """The erasures of one broker; usable from any thread.

    Args:
        papers: where they are kept.
        erasure: what forgets people here.
        certify: signs what was done here.
    """

    def __init__(self, papers: Papers, erasure: BrokerErasure, certify: Certify) -> None:
        self._papers, self._erasure, self._certify = papers, erasure, certify
        self._lock = threading.Lock()

    def take(
        self, erasure_id: str, project: str, asked: Mandate, pids: Sequence[bytes]
    ) -> broker_pb2.BrokerServiceEraseSubjectsResponse:
        """Erase people in all projects, unless it is done; how far the erasure has come.

        Raises:
            FieldError: the id has not the form of one.
        """
        with self._lock:
            paper = self._papers.read(checked(erasure_id))
            if paper is None:
                aids = self._erasure.aids(Kind.PERSON, pids)
                paper = {
                    "project": project,
                    "purpose": asked.purpose,
                    "requester": asked.actor,
                    "aids": {name: [aid.hex() for aid in some] for name, some in aids.items()},
                    "certificate": "",
                    "attributes_certificate": "",
                }
                self._papers.write(erasure_id, paper)
            self._finish(erasure_id, paper)
        return broker_pb2.BrokerServiceEraseSubjectsResponse(
            certificate=paper["certificate"].encode(),
            attributes_certificate=paper["attributes_certificate"].encode(),
        )

    def resume(self) -> None:
        """Finish what a crash cut off, before anything is served."""
        for name, paper in self._papers.all():
            self._finish(name, paper)

    def waiting(self) -> list[broker_pb2.ErasureNotice]:
        """What the attributes role has not followed yet."""
        with self._lock:
            return [
                broker_pb2.ErasureNotice(
                    erasure_id=name,
                    project=paper["project"],
                    purpose=paper["purpose"],
                    requester=paper["requester"],
                    erased=[
                        broker_pb2.ErasedAids(project=project, aids=_bytes(some))
                        for project, some in paper["aids"].items()
                    ],
                )
                for name, paper in self._papers.all()
                if paper["certificate"] and not paper["attributes_certificate"]
            ]

    def followed(self, erasure_id: str, certificate: bytes) -> int:
        """Take the attributes role's word that it has erased the aids, and forget them; how many they were.

        Raises:
            NotFoundError: there is no such erasure.
            FieldError: the certificate is empty or no text.
        """
        try:
            text = certificate.decode()
        except UnicodeDecodeError:
            text = ""
        if not text:
            raise FieldError("The certificate is none.", "Send it as a file.", field="certificate")
        with self._lock:
            paper = self._papers.read(checked(erasure_id))
            if paper is None:
                raise NotFoundError("There is no such erasure.", "Check its id.")
            count = sum(map(len, paper["aids"].values()))
            if not paper["attributes_certificate"]:
                self._papers.write(erasure_id, {**paper, "aids": {}, "attributes_certificate": text})
        return count

    def _finish(self, name: str, paper: dict[str, Any]) -> None:
        if paper["certificate"]:
            return
        aids = {project: _bytes(some) for project, some in paper["aids"].items()}
        counts = self._erasure.erase_aids(aids, Mandate(paper["requester"], paper["purpose"]))
        what = "What led to persons and from them to reference numbers, in all projects."
        paper["certificate"] = self._certify(paper["project"], what, (paper["requester"],), counts).decode()
        self._papers.write(name, paper)


def checked(erasure_id: str) -> str:
    """The id of an erasure.

    Raises:
        FieldError: it has not the form of one.
    """
    if not _ID.fullmatch(erasure_id):
        raise FieldError("erasure_id is none.", "It is er- and 16 hexadecimal digits.", field="erasure_id")
    return erasure_id


def _bytes(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]
