"""`kinlink match` and `kinlink reference`: one person at a time, at a service."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
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
    connected,
    plain,
)
from linker.cli.screen import Screen, count, session, table
from linker.errors import FileError
from linker.resources import Answer, StoredReference

reference_app = typer.Typer(
    no_args_is_help=True,
    help="Load, list and drop the references at a service, which 'kinlink match' asks.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The name of the reference.")]


@reference_app.command("load")
def load_reference(
    name: Name,
    submission: Annotated[
        str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Id of the submission.")
    ],
    service: Service,
    project: Project,
    purpose: Purpose,
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")],
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Load a submission as a reference, and wait until it can be asked."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        _show(screen, client.load_reference(name, submission, model))


@reference_app.command("list")
def list_references(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """List the references of the project, by name."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        references = list(client.references())
        screen.document["references"] = [_plain(one) for one in references]
        rows = [
            (one.name, str(one.state), f"{one.records:,}", one.model, one.submission_id) for one in references
        ]
        heads = ["Reference", "State", "Records", "Model", "Submission"]
        screen.say(table(heads, rows, numbers=[2]) if rows else "There are no references.")


@reference_app.command("drop")
def drop_reference(
    name: Name,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Drop a reference with all changes that were made to it; its submission stays."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        client.drop_reference(name)
        screen.say(f"Reference {name} is dropped.")


def match(
    reference: Name,
    service: Service,
    project: Project,
    purpose: Purpose,
    values: Annotated[
        list[str] | None,
        typer.Option("--value", metavar="FIELD=TEXT", help="A value, such as surname=Cole; once a field."),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help='The record as JSON, {"surname": "Cole", …}; - reads standard input, where nobody sees it.',
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, max=100, help="At most how many candidates.")] = 5,
    floor: Annotated[
        float, typer.Option("--floor", metavar="WEIGHT", help="Match weight in bits of a candidate.")
    ] = 0.0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show how each weight comes about.")
    ] = False,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask a reference at a service who one person is.

    What is typed after --value can be seen by other users of this machine: --record - is the discreet way.
    """
    with session(as_json) as screen:
        asked = _asked(values, record)
        with connected(service, project, purpose, authority, certificate, key) as client:
            answer = client.match(reference, asked, top=top, floor=floor, explain=explain)
        _show_answer(screen, answer)


def _asked(values: list[str] | None, record: str | None) -> dict[str, str]:
    if (values is None) == (record is None):
        raise typer.BadParameter("Give the record by --value, once a field, or by --record.")
    if record is not None:
        return _from_json(record)
    pairs = [value.partition("=") for value in values or ()]
    if not all(mark and field.strip() for field, mark, _ in pairs):
        raise typer.BadParameter("--value takes FIELD=TEXT, such as surname=Cole.")
    return {field.strip(): text for field, _, text in pairs}


def _from_json(path: str) -> dict[str, str]:
    try:
        found = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8"))
    except OSError:
        raise FileError(f"{path} cannot be read.", "Check the name and the directory.") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise FileError("The record is not one JSON object of texts.", 'Write it as {"surname": "Cole", …}.')
    return found


def _plain(reference: StoredReference) -> dict[str, object]:
    shown = plain(reference)
    return {name: value for name, value in shown.items() if name not in ("reference_id", "folded")}


def _show(screen: Screen, reference: StoredReference) -> None:
    screen.document["reference"] = _plain(reference)
    screen.say(f"Reference {reference.name}: {reference.state}, {count(reference.records, 'record')}.")
    screen.say("", table(["Field", "Kind"], [(field.name, field.kind) for field in reference.fields]))


def _show_answer(screen: Screen, answer: Answer) -> None:
    screen.document |= dataclasses.asdict(answer)
    if not answer.candidates:
        screen.say("Nobody in the reference reaches the floor.")
        return
    rows = [
        (one.record_id, f"{one.weight:.2f}", f"{one.probability:.4f}", one.rule) for one in answer.candidates
    ]
    screen.say(table(["Record", "Weight", "Probability", "Rule"], rows, numbers=[1, 2]))
    if answer.lead is not None:
        screen.say(
            f"The first leads the runner-up by {answer.lead:.2f} bits; {answer.found:,} reach the floor."
        )
    for one in answer.candidates:
        if one.steps:
            screen.title(f"{one.record_id}: {one.prior:+.2f} bits before anything is compared")
            steps = [
                (
                    step.comparison,
                    step.level,
                    f"{step.weight:+.2f}",
                    f"{step.frequency:+.2f}",
                    f"{step.total:+.2f}",
                )
                for step in one.steps
            ]
            screen.say(
                table(["Comparison", "Level", "Weight", "Frequency", "Total"], steps, numbers=[2, 3, 4])
            )
