"""`kinlink submission`: what became of what was sent to a service, and taking it back."""

from __future__ import annotations

from typing import Annotated

import typer

from linker.cli import options
from linker.cli.remote import (
    Authority,
    Certificate,
    Key,
    Project,
    Purpose,
    Service,
    at_service,
    plain,
    show_submission,
)
from linker.cli.screen import table

submission_app = typer.Typer(
    no_args_is_help=True, help="List, look at and delete the submissions that a service holds."
)

SubmissionId = Annotated[
    str, typer.Argument(metavar="SUBMISSION", show_default=False, help="The id of the submission.")
]


@submission_app.command("list")
def list_submissions(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """List the submissions of the project that you may see, the oldest first."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        submissions = list(client.submissions())
        screen.document["submissions"] = [plain(one) for one in submissions]
        rows = [
            (one.submission_id, one.batch_id, one.source, str(one.state), f"{one.rows:,}")
            for one in submissions
        ]
        heads = ["Submission", "Batch", "Source", "State", "Rows"]
        screen.say(table(heads, rows, numbers=[4]) if rows else "There are no submissions.")


@submission_app.command("show")
def describe_submission(
    submission: SubmissionId,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how far a submission has come, and how its columns were understood."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        show_submission(screen, client.submission(submission))


@submission_app.command("delete")
def delete_submission(
    submission: SubmissionId,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Destroy a submission at the service, complete or not: its key first, then its files."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        show_submission(screen, client.delete_submission(submission))
