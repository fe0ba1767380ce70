"""The keys of a role's audit log: what signs it, and whom its details are sealed to."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pseudonym import uses
from pseudonym.audit import Signer
from pseudonym.errors import PseudonymError
from pseudonym.holders import SigningKey
from pseudonym.keys import Keyset, State


def signers(keyset: Keyset, name: str) -> list[Signer]:
    """What signs the log now, and what signed it before, the latest first."""
    keys = [key for key in keyset.keys if uses.read(key.use).kind == uses.AUDIT]
    living = [key.kid for key in reversed(keys) if key.state is not State.DESTROYED]
    return [Signer(name, keyset.lend(kid, SigningKey)) for kid in living]


def read_officer(path: Path) -> X25519PublicKey:
    """The data protection officer's public key, in a PEM file.

    Raises:
        PseudonymError: it cannot be read as one.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise PseudonymError(
            "The officer's public key cannot be read as an X25519 key in PEM.",
            "Ask the data protection officer for it: openssl pkey -pubout writes it.",
        )
    return key
