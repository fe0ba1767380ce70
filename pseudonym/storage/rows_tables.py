"""The protected tables' table, as `pseudonym.tables.keeping` uses it: a sealed record each."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.rows_sealed import SealedRows
from pseudonym.storage.schema_attributes import TABLE


class SealedTable(NamedTuple):
    """A protected table with its wrapped key and sealed record."""

    table_key: bytes
    project: int
    name: str
    kid: str
    wrapped: bytes
    ct: bytes

    @property
    def id(self) -> bytes:
        """The table's."""
        return self.table_key


class TableRows(SealedRows[SealedTable]):
    """The protected tables in the attributes' database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, TABLE, SealedTable._make)

    def delete_project(self, project: int) -> dict[str, int]:
        """Delete a project's tables; how many, if there were any."""
        with self.store.transaction() as at:
            gone = at.execute(sa.delete(TABLE).where(TABLE.c.project == project)).rowcount
            if gone:
                self.store.purge_later(at)
        return {TABLE.name: gone} if gone else {}
