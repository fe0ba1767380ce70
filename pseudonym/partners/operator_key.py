"""An operator's key: signs what the operator asks, and opens what the operator keeps of it.

It is one Ed25519 key in PEM under a passphrase. What is kept is sealed under a key that is made of its secret
for each set of questions, so that a colleague, or whoever copies the folder, reads nothing.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pseudonym.errors import InputError, SealedError
from pseudonym.hpke import OpeningKey
from pseudonym.urn import enc

_NONCE_BYTES = 12


class OperatorKey:
    """What an operator signs and opens with; it cannot be printed.

    Attributes:
        public: Ed25519, 32 bytes, as the governance file names it.
    """

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "OperatorKey()"

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes) -> OperatorKey:
        """Open a key file.

        Raises:
            InputError: it is none, or the passphrase is another.
        """
        key = _loaded(pem, passphrase)
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError("This is no operator's key.", "Make one with 'kinlink partner operator-key'.")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._key.sign(message)

    def keep(self, plain: bytes, id: bytes, bound: bytes) -> bytes:
        """Seal what only this operator may read again, bound to other bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(id).encrypt(nonce, plain, bound)

    def reopen(self, kept: bytes, id: bytes, bound: bytes) -> bytes:
        """What `keep` sealed.

        Raises:
            SealedError: another operator did, or it was altered.
        """
        try:
            return self._cipher(id).decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise SealedError(
                "What was kept of these questions does not open.",
                "Whoever asked them reads the answers, with their own key.",
            ) from None

    def _cipher(self, id: bytes) -> AESGCM:
        hkdf = HKDF(SHA256(), 32, salt=None, info=enc("partner-kept-key/1", id))
        return AESGCM(hkdf.derive(self._key.private_bytes_raw()))


def new_operator_key(passphrase: bytes) -> tuple[bytes, bytes]:
    """A new operator's key: its PEM, and its public half for the governance file."""
    key = Ed25519PrivateKey.generate()
    return _pem(key, passphrase), key.public_key().public_bytes_raw()


def new_partner_key(passphrase: bytes) -> tuple[bytes, bytes]:
    """A new key for a partner to open questions with: its PEM, and its public half for the council."""
    key = X25519PrivateKey.generate()
    return _pem(key, passphrase), key.public_key().public_bytes_raw()


def partner_key(pem: bytes, passphrase: bytes) -> OpeningKey:
    """Open a partner's key file.

    Raises:
        InputError: it is none, or the passphrase is another.
    """
    key = _loaded(pem, passphrase)
    if not isinstance(key, X25519PrivateKey):
        raise InputError("This is no partner's key.", "Make one with 'kinlink partner partner-key'.")
    return OpeningKey(key.private_bytes_raw())


def _pem(key: Ed25519PrivateKey | X25519PrivateKey, passphrase: bytes) -> bytes:
    sealing = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)


def _loaded(pem: bytes, passphrase: bytes) -> object:
    try:
        return serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError):
        raise InputError("The key does not open: another passphrase, or no key.") from None
