"""How the roles of one process call one another: as from afar, with certificates that end with the process.

One process protects no role from another; but each call then passes what it passes between processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import grpc

from pseudonym.roles.authority import HOSTS, Authority
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.peer import PeerTls
from pseudonym.roles.serving import Way

LOCAL = "127.0.0.1"


def listen_within(server: grpc.aio.Server, ways: Mapping[Role, Way]) -> None:
    """Let the server listen for its own roles, on a port that takes nobody else, and tell them where."""
    authority = Authority()
    shown = authority.issue(Role.BROKER, "this-process", HOSTS)
    secured = grpc.ssl_server_credentials(
        [(shown.key, shown.certificate)], authority.certificate, require_client_auth=True
    )
    port = server.add_secure_port(f"{LOCAL}:0", secured)
    for role in SERVER_ROLES:
        own = authority.issue(role, "this-process")
        ways[role].address = f"{LOCAL}:{port}"
        ways[role].tls = partial(PeerTls, authority.certificate, own.certificate, own.key)
