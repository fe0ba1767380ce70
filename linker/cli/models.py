"""`kinlink train` and `kinlink model`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linker.cli import kept_models, options
from linker.cli.outputs import Outputs
from linker.cli.reading import gather_refusals, read_sources, show_layouts, show_refusals
from linker.cli.screen import Screen, session, table
from linker.errors import ModelError
from linker.files import read_frame, write_text
from linker.model import FORMAT, Model
from linker.report import model_figures
from linker.splink import MARK, NOTES, read_splink, write_splink

if TYPE_CHECKING:
    from linker.train import Training

model_app = typer.Typer(
    no_args_is_help=True, help="Look at a model; bring one from Splink, or take one there or to a service."
)
model_app.command("put")(kept_models.put_model)
model_app.command("list")(kept_models.list_models)

ModelArgument = Annotated[
    Path, typer.Argument(metavar="FILE", show_default=False, help="From 'kinlink train'.")
]


def train(
    left: options.LeftFile,
    right: Annotated[
        Path | None,
        typer.Argument(metavar="[RIGHT]", show_default=False, help="Without it: duplicates in LEFT."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the model goes.")] = Path(
        "model.json"
    ),
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Pairs that people judged: left id, right id; a column 'match' (1 or 0) if some are not.",
        ),
    ] = None,
    id_columns: options.IdColumns = None,
    mapping: options.Mapping = None,
    ignore: options.Ignored = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Estimate a model from the records, and say honestly how well that went.

    An older model of the same name is replaced, another's file never.
    """
    with session(as_json) as screen:
        wishes = options.Wishes.of(id_columns, mapping, ignore)
        outputs = Outputs([left, right, labels])
        outputs.claim_text(out, FORMAT)
        paths = [left] if right is None else [left, right]
        decided = read_frame(labels) if labels else None
        sources = read_sources(paths, wishes)
        show_layouts(screen, sources)
        show_refusals(screen, gather_refusals(sources))
        with screen.progress() as progress:
            from linker.linkage import train as train_model

            training = train_model(
                sources[0].records,
                sources[1].records if right else None,
                labels=decided,
                seed=seed,
                threads=threads,
                progress=progress,
            )
        write_text(training.model.to_json(), out)
        outputs.note("model", out)
        show_model(screen, training.model)
        _show_training(screen, training)
        outputs.show(screen, {"model": "the model"})
        files = " ".join(map(str, paths))
        screen.say("", "Next, the links by this model:")
        screen.line(f"  kinlink {'link' if right else 'dedupe'} {files} --model {out}")


def _show_training(screen: Screen, training: Training) -> None:
    found = training.diagnostics
    screen.document["training"] = dataclasses.asdict(found)
    screen.document["warnings"] = list(found.warnings)
    screen.title("How training went")
    if found.converged is None:
        screen.say("m was estimated from the labels.")
    elif found.converged:
        screen.say(f"It settled after {found.iterations} rounds.")
    else:
        screen.say(f"It did NOT settle: it stopped at its limit of {found.iterations} rounds.")
    if found.method == "expectation":
        screen.say("There are hardly any matches to learn from: every m is an expectation.")
    screen.say(f"Matches expected among all pairs: {found.expected_matches:,.0f}.")
    screen.say(
        table(
            ["Pairs that agree on", "Candidate pairs"], [(n, f"{k:,}") for n, k in found.pairs], numbers=[1]
        )
    )
    screen.title("Notes")
    if not found.warnings:
        screen.say("Nothing stands out.")
    if found.unseen:
        screen.say("No match showed these levels; their m is an expectation:")
        screen.say(table(["Comparison", "Levels"], _by_comparison(found.unseen)))
    if found.out_of_order:
        screen.say("", "These levels weigh more than a better one:")
        screen.say(table(["Comparison", "Levels"], _by_comparison(found.out_of_order)))
    if found.dependent:
        screen.say("", "The model takes comparisons as independent, and these are not:")
        for one in found.dependent:
            screen.say(f"- {one.sentence}")


