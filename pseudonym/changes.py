"""Numbers that go on under others: persons merged or split, and recipients' epochs.

    identity ──(unit, pid before, pid after)──▶ follow ──▶ superseded: lists for recipients
                                                   └─────▶ waiting halves, at once
                                                   └─────▶ moves ──(handle, aids)──▶ attributes

Identity decides who is superseded by whom, and of protected changes of identity (adoption, gender
reassignment, witness protection) says only that a number is withheld: those must never be bridged, and what
does not arrive here cannot be.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
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

CHANGES: Final = ("merged", "split", "ended", "withheld")
"""What may become of a person or family: all of it goes on under another id; a part of it does; nothing of it
is left; or what was received under it must be dropped, and nothing more is told."""
NOWHERE: Final = b""
"""What stands for the new id where a number leads to none."""


class What(StrEnum):
    """What moved."""

    ROW = "row"  # one row, from a person to another or to nobody
    WHOLE = "whole"  # all that is left of a person, to another or to nobody
    FAMILY = "family"  # the person of one row, to another family or to none


class Changes:
    """What the broker does when numbers change."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._rows = context.rows

    def follow(self, moves: frames.Table, changes: frames.Table, mandate: Mandate) -> int:
        """Take from identity who moved, for all projects that are open. The same again does no harm.

        Args:
            moves: `what` (of `What`), and the binary columns `unit` (the row's id at identity; null for a
                whole person), `before` (a pid) and `after` (a pid, or for a family a fid; null: nobody, or
                none), in the order in which they are to be followed.
            changes: `kind` (person or family), the binary columns `before` and `after` (pids or fids), and
                `change` (of `CHANGES`); `after` is null for `ended` and `withheld`.
            mandate: who asks, and what for.

        Returns:
            How many moves the projects' attributes have to follow.

        Raises:
            InputError: a column is missing or of another form, or an id supersedes itself. Nothing changed.
        """
        moved, changed = _moves(frames.table(moves)), _changes(frames.table(changes))
        with self._rows.read() as at:
            projects = [one for one in self._rows.projects(at) if one.state is ProjectState.OPEN]
        total = 0
        for project in projects:
            try:
                key = self._context.keys.aid_key(project.name)
            except KeyMissingError:
                continue  # destroyed in the keyset: nothing of it can be told any more
            total += self._follow(project, key, moved, changed, mandate)
        return total

    def _follow(
        self,
        project: Project,
        key: AidKey,
        moves: Sequence[tuple[What, bytes | None, bytes, bytes | None]],
        changes: Sequence[tuple[Kind, bytes, bytes | None, str]],
        mandate: Mandate,
    ) -> int:
        """What `follow` does for one project, in which most of the people need not be."""
        pids: dict[Kind, set[bytes]] = {kind: set() for kind in Kind}
        for what, _, before, after in moves:
            pids[Kind.PERSON].add(before)
            if after is not None:
                pids[Kind.FAMILY if what is What.FAMILY else Kind.PERSON].add(after)
        for kind, before, after, _ in changes:
            pids[kind] |= {before} if after is None else {before, after}
        aids: dict[Kind, dict[bytes, bytes]] = {}
        for kind, ids in pids.items():
            given = sorted(ids)
            aids[kind] = dict(zip(given, key.aids(project.epoch, kind, given), strict=True))
        units = sorted({unit for _, unit, _, _ in moves if unit is not None})
        handles = dict(zip(units, key.handles(project.epoch, units), strict=True))
        ledger = self._context.ledger
        every = [aid for mapped in aids.values() for aid in mapped.values()]
        with ledger.lock, self._rows.write() as at:
            self._rows.project(at, project.name)
            here = set(self._rows.members(at, every))
            gone = {aid for aid, one in zip(every, ledger.erased(Erased.SUBJECT, every), strict=True) if one}
            told = [
                Move(
                    what.value,
                    handles[unit] if unit is not None else None,
                    aids[Kind.PERSON][before],
                    _living(aids[Kind.FAMILY if what is What.FAMILY else Kind.PERSON], after, gone),
                )
                for what, unit, before, after in moves
                if aids[Kind.PERSON][before] in here
            ]
            listed = [
                (kind, aids[kind][before], _living(aids[kind], after, gone) or NOWHERE, change)
                for kind, before, after, change in changes
                if aids[kind][before] in here
            ]
            if not told and not listed:
                return 0
            self._context.audit(Access("follow", project.name, mandate, len(told)))
            wanted = {move.new_aid for move in told} | {new for _, _, new, _ in listed}
            for kind in Kind:
                fresh = [(pid, aid) for pid, aid in aids[kind].items() if aid in wanted and aid not in here]
                covers = cover(key, [pid for pid, _ in fresh])
                self._rows.add_members(at, project.number, kind, [aid for _, aid in fresh], covers)
                some = [row for row in listed if row[0] is kind]
                self._rows.add_superseded(
                    at,
                    project.number,
                    kind,
                    [old for _, old, _, _ in some],
                    [new for _, _, new, _ in some],
                    [change for _, _, _, change in some],
                )
            self._redirect(at, project.number, told)
            self._rows.add_moves(at, project.number, told)
        return len(told)

    def _redirect(self, at: At, project: int, moves: Sequence[Move]) -> None:
        """Halves that wait go where their rows would have gone."""
        aids = list({move.old_aid for move in moves if move.what == What.WHOLE})
        handles = list({move.handle for move in moves if move.handle is not None})
        waiting = {half.row_ref: half for half in self._rows.halves_of(at, project, aids, handles)}
        given = dict(waiting)
        by_handle = {half.handle: ref for ref, half in given.items() if half.handle is not None}
        by_aid: dict[bytes, set[bytes]] = {}
        for ref, half in given.items():
            by_aid.setdefault(half.aid, set()).add(ref)
        for move in moves:
            known = by_handle.get(move.handle or b"")
            refs = {known} if known is not None else set()
            if move.what == What.WHOLE:
                refs = set(by_aid.get(move.old_aid, ()))
            for one in refs & waiting.keys():
                half = waiting[one]
                if half.aid != move.old_aid:
                    continue
                if move.what == What.FAMILY:
                    waiting[one] = half._replace(family=move.new_aid)
                elif move.new_aid is None:
                    del waiting[one]
                else:
                    waiting[one] = half._replace(aid=move.new_aid)
                    by_aid.setdefault(move.new_aid, set()).add(one)
        self._rows.redirect(at, [half for ref, half in waiting.items() if half != given[ref]])
        self._rows.forget(at, project, sorted(given.keys() - waiting.keys()))

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
        with self._rows.write() as at:
            # One that was itself erased or never sent gets no number.
            members = self._rows.members(at, later)
            later = [aid for aid in later if aid in members]
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
            with self._rows.write() as at:
                page = self._rows.urn_page(at, before, last)
                aids = issuing.opened(old_key, page)
                pairs: dict[str, str] = {}
                for kind in Kind:
                    some = [word for word in aids if word[0] == kind.tag]
                    made = issuing.issue(self._rows, at, present, key, kind, [aids[word] for word in some])
                    pairs |= dict(zip(some, made, strict=True))
            if not page:
                return
            yield pl.DataFrame({"old": list(pairs), "new": list(pairs.values())})
            last = page[-1][0]


