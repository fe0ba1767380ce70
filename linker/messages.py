# ruff: noqa: D103 - the name of each function says which message it makes or reads
"""Between the messages of `linker.v1` and the values of `linker.resources`; both server and client use it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl
from google.protobuf.timestamp_pb2 import Timestamp

from linker import callers
from linker.matchkeys import Matchkeys
from linker.matchkeys_ons import SETS, key_set
from linker.refusals import Invalid
from linker.resources import (
    Answer,
    Batch,
    Candidate,
    FieldReading,
    Format,
    Job,
    JobKind,
    JobState,
    Mandate,
    Problem,
    ReferenceState,
    StoredModel,
    StoredReference,
    Submission,
    SubmissionKind,
    SubmissionState,
    Table,
    WeightStep,
    Work,
)
from linker.v1 import common_pb2, intake_pb2, job_pb2, linkage_pb2, match_pb2, model_pb2

if TYPE_CHECKING:  # the client reads messages, and needs no engine for it
    from linker.explain import Step

FORMATS = {Format.ROWS: common_pb2.FORMAT_ROWS, Format.ARROW: common_pb2.FORMAT_ARROW}
SUBMISSION_KINDS = {
    SubmissionKind.IDENTITIES: intake_pb2.SUBMISSION_KIND_IDENTITIES,
    SubmissionKind.EXTRACT: intake_pb2.SUBMISSION_KIND_EXTRACT,
}
SUBMISSION_STATES = {
    SubmissionState.RECEIVING: intake_pb2.SUBMISSION_STATE_RECEIVING,
    SubmissionState.READY: intake_pb2.SUBMISSION_STATE_READY,
    SubmissionState.REFUSED: intake_pb2.SUBMISSION_STATE_REFUSED,
    SubmissionState.DELETED: intake_pb2.SUBMISSION_STATE_DELETED,
}
JOB_KINDS = {
    JobKind.LINKAGE: job_pb2.JOB_KIND_LINKAGE,
    JobKind.DEDUPLICATION: job_pb2.JOB_KIND_DEDUPLICATION,
    JobKind.TRAINING: job_pb2.JOB_KIND_TRAINING,
    JobKind.JOIN: job_pb2.JOB_KIND_JOIN,
    JobKind.REGISTER: job_pb2.JOB_KIND_REGISTER,
}
JOB_STATES = {
    JobState.QUEUED: job_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: job_pb2.JOB_STATE_SUCCEEDED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
    JobState.DELETED: job_pb2.JOB_STATE_DELETED,
}
REFERENCE_STATES = {
    ReferenceState.LOADING: match_pb2.REFERENCE_STATE_LOADING,
    ReferenceState.READY: match_pb2.REFERENCE_STATE_READY,
    ReferenceState.FAILED: match_pb2.REFERENCE_STATE_FAILED,
}
TABLES = {
    Table.LINKS: linkage_pb2.TABLE_LINKS,
    Table.REVIEW: linkage_pb2.TABLE_REVIEW,
    Table.CLUSTERS: linkage_pb2.TABLE_CLUSTERS,
    Table.PAIRS: linkage_pb2.TABLE_PAIRS,
}
CARDINALITIES = {
    "one-to-one": linkage_pb2.CARDINALITY_ONE_TO_ONE,
    "many-to-one": linkage_pb2.CARDINALITY_MANY_TO_ONE,
    "many-to-many": linkage_pb2.CARDINALITY_MANY_TO_MANY,
}
OUTCOMES = {
    "LINKED": linkage_pb2.OUTCOME_LINKED,
    "REVIEW": linkage_pb2.OUTCOME_REVIEW,
    "AMBIGUOUS": linkage_pb2.OUTCOME_AMBIGUOUS,
    "NOT_LINKED": linkage_pb2.OUTCOME_NOT_LINKED,
}


_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

K = TypeVar("K")
V = TypeVar("V")


def back(table: Mapping[K, V], value: V) -> K | None:
    """The key of a value in one of the tables above, or None for a value that is not in it."""
    return next((key for key, listed in table.items() if listed == value), None)


def sure(table: Mapping[K, V], value: V) -> K:
    """The key of a value that the other side cannot have invented."""
    key = back(table, value)
    if key is None:
        raise ValueError("The message holds a value that this version does not know.")
    return key


def timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def moment(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def mandate_message(mandate: Mandate) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=mandate.request_id, project=mandate.project, purpose=mandate.purpose)


def wrong(field: str, message: str) -> Invalid:
    return Invalid("FIELD_INVALID", message, field=field)


def code(value: str, field: str) -> str:
    if not _CODE.fullmatch(value):
        raise wrong(field, f"{field} is 1 to 64 letters, digits, dots, hyphens or underscores.")
    return value


def mandate_value(message: common_pb2.Mandate) -> Mandate:
    if not _REQUEST_ID.fullmatch(message.request_id):
        raise wrong(
            "mandate.request_id", "request_id is 8 to 64 letters, digits, dots, hyphens or underscores."
        )
    if not message.purpose.strip() or len(message.purpose) > 200:
        raise wrong("mandate.purpose", "purpose is a text of at most 200 characters.")
    project = code(message.project, "mandate.project")
    return Mandate(message.request_id, project, message.purpose.strip(), callers.current().name)


def batch_value(kind: SubmissionKind, header: intake_pb2.SubmissionHeader) -> Batch:
    form = back(FORMATS, header.format)
    if form is None:
        raise wrong("header.format", "format is FORMAT_ROWS or FORMAT_ARROW.")
    return Batch(
        kind,
        code(header.batch_id, "header.batch_id"),
        code(header.source, "header.source"),
        form,
        tuple(header.columns),
        header.id_column if header.HasField("id_column") else None,
        tuple(sorted(header.mapping.items())),
        tuple(header.ignore),
    )


def problem_message(problem: Problem | None) -> common_pb2.Problem | None:
    if problem is None:
        return None
    return common_pb2.Problem(reason=problem.reason, message=problem.message, help=problem.help)


def problem_value(message: common_pb2.Problem) -> Problem | None:
    return Problem(message.reason, message.message, message.help) if message.reason else None


def header_message(batch: Batch, mandate: Mandate) -> intake_pb2.SubmissionHeader:
    return intake_pb2.SubmissionHeader(
        mandate=mandate_message(mandate),
        batch_id=batch.batch_id,
        source=batch.source,
        format=FORMATS[batch.format],
        columns=batch.columns,
        id_column=batch.id_column,
        mapping=dict(batch.mapping),
        ignore=batch.ignore,
    )


def fields_message(fields: Iterable[FieldReading]) -> list[intake_pb2.FieldReading]:
    return [
        intake_pb2.FieldReading(name=field.name, kind=field.kind, columns=field.columns, why=field.why)
        for field in fields
    ]


def fields_value(fields: Iterable[intake_pb2.FieldReading]) -> tuple[FieldReading, ...]:
    return tuple(FieldReading(field.name, field.kind, tuple(field.columns), field.why) for field in fields)


def submission_message(submission: Submission) -> intake_pb2.Submission:
    return intake_pb2.Submission(
        submission_id=submission.submission_id,
        project=submission.project,
        kind=SUBMISSION_KINDS[submission.kind],
        batch_id=submission.batch_id,
        source=submission.source,
        state=SUBMISSION_STATES[submission.state],
        last_durable_chunk=submission.last_durable_chunk,
        rows=submission.rows,
        refused_rows=submission.refused_rows,
        values_set_aside=submission.values_set_aside,
        content_sha256=submission.content_sha256,
        fields=fields_message(submission.fields),
        problem=problem_message(submission.problem),
        create_time=timestamp(submission.created),
        sender=submission.sender,
    )


def submission_value(message: intake_pb2.Submission) -> Submission:
    return Submission(
        submission_id=message.submission_id,
        project=message.project,
        kind=sure(SUBMISSION_KINDS, message.kind),
        batch_id=message.batch_id,
        source=message.source,
        state=sure(SUBMISSION_STATES, message.state),
        last_durable_chunk=message.last_durable_chunk,
        rows=message.rows,
        refused_rows=message.refused_rows,
        values_set_aside=message.values_set_aside,
        content_sha256=message.content_sha256,
        fields=fields_value(message.fields),
        problem=problem_value(message.problem),
        created=moment(message.create_time),
        sender=message.sender,
    )


def job_message(job: Job) -> job_pb2.Job:
    return job_pb2.Job(
        job_id=job.job_id,
        project=job.project,
        kind=JOB_KINDS[job.work.kind],
        state=JOB_STATES[job.state],
        progress=job_pb2.Progress(stage=job.stage, done=job.done, total=job.total),
        attempts=job.attempts,
        cancel_requested=job.cancel_requested,
        problem=problem_message(job.problem),
        submission_ids=job.work.submission_ids,
        family_column=job.work.family_column,
        protected_column=job.work.protected_column,
        purpose=job.work.purpose,
        actor=job.work.actor,
        create_time=timestamp(job.created),
        start_time=timestamp(job.started) if job.started else None,
        end_time=timestamp(job.ended) if job.ended else None,
    )


def job_value(message: job_pb2.Job) -> Job:
    return Job(
        job_id=message.job_id,
        project=message.project,
        work=Work(
            sure(JOB_KINDS, message.kind),
            tuple(message.submission_ids),
            family_column=message.family_column,
            protected_column=message.protected_column,
            purpose=message.purpose,
            actor=message.actor,
        ),
        state=sure(JOB_STATES, message.state),
        stage=message.progress.stage,
        done=message.progress.done,
        total=message.progress.total,
        attempts=message.attempts,
        cancel_requested=message.cancel_requested,
        problem=problem_value(message.problem),
        created=moment(message.create_time),
        started=moment(message.start_time) if message.HasField("start_time") else None,
        ended=moment(message.end_time) if message.HasField("end_time") else None,
    )


def model_message(model: StoredModel) -> model_pb2.Model:
    return model_pb2.Model(
        name=model.name, digest=model.digest, job_id=model.job_id, update_time=timestamp(model.updated)
    )


def model_value(message: model_pb2.Model) -> StoredModel:
    return StoredModel(message.name, message.digest, message.job_id, moment(message.update_time))


def reference_message(reference: StoredReference) -> match_pb2.Reference:
    return match_pb2.Reference(
        name=reference.name,
        project=reference.project,
        submission_id=reference.submission_id,
        model=reference.model,
        model_digest=reference.model_digest,
        state=REFERENCE_STATES[reference.state],
        records=reference.records,
        changes=reference.changes,
        fields=fields_message(reference.fields),
        problem=problem_message(reference.problem),
        create_time=timestamp(reference.created),
    )


def reference_value(message: match_pb2.Reference) -> StoredReference:
    return StoredReference(
        reference_id="",
        name=message.name,
        project=message.project,
        submission_id=message.submission_id,
        model=message.model,
        model_digest=message.model_digest,
        changes=message.changes,
        folded=0,
        created=moment(message.create_time),
        state=sure(REFERENCE_STATES, message.state),
        records=message.records,
        fields=fields_value(message.fields),
        problem=problem_value(message.problem),
    )


def steps_message(steps: Iterable[Step | WeightStep]) -> list[linkage_pb2.ExplainStep]:
    return [
        linkage_pb2.ExplainStep(
            comparison=step.comparison,
            level=step.level,
            m=step.m,
            u=step.u,
            weight=step.weight,
            frequency=step.frequency,
            total=step.total,
        )
        for step in steps
    ]


def result_message(record_id: str, answer: Answer) -> match_pb2.MatchResult:
    return match_pb2.MatchResult(
        record_id=record_id,
        candidates=[
            match_pb2.Candidate(
                record_id=candidate.record_id,
                match_weight=candidate.weight,
                match_probability=candidate.probability,
                rule=candidate.rule,
                prior_weight=candidate.prior,
                steps=steps_message(candidate.steps),
            )
            for candidate in answer.candidates
        ],
        lead=answer.lead,
        found=answer.found,
    )


def result_value(message: match_pb2.MatchResult) -> Answer:
    return Answer(
        tuple(
            Candidate(
                one.record_id,
                one.match_weight,
                one.match_probability,
                one.rule,
                one.prior_weight,
                tuple(
                    WeightStep(
                        step.comparison,
                        step.level,
                        step.m if step.HasField("m") else None,
                        step.u if step.HasField("u") else None,
                        step.weight,
                        step.frequency,
                        step.total,
                    )
                    for step in one.steps
                ),
            )
            for one in message.candidates
        ),
        message.lead if message.HasField("lead") else None,
        message.found,
    )


def options_message(
    model: str,
    threshold: float | None,
    all_pairs: float | None,
    seed: int,
    keys: Matchkeys | str | Path | None,
    keys_only: bool,
) -> linkage_pb2.LinkageOptions:
    """What a job is asked for; a set of matchkeys travels whole unless it comes with Kinlink."""
    options = linkage_pb2.LinkageOptions(model=model, threshold=threshold, all_pairs=all_pairs, seed=seed)
    if keys_only:
        options.matchkeys.only = True
    if isinstance(keys, str) and keys in SETS:
        options.matchkeys.name = keys
    elif keys is not None:
        options.matchkeys.json = key_set(keys).to_json()
    return options


def pairs_message(frame: pl.DataFrame) -> linkage_pb2.Pairs:
    """Scored pairs as messages; `outcome` may be missing in the frame."""
    return linkage_pb2.Pairs(
        pairs=[
            linkage_pb2.Pair(
                left_id=row["left_id"],
                right_id=row["right_id"],
                match_weight=row["match_weight"],
                match_probability=row["match_probability"],
                outcome=OUTCOMES.get(row.get("outcome") or "", linkage_pb2.OUTCOME_UNSPECIFIED),
                stage=row["stage"],
                rule=row["rule"],
                unscored=row["match_weight"] is None,
            )
            for row in frame.iter_rows(named=True)
        ]
    )


def members_message(frame: pl.DataFrame) -> linkage_pb2.Members:
    return linkage_pb2.Members(
        members=[
            linkage_pb2.Member(record_id=record, cluster_id=cluster)
            for record, cluster in frame.select("record_id", "cluster_id").iter_rows()
        ]
    )
