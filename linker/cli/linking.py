"""`kinlink link` and `kinlink dedupe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer

from linker.cli import options, profiles
from linker.cli.blocking import show_losses
from linker.cli.matchkeys import Keys, KeysOnly, check_keys_only, show_keys
from linker.cli.outputs import (
    CLUSTERS,
    LINKS,
    PAIRS,
    REFUSALS,
    Outputs,
    default_table,
    manifest_beside,
    rows_of,
)
from linker.cli.reading import Source, gather_refusals, read_sources, show_layouts, show_refusals
from linker.cli.screen import Screen, count, session, table
from linker.manifest import FORMAT as MANIFEST_FORMAT
from linker.matchkeys_ons import key_set
from linker.model import FORMAT as MODEL_FORMAT
from linker.model import Model
from linker.report import FORMAT as REPORT_FORMAT
from linker.report import MARK, write_report

if TYPE_CHECKING:
    from linker.linkage import Deduplication, Linkage
    from linker.manifest import Manifest
    from linker.matchkeys_link import KeyDeduplication, KeyLinkage
    from linker.train import Diagnostics

    Result = Linkage | Deduplication | KeyLinkage | KeyDeduplication

CERTIFIED_RECORDS = 1_000_000  # a report says what the rules can lose without being asked, up to here
ALL_PAIRS_CUT = -10.0  # bits; a pair under it is a thousand times likelier no match than one

Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="The result (.parquet, .csv, .arrow); by default in this directory."
    ),
]


def link(
    left: options.LeftFile,
    right: options.RightFile,
    out: Out = None,
    id_columns: options.IdColumns = None,
    mapping: options.Mapping = None,
    ignore: options.Ignored = None,
    one_to_one: Annotated[
        bool, typer.Option("--one-to-one", help="At most one link a record (default).")
    ] = False,
    many_to_one: Annotated[
        bool, typer.Option("--many-to-one", help="Many left records may link to one right record.")
    ] = False,
    many_to_many: Annotated[
        bool, typer.Option("--many-to-many", help="Every pair decides for itself.")
    ] = False,
    keys: Keys = None,
    keys_only: KeysOnly = False,
    model: options.ModelFile = None,
    save_model: options.SaveModel = None,
    threshold: options.Threshold = None,
    lead: Annotated[
        float,
        typer.Option(
            "--lead",
            metavar="BITS",
            min=0,
            help="Bits by which a link must lead over the runner-up, else review.",
        ),
    ] = 0.0,
    all_pairs: options.AllPairs = None,
    report: options.Report = None,
    certify: options.Certify = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    profile: profiles.Name = None,
    on: profiles.On = None,
    since: profiles.Since = None,
    family: profiles.Family = None,
    protected: profiles.Protected = None,
    arm: profiles.Arm = None,
    supply: profiles.Supplied = None,
    switch: profiles.Switches = None,
    as_json: options.AsJson = False,
) -> None:
    """Link the records of two files that are about the same person.

    Writes left_id, right_id, match_weight (bits), match_probability, outcome, stage and rule of every link.
    Pairs for people to decide go to <out>.review.<ext>, rows and values set aside to <out>.refusals.<ext>.
    The manifest of the run goes to <out>.manifest.json; 'kinlink verify' runs again by it. With --keys-only
    there is none.
    An older result of these names is replaced, another's file never.
    With --profile the right file is a register's extract: an outcome is written for every left record.
    """
    with session(as_json) as screen:
        wishes = options.Wishes.of(id_columns, mapping, ignore)
        asked = profiles.Asked(profile, on, since, family, protected, arm, supply, switch)
        asked.check(
            {"--keys": keys, "--keys-only": keys_only, "--model": model, "--save-model": save_model,
             "--threshold": threshold, "--lead": lead, "--all-pairs": all_pairs, "--certify": certify,
             "--one-to-one": one_to_one, "--many-to-one": many_to_one, "--many-to-many": many_to_many}
        )  # fmt: skip
        if profile is not None:
            profiles.link_by_profile(screen, asked, (left, right), wishes, out, report, seed, threads)
            return
        cardinality = options.cardinality_of(one_to_one, many_to_one, many_to_many)
        if keys_only:
            other = [model, save_model, threshold, all_pairs, many_to_one, many_to_many, lead, certify]
            check_keys_only(keys, any(one not in (None, False, 0.0) for one in other))
        chosen = key_set(keys) if keys else None
        out = out or default_table("links", [left, right])
        _apart(out, all_pairs, report, model, save_model)
        outputs = Outputs([left, right, model, Path(keys) if keys else None])
        outputs.claim_table(out, LINKS, {"review": LINKS, "refusals": REFUSALS})
        _claim(outputs, out, all_pairs, report, save_model)
        scoring = Model.load(model) if model else None
        sources = read_sources([left, right], wishes, scoring)
        show_layouts(screen, sources)
        with screen.progress() as progress:
            from linker.decide import Cardinality  # with the engine come its compiled kernels: slow to load
            from linker.linkage import link as link_records
            from linker.matchkeys_link import link_by_keys

            records = (sources[0].records, sources[1].records)
            result: Linkage | KeyLinkage
            if chosen and keys_only:
                result = link_by_keys(*records, chosen, threads=threads, progress=progress)
            else:
                result = link_records(
                    *records,
                    keys=chosen,
                    model=scoring,
                    cardinality=Cardinality(cardinality),
                    threshold=threshold,
                    lead=lead,
                    all_pairs=ALL_PAIRS_CUT if all_pairs else None,
                    certify=_certified(certify, report, sources, scoring),
                    seed=seed,
                    threads=threads,
                    progress=progress,
                )
        outputs.table("links", result.links, out)
        coverage = [
            (
                f"Linked records of {source.path.name}",
                result.links[column].n_unique(),
                source.records.ids.len(),
            )
            for column, source in zip(("left_id", "right_id"), sources, strict=True)
        ]
        _finish(screen, outputs, sources, result, out, all_pairs, report, model, save_model, coverage)
        if keys_only:
            return
        screen.say("", "Next, why two records were linked or not:")
        screen.line(f"  kinlink explain {left} {right} --pair LEFT_ID,RIGHT_ID --run {manifest_beside(out)}")


def dedupe(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", show_default=False, help="CSV, Parquet or Arrow files."),
    ],
    out: Out = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", metavar="FILE", help="Also write the linked pairs here.")
    ] = None,
    id_columns: options.IdColumns = None,
    mapping: options.Mapping = None,
    ignore: options.Ignored = None,
    keys: Keys = None,
    keys_only: KeysOnly = False,
    model: options.ModelFile = None,
    save_model: options.SaveModel = None,
    threshold: options.Threshold = None,
    all_pairs: options.AllPairs = None,
    report: options.Report = None,
    certify: options.Certify = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Find the records that are about the same person, in one file or in several together.

    Writes record_id and cluster_id of every record: records of one person share the cluster. With several
    files every id begins with the number of its file, as in 2:1234.
    Pairs for people to decide go to <out>.review.<ext>, rows and values set aside to <out>.refusals.<ext>.
    The manifest of the run goes to <out>.manifest.json; 'kinlink verify' runs again by it. With --keys-only
    there is none.
    An older result of these names is replaced, another's file never.
    """
    with session(as_json) as screen:
        wishes = options.Wishes.of(id_columns, mapping, ignore)
        if keys_only:
            other = [model, save_model, threshold, all_pairs, certify]
            check_keys_only(keys, any(one not in (None, False) for one in other))
        chosen = key_set(keys) if keys else None
        out = out or default_table("clusters", files)
        _apart(out, all_pairs, report, model, save_model, pairs)
        outputs = Outputs([*files, model, Path(keys) if keys else None])
        outputs.claim_table(out, CLUSTERS, {"review": LINKS, "refusals": REFUSALS})
        if pairs:
            outputs.claim_table(pairs, LINKS)
        _claim(outputs, out, all_pairs, report, save_model)
        scoring = Model.load(model) if model else None
        sources = read_sources(files, wishes, scoring)
        show_layouts(screen, sources)
        with screen.progress() as progress:
            from linker.linkage import dedupe as dedupe_records
            from linker.matchkeys_link import dedupe_by_keys

            records = [source.records for source in sources]
            result: Deduplication | KeyDeduplication
            if chosen and keys_only:
                result = dedupe_by_keys(*records, keys=chosen, threads=threads, progress=progress)
            else:
                result = dedupe_records(
                    *records,
                    keys=chosen,
                    model=scoring,
                    threshold=threshold,
                    all_pairs=ALL_PAIRS_CUT if all_pairs else None,
                    certify=_certified(certify, report, sources, scoring),
                    seed=seed,
                    threads=threads,
                    progress=progress,
                )
        outputs.table("clusters", result.clusters, out)
        if pairs:
            outputs.table("pairs", result.links, pairs)
        sizes = result.clusters.group_by("cluster_id").len().filter(pl.col("len") > 1)
        coverage = [("Records in clusters of two or more", int(sizes["len"].sum()), result.clusters.height)]
        screen.document["clusters"] = {
            "persons": result.clusters["cluster_id"].n_unique(), "of_two_or_more": sizes.height,
        }  # fmt: skip
        _finish(screen, outputs, sources, result, out, all_pairs, report, model, save_model, coverage)
        if len(files) == 1 and not keys_only:
            screen.say("", "Next, why two records were linked or not:")
            screen.line(f"  kinlink explain {files[0]} --pair ID,ID --run {manifest_beside(out)}")


