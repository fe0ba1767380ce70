"""What the service holds: submissions, jobs, models, and the terms on which they come in.

These are plain values that the store keeps, the servicers translate and the client returns. None of them
holds a value of a person.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SubmissionKind(StrEnum):
    """What a submission is."""

    IDENTITIES = "identities"
    EXTRACT = "extract"


class SubmissionState(StrEnum):
    """How far a submission has come."""

    RECEIVING = "receiving"
    READY = "ready"
    REFUSED = "refused"
    DELETED = "deleted"


class Format(StrEnum):
    """How rows travel inside messages."""

    ROWS = "rows"
    ARROW = "arrow"


class JobKind(StrEnum):
    """What a job does."""

    LINKAGE = "linkage"
    DEDUPLICATION = "deduplication"
    TRAINING = "training"
    JOIN = "join"
    REGISTER = "register"


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class ReferenceState(StrEnum):
    """How far a reference has come."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Table(StrEnum):
    """A table of the result of a job."""

    LINKS = "links"
    REVIEW = "review"
    CLUSTERS = "clusters"
    PAIRS = "pairs"


@dataclass(frozen=True)
class Mandate:
    """Who asks for a change, and why.

    Attributes:
        request_id: the caller's id of the request; the same id never does a thing twice.
        project: the project that owns the data.
        purpose: the purpose of the use, kept with what the change made.
        caller: who asks, as the gate was told; for a client, nothing.
    """

    request_id: str
    project: str
    purpose: str
    caller: str = ""


@dataclass(frozen=True)
class Problem:
    """What went wrong with a submission or a job.

    Attributes:
        reason: a stable upper-case code.
        message: one sentence that says what is wrong.
        help: one sentence that says what to do, or an empty string.
    """

    reason: str
    message: str
    help: str = ""


@dataclass(frozen=True)
class Batch:
    """What a sender announces before the first chunk.

    Attributes:
        kind: what the batch is.
        batch_id: the sender's own id.
        source: the council or register the records come from.
        format: how the chunks travel.
        columns: the names of all columns, in order; every column is text.
        id_column: the column with the record's id, or None where the row number serves.
        mapping: column(s) by kind, as `linker.arrive` takes it.
        ignore: columns that take no part.
    """

    kind: SubmissionKind
    batch_id: str
    source: str
    format: Format
    columns: tuple[str, ...]
    id_column: str | None = None
    mapping: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldReading:
    """How some columns of a submission were understood; see `linker.records.Field`."""

    name: str
    kind: str
    columns: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Submission:
    """A batch of records as the service holds it.

    Attributes:
        submission_id: the service's id.
        project: the project that owns it.
        kind: what it is.
        batch_id: the sender's id under which it first came.
        source: the council or register the records come from.
        state: how far it has come.
        last_durable_chunk: the number of the last chunk that is kept; 0 before the first.
        rows: durable rows.
        refused_rows: rows that take no part; 0 until it is ready.
        values_set_aside: single values that are not used; 0 until it is ready.
        content_sha256: the digest of the content, 32 bytes, or empty until it is complete.
        fields: how the columns were understood; empty until it is ready.
        problem: why it was refused, or None.
        created: when it was announced, in UTC.
        sender: who sends it, as in the certificate.
    """

    submission_id: str
    project: str
    kind: SubmissionKind
    batch_id: str
    source: str
    state: SubmissionState
    last_durable_chunk: int
    rows: int
    refused_rows: int
    values_set_aside: int
    content_sha256: bytes
    fields: tuple[FieldReading, ...]
    problem: Problem | None
    created: datetime
    sender: str


@dataclass(frozen=True)
class Work:
    """What a job is asked to do.

    Attributes:
        kind: what it does.
        submission_ids: left and right, or one.
        cardinality: a value of `linker.decide.Cardinality`, or None for the usual one.
        model: the name of the model to use (linkage, deduplication) or to keep (training); may be empty.
        model_digest: the digest of the model to use, so that a replaced one does not change the result.
        threshold: bits from which a pair is linked, or None.
        all_pairs: bits from which scored pairs are kept, or None for no such table.
        seed: of every random choice.
        keys: the JSON of the matchkeys before the model, so that another set of the name does not change the
            result; empty for none.
        keys_only: the matchkeys link alone.
        family_column: of a join: the column with the sender's reference of the family, or an empty string.
        protected_column: of a join: the column that says which records are protected, or an empty string.
        purpose: of a join or a register: what identities are opened for.
        actor: of a join or a register: who asked.
        register: of a register: the code of its profile.
        day: of a register: the day on which people have their age, as YYYY-MM-DD.
        since: of a register: the day from which on the extract has people, or an empty string: the same day.
        nhs_number_reason: of a register: why the NHS number may be used; empty: it is not.
        grounds: what the use of the records stands on, JSON, for the report; empty where nobody was asked.
    """

    kind: JobKind
    submission_ids: tuple[str, ...]
    cardinality: str | None = None
    model: str = ""
    model_digest: str = ""
    threshold: float | None = None
    all_pairs: float | None = None
    seed: int = 0
    keys: str = ""
    keys_only: bool = False
    family_column: str = ""
    protected_column: str = ""
    purpose: str = ""
    actor: str = ""
    register: str = ""
    day: str = ""
    since: str = ""
    nhs_number_reason: str = ""
    grounds: str = ""

    @property
    def opens_persons(self) -> bool:
        """Whether identities in the vault are opened for it."""
        return self.kind in (JobKind.JOIN, JobKind.REGISTER)

    @property
    def lawfulness(self) -> dict[str, dict[str, str]]:
        """The grounds, as a member of the report."""
        return {"lawfulness": json.loads(self.grounds)} if self.grounds else {}


