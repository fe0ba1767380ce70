"""`kinlink submit` and `kinlink job`: the same work at a service."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from typing import Any as Json

import typer

from linker.cli import options
from linker.cli.matchkeys import Keys, KeysOnly, check_keys_only
from linker.cli.outputs import CLUSTERS, LINKS, PAIRS, Outputs, rows_of
from linker.cli.reading import native_silence
from linker.cli.screen import Screen, count, session, table
from linker.errors import FileError, LinkerError
from linker.files import read_frame
from linker.resources import SubmissionKind, SubmissionState, Table

if TYPE_CHECKING:
    from linker.client import Client
    from linker.resources import Job, StoredReference, Submission

job_app = typer.Typer(no_args_is_help=True, help="Start, watch, read, cancel and delete jobs at a service.")

_AT = "The service"
Service = Annotated[
    str, typer.Option("--service", metavar="HOST:PORT", envvar="KINLINK_SERVICE", rich_help_panel=_AT)
]
Project = Annotated[
    str,
    typer.Option(
        "--project", envvar="KINLINK_PROJECT", help="The project that owns the data.", rich_help_panel=_AT
    ),
]
Purpose = Annotated[
    str,
    typer.Option(
        "--purpose",
        envvar="KINLINK_PURPOSE",
        help="The purpose, as a code such as evaluation-2026.",
        rich_help_panel=_AT,
    ),
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="PEM", envvar="KINLINK_CA", help="Authority of the server.", rich_help_panel=_AT
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        "--cert", metavar="PEM", envvar="KINLINK_CERT", help="Your certificate.", rich_help_panel=_AT
    ),
]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="PEM", envvar="KINLINK_KEY", help="Its key.", rich_help_panel=_AT),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False, help="The id of the job.")]
_COLUMNS = {Table.LINKS: LINKS, Table.REVIEW: LINKS, Table.CLUSTERS: CLUSTERS, Table.PAIRS: PAIRS}


@contextmanager
def connected(
    service: str,
    project: str,
    purpose: str,
    authority: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> Iterator[Client]:
    """A client of the service that the options name."""
    from linker.client import Client, Tls  # gRPC is slow to load, and most commands need none

    if (certificate or key) and not authority:
        raise typer.BadParameter("--cert and --key need --ca: the authority of the server.")
    for path in (authority, certificate, key):
        if path is not None and not path.is_file():
            raise FileError(f"{path} does not exist.", "Check the name and the directory.")
    tls = Tls(authority, certificate, key) if authority else None
    with Client(service, project=project, purpose=purpose, tls=tls) as client:
        yield client


@contextmanager
def at_service(
    as_json: bool,
    service: str,
    project: str,
    purpose: str,
    authority: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> Iterator[tuple[Screen, Client]]:
    """The run of a command that does all its work at a service."""
    with (
        session(as_json) as screen,
        connected(service, project, purpose, authority, certificate, key) as client,
    ):
        yield screen, client


def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="CSV, Parquet or Arrow file.")
    ],
    service: Service,
    project: Project,
    purpose: Purpose,
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
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Send a file to a service; an upload that broke off goes on where it stopped when this is run again."""
    with session(as_json) as screen:
        wishes = options.Wishes.of(id_columns, mapping, ignore)
        if len(wishes.ids) > 1:
            raise typer.BadParameter("Give --id once.")
        with native_silence():
            frame = read_frame(file)
        with (
            connected(service, project, purpose, authority, certificate, key) as client,
            screen.progress() as step,
        ):
            submission = client.submit(
                frame,
                batch_id=batch,
                source=source,
                kind=kind,
                id_column=next(iter(wishes.ids), None),
                mapping=dict(wishes.mapping),
                ignore=wishes.ignore,
                progress=lambda done, total: step("send", done, total or done),
            )
        show_submission(screen, submission)


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


