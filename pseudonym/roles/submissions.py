"""How far the uploads of attributes have come: one small file each, replaced as a whole after each chunk.

It holds counts, and beside it a table what was refused: places and reason codes, and no value. Both go 31
days after the upload's last chunk; the attribute store itself still knows a batch that comes again.
"""

from __future__ import annotations

import io
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from pseudonym import clock
from pseudonym.errors import ConflictError, NotFoundError
from pseudonym.files import canonical, locked, read_secret_file, replace_file
from pseudonym.urn import check_label
from pseudonym.values import ValuesRefused

KEEP_DAYS = 31
DAY = 86_400.0

_REFUSALS = {"chunk": pl.UInt32, "row": pl.UInt32, "column": pl.String, "reason": pl.String}


@dataclass(frozen=True, slots=True)
class Submission:
    """One upload.

    Attributes:
        submission_id: the service's id.
        project: the project.
        batch_id: the sender's id.
        dataset: the dataset.
        manner: by which ids its rows come: "row_ref", or the recipient of its reference numbers.
        sender: who sends, as in the certificate.
        created: when it was announced, ISO 8601, UTC.
        chunks: the digests of the durable chunks.
        rows: how many rows are durable.
        complete: whether its end came.
        refused: how many values of the last chunk were refused: see `Submissions.refusals`.
    """

    submission_id: str
    project: str
    batch_id: str
    dataset: str
    manner: str
    sender: str
    created: str
    chunks: tuple[str, ...] = ()
    rows: int = 0
    complete: bool = False
    refused: int = 0


class Submissions:
    """The uploads of the attributes role; usable from any thread.

    Args:
        folder: where their files are kept.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = clock.seconds) -> None:
        self._folder, self._lock, self._clock = folder, threading.Lock(), clock
        folder.mkdir(mode=0o700, exist_ok=True)
        self._swept = 0.0
        self._known: dict[str, Submission] = {}
        self._sweep()
        self._known = {one.submission_id: one for one in map(_read, folder.glob("*.json"))}

    def open(self, project: str, batch_id: str, dataset: str, manner: str, sender: str) -> Submission:
        """Begin an upload, or go on with it. Each sender has batch ids of its own.

        Raises:
            ConflictError: the sender used the batch's id for another upload.
        """
        with self._lock:
            if self._clock() - self._swept > DAY:
                self._sweep()
            for one in list(self._known.values()):
                if (one.project, one.batch_id, one.sender) == (project, batch_id, sender):
                    if (one.dataset, one.manner) != (dataset, manner):
                        if self._forgotten(one):  # announced as something else by mistake
                            break
                        raise ConflictError(
                            f"An upload of dataset {one.dataset} was announced under this batch id.",
                            "Name that dataset, or give this upload an id of its own.",
                        )
                    return one
            now = clock.now().isoformat(timespec="seconds")
            submission_id = f"att-{secrets.token_hex(8)}"
            names = check_label(project, "project"), batch_id, dataset, manner, sender
            return self._keep(Submission(submission_id, *names, now))

    def get(
        self, project: str, *, submission_id: str = "", batch_id: str = "", sender: str = ""
    ) -> Submission:
        """An upload of a project by its id or its sender's id.

        Args:
            project: its name.
            submission_id: the service's id, or nothing.
            batch_id: the sender's id, or nothing.
            sender: who may see it; everybody's where nobody is named.

        Raises:
            NotFoundError: there is none.
            ConflictError: several senders have one of this batch id.
        """
        with self._lock:
            found = [
                one
                for one in self._known.values()
                if (one.submission_id == submission_id if submission_id else one.batch_id == batch_id)
                and one.project == project
                and sender in ("", one.sender)
            ]
        if not found:
            raise NotFoundError("There is no such submission in the project.", "Check the id.")
        if len(found) > 1:
            raise ConflictError("Several senders have a batch of this id.", "Give the submission_id.")
        return found[0]

    def add_chunk(self, submission: Submission, digest: str, rows: int) -> Submission:
        """Note that the chunk after those of `submission` is durable; how far the upload is now.

        Another stream of the same upload may have brought it meanwhile, and more: nothing is taken back.

        Raises:
            ConflictError: it brought another one.
        """
        with self._lock:
            now = self._now(submission)
            place = len(submission.chunks)
            if place == len(now.chunks) and not now.complete:
                return self._keep(replace(now, chunks=(*now.chunks, digest), rows=now.rows + rows))
            if now.chunks[place : place + 1] != (digest,):
                raise ConflictError("Another stream sent this upload otherwise.", "Begin another batch.")
            return now

    def refuse(self, submission: Submission, error: ValuesRefused) -> Submission:
        """Note that a chunk was refused."""
        chunk = pl.lit(len(submission.chunks) + 1, pl.UInt32).alias("chunk")
        content = io.BytesIO()
        error.table.select(chunk, "row", "column", "reason").write_parquet(content)
        with self._lock:
            now = self._now(submission)
            with locked(self._folder):
                replace_file(self._refusals(submission.submission_id), content.getvalue())
            return self._keep(replace(now, refused=error.count))

    def refusals(self, submission: Submission, first: int, count: int) -> pl.DataFrame:
        """At most `count` refusals from the place `first`: chunk (from 1), row (from 0), column, reason."""
        if not submission.refused:
            return pl.DataFrame(schema=_REFUSALS)
        return pl.scan_parquet(self._refusals(submission.submission_id)).slice(first, count).collect()

    def end(self, submission: Submission) -> Submission:
        """Note that the upload is complete.

        Raises:
            ConflictError: another stream of it has brought more.
        """
        with self._lock:
            now = self._now(submission)
            if now.chunks != submission.chunks:
                raise ConflictError("Another stream sent this upload otherwise.", "Begin another batch.")
            return self._keep(replace(now, complete=True))

    def projects(self) -> Sequence[str]:
        """The projects that uploads have come for."""
        with self._lock:
            return sorted({one.project for one in self._known.values()})

    def _now(self, submission: Submission) -> Submission:
        now = self._known.get(submission.submission_id)
        if now is None:
            raise ConflictError("The upload was announced anew.", "Begin it again.")
        return now

    def _forgotten(self, submission: Submission) -> bool:
        """Forget an upload of which nothing came; whether that is so."""
        if submission.chunks or submission.complete or submission.refused:
            return False
        with locked(self._folder):
            (self._folder / f"{submission.submission_id}.json").unlink(missing_ok=True)
        del self._known[submission.submission_id]
        return True

    def _refusals(self, submission_id: str) -> Path:
        return self._folder / f"{submission_id}.refusals.parquet"

    def _sweep(self) -> None:
        """Forget uploads whose file was last written so long ago; cut off, the rest goes the next time."""
        self._swept = self._clock()
        with locked(self._folder):
            for path in self._folder.glob("*.json"):
                if self._swept - path.stat().st_mtime > KEEP_DAYS * DAY:
                    path.unlink()
                    self._known.pop(path.stem, None)
            for path in self._folder.glob("*.refusals.parquet"):
                if not path.with_name(path.name.replace(".refusals.parquet", ".json")).exists():
                    path.unlink()

    def _keep(self, submission: Submission) -> Submission:
        with locked(self._folder):
            path = self._folder / f"{submission.submission_id}.json"
            replace_file(path, canonical(asdict(submission)))
        self._known[submission.submission_id] = submission
        return submission


def _read(path: Path) -> Submission:
    content = json.loads(read_secret_file(path, "submission"))
    content["chunks"] = tuple(content["chunks"])
    return Submission(**content)
