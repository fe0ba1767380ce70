"""What the broker's parts share: its tables, its keys, its ledger, and whom it tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pseudonym.access import Audit
from pseudonym.erasure import Ledger, What
from pseudonym.errors import KeyMissingError, NotFoundError
from pseudonym.storage.rows import Project
from pseudonym.storage.rows_broker import BrokerRows, Domain, DomainState
from pseudonym.urn import AidKey, Kind, UrnKey


class Keys(Protocol):
    """Where the broker's keys are: a `pseudonym.keys.Keyset`, in a service. Both raise KeyMissingError."""

    def aid_key(self, project: str) -> AidKey: ...
    def urn_key(self, project: str, recipient: str, epoch: int) -> UrnKey: ...


@dataclass(frozen=True, slots=True)
class BrokerContext:
    """What the broker's parts share."""

    rows: BrokerRows
    ledger: Ledger
    keys: Keys
    audit: Audit

    def domain(self, project: str, recipient: str) -> tuple[Project, Domain, UrnKey]:
        """A recipient's present epoch and its key.

        Raises:
            NotFoundError: there is no such project or recipient.
            EndedError: the project has ended.
            KeyMissingError: the key was destroyed.
        """
        with self.rows.read() as at:
            found = self.rows.project(at, project)
            domain = self.rows.domain(at, found.number, recipient)
        if domain.state is not DomainState.ACTIVE:
            raise KeyMissingError(
                "The recipient's key was destroyed, or is being destroyed.",
                "Begin another epoch for the recipient.",
            )
        return found, domain, self.keys.urn_key(project, recipient, domain.epoch)

    @contextmanager
    def living(self, aids: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Those of the aids that were not erased; nobody is erased while the context lasts."""
        with self.ledger.lock:
            gone = self.ledger.erased(What.SUBJECT, aids)
            yield [aid for aid, one in zip(aids, gone, strict=True) if not one]

    def keyed(self, project: Project) -> list[tuple[Domain, UrnKey]]:
        """The domains of a project whose keys are there, retired ones too."""
        with self.rows.read() as at:
            domains = self.rows.domains(at, project.number)
        found = []
        for domain in domains:
            if domain.state in (DomainState.ACTIVE, DomainState.RETIRED):
                try:
                    found.append((domain, self.keys.urn_key(project.name, domain.recipient, domain.epoch)))
                except KeyMissingError:
                    continue  # destroyed in the keyset: nothing of it can be made or traced again
        return found


def check_members(
    found: dict[bytes, tuple[int, str, bytes]], aids: Sequence[bytes], project: Project, kind: Kind
) -> None:
    """Refuse ids that are none of the project's, or of another kind.

    Raises:
        NotFoundError: some are.
    """
    strangers = sum(found.get(aid, (None, None))[:2] != (project.number, kind) for aid in aids)
    if strangers:
        raise NotFoundError(
            f"{strangers} of the ids are none of the project's {kind} ids.", "Nothing was done."
        )
