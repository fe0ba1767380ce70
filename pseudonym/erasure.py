"""What was erased stays erased, also when an older copy of the store is put back.

Each role has a ledger (`pseudonym.ledger`), a file of its own that is not part of the database's backups. An
erasure is written into it, durably, before anything is deleted. The database notes up to which entry it has
followed the ledger, in the transaction that deletes; so a database that was restored, or that a crash cut
off, is behind, and `replay` erases again before the store serves anything.

A ledger that ends before the entry which the database has followed is refused: it is the ledger that was put
back. Whoever was erased and is in the store again, because somebody put the rows back, is not opened
(`check_none_is_back`), and is erased again when the store is opened next.

Danger: a database that is restored together with a ledger as old as itself cannot be told from the true one.
Keep the ledger where backups of the database do not go. How many entries it has, and the last one's digest,
is in the audit log after each erasure (`erasures.noted`).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Protocol

from pseudonym.errors import EndedError, LedgerError, SealBrokenError
from pseudonym.ledger import Entry, Ledger, LedgerKey, What
from pseudonym.urn import enc

__all__ = [
    "Entry",
    "Follower",
    "Ledger",
    "LedgerKey",
    "What",
    "carry_out",
    "check_none_is_back",
    "check_not_ended",
    "domain_id",
    "replay",
]


class Holding(Protocol):
    """A store of subjects that follows a ledger."""

    def followed(self) -> tuple[int, bytes]:
        """The last entry that the database has followed, 0 before the first, and the chain's value there.

        Without any chain's value the database was never opened with a ledger.
        """

    def has(self, ids: Sequence[bytes]) -> bool:
        """Whether the database, read anew, holds anything of one of these subjects."""


class Follower(Protocol):
    """What follows a ledger in a store."""

    def followed(self) -> tuple[int, bytes]:
        """See `Holding`."""

    def held(self, what: What) -> Iterator[list[bytes]]:
        """All ids of this sort that the database holds anything of, some at a time."""

    def wipe(self, what: What, ids: Sequence[bytes]) -> Mapping[str, int]:
        """Delete all that the database holds of the ids, and say how many rows, by table.

        To be done twice does no harm.
        """

    def follow(self, number: int, digest: bytes) -> None:
        """Note, durably, that the database has followed the ledger up to an entry."""

    def purge(self) -> None:
        """Make what was deleted unreadable in the database's files."""


def replay(ledger: Ledger, store: Follower) -> int:
    """Erase again what the ledger says and the store holds, before the store serves anything.

    The store holds it where it is behind the ledger, or where somebody put rows back.

    Returns:
        How many subjects, projects and domains were there and are gone now.

    Raises:
        LedgerError: the ledger is older than the store, or another one's.
    """
    with ledger.lock:
        number, digest = store.followed()
        if number > ledger.size or (digest and not hmac.compare_digest(digest, ledger.digest_at(number))):
            raise LedgerError(
                "The ledger of erasures is older than the store, or belongs to another.",
                "Put the newest ledger back; nothing was opened.",
            )
        gone = 0
        # Whole projects first: what goes with them need not be looked for again.
        for what in (What.PROJECT, What.DOMAIN, What.SUBJECT):
            for ids in store.held(what) if ledger.has(what) else ():
                found = list(compress(ids, ledger.erased(what, ids)))
                if found:
                    store.wipe(what, found)
                    gone += len(found)
        # Also where the ledger is empty: from now on the database is not opened without one.
        if gone or number < ledger.size or not digest:
            if gone:
                store.purge()
            store.follow(ledger.size, ledger.digest)
        return gone


def carry_out(
    ledger: Ledger, store: Follower, what: What, ids: Sequence[bytes], day: int
) -> Mapping[str, int]:
    """Erase: write it into the ledger, do it, and note that it is done, in this order.

    After a crash at any moment the store's next opening finishes it (`replay`), or nothing was begun. After a
    failure the next erasure does.

    Returns:
        How many rows went, by table.
    """
    with ledger.lock:
        if store.followed()[0] < ledger.size:
            replay(ledger, store)
        ledger.append(what, ids, day)
        counts = store.wipe(what, ids)
        store.purge()
        store.follow(ledger.size, ledger.digest)
    return counts


def check_none_is_back(ledger: Ledger, store: Holding, ids: Sequence[bytes]) -> None:
    """Refuse to open subjects who were erased and are in the store again.

    Args:
        ledger: the role's.
        store: what the rows were read from.
        ids: of the subjects.

    Raises:
        SealBrokenError: the store holds one of them.
    """
    numbers = ledger.numbers(What.SUBJECT, ids)
    if not any(numbers):
        return
    # Who is about to be erased was not put back, nor who was read before an erasure that has ended since.
    done, _ = store.followed()
    if store.has([one for one, number in zip(ids, numbers, strict=True) if 0 < number <= done]):
        raise SealBrokenError(
            "Somebody who was erased is in the store again: rows were put back.",
            "Nothing was opened. Find out who can write to the store; a start of the role erases them again.",
        )


def check_not_ended(ledger: Ledger, project: str) -> None:
    """Refuse the name of a project that was destroyed, also in a database that never had it.

    Raises:
        EndedError: it was.
    """
    if ledger.erased(What.PROJECT, [project.encode()])[0]:
        raise EndedError("A project of this name was destroyed.", "Begin it under another name.")


def domain_id(project: str, recipient: str, epoch: int) -> bytes:
    """What stands for a recipient's epoch in `What.DOMAIN`."""
    return enc(project, recipient, bytes([epoch]))
