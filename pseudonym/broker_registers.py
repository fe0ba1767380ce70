"""What registers were linked to, on its way through the broker.

    identity ──(row_ref, unit, pid; pid, outcome)──▶ take ──▶ waiting ──(row_ref, aid, handle; outcome)──▶
    attributes ──(row_refs)──▶ forgotten

The rules this module keeps:

- A register makes nobody known: only who is in the project already gets a row or an outcome. All other rows
  are nobody's, and the attributes role is told to drop what it has of them.
- What is said of a register takes the place of what an earlier run said. Each telling is a run of its own, so
  that one which broke off is told again from its start.
- A row_ref is forgotten once the attributes role has acknowledged it, and after seven days at the latest; an
  outcome with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from pseudonym import frames
from pseudonym.access import Access, Mandate
from pseudonym.broker_context import BrokerContext
from pseudonym.erasure import What
from pseudonym.errors import ConflictError, InputError
from pseudonym.issuing import issue
from pseudonym.storage.rows import AT_ONCE, At, Project, ProjectState
from pseudonym.storage.rows_registers import Linked, RegisterRows, RunState
from pseudonym.urn import AidKey, Kind, check_label

_OUTCOME: Final = re.compile(r"[A-Z_]{1,32} [A-Za-z0-9+._-]{1,32} [A-Za-z0-9+._-]{1,32}")
"""Outcome, stage and band, as codes; a hyphen for none."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a part of a run: rows of people, rows of nobody, and people with an outcome."""

    rows: int
    strays: int
    persons: int


