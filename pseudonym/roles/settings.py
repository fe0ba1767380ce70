"""How a role runs: its keyset, its database, its audit log, and the way to the role it calls.

Everything has its place in the role's own folder, `<data>/<role>/`, unless it is named. In production it
must be named, because two of these places belong to somebody else: the checkpoints to whoever watches the
log, and the officer's private key to the data protection officer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pseudonym.given import Given
from pseudonym.roles.callers import SERVER_ROLES, Role

POPULATION = 1_000_000
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
        secret: where what opens the keyset comes from, as `kinlink keys` takes it (`pseudonym.given`).
        keyset_module: the PKCS #11 library of a token's maker.
        keyset_address: the key server's.
        keyset_mount: where its transit engine is.
        keyset_authorities: certificates to trust for the key server.
        audit: the folder of the audit log.
        checkpoints: the folder of its checkpoints, which another party keeps.
        officer_key: the data protection officer's public key (X25519, PEM), for details in the audit log.
        ledger: the ledger of erasures.
        governance: the file of projects, approvers and quotas (`governance.read`).
        broker: HOST:PORT of the broker.
        population: how many people the vault is made for, or None for `POPULATION`; fixed when it is made.
        lock_after: minutes without a call or a job after which the identity role locks the vault: it stops.
        days_ahead: by how many days the time is ahead of this machine's, to see what a month does.
    """

    database: str | None = None
    keyset: Path | None = None
    device: Path | None = None
    secret: Sequence[str] | None = None
    keyset_module: Path | None = None
    keyset_address: str | None = None
    keyset_mount: str | None = None
    keyset_authorities: Path | None = None
    audit: Path | None = None
    checkpoints: Path | None = None
    officer_key: Path | None = None
    ledger: Path | None = None
    governance: Path | None = None
    broker: str | None = None
    population: int | None = None
    lock_after: float | None = None
    days_ahead: int = 0

    @classmethod
    def read(cls, given: argparse.Namespace) -> Options:
        """Take the options from what `add_arguments` had the parser read."""
        return cls(**{one.name: getattr(given, one.name) for one in fields(cls)})

    def check(self, role: Role | None, data: Path, *, production: bool, certificates: bool) -> None:
        """Refuse options that do not go together.

        Args:
            role: the one that runs, or None for all.
            data: the data folder.
            production: whether people's data are here.
            certificates: whether callers show one.

        Raises:
            ValueError: with what is wrong and what to do.
        """
        if production and self.days_ahead:
            raise ValueError("In production the time is this machine's: leave out --days-ahead.")
        named = [f"--{one.name.replace('_', '-')}" for one in fields(self) if getattr(self, one.name)]
        if role is None:
            if production:
                raise ValueError(NOT_IN_PRODUCTION)
            alone = [name for name in named if name not in ("--governance", "--days-ahead")]
            if alone:
                raise ValueError(f"{alone[0]} is an option of one role. Give --role as well.")
            return
        if not certificates:
            raise ValueError(ALONE)
        if role is Role.BROKER and self.broker is not None:
            raise ValueError("The broker calls no other role: leave out --broker.")
        for name, given in (("--lock-after", self.lock_after), ("--population", self.population)):
            if role is not Role.IDENTITY and given is not None:
                raise ValueError(f"The vault is the identity role's, and so is {name}.")
        missing = sorted(_NEEDED - set(named) - ({"--broker"} if role is Role.BROKER else set()))
        if production and missing:
            raise ValueError(f"In production a role makes nothing by itself. Give {', '.join(missing)}.")
        for name, path in (("--ledger", self.ledger), ("--device", self.device)):
            if production and path and path.resolve().is_relative_to(data.resolve()):
                raise ValueError(
                    f"{name} lies in the data folder: a backup of that would bring back what was destroyed "
                    "or erased. Name another place."
                )


_NEEDED = {
    "--database",
    "--keyset",
    "--secret",
    "--audit",
    "--checkpoints",
    "--officer-key",
    "--ledger",
    "--broker",
}
"""What must be named in production; what a keyset's provider needs beside its secret, opening it says."""


