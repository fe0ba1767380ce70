"""Registers in the attribute store: rows of an extract that were linked, and what is said of each person.

    holder ──(row_ref, values)──▶ waiting ─┐
    broker ──(row_ref, aid, handle, run)───┴─▶ link ──▶ rows of the person
           ──(row_ref: nobody's)─────────────▶ drop ──▶ deleted, unread
           ──(aid, handle, outcome, run)─────▶ say ───▶ dataset `links`
           ──(run is whole)──────────────────▶ withdraw ──▶ what it did not link any more is deleted

The rules this module keeps:

- Each step may be done again, and comes to the same.
- Values of somebody whom nobody linked are deleted without being opened.
- A row stays known by its handle: a later run of the same extract leaves it, gives it to another person, or
  takes it away. Rows of people whose data may not be used stay where they are meanwhile, and go after it.
"""

from __future__ import annotations

import polars as pl

from pseudonym import attribute_subjects as subjects
from pseudonym import frames, outcomes
from pseudonym.access import Access, Mandate
from pseudonym.attribute_moves import AttributeMoves
from pseudonym.attributes_context import AttributeContext
from pseudonym.attributes_intake import AttributeIntake
from pseudonym.datasets import Dataset
from pseudonym.erasure import What
from pseudonym.storage.rows import AT_ONCE, At, Project
from pseudonym.storage.rows_attributes import Head
from pseudonym.storage.rows_links import LinkRows
from pseudonym.values import accept, check_declaration, payloads


