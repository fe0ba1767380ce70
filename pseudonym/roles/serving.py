"""The services of the roles that one server runs, put on that server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import grpc
import polars as pl

from pseudonym import wayback
from pseudonym.arrivals import Arrivals, Runs
from pseudonym.audit import Event
from pseudonym.casebook import Casebook
from pseudonym.disclosures import Disclosures
from pseudonym.errors import InputError, StoreError
from pseudonym.optouts.screen import Forms
from pseudonym.people import People
from pseudonym.release.flow import Decided, ReleaseDesk
from pseudonym.rights.correcting import Spelt
from pseudonym.roles import domains, governance, keepings
from pseudonym.roles.answering import Answering, Explained
from pseudonym.roles.arrow import ReadArrow
from pseudonym.roles.attribute_service import AttributeServicer
from pseudonym.roles.audit_service import AuditServicer
from pseudonym.roles.broker_service import BrokerServicer
from pseudonym.roles.callers import Role
from pseudonym.roles.carrying import Carrying
from pseudonym.roles.covering import cover_of, projects_terms
from pseudonym.roles.destroying import Destroy, certifier, destroyer
from pseudonym.roles.duties import Duties
from pseudonym.roles.ending import (
    End,
    destroyed_in_identity,
    end_in_attributes,
    end_in_broker,
    end_in_identity,
)
from pseudonym.roles.erasing import Erasing
from pseudonym.roles.erasure_desk import ErasureDesk
from pseudonym.roles.errand_desk import ErrandDesk
from pseudonym.roles.errands import Errands
from pseudonym.roles.exchange import Exchange
from pseudonym.roles.joining import Joining
from pseudonym.roles.key_service import KeyServicer
from pseudonym.roles.opening import House, officer_of
from pseudonym.roles.opting_out import OptOuts
from pseudonym.roles.optout_service import OptOutServicer
from pseudonym.roles.papers import Papers
from pseudonym.roles.passage import Terms
from pseudonym.roles.peer import Peer, PeerTls
from pseudonym.roles.people_desk import PeopleDesk
from pseudonym.roles.policy import METHODS
from pseudonym.roles.refusals import PeerUnavailableError
from pseudonym.roles.registers import Registers
from pseudonym.roles.release_service import ReleaseServicer, overdue_alarm, release_certifier
from pseudonym.roles.renewing import Renewing
from pseudonym.roles.reports import Reports
from pseudonym.roles.retaining import Keeping, Retaining
from pseudonym.roles.retention_service import RetentionServicer
from pseudonym.roles.rights_desk import RightsDesk
from pseudonym.roles.rights_errand_service import RightsErrandServicer
from pseudonym.roles.rights_service import RightsServicer
from pseudonym.roles.rounds import Rounds
from pseudonym.roles.senders import Holders
from pseudonym.roles.spent import Spent
from pseudonym.roles.submissions import Submissions
from pseudonym.roles.table_service import TableServicer
from pseudonym.roles.vault_service import Carried, VaultServicer
from pseudonym.roles.wayback_desk import WaybackDesk
from pseudonym.tables.flow import TableDesk
from pseudonym.v1 import (
    attribute_pb2_grpc,
    audit_pb2_grpc,
    broker_pb2_grpc,
    key_pb2_grpc,
    optout_pb2_grpc,
    release_pb2_grpc,
    retention_pb2_grpc,
    rights_errand_pb2_grpc,
    rights_pb2_grpc,
    table_pb2_grpc,
    vault_pb2_grpc,
)

DOMAIN = "pseudonym.v1"
PACKAGE = f"/{DOMAIN}."


@dataclass
class Way:
    """How a role finds the broker: the address and certificates may be known only once the server listens.

    Attributes:
        address: HOST:PORT, or None where nobody named it.
        tls: gives what the role shows and trusts now, or None; once that is another, calls connect anew.
    """

    address: str | None = None
    tls: Callable[[], PeerTls | None] = lambda: None
    _peer: Peer | None = None
    _shown: PeerTls | None = None
    _former: Peer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def broker(self) -> Peer:
        """The broker.

        Raises:
            PeerUnavailableError: nobody said where it is.
        """
        tls = self.tls()
        if self.address is None or tls is None:
            raise PeerUnavailableError(
                "This role does not know where the broker is.", "The operator names it with --broker."
            )
        with self._lock:
            if self._peer is None or tls != self._shown:
                if self._former is not None:
                    self._former.close()
                # Calls that still run on the connection from before end on it.
                self._former, self._shown = self._peer, tls
                self._peer = Peer(Role.BROKER, self.address, tls)
            return self._peer

    def close(self) -> None:
        """End the connection."""
        for peer in (self._peer, self._former):
            if peer is not None:
                peer.close()


@dataclass(frozen=True)
class Engine:
    """What the linkage service, which knows nothing of keys and roles, does for the identity role.

    Attributes:
        opened: is given what joins submissions with the persons in the vault, and links registers with them.
        carry: see `pseudonym.roles.vault_service.Carried`.
        forms: see `pseudonym.optouts.screen.Forms`.
        delete_overdue: destroys the extracts that were sent in and are due; how many. It is called every day.
        overdue: project and id of those that are due.
        end_project: destroys all that it has of a project; how much of each sort there was.
        knows: whether anything of a project was ever sent to it.
        senders: gives who has sent anything for a project, as in their certificates.
        explained: see `pseudonym.roles.answering.Explained`.
        spelt: see `pseudonym.rights.correcting.Spelt`.
        runs: see `pseudonym.arrivals.Runs`.
    """

    opened: Callable[[Joining, Registers], object]
    carry: Carried
    forms: Forms
    delete_overdue: Callable[[], int]
    overdue: Callable[[], Sequence[tuple[str, str]]]
    end_project: Callable[[str], Mapping[str, int]]
    knows: Callable[[str], bool]
    senders: Callable[[str], Sequence[str]]
    explained: Explained
    spelt: Spelt
    runs: Runs


@dataclass
class Parts:
    """What the roles of one server have in common while they are put on it.

    Attributes:
        server: it does not run yet.
        stack: what ends with the server.
        read: see `ReadArrow`.
        failed: is told the reason when work in the background does not succeed.
        told: is told the name of a daily duty that was done, and how much it was.
        engine: what the linkage service does for the identity role, if the server has it.
        destroy: how each role's keys are destroyed.
        end: how a project ends in each role.
        renew: the renewals of the roles that have key-encrypting keys.
        retain: what of each role is due, and its destruction.
    """

    server: grpc.aio.Server
    stack: ExitStack
    read: ReadArrow
    failed: Callable[[str], object]
    told: Callable[[str, int], object]
    engine: Engine | None = None
    destroy: dict[Role, Destroy] = field(default_factory=dict)
    end: dict[Role, End] = field(default_factory=dict)
    renew: dict[Role, Renewing] = field(default_factory=dict)
    retain: dict[Role, Retaining] = field(default_factory=dict)

    def begin(self, rounds: Rounds) -> None:
        """Let work in the background begin, and end with the server."""
        self.stack.enter_context(rounds)
        rounds.start()

    def daily(
        self, house: House, keeping: Keeping, besides: Mapping[str, Callable[[], int]] | None = None
    ) -> None:
        """Have what is kept for a time destroyed, and other duties done, by the clock of the role's store."""
        told = governance.read(house.settings.governance)
        self.retain[house.role] = Retaining(house, told, keeping, self.end[house.role])
        duties = {**keeping.duties, **(besides or {})}
        self.begin(Duties(house.store.now, duties, self.told, self.failed).rounds)


