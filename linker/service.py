"""The servicers of `linker.v1`: they translate and nothing else.

    message ──check──▶ value ──thread──▶ Intake, Runner, Store ──▶ value ──▶ message

A refusal is raised as an error of `linker.refusals`; the interceptor of `server.py` turns it into a status.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Literal

import polars as pl

from linker import arrow, callers, messages, work
from linker.chunks import Content, Examined
from linker.destruction import destroy_doomed
from linker.errors import ModelError
from linker.intake import Intake
from linker.jobs import Runner
from linker.matchkeys import Matchkeys
from linker.matchkeys_ons import SETS
from linker.messages import batch_value, bits, code, mandate_value, wrong
from linker.model import Model
from linker.paging import digest_of_request, page_size, position, token
from linker.person_service import PersonMethods
from linker.receiving import receive
from linker.refusals import Invalid, Unavailable
from linker.registers import Registers
from linker.resources import Job, JobKind, Limits, Submission, SubmissionKind, Table, Work
from linker.store import Store
from linker.store.models import WORD as MODEL_WORD
from linker.upload import Upload
from linker.v1 import (
    common_pb2,
    intake_pb2,
    intake_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    linkage_pb2,
    linkage_pb2_grpc,
    match_pb2,
    model_pb2,
    model_pb2_grpc,
    review_pb2,
)

SERVICES = tuple(
    service
    for module in (intake_pb2, linkage_pb2, job_pb2, model_pb2, match_pb2, review_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
_SECONDS = {
    "SubmitIdentities": 3600.0,
    "SubmitExtract": 3600.0,
    "ReadLinks": 3600.0,
    "MatchStream": 3600.0,
    "MatchUpload": 3600.0,
    "WatchJob": 86_400.0,
}
METHODS = {
    f"/{service.full_name}/{method.name}": _SECONDS.get(method.name, 60.0)
    for service in SERVICES
    for method in service.methods
}
"""Every method of these services and the seconds it may take at most."""

READ_ROWS = 10_000


class IntakeServicer(intake_pb2_grpc.IntakeServiceServicer):
    """Uploads, submissions and refusals."""

    def __init__(self, store: Store, intake: Intake, registers: Registers) -> None:
        """Make it; `registers` says who holds which register."""
        self._store, self._intake, self._registers = store, intake, registers

    async def SubmitIdentities(
        self, requests: AsyncIterator[intake_pb2.SubmitIdentitiesRequest], context: object
    ) -> intake_pb2.SubmitIdentitiesResponse:
        submission = await self._receive(SubmissionKind.IDENTITIES, requests)
        return intake_pb2.SubmitIdentitiesResponse(submission=messages.submission_message(submission))

    async def SubmitExtract(
        self, requests: AsyncIterator[intake_pb2.SubmitExtractRequest], context: object
    ) -> intake_pb2.SubmitExtractResponse:
        submission = await self._receive(SubmissionKind.EXTRACT, requests)
        return intake_pb2.SubmitExtractResponse(submission=messages.submission_message(submission))

    async def _receive(self, kind: SubmissionKind, requests: AsyncIterator[Any]) -> Submission:
        header = await anext(requests, None)
        if header is None or header.WhichOneof("part") != "header":
            raise _out_of_place("The first message of an upload is its header.")
        batch, mandate = batch_value(kind, header.header), mandate_value(header.header.mandate)
        if kind is SubmissionKind.EXTRACT:
            sender = callers.current().name
            self._registers.check_holder(sender, mandate.project, batch.source.lower())
        upload = await asyncio.to_thread(self._intake.open, batch, mandate, _header_digest(header.header))
        end = None

        async def chunks() -> AsyncIterator[intake_pb2.Chunk]:
            nonlocal end
            async for request in requests:
                part = request.WhichOneof("part")
                if part == "end":
                    end = request.end
                    return
                if part != "chunk":
                    raise _out_of_place("After the header come chunks, and then the end.")
                yield request.chunk
            raise _out_of_place("The stream stopped before the end of the upload; what was durable still is.")

        await receive(chunks(), lambda chunk: _examine(upload, chunk), upload.keep)
        assert end is not None, "the chunks end with it"
        return await asyncio.to_thread(upload.end, end.chunks, end.rows, end.sha256)

    async def GetSubmission(
        self, request: intake_pb2.GetSubmissionRequest, context: object
    ) -> intake_pb2.GetSubmissionResponse:
        project = code(request.project, "project")
        if request.WhichOneof("key") is None:
            raise wrong("key", "Give a submission_id or a batch_id.")
        submission = await asyncio.to_thread(
            self._store.submissions.get,
            project,
            submission_id=request.submission_id,
            batch_id=request.batch_id,
            sender=callers.sender(),
        )
        return intake_pb2.GetSubmissionResponse(submission=messages.submission_message(submission))

    async def ListSubmissions(
        self, request: intake_pb2.ListSubmissionsRequest, context: object
    ) -> intake_pb2.ListSubmissionsResponse:
        project, after, count = code(request.project, "project"), position(request), page_size(request)
        page = await asyncio.to_thread(self._store.submissions.page, project, after, count, callers.sender())
        return intake_pb2.ListSubmissionsResponse(
            submissions=[messages.submission_message(submission) for _, submission in page],
            next_page_token=token(page[-1][0]) if len(page) == count else "",
        )

    async def ListRefusals(
        self, request: intake_pb2.ListRefusalsRequest, context: object
    ) -> intake_pb2.ListRefusalsResponse:
        project, first, count = code(request.project, "project"), position(request), page_size(request)
        submission = await asyncio.to_thread(
            self._store.submissions.get,
            project,
            submission_id=request.submission_id,
            sender=callers.sender(),
        )
        page = await asyncio.to_thread(self._intake.refusals, submission, first, count)
        return intake_pb2.ListRefusalsResponse(
            refusals=[
                intake_pb2.Refusal(row=row, field=field, reason=reason, row_refused=refused)
                for row, field, reason, refused in page.select("row", "field", "reason", "refused").rows()
            ],
            next_page_token=token(first + count) if page.height == count else "",
        )

    async def DeleteSubmission(
        self, request: intake_pb2.DeleteSubmissionRequest, context: object
    ) -> intake_pb2.DeleteSubmissionResponse:
        submission = await asyncio.to_thread(
            self._intake.delete,
            mandate_value(request.mandate),
            request.submission_id,
            callers.sender(),
            digest_of_request(request),
        )
        return intake_pb2.DeleteSubmissionResponse(submission=messages.submission_message(submission))


class LinkageServicer(PersonMethods, linkage_pb2_grpc.LinkageServiceServicer):
    """Linkages, deduplications and trainings, and what came out of them."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        caller: Callable[[], str] = lambda: "",
        grounds: Callable[[], str] = lambda: "",
    ) -> None:
        """Make it; `caller` names who makes the present call, `grounds` says as JSON what it stands on."""
        self._store, self._runner, self._caller, self._grounds = store, runner, caller, grounds

    async def StartLinkage(
        self, request: linkage_pb2.StartLinkageRequest, context: object
    ) -> linkage_pb2.StartLinkageResponse:
        if request.cardinality and messages.back(messages.CARDINALITIES, request.cardinality) is None:
            raise wrong("cardinality", "The cardinality is not known.")
        one_to_one = (linkage_pb2.CARDINALITY_UNSPECIFIED, linkage_pb2.CARDINALITY_ONE_TO_ONE)
        if request.options.matchkeys.only and request.cardinality not in one_to_one:
            raise wrong("cardinality", "Matchkeys alone link one to one.")
        job = await self._start(
            "StartLinkage",
            request,
            Work(
                JobKind.LINKAGE,
                (request.left_submission_id, request.right_submission_id),
                messages.back(messages.CARDINALITIES, request.cardinality),
                **await _options(request.options),
            ),
        )
        return linkage_pb2.StartLinkageResponse(job=messages.job_message(job))

    async def StartDeduplication(
        self, request: linkage_pb2.StartDeduplicationRequest, context: object
    ) -> linkage_pb2.StartDeduplicationResponse:
        work = Work(JobKind.DEDUPLICATION, (request.submission_id,), **await _options(request.options))
        job = await self._start("StartDeduplication", request, work)
        return linkage_pb2.StartDeduplicationResponse(job=messages.job_message(job))

    async def TrainModel(
        self, request: linkage_pb2.TrainModelRequest, context: object
    ) -> linkage_pb2.TrainModelResponse:
        sides = (request.left_submission_id, request.right_submission_id)
        work = Work(
            JobKind.TRAINING,
            sides if request.right_submission_id else sides[:1],
            model=code(request.name, "name"),
            seed=request.seed,
        )
        job = await self._start("TrainModel", request, work)
        return linkage_pb2.TrainModelResponse(job=messages.job_message(job))

    async def _start(self, method: str, request: Any, work: Work) -> Job:
        mandate, work = mandate_value(request.mandate), replace(work, grounds=self._grounds())
        return await asyncio.to_thread(self._runner.submit, work, mandate, method, digest_of_request(request))

    async def ReadLinks(
        self, request: linkage_pb2.ReadLinksRequest, context: object
    ) -> AsyncIterator[linkage_pb2.ReadLinksResponse]:
        project, read = code(request.project, "project"), _reading(request.format)
        table = messages.back(messages.TABLES, request.table) if request.table else Table.LINKS
        if table is None:
            raise wrong("table", "The table is not known.")
        with contextlib.ExitStack() as stack:
            opening = self._runner.table(project, request.job_id, table)
            frame = await asyncio.to_thread(stack.enter_context, opening)
            first = request.first_row
            while True:
                part = await asyncio.to_thread(lambda at: read(frame.slice(at, READ_ROWS)), first)
                yield linkage_pb2.ReadLinksResponse(first_row=first, total_rows=frame.height, **part)
                first += READ_ROWS
                if first >= frame.height:
                    return

    async def Explain(
        self, request: linkage_pb2.ExplainRequest, context: object
    ) -> linkage_pb2.ExplainResponse:
        project = code(request.project, "project")
        explanation = await asyncio.to_thread(
            self._runner.explain, project, request.job_id, request.left_id, request.right_id
        )
        return linkage_pb2.ExplainResponse(
            prior_weight=explanation.prior,
            steps=messages.steps_message(explanation.steps),
            match_weight=explanation.weight,
            match_probability=explanation.probability,
            rule=explanation.rule or "",
            sentences=explanation.sentences(),
        )

    async def GetReport(
        self, request: linkage_pb2.GetReportRequest, context: object
    ) -> linkage_pb2.GetReportResponse:
        project = code(request.project, "project")
        job_id, document = request.job_id, self._runner.document
        figures = await asyncio.to_thread(self._runner.report, project, job_id)
        response = linkage_pb2.GetReportResponse(
            warnings=figures.get("warnings", []),
            model_digest=figures.get("model", {}).get("digest", ""),
            manifest_json=await asyncio.to_thread(document, project, job_id, work.MANIFEST),
        )
        if request.with_model:
            response.model_json = await asyncio.to_thread(document, project, job_id, work.MODEL)
        response.figures.update(figures)
        return response