def _apart(
    out: Path,
    all_pairs: Path | None,
    report: Path | None,
    model: Path | None,
    save_model: Path | None,
    pairs: Path | None = None,
) -> None:
    if model and save_model:
        raise typer.BadParameter("--save-model keeps a model that was trained, and --model gives one.")
    options.apart({
        "--out": out, "the manifest beside --out": manifest_beside(out), "--pairs": pairs,
        "--all-pairs": all_pairs, "--report": report, "--save-model": save_model,
        "the figures beside --report": report and report.with_suffix(".json"),
    })  # fmt: skip


def _certified(
    asked: bool | None, report: Path | None, sources: Sequence[Source], model: Model | None
) -> bool:
    """Whether to say what the rules can lose: as asked, else for a report where that takes little time."""
    if asked is not None:
        return asked
    records = sum(source.records.ids.len() for source in sources)
    return report is not None and records <= CERTIFIED_RECORDS and (model is None or model.raw is None)


def _claim(
    outputs: Outputs, out: Path, all_pairs: Path | None, report: Path | None, save_model: Path | None
) -> None:
    outputs.claim_text(manifest_beside(out), MANIFEST_FORMAT)
    if save_model:
        outputs.claim_text(save_model, MODEL_FORMAT)
    if all_pairs:
        outputs.claim_table(all_pairs, PAIRS)
    if report:
        outputs.claim_text(report, MARK)
        outputs.claim_text(report.with_suffix(".json"), REPORT_FORMAT)


