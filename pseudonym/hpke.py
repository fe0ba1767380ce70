"""Sealing to one person's public key: HPKE of RFC 9180 in its base mode.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one message a sealing. A sealed text is

    01, the encapsulated key (32 bytes), the ciphertext with its tag (16 bytes)

and its `info` is `enc(context…)`: what was sealed for one context opens in no other. Whoever has the public
key can seal: that a text opens says who may read it, and nothing of who wrote it.
"""

from __future__ import annotations

from typing import NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from pseudonym.errors import InputError, SealedError
from pseudonym.urn import enc

PUBLIC_BYTES = 32
OVERHEAD = 1 + PUBLIC_BYTES + 16
_SCHEME = b"\x01"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal(public: bytes, plain: bytes, *context: bytes | str) -> bytes:
    """Seal bytes to the holder of one private key.

    Args:
        public: the reader's X25519 key, 32 bytes.
        plain: what only the reader may see; its length shows.
        context: what the sealing is for, the same parts as when it is opened; they are bound, and not hidden.

    Returns:
        The sealed text, `OVERHEAD` bytes longer; another one each time.

    Raises:
        InputError: the public key is none.
    """
    try:
        return _SCHEME + _SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(public), info=enc(*context))
    except ValueError:  # of another size, or a point of small order, with which anybody could open it
        raise InputError("The public key to seal to is none.", "Ask its owner for it again.") from None


class OpeningKey:
    """A private key that opens what was sealed to it, and cannot be printed, copied or pickled.

    Whoever has its bytes can read all that was ever sealed to it: make one for each purpose, and destroy it
    when that is done.

    Args:
        secret: 32 random bytes, used for nothing else.

    Raises:
        InputError: the key's size is wrong.
    """

    __slots__ = ("_key", "public")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != PUBLIC_BYTES:
            raise InputError(f"A private key is {PUBLIC_BYTES} bytes.")
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> tuple[Self, bytes]:
        """A new key, and the secret to keep it by."""
        secret = X25519PrivateKey.generate().private_bytes_raw()
        return cls(secret), secret

    def __repr__(self) -> str:
        return "OpeningKey()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key does not leave the process that opened it.")

    def open(self, sealed: bytes, *context: bytes | str) -> bytes:
        """What was sealed to this key for this context.

        Raises:
            SealedError: it was sealed to another key or for another context, or was altered.
        """
        if len(sealed) < OVERHEAD or sealed[:1] != _SCHEME:
            raise SealedError("This is no sealed text of a kind that is known here.")
        try:
            return _SUITE.decrypt(sealed[1:], self._key, info=enc(*context))
        except (InvalidTag, ValueError):
            raise SealedError(
                "The sealed text does not open: another key, another context, or it was altered.",
                "Look whether key, request and answer belong together.",
            ) from None
