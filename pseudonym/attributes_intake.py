"""Attributes on their way into the store: sealed on arrival, stored with their subject once it is known.

    council ──(row_ref, values)──▶ receive ─┐
                                            ├─▶ attach ──(row_refs)──▶ broker: acknowledge ──▶ forget
    broker ──(row_ref, aid, handle)─────────┘
    register ──(aid, values)─────▶ add

A row_ref is forgotten once both sides have it, and after seven days at the latest. What became of a batch is
remembered by its sender's id, so that it is received once; its digest is keyed, and says nothing of its
values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, compress

import polars as pl

from pseudonym import attribute_subjects as subjects
from pseudonym import frames
from pseudonym.attribute_subjects import STORE
from pseudonym.attributes_context import AttributeContext
from pseudonym.erasure import What
from pseudonym.errors import ConflictError, InputError
from pseudonym.seal import new_deks, open_rows, seal_rows
from pseudonym.storage.rows import AT_ONCE, At, Project
from pseudonym.storage.rows_attributes import Batch
from pseudonym.urn import ID_BYTES, enc, prf
from pseudonym.values import accept, payloads

KEEP_HALVES = 7 * 86_400
"""Seconds for which values wait until it is known whose they are."""
LONGEST_BATCH_ID = 128


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch: its rows, and whether the same one was received before."""

    rows: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Values of a project that wait to be told whose they are, and since when the oldest (seconds, UTC)."""

    project: str
    halves: int
    oldest: int


class AttributeIntake:
    """How attributes come in."""

    def __init__(self, context: AttributeContext) -> None:
        self._context = context
        self._rows = context.rows
        self._keks = context.keks
        self._ledger = context.ledger

    def receive(self, project: str, dataset: str, batch_id: str, data: frames.Table) -> Receipt:
        """Take values of which it is not known yet whose they are.

        Args:
            project: its name.
            dataset: a declared dataset's name.
            batch_id: the sender's id of the batch; the same batch twice is received once.
            data: a binary column `row_ref`, and declared columns. A record may have several rows, all in
                one batch.

        Raises:
            ValuesRefused: a value looks like an identifier, or is not what its column declares.
            ConflictError: another batch came under this id, or a row_ref was sent before (DuplicateError).
            InputError: a column is missing, not declared, or of another form.
        """
        frame = frames.table(data)
        each = frames.ids(frame, "row_ref")
        found, number, contents = self._contents(project, dataset, frame.drop("row_ref"))
        refs, contents = _gathered(each, contents)
        with self._rows.write() as at:
            kept = self._batch(at, found, number, batch_id, "halves", refs, contents)
            if kept is None:
                return Receipt(len(each), repeated=True)
            batch, dek = kept
            n = len(refs)
            place = _place(found, number)
            sealed = seal_rows([dek] * n, STORE, refs, [place] * n, [0] * n, contents)
            self._rows.add_halves(at, batch.batch_key, refs, sealed)
        return Receipt(len(each), repeated=False)

    def attach(self, project: str, pairs: frames.Table, *, own: bool = True) -> pl.DataFrame:
        """Take from the broker whose the values are, and store them. The same again does no harm.

        Args:
            project: its name.
            pairs: binary columns `row_ref`, `aid` and, where they are known (null where not), `family` and
                `handle`, what the broker knows the row by from now on.
            own: the rows came in these families: see `attribute_subjects.put`.

        Returns:
            The row_refs to acknowledge (column `row_ref`): those whose values have arrived. Call `forget`
            with them once the broker has forgotten them.
        """
        frame = frames.table(pairs)
        refs, aids = frames.ids(frame, "row_ref", distinct=True), frames.ids(frame, "aid")
        said = list(
            zip(
                aids,
                frames.optional_ids(frame, "family"),
                frames.optional_ids(frame, "handle"),
                strict=True,
            )
        )
        done: list[bytes] = []
        for first in range(0, len(refs), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            done += self._attach(project, dict(zip(refs[some], said[some], strict=True)), own)
        return frames.columns(row_ref=done)

    def forget(self, project: str, refs: frames.Table) -> int:
        """Forget row_refs (column `row_ref`) that the broker has forgotten; how many were still known."""
        given = frames.ids(frames.table(refs), "row_ref")
        with self._rows.write() as at:
            here, _ = self._rows.halves(at, self._rows.project(at, project).number, given)
            return self._rows.forget(at, list(here))

    def add(
        self, project: str, dataset: str, batch_id: str, batch: frames.Table, *, replacing: bool = False
    ) -> Receipt:
        """Add values of which it is known whose they are, as registers return them.

        Args:
            project: its name.
            dataset: a declared dataset's name.
            batch_id: the sender's id of the batch.
            batch: binary columns `aid` and, where it is said, `family`; and declared columns. A subject may
                have several rows.
            replacing: the rows are the subjects' new version of this dataset, in place of what they have in
                it.

        Raises:
            As `receive`.
        """
        frame = frames.table(batch)
        aids, families = frames.ids(frame, "aid"), frames.optional_ids(frame, "family")
        rest = frame.drop("aid", *(["family"] if "family" in frame.columns else []))
        found, number, contents = self._contents(project, dataset, rest)
        label = "new version" if replacing else "rows"
        with self._ledger.lock, self._rows.write() as at:
            if self._batch(at, found, number, batch_id, label, aids, contents) is None:
                return Receipt(len(aids), repeated=True)
            here = [not gone for gone in self._ledger.erased(What.SUBJECT, aids)]
            subjects.put(
                self._rows,
                at,
                self._keks,
                found,
                number,
                list(compress(aids, here)),
                list(compress(families, here)),
                list(compress(contents, here)),
                replacing=replacing,
            )
        return Receipt(len(aids), repeated=False)

    def scatter(self) -> int:
        """Put what came in into an order that tells nothing of when it came; how many tables were rewritten.

        To be called every day, when little is done: it locks tables for a while.

        Without it, a copy of this database on PostgreSQL and one of the identity database tell which batch of
        the one came with which batch of the other: everybody is hidden among the people of a batch only.
        """
        return self._rows.scatter()

    def waiting(self) -> list[Waiting]:
        """The values that wait to be told whose they are, by project."""
        with self._rows.read() as at:
            names = {project.number: project.name for project in self._rows.projects(at)}
            found = self._rows.waiting(at)
        return [Waiting(names[number], halves, oldest) for number, halves, oldest in found]

    def expecting(self) -> list[str]:
        """The projects of which values wait, or of which a row_ref is not forgotten yet."""
        with self._rows.read() as at:
            names = {project.number: project.name for project in self._rows.projects(at)}
            return sorted(names[number] for number in self._rows.expecting(at))

    def purge(self) -> bool:
        """Make what was dropped unreadable, if that is not done yet: it rewrites the whole database."""
        return self._rows.store.purge_if_due()

    def drop_overdue(self) -> dict[str, int]:
        """Drop values that have waited for seven days; how many, by project. To be called every day."""
        with self._rows.write() as at:
            names = {project.number: project.name for project in self._rows.projects(at)}
            dropped = self._rows.drop_halves(at, self._rows.store.now() - KEEP_HALVES + 1)
        self._rows.store.purge_if_due()
        return {names[number]: halves for number, halves in dropped}

    def _contents(self, project: str, dataset: str, frame: pl.DataFrame) -> tuple[Project, int, list[bytes]]:
        found, number, declared = self._context.declared(project, dataset)
        return found, number, payloads(accept(frame, declared, self._context.scan), declared)

    def _batch(
        self,
        at: At,
        project: Project,
        dataset: int,
        batch_id: str,
        manner: str,
        ids: Sequence[bytes],
        contents: Sequence[bytes],
    ) -> tuple[Batch, bytes] | None:
        """Note a batch, with a key of its own; None where the same one was received before."""
        if not 1 <= len(batch_id) <= LONGEST_BATCH_ID:
            raise InputError(f"The id of a batch is 1 to {LONGEST_BATCH_ID} characters.")
        self._rows.project(at, project.name)  # it may have ended since it was looked up
        said = sha256(b"".join(ids))
        said.update(b"".join(contents))
        self._rows.alone(at)  # see `keks`: a batch's key is wrapped here
        before = self._rows.batch(at, project.number, batch_id)
        key, dek = os.urandom(ID_BYTES), new_deks(1)[0]
        if before is not None:
            dek = subjects.open_batch(self._keks, before)
        digest = prf(dek, "batch/1", enc(manner, dataset.to_bytes(4, "big")), said.digest())
        if before is not None:
            if before.digest != digest:
                raise ConflictError(
                    "Another batch was received under this id.", "Give every batch an id of its own."
                )
            return None
        kek = self._keks.current
        batch = Batch(key, project.number, dataset, digest, len(ids), kek.kid, kek.wrap(dek, key))
        self._rows.add_batch(at, batch, batch_id)
        return batch, dek

    def _attach(
        self, project: str, whose: Mapping[bytes, tuple[bytes, bytes | None, bytes | None]], own: bool
    ) -> list[bytes]:
        """Store what has arrived of these rows; for each its person, its family and its handle."""
        with self._ledger.lock, self._rows.write() as at:
            found = self._rows.project(at, project)
            here, batches = self._rows.halves(at, found.number, list(whose))
            # What was attached before stays with whom it was attached to.
            waiting = [(ref, key, ct) for ref, (key, ct) in here.items() if ct is not None]
            gone = self._ledger.erased(What.SUBJECT, [whose[ref][0] for ref, _, _ in waiting])
            live = list(compress(waiting, (not one for one in gone)))
            deks = {key: subjects.open_batch(self._keks, batch) for key, batch in batches.items()}
            some = [ref for ref, _, _ in live]
            opened = open_rows(
                [deks[key] for _, key, _ in live],
                STORE,
                some,
                [_place(found, batches[key].dataset) for _, key, _ in live],
                [0] * len(live),
                [ct for _, _, ct in live],
            )
            for dataset in {batches[key].dataset for _, key, _ in live}:
                mine = [batches[key].dataset == dataset for _, key, _ in live]
                rows = [_parts(content) for content in compress(opened, mine)]
                told = [
                    whose[ref] for ref, parts in zip(compress(some, mine), rows, strict=True) for _ in parts
                ]
                subjects.put(
                    self._rows,
                    at,
                    self._keks,
                    found,
                    dataset,
                    [aid for aid, _, _ in told],
                    [family for _, family, _ in told],
                    list(chain.from_iterable(rows)),
                    [handle for _, _, handle in told],
                    own=own,
                )
            self._rows.attached(at, [ref for ref, _, _ in waiting])
        return list(here)


def _gathered(refs: Sequence[bytes], contents: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The rows of each record together: how many (four bytes), then one after the other, all of one size."""
    rows = frames.columns(ref=refs, content=contents)
    records = rows.group_by("ref", maintain_order=True).agg("content")
    joined = [len(parts).to_bytes(4, "big") + b"".join(parts) for parts in records["content"].to_list()]
    return records["ref"].to_list(), joined


def _parts(gathered: bytes) -> list[bytes]:
    """The rows of one record."""
    count = int.from_bytes(gathered[:4], "big")
    size = (len(gathered) - 4) // count
    return [gathered[at : at + size] for at in range(4, len(gathered), size)]


def _place(project: Project, dataset: int) -> bytes:
    """What binds a waiting value to its project and dataset: it stands where a row's id does."""
    return sha256(enc("half/1", project.name, dataset.to_bytes(4, "big"))).digest()[:ID_BYTES]
