"""Role processes with certificates of an organisation that is not the throw-away authority."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import polars as pl
from typer.testing import CliRunner

from linker import status
from linker.client import Client, Tls
from linker.resources import JobState
from pseudonym.retention.schedules import READY_MADE
from pseudonym.roles import senders, settings
from pseudonym.roles.authority import HOSTS, Authority, write_private
from pseudonym.roles.callers import SERVER_ROLES, Caller, Role
from pseudonym.roles.opening import open_house
from pseudonym.v1 import common_pb2
from tests.service.harness import Server, quiet_port

DOMAIN = "tests.example"


class Organisation(Authority):
    """An authority as an organisation has one: a server in production takes it."""

    name = "Tests"

    def __init__(self, domain: str = DOMAIN) -> None:
        super().__init__(domain)

    def write_all(self, folder: Path) -> None:
        write_private(folder / "authority.pem", self.certificate)
        for role in Role:
            hosts = HOSTS if role in SERVER_ROLES else ()
            person = "olive" if role is Role.DATA_PROTECTION_OFFICER else "alice"
            self.issue(role, "server-1" if hosts else person, hosts).write(folder, role)
        self.issue(Role.APPROVER, "bob").write(folder, "approver-2")
        self.issue(Role.COUNCIL, "bob").write(folder, "council-2")
        self.issue(Role.REVIEWER, "bob").write(folder, "reviewer-2")
        self.issue(Role.REVIEWER, "carol").write(folder, "reviewer-3")


def tls_flags(certificates: Path, role: str) -> list[str]:
    return [
        "--tls-certificate", str(certificates / f"{role}.pem"),
        "--tls-key", str(certificates / f"{role}.key"),
        "--tls-authority", str(certificates / "authority.pem"),
    ]  # fmt: skip


def apart(data: Path) -> Path:
    """Where a role in production has what must not lie in its data folder."""
    return data.with_name(f"{data.name}-apart")


def lawful(
    *datasets: str, purposes: Iterable[str] = ("evaluation-2026",), end: str = "2090-01-01", **changes: Any
) -> dict[str, Any]:
    """What the governance file says of a project whose purposes may use these datasets, to its last day."""
    purpose = {
        "words": "to find out how well services work",
        "basis": "6(1)(e)",
        "special_category": "9(2)(g)",
        "criminal_offence": "10",
        "schedule_1": "DPA 2018 Schedule 1 paragraph 6",
        "gateway": "dea-2017-s64",
        "sharing": "statutory-function",
        "datasets": list(datasets),
    }
    may = ["special-category", "criminal-offence"]
    return {
        "end": f"{end}T00:00:00Z",
        "controller": "Department of Families",
        "processor": "Office of Statistics",
        "contact": "dpo@families.example",
        "accreditations": [
            {"of": "project", "reference": "DEA/1", "expires": end},
            {"of": "processor", "reference": "DEA/2", "expires": end},
            {"of": "researcher", "person": "alice", "reference": "AR/1", "expires": end, "may": may},
        ],
        "purposes": dict.fromkeys(purposes, purpose),
    } | changes


def schedules_of(*datasets: str) -> str:
    """The ready-made schedules, with datasets of tests beside the registers."""
    named = "".join(f'"{one}", ' for one in datasets)
    return READY_MADE.read_text().replace('datasets = ["', f'datasets = [{named}"')


def production_flags(certificates: Path, data: Path, role: Role, broker: str = "") -> list[str]:
    """What a role needs in production, made beforehand as its keepers would."""
    beside = apart(data)
    beside.mkdir()
    options = settings.Options(device=beside / "device.json", ledger=beside / "erasures")
    made = settings.resolve(role, data, options, make=True)
    open_house(made, DOMAIN).close()
    told = beside / "governance.json"
    told.write_text(
        json.dumps(
            {"projects": {"families": lawful("npd", "e06", purposes=["tests"], schedules="schedules.toml")}}
        )
    )
    (beside / "schedules.toml").write_text(schedules_of("npd", "e06"))
    flags = ["--environment", "production", "--role", role, *tls_flags(certificates, role)]
    flags += ["--governance", str(told)]
    flags += ["--secret", f"file:{made.passphrase_file}"]
    for name in ("database", "keyset", "device", "audit", "checkpoints", "officer_key", "ledger"):
        flags += [f"--{name.replace('_', '-')}", str(getattr(made, name))]
    return [*flags, "--broker", broker] if broker else flags


class Called:
    """Calls as one bearer of a certificate."""

    def __init__(self, address: str, certificates: Path, name: str) -> None:
        root, key, chain = (
            (certificates / file).read_bytes() for file in ("authority.pem", f"{name}.key", f"{name}.pem")
        )
        secured = grpc.ssl_channel_credentials(root, key, chain)
        self.channel = grpc.secure_channel(address.replace("127.0.0.1", "localhost"), secured)

    def __call__(self, method: str, request: Any = None, response: Any = None, timeout: float = 20) -> Any:
        """Call a method by its full name; bytes where there are no messages."""
        send = self.channel.unary_unary(
            method,
            (type(request).SerializeToString if request is not None else None),
            response and response.FromString,
        )
        return send(request if request is not None else b"", timeout=timeout)

    def __enter__(self) -> Called:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()


def reason(error: Any) -> tuple[str, str, str]:
    """Code, reason and domain of a refusal."""
    found = status.read(dict(error.trailing_metadata())[status.METADATA_KEY])
    assert found.code == error.code().name
    return found.code, found.reason, found.domain


PEOPLE = {
    "p1": ("Amelia", "Baxter", "2011-02-03", "CB1 1AA"),
    "p2": ("Noah", "Ellis-Hale", "1979-11-21", "CB2 7QX"),
    "p3": ("Freya", "Okonkwo", "2014-07-30", "CB4 3LE"),
    "p4": ("Oscar", "Marsh", "1990-05-12", "CB9 8TT"),
}
"""Made-up people who have nothing in common: forename, surname, day of birth, postcode."""
PURPOSE = "evaluation-2026"
ENDED = "over-2026"
"""A project whose end is past, as the roles that tests share are told."""


def council_file(refs: list[bytes], people: list[str]) -> pl.DataFrame:
    """Rows of made-up people; several rows may be one person's."""
    told = pl.DataFrame(
        [PEOPLE[one] for one in people], schema=["forename", "surname", "dob", "postcode"], orient="row"
    )
    named = pl.DataFrame({"row_ref": [ref.hex() for ref in refs], "family": [f"f{one}" for one in people]})
    return named.hstack(told)


