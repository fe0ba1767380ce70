"""Keys as objects that work and cannot be read back, printed, copied or pickled."""

from __future__ import annotations

from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import InputError
from pseudonym.urn import KEY_BYTES, check_epoch, digests, enc


class _Holder:
    """What every holder has in common."""

    __slots__ = ("kid",)

    def __init__(self, kid: str, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise InputError(f"A key is {KEY_BYTES} bytes.")
        self.kid = kid

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kid={self.kid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key does not leave the process that opened it.")


class BlindKey(_Holder):
    """The root of the blind indexes: gives each field a key of its own in each epoch.

    Danger: whoever has a field's key can try out every NHS number against that field's index.
    """

    __slots__ = ("_expand",)

    def __init__(self, kid: str, secret: bytes) -> None:
        super().__init__(kid, secret)

        # A function holds the root: an HKDFExpand object serves once.
        def expand(info: bytes) -> bytes:
            return HKDFExpand(SHA256(), KEY_BYTES, info).derive(secret)

        self._expand = expand

    def field(self, field: str, epoch: int) -> bytes:
        """The 32 bytes that tags of one field are made with in one epoch.

        HKDF-Expand-SHA256 of the root, with info enc("bidx-key/1", field, epoch as one byte).

        Raises:
            InputError: the epoch is not from 1 to 31, or the field has no name.
        """
        if not field:
            raise InputError("A field has a name.")
        return self._expand(enc("bidx-key/1", field, bytes([check_epoch(epoch)])))


class PrfKey(_Holder):
    """A key that makes pseudorandom values: record keys, exchange tokens, entries of a suppression list."""

    __slots__ = ("_mac",)

    def __init__(self, kid: str, secret: bytes) -> None:
        super().__init__(kid, secret)
        self._mac = HMAC(secret, SHA256())

    def prf(self, *parts: bytes | str) -> bytes:
        """HMAC-SHA256 of the parts joined with `pseudonym.urn.enc`: 32 bytes."""
        return self.digests([enc(*parts)])[0]

    def digests(self, messages: list[bytes]) -> list[bytes]:
        """HMAC-SHA256 of each message as it is: 32 bytes for each, in the same order."""
        return digests(self._mac, messages)


class SigningKey(_Holder):
    """An Ed25519 key that signs a role's audit log."""

    __slots__ = ("_private",)

    def __init__(self, kid: str, secret: bytes) -> None:
        super().__init__(kid, secret)
        self._private = Ed25519PrivateKey.from_private_bytes(secret)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._private.sign(message)

    def public_key(self) -> Ed25519PublicKey:
        """The key that others verify with."""
        return self._private.public_key()