class JobServicer(job_pb2_grpc.JobServiceServicer):
    """Jobs, watched and cancelled."""

    def __init__(self, store: Store, runner: Runner) -> None:
        self._store, self._runner = store, runner
        self._waiting: set[asyncio.Event] = set()
        self._draining = False

    def drain(self) -> None:
        """End every watch: the server is about to stop."""
        self._draining = True
        for changed in self._waiting:
            changed.set()

    async def GetJob(self, request: job_pb2.GetJobRequest, context: object) -> job_pb2.GetJobResponse:
        project = code(request.project, "project")
        job = await asyncio.to_thread(self._store.jobs.get, project, request.job_id)
        return job_pb2.GetJobResponse(job=messages.job_message(job))

    async def ListJobs(self, request: job_pb2.ListJobsRequest, context: object) -> job_pb2.ListJobsResponse:
        project, after, count = code(request.project, "project"), position(request), page_size(request)
        page = await asyncio.to_thread(self._store.jobs.page, project, after, count)
        return job_pb2.ListJobsResponse(
            jobs=[messages.job_message(job) for _, job in page],
            next_page_token=token(page[-1][0]) if len(page) == count else "",
        )

    async def WatchJob(
        self, request: job_pb2.WatchJobRequest, context: object
    ) -> AsyncIterator[job_pb2.WatchJobResponse]:
        project = code(request.project, "project")
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody watches any more
                loop.call_soon_threadsafe(changed.set)

        self._waiting.add(changed)
        end = self._runner.watch(request.job_id, notify)
        try:
            while True:
                changed.clear()
                job = await asyncio.to_thread(self._store.jobs.get, project, request.job_id)
                yield job_pb2.WatchJobResponse(job=messages.job_message(job))
                if job.state.finished:
                    return
                if self._draining:
                    raise Unavailable(
                        "DRAINING", "The server is about to stop.", "Watch the job again.", retry_after=1.0
                    )
                await changed.wait()
        finally:
            end()
            self._waiting.discard(changed)

    async def CancelJob(
        self, request: job_pb2.CancelJobRequest, context: object
    ) -> job_pb2.CancelJobResponse:
        mandate = mandate_value(request.mandate)
        job = await asyncio.to_thread(
            self._runner.cancel, mandate, request.job_id, digest_of_request(request)
        )
        return job_pb2.CancelJobResponse(job=messages.job_message(job))

    async def DeleteJob(
        self, request: job_pb2.DeleteJobRequest, context: object
    ) -> job_pb2.DeleteJobResponse:
        mandate = mandate_value(request.mandate)
        job = await asyncio.to_thread(
            self._runner.delete, mandate, request.job_id, digest_of_request(request)
        )
        return job_pb2.DeleteJobResponse(job=messages.job_message(job))


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Models by project and name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def PutModel(
        self, request: model_pb2.PutModelRequest, context: object
    ) -> model_pb2.PutModelResponse:
        mandate, name, digest = (
            mandate_value(request.mandate),
            code(request.name, "name"),
            digest_of_request(request),
        )
        checked = await asyncio.to_thread(Model.from_json, request.model_json)
        model = await asyncio.to_thread(
            self._store.models.put, mandate, name, checked.digest, request.model_json, digest
        )
        return model_pb2.PutModelResponse(model=messages.model_message(model))

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: object
    ) -> model_pb2.GetModelResponse:
        project = code(request.project, "project")
        model, text = await asyncio.to_thread(self._store.models.get, project, request.name)
        return model_pb2.GetModelResponse(model=messages.model_message(model), model_json=text)

    async def DeleteModel(
        self, request: model_pb2.DeleteModelRequest, context: object
    ) -> model_pb2.DeleteModelResponse:
        mandate, name = mandate_value(request.mandate), code(request.name, "name")

        def delete() -> None:
            self._store.models.delete(mandate, name, digest_of_request(request))
            destroy_doomed(self._store, MODEL_WORD, None)

        await asyncio.to_thread(delete)
        return model_pb2.DeleteModelResponse()

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, context: object
    ) -> model_pb2.ListModelsResponse:
        project, count = code(request.project, "project"), page_size(request)
        page = await asyncio.to_thread(self._store.models.page, project, request.page_token, count)
        return model_pb2.ListModelsResponse(
            models=[messages.model_message(model) for model in page],
            next_page_token=page[-1].name if len(page) == count else "",
        )


