"""Role processes with certificates of an organisation that is not the throw-away authority."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc

from linker import status
from pseudonym.roles import settings
from pseudonym.roles.authority import HOSTS, Authority, write_private
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.opening import open_house
from pseudonym.v1 import common_pb2
from tests.service.harness import Server

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


def tls_flags(certificates: Path, role: str) -> list[str]:
    return [
        "--tls-certificate", str(certificates / f"{role}.pem"),
        "--tls-key", str(certificates / f"{role}.key"),
        "--tls-authority", str(certificates / "authority.pem"),
    ]  # fmt: skip


def production_flags(certificates: Path, data: Path, role: Role, broker: str = "") -> list[str]:
    """What a role needs in production, made beforehand as its keepers would."""
    made = settings.resolve(role, data, settings.Options(), make=True)
    open_house(made, DOMAIN).close()
    flags = ["--environment", "production", "--role", role, *tls_flags(certificates, role)]
    for name in ("database", "keyset", "device", "passphrase_file", "audit", "checkpoints", "officer_key"):
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


def mandate(request_id: str = "", project: str = "tf-2026") -> common_pb2.Mandate:
    return common_pb2.Mandate(
        request_id=request_id or os.urandom(8).hex(), project=project, purpose="evaluation-2026"
    )


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
