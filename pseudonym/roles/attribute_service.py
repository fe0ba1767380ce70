"""The servicer of `AttributeService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Any

from pseudonym import clock, outcomes
from pseudonym.attributes import Attributes
from pseudonym.datasets import Dataset, Tag
from pseudonym.errors import ConflictError, PseudonymError
from pseudonym.lawful.cover import Cover
from pseudonym.retention.schedules import Store
from pseudonym.roles import callers, checks
from pseudonym.roles.arrow import ReadArrow, frame
from pseudonym.roles.callers import Role
from pseudonym.roles.exchange import Exchange
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import CallerRefusedError, DigestError, FieldError, StreamError
from pseudonym.roles.submissions import Submission, Submissions
from pseudonym.roles.threads import to_peer
from pseudonym.v1 import attribute_pb2, attribute_pb2_grpc
from pseudonym.values import ValuesRefused

ROW_REF = "row_ref"  # the manner of uploads by row reference; others are by a recipient's numbers


class AttributeServicer(attribute_pb2_grpc.AttributeServiceServicer):
    """Attributes on their way in."""

    def __init__(
        self,
        attributes: Attributes,
        submissions: Submissions,
        exchange: Exchange,
        read: ReadArrow,
        holders: Collection[tuple[str, str, str]] | None,
        cover: Cover,
    ) -> None:
        """Prepare it.

        Args:
            attributes: the attribute store's operations.
            submissions: the uploads.
            exchange: the way to the broker.
            read: see `ReadArrow`.
            holders: project, recipient and person of those who may send data under a recipient's numbers;
                None for everybody.
            cover: what each project stands on.
        """
        self._attributes, self._submissions = attributes, submissions
        self._exchange, self._read, self._holders, self._cover = exchange, read, holders, cover

    async def OpenProject(
        self, request: attribute_pb2.OpenProjectRequest, context: object
    ) -> attribute_pb2.OpenProjectResponse:
        project = checks.mandate(request.mandate).project
        await asyncio.to_thread(self._attributes.begin_project, project, request.epoch or 1)
        return attribute_pb2.OpenProjectResponse()

    async def DeclareDataset(
        self, request: attribute_pb2.DeclareDatasetRequest, context: object
    ) -> attribute_pb2.DeclareDatasetResponse:
        mandate = checks.mandate(request.mandate)
        try:
            dataset = Dataset.from_json(request.declaration)
        except PseudonymError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError):
            raise FieldError(
                "The declaration is none.", "docs/stores.md shows its form.", field="declaration"
            ) from None
        tags = frozenset[Tag]().union(*(column.tags for column in dataset.columns))
        self._cover.check_columns(mandate.project, mandate.purpose, (dataset.name,), tags, clock.today())
        self._cover.check_kept(mandate.project, Store.ATTRIBUTES, dataset.name)
        await asyncio.to_thread(self._attributes.declare, mandate.project, dataset)
        return attribute_pb2.DeclareDatasetResponse()

    async def SubmitAttributes(
        self, requests: AsyncIterator[attribute_pb2.SubmitAttributesRequest], context: object
    ) -> attribute_pb2.SubmitAttributesResponse:
        submission = await self._receive(requests, by_number=False)
        self._exchange.rounds.soon()
        return attribute_pb2.SubmitAttributesResponse(submission=submission_message(submission))

    async def AttachDataset(
        self, requests: AsyncIterator[attribute_pb2.AttachDatasetRequest], context: object
    ) -> attribute_pb2.AttachDatasetResponse:
        submission = await self._receive(requests, by_number=True)
        return attribute_pb2.AttachDatasetResponse(submission=submission_message(submission))

    async def _receive(self, requests: AsyncIterator[Any], *, by_number: bool) -> Submission:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise _out_of_place("The first message of an upload is its header.")
        header = first.header
        mandate = checks.mandate(header.mandate)
        manner = checks.label(header.recipient, "header.recipient") if by_number else ROW_REF
        self._check_holder(mandate.project, manner if by_number else None)
        dataset = checks.label(header.dataset, "header.dataset")
        if dataset == outcomes.NAME:
            raise FieldError(
                "What linkage says of people comes from the linkage alone.",
                "Send another dataset.",
                field="header.dataset",
            )
        await asyncio.to_thread(self._check_tags, mandate, dataset)
        sender = str(callers.current())
        submission = await asyncio.to_thread(
            self._submissions.open,
            mandate.project,
            checks.code(header.batch_id, "header.batch_id"),
            dataset,
            manner,
            sender,
        )
        columns = tuple(header.columns)
        seen = 0
        async for request in requests:
            part = request.WhichOneof("part")
            if part == "end":
                if (request.end.chunks, request.end.rows) != (len(submission.chunks), submission.rows):
                    raise _out_of_place("The end states other totals than were received.")
                account().count = submission.rows
                return await asyncio.to_thread(self._submissions.end, submission)
            if part != "chunk":
                raise _out_of_place("After the header come chunks, and then the end.")
            seen = request.chunk.number
            work = to_peer if by_number else asyncio.to_thread
            submission = await work(self._chunk, submission, request.chunk, columns, mandate.purpose)
        raise _out_of_place(f"The stream stopped after chunk {seen}; what was durable still is.")

    def _check_tags(self, mandate: checks.Mandate, dataset: str) -> None:
        """Refuse sensitive attributes for which the purpose has no condition, or no longer."""
        if mandate.project not in self._cover.records:
            return
        for known in self._attributes.datasets(mandate.project):
            if known.name == dataset:
                tags = frozenset[Tag]().union(*(column.tags for column in known.columns))
                use = mandate.project, mandate.purpose
                self._cover.check_columns(*use, (dataset,), tags, clock.today())

    def _check_holder(self, project: str, recipient: str | None) -> None:
        """Refuse whoever was not told to send data under this recipient's numbers.

        Otherwise anybody who may send at all could try out which numbers exist, and plant data under them. A
        holder who sends by row reference (no recipient) is one of the project's.
        """
        caller = callers.current()
        # The development identity is everybody.
        if self._holders is None or caller.role is None:
            return
        mine = {one for whose, one, person in self._holders if (whose, person) == (project, caller.person)}
        if recipient is None and (caller.role is not Role.DATASET_HOLDER or mine):
            return
        if recipient not in mine:
            raise CallerRefusedError(
                "The caller may not send data under the numbers of this recipient."
                if recipient
                else "The caller holds no dataset of this project.",
                "The attributes role's governance file names those who may, under holders.",
            )

    def _chunk(
        self, submission: Submission, chunk: attribute_pb2.Chunk, columns: tuple[str, ...], purpose: str
    ) -> Submission:
        digest = hashlib.sha256(chunk.arrow).hexdigest()
        if digest != chunk.sha256.hex():
            raise DigestError("The chunk's digest is not that of its content.", "Send it again.")
        durable = len(submission.chunks)
        if 1 <= chunk.number <= durable:
            if submission.chunks[chunk.number - 1] != digest:
                raise ConflictError("The chunk was received with other content.", "Begin another batch.")
            return submission
        if chunk.number != durable + 1 or submission.complete:
            raise _out_of_place(f"After chunk {durable} comes the next one.")
        take = self._by_reference if submission.manner == ROW_REF else self._by_number
        try:
            # By the service's id: two senders may have used one batch id.
            batch = f"{submission.submission_id}.{chunk.number}"
            rows = take(submission, batch, chunk.arrow, columns, purpose)
        except ValuesRefused as refused:
            self._submissions.refuse(submission, refused)
            raise
        return self._submissions.add_chunk(submission, digest, rows)

    def _by_reference(
        self, to: Submission, batch: str, content: bytes, columns: tuple[str, ...], purpose: str
    ) -> int:
        rows = frame(self._read, content, (ROW_REF,), columns)
        return self._attributes.intake.receive(to.project, to.dataset, batch, rows).rows

    def _by_number(
        self, to: Submission, batch: str, content: bytes, columns: tuple[str, ...], purpose: str
    ) -> int:
        rows = frame(self._read, content, (), ("urn", *columns))
        found = self._exchange.resolve(to.project, to.manner, rows["urn"].to_list(), purpose)
        unknown = found["aid"].null_count()
        if unknown:
            raise FieldError(
                f"{unknown} of the reference numbers are none of this recipient's.",
                "Leave these rows out, or correct the numbers; nothing of the chunk was stored.",
                field="chunk.arrow",
            )
        known = rows.drop("urn").insert_column(0, found["aid"])
        return self._attributes.intake.add(to.project, to.dataset, batch, known).rows

    async def GetSubmission(
        self, request: attribute_pb2.GetSubmissionRequest, context: object
    ) -> attribute_pb2.GetSubmissionResponse:
        if request.WhichOneof("key") is None:
            raise FieldError("Give a submission_id or a batch_id.", field="key")
        project = checks.label(request.project, "project")
        ids = {"submission_id": request.submission_id, "batch_id": request.batch_id}
        submission = self._submissions.get(project, **ids, sender=_own())
        return attribute_pb2.GetSubmissionResponse(submission=submission_message(submission))

    async def ListRefusals(
        self, request: attribute_pb2.ListRefusalsRequest, context: object
    ) -> attribute_pb2.ListRefusalsResponse:
        project = checks.label(request.project, "project")
        submission = self._submissions.get(project, submission_id=request.submission_id, sender=_own())
        first, size = checks.page(request)
        shown = await asyncio.to_thread(self._submissions.refusals, submission, first, size)
        return attribute_pb2.ListRefusalsResponse(
            refusals=[
                attribute_pb2.Refusal(chunk=chunk, row=row, column=column, reason=reason)
                for chunk, row, column, reason in shown.rows()
            ],
            next_page_token=checks.next_token(first, size, submission.refused),
        )


def submission_message(submission: Submission) -> attribute_pb2.Submission:
    """An upload as its sender sees it."""
    state = attribute_pb2.SUBMISSION_STATE_RECEIVING
    if submission.complete:
        state = attribute_pb2.SUBMISSION_STATE_COMPLETE
    elif submission.refused:
        state = attribute_pb2.SUBMISSION_STATE_REFUSED
    return attribute_pb2.Submission(
        submission_id=submission.submission_id,
        project=submission.project,
        batch_id=submission.batch_id,
        dataset=submission.dataset,
        state=state,
        last_durable_chunk=len(submission.chunks),
        rows=submission.rows,
        refused_values=submission.refused,
        create_time=checks.timestamp(datetime.fromisoformat(submission.created)),
    )


def _own() -> str:
    """Whose submissions the caller may see: their own; the development identity is everybody."""
    caller = callers.current()
    return str(caller) if caller.role is not None else ""


def _out_of_place(message: str) -> StreamError:
    return StreamError(message, "Send the header, then the chunks, then the end.")