def add_services(
    server: grpc.aio.Server,
    houses: Mapping[Role, House],
    ways: Mapping[Role, Way],
    read: ReadArrow,
    failed: Callable[[str], object],
    told: Callable[[str, int], object],
    engine: Engine | None = None,
) -> Callable[[], None]:
    """Put the services of `pseudonym.v1` that these roles serve on a server.

    Args:
        server: it does not run yet.
        houses: the roles.
        ways: for each role its way to the broker.
        read: see `ReadArrow`.
        failed: is told the reason when work in the background does not succeed.
        told: is told the name of a daily duty that was done, and how much it was.
        engine: what the linkage service does for the identity role, if the server has that.

    Returns:
        What to call when the server has stopped.

    Raises:
        PseudonymError: what a role has cannot be opened.
    """
    audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(houses), server)
    with ExitStack() as stack:
        parts = Parts(server, stack, read, failed, told, engine)
        for role, house in houses.items():
            stack.callback(ways[role].close)
            if role is Role.BROKER:
                _add_broker(parts, house)
            elif role is Role.ATTRIBUTES:
                _add_attributes(parts, house, ways[role])
            else:
                _add_identity(parts, house, ways[role])
        servicer = KeyServicer(houses, parts.destroy, parts.end, parts.renew)
        key_pb2_grpc.add_KeyServiceServicer_to_server(servicer, server)
        retention = RetentionServicer(houses, parts.retain)
        retention_pb2_grpc.add_RetentionServiceServicer_to_server(retention, server)
        return stack.pop_all().close


