"""Which key-encrypting key wraps now, and those that subjects' keys may still be wrapped under.

The rules this module keeps:

- Whoever wraps or unwraps asks anew for each piece of work and keeps no key: a key that was rotated or
  destroyed in the keyset is so here at once.
- Who wraps a new key asks for the present one under the store's lock of those who wrap, and holds it until
  what was wrapped is on disk. So whoever counts, under the same lock, that nothing is left under an older key
  has counted everything (`storage.identity.wrapping`, `AttributeRows.alone`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pseudonym.errors import KeyMissingError
from pseudonym.keys import Keyset
from pseudonym.seal import Kek


class Keks(Protocol):
    """The key-encrypting keys of one store."""

    @property
    def current(self) -> Kek:
        """The one that wraps new keys; raises KeyMissingError."""
        ...

    def of(self, kid: str) -> Kek:
        """The key of this id; raises KeyMissingError."""
        ...


@dataclass(frozen=True)
class KeysetKeks:
    """Those of a keyset, as it is at the moment of asking."""

    keyset: Keyset

    @property
    def current(self) -> Kek:
        """The keyset's active one.

        Raises:
            KeyMissingError: there is none.
        """
        kid, cipher = self.keyset.kek()
        return Kek(kid, cipher)

    def of(self, kid: str) -> Kek:
        """The key of this id.

        Raises:
            KeyMissingError: the keyset has none, or it was destroyed.
        """
        kid, cipher = self.keyset.kek_of(kid)
        return Kek(kid, cipher)


@dataclass(frozen=True)
class KekRing:
    """Those that were handed over: the newest, and the older ones."""

    current: Kek
    older: tuple[Kek, ...] = ()

    def of(self, kid: str) -> Kek:
        """The key of this id.

        Raises:
            KeyMissingError: it is not here.
        """
        for kek in (self.current, *self.older):
            if kek.kid == kid:
                return kek
        raise KeyMissingError(
            "A key is wrapped under a key-encrypting key that is not here.",
            "If it was destroyed, what it wrapped is gone.",
        )