def _by_comparison(levels: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    grouped: dict[str, list[str]] = {}
    for name, label in levels:
        grouped.setdefault(name, []).append(label)
    return [(name, "; ".join(labels)) for name, labels in grouped.items()]


@model_app.command("show")
def show(file: ModelArgument, as_json: options.AsJson = False) -> None:
    """Show a model: m, u and weight of every level, blocking rules, prior."""
    with session(as_json) as screen:
        show_model(screen, Model.load(file))


@model_app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="JSON that Splink saved.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="Where the model goes.")],
    as_json: options.AsJson = False,
) -> None:
    """Read a model of Splink 4 or 5, exactly; what cannot be is refused by name.

    An older model of the same name is replaced, another's file never.
    """
    with session(as_json) as screen:
        outputs = Outputs([file])
        outputs.claim_text(out, FORMAT)
        model = read_splink(file)
        write_text(model.to_json(), out)
        outputs.note("model", out)
        remarks = model.notes[NOTES]["remarks"]
        screen.document["remarks"] = remarks
        show_model(screen, model)
        if remarks:
            screen.title("Notes")
        for remark in remarks:
            screen.say(f"- {remark}")
        outputs.show(screen, {"model": "the model"})
        screen.say("", "Next, the links by this model:")
        screen.line(f"  kinlink link LEFT RIGHT --model {out}")


@model_app.command("export")
def export_model(
    file: Annotated[Path, typer.Argument(metavar="MODEL", show_default=False, help="A model of Kinlink.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="Where the JSON goes.")],
    frequencies_of_data: Annotated[
        bool,
        typer.Option(
            "--frequencies-of-data",
            help="Let Splink take term frequencies from its data; it cannot hold the model's own.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a model as Splink 5's JSON for DuckDB; what Splink cannot express is refused by name.

    An older export of the same name is replaced, another's file never.
    """
    with session(as_json) as screen:
        outputs = Outputs([file])
        key, value = MARK
        outputs.claim_text(out, f'"{key}": "{value}')
        model = Model.load(file)
        written = write_splink(model, frequencies_of_data=frequencies_of_data)
        write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", out)
        outputs.note("model", out)
        outputs.show(screen, {"model": "the model for Splink 5"})


@model_app.command("check")
def check(file: ModelArgument, as_json: options.AsJson = False) -> None:
    """Check that a model can score, and name the levels that look wrong. Exit code 1 if it cannot."""
    with session(as_json) as screen:
        model = Model.load(file)
        untrained = [
            f"{one.name}: {level.label}"
            for one in model.comparisons
            for level in one.levels
            if level.m is None or level.u is None
        ]
        if untrained:
            raise ModelError(
                f"The model has no m or u for {'; '.join(untrained)}.", "Train it: kinlink train."
            )
        notes = _odd_levels(model)
        screen.document |= {"usable": True, "digest": model.digest, "notes": notes}
        screen.line(
            f"{file} can score: {len(model.comparisons)} comparisons, {len(model.rules)} blocking rules."
        )
        for note in notes:
            screen.say(f"- {note}")


def _odd_levels(model: Model) -> list[str]:
    notes, disorder = [], []
    for one in model.comparisons:
        weights = [level.weight for level in one.levels]
        for place, level in enumerate(one.levels[1:], start=1):
            if weights[place] > min(weights[:place]) + 1e-9:
                disorder.append((one.name, level.label))
        for name in ("m", "u"):
            total = sum(getattr(level, name) for level in one.levels)
            if abs(total - 1.0) > 0.01:
                notes.append(f"The {name} of {one.name} add up to {total:.3f} and not to 1.")
    notes += [
        f"Of {name} these levels weigh more than a better one: {labels}."
        for name, labels in _by_comparison(disorder)
    ]
    if not model.rules:
        notes.append("There is no blocking rule: no pair would be compared.")
    return notes


def show_model(screen: Screen, model: Model) -> None:
    """A model's levels as a table; its frequency tables hold values and are not shown."""
    screen.document["model"] = model_figures(model)
    rows: list[Sequence[object]] = []
    for one in model.comparisons:
        for place, level in enumerate(one.levels):
            known = level.m is not None and level.u is not None
            rows.append((
                one.name if place == 0 else "",
                level.label + (" *" if level.tf else ""),
                f"{level.m:.3g}" if known else "-",
                f"{level.u:.3g}" if known else "-",
                f"{level.weight:+.2f}" if known else "-",
            ))  # fmt: skip
    screen.title("Model")
    screen.say(table(["Comparison", "Level", "m", "u", "Bits"], rows, numbers=[2, 3, 4]))
    if any(level.tf for one in model.comparisons for level in one.levels):
        screen.say("* rare values count for more, common ones for less.")
    screen.say(f"Prior: {model.prior:.3g} ({model.prior_weight:+.2f} bits). Digest: {model.digest[:16]}.")
    screen.say("Candidates are pairs that agree on: " + "; ".join(rule.name for rule in model.rules) + ".")
    if model.raw is not None:
        screen.say(f"It reads columns as they stand; ids are in '{model.raw.id_column}'.")
