"""One stream of a batch: chunks are kept in their order, and the end makes records of them.

Chunks that come close together are put on disk together. Several streams of a batch take turns.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

import linker
from linker import durable
from linker.arrival import check_naming
from linker.chunks import Content, Examined, check_rows, examine
from linker.destruction import remove
from linker.errors import LinkerError
from linker.refusals import Conflict, Exhausted, Invalid, NotReady, Refused
from linker.resources import Batch, FieldReading, Problem, Submission, SubmissionKind, SubmissionState
from linker.vaulted import Folder

if TYPE_CHECKING:
    from linker.intake import Intake

ID = ""  # the column of the ids in the records' file; no column of a batch has an empty name
CHUNKS = "chunks"  # the folder of the chunks, within that of the submission
TURN_SECONDS = 0.5


@dataclass
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
        """Check the size of a chunk that comes as rows, before it is unpacked; see `chunks.check_rows`."""
        check_rows(rows, widths, len(self.batch.columns), self.intake.limits)

    def examine(self, number: int, sha256: bytes, content: Content) -> Examined:
        """Look through a chunk; it is not kept yet, and no other call has to wait."""
        return examine(number, sha256, content, self.batch, self.intake.limits)

    def keep(self, group: Sequence[Examined]) -> None:
        """Keep chunks in their order; they are durable once this returns.

        Raises:
            Refused: a chunk is out of order, damaged, too large or not as announced (those before it
                are kept), or another stream of the batch has its turn.
        """
        with self._turn():
            self._keep(group)

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
            return self._end(chunks, rows, sha256)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with taken(self.turn):
            self.submission = self.intake.store.submissions.get(
                self.submission.project, batch_id=self.batch.batch_id
            )
            if self.submission.state is SubmissionState.DELETED:
                raise Conflict(
                    "BATCH_CONFLICT", "The batch was deleted.", "Send the records under a new batch id."
                )
            yield

    def _keep(self, group: Sequence[Examined]) -> None:
        durable_chunks, rows, size = self.intake.store.submissions.totals(self.key)
        fresh: list[Examined] = []
        refusal = None
        for chunk in group:
            try:
                if self._is_new(chunk, durable_chunks + len(fresh), fresh):
                    rows, size = rows + chunk.rows, size + chunk.size
                    self._check_batch(chunk.number, rows, size)
                    fresh.append(chunk)
            except Refused as error:
                refusal = error
                break
        if fresh:
            folder = self._chunks()
            durable.make_folder(folder.path)
            folder.write_together({_file(chunk.number): chunk.content for chunk in fresh})
            noted = [(chunk.sha256, chunk.rows, chunk.size) for chunk in fresh]
            added = self.intake.store.submissions.add_chunks(self.key, fresh[0].number, noted)
            assert added, "the lock of the upload is held"
        if refusal is not None:
            raise refusal

    def _is_new(self, chunk: Examined, last: int, fresh: Sequence[Examined]) -> bool:
        """Whether a chunk is to be kept; a durable one comes again.

        Args:
            chunk: the chunk.
            last: the number of the last chunk that is durable or will be.
            fresh: the chunks that will be, up to `last`.
        """
        told = {"last_durable_chunk": str(last)}
        if chunk.number < 1 or chunk.number > last + 1:
            raise NotReady(
                "CHUNK_OUT_OF_ORDER",
                f"Chunk {chunk.number} does not follow the last durable chunk {last}.",
                f"Go on with chunk {last + 1}.",
                metadata=told,
            )
        if chunk.sha256 != chunk.stated:
            raise Invalid(
                "CHUNK_DIGEST_WRONG",
                f"The content of chunk {chunk.number} does not have the digest that was sent with it.",
                "Send it again.",
                metadata=told,
            )
        if chunk.number <= last:
            behind = last - chunk.number
            if behind < len(fresh):
                digests = [fresh[-1 - behind].sha256]
            else:
                digests = self.intake.store.submissions.chunk_digests(self.key, chunk.number)
            if digests != [chunk.sha256]:
                raise Conflict(
                    "CHUNK_CONFLICT",
                    f"Chunk {chunk.number} is durable with other content.",
                    "Send changed records as a new batch.",
                    metadata=told,
                )
            return False
        if self.submission.state is not SubmissionState.RECEIVING:
            raise Conflict("CHUNK_CONFLICT", "The batch is complete.", "Send more records as a new batch.")
        if chunk.refusal is not None:
            raise chunk.refusal
        return True

    def _check_batch(self, chunks: int, rows: int, size: int) -> None:
        most = self.intake.limits
        if chunks > most.batch_chunks or rows > most.batch_rows or size > most.batch_bytes:
            raise NotReady(
                "BATCH_TOO_LARGE",
                f"The batch has more than {most.batch_chunks} chunks, {most.batch_rows} rows or "
                f"{most.batch_bytes} bytes.",
                "Split it into several batches.",
            )

    def _end(self, chunks: int, rows: int, sha256: bytes) -> Submission:
        digests = self.intake.store.submissions.chunk_digests(self.key)
        _, durable_rows, _ = self.intake.store.submissions.totals(self.key)
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
        if self.submission.state is not SubmissionState.RECEIVING:
            return self.submission
        finished = self._arrive(len(digests))
        kept = self.intake.store.submissions.complete(self.key, finished)
        self.intake.destroy_doomed()
        remove(self._chunks().path)
        return kept

    def _chunks(self) -> Folder:
        folder = self.intake.folder_of(self.submission.submission_id)
        return dataclasses.replace(folder, path=folder.path / CHUNKS)

    def _arrive(self, chunks: int) -> Submission:
        """Understand and check a complete batch and write its records."""
        batch, folder, kept = self.batch, self.intake.folder_of(self.submission.submission_id), self._chunks()
        parts = [pl.read_ipc_stream(io.BytesIO(kept.read(_file(number)))) for number in range(1, chunks + 1)]
        frame = pl.concat([pl.DataFrame(schema=dict.fromkeys(batch.columns, pl.String)), *parts])
        frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(content_digest, batch, frame)
            problem = None
            try:
                records = linker.arrive(
                    frame, id_column=batch.id_column, mapping=dict(batch.mapping), ignore=batch.ignore
                )
                if batch.kind is SubmissionKind.IDENTITIES:
                    check_naming(records.layout)
            except LinkerError as error:
                problem = Problem(error.reason, error.message, error.help)
            digest = hashing.result()
        finished = dataclasses.replace(self.submission, content_sha256=digest)
        if self.intake.store.submissions.same_content(finished) is not None:
            return dataclasses.replace(finished, state=SubmissionState.READY)
        if problem is not None:
            return dataclasses.replace(finished, state=SubmissionState.REFUSED, problem=problem)
        durable.make_folder(folder.path)
        folder.write_table("refusals", records.refusals)
        folder.write("layout", json.dumps(dataclasses.asdict(records.layout)).encode())
        folder.write_table("records", records.frame.insert_column(0, records.ids.alias(ID)))
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


@contextmanager
def taken(turn: threading.Lock) -> Iterator[None]:
    """A turn of a batch, taken for a while.

    Raises:
        Exhausted: another has it for longer than a moment.
    """
    # The end of a large batch takes minutes, and whoever waits here holds one of the server's threads.
    if not turn.acquire(timeout=TURN_SECONDS):
        raise Exhausted(
            "BUSY", "Another upload of the batch is being worked on.", "Try again.", retry_after=1.0
        )
    try:
        yield
    finally:
        turn.release()


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


def _file(number: int) -> str:
    """The name of a chunk's file."""
    return f"{number:08}"
