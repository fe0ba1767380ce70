"""Where a keyset's master key comes from.

The rules this module keeps:

- A master key needs both a passphrase and a device secret, and neither is any use without the other.
- The device secret is made anew whenever the master is, and the one before is overwritten. A copy of an older
  keyset file is dead from then on, even to someone who knows the passphrase: so the device secret's file must
  **never be backed up**, nor lie in a snapshot, or destroying a key destroys nothing.
- A wrapped key opens only in its own place: its keyset, its id, its use, its algorithm.
"""

from __future__ import annotations

import hmac
import os
import unicodedata
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import KeysetError, PassphraseError, TamperedError
from pseudonym.files import canonical, discard_leftover, parse, read_secret_file, replace_file
from pseudonym.urn import enc, prf

SHORTEST_PASSPHRASE = 12

_SCHEME = b"\x01"
_NONCE_BYTES = 12
_DEVICE_FORMAT = "kinlink-device/1"
_PASSES = 3
_LANES = 4
_MEMORY_KIB = 64 * 1024


class Master:
    """What opens one state of a keyset file: made by a provider, kept in memory only.

    Args:
        set_name: the keyset it belongs to.
        wrapping: 32 bytes that keys are wrapped under.
        sealing: 32 bytes that the file is sealed with.
    """

    def __init__(self, set_name: str, wrapping: bytes, sealing: bytes) -> None:
        self._set_name = set_name
        self._wrapping = AESGCMSIV(wrapping)
        self._sealing = sealing

    def __repr__(self) -> str:
        return f"Master(set_name={self._set_name!r})"

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
            raise TamperedError("A wrapped key was altered, or is not in its own place.") from None

    def seal(self, content: bytes) -> str:
        """The seal of a keyset file's content: 64 hexadecimal digits."""
        return prf(self._sealing, "keyset-seal/1", content).hex()

    def _place(self, kid: str, use: str, algorithm: str) -> bytes:
        return enc("keyset/1", self._set_name, kid, use, algorithm)


class FileProvider:
    """The embedded provider: a passphrase stretched with Argon2id, mixed with a secret kept on this device.

    It guards against a stolen keyset file and against a stolen backup. It does not guard against somebody
    who can read this process's memory, or who has the device file, the keyset file and the passphrase.

    Args:
        device_file: where the device secret is kept, apart from the keyset and out of every backup.
        set_name: the keyset it serves; one device file serves one keyset.
        passphrase: at least 12 characters.
        salt: 16 bytes from the keyset file, or nothing for a new keyset or passphrase.

    Raises:
        KeysetError: the passphrase is too short.
    """

    name = "file"

    def __init__(self, device_file: Path, set_name: str, passphrase: str, salt: bytes | None = None) -> None:
        if salt is None and len(passphrase) < SHORTEST_PASSPHRASE:
            raise KeysetError(
                f"The passphrase is shorter than {SHORTEST_PASSPHRASE} characters.",
                "Take five or more words picked at random.",
            )
        self._device_file = device_file
        self._set_name = set_name
        self._salt = os.urandom(16) if salt is None else salt
        stretch = Argon2id(
            salt=self._salt, length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB
        )
        self._stretched = stretch.derive(unicodedata.normalize("NFC", passphrase).encode())

    def __repr__(self) -> str:
        return f"FileProvider(set_name={self._set_name!r})"

    def create(self) -> None:
        """Make the device file, without a secret in it yet.

        Raises:
            KeysetError: there is one already.
        """
        if os.path.lexists(self._device_file):
            raise KeysetError(
                f"There is already a device secret at {self._device_file}.",
                "Choose another place, or remove it if no keyset needs it any more.",
            )
        self._write({})

    def renew(self) -> tuple[dict[str, str], Master]:
        """Make a new device secret beside the one in use, and the master key that comes of it.

        Returns:
            What the keyset file must say of its provider from now on, and the new master.
        """
        secrets = self._read()
        device, secret = os.urandom(8).hex(), os.urandom(32)
        self._write({**secrets, device: secret.hex()})
        master, check = self._mix(secret)
        said = {"name": self.name, "salt": self._salt.hex(), "device": device, "check": check.hex()}
        return said, master

    def master(self, said: dict[str, str]) -> Master:
        """The master key of the keyset file that says this of its provider.

        Raises:
            PassphraseError: the passphrase or the device secret is not the one that the file needs.
        """
        secret = self._read().get(said["device"])
        if secret is None:
            raise PassphraseError(
                "The device secret is not the one that this keyset needs, so it cannot be opened.",
                "An older copy of a keyset cannot be opened once its master key was renewed.",
            )
        master, check = self._mix(bytes.fromhex(secret))
        if not hmac.compare_digest(check.hex(), said["check"]):
            raise PassphraseError("The passphrase is not the keyset's.", "Nothing was opened.")
        return master

    def settle(self, said: dict[str, str]) -> None:
        """Keep the one device secret that the keyset file on disk needs, and overwrite what else there is."""
        secrets = self._read()
        discard_leftover(self._device_file)
        if set(secrets) != {said["device"]}:
            self._write({said["device"]: secrets[said["device"]]})

    def _mix(self, device_secret: bytes) -> tuple[Master, bytes]:
        root = hmac.digest(device_secret, self._stretched, "sha256")

        def expand(label: str) -> bytes:
            return HKDFExpand(SHA256(), 32, enc(label, self._set_name)).derive(root)

        master = Master(self._set_name, expand("keyset-wrap/1"), expand("keyset-seal/1"))
        return master, expand("keyset-check/1")[:16]

    def _read(self) -> dict[str, str]:
        content = parse(read_secret_file(self._device_file, "device secret"), "device secret")
        if content.get("format") != _DEVICE_FORMAT or content.get("set") != self._set_name:
            raise KeysetError(
                f"The device secret at {self._device_file} is not this keyset's.",
                "Name the device file that was made with the keyset.",
            )
        secrets = content.get("secrets")
        if not isinstance(secrets, dict) or not all(map(_is_secret, secrets.values())):
            raise TamperedError("The device secret's file was altered.", "Without it the keyset is lost.")
        return secrets

    def _write(self, secrets: dict[str, str]) -> None:
        content = {"format": _DEVICE_FORMAT, "set": self._set_name, "secrets": secrets}
        replace_file(self._device_file, canonical(content))


def _is_secret(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")
