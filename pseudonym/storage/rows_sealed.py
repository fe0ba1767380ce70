"""Tables of sealed records that have a name in their project: releases and protected tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from pseudonym.storage.engine import Store


class Sealed(Protocol):
    """A row, in the order of its table's columns: a random id first, and how its record is sealed."""

    @property
    def id(self) -> bytes: ...
    @property
    def kid(self) -> str: ...
    @property
    def wrapped(self) -> bytes: ...
    @property
    def ct(self) -> bytes: ...
    def _asdict(self) -> dict[str, Any]: ...


S = TypeVar("S", bound=Sealed)


class SealedRows(Generic[S]):
    """The sealed records of one table in the attributes' database."""

    def __init__(self, store: Store, table: sa.Table, row: Callable[[Iterable[Any]], S]) -> None:
        self.store, self._table, self._row = store, table, row

    def add(self, at: sa.Connection, one: S) -> None:
        """Add one. Raises DuplicateError if the project has one of this name."""
        self.store.insert(at, self._table, {name: [value] for name, value in one._asdict().items()})

    def get(self, at: sa.Connection, project: int, name: str) -> S | None:
        """One by its name."""
        columns = self._table.c
        query = sa.select(self._table).where(columns.project == project, columns.name == name)
        row = at.execute(query).one_or_none()
        return self._row(row) if row else None

    def of_project(self, at: sa.Connection, project: int) -> list[S]:
        """All of a project, by name."""
        columns = self._table.c
        query = sa.select(self._table).where(columns.project == project).order_by(columns.name)
        return list(map(self._row, at.execute(query)))

    def put_record(self, at: sa.Connection, id_: bytes, ct: bytes) -> None:
        """Put a sealed record in the place of the one before."""
        at.execute(sa.update(self._table).where(self._table.c[0] == id_).values(ct=ct))
