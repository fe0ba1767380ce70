"""The three roles as their callers see them, each caller with a certificate of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pseudonym.roles.callers import Role

if TYPE_CHECKING:
    from linker.client import Client
    from pseudonym.roles.client import AttributesClient, BrokerClient
    from pseudonym.roles.peer import Peer, PeerTls


class StudyError(Exception):
    """The study cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Service:
    """Three roles that run.

    Attributes:
        addresses: of each role.
        certificates: the folder with those of all callers.
        project: what is called for …
        purpose: … and why.
        patience: seconds for which a role that cannot be reached is tried again.
    """

    addresses: dict[Role, str]
    certificates: Path
    project: str
    purpose: str
    patience: float = 20.0

    def linker(self, caller: Role) -> Client:
        """A client of the identity role."""
        from linker.client import Client, Tls

        own = (self.certificates / f"{caller}{end}" for end in (".pem", ".key"))
        tls = Tls(self.certificates / "authority.pem", *own)
        address = self.addresses[Role.IDENTITY]
        return Client(address, project=self.project, purpose=self.purpose, tls=tls, patience=self.patience)

    def broker(self, caller: Role) -> BrokerClient:
        """A client of the broker."""
        from pseudonym.roles.client import BrokerClient

        address = self.addresses[Role.BROKER]
        tls = self._tls(caller)
        return BrokerClient(
            address, project=self.project, purpose=self.purpose, tls=tls, patience=self.patience
        )

    def attributes(self, caller: Role) -> AttributesClient:
        """A client of the attributes role."""
        from pseudonym.roles.client import AttributesClient

        address = self.addresses[Role.ATTRIBUTES]
        tls = self._tls(caller)
        return AttributesClient(
            address, project=self.project, purpose=self.purpose, tls=tls, patience=self.patience
        )

    def at_attributes(self, caller: str) -> Peer:
        """The attributes role, for calls that no client has; callers are named as their certificates."""
        return self.at(Role.ATTRIBUTES, caller)

    def at(self, role: Role, caller: str) -> Peer:
        """A role, for calls that no client has."""
        from pseudonym.roles.peer import Peer

        tls = self._tls(caller)
        return Peer(role, self.addresses[role], tls, timeout=3600.0, patience=self.patience, person=True)

    def _tls(self, caller: str) -> PeerTls:
        from pseudonym.roles.peer import PeerTls

        names = ("authority.pem", f"{caller}.pem", f"{caller}.key")
        return PeerTls(*((self.certificates / name).read_bytes() for name in names))
