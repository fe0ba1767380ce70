"""Keys renewed and destroyed: what makes older copies of a store unreadable.

    make a new KEK ─▶ rewrap, in batches ─▶ none left under the old one ─▶ purge ─▶ destroy the old one

From then on no copy of the store from before can be read, wherever it lies: each subject's key in it is
wrapped under a key that is gone. Rows are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol

from pseudonym import clock
from pseudonym.attribute_subjects import unwrapped
from pseudonym.certificates import Certificate
from pseudonym.errors import ConflictError
from pseudonym.keks import Keks
from pseudonym.storage.rows import AT_ONCE, At


class WrappedKeys(Protocol):
    """A store whose subjects' keys are wrapped."""

    def write(self) -> AbstractContextManager[At]: ...
    def read(self) -> AbstractContextManager[At]: ...
    def alone(self, at: At) -> None: ...
    def keys_not_under(self, at: At, kid: str, limit: int) -> list[tuple[str, bytes, str, bytes]]: ...
    def put_keys(self, at: At, kid: str, keys: Sequence[tuple[str, bytes, bytes]]) -> None: ...
    def kids(self, at: At) -> dict[str, int]: ...
    def purge(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal did.

    Attributes:
        rewrapped: keys of subjects and batches that were wrapped anew.
        kid: the key that they are under now.
        destroyed: the keys that were destroyed.
        dead_before: copies of the store from before this moment (UTC, ISO 8601) cannot be read any more.
    """

    rewrapped: int
    kid: str
    destroyed: tuple[str, ...]
    dead_before: str


def rewrap(rows: WrappedKeys, keks: Keks, *, batch: int = AT_ONCE) -> int:
    """Wrap every subject's key under the newest key-encrypting key; how many were under another.

    Each batch is a transaction of its own: after a crash, call it again, and it goes on where it was.

    Raises:
        KeyMissingError: one is wrapped under a key that is not at hand.
        SealBrokenError: one was altered.
    """
    done = 0
    while True:
        with rows.write() as at:
            rows.alone(at)
            kek = keks.current
            found = rows.keys_not_under(at, kek.kid, batch)
            subjects = [subject for _, subject, _, _ in found]
            deks = unwrapped(keks, [(subject, kid, wrapped) for _, subject, kid, wrapped in found])
            anew = kek.wrap_all(deks, subjects)
            keys = [(row[0], row[1], wrapped) for row, wrapped in zip(found, anew, strict=True)]
            rows.put_keys(at, kek.kid, keys)
        done += len(found)
        if len(found) < batch:
            return done


def renew(rows: WrappedKeys, keks: Keks, kids: Sequence[str], destroy: Callable[[str], None]) -> Renewal:
    """Re-wrap everything, and destroy the keys that nothing is wrapped under any more.

    Args:
        rows: the store.
        keks: its key-encrypting keys, the newest and the older ones.
        kids: the keys to destroy.
        destroy: destroys one in its keyset, for good.

    Raises:
        ConflictError: one of them is the newest, or something is still wrapped under one. None was destroyed.
    """
    if keks.current.kid in kids:
        raise ConflictError("The newest key cannot be destroyed.", "Make another first.")
    done = rewrap(rows, keks)
    with rows.write() as at:
        rows.alone(at)  # whoever still wraps under one of them is waited for
        left = sum(count for kid, count in rows.kids(at).items() if kid in kids)
    if left:
        raise ConflictError(f"{left} keys are still wrapped under the keys to destroy.", "Re-wrap again.")
    rows.purge()  # the old wrappings are out of free pages before their key is gone
    for kid in kids:
        destroy(kid)
    return Renewal(done, keks.current.kid, tuple(kids), clock.now().isoformat(timespec="seconds"))


def certificate(
    role: str,
    project: str,
    what: str,
    who: Sequence[str],
    *,
    moment: int,
    kids: Sequence[str],
    counts: Mapping[str, int],
    ledger: bytes,
    how: Sequence[str] = (),
) -> Certificate:
    """What to sign after a destruction (`pseudonym.certificates.sign`).

    Args:
        role: the store's.
        project: the project's name.
        what: a sentence.
        who: the accounts that ordered and carried it out.
        moment: seconds since 1970 (UTC).
        kids: the keys that were destroyed.
        counts: rows deleted, by table.
        ledger: the ledger's digest afterwards.
        how: a sentence for each step, where it was no deletion of rows.
    """
    deleting = [
        "The rows were deleted, and the database's files rewritten without them.",
        "The destruction is in the ledger of erasures, which is followed whenever a copy is put back.",
    ]
    if kids:
        deleting.insert(0, "The keys were destroyed, and the keyset's master key made anew.")
    return Certificate(
        role=role,
        project=project,
        what=what,
        when=datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds"),
        how=tuple(how or deleting),
        who=tuple(who),
        kids=tuple(kids),
        counts=MappingProxyType(dict(counts)),
        ledger=ledger.hex(),
    )
