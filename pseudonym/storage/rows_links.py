"""The attributes' table of rows that came of a register's extract: by which run each was last linked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pseudonym.storage.rows_attributes import AttributeRows, Head
from pseudonym.storage.schema_attributes import LINK, OPT_OUT, ROW

SUSPENDED = 0
"""Stands for the run of rows that are nobody's to use until a run links them anew; runs count from 1."""


class LinkRows:
    """The part of the attributes' database that is about registers."""

    def __init__(self, rows: AttributeRows) -> None:
        self._rows, self._store = rows, rows.store

    def held(self, at: sa.Connection, handles: Sequence[bytes]) -> list[Head]:
        """The rows that have one of these handles."""
        query = sa.select(*(ROW.c[name] for name in Head._fields))
        return list(map(Head._make, self._store.among(at, query, ROW.c.handle, handles)))

    def mark(
        self, at: sa.Connection, project: int, register: str, run: int, handles: Sequence[bytes]
    ) -> None:
        """Note by which run rows were linked."""
        self.forget(at, handles)
        some = sorted(set(handles))
        n = len(some)
        columns: dict[str, Sequence[Any]] = {
            "handle": some,
            "project": [project] * n,
            "register": [register] * n,
            "run": [run] * n,
        }
        self._store.insert(at, LINK, columns)

    def forget(self, at: sa.Connection, handles: Sequence[bytes]) -> None:
        """Know nothing more of rows."""
        self._store.delete_among(at, LINK.c.handle, handles)

    def before(
        self, at: sa.Connection, project: int, register: str, run: int, after: bytes, limit: int
    ) -> list[bytes]:
        """The handles of rows that were linked by an earlier run and by none since, some at a time."""
        query = sa.select(LINK.c.handle).where(
            LINK.c.project == project, LINK.c.register == register, LINK.c.run < run, LINK.c.handle > after
        )
        return list(at.execute(query.order_by(LINK.c.handle).limit(limit)).scalars())

    def registers(self, at: sa.Connection, handles: Sequence[bytes]) -> dict[bytes, tuple[str, int]]:
        """Of rows that came of a register: which one, and by which run each was last linked."""
        query = sa.select(LINK.c.handle, LINK.c.register, LINK.c.run)
        found = self._store.among(at, query, LINK.c.handle, sorted(set(handles)))
        return {row.handle: (row.register, row.run) for row in found}

    def suspend(self, at: sa.Connection, handles: Sequence[bytes]) -> int:
        """Leave rows that came of a register out of use until a run links them; how many they are."""
        known = list(self.registers(at, handles))
        self._store.update(at, LINK, ["handle"], {"handle": known, "run": [SUSPENDED] * len(known)})
        return len(known)

    def suspended(self, at: sa.Connection, project: int) -> set[bytes]:
        """The handles of a project's rows that are out of use."""
        query = sa.select(LINK.c.handle).where(LINK.c.project == project, LINK.c.run == SUSPENDED)
        return set(at.execute(query).scalars())

    def note_opt_out(
        self, at: sa.Connection, project: int, register: str, opt_out: tuple[str, int] | None
    ) -> None:
        """Note under what a register was linked last, and until when that holds; None: it was not said."""
        here = (OPT_OUT.c.project == project) & (OPT_OUT.c.register == register)
        at.execute(sa.delete(OPT_OUT).where(here))
        if opt_out is not None:
            basis, until = opt_out
            values = {"project": project, "register": register, "basis": basis, "until": until}
            at.execute(sa.insert(OPT_OUT).values(**values))

    def opt_out(self, at: sa.Connection, project: int, register: str) -> tuple[str, int] | None:
        """What was noted."""
        here = (OPT_OUT.c.project == project) & (OPT_OUT.c.register == register)
        found = at.execute(sa.select(OPT_OUT.c.basis, OPT_OUT.c.until).where(here)).one_or_none()
        return None if found is None else (str(found.basis), int(found.until))

    def delete_project(self, project: int) -> None:
        """Know nothing more of a project's rows."""
        with self._rows.write() as at:
            for table in (LINK, OPT_OUT):
                at.execute(sa.delete(table).where(table.c.project == project))
