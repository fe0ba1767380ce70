"""Erasure in the identity store: vault and register forget people, and the ledger keeps them forgotten.

Open the vault through `IdentityErasure.open`, so that an older copy of it is brought up to the ledger before
anything is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias

from pseudonym.erasure import Ledger, What, carry_out, replay
from pseudonym.errors import KeyMissingError
from pseudonym.people import People
from pseudonym.storage import Store, identity
from pseudonym.storage.rows import AT_ONCE
from pseudonym.storage.rows_identity import IdentityRows
from pseudonym.vault import Vault

Told: TypeAlias = Callable[[int, Sequence[bytes]], None]


class IdentityErasure:
    """What the identity role does to forget people. A `pseudonym.erasure.Follower`."""

    def __init__(self, vault: Vault, store: Store, ledger: Ledger, told: Told) -> None:
        """Not to be called: use `IdentityErasure.open`."""
        self._told = told
        self._vault, self._people = vault, People(vault)
        self._rows = IdentityRows(store)
        self.ledger = ledger

    @classmethod
    def open(
        cls, vault: Vault, store: Store, ledger: Ledger, told: Told = lambda count, references: None
    ) -> Self:
        """Follow the ledger to its end.

        Args:
            vault: the identity role's, which has served nothing yet.
            store: the store that it is on.
            ledger: the identity role's.
            told: writes to the audit log how many are going to be erased, and how it called them.

        Raises:
            LedgerError: the ledger is older than the store, or another one's.
        """
        opened = cls(vault, store, ledger, told)
        replay(ledger, opened)
        vault.tools.subjects.heed(ledger)
        return opened

    def erase(self, pids: Sequence[bytes]) -> int:
        """Erase people for good, in this store and in every older copy of it that is put back.

        Returns:
            How many of them were known.
        """
        self._told(len(pids), self._vault.references(pids))
        counts = carry_out(self.ledger, self, What.SUBJECT, list(pids), self._rows.store.today())
        return counts["subject"]

    # --- what `pseudonym.erasure.replay` asks of a store --------------------------------------------

    def followed(self) -> tuple[int, bytes]:
        return self._rows.followed()

    def follow(self, number: int, digest: bytes) -> None:
        self._rows.follow(number, digest)

    def purge(self) -> None:
        self._rows.purge()

    def held(self, what: What) -> Iterator[list[bytes]]:
        if what is What.SUBJECT:
            yield from self._rows.living()

    def wipe(self, what: What, ids: Sequence[bytes]) -> dict[str, int]:
        starts = range(0, len(ids), AT_ONCE) if what is What.SUBJECT else ()
        return {"subject": sum(self._forget(ids[at : at + AT_ONCE]) for at in starts)}

    def _forget(self, pids: Sequence[bytes]) -> int:
        try:
            return self._people.erase(pids, purge=False)
        except KeyMissingError:
            # The register's key is destroyed: nobody reads there any more who they are. The rest goes too.
            store = self._rows.store
            with store.transaction() as at:
                known = [row.pid for row in identity.subjects(store, at, sorted(set(pids)), lock=True)]
                return identity.forget(store, at, known)
