"""The services of the roles that one server runs, put on that server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import grpc

from pseudonym import wayback
from pseudonym.audit import Event
from pseudonym.roles import domains, governance
from pseudonym.roles.arrow import ReadArrow
from pseudonym.roles.attribute_service import AttributeServicer
from pseudonym.roles.audit_service import AuditServicer
from pseudonym.roles.broker_service import BrokerServicer
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import Destroy, destroyer
from pseudonym.roles.exchange import Exchange
from pseudonym.roles.key_service import KeyServicer
from pseudonym.roles.opening import House
from pseudonym.roles.peer import Peer, PeerTls
from pseudonym.roles.policy import METHODS
from pseudonym.roles.refusals import PeerUnavailableError
from pseudonym.roles.spent import Spent
from pseudonym.roles.submissions import Submissions
from pseudonym.roles.vault_service import VaultServicer
from pseudonym.roles.wayback_desk import WaybackDesk
from pseudonym.v1 import (
    attribute_pb2_grpc,
    audit_pb2_grpc,
    broker_pb2_grpc,
    key_pb2_grpc,
    vault_pb2_grpc,
)

DOMAIN = "pseudonym.v1"
PACKAGE = f"/{DOMAIN}."


@dataclass
class Way:
    """How a role finds the broker: the address and certificates may be known only once the server listens.

    Attributes:
        address: HOST:PORT, or None where nobody named it.
        tls: what the role shows and trusts, or None.
    """

    address: str | None = None
    tls: PeerTls | None = None
    _peer: Peer | None = None

    def broker(self) -> Peer:
        """The broker.

        Raises:
            PeerUnavailableError: nobody said where it is.
        """
        if self.address is None or self.tls is None:
            raise PeerUnavailableError(
                "This role does not know where the broker is.", "The operator names it with --broker."
            )
        if self._peer is None:
            self._peer = Peer(Role.BROKER, self.address, self.tls)
        return self._peer

    def close(self) -> None:
        """End the connection."""
        if self._peer is not None:
            self._peer.close()


def add_services(
    server: grpc.aio.Server,
    houses: Mapping[Role, House],
    ways: Mapping[Role, Way],
    read: ReadArrow,
    failed: Callable[[str], object],
) -> Callable[[], None]:
    """Put the services of `pseudonym.v1` that these roles serve on a server.

    Args:
        server: it does not run yet.
        houses: the roles.
        ways: for each role its way to the broker.
        read: see `ReadArrow`.
        failed: is told the reason when work in the background does not succeed.

    Returns:
        What to call when the server has stopped.

    Raises:
        PseudonymError: what a role has cannot be opened.
    """
    destroy: dict[Role, Destroy] = {}
    audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(houses), server)
    with ExitStack() as stack:
        for role, house in houses.items():
            stack.callback(ways[role].close)
            if role is Role.BROKER:
                broker = domains.open_broker(house)
                destroy[role] = destroyer(house.keyset, broker=broker)
                desk = WaybackDesk(house.settings.folder / "wayback", _gate(house, stack))
                servicer = BrokerServicer(house, broker, desk, read)
                broker_pb2_grpc.add_BrokerServiceServicer_to_server(servicer, server)
            elif role is Role.ATTRIBUTES:
                attributes = domains.open_attributes(house)
                destroy[role] = destroyer(house.keyset, domains.wrapped_attributes(house.store))
                exchange = stack.enter_context(Exchange(attributes, ways[role].broker, read, failed))
                submissions = Submissions(house.settings.folder / "submissions")
                attribute_pb2_grpc.add_AttributeServiceServicer_to_server(
                    AttributeServicer(attributes, submissions, exchange, read), server
                )
                exchange.start()
            else:
                vault = domains.open_vault(house, governance.read(house.settings.governance).quotas)
                destroy[role] = destroyer(house.keyset, domains.wrapped_identities(house, vault))
                vault_pb2_grpc.add_VaultServiceServicer_to_server(
                    VaultServicer(house, vault, _gate(house, stack), ways[role].broker, read), server
                )
        key_pb2_grpc.add_KeyServiceServicer_to_server(KeyServicer(houses, destroy), server)
        return stack.pop_all().close


def methods_of(roles: Mapping[Role, object]) -> dict[str, float]:
    """Every method of `pseudonym.v1` that one of the roles serves, with the seconds it may take at most."""
    return {
        method: rule.seconds
        for method, rule in METHODS.items()
        if method.startswith(PACKAGE) and not set(rule.served_by).isdisjoint(roles)
    }


def _gate(house: House, stack: ExitStack) -> wayback.Gate:
    """What a role checks requests for the way back with; its alarm is an entry in its audit log."""
    told = governance.read(house.settings.governance)
    spent = stack.enter_context(Spent(house.settings.folder / "spent"))

    def alarm(alarm: wayback.Alarm) -> None:
        outcome = "granted" if alarm.granted else "refused"
        details = f"{alarm.request.hex()} {alarm.recipient} {alarm.reason}".encode()
        actor = f"requester/{alarm.requester}"
        done = Event(actor, f"way-back.{outcome}", "way-back", alarm.project, b"", alarm.count, details)
        house.log.append([done])

    return wayback.Gate(house.role, told.register, told.ends, spent, alarm)
