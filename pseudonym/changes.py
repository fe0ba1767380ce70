"""Numbers that go on under others: persons merged or split, and recipients' epochs.

    identity ──(pid before, pid after; unit, pid now)──▶ follow ──▶ superseded: lists for recipients
                                                            ├─────▶ waiting halves, at once
                                                            └─────▶ moves ──(handle, aids)──▶ attributes

Identity decides who is superseded by whom, and of protected changes of identity (adoption, gender
reassignment, witness protection) says only that a number is withdrawn: those must never be bridged, and what
does not arrive here cannot be.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import polars as pl

from pseudonym import frames, issuing
from pseudonym.access import Access, Mandate
from pseudonym.broker_context import BrokerContext
from pseudonym.cover import cover
from pseudonym.erasure import What as Erased
from pseudonym.errors import InputError, KeyMissingError
from pseudonym.storage.rows import At, Project, ProjectState
from pseudonym.storage.rows_broker import Move
from pseudonym.urn import AidKey, Kind, UrnKey

NOWHERE: Final = b""
"""What stands for the new id where a number leads to none."""


class Change(StrEnum):
    """What became of a person or family."""

    MERGED = "merged"  # all of it goes on under another id
    SPLIT = "split"  # a part of it does
    WITHDRAWN = "withdrawn"  # what was received under it must be dropped, and nothing more is told
    CORRECTED = (
        "corrected"  # the id stays; what was received under it was wrong in part, and is to be had anew
    )


class What(StrEnum):
    """What moved."""

    ROW = "row"  # one row, to a person or to nobody
    WHOLE = "whole"  # all that is left of a person, to another or to nobody
    FAMILY = "family"  # all that are in a family, to another or to none


class Changes:
    """What the broker does when numbers change."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._rows = context.rows

    def follow(
        self, kind: Kind, changes: frames.Table, members: frames.Table, mandate: Mandate
    ) -> dict[str, int]:
        """Take from identity what became of persons or families. The same again does no harm.

        Args:
            kind: what the ids are of.
            changes: binary columns `before` and `after` (pids or fids; null: it leads nowhere), and `left`,
                "yes" where something still stands under `before`. One that was split stands there once for
                each part.
            members: binary columns `unit` (the id that identity keeps for a row) and `holder` (the pid that
                it is under now; null: nobody that may be told); of families it is not looked at.
            mandate: who asks, and what for.

        Returns:
            How many moves the attributes have to follow, by project; those without are left out.

        Raises:
            InputError: a column is missing or of another form, or an id supersedes itself. Nothing changed.
        """
        changed = _changes(frames.table(changes))
        table = frames.table(members)
        rows = list(zip(frames.ids(table, "unit"), frames.optional_ids(table, "holder"), strict=True))
        told = _told(kind, changed, rows if kind is Kind.PERSON else [])
        with self._rows.read() as at:
            projects = [one for one in self._rows.projects(at) if one.state is ProjectState.OPEN]
        counts = {}
        for project in projects:
            try:
                key = self._context.keys.aid_key(project.name)
            except KeyMissingError:
                continue  # destroyed in the keyset: nothing of it can be told any more
            if count := self._follow(project, key, told, mandate):
                counts[project.name] = count
        return counts

    def _follow(self, project: Project, key: AidKey, told: _Told, mandate: Mandate) -> int:
        """What `follow` does for one project, in which most of the people need not be."""
        aid = dict(zip(told.ids, key.aids(project.epoch, told.kind, told.ids), strict=True))
        units = [unit for unit, _ in told.members]
        handle = dict(zip(units, key.handles(project.epoch, units), strict=True))
        ledger = self._context.ledger
        with ledger.lock, self._rows.write() as at:
            self._rows.project(at, project.name)
            here = set(self._rows.members(at, list(aid.values())))
            # Who came out of somebody here is here from now on, and nobody else.
            onward = {after for before, after, _ in told.changes if aid[before] in here and after is not None}
            erased = ledger.erased(Erased.SUBJECT, [aid[pid] for pid in sorted(onward)])
            gone = {pid for pid, one in zip(sorted(onward), erased, strict=True) if one}
            new = [pid for pid in sorted(onward - gone) if aid[pid] not in here]
            living = {pid: one for pid, one in aid.items() if one in here} | {pid: aid[pid] for pid in new}
            listed = [
                (aid[before], living.get(after or b"", NOWHERE), change)
                for before, after, change in told.changes
                if aid[before] in here
            ]
            moves = [
                # A row of somebody who was erased goes to nobody, and does not stay with who had it before.
                Move(What.ROW.value, handle[unit], None, living.get(pid or b""))
                for unit, pid in told.members
                if pid is None or pid in living or pid in gone
            ]
            whole = What.WHOLE if told.kind is Kind.PERSON else What.FAMILY
            moves += [
                Move(whole.value, None, aid[before], living.get(after or b""))
                for before, after in told.whole
                if aid[before] in here
            ]
            if not listed:
                return 0
            self._context.audit(Access("follow", project.name, mandate, len(listed), (told.kind,)))
            covers = cover(key, new)
            self._rows.add_members(at, project.number, told.kind, [aid[pid] for pid in new], covers)
            self._rows.add_superseded(
                at,
                project.number,
                told.kind,
                [old for old, _, _ in listed],
                [into for _, into, _ in listed],
                [change for _, _, change in listed],
            )
            self._redirect(at, project.number, moves)
            self._rows.add_moves(at, project.number, moves)
        return len(moves)

    def _redirect(self, at: At, project: int, moves: Sequence[Move]) -> None:
        """Halves that wait go where their rows would have gone."""
        rows = {move.handle: move.new_aid for move in moves if move.what == What.ROW}
        whole = {move.old_aid: move.new_aid for move in moves if move.what == What.WHOLE}
        families = {move.old_aid: move.new_aid for move in moves if move.what == What.FAMILY}
        handles = [one for one in rows if one is not None]
        aids = [one for one in (*whole, *families) if one is not None]
        changed, dropped = [], []
        for half in self._rows.halves_of(at, project, aids, handles):
            aid = rows.get(half.handle, half.aid) if half.handle is not None else half.aid
            aid = whole.get(aid, aid)
            family = families.get(half.family, half.family)
            if aid is None:
                dropped.append(half.row_ref)
            elif (aid, family) != (half.aid, half.family):
                changed.append(half._replace(aid=aid, family=family))
        self._rows.redirect(at, changed)
        self._rows.forget(at, project, dropped)

    def moves(self, project: str, after: int, limit: int) -> pl.DataFrame:
        """What moved in a project and was not followed yet; what is not listed any more is forgotten.

        Args:
            project: its name.
            after: the number of the last move that the attributes role has followed; 0 before the first.
            limit: the most rows.

        Returns:
            Columns `number`, `what` (of `What`), `handle`, `old_aid` and `new_aid` (binary), by number.
        """
        with self._rows.write() as at:
            found = self._rows.project(at, project)
            self._rows.forget_moves(at, found.number, after)
            moves = self._rows.moves(at, found.number, after, limit)
        numbers = pl.Series("number", [number for number, _ in moves], pl.Int64)
        ids = {name: [getattr(move, name) for _, move in moves] for name in Move._fields[1:]}
        words = pl.Series("what", [move.what for _, move in moves], pl.String)
        return pl.DataFrame([numbers, words]).hstack(frames.columns(**ids))

    def onward(self, project: str, aids: frames.Table) -> pl.DataFrame:
        """Under which aids (column `aid`, null where there is none) those go on who were merged with others.

        Returns:
            A binary column `aid`, as many rows in the same order.
        """
        given = frames.optional_ids(frames.table(aids), "aid")
        now = {aid: aid for aid in given if aid is not None}
        with self._rows.read() as at:
            number = self._rows.project(at, project).number
            for _ in now:  # a chain is no longer than that, and nothing goes round in circles
                into = self._rows.merged_into(at, number, list(set(now.values())))
                if not into:
                    break
                now = {aid: into.get(end, end) for aid, end in now.items()}
        return frames.columns(aid=[now[aid] if aid is not None else None for aid in given])

    def superseded(
        self, project: str, recipient: str, kind: Kind, mandate: Mandate, since_day: int = 0
    ) -> pl.DataFrame:
        """The list for a recipient: which of its numbers go on under which.

        Persons without a number for the recipient are not on it; those who go on get one if they had none.

        Returns:
            Columns `old`, `new` (numbers; empty where the old one leads nowhere), `change` and `day` (since
            1970), by day.
        """
        found, domain, key = self._context.domain(project, recipient)
        with self._rows.read() as at:
            pairs = self._rows.superseded(at, found.number, kind, since_day)
            aids = list(dict.fromkeys(pair[0] for pair in pairs))
            words = issuing.issued(self._rows, at, domain.number, key, kind, aids)
        had = {aid: word for aid, word in zip(aids, words, strict=True) if word is not None}
        known = [pair for pair in pairs if pair[0] in had]
        self._context.audit(Access("superseded", project, mandate, len(known), (recipient, kind)))
        later = list(dict.fromkeys(pair[1] for pair in known if pair[1] != NOWHERE))
        with self._context.living(later) as living, self._rows.write() as at:
            # One that was itself erased or never sent gets no number.
            members = self._rows.members(at, living)
            later = [aid for aid in living if aid in members]
            now = dict(
                zip(later, issuing.issue(self._rows, at, domain.number, key, kind, later), strict=True)
            )
        now[NOWHERE] = ""
        rows = [(had[old], now[new], change, day) for old, new, change, day in known if new in now]
        schema = {"old": pl.String, "new": pl.String, "change": pl.String, "day": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def renewed(
        self, project: str, recipient: str, old_epoch: int, mandate: Mandate
    ) -> Iterator[pl.DataFrame]:
        """The numbers of an earlier epoch beside those of the present one, some at a time.

        The list bridges two epochs that are otherwise unrelated: seal it for the recipient (`sealed`), who
        may go without it, and destroy the old epoch (`BrokerErasure.destroy_domain`) afterwards.

        Returns:
            Columns `old` and `new`, in no order that says anything.

        Raises:
            KeyMissingError: the key of either epoch was destroyed.
        """
        found, present, key = self._context.domain(project, recipient)
        with self._rows.read() as at:
            before = self._rows.domain(at, found.number, recipient, old_epoch)
        if before.number == present.number:
            raise InputError("This is the recipient's present epoch.", "Open the next one first.")
        old_key = self._context.keys.urn_key(project, recipient, old_epoch)
        self._context.audit(Access("renew", project, mandate, 1, (recipient, str(old_epoch))))
        return self._renewed(before.number, present.number, old_key, key)

    def _renewed(self, before: int, present: int, old_key: UrnKey, key: UrnKey) -> Iterator[pl.DataFrame]:
        last = ""
        while True:
            # Locked before it is read: who is on the page is erased before it, or after all of it.
            with self._context.ledger.lock, self._rows.write() as at:
                page = self._rows.urn_page(at, before, last)
                aids = issuing.opened(old_key, page)
                with self._context.living(list(aids.values())) as living:
                    here = set(living)
                pairs: dict[str, str] = {}
                for kind in Kind:
                    some = [word for word, aid in aids.items() if word[0] == kind.tag and aid in here]
                    made = issuing.issue(self._rows, at, present, key, kind, [aids[word] for word in some])
                    pairs |= dict(zip(some, made, strict=True))
            if not page:
                return
            yield pl.DataFrame({"old": list(pairs), "new": list(pairs.values())})
            last = page[-1][0]


@dataclass(frozen=True)
class _Told:
    """What identity told: pairs with what became of them, and rows with whose they are now."""

    kind: Kind
    changes: Sequence[tuple[bytes, bytes | None, str]]
    members: Sequence[tuple[bytes, bytes | None]]
    ids: Sequence[bytes] = ()
    whole: Sequence[tuple[bytes, bytes | None]] = ()


def _told(
    kind: Kind,
    pairs: Sequence[tuple[bytes, bytes | None, bool]],
    members: Sequence[tuple[bytes, bytes | None]],
) -> _Told:
    parts = Counter(before for before, _, _ in pairs)
    changes, whole = [], []
    for before, after, left in pairs:
        single = not left and parts[before] == 1
        if single:
            whole.append((before, after))
        change = Change.WITHDRAWN if after is None else Change.MERGED if single else Change.SPLIT
        changes.append((before, after, change.value))
    ids = {one for pair in changes for one in pair[:2] if one is not None}
    ids |= {pid for _, pid in members if pid is not None}
    return _Told(kind, changes, members, sorted(ids), whole)


def _changes(frame: pl.DataFrame) -> list[tuple[bytes, bytes | None, bool]]:
    before, after = frames.ids(frame, "before"), frames.optional_ids(frame, "after")
    left = (frames.words(frame, "left") == "yes").to_list()
    if any(old == new for old, new in zip(before, after, strict=True)):
        raise InputError("A person cannot be superseded by itself.", "Nothing was changed.")
    return list(zip(before, after, left, strict=True))


def sealed(
    lists: Iterator[pl.DataFrame], seal: Callable[[int, bool, bytes], bytes]
) -> Iterator[tuple[int, bool, bytes]]:
    """Lists for a recipient as Arrow IPC streams, each sealed with the recipient's public key.

    Args:
        lists: columns `old` and `new`.
        seal: seals a part, given its number from 1, whether it is the last, and its bytes.

    Returns:
        Number, whether it is the last, and what was sealed; one part where there is no number at all.
    """
    part, number = next(lists, None), 1
    if part is None:
        part = pl.DataFrame(schema={"old": pl.String, "new": pl.String})
    while part is not None:
        following = next(lists, None)
        buffer = io.BytesIO()
        part.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
        yield number, following is None, seal(number, following is None, buffer.getvalue())
        part, number = following, number + 1


def renewal_context(
    project: str, recipient: str, epochs: tuple[int, int], number: int, last: bool
) -> tuple[bytes | str, ...]:
    """What a part of the list from one epoch to another is sealed for (`pseudonym.hpke`)."""
    return (
        "urns-renewed/1",
        project,
        recipient,
        bytes(epochs),
        number.to_bytes(4, "big"),
        bytes([last]),
    )
