"""What a role has while it runs: its keyset, its database and its audit log, opened together or not at all.

In production nothing is made here but an empty database and an empty log. In development a role makes what is
missing, with a passphrase and an officer's key of its own beside it: convenient, and safe for made-up data
only.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pseudonym import audit, uses
from pseudonym.errors import AuditError, KeyMissingError, KeysetError
from pseudonym.keyrecord import set_name_of
from pseudonym.keys import Keyset, State
from pseudonym.log_keys import read_officer, signers
from pseudonym.roles.authority import write_private
from pseudonym.roles.callers import Role
from pseudonym.roles.repeats import Repeats
from pseudonym.roles.settings import RoleSettings
from pseudonym.storage import Store, open_store

FIRST_KEYS = {
    Role.IDENTITY: (uses.AUDIT, uses.ERASURES, uses.KEK, uses.BIDX, uses.SUPPRESSION, uses.UNIT),
    Role.BROKER: (uses.AUDIT, uses.ERASURES),
    Role.ATTRIBUTES: (uses.AUDIT, uses.ERASURES, uses.KEK),
}
"""The keys that a role needs before it can do anything; `kek/1` stands for any month's."""


@dataclass(frozen=True)
class House:
    """One role, opened; close it, or use it as a context.

    Attributes:
        role: which.
        settings: where its things are.
        keyset: its keys.
        store: its database.
        log: its audit log.
        repeats: what it has done, by request id.
    """

    role: Role
    settings: RoleSettings
    keyset: Keyset
    store: Store
    log: audit.Log
    repeats: Repeats
    close: Callable[[], None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def follow(self) -> None:
        """Let the audit log go on under the keyset's present key, if that is another one by now.

        Raises:
            KeysetError: the keyset does not open any more.
            AuditError: the log cannot be handed over; it goes on under the key before.
        """
        self.log.hand_over(signers(self.keyset, self.log.origin)[0])


@dataclass(frozen=True)
class _Succession:
    """Follows the keyset once a second, for when another process changed it; and lets the log sign."""

    keyset: Keyset
    log: audit.Log

    def tick(self) -> None:
        # A keyset that does not open refuses whoever asks it for a key; the log goes on as it is meanwhile.
        with suppress(KeysetError, AuditError):
            self.log.hand_over(signers(self.keyset, self.log.origin)[0])
        self.log.tick()


def open_house(settings: RoleSettings, domain: str) -> House:
    """Open what a role needs.

    Args:
        settings: where it is.
        domain: of the role's certificate; the log's name is `<domain>/<role>`.

    Raises:
        PseudonymError: something is missing, does not open, or is in use.
    """
    made = _make_missing(settings) if settings.make else None
    with ExitStack() as stack:
        keyset = made or _open_keyset(settings)
        _check_keys(keyset, settings)
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = stack.enter_context(_open_log(settings, keyset, f"{domain}/{settings.role}"))
        stack.enter_context(audit.ticking(_Succession(keyset, log)))
        store = stack.enter_context(open_store(settings.database, settings.role))
        repeats = stack.enter_context(Repeats(settings.folder / "repeats"))
        close = stack.pop_all().close
    return House(settings.role, settings, keyset, store, log, repeats, close)


def officer_of(house: House) -> bytes:
    """The data protection officer's public key, as the role was told: 32 bytes.

    Raises:
        PseudonymError: it cannot be read.
    """
    return read_officer(house.settings.officer_key).public_bytes_raw()


def _open_keyset(settings: RoleSettings) -> Keyset:
    # Before it is opened, which would finish what a crash left undone in somebody else's keyset.
    _check_role(set_name_of(settings.keyset), settings)
    keyset = Keyset.open(settings.keyset, settings.given.opener(settings.keyset))
    _check_role(keyset.name, settings)
    return keyset


def _check_role(name: str, settings: RoleSettings) -> None:
    if uses.role_of(name).value != settings.role.value:
        raise KeysetError("The keyset is another role's.", "Name the role's own with --keyset.")


def _open_log(settings: RoleSettings, keyset: Keyset, name: str) -> audit.Log:
    signer, *former = signers(keyset, name)
    officer = read_officer(settings.officer_key)
    if settings.make:
        settings.checkpoints.mkdir(mode=0o700, exist_ok=True)
    if not settings.audit.exists():
        return audit.Log.create(settings.audit, settings.checkpoints, signer, officer)
    return audit.Log.open(settings.audit, settings.checkpoints, signer, officer, former=former)


def _make_missing(settings: RoleSettings) -> Keyset | None:
    """Make a keyset with a throw-away passphrase, and a throw-away officer's key; the keyset if it is new."""
    if settings.audit.exists() and not os.path.lexists(settings.keyset):
        raise KeysetError(
            f"The keyset {settings.keyset} is missing, and the role's log is there: it ran with one.",
            "Restore the keyset and its device secret: nothing else opens what the role holds.",
        )
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not settings.officer_key.exists():
        key = X25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(settings.folder / "officer.key", private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_private(settings.officer_key, public)
    if not os.path.lexists(settings.keyset):
        if settings.names_its_passphrase and not settings.passphrase_file.exists():
            write_private(settings.passphrase_file, f"{secrets.token_urlsafe(24)}\n".encode())
        provider = settings.given.creator("file", None, None, None)
        return Keyset.create(settings.keyset, settings.role, provider)
    return None


def _check_keys(keyset: Keyset, settings: RoleSettings) -> None:
    """Make the first keys that are missing where that is allowed, and else say which."""
    for use in FIRST_KEYS[settings.role]:
        of_it = [key for key in keyset.keys if key.use == use or key.use.startswith(f"{use}:")]
        if any(key.state is State.ACTIVE for key in of_it):
            continue
        if of_it:
            raise KeyMissingError(
                f"The keyset's key for {use} was destroyed.",
                "Make the next with kinlink keys rotate; where it has none, the role cannot go on.",
            )
        if not settings.make:
            raise KeyMissingError(f"The keyset has no key for {use}.", "Add it with kinlink keys add.")
        if use == uses.KEK:
            keyset.rotate_kek()
        else:
            keyset.add(use)
