"""The broker: from a person's random id to an attribute id, and from there to each recipient's number.

The rules this module keeps:

- It sees random ids, keyed hashes of them, labels of projects and recipients, counters and dates. No name, no
  identifier, no attribute ever passes through here.
- A row_ref is forgotten once the attributes role has acknowledged it, and after seven days at the latest.
- The same person has one number for a recipient and epoch; two recipients' numbers are unrelated.
- What leads back (aid to pid, number to aid) lies covered, dies with its key, and is apart:
  `pseudonym.tracing`.
- Nothing is served before the ledger of erasures has been followed.

    identity ──(row_ref, pid, fid)──▶ take ──▶ outgoing ──(row_ref, aid, family aid)──▶ attributes
                                                  ◀── acknowledge
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Self

import polars as pl

from pseudonym import frames, issuing
from pseudonym.access import Access, Audit, Mandate
from pseudonym.broker_context import BrokerContext, Keys, check_members
from pseudonym.broker_erasure import BrokerErasure
from pseudonym.broker_registers import BrokerRegisters
from pseudonym.broker_rights import BrokerRights
from pseudonym.changes import Changes
from pseudonym.cover import cover
from pseudonym.erasure import Ledger, What, check_not_ended, replay
from pseudonym.holders import PrfKey
from pseudonym.storage import Store
from pseudonym.storage.rows import AT_ONCE
from pseudonym.storage.rows_broker import BrokerRows, Half
from pseudonym.tracing import Tracing
from pseudonym.urn import AidKey, Kind, check_epoch, check_label, enc

KEEP_HALVES = 7 * 86_400
"""Seconds for which a row_ref waits for its other half."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch from identity: rows kept (or kept before), and rows of people erased before."""

    rows: int
    erased: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Halves of a project without their other half, and since when the oldest waits (seconds, UTC)."""

    project: str
    halves: int
    oldest: int


class Broker:
    """The broker role's operations on its store. Use `Broker.open`; methods may be called from any thread."""

    def __init__(self, context: BrokerContext) -> None:
        """Not to be called: use `Broker.open`."""
        self._context = context
        self._rows = context.rows
        self._keys = context.keys
        self._audit = context.audit
        self.erasure = BrokerErasure(context)
        self.changes = Changes(context)
        self.registers = BrokerRegisters(context)
        self.rights = BrokerRights(context, self.erasure)
        self.tracing = Tracing(context)

    @classmethod
    def open(cls, store: Store, ledger: Ledger, keys: Keys, audit: Audit) -> Self:
        """Follow the ledger of erasures to its end, then serve.

        Args:
            store: opened for the broker role.
            ledger: the broker's.
            keys: the broker's.
            audit: called, and durable, before anything is given out.

        Raises:
            LedgerError: the ledger is older than the store, or another one's.
        """
        broker = cls(BrokerContext(BrokerRows(store), ledger, keys, audit))
        replay(ledger, broker.erasure)
        return broker

    # --- intake -----------------------------------------------------------------------------------

    def begin_project(self, project: str, epoch: int = 1) -> None:
        """Begin a project, of which the keyset has the key. To be done twice does no harm.

        Raises:
            KeyMissingError: it has no key, or its key was destroyed.
            EndedError, ConflictError: there was one, or it has another epoch.
        """
        check_epoch(epoch)
        check_not_ended(self._context.ledger, check_label(project, "project"))
        self._keys.aid_key(project)
        with self._rows.write() as at:
            self._rows.begin_project(at, project, epoch)

    def take(self, project: str, batch: frames.Table) -> Taken:
        """Take from identity which row is whose. The same again does no harm.

        Args:
            project: its name.
            batch: binary columns `row_ref`, `pid` (null: the row is nobody's, and the attributes role is told
                to drop what it has of it) and, where they are known (null where not), `fid` and `unit`, the
                id that identity keeps for the row.

        Raises:
            ConflictError: a row_ref was sent before for somebody else. Nothing was kept.
            InputError: a column is missing or of another form.
        """
        whole = frames.table(batch)
        frames.ids(whole, "row_ref", distinct=True)
        frames.nullable_ids(whole, "pid")
        strays = frames.ids(whole.filter(pl.col("pid").is_null()), "row_ref")
        frame = whole.drop_nulls("pid")
        refs = frames.ids(frame, "row_ref")
        pids, fids = frames.ids(frame, "pid"), frames.optional_ids(frame, "fid")
        units = frames.optional_ids(frame, "unit")
        with self._rows.read() as at:
            found = self._rows.project(at, project)
        key = self._keys.aid_key(project)
        persons = _mapped(key, found.epoch, Kind.PERSON, pids)
        families = _mapped(key, found.epoch, Kind.FAMILY, [fid for fid in fids if fid is not None])
        aids = [*persons.values(), *families.values()]
        known = [unit for unit in units if unit is not None]
        handles = dict(zip(known, key.handles(found.epoch, known), strict=True))
        ledger = self._context.ledger
        with ledger.lock, self._rows.write() as at:  # nobody is erased between the look and the keeping
            gone = set(compress(aids, ledger.erased(What.SUBJECT, aids)))
            kept = [place for place, pid in enumerate(pids) if persons[pid] not in gone]
            self._rows.project(at, project)
            for kind, mapped in ((Kind.PERSON, persons), (Kind.FAMILY, families)):
                here = [(pid, aid) for pid, aid in mapped.items() if aid not in gone]
                covers = cover(key, [pid for pid, _ in here])
                self._rows.add_members(at, found.number, kind, [aid for _, aid in here], covers)
            self._rows.add_halves(
                at,
                found.number,
                [refs[place] for place in kept],
                [persons[pids[place]] for place in kept],
                [_family(families, fids[place], gone) for place in kept],
                [handles.get(unit) if (unit := units[place]) is not None else None for place in kept],
            )
            if strays:
                self.registers.add_strays(at, found.number, strays)
        return Taken(len(kept), len(pids) - len(kept))

    def outgoing(self, project: str, after: bytes = b"", limit: int = AT_ONCE) -> pl.DataFrame:
        """What the attributes role has not acknowledged yet, by row_ref.

        Args:
            project: its name.
            after: the last row_ref of the page before.
            limit: the most rows.

        Returns:
            Binary columns `row_ref`, `aid`, `family` (null: no family known) and `handle` (null: none).
        """
        with self._rows.read() as at:
            found = self._rows.halves(at, self._rows.project(at, project).number, after, limit)
        return frames.columns(**{name: [getattr(half, name) for half in found] for name in Half._fields})

    def acknowledge(self, project: str, refs: frames.Table, run: int | None = None) -> int:
        """Forget the row_refs (column `row_ref`) that the attributes role has; how many were still known.

        Args:
            project: its name.
            refs: a binary column `row_ref`.
            run: which run of a register said it of them (None: none did); what another one says stays.
        """
        given = frames.ids(frames.table(refs), "row_ref")
        with self._rows.write() as at:
            return self._rows.forget(at, self._rows.project(at, project).number, given, run)

    def scatter(self) -> int:
        """Put what came in into an order that tells nothing of when it came; how many tables were rewritten.

        To be called every day, when little is done: it locks tables for a while.
        """
        return self._rows.scatter()

    def waiting(self) -> list[Waiting]:
        """The halves that wait for their other half, by project."""
        with self._rows.read() as at:
            names = {project.number: project.name for project in self._rows.projects(at)}
            found = self._rows.waiting(at)
        return [Waiting(names[number], halves, oldest) for number, halves, oldest in found]

    def known(self) -> set[str]:
        """The names of all projects that were begun here, those that have ended among them."""
        with self._rows.read() as at:
            return {one.name for one in self._rows.projects(at)}

    def drop_overdue(self) -> dict[str, int]:
        """Drop halves that have waited for seven days; how many, by project. To be called every day."""
        with self._rows.write() as at:
            names = {project.number: project.name for project in self._rows.projects(at)}
            before = self._rows.store.now() - KEEP_HALVES + 1
            self.registers.reopen(at, before)
            dropped = self._rows.drop_halves(at, before)
            if dropped:
                self._rows.store.purge_later(at)
        self._rows.store.purge_if_due()
        return {names[number]: halves for number, halves in dropped}

    # --- numbers ----------------------------------------------------------------------------------

    def open_domain(self, project: str, recipient: str, epoch: int = 1) -> None:
        """Open a recipient's epoch, of which the keyset has the key; the one before is retired.

        Raises:
            KeyMissingError: it has no key, or its key was destroyed.
            ConflictError: the recipient has a later epoch.
        """
        self._keys.urn_key(project, check_label(recipient, "recipient"), check_epoch(epoch))
        with self._rows.write() as at:
            self._rows.add_domain(at, self._rows.project(at, project).number, recipient, epoch)

    def issue(
        self, project: str, recipient: str, kind: Kind, aids: frames.Table, mandate: Mandate
    ) -> pl.DataFrame:
        """Give persons or families their numbers for a recipient, in its present epoch.

        Args:
            project: its name.
            recipient: its name.
            kind: what the aids are of.
            aids: a binary column `aid`; rows may repeat.
            mandate: who asks, and what for.

        Returns:
            Columns `aid` and `urn`, as many rows in the same order.

        Raises:
            NotFoundError: an aid is none of the project's, of another kind, or erased; or there is no such
                recipient.
            KeyMissingError: the recipient's key was destroyed.
        """
        given = frames.ids(frames.table(aids), "aid")
        unique = list(dict.fromkeys(given))
        found, domain, key = self._context.domain(project, recipient)
        self._audit(Access("issue", project, mandate, len(unique), (recipient, str(domain.epoch), kind)))
        words: list[str] = []
        for first in range(0, len(unique), AT_ONCE):
            some = unique[first : first + AT_ONCE]
            with self._context.living(some) as living, self._rows.write() as at:
                check_members(self._rows.members(at, living), some, found, kind)
                words += issuing.issue(self._rows, at, domain.number, key, kind, some)
        mapped = dict(zip(unique, words, strict=True))
        return frames.columns(aid=given).with_columns(
            pl.Series("urn", [mapped[aid] for aid in given], dtype=pl.String)
        )

    def record_keys(self, project: str, aids: frames.Table, key: PrfKey, mandate: Mandate) -> bytes:
        """The record keys of a project's persons or families, for cell-key perturbation of counts.

        Args:
            project: its name.
            aids: a binary column `aid`; rows may repeat.
            key: the project's cell key.
            mandate: who asks, and what for.

        Returns:
            A byte for each, in the same order: the first of PRF(key, "ckp/1", project, aid).

        Raises:
            NotFoundError, EndedError: there is no such project, or it has ended.
        """
        given = frames.ids(frames.table(aids), "aid")
        with self._rows.read() as at:
            self._rows.project(at, project)
        self._audit(Access("record-keys", project, mandate, len(given)))
        return bytes(one[0] for one in key.digests([enc("ckp/1", project, aid) for aid in given]))

    def members(self, project: str, kind: Kind) -> Iterator[pl.DataFrame]:
        """All aids of a project's persons or families, some at a time (column `aid`)."""
        with self._rows.read() as at:
            found = self._rows.project(at, project)
        for page in self._rows.member_pages(found.number, kind):
            yield frames.columns(aid=page)


def _mapped(key: AidKey, epoch: int, kind: Kind, pids: Sequence[bytes]) -> dict[bytes, bytes]:
    unique = list(dict.fromkeys(pids))
    return dict(zip(unique, key.aids(epoch, kind, unique), strict=True))


def _family(families: dict[bytes, bytes], fid: bytes | None, gone: set[bytes]) -> bytes | None:
    aid = families[fid] if fid is not None else None
    return None if aid in gone else aid
