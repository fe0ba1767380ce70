"""The identity role's tables, as far as erasure is concerned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pseudonym.storage.engine import Store
from pseudonym.storage.identity import subjects
from pseudonym.storage.rows import Following
from pseudonym.storage.schema_identity import LEDGER, SUBJECT


class IdentityRows(Following):
    """The identity role's database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, LEDGER)

    def living(self) -> Iterator[list[bytes]]:
        """The pids of all people who are not erased, some at a time."""
        return self._pages(SUBJECT.c.pid, SUBJECT.c.state != "erased")

    def has(self, pids: Sequence[bytes]) -> bool:
        """Whether one of these people is here, and not as erased; read anew."""
        with self.store.read() as at:
            return any(row.state != "erased" for row in subjects(self.store, at, pids))