def _add_broker(parts: Parts, house: House) -> None:
    gate = _gate(house, parts.stack)
    broker = domains.open_broker(house)
    certify = certifier(house, broker.erasure.ledger)
    parts.destroy[house.role] = destroyer(house, broker=broker)
    parts.end[house.role] = end_in_broker(house, broker, certify)
    desk = WaybackDesk(house.settings.folder / "wayback", gate)
    papers = Papers(house.settings.folder / "erasures-told", "erasure")
    erasures = ErasureDesk(papers, broker.erasure, certify)
    erasures.resume()
    errands = ErrandDesk(Papers(house.settings.folder / "errands", "errand"), broker.rights)
    passing = RightsErrandServicer(errands)
    rights_errand_pb2_grpc.add_RightsErrandServiceServicer_to_server(passing, parts.server)
    servicer = BrokerServicer(house, broker, desk, erasures, certify, _ended(house), parts.read)
    broker_pb2_grpc.add_BrokerServiceServicer_to_server(servicer, parts.server)
    keeping = keepings.of_broker(house, broker, certify)
    parts.daily(house, keeping, {"tables_put_in_order": broker.scatter})


def _add_attributes(parts: Parts, house: House, way: Way) -> None:
    attributes = domains.open_attributes(house)
    certify = certifier(house, attributes.erasure.ledger)
    counted = domains.wrapped_attributes(house.store)
    parts.destroy[house.role] = destroyer(house, counted)
    parts.end[house.role] = end_in_attributes(attributes, certify)
    renewing = Renewing(house, [domains.rewrap_attributes(house)], counted, certify, parts.failed)
    parts.renew[house.role] = renewing
    errands = Errands(attributes, officer_of(house), way.broker, parts.failed)
    exchange = Exchange(attributes, certify, way.broker, parts.read, parts.failed, errands.unmarked)
    submissions = Submissions(house.settings.folder / "submissions")
    cover = cover_of(house)
    servicer = AttributeServicer(attributes, submissions, exchange, parts.read, holders(house), cover)
    attribute_pb2_grpc.add_AttributeServiceServicer_to_server(servicer, parts.server)
    parts.begin(renewing.rounds)
    parts.begin(exchange.rounds)
    parts.begin(errands.rounds)
    told = governance.read(house.settings.governance)
    decided = Decided(told.register, told.canaries, cover)
    desk = ReleaseDesk(attributes, exchange.issue, decided, release_certifier(certify), exchange.settle)
    release_pb2_grpc.add_ReleaseServiceServicer_to_server(ReleaseServicer(house, desk), parts.server)
    of_tables = attributes, exchange.record_keys, told.register, told.areas, cover
    tables = TableDesk(*of_tables, exchange.settle)
    table_pb2_grpc.add_TableServiceServicer_to_server(TableServicer(house, tables), parts.server)
    besides = {
        "releases_overdue": overdue_alarm(house, desk),
        "tables_put_in_order": attributes.intake.scatter,
    }
    parts.daily(house, keepings.of_attributes(attributes, desk, renewing), besides)


