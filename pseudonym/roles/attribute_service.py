"""The servicer of `AttributeService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import polars as pl

from pseudonym import clock, frames, outcomes
from pseudonym.attributes import Attributes
from pseudonym.attributes_rights import OWN
from pseudonym.datasets import Dataset, Tag
from pseudonym.errors import ConflictError, PseudonymError
from pseudonym.lawful.cover import Cover
from pseudonym.retention.schedules import Store
from pseudonym.roles import callers, checks
from pseudonym.roles.arrow import ReadArrow, frame
from pseudonym.roles.exchange import Exchange
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import DigestError, FieldError, StreamError
from pseudonym.roles.senders import Holders, bound
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
        holders: Holders,
        cover: Cover,
    ) -> None:
        """Prepare it.

        Args:
            attributes: the attribute store's operations.
            submissions: the uploads.
            exchange: the way to the broker.
            read: see `ReadArrow`.
            holders: who may send what.
            cover: what each project stands on.
        """
        self._attributes, self._submissions = attributes, submissions
        self._exchange, self._read, self._holders, self._cover = exchange, read, holders, cover

    async def OpenProject(
        self, request: attribute_pb2.OpenProjectRequest, context: object
    ) -> attribute_pb2.OpenProjectResponse:
        project = checks.mandate(request.mandate).project
        await to_peer(self._exchange.check_begun, project)
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
        dataset = checks.label(header.dataset, "header.dataset")
        self._holders.check(callers.current(), mandate.project, dataset, manner if by_number else "")
        if dataset == outcomes.NAME or dataset in OWN:
            raise FieldError(
                "What linkage and people's rights say of people is the role's own.",
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
        refs = pl.Series(ROW_REF, bound(to.sender, frames.ids(rows, ROW_REF)), dtype=pl.Binary)
        return self._attributes.intake.receive(to.project, to.dataset, batch, rows.with_columns(refs)).rows

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
