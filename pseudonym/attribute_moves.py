"""People who turn out to be one, or several: their rows go with them.

    broker ──(number, what, handle, old aid, new aid)──▶ follow

The rules this module keeps:

- A row is known by its handle, which the broker made and which says nothing of whose it is.
- What was followed is written down with what it changed, in one transaction: it is followed once.
- Rows without a handle, which a register sent for a reference number, go along only with a whole person. Of a
  person who was several nobody can say whose they are: they stay, and the register sends them again.
- Restrictions and objections go along, to each part.
- A row that goes to nobody is deleted: what was received under a number that is withheld must be dropped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import compress, groupby
from typing import NamedTuple

from pseudonym import attribute_subjects as subjects
from pseudonym import frames
from pseudonym.access import Access, Mandate
from pseudonym.attribute_subjects import STORE
from pseudonym.attributes_context import AttributeContext
from pseudonym.erasure import What as Erased
from pseudonym.errors import InputError
from pseudonym.seal import new_deks, seal_rows
from pseudonym.storage.rows import At, Project
from pseudonym.storage.rows_attributes import Head, Subject
from pseudonym.urn import ID_BYTES


class What(StrEnum):
    """What moved: as the broker says it."""

    ROW = "row"
    WHOLE = "whole"
    FAMILY = "family"


class Move(NamedTuple):
    """One row, all that is left of a person, or all that are in a family, and whom they go to."""

    what: What
    handle: bytes | None
    old: bytes | None
    new: bytes | None


class AttributeMoves:
    """How the attribute store follows what becomes of people."""

    def __init__(self, context: AttributeContext) -> None:
        self._context = context
        self._rows = context.rows

    def followed(self, project: str) -> int:
        """The number of the last move that a project has followed; 0 before the first."""
        with self._rows.read() as at:
            return self._rows.moved(at, self._rows.project(at, project).number)

    def follow(self, project: str, moves: frames.Table, mandate: Mandate) -> int:
        """Follow moves; purge what it deletes later. The same again does no harm.

        Args:
            project: its name.
            moves: `number`, `what`, and the binary columns `handle`, `old_aid` and `new_aid`, as the broker
                gives them, by number.
            mandate: who asks, and what for.

        Returns:
            How many rows went elsewhere or were deleted, and people to another family or to none.

        Raises:
            InputError: a column is missing or of another form.
            SealBrokenError: what the store says of a subject is not what was written.
        """
        frame = frames.table(moves)
        words = frames.words(frame, "what").to_list()
        if not set(words) <= set(What):
            raise InputError(f"What moved is one of {', '.join(What)}.", "Nothing was changed.")
        given = (frames.optional_ids(frame, name) for name in ("handle", "old_aid", "new_aid"))
        numbered = list(zip(frame["number"].to_list(), map(Move, map(What, words), *given), strict=True))
        self._context.audit(Access("move", project, mandate, len(numbered)))
        with self._context.ledger.lock, self._rows.write() as at:
            self._rows.alone(at)
            whose = self._rows.project(at, project)
            last = self._rows.moved(at, whose.number)
            due = [move for number, move in numbered if number > last]
            count = 0
            for families, some in groupby(due, lambda move: move.what is What.FAMILY):
                count += (self._families if families else self._follow)(at, whose, list(some))
            self._rows.set_moved(at, whose.number, max([last, *(number for number, _ in numbered)]))
        return count

    def assign(self, project: str, rows: Sequence[tuple[bytes, bytes]], mandate: Mandate) -> int:
        """Give rows, by their handles, to other people (aids); how many went elsewhere.

        Those of people whose data may not be used stay where they are.
        """
        self._context.audit(Access("move", project, mandate, len(rows)))
        with self._context.ledger.lock, self._rows.write() as at:
            self._rows.alone(at)
            whose = self._rows.project(at, project)
            staying = self._rows.handles_under(at, subjects.FROZEN, [handle for handle, _ in rows])
            moves = [Move(What.ROW, handle, None, aid) for handle, aid in rows if handle not in staying]
            return self._follow(at, whose, moves)

    def _follow(self, at: At, project: Project, moves: Sequence[Move]) -> int:
        handles = list({move.handle for move in moves if move.handle is not None})
        named = [aid for move in moves for aid in (move.old, move.new) if aid is not None]
        aids = list(dict.fromkeys([*self._rows.having(at, handles), *named]))
        gone = dict(zip(aids, self._context.ledger.erased(Erased.SUBJECT, aids), strict=True))
        found = self._rows.subjects(at, aids)
        known = {aid: one for aid, one in found.items() if one.project == project.number}
        sealed = self._rows.sealed_rows(at, list(known), None)
        deks, _ = subjects.checked(self._context.keks, list(known.values()), [head for head, _ in sealed])
        plan = _Plan(known, [head for head, _ in sealed])
        for move in moves:
            plan.follow(move._replace(new=None) if move.new is not None and gone[move.new] else move)
        leaving = [(head, ct) for head, ct in sealed if plan.place[head.row_id] != head.aid]
        going = [(head, ct) for head, ct in leaving if plan.place[head.row_id] is not None]
        payloads = subjects.opened(deks, going)
        self._rows.leave_releases(at, list({head.aid for head, _ in leaving}))
        # The rows of an earlier place go first: a subject cannot be deleted while it has some.
        self._rows.delete_rows(at, [head.row_id for head, _ in leaving])
        staying = {head.row_id for head, _ in sealed} - {head.row_id for head, _ in leaving}
        of: dict[bytes, list[Head]] = {aid: [] for aid in {*known, *plan.family}}
        for head, _ in sealed:
            if head.row_id in staying:
                of[head.aid].append(head)
        octets = os.urandom(ID_BYTES * len(going))
        new: list[Head] = []
        for number, (head, _) in enumerate(going):
            aid = plan.place[head.row_id]
            assert aid is not None, "those that go nowhere were left out"
            row_id = octets[ID_BYTES * number : ID_BYTES * (number + 1)]
            version = max((one.version for one in of[aid] if one.dataset == head.dataset), default=1)
            new.append(head._replace(aid=aid, row_id=row_id, version=version))
            of[aid].append(new[-1])
        self._put(at, project, plan, known, deks, of)
        cts = seal_rows(
            [deks[head.aid] for head in new],
            STORE,
            [head.aid for head in new],
            [head.row_id for head in new],
            [head.version for head in new],
            payloads,
        )
        self._rows.add_rows(at, new, cts)
        self._rows.delete_subjects(at, sorted(plan.left & known.keys()))
        return len(leaving)

    def _families(self, at: At, project: Project, moves: Sequence[Move]) -> int:
        named = [move.new for move in moves if move.new is not None]
        gone = set(compress(named, self._context.ledger.erased(Erased.SUBJECT, named)))
        into: dict[bytes | None, bytes | None] = {
            move.old: None if move.new in gone else move.new for move in moves if move.old is not None
        }
        if any(new in into for new in into.values()):  # one after the other
            return sum(self._families(at, project, [move]) for move in moves)
        olds = [old for old in into if old is not None]
        found = {one.aid: one for one in self._rows.in_families(at, project.number, olds)}
        deks, of = subjects.checked(
            self._context.keks, list(found.values()), self._rows.heads(at, list(found))
        )
        moved = [one._replace(family=into.get(one.family, one.family)) for one in found.values()]
        going = [head for heads in of.values() for head in heads if head.family in into]
        self._rows.put_families(at, [head._replace(family=into[head.family]) for head in going])
        now = {
            aid: [head._replace(family=into.get(head.family, head.family)) for head in heads]
            for aid, heads in of.items()
        }
        subjects.put_sealed(self._rows, at, moved, deks, now, found)
        return len(moved)

    def _put(
        self,
        at: At,
        project: Project,
        plan: _Plan,
        known: Mapping[bytes, Subject],
        deks: dict[bytes, bytes],
        of: Mapping[bytes, Sequence[Head]],
    ) -> None:
        """Write every subject that has changed, with a seal over what it has now."""
        fresh = sorted(aid for aid in plan.touched if aid not in known and of[aid])
        made = new_deks(len(fresh))
        deks.update(zip(fresh, made, strict=True))
        kek = self._context.keks.current
        wrapped = dict(zip(fresh, kek.wrap_all(made, fresh), strict=True))
        wanted = [
            Subject(
                aid,
                plan.family[aid],
                project.number,
                project.epoch,
                plan.flags[aid],
                b"",
                kek.kid,
                wrapped[aid],
            )
            for aid in fresh
        ]
        wanted += [
            one._replace(family=plan.family[aid], flags=plan.flags[aid])
            for aid, one in known.items()
            if aid in plan.touched and aid not in plan.left
        ]
        subjects.put_sealed(self._rows, at, wanted, deks, of, known)


class _Plan:
    """Where each row is after some moves, and what is then said of the people."""

    def __init__(self, known: Mapping[bytes, Subject], heads: Sequence[Head]) -> None:
        self.place: dict[bytes, bytes | None] = {head.row_id: head.aid for head in heads}
        self.family = {aid: one.family for aid, one in known.items()}
        self.flags = {aid: one.flags for aid, one in known.items()}
        self.touched: set[bytes] = set()
        self.left: set[bytes] = set()
        self._by_handle: dict[bytes, list[bytes]] = {}
        self._by_aid: dict[bytes, set[bytes]] = {}
        for head in heads:
            self._by_aid.setdefault(head.aid, set()).add(head.row_id)
            if head.handle is not None:
                self._by_handle.setdefault(head.handle, []).append(head.row_id)

    def follow(self, move: Move) -> None:
        if move.what is What.WHOLE:
            if move.old in self.family:
                self._go(move.old, move.new, set(self._by_aid.get(move.old, ())))
                self.left.add(move.old)
            return
        rows = self._by_handle.get(move.handle or b"", ())
        for old in {self.place[row] for row in rows} - {None, move.new}:
            assert old is not None
            self._go(old, move.new, {row for row in rows if self.place[row] == old})

    def _go(self, old: bytes, new: bytes | None, rows: set[bytes]) -> None:
        """Put rows of one person under another, or under nobody, with what is said of the person."""
        for row in rows:
            self.place[row] = new
        self._by_aid.setdefault(old, set()).difference_update(rows)
        self.touched.add(old)
        if new is not None:
            self._by_aid.setdefault(new, set()).update(rows)
            self.touched.add(new)
            self.left.discard(new)
            if self.family.get(new) is None:
                self.family[new] = self.family[old]
            self.flags[new] = self.flags.get(new, 0) | self.flags[old]