def _moves(frame: pl.DataFrame) -> list[tuple[What, bytes | None, bytes, bytes | None]]:
    words = frames.words(frame, "what").to_list()
    if not set(words) <= set(What):
        raise InputError(f"What moved is one of {', '.join(What)}.", "Nothing was changed.")
    units, before = frames.optional_ids(frame, "unit"), frames.ids(frame, "before")
    found = list(zip(map(What, words), units, before, frames.optional_ids(frame, "after"), strict=True))
    if any((unit is None) != (what is What.WHOLE) for what, unit, _, _ in found):
        raise InputError("A row has a unit, and a whole person has none.", "Nothing was changed.")
    return found


def _changes(frame: pl.DataFrame) -> list[tuple[Kind, bytes, bytes | None, str]]:
    kinds, words = frames.words(frame, "kind").to_list(), frames.words(frame, "change").to_list()
    if not set(kinds) <= set(Kind) or not set(words) <= set(CHANGES):
        raise InputError(
            f"A change is one of {', '.join(CHANGES)}, of a person or family.", "Nothing was changed."
        )
    before, after = frames.ids(frame, "before"), frames.optional_ids(frame, "after")
    found = list(zip(map(Kind, kinds), before, after, words, strict=True))
    if any(old == new for _, old, new, _ in found):
        raise InputError("A person cannot be superseded by itself.", "Nothing was changed.")
    if any((new is None) != (word in ("ended", "withheld")) for _, _, new, word in found):
        raise InputError("A number that ended or is withheld leads nowhere.", "Nothing was changed.")
    return found


def _living(aids: Mapping[bytes, bytes], pid: bytes | None, gone: set[bytes]) -> bytes | None:
    """The aid that something goes to; None where there is nobody, or where they were erased."""
    aid = None if pid is None else aids[pid]
    return None if aid in gone else aid


def sealed(lists: Iterator[pl.DataFrame], seal: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Lists for a recipient as Arrow IPC streams, each sealed with the recipient's public key."""
    for one in lists:
        buffer = io.BytesIO()
        one.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
        yield seal(buffer.getvalue())
