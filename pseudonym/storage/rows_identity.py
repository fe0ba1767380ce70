"""The identity role's tables, as far as erasure is concerned."""

from __future__ import annotations

from collections.abc import Iterator

from pseudonym.storage.engine import Store
from pseudonym.storage.rows import Following
from pseudonym.storage.schema_identity import LEDGER, SUBJECT


class IdentityRows(Following):
    """The identity role's database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, LEDGER)

    def living(self) -> Iterator[list[bytes]]:
        """The pids of all people who are not erased, some at a time."""
        return self._pages(SUBJECT.c.pid, SUBJECT.c.state != "erased")
