"""The device secret: 32 random bytes in a file of their own, made anew whenever the master key is.

The rules this module keeps:

- A copy of a keyset file from before a renewal is dead, even to somebody who knows every passphrase, because
  the device secret that it needs was overwritten. So the device secret's file must **never be backed up**,
  nor lie in a snapshot, or destroying a key destroys nothing.
- A secret is given up only once the keyset file that needs the next one is on disk.
- One device file serves one keyset, and none is written over that a keyset may need.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pseudonym.errors import KeysetError, PassphraseError, TamperedError
from pseudonym.files import canonical, discard_leftover, parse, read_secret_file, replace_file

_FORMAT = "kinlink-device/1"


class DeviceFile:
    """The file with the device secret of one keyset.

    Args:
        path: where it is, apart from the keyset and out of every backup.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def claim(self, set_name: str) -> None:
        """Make the file, without a secret in it yet.

        A file that a creation left behind when it was killed is taken over: no keyset of it ever held a key.

        Raises:
            KeysetError: there is one already.
        """
        if os.path.lexists(self._path) and not self._read(set_name).get("new"):
            raise KeysetError(
                f"There is already a device secret at {self._path}.",
                "Choose another place, or remove it if no keyset needs it any more.",
            )
        self._write(set_name, {}, new=True)

    def add(self, set_name: str) -> tuple[str, bytes]:
        """Put a new secret beside the one in use; its id and its 32 bytes."""
        content = self._read(set_name)
        device, secret = os.urandom(8).hex(), os.urandom(32)
        self._write(set_name, {**content["secrets"], device: secret.hex()}, new=bool(content.get("new")))
        return device, secret

    def secret(self, set_name: str, device: str) -> bytes:
        """The secret with this id.

        Raises:
            PassphraseError: the file has another.
        """
        found = self._read(set_name)["secrets"].get(device)
        if found is None:
            raise PassphraseError(
                "The device secret is not the one that this keyset needs, so it cannot be opened.",
                "An older copy of a keyset cannot be opened once its master key was renewed.",
            )
        return bytes.fromhex(found)

    def settle(self, set_name: str, device: str) -> None:
        """Keep the one secret that the keyset file on disk needs, and overwrite what else there is."""
        secret = self.secret(set_name, device)
        content = self._read(set_name)
        discard_leftover(self._path)
        if set(content["secrets"]) != {device} or content.get("new"):
            self._write(set_name, {device: secret.hex()})

    def _read(self, set_name: str) -> dict[str, Any]:
        content = parse(read_secret_file(self._path, "device secret"), "device secret")
        if content.get("format") != _FORMAT or content.get("set") != set_name:
            raise KeysetError(
                f"The device secret at {self._path} is not this keyset's.",
                "Name the device file that was made with the keyset.",
            )
        secrets = content.get("secrets")
        if not isinstance(secrets, dict) or not all(map(_is_secret, secrets.values())):
            raise TamperedError("The device secret's file was altered.", "Without it the keyset is lost.")
        return content

    def _write(self, set_name: str, secrets: dict[str, str], *, new: bool = False) -> None:
        content: dict[str, Any] = {"format": _FORMAT, "set": set_name, "secrets": secrets}
        if new:
            content["new"] = True
        replace_file(self._path, canonical(content))


def _is_secret(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")
