"""The typed client of the service: it splits, digests, retries and resumes.

    client = Client("localhost:7070", project="families", purpose="evaluation of 2026")
    left = client.submit(frame, batch_id="2026-03", source="E06000023")
    job = client.start_linkage(left.submission_id, right.submission_id)
    job = client.wait(job.job_id)
    links = client.read_links(job.job_id)

Every call has a deadline. A call that the service could not take (it restarts, it is busy) is tried again
for `patience` seconds under the same request id, so that nothing is done twice.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import polars as pl
from google.protobuf.json_format import MessageToDict

from linker import messages
from linker.errors import LinkerError
from linker.join_client import JoinCalls
from linker.match_client import MatchCalls
from linker.matchkeys import Matchkeys
from linker.resources import (
    Batch,
    Format,
    Job,
    Limits,
    Mandate,
    StoredModel,
    Submission,
    SubmissionKind,
    Table,
)
from linker.review_client import ReviewCalls
from linker.sending import (
    CHUNK_ROWS,
    STREAM_SECONDS,
    Frames,
    Patience,
    Sent,
    ServiceError,
    chunks_of,
    frames_of,
    is_loopback,
)
from linker.tls import Tls, check_tls
from linker.v1 import (
    common_pb2,
    intake_pb2,
    intake_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    linkage_pb2,
    linkage_pb2_grpc,
    match_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    review_pb2_grpc,
)

__all__ = ["Client", "Frames", "ServiceError", "Tls"]

CHANNEL = [
    ("grpc.max_receive_message_length", 2 * Limits().message_bytes),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


class Client(JoinCalls, MatchCalls, ReviewCalls):
    """A connection to one service, for one project and one purpose; close it or use it as a context."""

    def __init__(
        self,
        address: str,
        *,
        project: str,
        purpose: str,
        tls: Tls | None = None,
        timeout: float = 60.0,
        patience: float = 120.0,
        reach: float | None = None,
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            address: `host:port`.
            project: the project that owns the data.
            purpose: the purpose of the use, in a few words.
            tls: the files of a secured connection; None only reaches a service on this machine.
            timeout: seconds that a single call may take; uploads and streams may take an hour.
            patience: seconds for which a call that the service could not take is tried again.
            reach: as `patience`, for as long as the service has not answered at all; by default the same.

        Raises:
            LinkerError: the address is not on this machine and `tls` is missing, or its files do not go
                together or are not what they should be.
        """
        self._project, self._purpose = project, purpose
        self._timeout = timeout
        self._patience = Patience(address, patience, reach, grpc.RpcError)
        if tls is None:
            if not is_loopback(address.rpartition(":")[0]):
                raise LinkerError(
                    "Plain text is for a service on this machine alone.",
                    "Give the files of a TLS connection.",
                )
            # Plain text stays on this machine, whatever proxy its environment names.
            self._channel = grpc.insecure_channel(address, [*CHANNEL, ("grpc.enable_http_proxy", 0)])
        else:
            check_tls(tls)
            credentials = grpc.ssl_channel_credentials(
                tls.authority.read_bytes(),
                tls.key.read_bytes() if tls.key else None,
                tls.certificate.read_bytes() if tls.certificate else None,
            )
            self._channel = grpc.secure_channel(address, credentials, CHANNEL)
        self._intake: Any = intake_pb2_grpc.IntakeServiceStub(self._channel)
        self._linkage: Any = linkage_pb2_grpc.LinkageServiceStub(self._channel)
        self._jobs: Any = job_pb2_grpc.JobServiceStub(self._channel)
        self._models: Any = model_pb2_grpc.ModelServiceStub(self._channel)
        self._match: Any = match_pb2_grpc.MatchServiceStub(self._channel)
        self._review: Any = review_pb2_grpc.ReviewServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- submissions -----------------------------------------------------------------------------

    def submit(
        self,
        records: Frames,
        *,
        batch_id: str,
        source: str,
        kind: SubmissionKind = SubmissionKind.IDENTITIES,
        id_column: str | None = None,
        mapping: dict[str, str] | None = None,
        ignore: Iterable[str] = (),
        chunk_rows: int = CHUNK_ROWS,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Submission:
        """Send records, going on after the last chunk that the service already holds.

        A broken upload is resumed here; an upload that was broken off in another process is resumed by
        calling this again with the same records, batch id and chunk size.

        Args:
            records: a frame whose columns are all text, or a function that gives the frames of a large
                file from the start each time it is called.
            batch_id: the sender's own id of the batch.
            source: the council or register the records come from, as a code.
            kind: what the batch is.
            id_column: the column with the record's id; None: the row number serves.
            mapping: column(s) by kind, as `linker.arrive` takes it.
            ignore: columns that take no part.
            chunk_rows: rows of a chunk, at most 100,000.
            progress: called with (rows sent, rows in all or None).

        Returns:
            The submission, ready or refused.

        Raises:
            ServiceError: the service refused the upload, or could not be reached in time.
            LinkerError: a single record is too large to be sent.
            BaseException: whatever `records` or `progress` raises.
        """
        total = records.height if isinstance(records, pl.DataFrame) else None
        first = next(iter(frames_of(records)), None)
        batch = Batch(
            kind,
            batch_id,
            source,
            Format.ARROW,
            tuple(first.columns) if first is not None else (),
            id_column,
            tuple(sorted((mapping or {}).items())),
            tuple(ignore),
        )
        # The same batch is the same request, from whatever process it is resumed.
        request_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._project}/{kind}/{batch_id}"))
        header = messages.header_message(batch, Mandate(request_id, self._project, self._purpose))
        part: Any
        if kind is SubmissionKind.IDENTITIES:
            method, part = self._intake.SubmitIdentities, intake_pb2.SubmitIdentitiesRequest
        else:
            method, part = self._intake.SubmitExtract, intake_pb2.SubmitExtractRequest

        def stream(durable: int) -> Iterator[Any]:
            yield part(header=header)
            rows = number = 0
            digests = hashlib.sha256()
            for number, (count, content) in enumerate(chunks_of(frames_of(records), chunk_rows), start=1):
                digest = hashlib.sha256(content).digest()
                digests.update(digest)
                rows += count
                if number > durable:
                    yield part(chunk={"number": number, "sha256": digest, "arrow": content})
                if progress is not None:
                    progress(rows, total)
            yield part(end=intake_pb2.SubmissionEnd(chunks=number, rows=rows, sha256=digests.digest()))

        pause, furthest = self._patience.pause(), 0

        def attempt() -> Submission:
            nonlocal furthest
            held = self._held(batch_id)
            durable = held.last_durable_chunk if held else 0
            if durable > furthest:
                furthest = durable
                pause.reset()
            sent = Sent(stream(durable))
            try:
                answer = method(sent, timeout=STREAM_SECONDS)
            except grpc.RpcError:
                if sent.error is not None:
                    raise sent.error from None
                raise
            finally:
                sent.close()
            return messages.submission_value(answer.submission)

        return self._patience.run(attempt, pause)

    def submission(self, submission_id: str = "", *, batch_id: str = "") -> Submission:
        """The submission with this id, or with the sender's id of its batch."""
        key = {"submission_id": submission_id} if submission_id else {"batch_id": batch_id}
        request = intake_pb2.GetSubmissionRequest(project=self._project, **key)
        return messages.submission_value(self._call(self._intake.GetSubmission, request).submission)

    def submissions(self) -> Iterator[Submission]:
        """The submissions of the project, the oldest first."""
        for page in self._pages(self._intake.ListSubmissions, intake_pb2.ListSubmissionsRequest()):
            yield from map(messages.submission_value, page.submissions)

    def refusals(self, submission_id: str) -> pl.DataFrame:
        """What was refused in a submission: `row`, `field` (null: the row), `reason`, `refused`."""
        request = intake_pb2.ListRefusalsRequest(submission_id=submission_id)
        rows = [
            (refusal.row, refusal.field or None, refusal.reason, refusal.row_refused)
            for page in self._pages(self._intake.ListRefusals, request)
            for refusal in page.refusals
        ]
        schema = {"row": pl.UInt32, "field": pl.String, "reason": pl.String, "refused": pl.Boolean}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def delete_submission(self, submission_id: str) -> Submission:
        """Destroy a submission: key and files; what is deleted stays deleted."""
        request = intake_pb2.DeleteSubmissionRequest(mandate=self._mandate(), submission_id=submission_id)
        return messages.submission_value(self._call(self._intake.DeleteSubmission, request).submission)

    def _held(self, batch_id: str) -> Submission | None:
        try:
            return self.submission(batch_id=batch_id)
        except ServiceError as error:
            if error.reason == "SUBMISSION_NOT_FOUND":
                return None
            raise

    # --- jobs ------------------------------------------------------------------------------------

    def start_linkage(
        self,
        left: str,
        right: str,
        *,
        cardinality: str = "one-to-one",
        keys: Matchkeys | str | Path | None = None,
        keys_only: bool = False,
        model: str = "",
        threshold: float | None = None,
        all_pairs: float | None = None,
        seed: int = 0,
        request_id: str = "",
    ) -> Job:
        """Start to link two submissions, given by their ids; see `linker.link` for the options.

        Args:
            left: the submission of the left side.
            right: the submission of the right side.
            cardinality: "one-to-one", "many-to-one" or "many-to-many".
            keys: matchkeys that link before the model, as `linker.link` takes them.
            keys_only: the matchkeys link alone, as `linker.link_by_keys` does.
            model: the name of a model of the project; without it one is estimated from the records.
            threshold: match weight in bits from which a pair is linked.
            all_pairs: match weight in bits from which scored pairs are kept as a table.
            seed: of every random choice.
            request_id: an id to repeat when the same request is made again; a new one by default.

        Raises:
            ServiceError: the service refused the request, or could not be reached in time.
            ModelError: `keys` is no name of a set and no file that holds one.
        """
        request = linkage_pb2.StartLinkageRequest(
            mandate=self._mandate(request_id),
            left_submission_id=left,
            right_submission_id=right,
            cardinality=messages.CARDINALITIES[cardinality],
            options=messages.options_message(model, threshold, all_pairs, seed, keys, keys_only),
        )
        return messages.job_value(self._call(self._linkage.StartLinkage, request).job)

    def start_deduplication(
        self,
        submission: str,
        *,
        keys: Matchkeys | str | Path | None = None,
        keys_only: bool = False,
        model: str = "",
        threshold: float | None = None,
        all_pairs: float | None = None,
        seed: int = 0,
        request_id: str = "",
    ) -> Job:
        """Start to find the records of a submission that are the same person; see `start_linkage`."""
        request = linkage_pb2.StartDeduplicationRequest(
            mandate=self._mandate(request_id),
            submission_id=submission,
            options=messages.options_message(model, threshold, all_pairs, seed, keys, keys_only),
        )
        return messages.job_value(self._call(self._linkage.StartDeduplication, request).job)

    def train_model(
        self, name: str, left: str, right: str = "", *, seed: int = 0, request_id: str = ""
    ) -> Job:
        """Start to estimate a model from one or two submissions; it is kept under `name`."""
        request = linkage_pb2.TrainModelRequest(
            mandate=self._mandate(request_id),
            left_submission_id=left,
            right_submission_id=right,
            name=name,
            seed=seed,
        )
        return messages.job_value(self._call(self._linkage.TrainModel, request).job)

    def job(self, job_id: str) -> Job:
        request = job_pb2.GetJobRequest(project=self._project, job_id=job_id)
        return messages.job_value(self._call(self._jobs.GetJob, request).job)

    def jobs(self) -> Iterator[Job]:
        """The jobs of the project, the oldest first."""
        for page in self._pages(self._jobs.ListJobs, job_pb2.ListJobsRequest()):
            yield from map(messages.job_value, page.jobs)

    def watch(self, job_id: str) -> Iterator[Job]:
        """The job now and after each change, until it has finished; goes on after a restart."""
        request = job_pb2.WatchJobRequest(project=self._project, job_id=job_id)
        for answer in self._stream(lambda: self._jobs.WatchJob(request, timeout=STREAM_SECONDS)):
            job = messages.job_value(answer.job)
            yield job
            if job.state.finished:
                return

    def wait(self, job_id: str, progress: Callable[[str, int, int], None] | None = None) -> Job:
        """The job once it has finished; `progress` is called with (stage, done, total)."""
        job = None
        for job in self.watch(job_id):
            if progress is not None and job.stage:
                progress(job.stage, job.done, job.total)
        return job if job is not None else self.job(job_id)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; a finished job is returned as it is."""
        request = job_pb2.CancelJobRequest(mandate=self._mandate(), job_id=job_id)
        return messages.job_value(self._call(self._jobs.CancelJob, request).job)

    def delete_job(self, job_id: str) -> Job:
        """Destroy the result of a finished job: key and files; what is deleted stays deleted."""
        request = job_pb2.DeleteJobRequest(mandate=self._mandate(), job_id=job_id)
        return messages.job_value(self._call(self._jobs.DeleteJob, request).job)

    # --- results ---------------------------------------------------------------------------------

    def read_links(self, job_id: str, table: Table = Table.LINKS) -> pl.DataFrame:
        """A table of a finished job, with the columns that `linker.link` and `linker.dedupe` give."""
        frames: list[pl.DataFrame] = []

        def read() -> Any:
            request = linkage_pb2.ReadLinksRequest(
                project=self._project,
                job_id=job_id,
                table=messages.TABLES[table],
                format=common_pb2.FORMAT_ARROW,
                first_row=sum(frame.height for frame in frames),
            )
            return self._linkage.ReadLinks(request, timeout=STREAM_SECONDS)

        for answer in self._stream(read):
            frames.append(pl.read_ipc_stream(io.BytesIO(answer.arrow)))
        return pl.concat(frames)

    def explain(self, job_id: str, left_id: str, right_id: str) -> dict[str, Any]:
        """Why a pair has its weight: `steps`, `match_weight`, `match_probability`, `sentences`."""
        request = linkage_pb2.ExplainRequest(
            project=self._project, job_id=job_id, left_id=left_id, right_id=right_id
        )
        return _plain(self._call(self._linkage.Explain, request))

    def report(self, job_id: str, *, with_model: bool = False) -> dict[str, Any]:
        """What there is to say of a finished job: `figures`, `warnings`, `model_digest`, `manifest_json`.

        Args:
            job_id: the job.
            with_model: whether to fetch the JSON of its model too, as `model_json`.
        """
        request = linkage_pb2.GetReportRequest(project=self._project, job_id=job_id, with_model=with_model)
        answer = _plain(self._call(self._linkage.GetReport, request))
        return answer | {"figures": _whole(answer["figures"])}

    # --- models ----------------------------------------------------------------------------------

    def put_model(self, name: str, model_json: str) -> StoredModel:
        """Keep a model under a name; an earlier one of that name is replaced."""
        request = model_pb2.PutModelRequest(mandate=self._mandate(), name=name, model_json=model_json)
        return messages.model_value(self._call(self._models.PutModel, request).model)

    def get_model(self, name: str) -> str:
        """The JSON of a model, for `linker.Model.from_json`."""
        request = model_pb2.GetModelRequest(project=self._project, name=name)
        return str(self._call(self._models.GetModel, request).model_json)

    def delete_model(self, name: str) -> None:
        """Destroy a model, with all that were kept under its name before."""
        self._call(self._models.DeleteModel, model_pb2.DeleteModelRequest(mandate=self._mandate(), name=name))

    def models(self) -> Iterator[StoredModel]:
        """The models of the project, by name."""
        for page in self._pages(self._models.ListModels, model_pb2.ListModelsRequest()):
            yield from map(messages.model_value, page.models)

    # --- calls -----------------------------------------------------------------------------------

    def _mandate(self, request_id: str = "") -> common_pb2.Mandate:
        return messages.mandate_message(
            Mandate(request_id or str(uuid.uuid4()), self._project, self._purpose)
        )

    def _call(self, method: Any, request: Any) -> Any:
        return self._patience.run(lambda: method(request, timeout=self._timeout))

    def _pages(self, method: Any, request: Any) -> Iterator[Any]:
        request.project, request.page_size = self._project, 1000
        while True:
            page = self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _stream(self, start: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """The messages of a stream, begun again after a failure that passes or when its time is up."""
        pause = self._patience.pause()
        while True:
            try:
                for message in start():
                    yield message
                    pause.reset(self._patience.answered())
                return
            except grpc.RpcError as error:
                failure = self._patience.failed(error, pause)
                if failure.code != "DEADLINE_EXCEEDED":
                    pause.after(failure)


def _plain(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _whole(value: Any) -> Any:
    """Figures as they were before they travelled: a Struct holds nothing but floating point numbers."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
