"""Keysets: one role's keys in one sealed file, each of which can be used, retired and destroyed alone.

The rules this module keeps (`docs/urn-format.md` gives the file's format):

- Every key is independent and random; none is derived from another, so that destroying one ends it.
- The file as a whole is sealed: a key added, removed, relabelled or revived by hand is noticed.
- With a wrong passphrase, or after any change to the file, nothing opens.
- A project, or a recipient's epoch, never gets a second key, not even after the first is gone.
- Raw key bytes leave only through `Keyset.export`, which takes `RAW_KEY_ACCESS`.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from pseudonym.errors import InputError, KeyMissingError, KeysetError, StaleError, TamperedError
from pseudonym.files import canonical, discard_leftover, locked, parse, read_secret_file, replace_file
from pseudonym.provider import FileProvider, Master
from pseudonym.urn import KEY_BYTES, LAST_EPOCH, AidKey, UrnKey, check_label

ALGORITHM = "HMAC-SHA256"

_FORMAT = "kinlink-keyset/1"


class State(StrEnum):
    """What a key may still be used for."""

    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Key:
    """What a keyset says of one key. The key itself stays wrapped.

    Attributes:
        kid: its id, 16 hexadecimal digits.
        use: what it is for: `aid/1:project` or `urn/1:project:recipient:epoch`.
        algorithm: what it is used with.
        state: active; decrypt-only, when a later key took over; destroyed.
        not_before: when it was made, UTC, ISO 8601.
        not_after: when it stopped being active, or None.
        wrapped: scheme byte, nonce and ciphertext in hexadecimal digits; empty when destroyed.
    """

    kid: str
    use: str
    algorithm: str
    state: State
    not_before: str
    not_after: str | None
    wrapped: str = field(repr=False)


class RawKeyAccess:
    """The type of `RAW_KEY_ACCESS`."""

    def __repr__(self) -> str:
        return "RAW_KEY_ACCESS"


RAW_KEY_ACCESS: Final = RawKeyAccess()
"""Hand this to `Keyset.export` to take key bytes out. Every place that does can be found by this name."""


class Keyset:
    """One role's keys, opened.

    Each method that changes the keyset writes it, durably, before it returns. When one raises, or the machine
    stops, the file is as before or as asked for, whole: open it again to see which. A keyset that another
    process has changed meanwhile refuses to be written.

    Danger: an open keyset holds its master key in memory, and Python cannot wipe memory. Keep processes that
    open keysets small, and off machines that others use.
    """

    def __init__(
        self,
        path: Path,
        device: Path,
        name: str,
        provider: FileProvider,
        said: dict[str, str],
        master: Master,
    ) -> None:
        """Not to be called: use `Keyset.create` or `Keyset.open`."""
        self.path = path
        self.name = name
        self._device = device
        self._provider = provider
        self._said = said
        self._master = master
        self._keys: tuple[Key, ...] = ()
        self._written = b""

    def __repr__(self) -> str:
        return f"Keyset(name={self.name!r}, keys={len(self._keys)})"

    @classmethod
    def create(cls, path: Path, name: str, *, device: Path, passphrase: str) -> Self:
        """Make an empty keyset and its device secret.

        Args:
            path: where the keyset goes; it may be backed up.
            name: the role it is for, such as `broker`.
            device: where the device secret goes; it must never be backed up.
            passphrase: at least 12 characters.

        Raises:
            KeysetError: a file is there already, or the passphrase is too short.
            InputError: the name is not 1 to 63 lower-case letters, digits and hyphens.
        """
        check_label(name, "keyset")
        with locked(path.parent):
            if os.path.lexists(path):
                raise KeysetError(
                    f"There is already a keyset at {path}.", "Open it, or choose another place."
                )
            provider = FileProvider(device, name, passphrase)
            provider.create()
            said, master = provider.renew()
            keyset = cls(path, device, name, provider, said, master)
            keyset._write(())
        return keyset

    @classmethod
    def open(cls, path: Path, *, device: Path, passphrase: str) -> Self:
        """Open a keyset, and clear up what a crash left behind.

        Raises:
            PassphraseError: the passphrase or the device secret is not the keyset's.
            TamperedError: the file is not as it was last written.
            PermissionsError: others can read or change one of the two files.
            KeysetError: one of them is missing or of another keyset.
        """
        with locked(path.parent):
            data = read_secret_file(path, "keyset")
            content = parse(data, "keyset")
            name, said, seal = _header(content)
            provider = FileProvider(device, name, passphrase, bytes.fromhex(said["salt"]))
            keyset = cls(path, device, name, provider, said, provider.master(said))
            if not hmac.compare_digest(keyset._seal(content), seal):
                raise TamperedError(
                    "The keyset's file was altered since it was last written.",
                    "Restore it; nothing was opened.",
                )
            keyset._keys = tuple(
                Key(**{**entry, "state": State(entry["state"])}) for entry in content["keys"]
            )
            keyset._written = data
            discard_leftover(path)
            provider.settle(said)
        return keyset

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, in the order they were made, the destroyed ones too."""
        return self._keys

    def add_aid_key(self, project: str) -> AidKey:
        """Make a project's key for attribute ids.

        Raises:
            KeysetError: the project has, or had, one.
            InputError: the name has not the right form.
        """
        with self._changing():
            self._add(_aid_use(project))
        return self.aid_key(project)

    def aid_key(self, project: str) -> AidKey:
        """A project's key for attribute ids.

        Raises:
            KeyMissingError: it has none, or it was destroyed.
        """
        return AidKey(self._unwrap(self._find(_aid_use(project))), project)

    def add_urn_key(self, project: str, recipient: str) -> UrnKey:
        """Make the first key for a recipient's reference numbers: epoch 1.

        Raises:
            KeysetError: the recipient has, or had, one in this project.
            InputError: a name has not the right form.
        """
        with self._changing():
            self._add(f"{_urn_uses(project, recipient)}1")
        return self.urn_key(project, recipient)

    def rotate_urn_key(self, project: str, recipient: str) -> UrnKey:
        """Begin the recipient's next epoch: a new key, whose numbers have nothing to do with those before.

        The key before becomes decrypt-only: name its epoch to `urn_key` to trace its numbers or make a list
        from old to new, then destroy it.

        Raises:
            KeyMissingError: the recipient never had a key in this project.
            KeysetError: epoch 31, the last, is in use.
        """
        with self._changing():
            epochs = self._epochs(project, recipient)
            epoch = max(epochs) + 1
            if epoch > LAST_EPOCH:
                raise KeysetError(
                    f"Epoch {LAST_EPOCH} is a recipient's last.", "Go on under a new name for the recipient."
                )
            self._add(f"{_urn_uses(project, recipient)}{epoch}", retired=epochs[epoch - 1])
        return self.urn_key(project, recipient)

    def urn_key(self, project: str, recipient: str, epoch: int | None = None) -> UrnKey:
        """The key for a recipient's reference numbers.

        Args:
            project: the project's name.
            recipient: the recipient's name.
            epoch: a past epoch, to trace its numbers; the present one when None.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed.
        """
        number = max(self._epochs(project, recipient)) if epoch is None else epoch
        key = self._find(f"{_urn_uses(project, recipient)}{number}")
        return UrnKey(self._unwrap(key), project, recipient, number)

    def destroy(self, kid: str) -> None:
        """Destroy one key for good, and make the master key anew so that older copies of the file are dead.

        Danger: there is no way back, and what the key made can never be made or traced again. Objects that
        were handed out before, in this process or another, keep working until their process ends. It also
        needs the device file to have been kept out of every backup and snapshot.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed before.
        """
        with self._changing():
            doomed = self._by_kid(kid)
            gone = replace(doomed, state=State.DESTROYED, not_after=doomed.not_after or _now(), wrapped="")
            self._renew(self._provider, [gone if key.kid == kid else key for key in self._keys])

    def rotate_master(self) -> None:
        """Make the device secret and with it the master key anew; wrap the same keys under it.

        What was made with the keys stays as it is. Copies of the file from before no longer open.
        """
        with self._changing():
            self._renew(self._provider, self._keys)

    def change_passphrase(self, passphrase: str) -> None:
        """Put another passphrase in the place of the present one, and make the master key anew.

        Raises:
            KeysetError: it is shorter than 12 characters.
        """
        provider = FileProvider(self._device, self.name, passphrase)
        with self._changing():
            self._renew(provider, self._keys)

    def export(self, kid: str, token: RawKeyAccess) -> bytes:
        """Take a key's 32 bytes out of the keyset.

        Danger: nothing guards the bytes from here on, and destroying the key no longer destroys them. Use
        the key objects; this is for moving a key into another system under two people's eyes.

        Raises:
            InputError: the token is not `RAW_KEY_ACCESS`.
            KeyMissingError: there is no such key, or it was destroyed.
        """
        if token is not RAW_KEY_ACCESS:
            raise InputError("Raw key bytes are not given out.", "Only RAW_KEY_ACCESS takes them out.")
        return self._unwrap(self._by_kid(kid))

    def _epochs(self, project: str, recipient: str) -> dict[int, Key]:
        uses = _urn_uses(project, recipient)
        found = {int(key.use.removeprefix(uses)): key for key in self._keys if key.use.startswith(uses)}
        if not found:
            raise KeyMissingError(
                "The recipient has no key for reference numbers in this project.", "Add one with add_urn_key."
            )
        return found

    def _find(self, use: str) -> Key:
        for key in self._keys:
            if key.use == use:
                return self._by_kid(key.kid)
        raise KeyMissingError("The keyset has no key for this use.", "Add it, or check the names.")

    def _by_kid(self, kid: str) -> Key:
        for key in self._keys:
            if key.kid == kid:
                if key.state is State.DESTROYED:
                    raise KeyMissingError(
                        "The key was destroyed.", "What it made can never be made or traced again."
                    )
                return key
        raise KeyMissingError("The keyset has no key with this id.", "List the keys.")

    def _unwrap(self, key: Key) -> bytes:
        return self._master.unwrap(bytes.fromhex(key.wrapped), key.kid, key.use, key.algorithm)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self.path.parent):
            if read_secret_file(self.path, "keyset") != self._written:
                raise StaleError("The keyset was changed after it was opened here.", "Open it again.")
            yield

    def _add(self, use: str, retired: Key | None = None) -> None:
        if any(key.use == use for key in self._keys):
            raise KeysetError("The keyset has, or had, a key for this use.", "A use never gets a second key.")
        now, kid = _now(), os.urandom(8).hex()
        wrapped = self._master.wrap(os.urandom(KEY_BYTES), kid, use, ALGORITHM)
        keys = [
            replace(key, state=State.DECRYPT_ONLY, not_after=now)
            if key == retired and key.state is State.ACTIVE
            else key
            for key in self._keys
        ]
        self._write([*keys, Key(kid, use, ALGORITHM, State.ACTIVE, now, None, wrapped.hex())])

    def _renew(self, provider: FileProvider, keys: Sequence[Key]) -> None:
        said, master = provider.renew()
        renewed = [
            replace(key, wrapped=master.wrap(self._unwrap(key), key.kid, key.use, key.algorithm).hex())
            if key.wrapped
            else key
            for key in keys
        ]
        before = self._provider, self._said, self._master
        self._provider, self._said, self._master = provider, said, master
        try:
            self._write(renewed)
        except BaseException:
            self._provider, self._said, self._master = before
            raise
        provider.settle(said)

    def _write(self, keys: Sequence[Key]) -> None:
        content: dict[str, Any] = {
            "format": _FORMAT,
            "set": self.name,
            "provider": self._said,
            "keys": [asdict(key) for key in keys],
        }
        content["seal"] = self._seal(content)
        data = canonical(content)
        replace_file(self.path, data)
        self._keys, self._written = tuple(keys), data

    def _seal(self, content: dict[str, Any]) -> str:
        return self._master.seal(canonical({name: content[name] for name in content if name != "seal"}))


def _header(content: dict[str, Any]) -> tuple[str, dict[str, str], str]:
    """The name, what the file says of its provider, and the seal: all that is read before it is checked."""
    name, said, seal = content.get("set"), content.get("provider"), content.get("seal")
    if (
        content.get("format") != _FORMAT
        or not isinstance(name, str)
        or not isinstance(seal, str)
        or not isinstance(said, dict)
        or set(said) != {"name", "salt", "device", "check"}
        or not all(isinstance(text, str) and text.isascii() for text in (*said.values(), name, seal))
        or said["name"] != FileProvider.name
        or len(said["salt"]) != 32
        or not set(said["salt"]) <= set("0123456789abcdef")
    ):
        raise TamperedError("The file is not a keyset of a kind that is known here.", "Nothing was opened.")
    return name, said, seal


def _aid_use(project: str) -> str:
    return f"aid/1:{check_label(project, 'project')}"


def _urn_uses(project: str, recipient: str) -> str:
    return f"urn/1:{check_label(project, 'project')}:{check_label(recipient, 'recipient')}:"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