def _finish(
    screen: Screen,
    outputs: Outputs,
    sources: Sequence[Source],
    result: Result,
    out: Path,
    all_pairs: Path | None,
    report: Path | None,
    model: Path | None,
    save_model: Path | None,
    coverage: Sequence[tuple[str, int, int]],
) -> None:
    """Write what stands beside the result, and show the figures."""
    from linker.matchkeys_link import KeyDeduplication, KeyLinkage

    by_model = None if isinstance(result, KeyLinkage | KeyDeduplication) else result
    refusals = gather_refusals(sources)
    outputs.companion("review", result.review, out)
    outputs.companion("refusals", refusals, out)
    if all_pairs and by_model and by_model.pairs is not None:
        outputs.table("all pairs", by_model.pairs, all_pairs)
    if by_model:
        manifest = _keep_run(outputs, by_model, out, model, save_model)
        screen.document |= {
            "threshold": by_model.threshold, "model": by_model.model.digest, "manifest": manifest.as_dict(),
        }  # fmt: skip
    else:
        manifest_beside(out).unlink(missing_ok=True)  # of an older run by a model
    if report:
        figures = write_report(result, report)
        outputs.note("report", report)
        outputs.note("report figures", figures)
    show_refusals(screen, refusals)
    if "matchkeys" in result.summary:
        show_keys(screen, result.summary["matchkeys"])
    _show_figures(screen, result, by_model, coverage)
    if by_model and by_model.losses is not None:
        show_losses(screen, by_model.losses.missed, False, by_model.losses.certificate)
    training = by_model.training if by_model else None
    screen.document |= {
        "summary": dict(result.summary),
        "links": result.links.height,
        "review": result.review.height,
        "warnings": [] if training is None else list(training.diagnostics.warnings),
    }
    sizes = {
        "links": rows_of(result.links, "link"),
        "clusters": count(coverage[0][2], "record")
        + " in "
        + count(result.summary.get("clusters", 0), "cluster"),
        "pairs": rows_of(result.links, "linked pair"),
        "review": rows_of(result.review, "pair") + " for people to decide",
        "refusals": rows_of(refusals, "row or value", "rows or values") + " set aside",
        "all pairs": f"every scored pair from {ALL_PAIRS_CUT:g} bits up",
        "model": "the model",
        "manifest": "the manifest of the run, for 'kinlink verify'",
        "report": "the report, opens in a browser",
        "report figures": "its figures",
    }
    outputs.show(screen, sizes)
    if training is not None:
        _warn(screen, training.diagnostics)


