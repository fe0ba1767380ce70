"""`kinlink match` and `kinlink reference`: one person at a time, at a service."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from linker.cli.connection import At, at_service, plain
from linker.cli.screen import Screen, count, table
from linker.errors import FileError
from linker.resources import Answer, StoredReference

reference_app = typer.Typer(
    no_args_is_help=True,
    help="Load, list and drop the references at a service, which 'kinlink match' asks.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The name of the reference.")]


@reference_app.command("load")
@at_service
def load_reference(
    at: At,
    name: Name,
    submission: Annotated[
        str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Id of the submission.")
    ],
    model: Annotated[str, typer.Option("--model", help="A model of the project, by name.")],
) -> None:
    """Load a submission as a reference, and wait until it can be asked."""
    _show(at.screen, at.client.load_reference(name, submission, model))


@reference_app.command("list")
@at_service
def list_references(
    at: At,
) -> None:
    """List the references of the project, by name."""
    references = list(at.client.references())
    at.screen.document["references"] = [_plain(one) for one in references]
    rows = [
        (one.name, str(one.state), f"{one.records:,}", one.model, one.submission_id) for one in references
    ]
    heads = ["Reference", "State", "Records", "Model", "Submission"]
    at.screen.say(table(heads, rows, numbers=[2]) if rows else "There are no references.")


@reference_app.command("drop")
@at_service
def drop_reference(
    at: At,
    name: Name,
) -> None:
    """Drop a reference with all changes that were made to it; its submission stays."""
    at.client.drop_reference(name)
    at.screen.say(f"Reference {name} is dropped.")


@at_service
def match(
    at: At,
    reference: Name,
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
) -> None:
    """Ask a reference at a service who one person is.

    What is typed after --value can be seen by other users of this machine: --record - is the discreet way.
    """
    asked = _asked(values, record)
    _show_answer(at.screen, at.client.match(reference, asked, top=top, floor=floor, explain=explain))


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