@dataclass(frozen=True)
class RoleSettings:
    """Where one role has what it needs; see `Options` for each.

    Attributes:
        device: the device secret of a keyset that is made here.
        passphrase_file: where the passphrase of one goes.
        given: what opens the keyset.
        ledger: the ledger of erasures.
        population: how many people the vault is made for: its index has tags that a few of them share.
        make: whether what is missing is made at the start, with a throw-away passphrase and officer's key
            beside it: in development alone.
    """

    role: Role
    folder: Path
    database: str
    keyset: Path
    device: Path
    passphrase_file: Path
    given: Given
    audit: Path
    checkpoints: Path
    officer_key: Path
    ledger: Path
    governance: Path | None
    broker: str | None
    population: int
    make: bool

    @property
    def names_its_passphrase(self) -> bool:
        """Whether the keyset is opened with the passphrase in the role's own folder."""
        return list(self.given.secrets) == [f"file:{self.passphrase_file}"]


def resolve(role: Role, data: Path, options: Options, *, make: bool) -> RoleSettings:
    """Where a role has what it needs, if the options name no other places."""
    folder = data.absolute() / role
    device, passphrase_file = options.device or folder / "device.json", folder / "passphrase"
    given = Given(
        secrets=options.secret or [f"file:{passphrase_file}"],
        device=device if make else options.device,
        module=options.keyset_module,
        address=options.keyset_address,
        mount=options.keyset_mount or "transit",
        authorities=options.keyset_authorities,
        options="--keyset-",
    )
    return RoleSettings(
        role=role,
        folder=folder,
        database=options.database or f"sqlite:///{folder / 'store.sqlite'}",
        keyset=options.keyset or folder / "keyset.json",
        device=device,
        passphrase_file=passphrase_file,
        given=given,
        audit=options.audit or folder / "audit",
        checkpoints=options.checkpoints or folder / "checkpoints",
        officer_key=options.officer_key or folder / "officer.pem",
        ledger=options.ledger or folder / "erasures",
        governance=options.governance,
        broker=options.broker,
        population=options.population or POPULATION,
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
    group.add_argument("--device", type=Path, help="the device secret of the keyset; never back it up")
    group.add_argument(
        "--secret",
        action="append",
        metavar="SOURCE",
        help="where the passphrase, PIN or token comes from: prompt, fd:NUMBER, file:PATH or "
        "credential:NAME; with custodians CUSTODIAN=SOURCE, once for each",
    )
    group.add_argument("--keyset-module", type=Path, help="PKCS #11 library of a token's maker")
    group.add_argument("--keyset-address", metavar="URL", help="key server: OpenBao or Vault")
    group.add_argument("--keyset-mount", help="where its transit engine is mounted (transit)")
    group.add_argument("--keyset-authorities", type=Path, help="certificates to trust for it, PEM")
    group.add_argument("--audit", type=Path, help="folder of the audit log")
    group.add_argument("--checkpoints", type=Path, help="folder of its checkpoints, kept by another party")
    group.add_argument("--officer-key", type=Path, help="public key of the data protection officer, PEM")
    group.add_argument(
        "--ledger", type=Path, help="the ledger of erasures; not where backups of the database go"
    )
    group.add_argument("--governance", type=Path, help="file of projects, approvers and quotas, JSON")
    group.add_argument("--days-ahead", type=_days, default=0, help=argparse.SUPPRESS)
    group.add_argument("--broker", metavar="HOST:PORT", help="where the broker is (identity, attributes)")
    group.add_argument(
        "--population",
        type=_population,
        metavar="PEOPLE",
        help=f"how many people the vault is made for, fixed when it is made ({POPULATION:,}; identity)",
    )
    group.add_argument(
        "--lock-after",
        type=_minutes,
        metavar="MINUTES",
        help="stop after this long without a call or a job, so that the vault is opened with its secret anew "
        "(identity)",
    )


def _population(text: str) -> int:
    people = int(text)
    if not 1_000 <= people <= 10**9:
        raise ValueError("Between a thousand and a thousand million people.")
    return people


def _days(text: str) -> int:
    days = int(text)
    if not 0 <= days <= 36_525:
        raise ValueError("Up to a hundred years.")
    return days


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < 1e6:
        raise ValueError("Minutes are more than 0.")
    return minutes
