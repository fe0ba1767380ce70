"""`kinlink review`: people judge the pairs that a job left to them."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linker.cli.connection import At, at_service
from linker.cli.jobs import JobId
from linker.cli.outputs import Outputs
from linker.cli.screen import Screen, count, table

if TYPE_CHECKING:
    from linker.judgements import Next, Pair, Progress

review_app = typer.Typer(no_args_is_help=True, help="Judge the pairs that a job left to people.")

_LABELS = ("left_id", "right_id", "match")
_MARKS = {"equal": "=", "alike": "~", "different": "x", "missing": "."}


class VerdictOption(StrEnum):
    """What somebody thinks of a pair."""

    SAME = "same"
    DIFFERENT = "different"
    CANNOT_TELL = "cannot-tell"
    EXPERT = "expert"


class ReasonOption(StrEnum):
    """Why somebody thinks so."""

    TWINS = "twins"
    RELATIVES = "relatives"
    NAME_CHANGED = "name-changed"
    MOVED = "moved"
    DATA_ERROR = "data-error"
    UNMATCHABLE = "unmatchable"


_KEYS = {
    "s": VerdictOption.SAME,
    "d": VerdictOption.DIFFERENT,
    "c": VerdictOption.CANNOT_TELL,
    "e": VerdictOption.EXPERT,
}
Reasons = Annotated[ReasonOption | None, typer.Option("--reason", help="Why, if it is one of these.")]
Together = Annotated[bool, typer.Option("--together", help="Show all pairs that hang together with it.")]


@review_app.command("next")
@at_service
def next_pair(at: At, job: JobId, together: Together = False) -> None:
    """Show what waits for you, with both records: personal data, mind who looks on."""
    found = at.client.next_pair(job, together=together)
    at.screen.document |= _as_json(found)
    if not found.pairs:
        at.screen.say("Nothing waits for you.")
        return
    for pair in found.pairs:
        _show(at.screen, found, pair)
    first = found.pairs[0].pair
    at.screen.line(f"kinlink review judge {job} {first} same|different|cannot-tell|expert")


@review_app.command("judge")
@at_service
def judge(
    at: At,
    job: JobId,
    pair: Annotated[int, typer.Argument(metavar="PAIR", min=0, show_default=False, help="Its number.")],
    verdict: Annotated[
        VerdictOption, typer.Argument(metavar="VERDICT", show_default=False, help="What you think.")
    ],
    reason: Reasons = None,
) -> None:
    """Judge a pair: same, different, cannot-tell or expert."""
    _show_progress(at.screen, _judged(at, job, pair, verdict, reason))


@review_app.command("start")
@at_service
def start(at: At, job: JobId) -> None:
    """Judge pair after pair: s same, d different, c cannot tell, e for an expert, u undo, q quit."""
    before: int | None = None
    while True:
        found = at.client.next_pair(job)
        if not found.pairs:
            at.screen.say("Nothing waits for you.")
            break
        (pair,) = found.pairs
        _show(at.screen, found, pair)
        answer = ""
        while answer not in _KEYS and answer not in ("u", "q"):
            answer = typer.prompt("s same  d different  c cannot tell  e expert  u undo  q quit", err=True)
            answer = answer.strip().lower()[:1]
        if answer == "q":
            break
        if answer == "u":
            if before is None:
                at.screen.say("You have judged nothing since you began here.")
            else:
                at.client.undo_judgement(job, before)
                before = None
            continue
        _judged(at, job, pair.pair, _KEYS[answer], None)
        before = pair.pair
    _show_progress(at.screen, at.client.review_progress(job))


@review_app.command("undo")
@at_service
def undo(
    at: At,
    job: JobId,
    pair: Annotated[int, typer.Argument(metavar="PAIR", min=0, show_default=False, help="Its number.")],
) -> None:
    """Take back what you judged of a pair."""
    _show_progress(at.screen, at.client.undo_judgement(job, pair))


@review_app.command("list")
@at_service
def list_judgements(
    at: At,
    job: JobId,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Write what is settled as same or different, for 'kinlink train --labels'.",
        ),
    ] = None,
) -> None:
    """List what you judged; a linkage operator sees what everybody judged."""
    outputs = Outputs([])
    if labels is not None:
        outputs.claim_table(labels, _LABELS)
    found = list(at.client.judgements(job))
    at.screen.document["judgements"] = [
        {name: value for name, value in dataclasses.asdict(one).items() if name != "round"}
        | {"made": one.made.isoformat()}
        for one in found
    ]
    rows = [
        (one.pair, one.verdict, one.reason or "-", one.reviewer, one.made.strftime("%Y-%m-%d %H:%M"),
         "holds" if one.holds else "replaced" if one.replaced else "")
        for one in found
    ]  # fmt: skip
    at.screen.say(table(["Pair", "Verdict", "Reason", "By", "When (UTC)", ""], rows, numbers=[0]))
    if labels is not None:
        import polars as pl

        from linker.judgements import Verdict

        told = [one for one in found if one.holds and one.verdict in (Verdict.SAME, Verdict.DIFFERENT)]
        schema = dict(zip(_LABELS, (pl.String, pl.String, pl.Int8), strict=True))
        judged = [(one.left_id, one.right_id, int(one.verdict is Verdict.SAME)) for one in told]
        outputs.table("labels", pl.DataFrame(judged, schema=schema, orient="row"), labels)
        at.screen.line(f"{labels}: {count(len(told), 'label')}")


@review_app.command("progress")
@at_service
def progress(at: At, job: JobId) -> None:
    """Say how far the queue has come, and how well two people agree."""
    _show_progress(at.screen, at.client.review_progress(job))


def _judged(at: At, job: str, pair: int, verdict: VerdictOption, reason: ReasonOption | None) -> Progress:
    from linker.judgements import Reason, Verdict

    return at.client.judge(
        job, [(pair, Verdict(verdict.value), Reason(reason.value) if reason else Reason.NONE)]
    )


def _show(screen: Screen, found: Next, pair: Pair) -> None:
    records = {record.record_id: record for record in found.records}
    sides = [records.get(one) for one in (pair.left_id, pair.right_id)]
    weight = f", {pair.weight:+.1f} bits" if pair.weight is not None else ""
    screen.title(f"Pair {pair.pair}{weight}; {found.waiting:,} wait for you")
    heads = [
        f"{side} ({'known' if one and one.known else 'sent'})"
        for side, one in zip(("Left", "Right"), sides, strict=True)
    ]
    rows = [
        (
            field.replace("_", " "),
            *(" / ".join(one.fields.get(field, ["-"])) if one else "-" for one in sides),
            f"{_MARKS[agreement]} {agreement}",
        )
        for field, agreement in pair.fields.items()
    ]
    screen.say(table(["", *heads, ""], rows))


def _as_json(found: Next) -> dict[str, Any]:
    return {
        "pairs": [one._asdict() for one in found.pairs],
        "records": [one._asdict() for one in found.records],
        "waiting": found.waiting,
    }


def _show_progress(screen: Screen, found: Progress) -> None:
    screen.document["progress"] = dataclasses.asdict(found)
    rows: list[tuple[str, str]] = [
        ("Pairs", f"{found.pairs:,}"),
        ("Nobody has judged", f"{found.not_judged:,}"),
        ("Wait for another person", f"{found.waiting:,}"),
        ("Settled", f"{found.settled:,}"),
        ("  same", f"{found.same:,}"),
        ("  different", f"{found.different:,}"),
        ("  cannot tell", f"{found.cannot_tell:,}"),
    ]
    if found.judged_twice:
        kappa = "-" if found.kappa is None else f"{found.kappa:.2f}"
        rows += [("Judged by two, alike", f"{found.agreed:,} of {found.judged_twice:,}"), ("  kappa", kappa)]
    screen.say(table(["", ""], rows, numbers=[1], heads_shown=False))
