"""The protected tables' table, as `pseudonym.tables.keeping` uses it: a sealed record each."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.schema_attributes import TABLE


class SealedTable(NamedTuple):
    """A protected table with its wrapped key and sealed record."""

    table_key: bytes
    project: int
    name: str
    kid: str
    wrapped: bytes
    ct: bytes


class TableRows:
    """The protected tables in the attributes' database."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(self, at: sa.Connection, table: SealedTable) -> None:
        """Add one. Raises DuplicateError if the project has one of this name."""
        self.store.insert(at, TABLE, {name: [value] for name, value in table._asdict().items()})

    def get(self, at: sa.Connection, project: int, name: str) -> SealedTable | None:
        """One by its name."""
        row = at.execute(
            sa.select(TABLE).where(TABLE.c.project == project, TABLE.c.name == name)
        ).one_or_none()
        return SealedTable._make(row) if row else None

    def of_project(self, at: sa.Connection, project: int) -> list[SealedTable]:
        """All of a project, by name."""
        query = sa.select(TABLE).where(TABLE.c.project == project).order_by(TABLE.c.name)
        return list(map(SealedTable._make, at.execute(query)))

    def put_record(self, at: sa.Connection, table_key: bytes, ct: bytes) -> None:
        """Put a sealed record in the place of the one before."""
        at.execute(sa.update(TABLE).where(TABLE.c.table_key == table_key).values(ct=ct))

    def delete_project(self, project: int) -> dict[str, int]:
        """Delete a project's tables; how many, if there were any."""
        with self.store.transaction() as at:
            gone = at.execute(sa.delete(TABLE).where(TABLE.c.project == project)).rowcount
            if gone:
                self.store.purge_later(at)
        return {TABLE.name: gone} if gone else {}
