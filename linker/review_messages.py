# ruff: noqa: D103 - the name of each function says which message it makes or reads
"""Between the messages of reviews and the values of `linker.judgements`; server and client use it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC

from linker.judgements import (
    Agreement,
    Judgement,
    Next,
    Pair,
    Progress,
    Reason,
    Round,
    Shown,
    Verdict,
)
from linker.messages import back, sure, timestamp, wrong
from linker.v1 import review_pb2

VERDICTS = {
    Verdict.SAME: review_pb2.VERDICT_SAME,
    Verdict.DIFFERENT: review_pb2.VERDICT_DIFFERENT,
    Verdict.CANNOT_TELL: review_pb2.VERDICT_CANNOT_TELL,
    Verdict.EXPERT: review_pb2.VERDICT_EXPERT,
}
REASONS = {
    Reason.NONE: review_pb2.JUDGEMENT_REASON_UNSPECIFIED,
    Reason.TWINS: review_pb2.JUDGEMENT_REASON_TWINS,
    Reason.RELATIVES: review_pb2.JUDGEMENT_REASON_RELATIVES,
    Reason.NAME_CHANGED: review_pb2.JUDGEMENT_REASON_NAME_CHANGED,
    Reason.MOVED: review_pb2.JUDGEMENT_REASON_MOVED,
    Reason.DATA_ERROR: review_pb2.JUDGEMENT_REASON_DATA_ERROR,
    Reason.UNMATCHABLE: review_pb2.JUDGEMENT_REASON_UNMATCHABLE,
}
AGREEMENTS = {
    Agreement.EQUAL: review_pb2.AGREEMENT_EQUAL,
    Agreement.ALIKE: review_pb2.AGREEMENT_ALIKE,
    Agreement.DIFFERENT: review_pb2.AGREEMENT_DIFFERENT,
    Agreement.MISSING: review_pb2.AGREEMENT_MISSING,
}


def judged(message: review_pb2.PairJudgement) -> tuple[int, Verdict, Reason]:
    """What is judged of a pair. Raises Invalid."""
    verdict, reason = back(VERDICTS, message.verdict), back(REASONS, message.reason)
    if verdict is None:
        raise wrong("judgements", "Every judgement has a verdict.")
    if reason is None:
        raise wrong("judgements", "The reason of a judgement is not known.")
    return message.pair, verdict, reason


def next_message(found: Next) -> review_pb2.NextPairResponse:
    return review_pb2.NextPairResponse(
        pairs=[
            review_pb2.PairInReview(
                pair=pair.pair,
                left_id=pair.left_id,
                right_id=pair.right_id,
                match_weight=pair.weight,
                fields=[
                    review_pb2.FieldAgreement(field=name, agreement=AGREEMENTS[agreement])
                    for name, agreement in pair.fields.items()
                ],
            )
            for pair in found.pairs
        ],
        records=[
            review_pb2.RecordInReview(
                record_id=record.record_id,
                known=record.known,
                fields=[
                    review_pb2.FieldInReview(field=name, values=values)
                    for name, values in record.fields.items()
                ],
            )
            for record in found.records
        ],
        waiting=found.waiting,
    )


def next_value(message: review_pb2.NextPairResponse) -> Next:
    return Next(
        [
            Pair(
                pair.pair,
                pair.left_id,
                pair.right_id,
                pair.match_weight if pair.HasField("match_weight") else None,
                {one.field: sure(AGREEMENTS, one.agreement) for one in pair.fields},
            )
            for pair in message.pairs
        ],
        [
            Shown(record.record_id, record.known, {one.field: list(one.values) for one in record.fields})
            for record in message.records
        ],
        message.waiting,
    )


def progress_message(found: Progress) -> review_pb2.ReviewProgress:
    return review_pb2.ReviewProgress(**asdict(found))


def progress_value(message: review_pb2.ReviewProgress) -> Progress:
    return Progress(
        message.pairs,
        message.not_judged,
        message.waiting,
        message.settled,
        message.same,
        message.different,
        message.cannot_tell,
        message.judged_twice,
        message.agreed,
        message.kappa if message.HasField("kappa") else None,
    )


def judgement_message(one: Judgement) -> review_pb2.Judgement:
    return review_pb2.Judgement(
        pair=one.pair,
        left_id=one.left_id,
        right_id=one.right_id,
        reviewer=one.reviewer,
        verdict=VERDICTS[one.verdict],
        reason=REASONS[one.reason],
        made=timestamp(one.made),
        replaced=one.replaced,
        holds=one.holds,
    )


def judgement_value(message: review_pb2.Judgement) -> Judgement:
    """A judgement as it is told; in which round it was made is not."""
    return Judgement(
        message.pair,
        message.left_id,
        message.right_id,
        Round.FIRST,
        message.reviewer,
        sure(VERDICTS, message.verdict),
        sure(REASONS, message.reason),
        message.made.ToDatetime(UTC),
        message.replaced,
        message.holds,
    )