def _keep_run(
    outputs: Outputs,
    result: Linkage | Deduplication,
    out: Path,
    model: Path | None,
    save_model: Path | None,
) -> Manifest:
    """Write the manifest, and the model if it is to be kept."""
    if save_model:
        outputs.text("model", result.model.to_json(), save_model)
    kept, beside = save_model or model, manifest_beside(out)
    near = kept is not None and kept.resolve().parent == beside.resolve().parent
    manifest = replace(result.manifest, model_file=kept.name if kept and near else None)
    outputs.text("manifest", manifest.to_json(), beside)
    return manifest


def _warn(screen: Screen, found: Diagnostics) -> None:
    """What the user should know of the training; 'kinlink train' tells all."""
    for sentence in found.of_all:
        screen.warn(sentence)


def _show_figures(
    screen: Screen,
    result: Result,
    by_model: Linkage | Deduplication | None,
    coverage: Sequence[tuple[str, int, int]],
) -> None:
    lines: list[tuple[str, str]] = [("Pairs linked", f"{result.links.height:,}")]
    for words, number, total in coverage:
        share = f" ({number / total:.1%})" if total else ""
        lines.append((words, f"{number:,} of {total:,}{share}"))
    lines.append(("Pairs for people to decide", f"{result.review.height:,}"))
    if by_model:
        chance = 1.0 / (1.0 + 2.0**-by_model.threshold)
        lines.append(("Threshold", f"{by_model.threshold:.2f} bits (probability {chance:.4f})"))
        for name in ("precision", "recall"):
            lines.append((f"Expected {name} (by the model)", f"{result.summary[f'expected_{name}']:.4f}"))
    lines.append(("Candidate pairs compared", f"{result.summary['candidate_pairs']:,}"))
    screen.title("Result")
    screen.say(table(["", ""], lines, numbers=[1], heads_shown=False))
