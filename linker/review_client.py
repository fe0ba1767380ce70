"""The client's calls about the pairs that people judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from linker import review_messages
from linker.judgements import Judgement, Next, Progress, Reason, Verdict
from linker.v1 import common_pb2, review_pb2


class ReviewCalls:
    """The part of `linker.client.Client` that a reviewer uses."""

    _review: Any
    _project: str
    _mandate: Callable[..., common_pb2.Mandate]
    _call: Callable[[Any, Any], Any]
    _pages: Callable[[Any, Any], Iterator[Any]]

    def next_pair(self, job_id: str, *, together: bool = False, request_id: str = "") -> Next:
        """What waits for you: a pair with both records, or all that hangs together with it.

        Raises:
            ServiceError: the service refused it, or identities are not opened for your purpose.
        """
        request = review_pb2.NextPairRequest(
            mandate=self._mandate(request_id), job_id=job_id, together=together
        )
        return review_messages.next_value(self._call(self._review.NextPair, request))

    def judge(
        self, job_id: str, judged: Sequence[tuple[int, Verdict, Reason]], *, request_id: str = ""
    ) -> Progress:
        """Judge pairs, all or none; how far the queue has come.

        Raises:
            ServiceError: the service refused it; nothing was kept.
        """
        request = review_pb2.JudgeRequest(
            mandate=self._mandate(request_id),
            job_id=job_id,
            judgements=[
                review_pb2.PairJudgement(
                    pair=pair,
                    verdict=review_messages.VERDICTS[verdict],
                    reason=review_messages.REASONS[reason],
                )
                for pair, verdict, reason in judged
            ],
        )
        return review_messages.progress_value(self._call(self._review.Judge, request).progress)

    def undo_judgement(self, job_id: str, pair: int, *, request_id: str = "") -> Progress:
        """Take back what you judged of a pair; how far the queue has come.

        Raises:
            ServiceError: the service refused it, or there is nothing to take back.
        """
        request = review_pb2.UndoRequest(mandate=self._mandate(request_id), job_id=job_id, pair=pair)
        return review_messages.progress_value(self._call(self._review.Undo, request).progress)

    def judgements(self, job_id: str) -> Iterator[Judgement]:
        """What you judged, the earliest first; a linkage operator gets what everybody judged.

        Raises:
            ServiceError: the service refused it.
        """
        request = review_pb2.ListJudgementsRequest(project=self._project, job_id=job_id)
        for page in self._pages(self._review.ListJudgements, request):
            yield from map(review_messages.judgement_value, page.judgements)

    def review_progress(self, job_id: str) -> Progress:
        """How far a queue has come.

        Raises:
            ServiceError: the service refused it.
        """
        request = review_pb2.GetProgressRequest(project=self._project, job_id=job_id)
        return review_messages.progress_value(self._call(self._review.GetProgress, request).progress)
