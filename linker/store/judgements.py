"""What people judged of the pairs of jobs; sealed under the job's own key, and destroyed with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
import sqlalchemy as sa

from linker.judgements import JUDGED, Judgement, Reason, Round, Verdict
from linker.refusals import NotFound
from linker.resources import Job, JobState, Mandate
from linker.store.database import JOBS, METADATA, Database, moment, take, to_json, work_of
from linker.vaulted import Safe

JUDGEMENTS = sa.Table(
    "judgements",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("undone", sa.Boolean, nullable=False, default=False),
)


@dataclass(frozen=True)
class Judged:
    """A judgement as it is kept.

    Attributes:
        pair: the number of the pair.
        left_id, right_id: its records.
        round: which look it was.
        reviewer: who judged.
        verdict: what they think.
        reason: why.
        made: when, in seconds since 1970.
    """

    pair: int
    left_id: str
    right_id: str
    round: int
    reviewer: str
    verdict: str
    reason: str
    made: float


class Judgements:
    """The judgements of all jobs."""

    def __init__(self, database: Database, safe: Safe) -> None:
        self._database, self._safe = database, safe

    def add(self, job: Job, judged: Sequence[Judged], mandate: Mandate, digest: bytes) -> None:
        """Keep judgements, all or none; the same request again does nothing.

        Raises:
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            if take(connection, mandate, "Judge", digest, job.job_id) is not None:
                return
            connection.execute(
                sa.insert(JUDGEMENTS),
                [
                    {
                        "job_id": job.job_id,
                        "sealed": self._safe.conceal(
                            job.job_id, _place(job.job_id), to_json(asdict(one)).encode()
                        ),
                        "undone": False,
                    }
                    for one in judged
                ],
            )

    def undo(self, job: Job, pair: int, reviewer: str, mandate: Mandate, digest: bytes) -> None:
        """Take back what a reviewer judged of a pair; the same request again does nothing.

        Raises:
            NotFound: there is nothing to take back.
            Conflict: the request id was used for another request.
        """
        with self._database.write() as connection:
            if take(connection, mandate, "Undo", digest, job.job_id) is not None:
                return
            own = [
                seq
                for seq, one, undone in self._rows(connection, job.job_id)
                if not undone and (one.pair, one.reviewer) == (pair, reviewer)
            ]
            if not own:
                raise NotFound(
                    "JUDGEMENT_NOT_FOUND",
                    "You have judged nothing of this pair that stands.",
                    "kinlink review list shows what you judged.",
                    field="pair",
                )
            connection.execute(sa.update(JUDGEMENTS).where(JUDGEMENTS.c.seq.in_(own)).values(undone=True))

    def of(self, job_id: str) -> pl.DataFrame:
        """The judgements of a job that nobody took back, as `linker.judgements.standing` wants them."""
        with self._database.read() as connection:
            rows = [one for _, one, undone in self._rows(connection, job_id) if not undone]
        return pl.DataFrame(
            [(one.pair, one.round, one.reviewer, one.verdict) for one in rows], schema=JUDGED, orient="row"
        )

    def days(self, job_id: str) -> pl.DataFrame:
        """Of each pair that is judged the `day` (text, UTC) of the first judgement that nobody took back."""
        with self._database.read() as connection:
            rows = [(one.pair, one.made) for _, one, undone in self._rows(connection, job_id) if not undone]
        made = pl.from_epoch(pl.col("made").floor().cast(pl.Int64), time_unit="s")
        found = pl.DataFrame(rows, schema={"pair": pl.Int64, "made": pl.Float64}, orient="row")
        return found.group_by("pair").agg(day=made.min().dt.to_string("%Y-%m-%d"))

    def all(self, job: Job, settled: Collection[int]) -> list[Judgement]:
        """Every judgement of a job, the earliest first.

        Args:
            job: which.
            settled: the pairs that are.
        """
        with self._database.read() as connection:
            rows = self._rows(connection, job.job_id)
        last = {(one.pair, one.round): seq for seq, one, undone in rows if not undone}
        # A third decides; without one the second said what the first did.
        holding = {last.get((pair, Round.THIRD), last.get((pair, Round.FIRST))) for pair in settled}
        return [
            Judgement(
                one.pair,
                one.left_id,
                one.right_id,
                Round(one.round),
                one.reviewer,
                Verdict(one.verdict),
                Reason(one.reason),
                moment(one.made),
                last.get((one.pair, one.round)) != seq,
                seq in holding,
            )
            for seq, one, undone in rows
        ]

    def drawn(self, job_id: str, pairs: int, share: float) -> pl.Series:
        """Which pairs a second person judges too: always the same; only the job's key tells which."""
        secret = self._safe.conceal(job_id, "second", job_id.encode())
        chance = np.random.default_rng(int.from_bytes(hashlib.sha256(secret).digest()))
        return pl.Series(chance.random(pairs) < share)

    def jobs_like(self, job: Job) -> list[str]:
        """The ids of the finished jobs of the same kind on the same submissions, the earliest first."""
        query = sa.select(JOBS).where(JOBS.c.project == job.project, JOBS.c.state == JobState.SUCCEEDED)
        found = []
        with self._database.read() as connection:
            for row in connection.execute(query.order_by(JOBS.c.seq)):
                work = work_of(connection, row)
                same = (work["kind"], tuple(work["submission_ids"]), work.get("register", ""))
                if same == (job.work.kind, job.work.submission_ids, job.work.register):
                    found.append(row.job_id)
        return found

    def _rows(self, connection: sa.Connection, job_id: str) -> list[tuple[int, Judged, bool]]:
        query = sa.select(JUDGEMENTS).where(JUDGEMENTS.c.job_id == job_id).order_by(JUDGEMENTS.c.seq)
        return [
            (
                row.seq,
                Judged(**json.loads(self._safe.reveal(job_id, _place(job_id), row.sealed))),
                row.undone,
            )
            for row in connection.execute(query)
        ]


def forget(connection: sa.Connection, job_id: str) -> None:
    """Delete what people judged of a job."""
    connection.execute(sa.delete(JUDGEMENTS).where(JUDGEMENTS.c.job_id == job_id))


def _place(job_id: str) -> str:
    return f"judgement/{job_id}"
