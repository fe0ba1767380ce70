"""`kinlink evaluate` and `kinlink explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from typing import Any as Json

import polars as pl
import typer

from linker.cli import options
from linker.cli.reading import read_sources
from linker.cli.screen import Screen, session, table
from linker.errors import FileError, RecordsError
from linker.files import read_frame
from linker.manifest import Manifest
from linker.model import Model

if TYPE_CHECKING:
    from linker.evaluate import Quality
    from linker.explain import Explanation

_BAR = 12  # characters of the longest bar in a waterfall


def evaluate(
    links: Annotated[
        Path, typer.Argument(metavar="LINKS", show_default=False, help="Links or clusters to judge.")
    ],
    truth: Annotated[
        Path,
        typer.Option(
            "--truth", metavar="FILE", help="Pairs that match (left, right), or each record's entity."
        ),
    ],
    left: Annotated[
        Path | None,
        typer.Option("--left", metavar="FILE", help="The left records: the truth is checked against them."),
    ] = None,
    right: Annotated[Path | None, typer.Option("--right", metavar="FILE", help="The right records.")] = None,
    id_columns: options.IdColumns = None,
    within: Annotated[
        bool,
        typer.Option(
            "--within", help="The links join records of one file; the order of a pair means nothing."
        ),
    ] = False,
    all_pairs: Annotated[
        Path | None,
        typer.Option("--all-pairs", metavar="FILE", help="Scored pairs, to judge every threshold."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Say how good links or clusters are where the truth is known.

    Precision, recall and F1 of the pairs, with 95% intervals.
    """
    with session(as_json) as screen:
        from linker.evaluate import at_thresholds, cluster_quality, link_quality

        wishes = options.Wishes.of(id_columns, None, None)
        decided, known = read_frame(links), read_frame(truth)
        paths = [path for path in (left, right) if path]
        ids = {source.path: source.records.ids for source in (read_sources(paths, wishes) if paths else [])}
        left_ids, right_ids = ids[left] if left else None, ids[right] if right else None
        if {"record_id", "cluster_id"} <= set(decided.columns):
            quality = cluster_quality(decided, known)
        else:
            quality = link_quality(decided, known, left_ids=left_ids, right_ids=right_ids, within=within)
        screen.document["quality"] = quality.as_dict()
        _show_quality(screen, quality)
        if all_pairs:
            pairs = _scored(all_pairs)
            curve = at_thresholds(pairs, known, left_ids=left_ids, right_ids=right_ids, within=within)
            _show_curve(screen, curve)


def _scored(path: Path) -> pl.DataFrame:
    pairs = read_frame(path)
    if not {"left_id", "right_id", "match_weight"} <= set(pairs.columns):
        raise FileError(
            f"{path} has no columns left_id, right_id and match_weight.",
            "Give what 'kinlink link --all-pairs' wrote.",
        )
    weights = pairs["match_weight"].cast(pl.Float64, strict=False)
    if weights.null_count():
        raise FileError(
            f"{path} has match weights that are no numbers.", "Give what 'kinlink link --all-pairs' wrote."
        )
    return pairs.with_columns(match_weight=weights)


def _show_quality(screen: Screen, quality: Quality) -> None:
    rows = []
    for name in ("precision", "recall", "f1"):
        value, interval = getattr(quality, name), getattr(quality, f"{name}_interval")
        rows.append((
            name.capitalize(),
            "-" if value is None else f"{value:.4f}",
            "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
        ))  # fmt: skip
    screen.title("Quality")
    screen.say(table(["", "Value", "95% interval"], rows, numbers=[1, 2]))
    screen.say(f"Right links {quality.tp:,}, wrong links {quality.fp:,}, missed {quality.fn:,}.")