def _add_identity(parts: Parts, house: House, way: Way) -> None:
    engine = parts.engine
    carry = None if engine is None else engine.carry
    told = governance.read(house.settings.governance)
    gate, quotas = _gate(house, parts.stack), told.quotas
    vault, erasure = domains.open_vault(house, quotas)
    certify = certifier(house, erasure.ledger)
    counted = domains.wrapped_identities(house, vault)
    parts.destroy[house.role] = destroyer(house, counted)
    casebook = Casebook(house.store, domains.folder_keys(house))
    end_linkage = engine.end_project if engine else lambda project: {}
    rewrap = [domains.rewrap_identities(vault), domains.rewrap_folders(house)]
    renewing = Renewing(house, rewrap, counted, certify, parts.failed)
    parts.renew[house.role] = renewing
    papers = Papers(house.settings.folder / "erasing", "erasure")
    erasing = Erasing(papers, erasure, certify, way.broker, parts.failed)
    people, key, disclosures = People(vault), domains.unit_key(house), Disclosures(vault.tools)
    reports = parts.stack.enter_context(Reports(people, way.broker, parts.failed))
    optouts = OptOuts(
        vault,
        people,
        erasing,
        domains.open_book(house, _no_forms if engine is None else engine.forms),
        domains.open_checks(house),
        told.opt_outs,
        parts.failed,
    )
    optouts.resume()
    ended, destroyed = _ended(house), destroyed_in_identity(house)
    arrivals = Arrivals(
        vault, engine.runs if engine else dict, lambda project: ended(project) or destroyed(project)
    )
    forget = optouts.forget_project
    parts.end[house.role] = end_in_identity(
        erasure, way.broker, certify, casebook, forget, reports.settle, arrivals.held, end_linkage
    )
    senders = engine.senders if engine is not None else lambda project: ()
    desk = PeopleDesk(people, key, senders, reports.soon)
    registers = Registers(people, key, reports, disclosures, optouts)
    servicer = VaultServicer(house, vault, gate, erasing, way.broker, desk, registers, carry, disclosures)
    vault_pb2_grpc.add_VaultServiceServicer_to_server(servicer, parts.server)
    deciding = OptOutServicer(house, vault, people, erasing, optouts)
    optout_pb2_grpc.add_OptOutServiceServicer_to_server(deciding, parts.server)
    parts.begin(renewing.rounds)
    explained: Explained = (lambda project, records: []) if engine is None else engine.explained
    terms = projects_terms(told.records)
    answering = Answering(vault, people, casebook, disclosures, told.contacts, explained, terms)
    officer = officer_of(house)
    carrying = Carrying(vault, casebook, answering, erasing, way.broker, officer, parts.failed)
    spelt = _no_spelling if engine is None else engine.spelt
    rights = RightsDesk(vault, casebook, carrying, _ended(house), optouts.numberless, spelt)
    rights_pb2_grpc.add_RightsServiceServicer_to_server(RightsServicer(house, rights), parts.server)
    parts.begin(erasing.rounds)
    parts.begin(carrying.rounds)
    if engine is not None:
        engine.opened(Joining(people, key, reports, optouts, carrying.enter), registers)
    reports.start()
    duties = {
        "answers_dropped": casebook.drop_answers,
        "opt_out_lists_destroyed": optouts.destroy_due,
        "opt_outs_carried_out": optouts.retry,
    }
    kept = house, certify, renewing
    if engine is None:
        keeping = keepings.of_identity(*kept, lambda: (), lambda: 0, lambda project: True)
    else:
        knows = keepings.known_to(engine.knows, casebook.knows, optouts.knows)
        keeping = keepings.of_identity(*kept, engine.overdue, engine.delete_overdue, knows)
    parts.daily(house, keeping, duties)


def _ended(house: House) -> Callable[[str], bool]:
    """Whether a project's end, as the role was told, is past."""
    ends = governance.read(house.settings.governance).ends
    return lambda project: project in ends and ends[project].timestamp() <= house.store.now()


def _no_forms(people: pl.DataFrame, *, brief: bool) -> pl.DataFrame:
    """Where no linkage service makes forms, nobody can be told."""
    raise InputError("This server makes no forms of names.", "Ask the identity role's.")


def _no_spelling(values: Mapping[str, str], day: date) -> tuple[dict[str, str], dict[str, str]]:
    """Where no linkage service checks values, none is corrected."""
    raise InputError("This server checks no values of people.", "Ask the identity role's.")


def methods_of(roles: Mapping[Role, object]) -> dict[str, float]:
    """Every method of `pseudonym.v1` that one of the roles serves, with the seconds it may take at most."""
    return {
        method: rule.seconds
        for method, rule in METHODS.items()
        if method.startswith(PACKAGE) and not set(rule.served_by).isdisjoint(roles)
    }


def terms_of(house: House) -> Terms:
    """On what terms a role serves."""
    return Terms(governance.read(house.settings.governance).ends, cover_of(house))


def holders(house: House) -> Holders:
    """Who may send which register and dataset; everybody where nobody decided, in development alone."""
    told = governance.read(house.settings.governance).holders
    return Holders(told if told is not None or house.settings.make else ())


def _granted_before(house: House) -> Path:
    """The file of granted requests, which is there wherever the role has run before.

    Without it a request could be granted twice.

    Raises:
        StoreError: it is missing.
    """
    path = house.settings.folder / "spent"
    if not path.exists() and domains.served_before(house):
        raise StoreError(
            "The file of granted requests for the way back is missing.",
            "Restore it. If it is lost, put an empty one there once all requests have expired, in 16 days.",
        )
    return path


def _gate(house: House, stack: ExitStack) -> wayback.Gate:
    """What a role checks requests for the way back with; its alarm is an entry in its audit log."""
    told = governance.read(house.settings.governance)
    spent = stack.enter_context(Spent(_granted_before(house)))

    def alarm(alarm: wayback.Alarm) -> None:
        outcome = "granted" if alarm.granted else "refused"
        details = f"{alarm.request.hex()} {alarm.recipient} {alarm.reason}".encode()
        actor = f"requester/{alarm.requester}"
        done = Event(actor, f"way-back.{outcome}", "way-back", alarm.project, b"", alarm.count, details)
        house.log.append([done])

    return wayback.Gate(house.role, told.register, told.ends, spent, alarm)
