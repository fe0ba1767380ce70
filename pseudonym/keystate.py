"""One state of an opened keyset: what its file says, and the master key that opens what is in it."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pseudonym.errors import KeyDestroyedError, KeyMissingError, KeysetError, TamperedError
from pseudonym.files import canonical, parse, read_secret_file
from pseudonym.keyrecord import Key, State, header, latest
from pseudonym.master import Master
from pseudonym.providers import Provider, Said

Mark = tuple[int, int, int]


@dataclass(frozen=True, repr=False)
class Held:
    """One state of a keyset: what opens it, what its file said, and which file that was."""

    provider: Provider
    said: Said
    master: Master
    keys: tuple[Key, ...]
    octets: bytes
    latest: datetime
    mark: Mark | None = None

    def leads_to(self, later: Held) -> bool:
        """Whether this state may have become the other: no key is gone, and none came to life again."""
        now = {key.kid: key for key in later.keys}
        return later.latest >= self.latest.replace(microsecond=0) and all(
            key.kid in now and (key.state is not State.DESTROYED or now[key.kid] == key) for key in self.keys
        )

    def unwrap(self, key: Key) -> bytes:
        return self.master.unwrap(bytes.fromhex(key.wrapped), key.kid, key.use, key.algorithm)


def read(path: Path, provider: Provider, before: Held | None) -> tuple[str, Held]:
    """A keyset's name and state, opened with its provider, or with the master before where it is the same."""
    mark = mark_of(path)
    data = read_secret_file(path, "keyset")
    content = parse(data, "keyset")
    name, said, seal = header(content)
    if said["name"] != provider.name:
        raise KeysetError(
            f"The keyset's master key does not come from the provider {provider.name}.",
            "Open it with the one that it was made with.",
        )
    same = before is not None and before.said == said
    master = before.master if before is not None and same else provider.master(name, said)
    if not hmac.compare_digest(seal_of(master, content), seal):
        raise TamperedError(
            "The keyset's file was altered since it was last written.", "Restore it; nothing was opened."
        )
    keys = tuple(Key(**{**entry, "state": State(entry["state"])}) for entry in content["keys"])
    return name, Held(provider, said, master, keys, data, latest(content.get("written"), keys), mark)


def mark_of(path: Path) -> Mark | None:
    """What tells a file from the one that takes its place."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def by_kid(held: Held, kid: str) -> Key:
    """The key with an id; raises KeyMissingError."""
    for key in held.keys:
        if key.kid == kid:
            return living(key)
    raise KeyMissingError("The keyset has no key with this id.", "List the keys.")


def living(key: Key) -> Key:
    """The key itself; raises KeyDestroyedError if it was destroyed."""
    if key.state is State.DESTROYED:
        raise KeyDestroyedError("The key was destroyed.", "What it made can never be made or traced again.")
    return key


def seal_of(master: Master, content: dict[str, Any]) -> str:
    """The seal over a keyset file's content."""
    return master.seal(canonical({name: content[name] for name in content if name != "seal"}))
