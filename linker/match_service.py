"""The servicer of references: it translates and nothing else, and puts together what comes together.

message ──check──▶ values ──thread──▶ References ──▶ answers ──▶ message
stream: messages that wait are asked as one ──▶ one answer for each, in order
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from linker import messages
from linker.arrow import read_chunk, written
from linker.messages import code, mandate_value, wrong
from linker.paging import digest_of_request, page_size
from linker.references import References
from linker.refusals import Invalid
from linker.v1 import match_pb2, match_pb2_grpc

AHEAD = 8  # messages of a stream that wait to be asked
TOGETHER = 5_000  # records that are asked as one, about


class MatchServicer(match_pb2_grpc.MatchServiceServicer):
    """References, and what they know of a record."""

    def __init__(self, references: References) -> None:
        self._references = references

    async def LoadReference(
        self, request: match_pb2.LoadReferenceRequest, context: object
    ) -> match_pb2.LoadReferenceResponse:
        reference = await asyncio.to_thread(
            self._references.load,
            mandate_value(request.mandate),
            code(request.name, "name"),
            request.submission_id,
            code(request.model, "model"),
            digest_of_request(request),
        )
        return match_pb2.LoadReferenceResponse(reference=messages.reference_message(reference))

    async def GetReference(
        self, request: match_pb2.GetReferenceRequest, context: object
    ) -> match_pb2.GetReferenceResponse:
        project = code(request.project, "project")
        reference = await asyncio.to_thread(self._references.get, project, request.name)
        return match_pb2.GetReferenceResponse(reference=messages.reference_message(reference))

    async def ListReferences(
        self, request: match_pb2.ListReferencesRequest, context: object
    ) -> match_pb2.ListReferencesResponse:
        project, count = code(request.project, "project"), page_size(request)
        page = await asyncio.to_thread(self._references.page, project, request.page_token, count)
        return match_pb2.ListReferencesResponse(
            references=[messages.reference_message(reference) for reference in page],
            next_page_token=page[-1].name if len(page) == count else "",
        )

    async def DropReference(
        self, request: match_pb2.DropReferenceRequest, context: object
    ) -> match_pb2.DropReferenceResponse:
        mandate, name = mandate_value(request.mandate), code(request.name, "name")
        await asyncio.to_thread(self._references.drop, mandate, name, digest_of_request(request))
        return match_pb2.DropReferenceResponse()

    async def PutRecords(
        self, request: match_pb2.PutRecordsRequest, context: object
    ) -> match_pb2.PutRecordsResponse:
        def put() -> Any:
            self._check(len(request.records))
            return self._references.put(
                mandate_value(request.mandate),
                code(request.reference, "reference"),
                [record.record_id for record in request.records],
                _values(request.records),
                digest_of_request(request),
            )

        reference = await asyncio.to_thread(put)
        return match_pb2.PutRecordsResponse(reference=messages.reference_message(reference))

    async def RemoveRecords(
        self, request: match_pb2.RemoveRecordsRequest, context: object
    ) -> match_pb2.RemoveRecordsResponse:
        self._check(len(request.record_ids))
        reference = await asyncio.to_thread(
            self._references.remove,
            mandate_value(request.mandate),
            code(request.reference, "reference"),
            list(request.record_ids),
            digest_of_request(request),
        )
        return match_pb2.RemoveRecordsResponse(reference=messages.reference_message(reference))

    async def Match(self, request: match_pb2.MatchRequest, context: object) -> match_pb2.MatchResponse:
        project, name = code(request.project, "project"), code(request.reference, "reference")
        options = self._options(request.options)

        def ask() -> match_pb2.MatchResult:
            (answer,) = self._references.ask(project, name, _values([request.record]), **options)
            return messages.result_message(request.record.record_id, answer)

        return match_pb2.MatchResponse(result=await asyncio.to_thread(ask))

    async def MatchStream(
        self, requests: AsyncIterator[match_pb2.MatchStreamRequest], context: object
    ) -> AsyncIterator[match_pb2.MatchStreamResponse]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Invalid(
                "STREAM_INVALID", "The first message of the stream is its header.", "Send the header first."
            )
        project, name = code(first.header.project, "project"), code(first.header.reference, "reference")
        options = self._options(first.header.options)
        waiting: asyncio.Queue[match_pb2.Records | None] = asyncio.Queue(AHEAD)

        def ask(group: Sequence[match_pb2.Records]) -> list[match_pb2.MatchStreamResponse]:
            records = [record for one in group for record in one.records]
            answers = iter(self._references.ask(project, name, _values(records), **options))
            return [
                match_pb2.MatchStreamResponse(
                    results=[
                        messages.result_message(record.record_id, next(answers)) for record in one.records
                    ]
                )
                for one in group
            ]

        async def read() -> None:
            try:
                async for request in requests:
                    if request.WhichOneof("part") != "records":
                        raise Invalid(
                            "STREAM_INVALID", "After the header come records.", "Send the header once."
                        )
                    self._check(len(request.records.records))
                    await waiting.put(request.records)
            except Exception:
                await waiting.put(None)
                raise
            await waiting.put(None)

        reading = asyncio.create_task(read())
        try:
            more = True
            while more:
                group = [await waiting.get()]
                while not waiting.empty() and _size(group) < TOGETHER:
                    group.append(waiting.get_nowait())
                more = group[-1] is not None
                if asked := [one for one in group if one is not None]:
                    for response in await asyncio.to_thread(ask, asked):
                        yield response
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def MatchUpload(
        self, requests: AsyncIterator[match_pb2.MatchUploadRequest], context: object
    ) -> AsyncIterator[match_pb2.MatchUploadResponse]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Invalid(
                "STREAM_INVALID", "The first message of the stream is its header.", "Send the header first."
            )
        header, limits = first.header, self._references.limits
        project, name = code(header.project, "project"), code(header.reference, "reference")
        options, columns = self._options(header.options), list(header.columns)
        if options.pop("explain"):
            raise wrong("options.explain", "The tables of an upload come without explanations.")
        if len(set(columns)) != len(columns) or len(columns) > limits.columns:
            raise wrong("columns", f"Columns have different names and are at most {limits.columns}.")

        def answer(content: bytes) -> bytes:
            chunk = read_chunk(content, columns, limits)
            return written(self._references.match(project, name, chunk, **options))

        async for request in requests:
            if request.WhichOneof("part") != "arrow":
                raise Invalid("STREAM_INVALID", "After the header come chunks.", "Send the header once.")
            yield match_pb2.MatchUploadResponse(arrow=await asyncio.to_thread(answer, request.arrow))

    def _check(self, records: int) -> None:
        most = self._references.limits.records
        if not 0 < records <= most:
            raise wrong("records", f"A message has between 1 and {most} records.")

    def _options(self, options: match_pb2.MatchOptions) -> dict[str, Any]:
        most = self._references.limits.candidates
        if not 0 <= options.top <= most:
            raise wrong("options.top", f"top is at most {most}, and not negative.")
        if not math.isfinite(options.floor):
            raise wrong("options.floor", "floor is a finite number of bits.")
        return {"top": options.top or 5, "floor": options.floor, "explain": options.explain}


def _values(records: Sequence[match_pb2.Record]) -> list[dict[str, str]]:
    return [dict(record.values) for record in records]


def _size(group: Sequence[match_pb2.Records | None]) -> int:
    return sum(len(one.records) for one in group if one is not None)
