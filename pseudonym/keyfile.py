"""The sealed file of a keyset: how it is made, opened, changed, and how a key in it ends.

The rules this module keeps (`docs/urn-format.md` gives the file's format):

- Every key is independent and random; none is derived from another, so that destroying one ends it.
- The file as a whole is sealed: a key added, removed, relabelled or revived by hand is noticed.
- With a wrong passphrase, or after any change to the file, nothing opens.
- A use never gets a second key, not even after the first is gone.
- Time does not go back: with a clock behind the last writing, nothing is written.
- What another process writes is followed: no key is used once the file says that it was destroyed, nor any
  if the file does not open any more with what was given here.
- Raw key bytes leave only through `export`, which takes `RAW_KEY_ACCESS`, and `lend`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pseudonym import clock, uses
from pseudonym.errors import (
    InputError,
    KeyMissingError,
    KeysetClockError,
    KeysetError,
    KeyUseError,
    TamperedError,
)
from pseudonym.files import canonical, discard_leftover, locked, read_secret_file, replace_file
from pseudonym.holders import SigningKey
from pseudonym.keyrecord import FORMAT, RAW_KEY_ACCESS, Key, RawKeyAccess, State
from pseudonym.keystate import Held, by_kid, living, mark_of, read, seal_of
from pseudonym.providers import Provider
from pseudonym.providers.quorum import QuorumProvider
from pseudonym.urn import KEY_BYTES

SLACK: Final = timedelta(minutes=5)
"""How far a clock may be behind the last writing."""

_T = TypeVar("_T")


class KeysetFile:
    """What is the same for the keys of every role: see `pseudonym.keys.Keyset`.

    Each method that changes the keyset writes it, durably, before it returns. When one raises, or the machine
    stops, the file is as before or as asked for, whole: open it again to see which.

    Methods may be called from any thread, and go by the file as it is: where another process has changed it,
    it is read again first. That raises as `open` does, and StaleError where its passphrase was changed.
    """

    def __init__(self, path: Path, name: str, held: Held) -> None:
        """Not to be called: use `create` or `open`."""
        self.path = path
        self.name = name
        self.read_only = False
        # Replaced as a whole, so that a thread never sees keys with another state's master.
        self._last = held

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, keys={len(self._last.keys)})"

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
            keyset = cls(path, name, Held(provider, said, master, (), b"", datetime.min.replace(tzinfo=UTC)))
            keyset._write(keyset._last, ())
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
            name, held = read(path, provider, None)
            if clock_was_ahead:
                held = replace(held, latest=_now())
            keyset = cls(path, name, held)
            keyset.read_only = read_only
            if not read_only:
                _check_clock(held)
                discard_leftover(path)
                provider.settle(name, held.said)
        return keyset

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, in the order they were made, the destroyed ones too."""
        return self._held().keys

    def find(self, use: str) -> Key:
        """The key for a use.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        for key in self._held().keys:
            if key.use == use:
                return living(key)
        raise KeyMissingError("The keyset has no key for this use.", "Add it, or check the names.")

    def by_kid(self, kid: str) -> Key:
        """The key with an id.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        return by_kid(self._held(), kid)

    def destroy(self, kid: str) -> None:
        """Destroy one key for good, and make the master key anew so that older copies of the file are dead.

        Danger: there is no way back, and what the key made can never be made or traced again. Objects that
        were handed out before, in this process or another, keep working for as long as they are kept. It also
        needs the device file to have been kept out of every backup and snapshot. Of a key that signed the
        audit log the public half stays.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed before.
        """
        with self._changing() as now:
            doomed = by_kid(self._last, kid)
            held = self._last
            signed = uses.read(doomed.use).kind == uses.AUDIT
            public = SigningKey(kid, held.unwrap(doomed)).public_key().public_bytes_raw() if signed else b""
            gone = replace(
                doomed,
                state=State.DESTROYED,
                not_after=doomed.not_after or now,
                wrapped="",
                public=public.hex(),
            )
            self._renew(held.provider, [gone if key.kid == kid else key for key in held.keys])

    def rotate_master(self) -> None:
        """Make the master key anew; wrap the same keys under it.

        What was made with the keys stays as it is. Copies of the file from before no longer open.
        """
        with self._changing():
            self._renew(self._last.provider, self._last.keys)

    def change_passphrase(self, passphrase: str, custodian: str | None = None) -> None:
        """Put another passphrase in the place of the present one, and make the master key anew.

        The keys stay the same, and so does all that was made with them.

        Args:
            passphrase: the new one, at least 12 characters.
            custodian: whose it is, in a keyset of a quorum; they gave their present one when it was opened.

        Raises:
            KeysetError: it is too short, there is no such custodian, or the provider has no passphrase.
        """
        provider = self._last.provider.with_passphrase(passphrase, custodian)
        with self._changing():
            self._renew(provider, self._last.keys)

    def change_custodians(self, passphrases: Mapping[str, str], threshold: int) -> None:
        """Put other custodians in the place of the present ones, and make the master key anew.

        The keys stay the same, and so does all that was made with them. Who is no custodian any more opens
        nothing from now on, with older copies of the file or without.

        Args:
            passphrases: by label, of all who will be custodians.
            threshold: how many of them open the keyset.

        Raises:
            KeysetError: the keyset has no custodians, or a passphrase is too short.
            InputError: the new ones do not make a quorum.
        """
        before = self._last.provider
        if not isinstance(before, QuorumProvider):
            raise KeysetError("This keyset has no custodians.", "Make one with the provider quorum.")
        provider = before.with_custodians(passphrases, threshold)
        with self._changing():
            self._renew(provider, self._last.keys)

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
        held = self._held()
        return held.unwrap(by_kid(held, kid))

    def lend(self, kid: str, make: Callable[[str, bytes], _T]) -> _T:
        """Give a key's id and bytes to the class that works with them, and return its object.

        Danger: `make` sees the bytes. It is a class that cannot be printed or pickled, and keeps no copy.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed.
        """
        held = self._held()
        return make(kid, held.unwrap(by_kid(held, kid)))

    def _held(self) -> Held:
        """The keyset as its file is now."""
        held = self._last
        if mark_of(self.path) == held.mark:
            return held
        with locked(self.path.parent):
            return self._follow()

    def _follow(self) -> Held:
        """Read the file again if it is another one than before; under the lock."""
        if mark_of(self.path) != self._last.mark:
            name, held = read(self.path, self._last.provider, self._last)
            if name != self.name or not self._last.leads_to(held):
                raise TamperedError(
                    "The keyset's file was exchanged for an older one, or another role's.",
                    "Restore it; until then none of its keys is used.",
                )
            self._last = replace(held, latest=max(held.latest, self._last.latest))
        return self._last

    @contextmanager
    def _changing(self) -> Iterator[str]:
        """Hold the lock and give the time of the change."""
        if self.read_only:
            raise KeysetError("The keyset was opened for reading only.", "Open it for changing it.")
        with locked(self.path.parent):
            if read_secret_file(self.path, "keyset") != self._follow().octets:
                raise TamperedError("The keyset's file was altered in place.", "Restore it.")
            yield _text(_check_clock(self._last))

    def _add(self, use: str, now: str, retired: Key | None = None) -> Key:
        parsed = uses.read(use)
        if uses.role_of(self.name) not in parsed.roles:
            raise KeyUseError(
                f"A keyset of this role holds no {parsed.kind} keys.", "Each role has a keyset of its own."
            )
        held = self._last
        if any(key.use == use for key in held.keys):
            raise KeyUseError("The keyset has, or had, a key for this use.", "A use never gets a second key.")
        kid, algorithm = os.urandom(8).hex(), str(parsed.algorithm)
        wrapped = held.master.wrap(os.urandom(KEY_BYTES), kid, use, algorithm)
        keys = [
            replace(key, state=State.DECRYPT_ONLY, not_after=now)
            if key == retired and key.state is State.ACTIVE
            else key
            for key in held.keys
        ]
        made = Key(kid, use, algorithm, State.ACTIVE, now, None, wrapped.hex())
        self._write(held, [*keys, made])
        return made

    def _renew(self, provider: Provider, keys: Sequence[Key]) -> None:
        held = self._last
        said, master = provider.renew(self.name, held.said)
        renewed = [
            replace(key, wrapped=master.wrap(held.unwrap(key), key.kid, key.use, key.algorithm).hex())
            if key.wrapped
            else key
            for key in keys
        ]
        self._write(replace(held, provider=provider, said=said, master=master), renewed)
        provider.settle(self.name, said)

    def _write(self, held: Held, keys: Sequence[Key]) -> None:
        latest = max(_now(), held.latest)
        content: dict[str, Any] = {
            "format": FORMAT,
            "set": self.name,
            "provider": held.said,
            "keys": [_entry(key) for key in keys],
            "written": _text(latest),
        }
        content["seal"] = seal_of(held.master, content)
        data = canonical(content)
        replace_file(self.path, data)
        self._last = replace(held, keys=tuple(keys), octets=data, latest=latest, mark=mark_of(self.path))


def _entry(key: Key) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if name != "public" or value}


def _check_clock(held: Held) -> datetime:
    now = _now()
    if held.latest - now > SLACK:
        minutes = (held.latest - now) // timedelta(minutes=1)
        raise KeysetClockError(
            f"The clock is {minutes} minutes behind the time when the keyset was last written.",
            "Set it right; if it was ahead then by mistake, open the keyset saying that it was.",
        )
    return max(now, held.latest)


def _now() -> datetime:
    return clock.now()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