class BrokerRegisters:
    """What the broker does with registers that were linked."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._rows = context.rows
        self._registers = RegisterRows(context.rows)

    def take(
        self,
        project: str,
        register: str,
        run: bytes,
        rows: frames.Table,
        persons: frames.Table,
        *,
        last: bool,
        opt_out: tuple[str, int] | None = None,
    ) -> Told:
        """Take a part of what a run linked. The same again does no harm.

        Args:
            project: its name.
            register: its code.
            run: 16 bytes that the telling is known by; a new one takes the place of all before.
            rows: binary columns `row_ref`, `unit`, `pid` and `fid`; where `pid` is null, the row is nobody's.
            persons: binary columns `row_ref` and `unit`, made for the person and the register, `pid` and
                `fid`; and `outcome`, text.
            last: whether this is the run's last part.
            opt_out: under what it was linked, and until when that holds (seconds since 1970; 0: for good),
                where the National Data Opt-out concerns it.

        Raises:
            ConflictError: a later run has taken over, or a row_ref is none of the register's.
            InputError: a column is missing or of another form.
        """
        check_label(register, "register")
        given, said = frames.table(rows), frames.table(persons)
        outcomes = frames.words(said, "outcome").to_list()
        if not all(text is not None and _OUTCOME.fullmatch(text) for text in outcomes):
            raise InputError("An outcome is none of three codes.", "Nothing was kept.")
        if frames.optional_ids(said, "pid").count(None):
            raise InputError("An outcome is nobody's.", "Nothing was kept.")
        both = pl.concat(
            [
                given.select("row_ref", "unit", "pid", "fid", outcome=pl.lit(None, pl.String)),
                said.select("row_ref", "unit", "pid", "fid", "outcome"),
            ]
        )
        refs, units = frames.ids(both, "row_ref", distinct=True), frames.ids(both, "unit")
        with self._rows.read() as at:
            found = self._rows.project(at, project)
        key = self._context.keys.aid_key(project)
        pids, fids = (_filled(both[name]) for name in ("pid", "fid"))
        persons_of, families_of = (
            _mapped(key, found.epoch, *of) for of in ((Kind.PERSON, pids), (Kind.FAMILY, fids))
        )
        handles = key.handles(found.epoch, units)
        with self._context.ledger.lock, self._rows.write() as at:
            self._rows.project(at, project)
            here = self._here(at, found, [*persons_of.values(), *families_of.values()])
            telling = self._registers.begin(at, found.number, register, run)
            linked, strays = [], []
            for ref, handle, pid, fid, outcome in zip(
                refs, handles, pids, fids, both["outcome"].to_list(), strict=True
            ):
                aid = persons_of.get(pid) if pid is not None else None
                if aid is not None and aid in here:
                    family = families_of.get(fid) if fid is not None else None
                    linked.append(Linked(ref, aid, family if family in here else None, handle, outcome))
                elif outcome is None:
                    strays.append(ref)
            self._registers.put(at, found.number, telling, linked)
            self._registers.put_strays(at, found.number, telling, strays)
            if last:
                self._registers.close(at, telling, opt_out)
        persons_told = sum(one.outcome is not None for one in linked)
        return Told(len(linked) - persons_told, len(strays), persons_told)

    def add_strays(self, at: At, project: int, refs: Sequence[bytes]) -> None:
        """Have the attributes role drop what it has of a council's rows that are nobody's."""
        self._registers.add_strays(at, project, refs)

    def waiting(self, project: str, after: bytes = b"", limit: int = AT_ONCE) -> pl.DataFrame:
        """What the attributes role has not acknowledged yet, by row_ref.

        Returns:
            Binary columns `row_ref`, `aid` (null: the row is nobody's), `family` and `handle`; `outcome`
            (text; null: values are to be expected) and `run` (Int64).
        """
        with self._rows.read() as at:
            found = self._registers.waiting(at, self._rows.project(at, project).number, after, limit)
        columns = dict(zip((*Linked._fields, "run"), zip(*found, strict=True), strict=True)) if found else {}
        ids = {name: list(columns.get(name, ())) for name in Linked._fields[:4]}
        return frames.columns(**ids).with_columns(
            pl.Series("outcome", columns.get("outcome", ()), dtype=pl.String),
            pl.Series("run", columns.get("run", ()), dtype=pl.Int64),
        )

    def runs(self, project: str) -> list[tuple[int, str, bool, tuple[str, int] | None]]:
        """For each register the numbers of its runs, whether each is told as a whole, and its opt-out."""
        with self._rows.read() as at:
            runs = self._registers.runs(at, self._rows.project(at, project).number)
        return [(run.number, run.register, run.state is RunState.WHOLE, run.opt_out) for run in runs]

    def numbers(
        self, project: str, recipient: str, rows: frames.Table, end_day: int, mandate: Mandate
    ) -> pl.DataFrame:
        """The numbers of persons for an exchange, whose end is noted.

        Args:
            project: its name.
            recipient: the recipient of the exchange.
            rows: binary columns `handle` and `pid`.
            end_day: the day (since 1970) on which it ends.
            mandate: who asks, and what for.

        Returns:
            Columns `handle` (binary) and `urn` of those whom the project has, by number.

        Raises:
            ConflictError: the exchange was said to end on another day.
            NotFoundError, KeyMissingError: there is no such recipient, or it has ended.
        """
        frame = frames.table(rows)
        handles, pids = frames.ids(frame, "handle", distinct=True), frames.ids(frame, "pid")
        found, domain, key = self._context.domain(project, recipient)
        aids = dict(
            zip(pids, self._context.keys.aid_key(project).aids(found.epoch, Kind.PERSON, pids), strict=True)
        )
        self._context.audit(Access("issue", project, mandate, len(aids), (recipient, str(domain.epoch))))
        with self._context.ledger.lock, self._rows.write() as at:
            if self._registers.end_exchange_on(at, found.number, recipient, end_day) != end_day:
                raise ConflictError("The exchange ends on another day.", "Ask for the days that are left.")
            here = self._here(at, found, list(aids.values()))
            wanted = [aid for aid in dict.fromkeys(aids.values()) if aid in here]
            words = dict(
                zip(wanted, issue(self._rows, at, domain.number, key, Kind.PERSON, wanted), strict=True)
            )
        kept = [
            (handle, words[aids[pid]])
            for handle, pid in zip(handles, pids, strict=True)
            if aids[pid] in words
        ]
        urns = pl.Series("urn", [word for _, word in kept], dtype=pl.String)
        return frames.columns(handle=[handle for handle, _ in kept]).with_columns(urns).sort("urn")

    def reopen(self, at: At, received_before: int) -> None:
        """Before rows are dropped that waited for too long: what they said is not taken for withdrawn."""
        self._registers.reopen(at, received_before)

    def ended(self) -> list[tuple[str, str]]:
        """Project and recipient of the exchanges whose last day is over: destroy them, then `forget` them."""
        with self._rows.read() as at:
            names = {
                one.number: one.name for one in self._rows.projects(at) if one.state is ProjectState.OPEN
            }
            ended = self._registers.ended_exchanges(at)
        return [(names[number], recipient) for number, recipient in ended if number in names]

    def forget(self, project: str, recipient: str) -> None:
        """Forget an exchange that was destroyed."""
        with self._rows.write() as at:
            self._registers.forget_exchange(at, self._rows.project(at, project).number, recipient)

    def _here(self, at: At, project: Project, aids: Sequence[bytes]) -> set[bytes]:
        """Those who are in the project and were not erased."""
        unique = list(dict.fromkeys(aids))
        gone = self._context.ledger.erased(What.SUBJECT, unique)
        living = [aid for aid, one in zip(unique, gone, strict=True) if not one]
        found = self._rows.members(at, living)
        return {aid for aid in living if aid in found and found[aid][0] == project.number}


def _filled(ids: pl.Series) -> list[bytes | None]:
    return frames.optional_ids(ids.rename("id").to_frame(), "id")


def _mapped(key: AidKey, epoch: int, kind: Kind, ids: Sequence[bytes | None]) -> Mapping[bytes, bytes]:
    unique = [one for one in dict.fromkeys(ids) if one is not None]
    return dict(zip(unique, key.aids(epoch, kind, unique), strict=True))