class AttributeRegisters:
    """How the attribute store follows what registers were linked to."""

    def __init__(self, context: AttributeContext, intake: AttributeIntake, moves: AttributeMoves) -> None:
        self._context, self._intake, self._moves = context, intake, moves
        self._rows = context.rows
        self._links = LinkRows(context.rows)

    def drop(self, project: str, refs: frames.Table, mandate: Mandate) -> pl.DataFrame:
        """Delete unread what waits under row_refs (column `row_ref`) that are nobody's; purge later.

        Returns:
            Those of which something was there (column `row_ref`): acknowledge them. The others may come yet.
        """
        given = frames.ids(frames.table(refs), "row_ref")
        if given:
            self._context.audit(Access("drop", project, mandate, len(given)))
        gone: list[bytes] = []
        for first in range(0, len(given), AT_ONCE):
            with self._rows.write() as at:
                number = self._rows.project(at, project).number
                here = self._rows.arrived(at, number, given[first : first + AT_ONCE])
                # As of what was attached, it stays known that it was here until the broker has forgotten it.
                waiting = [ref for ref, waits in here.items() if waits]
                self._rows.attached(at, waiting)
                if waiting:
                    self._rows.store.purge_later(at)
                gone += here
        return frames.columns(row_ref=gone)

    def link(
        self, project: str, register: str, run: int, rows: frames.Table, mandate: Mandate
    ) -> pl.DataFrame:
        """Store the values that have arrived of rows, and note that those stored before are linked still.

        Args:
            project: its name.
            register: its code.
            run: the number of the run that linked them.
            rows: binary columns `row_ref`, `aid`, `family` (null where none is known) and `handle`.
            mandate: who asks, and what for.

        Returns:
            The row_refs to acknowledge (column `row_ref`).
        """
        frame = frames.table(rows)
        refs = frames.ids(frame, "row_ref", distinct=True)
        handles = frames.ids(frame, "handle")
        whose = dict(zip(handles, frames.ids(frame, "aid"), strict=True))
        with self._rows.write() as at:
            number = self._rows.project(at, project).number
            here, batches = self._rows.halves(at, number, refs)
            # What was sent again takes the place of what was stored before, in the same dataset.
            waiting = {ref: batches[key].dataset for ref, (key, ct) in here.items() if ct is not None}
            anew = {handle: waiting[ref] for ref, handle in zip(refs, handles, strict=True) if ref in waiting}
            before = self._links.held(at, list(anew))
            kept = {head.handle for head in self._staying(at, before) if whose[_known(head)] != head.aid}
            # A second row under the handle would be another person's: unread, as of nobody, it goes.
            unread = [ref for ref, one in zip(refs, handles, strict=True) if one in kept and ref in waiting]
            self._rows.attached(at, unread)
            if unread:
                self._rows.store.purge_later(at)
            self._take_away(
                at, [one for one in before if one.handle not in kept and anew[_known(one)] == one.dataset]
            )
        values = frame.drop("run", "outcome", strict=False)
        arrived = set(self._intake.attach(project, values, own=False)["row_ref"])
        with self._rows.read() as at:
            held = self._links.held(at, handles)
        going = {_known(head): whose[_known(head)] for head in held if whose[_known(head)] != head.aid}
        if going:
            self._moves.assign(project, list(going.items()), mandate)
        with self._rows.write() as at:
            number = self._rows.project(at, project).number
            # What stayed with somebody under restriction is not linked by this run: it goes once it may.
            linked = [_known(one) for one in self._links.held(at, handles) if whose[_known(one)] == one.aid]
            self._links.mark(at, number, register, run, linked)
        known = {head.handle for head in held}
        done = [ref for ref, handle in zip(refs, handles, strict=True) if ref in arrived or handle in known]
        return frames.columns(row_ref=done)

    def say(self, project: str, register: str, run: int, said: frames.Table) -> pl.DataFrame:
        """Store what a run says of people, in place of what was said before.

        Args:
            project: its name.
            register: its code.
            run: the number of the run.
            said: binary columns `row_ref`, `aid`, `family` and `handle`, and `outcome`, text.

        Returns:
            The row_refs to acknowledge (column `row_ref`): all.
        """
        frame = frames.table(said)
        codes = outcomes.read(frame["outcome"], register)
        with self._context.ledger.lock, self._rows.write() as at:
            whose = self._rows.project(at, project)
            number, declared = self._declared(at, whose, codes)
            gone = pl.Series(
                self._context.ledger.erased(What.SUBJECT, frames.ids(frame, "aid")), dtype=pl.Boolean
            )
            here, told = frame.filter(~gone), codes.filter(~gone)
            handles = frames.ids(here, "handle")
            self._take_away(at, self._links.held(at, handles))
            contents = payloads(accept(told, declared, self._context.scan), declared)
            subjects.put(
                self._rows,
                at,
                self._context.keks,
                whose,
                number,
                frames.ids(here, "aid"),
                frames.optional_ids(here, "family"),
                contents,
                handles,
                own=False,
            )
            self._links.mark(at, whose.number, register, run, handles)
        return frame.select("row_ref")

    def withdraw(
        self,
        project: str,
        register: str,
        run: int,
        mandate: Mandate,
        opt_out: tuple[str, int] | None = None,
    ) -> int:
        """Delete what earlier runs of a register linked or said, and this one, which is whole, did not.

        Only then is it noted under what the run was linked (`opt_out`): never more than what is so.

        Returns:
            How many rows were deleted.
        """
        count, after = 0, b""
        while True:
            with self._rows.write() as at:
                number = self._rows.project(at, project).number
                handles = self._links.before(at, number, register, run, after, AT_ONCE)
                if not handles:
                    break
                after = handles[-1]
                held = self._links.held(at, handles)
                kept = self._staying(at, held)
                going = [head for head in held if head not in kept]
                if going:
                    self._context.audit(Access("withdraw", project, mandate, len(going), (register,)))
                self._take_away(at, going)
                self._rows.leave_releases(at, list({head.aid for head in going}))
                staying = {head.handle for head in kept}
                self._links.forget(at, [handle for handle in handles if handle not in staying])
                count += len(going)
        if self.opt_out(project, register) != opt_out:
            with self._rows.write() as at:
                self._links.note_opt_out(at, self._rows.project(at, project).number, register, opt_out)
        if count:
            self._rows.store.purge_if_due()
        return count

    def _staying(self, at: At, heads: list[Head]) -> set[Head]:
        """Those of some rows that are of people whose data may not be used."""
        whose = self._rows.subjects(at, list({head.aid for head in heads}))
        kept = {aid for aid, one in whose.items() if one.flags & subjects.FROZEN}
        return {head for head in heads if head.aid in kept}

    def opt_out(self, project: str, register: str) -> tuple[str, int] | None:
        """Under what a register's rows were linked last, and until when that holds; None: nothing says."""
        with self._rows.read() as at:
            return self._links.opt_out(at, self._rows.project(at, project).number, register)

    def _take_away(self, at: At, heads: list[Head]) -> None:
        """Delete rows, and seal anew what their people have left."""
        if not heads:
            return
        self._rows.alone(at)
        present = self._rows.subjects(at, list({head.aid for head in heads}))
        deks, of = subjects.checked(
            self._context.keks, list(present.values()), self._rows.heads(at, list(present))
        )
        going = {head.row_id for head in heads}
        self._rows.delete_rows(at, list(going))
        left = {aid: [head for head in some if head.row_id not in going] for aid, some in of.items()}
        subjects.put_sealed(self._rows, at, list(present.values()), deks, left, present)

    def _declared(self, at: At, project: Project, codes: pl.DataFrame) -> tuple[int, Dataset]:
        """The dataset's number and declaration, grown where there are codes that it has not."""
        known = {name: text for _, name, text in self._rows.datasets(at, project.number)}
        before = Dataset.from_json(known[outcomes.NAME]) if outcomes.NAME in known else None
        wanted = outcomes.declaration(codes, before)
        if wanted != before:
            check_declaration(wanted, self._context.scan)
            self._rows.declare(at, project.number, wanted.name, wanted.to_json())
        return self._rows.dataset(at, project.number, wanted.name)[0], wanted


def _known(head: Head) -> bytes:
    """The handle of a row that was found by it."""
    assert head.handle is not None, "rows are looked for by their handles"
    return head.handle
