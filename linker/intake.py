"""Taking in a batch: header, numbered chunks, end; chunks that come close together are put on disk together.

    header ──▶ open ──▶ examine ──▶ keep, keep, … ──▶ end ──▶ arrive (layout, checks) ──▶ READY or REFUSED

Invariants: a chunk is noted in the store only once its file is durable; a durable chunk may come again with
the same digest and with no other; what is complete never changes; the same content is one submission. Only
columns that take part in linkage outlive the end of the upload. Every file is sealed under the key of its
submission, which is made before the first of them and destroyed with the last.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import polars as pl

from linker import durable
from linker.destruction import destroy_doomed, remove
from linker.records import Field, Kind, Layout, Records
from linker.refusals import Exhausted, Invalid, NotReady
from linker.resources import Batch, Limits, Mandate, Submission, SubmissionKind, SubmissionState
from linker.store import Store
from linker.upload import CHUNKS, ID, Upload, taken
from linker.vaulted import Folder, check_sealed

WORD = "sub"  # at the start of the id of a submission
NAME_LENGTH = 200  # characters
EXTRACT_DAYS = 31  # for which an extract of a register is kept at most
MAPPING_LENGTH = 1_000  # characters of the columns of a kind, joined


class Intake:
    """The submissions of one data folder; its methods may be called from any thread."""

    def __init__(self, store: Store, folder: Path, limits: Limits) -> None:
        """Prepare the folder and remove what a crash left over.

        Args:
            store: where the state is kept.
            folder: where the files are kept, one folder a submission.
            limits: of chunks and batches.

        Raises:
            LinkerError: the folder holds files in the clear.
        """
        self.store, self.folder, self.limits = store, folder, limits
        self._opening = threading.Lock()
        self._turns = WeakValueDictionary[int, threading.Lock]()
        durable.make_folder(folder)
        check_sealed(folder)
        self.destroy_doomed()
        living = store.submissions.living()
        for left in folder.glob(f"{WORD}-*"):
            state = living.get(left.name)
            if state is not SubmissionState.RECEIVING:
                remove(left if state is None else left / CHUNKS)

    def open(self, batch: Batch, mandate: Mandate, digest: bytes) -> Upload:
        """Begin an upload, or go on with it.

        Args:
            batch: what the header announces.
            mandate: who sends, and why.
            digest: of the header, so that a request id is not used twice.

        Raises:
            Invalid: the header is not usable.
            Conflict: the batch or the request id was used with another header.
        """
        if not 0 < len(batch.columns) <= self.limits.columns:
            raise _field("columns", f"A batch has between 1 and {self.limits.columns} columns.")
        if len(set(batch.columns)) != len(batch.columns) or "" in batch.columns:
            raise _field("columns", "Every column has a name of its own.")
        for name, texts, length in (
            ("columns", batch.columns, NAME_LENGTH),
            ("id_column", (batch.id_column or "",), NAME_LENGTH),
            ("ignore", batch.ignore, NAME_LENGTH),
            ("mapping", tuple(kind for kind, _ in batch.mapping), NAME_LENGTH),
            ("mapping", tuple(columns for _, columns in batch.mapping), MAPPING_LENGTH),
        ):
            if len(texts) > self.limits.columns or any(len(text) > length for text in texts):
                most = self.limits.columns
                raise _field(name, f"{name} has at most {most} entries of at most {length} characters.")
        key, submission = self.store.submissions.open(batch, mandate, digest)
        if submission.state is SubmissionState.RECEIVING:
            self.store.safe.make(submission.submission_id)
        return Upload(self, key, batch, submission, self._turn_of(key))

    def delete(self, mandate: Mandate, submission_id: str, sender: str | None, digest: bytes) -> Submission:
        """Destroy a submission: its key first, then its files. What was deleted stays deleted.

        Args:
            mandate: who asks, and why.
            submission_id: which.
            sender: whose it must be; None for anybody's.
            digest: of the request.

        Raises:
            NotFound: there is none in the project, or it is another sender's.
            NotReady: a reference or a job that has not finished needs it.
            Exhausted: an upload of it is being worked on.
        """
        key = self.store.submissions.key_of(mandate.project, submission_id, sender)
        with taken(self._turn_of(key)):
            deleted = self.store.submissions.delete(mandate, submission_id, sender, digest)
            self.destroy_doomed()
        return deleted

    def delete_overdue(self, clock: Callable[[], float] = time.time) -> int:
        """Destroy the extracts of registers that came 31 days ago; how many. To be called every day.

        One that a job still reads is destroyed on another day.
        """
        count = 0
        for project, submission_id in self.overdue(clock):
            mandate = Mandate(f"overdue-{submission_id}", project, "retention")
            with suppress(NotReady, Exhausted):
                self.delete(mandate, submission_id, None, submission_id.encode())
                count += 1
        return count

    def overdue(self, clock: Callable[[], float] = time.time) -> list[tuple[str, str]]:
        """Project and id of the extracts of registers that came 31 days ago or earlier, and are here."""
        before = clock() - EXTRACT_DAYS * 86_400
        return self.store.submissions.announced_before(SubmissionKind.EXTRACT, before)

    def destroy_doomed(self) -> None:
        """Destroy the submissions that the store says nobody will read any more."""
        destroy_doomed(self.store, WORD, self.folder)

    def folder_of(self, submission_id: str) -> Folder:
        """The sealed files of a submission."""
        return Folder(self.store.safe, self.folder / submission_id, submission_id)

    def _turn_of(self, key: int) -> threading.Lock:
        with self._opening:
            return self._turns.setdefault(key, threading.Lock())

    def records(self, submission: Submission, only: tuple[str, ...] = ()) -> Records:
        """The records of a submission.

        Args:
            submission: which.
            only: the ids of the records wanted; all of them if there is none.

        Raises:
            NotReady: the submission is not complete, or it was refused.
        """
        folder = self.check_ready(submission)
        if not only:
            frame = folder.frame("records")
        else:
            with folder.table("records") as table:
                frame = table.where(ID, only)
        refusals = folder.frame("refusals")
        return Records(frame[ID], frame.drop(ID), self.layout(submission), refusals)

    def layout(self, submission: Submission) -> Layout:
        """How the columns of a submission were understood. Raises as `records`."""
        layout = json.loads(self.check_ready(submission).read("layout"))
        fields = tuple(
            Field(one["name"], Kind(one["kind"]), tuple(one["columns"]), one["why"])
            for one in layout["fields"]
        )
        ignored = tuple((column, reason) for column, reason in layout["ignored"])
        return Layout(layout["id_column"], fields, ignored)

    def refusals(self, submission: Submission, first: int, count: int) -> pl.DataFrame:
        """At most `count` refusals from the position `first`: row, field, reason, refused.

        Raises:
            NotReady: the submission is not complete, or it was refused.
        """
        with self.check_ready(submission).table("refusals") as table:
            return table.slice(first, count)

    def check_ready(self, submission: Submission) -> Folder:
        """The folder of a submission that can be used.

        Raises:
            NotReady: the submission is not complete, or it was refused.
        """
        if submission.state is not SubmissionState.READY:
            raise NotReady(
                "SUBMISSION_NOT_READY",
                f"The submission is {submission.state}, not ready.",
                "Wait for the end of its upload, or submit corrected records as a new batch.",
            )
        return self.folder_of(submission.submission_id)


def _field(name: str, message: str) -> Invalid:
    return Invalid("FIELD_INVALID", message, field=f"header.{name}")
