"""`kinlink job`: the engine's work, done at a service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linker.cli import options
from linker.cli.connection import At, at_service, plain
from linker.cli.matchkeys import Keys, KeysOnly, check_keys_only, show_keys
from linker.cli.outputs import CLUSTERS, LINKS, PAIRS, Outputs, rows_of
from linker.cli.screen import Screen, table
from linker.errors import LinkerError
from linker.files import write_text
from linker.resources import JobKind, JobState, Table

if TYPE_CHECKING:
    from linker.resources import Job

job_app = typer.Typer(no_args_is_help=True, help="Start, watch, read, cancel and delete jobs at a service.")

JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False, help="The id of the job.")]
_COLUMNS = {Table.LINKS: LINKS, Table.REVIEW: LINKS, Table.CLUSTERS: CLUSTERS, Table.PAIRS: PAIRS}
_JOINED = {
    "new": "New persons",
    "joined": "Rows that joined a known person",
    "together": "Further rows of new persons",
    "refused_links": "Links refused",
}
"""What a join counts, by the names in its report."""
_LINKED = {
    "persons": "Persons looked for or not applicable",
    "persons_linked": "linked",
    "persons_review": "for people to decide",
    "persons_ambiguous": "linked to nobody, since two are as near",
    "persons_not_linked": "not linked",
    "persons_not_applicable": "who cannot be in the register",
    "rows_linked": "Rows of the extract that are theirs",
    "rows_to_look_at": "Rows to be looked at",
    "rows_of_nobody": "Rows of nobody who is known",
}
"""What the linking of a register counts, by the names in its report."""
_COUNTS = {JobKind.JOIN: ("joined", _JOINED), JobKind.REGISTER: ("linked", _LINKED)}
_REPORT = "kinlink-job-report/1"
_FOUND = {
    "links": "Pairs linked",
    "review": "Pairs for people to decide",
    "clusters": "Clusters",
    "candidate_pairs": "Candidate pairs compared",
}
"""What the report of other jobs counts."""


@job_app.command("link")
@at_service
def start_link(
    at: At,
    left: Annotated[
        str, typer.Argument(metavar="LEFT", show_default=False, help="Id of the left submission.")
    ],
    right: Annotated[
        str, typer.Argument(metavar="RIGHT", show_default=False, help="Id of the right submission.")
    ],
    cardinality: Annotated[
        options.Cardinality, typer.Option("--cardinality", help="How many links a record may have.")
    ] = options.Cardinality.ONE_TO_ONE,
    keys: Keys = None,
    keys_only: KeysOnly = False,
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")] = "",
    threshold: options.Threshold = None,
    seed: options.Seed = 0,
) -> None:
    """Start to link two submissions."""
    if keys_only:
        one_to_one = cardinality is options.Cardinality.ONE_TO_ONE
        check_keys_only(keys, bool(model) or threshold is not None or not one_to_one)
    say_job(
        at,
        at.client.start_linkage(
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
@at_service
def start_dedupe(
    at: At,
    submission: Annotated[str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Its id.")],
    keys: Keys = None,
    keys_only: KeysOnly = False,
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")] = "",
    threshold: options.Threshold = None,
    seed: options.Seed = 0,
) -> None:
    """Start to find the records of one submission that are the same person."""
    if keys_only:
        check_keys_only(keys, bool(model) or threshold is not None)
    say_job(
        at,
        at.client.start_deduplication(
            submission, keys=keys, keys_only=keys_only, model=model, threshold=threshold, seed=seed
        ),
    )


@job_app.command("join")
@at_service
def start_join(
    at: At,
    submission: Annotated[str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Its id.")],
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
) -> None:
    """Start to join a submission with the persons in the vault."""
    say_job(
        at,
        at.client.start_join(
            submission,
            family_column=family,
            protected_column=protected,
            model=model,
            threshold=threshold,
            seed=seed,
        ),
    )


@job_app.command("train")
@at_service
def start_training(
    at: At,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What to call the model.")],
    left: Annotated[str, typer.Argument(metavar="LEFT", show_default=False, help="Id of a submission.")],
    right: Annotated[
        str, typer.Argument(metavar="[RIGHT]", show_default=False, help="Without it: duplicates in LEFT.")
    ] = "",
    seed: options.Seed = 0,
) -> None:
    """Start to estimate a model, which the project then has by this name."""
    say_job(at, at.client.train_model(name, left, right, seed=seed))


@job_app.command("report")
@at_service
def report(
    at: At,
    job: JobId,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write everything here, as JSON.")
    ] = None,
) -> None:
    """Say what a finished job found: counts, matchkeys, how good links with a register are, warnings."""
    outputs = Outputs([])
    if out:
        outputs.claim_text(out, _REPORT)
    found = {"format": _REPORT} | at.client.report(job)
    at.screen.document["report"] = found
    figures = found["figures"]
    summary = figures.get("summary", {})
    if "matchkeys" in summary:
        show_keys(at.screen, summary["matchkeys"])
    counts = {name: summary.get(name, figures.get(name)) for name in _FOUND}
    lines = [(_FOUND[name], f"{one:,}") for name, one in counts.items() if isinstance(one, int)]
    if lines:
        at.screen.title("Result")
        at.screen.say(table(["", ""], lines, numbers=[1], heads_shown=False))
    if "expected_precision" in figures:
        _show_quality(at.screen, figures)
    for sentence in found["warnings"]:
        at.screen.say(f"- {sentence}")
    if out:
        write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", out)
        outputs.note("report", out)
        outputs.show(at.screen, {"report": "the report"})


@job_app.command("list")
@at_service
def list_jobs(
    at: At,
) -> None:
    """List the jobs of the project, the oldest first."""
    jobs = list(at.client.jobs())
    at.screen.document["jobs"] = [plain(job) for job in jobs]
    rows = [(job.job_id, str(job.work.kind), str(job.state), f"{job.created:%Y-%m-%d %H:%M}") for job in jobs]
    at.screen.say(table(["Job", "Kind", "State", "Created (UTC)"], rows) if rows else "There are no jobs.")
    for job in jobs:
        if job.problem is not None:
            at.screen.line(f"{job.job_id} {job.state} [{job.problem.reason}]: {job.problem.message}")


@job_app.command("show")
@at_service
def show_job(
    at: At,
    job: JobId,
) -> None:
    """Show how far a job has come."""
    say_job(at, at.client.job(job))


@job_app.command("wait")
@at_service
def wait_for_job(
    at: At,
    job: JobId,
) -> None:
    """Wait until a job has finished, with its progress; exit code 1 if it failed or was cancelled."""
    with at.screen.progress() as step:
        finished = at.client.wait(job, progress=step)
    say_job(at, finished, failing=True)


@job_app.command("cancel")
@at_service
def cancel_job(
    at: At,
    job: JobId,
) -> None:
    """Ask a job to stop."""
    say_job(at, at.client.cancel(job))


@job_app.command("delete")
@at_service
def delete_job(
    at: At,
    job: JobId,
) -> None:
    """Destroy the result of a finished job: its key first, then its files."""
    say_job(at, at.client.delete_job(job))


@job_app.command("read")
@at_service
def read_job(
    at: At,
    job: JobId,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the table goes.")],
    what: Annotated[Table, typer.Option("--table", help="Which table of the result.")] = Table.LINKS,
) -> None:
    """Fetch a table of a finished job."""
    outputs = Outputs([])
    outputs.claim_table(out, _COLUMNS[what])
    frame = at.client.read_links(job, what)
    outputs.table(str(what), frame, out)
    outputs.show(at.screen, {str(what): rows_of(frame, "row")})


def _show_quality(screen: Screen, figures: dict[str, Any]) -> None:
    """How good the links with a register are, as far as the model can tell, and who is found less often."""
    precision, missed = figures["expected_precision"], figures["missed"]
    lines = [
        ("Links expected to be right", _shares(precision, "estimate")),
        ("Matches expected among pairs not linked", f"{missed['among_candidates']:,.1f}"),
        ("Persons of whom no pair came into question", f"{missed['no_candidate']:,}"),
        ("One-to-one conflicts", f"{figures['one_to_one_conflicts']:,}"),
        ("Threshold (bits of match weight)", f"{figures['thresholds']['link']:g}"),
        ("Highest weight that can be reached", f"{figures['highest_weight']['bits']:.1f}"),
    ]
    screen.title(figures["title"])
    screen.say(table(["", ""], lines, numbers=[1], heads_shown=False))
    rows = [
        (one["by"], one["group"], _or_few(one["applicable"]), _or_few(one["linked"]), _shares(one, "share"))
        for one in figures["linked_by"]
    ]
    screen.title("Persons linked, of those who can be in the register (counts to the nearest five)")
    screen.say(table(["", "Group", "Of age", "Linked", "Share"], rows, numbers=[2, 3, 4]))


def _shares(found: dict[str, Any], name: str) -> str:
    """A share with its interval; nothing where there is none."""
    if found[name] is None:
        return "-"
    return f"{found[name]:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _or_few(count: int | None) -> str:
    return "few" if count is None else f"{count:,}"


def say_job(at: At, job: Job, failing: bool = False) -> None:
    """Say how far a job has come; with `failing` one that did not succeed is an error."""
    found = at.screen.document["job"] = plain(job)
    if failing and job.problem is not None:
        error = LinkerError(job.problem.message, job.problem.help)
        error.reason = job.problem.reason
        raise error
    part = f", {job.stage} {job.done:,} of {job.total:,}" if job.stage and not job.state.finished else ""
    at.screen.say(f"Job {job.job_id}: {job.work.kind} {job.state}{part}.")
    if job.problem is not None:
        at.screen.say(f"{job.problem.message} {job.problem.help}".rstrip())
    if job.work.kind in _COUNTS and job.state is JobState.SUCCEEDED:
        what, words = _COUNTS[job.work.kind]
        counts = found[what] = at.client.report(job.job_id)["figures"][what]
        rows = [(said, f"{counts[name]:,}") for name, said in words.items() if name in counts]
        rows += [(name, f"{number:,}") for name, number in sorted(counts.items()) if name not in words]
        at.screen.say(table(["", ""], rows, numbers=[1], heads_shown=False))
