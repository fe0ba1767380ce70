"""The queue of pairs that jobs left to people: who is shown which, and what becomes of what they judge.

    job's table of pairs ──next──▶ one person ──judge──▶ store ──settled──▶ evidence for the next run

The rules this module keeps:

- A pair is shown to one person at a time, for `HELD` seconds; a restart lets go of all of them.
- Nobody is told in which round they judge, nor what another one thinks.
- Whoever judges sees identifiers only. Those in the vault are opened under the caller's purpose, and logged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import polars as pl

from linker import judgements
from linker.derive import raw_values
from linker.evidence import standing_of
from linker.further_names import ALIASES, each_name
from linker.intake import Intake
from linker.jobs import Runner
from linker.joining import KEPT, rows_of
from linker.judgements import Agreement, Judgement, Next, Pair, Progress, Reason, Shown, Verdict, compared
from linker.records import Kind, Records
from linker.refusals import Invalid, NotReady
from linker.resources import Job, Mandate, SubmissionState
from linker.store import Store
from linker.store.judgements import Judged

HELD: Final = 900.0
"""Seconds for which a pair that was shown to somebody is shown to nobody else."""
_BESIDE: Final = (
    *(Kind.INITIALS, Kind.PARTIAL_POSTCODE, Kind.CHI, Kind.HC_NUMBER, Kind.CRO),
    *(Kind.UPRN, Kind.LOCAL_AUTHORITY, Kind.EMAIL, Kind.PHONE),
)
"""What of a record is shown beside what is kept of a person; what is open to anything is not."""


class Known(Protocol):
    """Where persons are kept, as a reviewer sees them."""

    def show(self, mandate: Mandate, actor: str, records: Sequence[str]) -> pl.DataFrame:
        """Open records of persons, a few at a time.

        Args:
            mandate: for whom and why.
            actor: who looks.
            records: as a job's tables name those who are known; what is nobody's is passed over.

        Returns:
            `record` and the columns that are kept of a person, text, a row for each name and address.

        Raises:
            LinkerError: they may not be opened for this.
        """
        ...


class Reviews:
    """The queues of all jobs; its methods may be called from any thread."""

    def __init__(self, store: Store, intake: Intake, runner: Runner, known: Known) -> None:
        self._store, self._intake, self._runner, self._known = store, intake, runner, known
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int], tuple[str, float]] = {}

    def next(self, mandate: Mandate, job_id: str, reviewer: str, together: bool) -> Next:
        """What waits for a reviewer: the likeliest pair first.

        Raises:
            NotFound: there is no such job in the project, or it left no pairs to people.
            NotReady: it has no result.
            LinkerError: the records may not be opened for this.
        """
        job, pairs = self._queue(mandate.project, job_id)
        found = self._standing(job, pairs)
        with self._lock:
            waiting = self._free(job, found.filter(judgements.waits_for(reviewer))["pair"], reviewer)
            if not waiting:
                return Next((), (), 0)
            order = (
                pairs.with_row_index("pair")
                .filter(pl.col("pair").is_in(waiting))
                .sort("match_weight", descending=True, nulls_last=True, maintain_order=True)["pair"]
            )
            chosen = [int(order[0])]
            if together:
                chosen = [one for one in judgements.together(pairs, chosen[0]) if one in set(waiting)]
            until = time.monotonic() + HELD
            self._held |= {(job.job_id, one): (reviewer, until) for one in chosen}
        some = pairs.with_row_index("pair").filter(pl.col("pair").is_in(chosen))
        records = self._records(mandate, job, reviewer, [*some["left_id"], *some["right_id"]])
        by_id = {record.record_id: record for record in records}
        shown = [
            Pair(pair, left, right, weight, _compared(by_id.get(left), by_id.get(right)))
            for pair, left, right, weight in some.select(
                "pair", "left_id", "right_id", "match_weight"
            ).iter_rows()
        ]
        return Next(shown, records, len(waiting))

    def judge(
        self,
        mandate: Mandate,
        job_id: str,
        reviewer: str,
        given: Sequence[tuple[int, Verdict, Reason]],
        digest: bytes,
    ) -> Progress:
        """Take judgements, all or none.

        Raises:
            Invalid: a pair is named twice, or there is no such pair.
            NotReady: a pair does not wait for this person.
            NotFound, Conflict: as `next`, or the request id was used for another request.
        """
        job, pairs = self._queue(mandate.project, job_id)
        numbers = [pair for pair, _, _ in given]
        if len(set(numbers)) < len(numbers) or not all(pair < pairs.height for pair in numbers):
            raise Invalid(
                "FIELD_INVALID",
                "A pair is named twice, or the job has none of that number.",
                "Take the numbers from 'kinlink review next'.",
                field="judgements",
            )
        found = self._standing(job, pairs)
        judged = []
        for pair, verdict, reason in given:
            look = judgements.round_of(found.row(pair, named=True), reviewer)
            if look is None:
                raise NotReady(
                    "PAIR_NOT_WAITING",
                    "A pair is settled, or it waits for somebody else.",
                    "Nothing was kept. Ask for the next one: kinlink review next.",
                )
            left, right = pairs["left_id"][pair], pairs["right_id"][pair]
            judged.append(Judged(pair, left, right, look, reviewer, verdict, reason, time.time()))
        self._store.judgements.add(job, judged, mandate, digest)
        with self._lock:
            for pair in numbers:
                self._held.pop((job.job_id, pair), None)
        return judgements.progress(self._standing(job, pairs))

    def undo(self, mandate: Mandate, job_id: str, reviewer: str, pair: int, digest: bytes) -> Progress:
        """Take back what a reviewer judged of a pair.

        Raises:
            NotFound, NotReady, Conflict: as `judge`, or there is nothing to take back.
        """
        job, pairs = self._queue(mandate.project, job_id)
        self._store.judgements.undo(job, pair, reviewer, mandate, digest)
        return judgements.progress(self._standing(job, pairs))

    def all(self, project: str, job_id: str, reviewer: str | None) -> list[Judgement]:
        """The judgements of a job, the earliest first; only those of one reviewer if one is named.

        Raises:
            NotFound, NotReady: as `next`.
        """
        job, pairs = self._queue(project, job_id)
        settled = self._standing(job, pairs).filter(pl.col("wants").is_null())["pair"]
        found = self._store.judgements.all(job, settled.to_list())
        # Whoever judges is not told what became of it: it would tell what others think.
        own = [one for one in found if one.reviewer == reviewer]
        return found if reviewer is None else [replace(one, holds=False) for one in own]

    def progress(self, project: str, job_id: str) -> Progress:
        """How far the queue of a job has come. Raises as `next`."""
        return judgements.progress(self._standing(*self._queue(project, job_id)))

    # --- how it is done ----------------------------------------------------------------------------

    def _queue(self, project: str, job_id: str) -> tuple[Job, pl.DataFrame]:
        return self._store.jobs.get(project, job_id), self._runner.left_to_people(project, job_id)

    def _standing(self, job: Job, pairs: pl.DataFrame) -> pl.DataFrame:
        return standing_of(self._store, job.job_id, pairs.height)

    def _free(self, job: Job, pairs: pl.Series, reviewer: str) -> list[int]:
        """The pairs that are not before somebody else's eyes."""
        now = time.monotonic()
        self._held = {key: held for key, held in self._held.items() if held[1] > now}
        others = {
            pair
            for (job_id, pair), (who, _) in self._held.items()
            if job_id == job.job_id and who != reviewer
        }
        return [pair for pair in pairs.to_list() if pair not in others]

    def _records(self, mandate: Mandate, job: Job, reviewer: str, ids: Sequence[str]) -> list[Shown]:
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Shown] = {}
        for submission_id in job.work.submission_ids:
            submission = self._store.submissions.get(job.project, submission_id=submission_id)
            if submission.state is not SubmissionState.READY:
                continue
            records = self._intake.records(submission, tuple(wanted))
            found |= {one.record_id: one for one in _sent(records)}
        others = [one for one in wanted if one not in found]
        if others and job.work.opens_persons:
            opened = self._known.show(mandate, reviewer, others)
            for (record,), rows in opened.group_by(["record"], maintain_order=True):
                found[str(record)] = Shown(str(record), True, _values(rows.select(*KEPT)))
        return [found[one] for one in wanted if one in found]


def _sent(records: Records) -> list[Shown]:
    """Records of a submission."""
    kept = rows_of(records, "", "")
    beside = [
        raw_values(records.frame, field).alias(field.name)
        for field in records.layout.fields
        if field.kind in _BESIDE
    ]
    whole = each_name(kept.select("row_ref", *KEPT, ALIASES, *(one.cast(pl.String) for one in beside)))
    return [
        Shown(str(record), False, _values(rows.drop("row_ref")))
        for (record,), rows in whole.group_by("row_ref", maintain_order=True)
    ]


def _values(rows: pl.DataFrame) -> dict[str, list[str]]:
    """The values of each column that has any, by what the column is about."""
    found = {}
    for name in rows.columns:
        values = rows[name].drop_nulls().unique(maintain_order=True).to_list()
        if values:
            found[KEPT[name].value if name in KEPT else name] = values
    return found


def _compared(left: Shown | None, right: Shown | None) -> dict[str, Agreement]:
    sides = [one.fields if one else {} for one in (left, right)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    return {name: compared(sides[0].get(name, ()), sides[1].get(name, ())) for name in names}