@job_app.command("link")
def start_link(
    left: Annotated[
        str, typer.Argument(metavar="LEFT", show_default=False, help="Id of the left submission.")
    ],
    right: Annotated[
        str, typer.Argument(metavar="RIGHT", show_default=False, help="Id of the right submission.")
    ],
    service: Service,
    project: Project,
    purpose: Purpose,
    cardinality: Annotated[
        options.Cardinality, typer.Option("--cardinality", help="How many links a record may have.")
    ] = options.Cardinality.ONE_TO_ONE,
    keys: Keys = None,
    keys_only: KeysOnly = False,
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")] = "",
    threshold: options.Threshold = None,
    seed: options.Seed = 0,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Start to link two submissions."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        if keys_only:
            one_to_one = cardinality is options.Cardinality.ONE_TO_ONE
            check_keys_only(keys, bool(model) or threshold is not None or not one_to_one)
        say_job(
            screen,
            client.start_linkage(
                left,
                right,
                cardinality=str(cardinality),
                keys=keys,
                keys_only=keys_only,
                model=model,
                threshold=threshold,
                seed=seed,
            ),
        )


@job_app.command("dedupe")
def start_dedupe(
    submission: Annotated[str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Its id.")],
    service: Service,
    project: Project,
    purpose: Purpose,
    keys: Keys = None,
    keys_only: KeysOnly = False,
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")] = "",
    threshold: options.Threshold = None,
    seed: options.Seed = 0,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Start to find the records of one submission that are the same person."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        if keys_only:
            check_keys_only(keys, bool(model) or threshold is not None)
        say_job(
            screen,
            client.start_deduplication(
                submission, keys=keys, keys_only=keys_only, model=model, threshold=threshold, seed=seed
            ),
        )


@job_app.command("join")
def start_join(
    submission: Annotated[str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Its id.")],
    service: Service,
    project: Project,
    purpose: Purpose,
    family: Annotated[
        str, typer.Option("--family", metavar="COLUMN", help="The column with your reference of the family.")
    ] = "",
    protected: Annotated[
        str,
        typer.Option("--protected", metavar="COLUMN", help="The column that says yes of protected records."),
    ] = "",
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")] = "",
    threshold: options.Threshold = None,
    seed: options.Seed = 0,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Start to join a submission with the persons in the vault."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        say_job(
            screen,
            client.start_join(
                submission,
                family_column=family,
                protected_column=protected,
                model=model,
                threshold=threshold,
                seed=seed,
            ),
        )


@job_app.command("list")
def list_jobs(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """List the jobs of the project, the oldest first."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        jobs = list(client.jobs())
        screen.document["jobs"] = [plain(job) for job in jobs]
        rows = [
            (job.job_id, str(job.work.kind), str(job.state), f"{job.created:%Y-%m-%d %H:%M}") for job in jobs
        ]
        screen.say(table(["Job", "Kind", "State", "Created (UTC)"], rows) if rows else "There are no jobs.")


@job_app.command("show")
def show_job(
    job: JobId,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how far a job has come."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        say_job(screen, client.job(job))


@job_app.command("wait")
def wait_for_job(
    job: JobId,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Wait until a job has finished, with its progress; exit code 1 if it failed or was cancelled."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        with screen.progress() as step:
            finished = client.wait(job, progress=step)
        say_job(screen, finished, failing=True)


@job_app.command("cancel")
def cancel_job(
    job: JobId,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask a job to stop."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        say_job(screen, client.cancel(job))


@job_app.command("delete")
def delete_job(
    job: JobId,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Destroy the result of a finished job: its key first, then its files."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        say_job(screen, client.delete_job(job))


@job_app.command("read")
def read_job(
    job: JobId,
    service: Service,
    project: Project,
    purpose: Purpose,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the table goes.")],
    what: Annotated[Table, typer.Option("--table", help="Which table of the result.")] = Table.LINKS,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch a table of a finished job."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        outputs = Outputs([])
        outputs.claim_table(out, _COLUMNS[what])
        frame = client.read_links(job, what)
        outputs.table(str(what), frame, out)
        outputs.show(screen, {str(what): rows_of(frame, "row")})


def say_job(screen: Screen, job: Job, failing: bool = False) -> None:
    """Say how far a job has come; with `failing` one that did not succeed is an error."""
    screen.document["job"] = plain(job)
    if failing and job.problem is not None:
        error = LinkerError(job.problem.message, job.problem.help)
        error.reason = job.problem.reason
        raise error
    part = f", {job.stage} {job.done:,} of {job.total:,}" if job.stage and not job.state.finished else ""
    screen.say(f"Job {job.job_id}: {job.work.kind} {job.state}{part}.")
    if job.problem is not None:
        screen.say(f"{job.problem.message} {job.problem.help}".rstrip())


def plain(value: Submission | Job | StoredReference) -> dict[str, Json]:
    """A resource as JSON."""
    return {name: _json(one) for name, one in dataclasses.asdict(value).items()}


def _json(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, StrEnum) else value
