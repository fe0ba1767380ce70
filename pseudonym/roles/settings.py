"""How a role runs: its keyset, its database, its audit log, and the way to the role it calls.

Everything has its place in the role's own folder, `<data>/<role>/`, unless it is named. In production it
must be named, because two of these places belong to somebody else: the checkpoints to whoever watches the
log, and the officer's private key to the data protection officer.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

from pseudonym.roles.callers import SERVER_ROLES, Role

DEVELOPMENT_DOMAIN = "development.invalid"
"""The domain of what names itself without a certificate."""
TOGETHER = (
    "All three roles run in this one process: whoever has its memory, its account or its folder has "
    "identifiers, attributes and every key at once, so the separation of roles protects nothing. This is "
    "for trying out, with made-up data. Run each role on its own with --role."
)
NOT_IN_PRODUCTION = (
    "In production each role runs in a process of its own, with its own account, keyset, database and "
    "certificate. Give --role identity, --role broker or --role attributes."
)
ALONE = (
    "A role on its own knows callers and other roles by certificate. Give --tls-certificate, --tls-key and "
    "--tls-authority; python -m pseudonym.roles.authority makes some for development."
)
WITHOUT_CERTIFICATES = (
    "Callers show no certificate: everybody who can reach this address is the one development identity, "
    "and may do everything."
)


@dataclass(frozen=True)
class Options:
    """What the command line says of a role; None for the places in the role's own folder.

    Attributes:
        database: the URL of the role's database.
        keyset: the role's keyset.
        device: the device secret of the keyset.
        passphrase_file: the file whose first line is the passphrase of the keyset.
        audit: the folder of the audit log.
        checkpoints: the folder of its checkpoints, which another party keeps.
        officer_key: the data protection officer's public key (X25519, PEM), for details in the audit log.
        governance: the file of projects, approvers and quotas (`governance.read`).
        broker: HOST:PORT of the broker.
    """

    database: str | None = None
    keyset: Path | None = None
    device: Path | None = None
    passphrase_file: Path | None = None
    audit: Path | None = None
    checkpoints: Path | None = None
    officer_key: Path | None = None
    governance: Path | None = None
    broker: str | None = None

    @classmethod
    def read(cls, given: argparse.Namespace) -> Options:
        """Take the options from what `add_arguments` had the parser read."""
        return cls(**{one.name: getattr(given, one.name) for one in fields(cls)})

    def check(self, role: Role | None, *, production: bool, certificates: bool) -> None:
        """Refuse options that do not go together.

        Raises:
            ValueError: with what is wrong and what to do.
        """
        named = [f"--{one.name.replace('_', '-')}" for one in fields(self) if getattr(self, one.name)]
        if role is None:
            if production:
                raise ValueError(NOT_IN_PRODUCTION)
            alone = [name for name in named if name != "--governance"]
            if alone:
                raise ValueError(f"{alone[0]} is an option of one role. Give --role as well.")
            return
        if not certificates:
            raise ValueError(ALONE)
        if role is Role.BROKER and self.broker is not None:
            raise ValueError("The broker calls no other role: leave out --broker.")
        needed = {f"--{one.name.replace('_', '-')}" for one in fields(self)} - {"--device", "--governance"}
        missing = sorted(needed - set(named) - ({"--broker"} if role is Role.BROKER else set()))
        if production and missing:
            raise ValueError(f"In production a role makes nothing by itself. Give {', '.join(missing)}.")


@dataclass(frozen=True)
class RoleSettings:
    """Where one role has what it needs; see `Options` for each.

    Attributes:
        make: whether what is missing is made at the start, with a throw-away passphrase and officer's key
            beside it: in development alone.
    """

    role: Role
    folder: Path
    database: str
    keyset: Path
    device: Path
    passphrase_file: Path
    audit: Path
    checkpoints: Path
    officer_key: Path
    governance: Path | None
    broker: str | None
    make: bool


def resolve(role: Role, data: Path, options: Options, *, make: bool) -> RoleSettings:
    """Where a role has what it needs, if the options name no other places."""
    folder = data.absolute() / role
    return RoleSettings(
        role=role,
        folder=folder,
        database=options.database or f"sqlite:///{folder / 'store.sqlite'}",
        keyset=options.keyset or folder / "keyset.json",
        device=options.device or folder / "device.json",
        passphrase_file=options.passphrase_file or folder / "passphrase",
        audit=options.audit or folder / "audit",
        checkpoints=options.checkpoints or folder / "checkpoints",
        officer_key=options.officer_key or folder / "officer.pem",
        governance=options.governance,
        broker=options.broker,
        make=make,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Teach a parser `--role` and the options of `Options`."""
    parser.add_argument(
        "--role", type=Role, choices=SERVER_ROLES, help="run one role alone (all three, for development)"
    )
    group = parser.add_argument_group("of one role", "in its folder DATA/ROLE, unless they are named here")
    group.add_argument("--database", help="URL: sqlite:///PATH or postgresql+psycopg://…")
    group.add_argument("--keyset", type=Path, help="the role's keyset")
    group.add_argument("--device", type=Path, help="the device secret of the keyset")
    group.add_argument("--passphrase-file", type=Path, help="file with the keyset's passphrase")
    group.add_argument("--audit", type=Path, help="folder of the audit log")
    group.add_argument("--checkpoints", type=Path, help="folder of its checkpoints, kept by another party")
    group.add_argument("--officer-key", type=Path, help="public key of the data protection officer, PEM")
    group.add_argument("--governance", type=Path, help="file of projects, approvers and quotas, JSON")
    group.add_argument("--broker", metavar="HOST:PORT", help="where the broker is (identity, attributes)")
