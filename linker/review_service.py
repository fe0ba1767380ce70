"""The servicer of reviews: it translates and nothing else."""

from __future__ import annotations

import asyncio

from linker import callers, review_messages
from linker.messages import code, mandate_value, wrong
from linker.paging import digest_of_request, page_size, position, token
from linker.reviews import Reviews
from linker.v1 import review_pb2, review_pb2_grpc

MOST = 1_000  # judgements of a request


class ReviewServicer(review_pb2_grpc.ReviewServiceServicer):
    """The pairs that people judge."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    async def NextPair(
        self, request: review_pb2.NextPairRequest, context: object
    ) -> review_pb2.NextPairResponse:
        mandate, reviewer = mandate_value(request.mandate), callers.current().name
        found = await asyncio.to_thread(
            self._reviews.next, mandate, request.job_id, reviewer, request.together
        )
        return review_messages.next_message(found)

    async def Judge(self, request: review_pb2.JudgeRequest, context: object) -> review_pb2.JudgeResponse:
        if not 0 < len(request.judgements) <= MOST:
            raise wrong("judgements", f"Between 1 and {MOST:,} pairs are judged at once.")
        given = [review_messages.judged(one) for one in request.judgements]
        reviewer, digest = callers.current().name, digest_of_request(request)
        done = await asyncio.to_thread(
            self._reviews.judge, mandate_value(request.mandate), request.job_id, reviewer, given, digest
        )
        return review_pb2.JudgeResponse(progress=review_messages.progress_message(done))

    async def Undo(self, request: review_pb2.UndoRequest, context: object) -> review_pb2.UndoResponse:
        reviewer, digest = callers.current().name, digest_of_request(request)
        done = await asyncio.to_thread(
            self._reviews.undo, mandate_value(request.mandate), request.job_id, reviewer, request.pair, digest
        )
        return review_pb2.UndoResponse(progress=review_messages.progress_message(done))

    async def ListJudgements(
        self, request: review_pb2.ListJudgementsRequest, context: object
    ) -> review_pb2.ListJudgementsResponse:
        project, after, count = code(request.project, "project"), position(request), page_size(request)
        found = await asyncio.to_thread(self._reviews.all, project, request.job_id, callers.sender())
        page = found[after : after + count]
        return review_pb2.ListJudgementsResponse(
            judgements=[review_messages.judgement_message(one) for one in page],
            next_page_token=token(after + count) if after + count < len(found) else "",
        )

    async def GetProgress(
        self, request: review_pb2.GetProgressRequest, context: object
    ) -> review_pb2.GetProgressResponse:
        project = code(request.project, "project")
        found = await asyncio.to_thread(self._reviews.progress, project, request.job_id)
        return review_pb2.GetProgressResponse(progress=review_messages.progress_message(found))
