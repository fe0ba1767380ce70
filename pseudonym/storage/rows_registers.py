"""The broker's tables of registers: runs, the rows that they linked, and those that are nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from pseudonym.errors import ConflictError
from pseudonym.storage.rows import in_project
from pseudonym.storage.rows_broker import BrokerRows
from pseudonym.storage.schema_broker import EXCHANGE, HALF, REGISTER_RUN, STRAY


class RunState(StrEnum):
    """How far a run has been told."""

    OPEN = "open"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Run:
    """One telling of what a register was linked to."""

    number: int
    register: str
    state: RunState
    opt_out: tuple[str, int] | None = None


class Linked(NamedTuple):
    """A row that a run linked, or, with an outcome, what it says of a person."""

    row_ref: bytes
    aid: bytes
    family: bytes | None
    handle: bytes
    outcome: str | None


class RegisterRows:
    """The part of the broker's database that is about registers."""

    def __init__(self, rows: BrokerRows) -> None:
        self._rows, self._store = rows, rows.store

    def begin(self, at: sa.Connection, project: int, register: str, run: bytes) -> Run:
        """A run by its id, new where it is not known; what earlier runs left waiting is then forgotten.

        Raises:
            ConflictError: a later run of the register has taken over.
        """
        runs = self.runs(at, project, register)
        query = sa.select(REGISTER_RUN.c.number).where(
            REGISTER_RUN.c.project == project, REGISTER_RUN.c.run == run
        )
        number = at.execute(query).scalar_one_or_none()
        if number is None:
            number = self._rows.next_number(at, REGISTER_RUN.c.number)
            values = {"number": number, "project": project, "register": register, "run": run}
            values |= {"state": RunState.OPEN.value, "began_day": self._store.today()}
            at.execute(sa.insert(REGISTER_RUN).values(**values))
            earlier = [one.number for one in runs]
            if earlier and at.execute(sa.delete(HALF).where(HALF.c.run.in_(earlier))).rowcount:
                self._store.purge_later(at)
            return Run(number, register, RunState.OPEN)
        here = [one for one in runs if one.number == number]
        if not here or any(one.number > number for one in runs):
            raise ConflictError("A later run of the register has taken over.", "Link the register again.")
        return here[0]

    def close(self, at: sa.Connection, run: Run, opt_out: tuple[str, int] | None = None) -> None:
        """Say that a run is told as a whole; of earlier ones nothing has to be known any more.

        Args:
            at: a transaction.
            run: the run.
            opt_out: under what it was linked, and until when that holds, where the National Data Opt-out
                concerns it.
        """
        basis, until = opt_out or (None, None)
        query = sa.update(REGISTER_RUN).where(REGISTER_RUN.c.number == run.number)
        at.execute(query.values(state=RunState.WHOLE.value, opt_out=basis, opt_out_until=until))

    def reopen(self, at: sa.Connection, received_before: int) -> None:
        """Say that runs are not whole of which rows waited for too long, and will be dropped.

        The attributes role may not have heard them: it must not take for withdrawn what they said.
        """
        old = (HALF.c.received < received_before) & HALF.c.run.is_not(None)
        here = REGISTER_RUN.c.number.in_(sa.select(HALF.c.run).where(old))
        at.execute(sa.update(REGISTER_RUN).where(here).values(state=RunState.OPEN.value))

    def runs(self, at: sa.Connection, project: int, register: str | None = None) -> list[Run]:
        """The runs of a project, or of one of its registers, by number."""
        query = sa.select(REGISTER_RUN).where(REGISTER_RUN.c.project == project)
        if register is not None:
            query = query.where(REGISTER_RUN.c.register == register)
        found = at.execute(query.order_by(REGISTER_RUN.c.number))
        return [
            Run(
                row.number,
                row.register,
                RunState(row.state),
                None if row.opt_out is None else (row.opt_out, row.opt_out_until),
            )
            for row in found
        ]

    def put(self, at: sa.Connection, project: int, run: Run, linked: Sequence[Linked]) -> None:
        """Keep rows until the attributes role has them, in place of what was said of them before.

        Raises:
            ConflictError: a row_ref is another register's, or a council's.
        """
        refs = [one.row_ref for one in linked]
        self._withdraw(at, project, run, refs)
        n = len(linked)
        columns: dict[str, Sequence[Any]] = {
            name: [getattr(one, name) for one in linked] for name in Linked._fields
        }
        columns |= {"project": [project] * n, "received": [self._store.now()] * n, "run": [run.number] * n}
        order = sorted(range(n), key=refs.__getitem__)
        self._store.insert(at, HALF, {name: [values[i] for i in order] for name, values in columns.items()})

    def put_strays(self, at: sa.Connection, project: int, run: Run, refs: Sequence[bytes]) -> None:
        """Keep the row_refs of nobody until the attributes role has dropped their values."""
        self._withdraw(at, project, run, refs)
        some = sorted(refs)
        columns: dict[str, Sequence[Any]] = {
            "row_ref": some,
            "project": [project] * len(some),
            "received": [self._store.now()] * len(some),
        }
        self._store.insert(at, STRAY, columns)

    def add_strays(self, at: sa.Connection, project: int, refs: Sequence[bytes]) -> None:
        """Keep the row_refs of a council's rows that are nobody's, but for those told as somebody's."""
        query = sa.select(HALF.c.row_ref)
        told = {bytes(row.row_ref) for row in self._store.among(at, query, HALF.c.row_ref, refs)}
        some = sorted(set(refs).difference(told))
        columns: dict[str, Sequence[Any]] = {
            "row_ref": some,
            "project": [project] * len(some),
            "received": [self._store.now()] * len(some),
        }
        self._store.insert(at, STRAY, columns, skip_existing=True)

    def waiting(self, at: sa.Connection, project: int, after: bytes, limit: int) -> list[tuple[Any, ...]]:
        """What the attributes role has not acknowledged: the fields of `Linked`, and the run's number.

        Of a row that is nobody's everything but the row_ref is None.
        """
        linked = sa.select(*(HALF.c[name] for name in (*Linked._fields, "run"))).where(
            in_project(HALF, project), HALF.c.run.is_not(None), HALF.c.row_ref > after
        )
        strays = sa.select(STRAY.c.row_ref).where(STRAY.c.project == project, STRAY.c.row_ref > after)
        found = [tuple(row) for row in at.execute(linked.order_by(HALF.c.row_ref).limit(limit))]
        for row in at.execute(strays.order_by(STRAY.c.row_ref).limit(limit)):
            found.append((row.row_ref, *[None] * len(Linked._fields)))
        return sorted(found, key=lambda row: bytes(row[0]))[:limit]

    def end_exchange_on(self, at: sa.Connection, project: int, recipient: str, day: int) -> int:
        """Note on which day an exchange ends; the day that was noted first."""
        here = (EXCHANGE.c.project == project) & (EXCHANGE.c.recipient == recipient)
        found = at.execute(sa.select(EXCHANGE.c.end_day).where(here)).scalar_one_or_none()
        if found is None:
            at.execute(sa.insert(EXCHANGE).values(project=project, recipient=recipient, end_day=day))
        return day if found is None else int(found)

    def ended_exchanges(self, at: sa.Connection) -> list[tuple[int, str]]:
        """Project and recipient of the exchanges whose last day is over."""
        query = sa.select(EXCHANGE.c.project, EXCHANGE.c.recipient)
        found = at.execute(query.where(EXCHANGE.c.end_day < self._store.today()))
        return [(row.project, row.recipient) for row in found]

    def forget_exchange(self, at: sa.Connection, project: int, recipient: str) -> None:
        """Forget an exchange whose numbers are destroyed."""
        here = (EXCHANGE.c.project == project) & (EXCHANGE.c.recipient == recipient)
        at.execute(sa.delete(EXCHANGE).where(here))

    def _withdraw(self, at: sa.Connection, project: int, run: Run, refs: Sequence[bytes]) -> None:
        """Forget what was said of rows before by runs of the same register."""
        own = {one.number for one in self.runs(at, project, run.register)}
        query = sa.select(HALF.c.project, HALF.c.run)
        if any(
            row.project != project or row.run not in own
            for row in self._store.among(at, query, HALF.c.row_ref, refs)
        ):
            raise ConflictError(
                "Row references of the register were sent before for other rows.",
                "A row reference is 16 random bytes, made once for one row.",
            )
        self._store.delete_among(at, HALF.c.row_ref, refs)
        self._store.delete_among(at, STRAY.c.row_ref, refs)