def _show_curve(screen: Screen, curve: pl.DataFrame) -> None:
    """A row for each whole bit, and the best recall at high precision."""
    from linker.evaluate import recall_at_precision

    screen.document["thresholds"] = curve.to_dicts()
    whole = (
        curve.with_columns(bit=pl.col("threshold").floor())
        .group_by("bit")
        .last()
        .sort("bit", descending=True)
    )
    rows = [
        (f"{bit:.0f}", f"{n:,}", _rate(precision), _rate(recall), _rate(f1))
        for bit, n, precision, recall, f1 in whole.select("bit", "links", "precision", "recall", "f1").rows()
    ]
    screen.title("If every pair from a threshold up were linked")
    screen.say(table(["Bits", "Links", "Precision", "Recall", "F1"], rows, numbers=[0, 1, 2, 3, 4]))
    best = recall_at_precision(curve)
    screen.document["recall_at_precision_0.999"] = best
    if best:
        screen.say(
            f"Recall at a precision of 0.999: {best['recall']:.4f}, from {best['threshold']:.2f} bits up."
        )
    else:
        screen.say("No threshold reaches a precision of 0.999.")


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def explain(
    left: options.LeftFile,
    right: Annotated[
        Path | None,
        typer.Argument(metavar="[RIGHT]", show_default=False, help="Without it: both records are in LEFT."),
    ] = None,
    pair: Annotated[str, typer.Option("--pair", metavar="LEFT_ID,RIGHT_ID", help="The two records.")] = ...,  # type: ignore[assignment]
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="MANIFEST",
            help="Read the files and score as in this run, by the model kept beside it if there is one.",
        ),
    ] = None,
    model: options.ModelFile = None,
    values: Annotated[
        bool, typer.Option("--values", help="Show the values compared too: personal data, mind who looks on.")
    ] = False,
    id_columns: options.IdColumns = None,
    mapping: options.Mapping = None,
    ignore: options.Ignored = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Say why a pair has its match weight, comparison by comparison; the bits add up exactly."""
    with session(as_json) as screen:
        if "," not in pair:
            raise typer.BadParameter("--pair takes two ids with a comma between them.")
        if run and (id_columns or mapping or ignore):
            raise typer.BadParameter(
                "--run says how the columns are understood: leave --id, --map, --ignore."
            )
        from linker.cli.runs import model_as, read_as, trained
        from linker.linkage import explain as explain_pair

        paths = [left, right] if right else [left]
        if run:
            manifest = Manifest.load(run)
            sides = read_as(manifest, paths)
            left_id, right_id = _split(pair, sides[0].ids, sides[-1].ids)
            scoring = model_as(manifest, run, model, sides, threads, screen)
        else:
            given = Model.load(model) if model else None
            sides = [
                source.records
                for source in read_sources(paths, options.Wishes.of(id_columns, mapping, ignore), given)
            ]
            left_id, right_id = _split(pair, sides[0].ids, sides[-1].ids)
            scoring = given or trained(sides, seed, threads, screen)
        explanation = explain_pair(scoring, sides[0], sides[1] if right else None, left_id, right_id)
        _show_explanation(screen, explanation, values)


def _split(pair: str, left: pl.Series, right: pl.Series) -> tuple[str, str]:
    """The two ids; an id may hold commas itself as long as one split alone makes sense."""
    parts = pair.split(",")
    splits = [(",".join(parts[:at]).strip(), ",".join(parts[at:]).strip()) for at in range(1, len(parts))]
    found = [(a, b) for a, b in splits if (left == a).any() and (right == b).any()]
    if len(found) == 1:
        return found[0]
    missing = "second" if any((left == a).any() for a, _ in splits) else "first"
    raise RecordsError(
        f"The {missing} id of --pair is not among the records of its file.",
        "Ids are those of the id column, or row numbers from 1; a refused row has none.",
    )


def _show_explanation(screen: Screen, explanation: Explanation, values: bool) -> None:
    data: dict[str, Json] = explanation.as_dict()
    if not values:
        for step in data["steps"]:
            del step["left"], step["right"]
    screen.document["explanation"] = data
    screen.document["sentences"] = list(explanation.sentences())
    most = max([abs(explanation.prior), *(abs(step.weight + step.frequency) for step in explanation.steps)])
    before = f"{explanation.prior:+.2f}"
    rows: list[Sequence[object]] = [
        ("(before)", "two random records", "", before, before, _bar(explanation.prior, most))
    ]
    for step in explanation.steps:
        bits = step.weight + step.frequency
        rows.append((
            step.comparison, step.level, f"{step.frequency:+.2f}" if step.frequency else "", f"{bits:+.2f}",
            f"{step.total:+.2f}", _bar(bits, most),
        ))  # fmt: skip
    screen.title("Why this pair has its weight")
    screen.say(table(["Comparison", "Level", "Rarity", "Bits", "Total", ""], rows, numbers=[2, 3, 4]))
    if values:
        shown = [(step.comparison, step.left or "-", step.right or "-") for step in explanation.steps]
        screen.say("", table(["Comparison", "Left", "Right"], shown))
    screen.say(f"Match weight {explanation.weight:+.2f} bits, probability {explanation.probability:.6f}.")
    rule = explanation.rule
    screen.say(
        f"Found by: {rule}." if rule else "No blocking rule holds this pair: a run would not compare it."
    )


def _bar(bits: float, most: float) -> str:
    size = round(_BAR * min(abs(bits), most) / most) if most and abs(bits) != float("inf") else _BAR
    return ("+" if bits > 0 else "-") * size
