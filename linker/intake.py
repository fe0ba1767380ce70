"""Taking in a batch: header, numbered chunks, end; chunks that come close together are put on disk together.

    header ──▶ open ──▶ examine ──▶ keep, keep, … ──▶ end ──▶ arrive (layout, checks) ──▶ READY or REFUSED

Invariants: a chunk is noted in the store only once its file is durable; a durable chunk may come again with
the same digest and with no other; what is complete never changes; the same content is one submission. Only
columns that take part in linkage outlive the end of the upload.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import polars as pl

from linker import durable
from linker.events import event
from linker.records import Field, Kind, Layout, Records
from linker.refusals import Invalid, NotFound, NotReady
from linker.resources import Batch, Limits, Mandate, Submission, SubmissionState
from linker.store import Store
from linker.upload import ID, Upload

NAME_LENGTH = 200  # characters
MAPPING_LENGTH = 1_000  # characters of the columns of a kind, joined


class Intake:
    """The submissions of one data folder; its methods may be called from any thread."""

    def __init__(self, store: Store, folder: Path, limits: Limits) -> None:
        """Prepare the folder and remove what a crash left over.

        Args:
            store: where the state is kept.
            folder: where the files are kept, one folder a submission.
            limits: of chunks and batches.
        """
        self.store, self.folder, self.limits = store, folder, limits
        self._opening = threading.Lock()
        self._turns = WeakValueDictionary[int, threading.Lock]()
        durable.make_folder(folder)
        receiving = store.submissions.receiving()
        for left in folder.glob("sub-*"):
            if left.name not in receiving:
                self.remove(left.name, "chunks" if self._is_ready(left) else "")

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
        with self._opening:
            turn = self._turns.setdefault(key, threading.Lock())
        return Upload(self, key, batch, submission, turn)

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
            frame = pl.read_parquet(folder / "records.parquet")
        else:
            frame = pl.scan_parquet(folder / "records.parquet").filter(pl.col(ID).is_in(only)).collect()
        refusals = pl.read_parquet(folder / "refusals.parquet")
        layout = json.loads((folder / "layout.json").read_text())
        fields = tuple(
            Field(one["name"], Kind(one["kind"]), tuple(one["columns"]), one["why"])
            for one in layout["fields"]
        )
        ignored = tuple((column, reason) for column, reason in layout["ignored"])
        return Records(frame[ID], frame.drop(ID), Layout(layout["id_column"], fields, ignored), refusals)

    def refusals(self, submission: Submission, first: int, count: int) -> pl.DataFrame:
        """At most `count` refusals from the position `first`: row, field, reason, refused.

        Raises:
            NotReady: the submission is not complete, or it was refused.
        """
        path = self.check_ready(submission) / "refusals.parquet"
        return pl.scan_parquet(path).slice(first, count).collect()

    def check_ready(self, submission: Submission) -> Path:
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
        return self.folder / submission.submission_id

    def _is_ready(self, folder: Path) -> bool:
        """Whether a folder is that of a submission that can be used."""
        try:
            layout = json.loads((folder / "layout.json").read_text())
            if "project" not in layout:  # kept by an earlier version: never removed without knowing
                return True
            submission = self.store.submissions.get(layout["project"], submission_id=folder.name)
        except (FileNotFoundError, NotFound):
            return False
        return submission.state is SubmissionState.READY

    def remove(self, submission_id: str, part: str = "") -> None:
        """Remove the folder of a submission, or a part of it; the next start tries again if this fails."""
        try:
            shutil.rmtree(self.folder / submission_id / part)
        except FileNotFoundError:
            pass
        except OSError as error:
            event(
                "folder_not_removed",
                logging.ERROR,
                submission=submission_id,
                exception=type(error).__name__,
            )


def _field(name: str, message: str) -> Invalid:
    return Invalid("FIELD_INVALID", message, field=f"header.{name}")