def _out_of_place(message: str) -> Invalid:
    return Invalid("STREAM_INVALID", message, "Send the header, then the chunks, then the end.")


def _examine(upload: Upload, chunk: intake_pb2.Chunk) -> Examined:
    content: Content = chunk.arrow
    if chunk.WhichOneof("content") == "rows":
        rows = chunk.rows.rows
        upload.check_rows(len(rows), (len(row.values) for row in rows))
        content = [list(row.values) for row in rows]
    return upload.examine(chunk.number, chunk.sha256, content)


async def _options(options: linkage_pb2.LinkageOptions) -> dict[str, Any]:
    found = {
        "model": code(options.model, "options.model") if options.model else "",
        "threshold": _weight(options, "threshold"),
        "all_pairs": _weight(options, "all_pairs"),
        "seed": options.seed,
    }
    if not options.HasField("matchkeys"):
        return found
    for name in ("model", "threshold", "all_pairs"):
        if options.matchkeys.only and found[name] not in ("", None):
            raise wrong(f"options.{name}", f"Matchkeys alone link without a model: leave {name} out.")
    keys = await asyncio.to_thread(_keys, options.matchkeys)
    return found | {"keys": keys, "keys_only": options.matchkeys.only}


def _keys(asked: linkage_pb2.MatchkeyOptions) -> str:
    """The JSON of the matchkeys that a request names or brings."""
    if asked.WhichOneof("set") is None:
        raise wrong("options.matchkeys", "Give the name of a set of matchkeys, or a set as JSON.")
    if asked.WhichOneof("set") == "name":
        if asked.name not in SETS:
            known = ", ".join(SETS)
            raise wrong("options.matchkeys.name", f"There is no set of matchkeys of this name, but: {known}.")
        return SETS[asked.name].to_json()
    field, most = "options.matchkeys.json", Limits().keys_bytes
    if len(asked.json.encode()) > most:
        raise wrong(field, f"A set of matchkeys has at most {most:,} bytes.")
    try:
        return Matchkeys.from_json(asked.json).to_json()
    except ModelError as error:
        raise Invalid(error.reason, error.message, error.help, field=field) from None


def _weight(options: linkage_pb2.LinkageOptions, name: Literal["threshold", "all_pairs"]) -> float | None:
    return bits(options, name, f"options.{name}")


def _reading(form: common_pb2.Format) -> Callable[[pl.DataFrame], dict[str, Any]]:
    """How the rows of a table are put into a message."""
    if form == common_pb2.FORMAT_ARROW:
        return lambda frame: {"arrow": arrow.written(frame)}
    if form != common_pb2.FORMAT_ROWS:
        raise wrong("format", "format is FORMAT_ROWS or FORMAT_ARROW.")
    return lambda frame: (
        {"members": messages.members_message(frame)}
        if "cluster_id" in frame.columns
        else {"pairs": messages.pairs_message(frame)}
    )


def _header_digest(header: intake_pb2.SubmissionHeader) -> bytes:
    """The digest of what is announced; a resumed upload may state its purpose in other words."""
    announced = intake_pb2.SubmissionHeader()
    announced.CopyFrom(header)
    announced.ClearField("mandate")
    return digest_of_request(announced)