def governance(folder: Path, quota: int = 1_000_000, **decided: Any) -> Path:
    """A file for roles that may open so many identities a day for the tests' purpose."""
    path = folder / "governance.json"
    path.write_text(json.dumps({**decided, "quotas": {PURPOSE: quota}}))
    return path


def client(
    server: Server, certificates: Path, name: str, project: str = "tf-2026", purpose: str = PURPOSE
) -> Client:
    """A client of the engine's services, as one bearer of a certificate."""
    files = (certificates / file for file in ("authority.pem", f"{name}.pem", f"{name}.key"))
    address = server.address.replace("127.0.0.1", "localhost")
    return Client(address, project=project, purpose=purpose, tls=Tls(*files), patience=30)


OWN: dict[str, str] = {}
"""What roles know row references by that were sent here, and the sender's own."""


def bound(refs: Sequence[str], role: Role = Role.COUNCIL, person: str = "alice") -> list[str]:
    """What roles know a sender's row references by."""
    sender = str(Caller(DOMAIN, role, person))
    found = [one.hex() for one in senders.bound(sender, [bytes.fromhex(ref) for ref in refs])]
    OWN.update(zip(found, refs, strict=True))
    return found


def start_join(
    server: Server,
    certificates: Path,
    rows: pl.DataFrame,
    batch: str,
    source: str = "cambridgeshire",
    **more: Any,
) -> str:
    """Send identifiers as a council does, and start to join them as the operator does; the job's id."""
    with client(server, certificates, "council") as council:
        mapping = {"household": "family"} if "family" in rows.columns else {}
        bound([ref for ref in rows["row_ref"] if len(ref) == 32])
        sent = council.submit(rows, batch_id=batch, source=source, id_column="row_ref", mapping=mapping)
    with client(server, certificates, "linkage-operator") as operator:
        family = "family" if mapping else ""
        return operator.start_join(sent.submission_id, family_column=family, **more).job_id


def finished(server: Server, certificates: Path, job_id: str) -> dict[str, int]:
    """What a join that has come to its end made of its rows."""
    with client(server, certificates, "linkage-operator") as operator:
        job = operator.wait(job_id)
        assert job.state is JobState.SUCCEEDED, job.problem
        joined: dict[str, int] = operator.report(job_id)["figures"]["joined"]
        return joined