@dataclass(frozen=True)
class Job:
    """A piece of long work.

    Attributes:
        job_id: the service's id.
        project: the project that owns it.
        work: what it does.
        state: how far it has come.
        stage: the present stage, or an empty string.
        done: how much of the stage is done, in the stage's own unit.
        total: how much there is to do; 0 where that is not known.
        attempts: how often a server has begun to run it.
        cancel_requested: whether its owner has asked it to stop.
        problem: why it failed or stopped, or None.
        created: when it was asked for, in UTC.
        started: when it last began to run, or None.
        ended: when it finished, or None.
    """

    job_id: str
    project: str
    work: Work
    state: JobState
    stage: str
    done: int
    total: int
    attempts: int
    cancel_requested: bool
    problem: Problem | None
    created: datetime
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class StoredModel:
    """A model as the service holds it.

    Attributes:
        name: within the project.
        digest: SHA-256, hexadecimal.
        job_id: the job that estimated it, or an empty string.
        updated: when it was put or estimated, in UTC.
    """

    name: str
    digest: str
    job_id: str
    updated: datetime


@dataclass(frozen=True)
class StoredReference:
    """A reference as the service holds it; see `linker.reference.Reference` for what answers.

    Attributes:
        reference_id: the service's id, which names its folder.
        name: within the project.
        project: the project that owns it.
        submission_id: where its records come from.
        model: the name of the model that scores.
        model_digest: SHA-256 of that model, hexadecimal.
        changes: how often records were put or removed; each change has its number.
        folded: the number of the change whose file holds all up to it; 0 before the first.
        created: when it was asked for, in UTC.
        state: how far it has come.
        records: how many it holds; 0 until it is ready.
        fields: the fields that a record may have; empty until it is ready.
        problem: why it could not be loaded, or None.
    """

    reference_id: str
    name: str
    project: str
    submission_id: str
    model: str
    model_digest: str
    changes: int
    folded: int
    created: datetime
    state: ReferenceState = ReferenceState.LOADING
    records: int = 0
    fields: tuple[FieldReading, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True)
class WeightStep:
    """One comparison's part in a weight; see `linker.explain.Step`, whose values it leaves out."""

    comparison: str
    level: str
    m: float | None
    u: float | None
    weight: float
    frequency: float
    total: float


@dataclass(frozen=True)
class Candidate:
    """A record of a reference that may be the person who is asked about.

    Attributes:
        record_id: its id.
        weight: match weight, in bits.
        probability: that the two are one person.
        rule: the blocking rule that found it.
        prior: the weight before anything is compared, in bits; 0 where no steps were asked for.
        steps: how the weight comes about, if that was asked for.
    """

    record_id: str
    weight: float
    probability: float
    rule: str
    prior: float = 0.0
    steps: tuple[WeightStep, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a reference knows of one record.

    Attributes:
        candidates: the highest weight first, equal weights by id.
        lead: bits between the first and the runner-up, shown or not; None where no other reaches the floor.
        found: how many reach the floor.
    """

    candidates: tuple[Candidate, ...]
    lead: float | None
    found: int


@dataclass(frozen=True)
class Limits:
    """How much the service takes at once.

    Attributes:
        message_bytes: one gRPC message.
        chunk_rows: rows of a chunk.
        chunk_bytes: text of a chunk once it is unpacked.
        batch_chunks: chunks of a batch.
        batch_rows: rows of a batch.
        batch_bytes: text of a batch.
        columns: columns of a batch.
        queued_jobs: jobs that wait or run.
        calls: calls that run at once.
        references: references of all projects.
        records: records of a message that asks about them, puts or removes them.
        candidates: candidates of a record.
        keys_bytes: a set of matchkeys as text.
    """

    message_bytes: int = 16 * 1024**2
    chunk_rows: int = 100_000
    chunk_bytes: int = 64 * 1024**2
    batch_chunks: int = 1_000_000
    batch_rows: int = 200_000_000
    batch_bytes: int = 64 * 1024**3
    columns: int = 500
    queued_jobs: int = 1_000
    calls: int = 64
    references: int = 16
    records: int = 10_000
    candidates: int = 100
    keys_bytes: int = 1024**2
