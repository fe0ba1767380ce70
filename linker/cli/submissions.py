"""`kinlink submit` and `kinlink submission`: what is sent to a service, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linker.cli import options
from linker.cli.connection import At, at_service, plain
from linker.cli.reading import native_silence
from linker.cli.screen import Screen, count, table
from linker.errors import LinkerError
from linker.files import read_frame
from linker.recognise import check_asked
from linker.resources import SubmissionKind, SubmissionState

if TYPE_CHECKING:
    from linker.resources import Submission

submission_app = typer.Typer(
    no_args_is_help=True, help="List, look at and delete the submissions that a service holds."
)

SubmissionId = Annotated[
    str, typer.Argument(metavar="SUBMISSION", show_default=False, help="The id of the submission.")
]


@at_service
def submit(
    at: At,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="CSV, Parquet or Arrow file.")
    ],
    batch: Annotated[
        str, typer.Option("--batch", help="Your own id of this batch; the same batch is never taken twice.")
    ],
    source: Annotated[str, typer.Option("--source", help="Code of the council or register it comes from.")],
    kind: Annotated[
        SubmissionKind, typer.Option("--kind", help="What the file is.")
    ] = SubmissionKind.IDENTITIES,
    id_columns: options.IdColumns = None,
    mapping: options.Mapping = None,
    ignore: options.Ignored = None,
) -> None:
    """Send a file to a service; an upload that broke off goes on where it stopped when this is run again."""
    wishes = options.Wishes.of(id_columns, mapping, ignore)
    if len(wishes.ids) > 1:
        raise typer.BadParameter("Give --id once.")
    id_column = next(iter(wishes.ids), None)
    with native_silence():
        frame = read_frame(file)
    # Before anything is sent: the service would refuse the batch, and its id would be used up.
    check_asked(frame.columns, id_column, dict(wishes.mapping), wishes.ignore)
    with at.screen.progress() as step:
        submission = at.client.submit(
            frame,
            batch_id=batch,
            source=source,
            kind=kind,
            id_column=id_column,
            mapping=dict(wishes.mapping),
            ignore=wishes.ignore,
            progress=lambda done, total: step("send", done, total or done),
        )
    show_submission(at.screen, submission)


def show_submission(screen: Screen, submission: Submission) -> None:
    """Say how far a submission has come; one that was refused is an error."""
    screen.document["submission"] = plain(submission)
    if submission.state is SubmissionState.REFUSED and submission.problem is not None:
        error = LinkerError(submission.problem.message, submission.problem.help)
        error.reason = submission.problem.reason
        raise error
    screen.say(f"Submission {submission.submission_id}: {submission.state}, {count(submission.rows, 'row')}.")
    if submission.refused_rows or submission.values_set_aside:
        screen.say(
            f"Set aside: {count(submission.refused_rows, 'row')} left out, "
            f"{count(submission.values_set_aside, 'value')} not used."
        )
    if submission.fields:
        rows = [(field.name, " + ".join(field.columns), field.why) for field in submission.fields]
        screen.say("", table(["Field", "Column", "Why"], rows))


@submission_app.command("list")
@at_service
def list_submissions(
    at: At,
) -> None:
    """List the submissions of the project that you may see, the oldest first."""
    submissions = list(at.client.submissions())
    at.screen.document["submissions"] = [plain(one) for one in submissions]
    rows = [
        (one.submission_id, one.batch_id, one.source, str(one.state), f"{one.rows:,}") for one in submissions
    ]
    heads = ["Submission", "Batch", "Source", "State", "Rows"]
    at.screen.say(table(heads, rows, numbers=[4]) if rows else "There are no submissions.")


@submission_app.command("show")
@at_service
def describe_submission(
    at: At,
    submission: SubmissionId,
) -> None:
    """Show how far a submission has come, and how its columns were understood."""
    show_submission(at.screen, at.client.submission(submission))


@submission_app.command("delete")
@at_service
def delete_submission(
    at: At,
    submission: SubmissionId,
) -> None:
    """Destroy a submission at the service, complete or not: its key first, then its files."""
    gone = at.client.delete_submission(submission)
    at.screen.document["submission"] = plain(gone)
    at.screen.say(f"Submission {gone.submission_id}: {gone.state}, {count(gone.rows, 'row')}.")


@submission_app.command("refusals")
@at_service
def list_refusals(at: At, submission: SubmissionId) -> None:
    """List what was refused of a submission: row, field and the code of the reason; no value of a person."""
    refusals = at.client.refusals(submission)
    at.screen.document["refusals"] = refusals.to_dicts()
    rows = [
        (f"{row:,}", field or "", reason, "row left out" if refused else "value not used")
        for row, field, reason, refused in refusals.rows()
    ]
    heads = ["Row", "Field", "Reason", "Outcome"]
    at.screen.say(table(heads, rows, numbers=[0]) if rows else "Nothing was refused.")