def join(server: Server, certificates: Path, rows: pl.DataFrame, batch: str, **more: Any) -> dict[str, int]:
    """Join a file; see `start_join` and `finished`."""
    return finished(server, certificates, start_join(server, certificates, rows, batch, **more))


def mandate(request_id: str = "", project: str = "tf-2026") -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=request_id or os.urandom(8).hex(), project=project, purpose=PURPOSE)


@contextmanager
def three(
    folder: Path,
    certificates: Path,
    databases: dict[Role, str] | None = None,
    governance: Path | None = None,
) -> Iterator[dict[Role, Server]]:
    """The three roles, each in a process of its own."""
    with ExitStack() as stack:
        servers: dict[Role, Server] = {}
        for role in (Role.BROKER, Role.IDENTITY, Role.ATTRIBUTES):
            flags = ["--role", role.value, *tls_flags(certificates, role)]
            if role is not Role.BROKER:
                flags += ["--broker", servers[Role.BROKER].address.replace("127.0.0.1", "localhost")]
            if databases:
                flags += ["--database", databases[role]]
            if governance:
                flags += ["--governance", str(governance)]
            servers[role] = stack.enter_context(Server(folder / role, *flags))
        yield servers
        for server in servers.values():
            assert server.stop() == 0


class Trio:
    """Three roles that are killed and started again, at addresses of their own; the broker first.

    Args:
        folder: of their data and logs.
        certificates: see `Organisation.write_all`.
        governance: what each is told, or None.
        databases: the URL of each, or None for SQLite.
    """

    # What waits a minute for somebody else waits a moment here.
    CODE = (
        "from pseudonym.roles import erasing, exchange\n"
        "exchange.ASK_EVERY = erasing.EVERY = 0.2\n"
        "os._exit(server.run(settings))"
    )

    def __init__(
        self,
        folder: Path,
        certificates: Path,
        governance: Path | None = None,
        databases: dict[Role, str] | None = None,
    ) -> None:
        self.folder, self.certificates = folder, certificates
        self._governance, self._databases = governance, databases
        self._ports = {role: quiet_port() for role in SERVER_ROLES}
        self.days_ahead = 0  # by how many days the clock is moved at the next start
        self.servers: dict[Role, Server] = {}

    def port(self, role: Role) -> int:
        """Where a role listens, whenever it runs."""
        return self._ports[role]

    def start(self, *roles: Role) -> None:
        """Start roles, or all."""
        for role in roles or (Role.BROKER, Role.IDENTITY, Role.ATTRIBUTES):
            flags = ["--role", role.value, *tls_flags(self.certificates, role)]
            flags += ["--listen", f"127.0.0.1:{self._ports[role]}"]
            if role is not Role.BROKER:
                flags += ["--broker", f"localhost:{self._ports[Role.BROKER]}"]
            if self._databases:
                flags += ["--database", self._databases[role]]
            if self._governance:
                flags += ["--governance", str(self._governance)]
            if self.days_ahead:
                flags += ["--days-ahead", str(self.days_ahead)]
            self.servers[role] = Server(self.folder / role, *flags, code=self.CODE)

    def stop(self, *roles: Role) -> None:
        """Stop roles, or all, the broker last: the others call it."""
        for role in roles or (Role.ATTRIBUTES, Role.IDENTITY, Role.BROKER):
            assert self.servers[role].stop() == 0

    def called(self, role: Role, bearer: str) -> Called:
        """Calls of one role as one bearer."""
        return Called(f"127.0.0.1:{self._ports[role]}", self.certificates, bearer)

    def kinlink(self, app: Any, role: Role | None, bearer: str, *arguments: object, typed: str = "") -> Any:
        """A command, as one bearer at one role, or at none; its exit code and output."""
        flags = list(map(str, arguments))
        if role is not None:
            flags += [
                "--service",
                f"localhost:{self._ports[role]}",
                "--ca",
                f"{self.certificates}/authority.pem",
            ]
            flags += [
                "--cert",
                f"{self.certificates}/{bearer}.pem",
                "--key",
                f"{self.certificates}/{bearer}.key",
            ]
        return CliRunner().invoke(app, flags, input=typed, catch_exceptions=False)

    def __enter__(self) -> Trio:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.__exit__()

    def files(self, role: Role) -> dict[Path, bytes]:
        """Everything that a role has on disk, and what it has said."""
        found = {path: path.read_bytes() for path in (self.folder / role).rglob("*") if path.is_file()}
        return found | {Path("log"): self.servers[role].log.encode()}
