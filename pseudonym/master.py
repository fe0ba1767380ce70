"""Master keys, and the passphrases that lead to them.

The rules this module keeps (`docs/urn-format.md` gives every byte):

- A wrapped key opens only in its own place: its keyset, its id, its use, its algorithm.
- Wrapping and sealing have keys of their own, both of one root that a provider makes.
- A passphrase is forgotten as soon as it is stretched.
"""

from __future__ import annotations

import hmac
import os
import unicodedata
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import KeysetError, StaleError, TamperedError
from pseudonym.urn import enc, prf

SHORTEST_PASSPHRASE = 12
SALT_BYTES = 16
CHECK_BYTES = 16

_SCHEME = b"\x01"
_NONCE_BYTES = 12
_PASSES = 3
_LANES = 4
_MEMORY_KIB = 64 * 1024


class Master:
    """What opens one state of a keyset file: made by a provider, kept in memory only.

    Args:
        set_name: the keyset it belongs to.
        wrapping: 32 bytes that keys are wrapped under.
        sealing: 32 bytes that the file is sealed with.
        check: 16 bytes that tell this master from another and say nothing of it.
    """

    def __init__(self, set_name: str, wrapping: bytes, sealing: bytes, check: bytes = b"") -> None:
        self.check = check
        self._set_name = set_name
        self._wrapping = AESGCMSIV(wrapping)
        self._sealing = sealing

    def __repr__(self) -> str:
        return f"Master(set_name={self._set_name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key does not leave the process that opened it.")

    @classmethod
    def from_root(cls, root: bytes, set_name: str) -> Master:
        """The master of a keyset, from 32 bytes that only its provider can make."""

        def expand(label: str) -> bytes:
            return HKDFExpand(SHA256(), 32, enc(label, set_name)).derive(root)

        check = expand("keyset-check/1")[:CHECK_BYTES]
        return cls(set_name, expand("keyset-wrap/1"), expand("keyset-seal/1"), check)

    def is_of(self, check: bytes) -> bool:
        """Whether this is the master that a keyset file was written with."""
        return hmac.compare_digest(self.check, check)

    def wrap(self, secret: bytes, kid: str, use: str, algorithm: str) -> bytes:
        """Wrap a key so that it opens only in its own place.

        Returns:
            Scheme byte 01, a random nonce of 12 bytes, and the AES-256-GCM-SIV ciphertext with its tag.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return _SCHEME + nonce + self._wrapping.encrypt(nonce, secret, self._place(kid, use, algorithm))

    def unwrap(self, wrapped: bytes, kid: str, use: str, algorithm: str) -> bytes:
        """Open what `wrap` made.

        Raises:
            TamperedError: it was altered, or belongs to another place.
        """
        scheme, nonce, sealed = wrapped[:1], wrapped[1 : 1 + _NONCE_BYTES], wrapped[1 + _NONCE_BYTES :]
        try:
            if scheme != _SCHEME:
                raise InvalidTag
            return self._wrapping.decrypt(nonce, sealed, self._place(kid, use, algorithm))
        except (InvalidTag, ValueError):
            raise TamperedError(
                "A key in the keyset was altered or belongs to another place.",
                "Restore the file; nothing was opened.",
            ) from None

    def seal(self, content: bytes) -> str:
        """A seal over a keyset file's content: 64 hexadecimal digits."""
        return prf(self._sealing, "keyset-seal/1", content).hex()

    def _place(self, kid: str, use: str, algorithm: str) -> bytes:
        return enc("keyset/1", self._set_name, kid, use, algorithm)


class Passphrase:
    """One person's passphrase, until it is first used; from then on the key that it was stretched to.

    Text that looks the same is the same: it is brought to Unicode's NFC.
    """

    def __init__(self, text: str) -> None:
        self.long_enough = len(text) >= SHORTEST_PASSPHRASE
        self._octets = unicodedata.normalize("NFC", text).encode()
        self._salt = b""
        self._stretched = b""

    def __repr__(self) -> str:
        return "Passphrase()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A passphrase does not leave the process that was given it.")

    def same_as(self, other: Passphrase) -> bool:
        """Whether two passphrases, neither of them used yet, are the same."""
        return bool(self._octets) and hmac.compare_digest(self._octets, other._octets)

    def was(self, text: str) -> bool:
        """Whether this one, used already, is what the text would be."""
        if not self._stretched:
            return False
        return hmac.compare_digest(Passphrase(text).stretch(self._salt)[1], self._stretched)

    def fit_for_new(self, whose: str = "The passphrase") -> None:
        """Check that something may be sealed under it from now on.

        Raises:
            KeysetError: it is shorter than 12 characters.
        """
        if not self.long_enough:
            raise KeysetError(
                f"{whose} is shorter than {SHORTEST_PASSPHRASE} characters.",
                "Take five or more words picked at random.",
            )

    def stretch(self, salt: bytes | None = None) -> tuple[bytes, bytes]:
        """The salt and the 32 bytes that Argon2id makes of passphrase and salt.

        Args:
            salt: 16 bytes; the one used before, or a new one, when None.

        Raises:
            StaleError: it was used with another salt before: the keyset has another passphrase by now.
        """
        if not self._stretched:
            self._salt = os.urandom(SALT_BYTES) if salt is None else salt
            stretcher = Argon2id(
                salt=self._salt, length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB
            )
            self._stretched = stretcher.derive(self._octets)
            self._octets = b""
        if salt not in (None, self._salt):
            raise StaleError("A passphrase was changed after it was given here.", "Give it again.")
        return self._salt, self._stretched
