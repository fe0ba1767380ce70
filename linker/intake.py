"""Taking in a batch: header, numbered chunks, end; each chunk is on disk before the next is read.

    header ──▶ open ──▶ add, add, … ──▶ end ──▶ arrive (layout, checks) ──▶ READY or REFUSED

Invariants: a chunk is noted in the store only once its file is durable; a durable chunk may come again with
the same digest and with no other; what is complete never changes; the same content is one submission. Only
columns that take part in linkage outlive the end of the upload.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import polars as pl

import linker
from linker import arrow, durable
from linker.errors import LinkerError
from linker.events import event
from linker.records import Field, Kind, Layout, Records
from linker.refusals import Conflict, Exhausted, Invalid, NotFound, NotReady
from linker.resources import (
    Batch,
    FieldReading,
    Format,
    Limits,
    Mandate,
    Problem,
    Submission,
    SubmissionState,
)
from linker.store import Store

Content = bytes | Sequence[Sequence[str]]

ID = ""  # the column of the ids in the records' file; no column of a batch has an empty name
NAME_LENGTH = 200  # characters
MAPPING_LENGTH = 1_000  # characters of the columns of a kind, joined
VALUE_BYTES = 16  # what a value of a frame takes, however short it is
TURN_SECONDS = 0.5


class Intake:
    """The submissions of one data folder; its methods may be called from any thread."""

    def __init__(self, store: Store, folder: Path, limits: Limits) -> None:
        """Prepare the folder and remove what a crash left over.

        Args:
            store: where the state is kept.
            folder: where the files are kept, one folder a submission.
            limits: of chunks and batches.
        """
        self._store, self._folder, self._limits = store, folder, limits
        self._opening = threading.Lock()
        self._turns = WeakValueDictionary[int, threading.Lock]()
        durable.make_folder(folder)
        receiving = store.submissions.receiving()
        for left in folder.glob("sub-*"):
            if left.name not in receiving:
                self._remove(left.name, "chunks" if self._is_ready(left) else "")

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
        if not 0 < len(batch.columns) <= self._limits.columns:
            raise _field("columns", f"A batch has between 1 and {self._limits.columns} columns.")
        if len(set(batch.columns)) != len(batch.columns) or "" in batch.columns:
            raise _field("columns", "Every column has a name of its own.")
        for name, texts, length in (
            ("columns", batch.columns, NAME_LENGTH),
            ("id_column", (batch.id_column or "",), NAME_LENGTH),
            ("ignore", batch.ignore, NAME_LENGTH),
            ("mapping", tuple(kind for kind, _ in batch.mapping), NAME_LENGTH),
            ("mapping", tuple(columns for _, columns in batch.mapping), MAPPING_LENGTH),
        ):
            if len(texts) > self._limits.columns or any(len(text) > length for text in texts):
                most = self._limits.columns
                raise _field(name, f"{name} has at most {most} entries of at most {length} characters.")
        key, submission = self._store.submissions.open(batch, mandate, digest)
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
        return self._folder / submission.submission_id

    def _is_ready(self, folder: Path) -> bool:
        """Whether a folder is that of a submission that can be used."""
        try:
            layout = json.loads((folder / "layout.json").read_text())
            if "project" not in layout:  # kept by an earlier version: never removed without knowing
                return True
            submission = self._store.submissions.get(layout["project"], submission_id=folder.name)
        except (FileNotFoundError, NotFound):
            return False
        return submission.state is SubmissionState.READY

    def _remove(self, submission_id: str, part: str = "") -> None:
        """Remove the folder of a submission, or a part of it; the next start tries again if this fails."""
        try:
            shutil.rmtree(self._folder / submission_id / part)
        except FileNotFoundError:
            pass
        except OSError as error:
            event(
                "folder_not_removed",
                logging.ERROR,
                submission=submission_id,
                exception=type(error).__name__,
            )

    # --- steps of an upload ----------------------------------------------------------------------

    def _add(self, upload: Upload, number: int, sha256: bytes, content: Content) -> None:
        durable_chunks, rows, size = self._store.submissions.totals(upload.key)
        if number < 1 or number > durable_chunks + 1:
            raise NotReady(
                "CHUNK_OUT_OF_ORDER",
                f"Chunk {number} does not follow the last durable chunk {durable_chunks}.",
                f"Go on with chunk {durable_chunks + 1}.",
                metadata={"last_durable_chunk": str(durable_chunks)},
            )
        if digest_of(content) != sha256:
            raise Invalid(
                "CHUNK_DIGEST_WRONG",
                f"The content of chunk {number} does not have the digest that was sent with it.",
                "Send it again.",
                metadata={"last_durable_chunk": str(durable_chunks)},
            )
        if number <= durable_chunks:
            if self._store.submissions.chunk_digests(upload.key, number) != [sha256]:
                raise Conflict(
                    "CHUNK_CONFLICT",
                    f"Chunk {number} is durable with other content.",
                    "Send changed records as a new batch.",
                    metadata={"last_durable_chunk": str(durable_chunks)},
                )
            return
        if upload.submission.state is not SubmissionState.RECEIVING:
            raise Conflict("CHUNK_CONFLICT", "The batch is complete.", "Send more records as a new batch.")
        frame = self._frame(upload.batch, content)
        rows, size = rows + frame.height, size + int(frame.estimated_size())
        most = self._limits
        if number > most.batch_chunks or rows > most.batch_rows or size > most.batch_bytes:
            raise NotReady(
                "BATCH_TOO_LARGE",
                f"The batch has more than {most.batch_chunks} chunks, {most.batch_rows} rows or "
                f"{most.batch_bytes} bytes.",
                "Split it into several batches.",
            )
        folder = self._folder / upload.submission.submission_id / "chunks"
        durable.make_folder(folder)
        durable.write(folder / f"{number:08}.parquet", frame.write_parquet)
        added = self._store.submissions.add_chunk(
            upload.key, number, sha256, frame.height, int(frame.estimated_size())
        )
        assert added, "the lock of the upload is held"

    def _frame(self, batch: Batch, content: Content) -> pl.DataFrame:
        if (batch.format is Format.ARROW) != isinstance(content, bytes):
            raise Invalid("SCHEMA_MISMATCH", "The chunk has another format than the header says.")
        if isinstance(content, bytes):
            return arrow.read_chunk(content, batch.columns, self._limits)
        schema = dict.fromkeys(batch.columns, pl.String)
        return arrow.checked(pl.DataFrame(content, schema=schema, orient="row"), self._limits)

    def _end(self, upload: Upload, chunks: int, rows: int, sha256: bytes) -> Submission:
        digests = self._store.submissions.chunk_digests(upload.key)
        _, durable_rows, _ = self._store.submissions.totals(upload.key)
        if (chunks, rows) != (len(digests), durable_rows):
            raise NotReady(
                "TOTALS_WRONG",
                f"The end states {chunks} chunks and {rows} rows; {len(digests)} chunks and "
                f"{durable_rows} rows are durable.",
                "Go on after the last durable chunk.",
                metadata={"last_durable_chunk": str(len(digests))},
            )
        if hashlib.sha256(b"".join(digests)).digest() != sha256:
            raise Conflict(
                "TOTALS_WRONG",
                "The digest at the end is not that of the durable chunks.",
                "The records have changed since the upload began: send them as a new batch.",
            )
        if upload.submission.state is not SubmissionState.RECEIVING:
            return upload.submission
        folder = self._folder / upload.submission.submission_id
        finished = self._arrive(upload, folder, len(digests))
        kept = self._store.submissions.complete(upload.key, finished)
        mine = kept.submission_id == upload.submission.submission_id
        ready = mine and kept.state is SubmissionState.READY
        self._remove(upload.submission.submission_id, "chunks" if ready else "")
        return kept

    def _arrive(self, upload: Upload, folder: Path, chunks: int) -> Submission:
        """Understand and check a complete batch and write its records."""
        batch = upload.batch
        parts = [
            pl.read_parquet(folder / "chunks" / f"{number:08}.parquet") for number in range(1, chunks + 1)
        ]
        frame = pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(batch.columns, pl.String))
        digest = content_digest(batch, frame)
        finished = dataclasses.replace(upload.submission, content_sha256=digest)
        earlier = self._store.submissions.same_content(finished.project, batch.kind, digest)
        if earlier is not None:
            return dataclasses.replace(finished, state=SubmissionState.READY)
        try:
            records = linker.arrive(
                frame, id_column=batch.id_column, mapping=dict(batch.mapping), ignore=batch.ignore
            )
        except LinkerError as error:
            problem = Problem(error.reason, error.message, error.help)
            return dataclasses.replace(finished, state=SubmissionState.REFUSED, problem=problem)
        durable.make_folder(folder)
        table = records.frame.insert_column(0, records.ids.alias(ID))
        durable.write(folder / "refusals.parquet", records.refusals.write_parquet)
        layout = json.dumps({"project": finished.project} | dataclasses.asdict(records.layout)).encode()
        durable.write(folder / "layout.json", lambda file: file.write(layout))
        durable.write(folder / "records.parquet", table.write_parquet)
        refused = records.refusals.filter("refused")
        return dataclasses.replace(
            finished,
            state=SubmissionState.READY,
            refused_rows=refused["row"].n_unique(),
            values_set_aside=records.refusals.height - refused.height,
            fields=tuple(
                FieldReading(one.name, str(one.kind), one.columns, one.why) for one in records.layout.fields
            ),
        )


@dataclasses.dataclass
class Upload:
    """One stream of one batch; several streams of a batch take turns, chunk by chunk.

    Attributes:
        intake: where it goes.
        key: of the batch in the store.
        batch: what the header announced.
        submission: as it was when the stream last did something.
        turn: held by the stream whose turn it is; all streams of a batch share it.
    """

    intake: Intake
    key: int
    batch: Batch
    submission: Submission
    turn: threading.Lock

    def check_rows(self, rows: int, widths: Iterable[int]) -> None:
        """Check the size of a chunk that comes as rows, before it is unpacked.

        Args:
            rows: how many there are.
            widths: how many values each of them has.

        Raises:
            Invalid: there are too many (CHUNK_TOO_LARGE), or one is not as wide as the batch
                (SCHEMA_MISMATCH).
        """
        columns, limits = len(self.batch.columns), self.intake._limits
        arrow.check_rows(rows, limits)
        if rows * columns > limits.chunk_bytes // VALUE_BYTES:
            raise Invalid(
                "CHUNK_TOO_LARGE",
                f"The chunk has {rows} rows of {columns} values where {limits.chunk_bytes // VALUE_BYTES} "
                "values are allowed.",
                "Send fewer rows in a chunk.",
            )
        if any(width != columns for width in widths):
            raise Invalid(
                "SCHEMA_MISMATCH",
                "A row of the chunk has another number of values than the header has columns.",
                "Send an empty text for a missing value.",
            )

    def add(self, number: int, sha256: bytes, content: Content) -> None:
        """Take a chunk; it is durable once this returns.

        Args:
            number: counted from 1 without gaps.
            sha256: the digest that was sent with it.
            content: the Arrow bytes, or the rows as texts, which `check_rows` has passed.

        Raises:
            Refused: the chunk is out of order, damaged, too large or not as announced, or another stream
                of the batch has its turn.
        """
        with self._turn():
            self.intake._add(self, number, sha256, content)

    def end(self, chunks: int, rows: int, sha256: bytes) -> Submission:
        """Close the batch and check its records.

        Args:
            chunks: how many the whole batch has.
            rows: how many the whole batch has.
            sha256: of the digests of all chunks in order.

        Returns:
            The submission, ready or refused; an earlier one if the project holds the same content.

        Raises:
            NotReady: the totals are not those of the durable chunks.
            Conflict: the durable chunks are not those that the sender means.
            Exhausted: another stream of the batch has its turn.
        """
        with self._turn():
            return self.intake._end(self, chunks, rows, sha256)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # The end of a large batch takes minutes, and whoever waits here holds one of the server's threads.
        if not self.turn.acquire(timeout=TURN_SECONDS):
            raise Exhausted(
                "BUSY", "Another upload of the batch is being worked on.", "Try again.", retry_after=1.0
            )
        try:
            self.submission = self.intake._store.submissions.get(
                self.submission.project, batch_id=self.batch.batch_id
            )
            yield
        finally:
            self.turn.release()


def digest_of(content: Content) -> bytes:
    """SHA-256 of Arrow bytes, or of rows as text: U+001F after each value, U+001E after each row."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    digest = hashlib.sha256()
    for row in content:
        digest.update(("\x1f".join([*row, ""]) + "\x1e").encode())
    return digest.digest()


def content_digest(batch: Batch, frame: pl.DataFrame) -> bytes:
    """SHA-256 of what a batch says, however it was split: source, columns, their reading, and all values.

    Each column gives the lengths of its values (bytes, 4294967295 for a missing one, as little-endian
    32-bit integers) and then the values one after another.
    """
    head = [batch.source, batch.columns, batch.id_column, batch.mapping, batch.ignore, frame.height]
    digest = hashlib.sha256(json.dumps(head).encode())
    for column in frame:
        lengths = column.str.len_bytes().fill_null(2**32 - 1)
        digest.update(lengths.to_numpy().astype("<u4").tobytes())
        for part in column.to_frame().iter_slices(100_000):
            digest.update(part.to_series().str.join("", ignore_nulls=True).item().encode())
    return digest.digest()


def _field(name: str, message: str) -> Invalid:
    return Invalid("FIELD_INVALID", message, field=f"header.{name}")
