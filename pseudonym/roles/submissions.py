"""How far the uploads of attributes have come: one small file each, replaced as a whole after each chunk.

It holds counts and reason codes, and no value.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pseudonym.errors import ConflictError, NotFoundError
from pseudonym.files import canonical, locked, read_secret_file, replace_file
from pseudonym.urn import check_label
from pseudonym.values import Refusal, ValuesRefused

SHOWN = 10_000  # refusals that are kept of one submission


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
        refused: how many values were refused.
        refusals: the first of them, as chunk, row, column and reason.
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
    refusals: tuple[tuple[int, int, str, str], ...] = field(default=(), repr=False)


class Submissions:
    """The uploads of the attributes role; usable from any thread.

    Args:
        folder: where their files are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)
        self._known = {one.submission_id: one for one in map(_read, folder.glob("*.json"))}

    def open(self, project: str, batch_id: str, dataset: str, manner: str, sender: str) -> Submission:
        """Begin an upload, or go on with it. Each sender has batch ids of its own.

        Raises:
            ConflictError: the sender used the batch's id for another upload.
        """
        with self._lock:
            for one in self._known.values():
                if (one.project, one.batch_id, one.sender) == (project, batch_id, sender):
                    if (one.dataset, one.manner) != (dataset, manner):
                        raise ConflictError(
                            "Another upload was announced under this batch id.", "Give each an id of its own."
                        )
                    return one
            now = datetime.now(UTC).isoformat(timespec="seconds")
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
            now = self._known[submission.submission_id]
            place = len(submission.chunks)
            if place == len(now.chunks) and not now.complete:
                return self._keep(replace(now, chunks=(*now.chunks, digest), rows=now.rows + rows))
            if now.chunks[place : place + 1] != (digest,):
                raise ConflictError("Another stream sent this upload otherwise.", "Begin another batch.")
            return now

    def refuse(self, submission: Submission, error: ValuesRefused) -> Submission:
        """Note that a chunk was refused."""
        chunk = len(submission.chunks) + 1
        found = tuple((chunk, *_plain(one)) for one in error.refusals)
        with self._lock:
            now = self._known[submission.submission_id]
            return self._keep(replace(now, refused=error.count, refusals=found[:SHOWN]))

    def end(self, submission: Submission) -> Submission:
        """Note that the upload is complete.

        Raises:
            ConflictError: another stream of it has brought more.
        """
        with self._lock:
            now = self._known[submission.submission_id]
            if now.chunks != submission.chunks:
                raise ConflictError("Another stream sent this upload otherwise.", "Begin another batch.")
            return self._keep(replace(now, complete=True))

    def projects(self) -> Sequence[str]:
        """The projects that uploads have come for."""
        with self._lock:
            return sorted({one.project for one in self._known.values()})

    def _keep(self, submission: Submission) -> Submission:
        with locked(self._folder):
            path = self._folder / f"{submission.submission_id}.json"
            replace_file(path, canonical(asdict(submission)))
        self._known[submission.submission_id] = submission
        return submission


def _plain(refusal: Refusal) -> tuple[int, str, str]:
    return refusal.row, refusal.column, refusal.reason


def _read(path: Path) -> Submission:
    content = json.loads(read_secret_file(path, "submission"))
    content["chunks"] = tuple(content["chunks"])
    content["refusals"] = tuple(tuple(one) for one in content["refusals"])
    return Submission(**content)
