"""The sealed file of a keyset: how it is made, opened, changed, and how a key in it ends.

The rules this module keeps (`docs/urn-format.md` gives the file's format):

- Every key is independent and random; none is derived from another, so that destroying one ends it.
- The file as a whole is sealed: a key added, removed, relabelled or revived by hand is noticed.
- With a wrong passphrase, or after any change to the file, nothing opens.
- A use never gets a second key, not even after the first is gone.
- Time does not go back: with a clock behind the last writing, nothing is written.
- Raw key bytes leave only through `export`, which takes `RAW_KEY_ACCESS`, and `lend`.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pseudonym import uses
from pseudonym.errors import (
    InputError,
    KeyMissingError,
    KeysetClockError,
    KeysetError,
    StaleError,
    TamperedError,
)
from pseudonym.files import canonical, discard_leftover, locked, parse, read_secret_file, replace_file
from pseudonym.keyrecord import FORMAT, RAW_KEY_ACCESS, Key, RawKeyAccess, State, header, latest
from pseudonym.master import Master
from pseudonym.providers import Provider, Said
from pseudonym.urn import KEY_BYTES

SLACK: Final = timedelta(minutes=5)
"""How far a clock may be behind the last writing."""

_T = TypeVar("_T")


class KeysetFile:
    """What is the same for the keys of every role: see `pseudonym.keys.Keyset`.

    Each method that changes the keyset writes it, durably, before it returns. When one raises, or the machine
    stops, the file is as before or as asked for, whole: open it again to see which. A keyset that another
    process has changed meanwhile refuses to be written.
    """

    def __init__(self, path: Path, name: str, provider: Provider, said: Said, master: Master) -> None:
        """Not to be called: use `create` or `open`."""
        self.path = path
        self.name = name
        self.read_only = False
        self._provider = provider
        self._said = said
        self._master = master
        self._keys: tuple[Key, ...] = ()
        self._bytes = b""
        self._latest = datetime.min.replace(tzinfo=UTC)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, keys={len(self._keys)})"

    @classmethod
    def create(cls, path: Path, name: str, provider: Provider) -> Self:
        """Make an empty keyset, and what its provider keeps for it elsewhere.

        Killed at any moment, it leaves a keyset that opens, or none: then create it again.

        Args:
            path: where the keyset goes; it may be backed up.
            name: the role it is for, such as `broker`, or a name that begins with it, such as `broker-2`.
            provider: where its master key comes from.

        Raises:
            KeysetError: a file is there already, or the provider refuses.
            InputError: the name is not a role's, or has not the right form.
        """
        uses.role_of(name)
        with locked(path.parent):
            if os.path.lexists(path):
                raise KeysetError(
                    f"There is already a keyset at {path}.", "Open it, or choose another place."
                )
            provider.claim(name)
            said, master = provider.renew(name, None)
            keyset = cls(path, name, provider, said, master)
            keyset._write(())
            provider.settle(name, said)
        return keyset

    @classmethod
    def open(
        cls, path: Path, provider: Provider, *, read_only: bool = False, clock_was_ahead: bool = False
    ) -> Self:
        """Open a keyset, and clear up what a crash left behind.

        Args:
            path: where it is.
            provider: where its master key comes from.
            read_only: change nothing, now or later; for processes that use keys and do not look after them.
            clock_was_ahead: whoever looks after the keyset says that it was once written with a clock that
                was ahead, and that the present one is right.

        Raises:
            PassphraseError: the passphrase, PIN or device secret is not the keyset's.
            ProviderError: the provider cannot be used, or no longer has what the file needs.
            TamperedError: the file is not as it was last written.
            VersionError: it is of another version's format.
            KeysetClockError: the clock is behind the last writing, and the keyset is opened for changing it.
            PermissionsError: others can read or change one of the files.
            KeysetError: one of them is missing or of another keyset.
        """
        with locked(path.parent):
            data = read_secret_file(path, "keyset")
            content = parse(data, "keyset")
            name, said, seal = header(content)
            if said["name"] != provider.name:
                raise KeysetError(
                    f"The keyset's master key does not come from the provider {provider.name}.",
                    "Open it with the one that it was made with.",
                )
            keyset = cls(path, name, provider, said, provider.master(name, said))
            if not hmac.compare_digest(keyset._seal(content), seal):
                raise TamperedError(
                    "The keyset's file was altered since it was last written.",
                    "Restore it; nothing was opened.",
                )
            keyset._keys = tuple(
                Key(**{**entry, "state": State(entry["state"])}) for entry in content["keys"]
            )
            keyset._bytes, keyset.read_only = data, read_only
            keyset._latest = _now() if clock_was_ahead else latest(content.get("written"), keyset._keys)
            if not read_only:
                keyset._check_clock()
                discard_leftover(path)
                provider.settle(name, said)
        return keyset

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, in the order they were made, the destroyed ones too."""
        return self._keys

    def find(self, use: str) -> Key:
        """The key for a use.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        for key in self._keys:
            if key.use == use:
                return self.by_kid(key.kid)
        raise KeyMissingError("The keyset has no key for this use.", "Add it, or check the names.")

    def by_kid(self, kid: str) -> Key:
        """The key with an id.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        for key in self._keys:
            if key.kid == kid:
                if key.state is State.DESTROYED:
                    raise KeyMissingError(
                        "The key was destroyed.", "What it made can never be made or traced again."
                    )
                return key
        raise KeyMissingError("The keyset has no key with this id.", "List the keys.")

    def destroy(self, kid: str) -> None:
        """Destroy one key for good, and make the master key anew so that older copies of the file are dead.

        Danger: there is no way back, and what the key made can never be made or traced again. Objects that
        were handed out before, in this process or another, keep working until their process ends. It also
        needs the device file to have been kept out of every backup and snapshot.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed before.
        """
        with self._changing() as now:
            doomed = self.by_kid(kid)
            gone = replace(doomed, state=State.DESTROYED, not_after=doomed.not_after or now, wrapped="")
            self._renew(self._provider, [gone if key.kid == kid else key for key in self._keys])

    def rotate_master(self) -> None:
        """Make the master key anew; wrap the same keys under it.

        What was made with the keys stays as it is. Copies of the file from before no longer open.
        """
        with self._changing():
            self._renew(self._provider, self._keys)

    def change_passphrase(self, passphrase: str, custodian: str | None = None) -> None:
        """Put another passphrase in the place of the present one, and make the master key anew.

        The keys stay the same, and so does all that was made with them.

        Args:
            passphrase: the new one, at least 12 characters.
            custodian: whose it is, in a keyset of a quorum; they gave their present one when it was opened.

        Raises:
            KeysetError: it is too short, there is no such custodian, or the provider has no passphrase.
        """
        provider = self._provider.with_passphrase(passphrase, custodian)
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
        return self._unwrap(self.by_kid(kid))

    def lend(self, kid: str, make: Callable[[str, bytes], _T]) -> _T:
        """Give a key's id and bytes to the class that works with them, and return its object.

        Danger: `make` sees the bytes. It is a class that cannot be printed or pickled, and keeps no copy.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed.
        """
        return make(kid, self._unwrap(self.by_kid(kid)))

    def _unwrap(self, key: Key) -> bytes:
        return self._master.unwrap(bytes.fromhex(key.wrapped), key.kid, key.use, key.algorithm)

    def _check_clock(self) -> datetime:
        now = _now()
        if self._latest - now > SLACK:
            minutes = (self._latest - now) // timedelta(minutes=1)
            raise KeysetClockError(
                f"The clock is {minutes} minutes behind the time when the keyset was last written.",
                "Set it right; if it was ahead then by mistake, open the keyset saying that it was.",
            )
        return max(now, self._latest)

    @contextmanager
    def _changing(self) -> Iterator[str]:
        """Hold the lock and give the time of the change."""
        if self.read_only:
            raise KeysetError("The keyset was opened for reading only.", "Open it for changing it.")
        with locked(self.path.parent):
            if read_secret_file(self.path, "keyset") != self._bytes:
                raise StaleError("The keyset was changed after it was opened here.", "Open it again.")
            yield _text(self._check_clock())

    def _add(self, use: str, now: str, retired: Key | None = None) -> Key:
        read = uses.read(use)
        if uses.role_of(self.name) not in read.roles:
            raise KeysetError(
                f"A keyset of this role holds no {read.kind} keys.", "Each role has a keyset of its own."
            )
        if any(key.use == use for key in self._keys):
            raise KeysetError("The keyset has, or had, a key for this use.", "A use never gets a second key.")
        kid, algorithm = os.urandom(8).hex(), str(read.algorithm)
        wrapped = self._master.wrap(os.urandom(KEY_BYTES), kid, use, algorithm)
        keys = [
            replace(key, state=State.DECRYPT_ONLY, not_after=now)
            if key == retired and key.state is State.ACTIVE
            else key
            for key in self._keys
        ]
        made = Key(kid, use, algorithm, State.ACTIVE, now, None, wrapped.hex())
        self._write([*keys, made])
        return made

    def _renew(self, provider: Provider, keys: Sequence[Key]) -> None:
        said, master = provider.renew(self.name, self._said)
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
        provider.settle(self.name, said)

    def _write(self, keys: Sequence[Key]) -> None:
        latest = max(_now(), self._latest)
        content: dict[str, Any] = {
            "format": FORMAT,
            "set": self.name,
            "provider": self._said,
            "keys": [asdict(key) for key in keys],
            "written": _text(latest),
        }
        content["seal"] = self._seal(content)
        data = canonical(content)
        replace_file(self.path, data)
        self._keys, self._bytes, self._latest = tuple(keys), data, latest

    def _seal(self, content: dict[str, Any]) -> str:
        return self._master.seal(canonical({name: content[name] for name in content if name != "seal"}))


def _now() -> datetime:
    return datetime.now(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
