"""The broker's tables, as `pseudonym.broker` uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from pseudonym.errors import ConflictError, NotFoundError
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import AT_ONCE, Rows, in_project
from pseudonym.storage.schema_broker import (
    DOMAIN,
    EXCHANGE,
    HALF,
    LEDGER,
    MEMBER,
    MOVE,
    PROJECT,
    REGISTER_RUN,
    STRAY,
    SUPERSEDED,
    URN,
)


class DomainState(StrEnum):
    """What may still be done with a recipient's epoch."""

    ACTIVE = "active"
    RETIRED = "retired"  # a later epoch took over
    ENDING = "ending"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Domain:
    """One recipient's epoch in one project."""

    number: int
    project: int
    recipient: str
    epoch: int
    state: DomainState


class Half(NamedTuple):
    """A row that the attributes role has not acknowledged yet."""

    row_ref: bytes
    aid: bytes
    family: bytes | None
    handle: bytes | None


class Move(NamedTuple):
    """What the attributes role has to follow: see `pseudonym.changes.What`."""

    what: str
    handle: bytes | None
    old_aid: bytes | None
    new_aid: bytes | None


class BrokerRows(Rows):
    """The broker's database."""

    scattered = (MEMBER, HALF, URN, STRAY)

    def __init__(self, store: Store) -> None:
        super().__init__(store, PROJECT, LEDGER)

    # --- members and halves -----------------------------------------------------------------------

    def add_members(
        self, at: sa.Connection, project: int, kind: str, aids: Sequence[bytes], covers: Sequence[bytes]
    ) -> int:
        """Add persons or families that are not there yet."""
        n = len(aids)
        rows = sorted(zip(aids, covers, strict=True))  # by aid, so that nothing tells who came after whom
        return self.store.insert(
            at,
            MEMBER,
            {
                "aid": [aid for aid, _ in rows],
                "project": [project] * n,
                "kind": [kind] * n,
                "cover": [cover for _, cover in rows],
                "since_day": [self.store.today()] * n,
            },
            skip_existing=True,
        )

    def members(self, at: sa.Connection, aids: Sequence[bytes]) -> dict[bytes, tuple[int, str, bytes]]:
        """Project, kind and cover of those that are there."""
        query = sa.select(MEMBER.c.aid, MEMBER.c.project, MEMBER.c.kind, MEMBER.c.cover)
        found = self.store.among(at, query, MEMBER.c.aid, aids)
        return {row.aid: (row.project, row.kind, row.cover) for row in found}

    def member_pages(self, project: int | None = None, kind: str | None = None) -> Iterator[list[bytes]]:
        """All aids, of one project or kind or of all, some at a time."""
        where = [MEMBER.c.project == project] if project is not None else []
        where += [MEMBER.c.kind == kind] if kind is not None else []
        return self._pages(MEMBER.c.aid, *where)

    def members_after(self, at: sa.Connection, project: int, kind: str, after: bytes) -> list[bytes]:
        """A page of a project's aids, by aid."""
        here = (MEMBER.c.project == project, MEMBER.c.kind == kind, MEMBER.c.aid > after)
        return list(
            at.execute(sa.select(MEMBER.c.aid).where(*here).order_by(MEMBER.c.aid).limit(AT_ONCE)).scalars()
        )

    def add_halves(
        self,
        at: sa.Connection,
        project: int,
        refs: Sequence[bytes],
        aids: Sequence[bytes],
        families: Sequence[bytes | None],
        handles: Sequence[bytes | None],
    ) -> int:
        """Keep row_refs until the attributes role has acknowledged them; those that are there already stay.

        Raises:
            ConflictError: one is there for somebody else.
        """
        given = dict(zip(refs, zip(aids, families, handles, strict=True), strict=True))
        query = sa.select(*(HALF.c[name] for name in Half._fields))
        found = map(Half._make, self.store.among(at, query, HALF.c.row_ref, refs))
        present = {half.row_ref: half[1:] for half in found}
        differing = sum(given[ref] != there for ref, there in present.items())
        if differing:
            raise ConflictError(
                f"{differing} row references of the batch were sent before for other people.",
                "A row reference is 16 random bytes, made once for one row.",
            )
        new = sorted(set(given) - set(present))
        columns: dict[str, Sequence[Any]] = {
            "row_ref": new,
            "project": [project] * len(new),
            "aid": [given[ref][0] for ref in new],
            "family": [given[ref][1] for ref in new],
            "handle": [given[ref][2] for ref in new],
            "received": [self.store.now()] * len(new),
        }
        return self.store.insert(at, HALF, columns)

    def halves(self, at: sa.Connection, project: int, after: bytes, limit: int) -> list[Half]:
        """What is not acknowledged yet, by row_ref; rows of registers are in `RegisterRows`."""
        query = (
            sa.select(*(HALF.c[name] for name in Half._fields))
            .where(in_project(HALF, project), HALF.c.row_ref > after, HALF.c.run.is_(None))
            .order_by(HALF.c.row_ref)
            .limit(limit)
        )
        return list(map(Half._make, at.execute(query)))

    def halves_of(
        self, at: sa.Connection, project: int, aids: Sequence[bytes], handles: Sequence[bytes]
    ) -> list[Half]:
        """What is not acknowledged yet and is of these people or families, or has one of these handles."""
        query = sa.select(*(HALF.c[name] for name in Half._fields)).where(in_project(HALF, project))
        found = self.store.among(at, query, HALF.c.aid, aids)
        found += self.store.among(at, query, HALF.c.family, aids)
        found += self.store.among(at, query, HALF.c.handle, handles)
        return list(dict.fromkeys(map(Half._make, found)))

    def redirect(self, at: sa.Connection, halves: Sequence[Half]) -> None:
        """Put halves under the people and families that they name now."""
        columns: dict[str, Sequence[Any]] = {
            name: [getattr(half, name) for half in halves] for name in ("row_ref", "aid", "family")
        }
        self.store.update(at, HALF, ["row_ref"], columns)

    def forget(self, at: sa.Connection, project: int, refs: Sequence[bytes], run: int | None = None) -> int:
        """Forget row_refs of a project: those of a register's run, or those of no run."""
        self.store.purge_later(at)
        gone = 0
        # The run is looked at here: SQLite would take its index, and look at every row of the run.
        found = self.store.among(
            at, sa.select(HALF.c.row_ref, HALF.c.run).where(in_project(HALF, project)), HALF.c.row_ref, refs
        )
        gone += self.store.delete_among(at, HALF.c.row_ref, [row.row_ref for row in found if row.run == run])
        if run is None:
            query = sa.select(STRAY.c.row_ref).where(in_project(STRAY, project))
            strays = [row.row_ref for row in self.store.among(at, query, STRAY.c.row_ref, refs)]
            gone += self.store.delete_among(at, STRAY.c.row_ref, strays)
        return gone

    def waiting(self, at: sa.Connection) -> list[tuple[int, int, int]]:
        """Project, number of halves and the moment of the oldest, for each project that has some."""
        query = sa.select(HALF.c.project, sa.func.count(), sa.func.min(HALF.c.received))
        return [(row[0], row[1], row[2]) for row in at.execute(query.group_by(HALF.c.project))]

    def drop_halves(self, at: sa.Connection, received_before: int) -> list[tuple[int, int]]:
        """Delete halves that are too old; project and number."""
        old = HALF.c.received < received_before
        query = sa.select(HALF.c.project, sa.func.count()).where(old).group_by(HALF.c.project)
        found = [(row[0], row[1]) for row in at.execute(query)]
        at.execute(sa.delete(HALF).where(old))
        at.execute(sa.delete(STRAY).where(STRAY.c.received < received_before))
        return found

    # --- domains ----------------------------------------------------------------------------------

    def add_domain(self, at: sa.Connection, project: int, recipient: str, epoch: int) -> Domain:
        """Add a recipient's epoch, or find it; an earlier one that is active becomes retired."""
        for domain in self.domains(at, project):
            if domain.recipient == recipient and domain.epoch == epoch:
                return domain
            if domain.recipient == recipient and domain.epoch > epoch:
                raise ConflictError("The recipient has a later epoch already.")
        day = self.store.today()
        at.execute(
            sa.update(DOMAIN)
            .where(
                DOMAIN.c.project == project,
                DOMAIN.c.recipient == recipient,
                DOMAIN.c.state == DomainState.ACTIVE.value,
            )
            .values(state=DomainState.RETIRED.value)
        )
        number = self.next_number(at, DOMAIN.c.number)
        at.execute(
            sa.insert(DOMAIN).values(
                number=number,
                project=project,
                recipient=recipient,
                epoch=epoch,
                state=DomainState.ACTIVE.value,
                began_day=day,
            )
        )
        return Domain(number, project, recipient, epoch, DomainState.ACTIVE)

    def domains(self, at: sa.Connection, project: int | None = None) -> list[Domain]:
        """The domains of a project, or all, the destroyed ones too; by epoch."""
        query = sa.select(DOMAIN).order_by(DOMAIN.c.epoch)
        if project is not None:
            query = query.where(DOMAIN.c.project == project)
        return [
            Domain(row.number, row.project, row.recipient, row.epoch, DomainState(row.state))
            for row in at.execute(query)
        ]

    def domain(self, at: sa.Connection, project: int, recipient: str, epoch: int | None = None) -> Domain:
        """A recipient's epoch; the newest when None.

        Raises:
            NotFoundError: there is none.
        """
        found = [
            domain
            for domain in self.domains(at, project)
            if domain.recipient == recipient and epoch in (None, domain.epoch)
        ]
        if not found:
            raise NotFoundError("The project has no such recipient or epoch.", "Open the domain first.")
        return found[-1]

    def set_domain_state(self, at: sa.Connection, domain: int, state: DomainState) -> None:
        """Change a domain's state."""
        ended = self.store.today() if state is DomainState.DESTROYED else None
        query = sa.update(DOMAIN).where(DOMAIN.c.number == domain)
        at.execute(query.values(state=state.value, ended_day=ended))

    # --- reference numbers ------------------------------------------------------------------------

    def add_urns(
        self, at: sa.Connection, domain: int, words: Sequence[str], covers: Sequence[bytes], counter: int
    ) -> int:
        """Add those numbers that are not there yet, and say how many these were."""
        n = len(words)
        rows = sorted(zip(words, covers, strict=True))  # in the table's own order: faster, and says nothing
        columns: dict[str, Sequence[Any]] = {
            "domain": [domain] * n,
            "word": [word for word, _ in rows],
            "cover": [cover for _, cover in rows],
            "counter": [counter] * n,
            "issued_day": [self.store.today()] * n,
        }
        return self.store.insert(at, URN, columns, skip_existing=True)

    def urns(
        self, at: sa.Connection, domain: int, words: Sequence[str]
    ) -> dict[str, tuple[bytes | None, int]]:
        """Cover (None: erased) and counter of the numbers that were issued."""
        query = sa.select(URN.c.word, URN.c.cover, URN.c.counter).where(URN.c.domain == domain)
        found = self.store.among(at, query, URN.c.word, words)
        return {row.word: (row.cover, row.counter) for row in found}

    def urn_page(self, at: sa.Connection, domain: int, after: str) -> list[tuple[str, bytes, int]]:
        """Number, cover and counter of those that are not erased, by number."""
        query = (
            sa.select(URN.c.word, URN.c.cover, URN.c.counter)
            .where(URN.c.domain == domain, URN.c.word > after, URN.c.cover.is_not(None))
            .order_by(URN.c.word)
            .limit(AT_ONCE)
        )
        return [(row[0], row[1], row[2]) for row in at.execute(query)]

    def erase_urns(self, at: sa.Connection, domain: int, words: Sequence[str]) -> None:
        """Leave of numbers only that they were issued, so that none is ever given to somebody else."""
        n, day = len(words), self.store.today()
        columns: dict[str, Sequence[Any]] = {
            "domain": [domain] * n,
            "word": list(words),
            "cover": [None] * n,
            "erased_day": [day] * n,
        }
        self.store.update(at, URN, ["domain", "word"], columns)

    def erased_urns(self, at: sa.Connection, domain: int, since_day: int) -> list[tuple[str, int]]:
        """Erased numbers and the day, from a day on."""
        query = sa.select(URN.c.word, URN.c.erased_day).where(
            URN.c.domain == domain, URN.c.erased_day >= since_day
        )
        return [(row[0], row[1]) for row in at.execute(query.order_by(URN.c.word))]

    def add_superseded(
        self,
        at: sa.Connection,
        project: int,
        kind: str,
        old: Sequence[bytes],
        new: Sequence[bytes],
        changes: Sequence[str],
    ) -> int:
        """Note that persons or families go on under other ids, or, where the new one is empty, under none.

        What is said of a pair takes the place of what was said before, and of what was said the other way
        round: an id that comes back is superseded no longer. What led to an id that was merged leads on to
        the one that it was merged into, so that lists need not be followed in any order.
        """
        said = dict(zip(zip(old, new, strict=True), changes, strict=True))
        into = {one: other for (one, other), change in said.items() if change == "merged"}
        s = SUPERSEDED.c
        found = self.store.among(at, sa.select(s.old_aid, s.new_aid, s.change), s.new_aid, list(into))
        led = {(row.old_aid, into[row.new_aid]): row.change for row in found}
        replaced = [(row.old_aid, row.new_aid) for row in found] + [*said] + [pair[::-1] for pair in said]
        pairs = {"old_aid": [one for one, _ in replaced], "new_aid": [other for _, other in replaced]}
        self.store.delete(at, SUPERSEDED, pairs)
        said = {pair: change for pair, change in led.items() if pair[0] != pair[1]} | said
        n = len(said)
        columns: dict[str, Sequence[Any]] = {
            "old_aid": [one for one, _ in said],
            "new_aid": [other for _, other in said],
            "project": [project] * n,
            "kind": [kind] * n,
            "change": list(said.values()),
            "day": [self.store.today()] * n,
        }
        return self.store.insert(at, SUPERSEDED, columns, skip_existing=True)

    def superseded(
        self, at: sa.Connection, project: int, kind: str, since_day: int
    ) -> list[tuple[bytes, bytes, str, int]]:
        """Old aid, new aid, change and day, from a day on, by day and old aid."""
        s = SUPERSEDED.c
        query = sa.select(s.old_aid, s.new_aid, s.change, s.day).where(
            s.project == project, s.kind == kind, s.day >= since_day
        )
        return [
            (row[0], row[1], row[2], row[3])
            for row in at.execute(query.order_by(s.day, s.old_aid, s.new_aid))
        ]

    def merged_into(self, at: sa.Connection, project: int, aids: Sequence[bytes]) -> dict[bytes, bytes]:
        """For those who were merged with others, the aid they went on under."""
        s = SUPERSEDED.c
        query = sa.select(s.old_aid, s.new_aid).where(s.project == project, s.change == "merged")
        return {row.old_aid: row.new_aid for row in self.store.among(at, query, s.old_aid, aids)}

    # --- what the attributes role follows ---------------------------------------------------------

    def add_moves(self, at: sa.Connection, project: int, moves: Sequence[Move]) -> None:
        """Keep what moved, in this order, until the attributes role has followed."""
        first, n = self.next_number(at, MOVE.c.number), len(moves)
        columns: dict[str, Sequence[Any]] = {name: [getattr(m, name) for m in moves] for name in Move._fields}
        columns |= {"number": list(range(first, first + n)), "project": [project] * n}
        self.store.insert(at, MOVE, columns)

    def moves(self, at: sa.Connection, project: int, after: int, limit: int) -> list[tuple[int, Move]]:
        """Moves of a project with a higher number, each with its own."""
        query = sa.select(MOVE.c.number, *(MOVE.c[name] for name in Move._fields))
        query = query.where(MOVE.c.project == project, MOVE.c.number > after)
        query = query.order_by(MOVE.c.number).limit(limit)
        return [(row[0], Move._make(row[1:])) for row in at.execute(query)]

    def forget_moves(self, at: sa.Connection, project: int, until: int) -> int:
        """Forget the moves of a project up to a number, but for the last, so that no number comes again."""
        last = sa.select(sa.func.max(MOVE.c.number)).scalar_subquery()
        here = (MOVE.c.project == project) & (MOVE.c.number <= until) & (MOVE.c.number < last)
        return at.execute(sa.delete(MOVE).where(here)).rowcount

    # --- deleting ---------------------------------------------------------------------------------

    def delete_members(self, at: sa.Connection, aids: Sequence[bytes]) -> None:
        """Delete persons or families, and what refers to them."""
        self.store.purge_later(at)
        superseded = (SUPERSEDED.c.old_aid, SUPERSEDED.c.new_aid)
        for column in (HALF.c.aid, *superseded, MOVE.c.old_aid, MOVE.c.new_aid, MEMBER.c.aid):
            self.store.delete_among(at, column, aids)
        query = sa.select(HALF.c.row_ref)
        refs = [row[0] for row in self.store.among(at, query, HALF.c.family, aids)]
        self.store.update(at, HALF, ["row_ref"], {"row_ref": refs, "family": [None] * len(refs)})

    def delete_urns(self, domain: int) -> int:
        """Delete all numbers of a domain, in batches."""
        gone = 0
        while True:
            with self.write() as at:
                self.store.purge_later(at)
                query = (
                    sa.select(URN.c.word).where(URN.c.domain == domain).order_by(URN.c.word).limit(AT_ONCE)
                )
                words = list(at.execute(query).scalars())
                some = URN.c.domain == domain
                if len(words) == AT_ONCE:
                    some &= URN.c.word <= words[-1]
                gone += at.execute(sa.delete(URN).where(some)).rowcount if words else 0
            if len(words) < AT_ONCE:
                return gone

    def delete_project(self, project: int) -> dict[str, int]:
        """Delete all that a project has but its row and its domains', in batches; counts by table."""
        counts = {"half": 0, "superseded": 0, "move": 0, "member": 0}
        with self.write() as at:
            self.store.purge_later(at)
            counts["half"] = at.execute(sa.delete(HALF).where(HALF.c.project == project)).rowcount
            query = sa.delete(SUPERSEDED).where(SUPERSEDED.c.project == project)
            counts["superseded"] = at.execute(query).rowcount
            counts["move"] = at.execute(sa.delete(MOVE).where(MOVE.c.project == project)).rowcount
            for table in (STRAY, REGISTER_RUN, EXCHANGE):
                at.execute(sa.delete(table).where(table.c.project == project))
        for aids in self.member_pages(project):
            with self.write() as at:
                counts["member"] += self.store.delete_among(at, MEMBER.c.aid, aids)
        return counts
