"""What the broker's and the attributes' databases share: projects, and how far the ledger was followed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import sqlalchemy as sa

from pseudonym.errors import ConflictError, EndedError, NotFoundError
from pseudonym.storage.engine import Store

At: TypeAlias = sa.Connection
"""A transaction or a reading, for callers that only hand it on."""

AT_ONCE = 20_000
"""Rows in one transaction of something long, and ids handed over at a time."""


def in_project(table: sa.Table, project: int) -> sa.ColumnElement[bool]:
    """That rows are of a project, where they are found by something else.

    No index is used for it: SQLite would take that of the project and look at every row of it.
    """
    return table.c.project + 0 == project


class ProjectState(StrEnum):
    """How far a project's life has got."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Project:
    """A project, as the store knows it.

    Attributes:
        number: what stands for it in other tables.
        name: its label.
        state: open; ending, while it is being destroyed; ended.
        epoch: the epoch of its attribute ids.
    """

    number: int
    name: str
    state: ProjectState
    epoch: int


class Following:
    """One role's tables, as far as erasure is concerned, in every role.

    The methods with a first argument `at` work inside a transaction or a reading.
    """

    scattered: tuple[sa.Table, ...] = ()

    def __init__(self, store: Store, ledger: sa.Table) -> None:
        self.store = store
        self._ledger = ledger
        self._held = threading.local()

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A transaction: see `Store.transaction`."""
        return self.store.transaction()

    def read(self) -> AbstractContextManager[sa.Connection]:
        """One state of the database: see `Store.read`; within `snapshot` the one that it holds."""
        held: sa.Connection | None = getattr(self._held, "at", None)
        return nullcontext(held) if held is not None else self.store.read()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within the block, all that this thread reads through these rows is of one state of the database.

        What others write meanwhile is not waited for, and not seen; a purge waits for the end of the block.
        """
        with self.store.read() as at:
            self._held.at = at
            try:
                yield
            finally:
                del self._held.at

    def followed(self) -> tuple[int, bytes]:
        """How far the database has followed the ledger of erasures."""
        with self.read() as at:
            row = at.execute(sa.select(self._ledger)).one_or_none()
        return (row.number, row.digest) if row else (0, b"")

    def follow(self, number: int, digest: bytes) -> None:
        """Note how far the database has followed the ledger of erasures."""
        with self.write() as at:
            at.execute(sa.delete(self._ledger))
            at.execute(sa.insert(self._ledger).values(one=1, number=number, digest=digest))

    def purge(self) -> None:
        """Make what was deleted unreadable in the database's files."""
        self.store.purge()

    def scatter(self) -> int:
        """Put rows into the order of their random ids, so that nothing tells which came together.

        SQLite keeps them so. PostgreSQL keeps them as they came until a table is rewritten, which locks it
        for a minute or so for each GB; a table that is in order is left alone.

        Returns:
            How many tables were rewritten.
        """
        if self.store.backend != "postgresql":
            return 0
        rewritten = 0
        for table in self.scattered:
            with self.write() as at:
                if _out_of_order(at, table):
                    at.exec_driver_sql(f'CLUSTER "{table.name}" USING "{table.name}_pkey"')
                    rewritten += 1
        return rewritten

    def _pages(
        self, column: sa.Column[Any], *where: sa.ColumnElement[bool], size: int = AT_ONCE
    ) -> Iterator[list[bytes]]:
        """All values of a unique column, in order, each page in a reading of its own."""
        last = None
        while True:
            query = sa.select(column).where(*where).order_by(column).limit(size)
            with self.read() as at:
                page = list(at.execute(query if last is None else query.where(column > last)).scalars())
            if not page:
                return
            yield page
            last = page[-1]


def _out_of_order(at: sa.Connection, table: sa.Table) -> bool:
    """Whether PostgreSQL keeps some row of a table before one with a smaller key."""
    place: sa.ColumnElement[Any] = sa.literal_column("ctid")
    key = sa.tuple_(*table.primary_key.columns)
    before = [sa.func.lag(column).over(order_by=place) for column in table.primary_key.columns]
    pairs = sa.select((key < sa.tuple_(*before)).label("back")).select_from(table).subquery()
    return bool(at.execute(sa.select(sa.exists().where(pairs.c.back))).scalar_one())


class Rows(Following):
    """One role's tables, with its projects."""

    def __init__(self, store: Store, project: sa.Table, ledger: sa.Table) -> None:
        super().__init__(store, ledger)
        self._project = project

    def begin_project(self, at: sa.Connection, name: str, epoch: int) -> Project:
        """Add a project, or find it if it is there with the same epoch.

        Raises:
            EndedError: there was one of this name.
            ConflictError: it has another epoch.
        """
        found = self._find(at, name)
        if found is None:
            number = self.next_number(at, self._project.c.number)
            values = {"number": number, "name": name, "state": ProjectState.OPEN.value, "epoch": epoch}
            at.execute(sa.insert(self._project).values(**values, began_day=self.store.today()))
            return Project(number, name, ProjectState.OPEN, epoch)
        if found.state is not ProjectState.OPEN:
            raise _ended()
        if found.epoch != epoch:
            raise ConflictError("The project has another epoch.", f"It is {found.epoch}.")
        return found

    def project(self, at: sa.Connection, name: str, *, ended: bool = False) -> Project:
        """A project by its name.

        Raises:
            NotFoundError: there is none.
            EndedError: it has ended, or is ending, and `ended` was not said.
        """
        found = self._find(at, name)
        if found is None:
            raise NotFoundError(
                "There is no such project in this store.",
                "A key custodian begins it first: docs/persons.md shows how.",
            )
        if found.state is not ProjectState.OPEN and not ended:
            raise _ended()
        return found

    def projects(self, at: sa.Connection) -> list[Project]:
        """All projects, the ended ones too."""
        return [_project(row) for row in at.execute(sa.select(self._project))]

    def set_state(self, at: sa.Connection, project: int, state: ProjectState) -> None:
        """Change a project's state."""
        ended = self.store.today() if state is ProjectState.ENDED else None
        at.execute(
            sa.update(self._project)
            .where(self._project.c.number == project)
            .values(state=state.value, ended_day=ended)
        )

    def _find(self, at: sa.Connection, name: str) -> Project | None:
        query = sa.select(self._project).where(self._project.c.name == name)
        if at.get_execution_options().get("write"):
            query = query.with_for_update(read=True)  # a project does not end under somebody's hands
        row = at.execute(query).one_or_none()
        return _project(row) if row else None

    def next_number(self, at: sa.Connection, column: sa.Column[Any]) -> int:
        """The number after the largest of a column."""
        if self.store.backend == "postgresql":  # two servers would else take the same number
            at.exec_driver_sql(f'LOCK TABLE "{column.table.name}" IN SHARE ROW EXCLUSIVE MODE')
        return int(at.execute(sa.select(sa.func.coalesce(sa.func.max(column), 0))).scalar_one()) + 1


def _project(row: sa.Row[Any]) -> Project:
    return Project(row.number, row.name, ProjectState(row.state), row.epoch)


def _ended() -> EndedError:
    return EndedError("The project has ended.", "Its keys and data are destroyed; begin another.")
