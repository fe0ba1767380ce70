"""The embedded provider: a passphrase stretched with Argon2id, mixed with a secret kept on this device."""

from __future__ import annotations

import hmac
from pathlib import Path

from pseudonym.errors import KeysetError, PassphraseError
from pseudonym.master import CHECK_BYTES, SALT_BYTES, Master, Passphrase
from pseudonym.providers import Said, not_said, octets
from pseudonym.providers.device import DeviceFile


class FileProvider:
    """A master key that needs both a passphrase and a device secret; neither is any use without the other.

    It guards against a stolen keyset file and against a stolen backup. It does not guard against somebody
    who can read this process's memory, or who has the device file, the keyset file and the passphrase.

    Args:
        device: where the device secret is kept, apart from the keyset and out of every backup.
        passphrase: at least 12 characters for a new keyset.
    """

    name = "file"

    def __init__(self, device: Path, passphrase: str) -> None:
        self._path = device
        self._device = DeviceFile(device)
        self._passphrase = Passphrase(passphrase)

    def __repr__(self) -> str:
        return f"FileProvider(device={str(self._path)!r})"

    def claim(self, set_name: str) -> None:
        """Check the passphrase and make the device file: see `Provider`."""
        self._passphrase.fit_for_new()
        self._device.claim(set_name)

    def renew(self, set_name: str, said: Said | None) -> tuple[Said, Master]:
        """Make the device secret anew, and the master with it: see `Provider`."""
        salt, stretched = self._passphrase.stretch()
        device, secret = self._device.add(set_name)
        master = Master.from_root(mix(secret, stretched), set_name)
        renewed = {"name": self.name, "salt": salt.hex(), "device": device, "check": master.check.hex()}
        return renewed, master

    def master(self, set_name: str, said: Said) -> Master:
        """Make the master again: see `Provider`."""
        if set(said) != {"name", "salt", "device", "check"}:
            raise not_said()
        salt, check = octets(said, "salt", SALT_BYTES), octets(said, "check", CHECK_BYTES)
        secret = self._device.secret(set_name, octets(said, "device", 8).hex())
        _, stretched = self._passphrase.stretch(salt)
        master = Master.from_root(mix(secret, stretched), set_name)
        if not master.is_of(check):
            raise PassphraseError("The passphrase is not the keyset's.", "Nothing was opened.")
        return master

    def settle(self, set_name: str, said: Said) -> None:
        """Overwrite the device secret before: see `Provider`."""
        self._device.settle(set_name, said["device"])

    def with_passphrase(self, passphrase: str, custodian: str | None) -> FileProvider:
        """The same device file with another passphrase: see `Provider`."""
        if custodian is not None:
            raise KeysetError("This keyset has one passphrase and no custodians.", "Name none.")
        changed = FileProvider(self._path, passphrase)
        changed._passphrase.fit_for_new()
        return changed


def mix(device_secret: bytes, other: bytes) -> bytes:
    """The root of a master key: HKDF-Extract of a device secret and 32 bytes that passphrases give."""
    return hmac.digest(device_secret, other, "sha256")
