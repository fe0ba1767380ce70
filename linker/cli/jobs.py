"""`kinlink job`: all its commands; here those that say what a job found, and that train a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from linker.cli import options
from linker.cli.matchkeys import show_keys
from linker.cli.outputs import Outputs
from linker.cli.remote import (
    Authority,
    Certificate,
    JobId,
    Key,
    Project,
    Purpose,
    Service,
    at_service,
    job_app,
    show_job,
)
from linker.cli.screen import table
from linker.files import write_text

__all__ = ["job_app"]

FORMAT = "kinlink-job-report/1"
_COUNTS = {
    "links": "Pairs linked",
    "review": "Pairs for people to decide",
    "clusters": "Clusters",
    "candidate_pairs": "Candidate pairs compared",
}


@job_app.command("train")
def start_training(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What to call the model.")],
    left: Annotated[str, typer.Argument(metavar="LEFT", show_default=False, help="Id of a submission.")],
    service: Service,
    project: Project,
    purpose: Purpose,
    right: Annotated[
        str, typer.Argument(metavar="[RIGHT]", show_default=False, help="Without it: duplicates in LEFT.")
    ] = "",
    seed: options.Seed = 0,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Start to estimate a model, which the project then has by this name."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        show_job(screen, client.train_model(name, left, right, seed=seed))


@job_app.command("report")
def report(
    job: JobId,
    service: Service,
    project: Project,
    purpose: Purpose,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write everything here, as JSON.")
    ] = None,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what a finished job found: counts, what each matchkey did, warnings."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        outputs = Outputs([])
        if out:
            outputs.claim_text(out, FORMAT)
        found = client.report(job)
        found = {"format": FORMAT} | found
        screen.document["report"] = found
        figures = found["figures"]
        summary = figures.get("summary", {})
        if "matchkeys" in summary:
            show_keys(screen, summary["matchkeys"])
        counts = {name: summary.get(name, figures.get(name)) for name in _COUNTS}
        lines = [(_COUNTS[name], f"{one:,}") for name, one in counts.items() if isinstance(one, int)]
        if lines:
            screen.title("Result")
            screen.say(table(["", ""], lines, numbers=[1], heads_shown=False))
        for sentence in found["warnings"]:
            screen.say(f"- {sentence}")
        if out:
            write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", out)
            outputs.note("report", out)
            outputs.show(screen, {"report": "the report"})
