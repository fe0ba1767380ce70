"""One job's work: the engine is called, and what it returns is put into a folder of durable files.

links.parquet  review.parquet  [pairs.parquet]  [clusters.parquet]  report.json  [model.json  manifest.json]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import linker
from linker import durable, report
from linker.decide import Cardinality
from linker.matchkeys import Matchkeys
from linker.model import Model
from linker.records import Records
from linker.resources import JobKind, Table, Work

MODEL_FILE = "model.json"
Progress = Callable[[str, int, int], None]


def perform(
    work: Work, left: Records, right: Records | None, model: Model | None, folder: Path, progress: Progress
) -> Model | None:
    """Do what a job is asked to do.

    Args:
        work: what to do.
        left: the records of the left side, or the only ones.
        right: the records of the right side, or None.
        model: the model to score with, or None to estimate one.
        folder: an empty folder for the result.
        progress: called with (stage, done, total); what it raises ends the work.

    Returns:
        The model that was used or estimated; None if matchkeys linked alone.

    Raises:
        LinkerError: the records, the model or the matchkeys cannot be used.
    """
    if work.kind is JobKind.TRAINING:
        training = linker.train(left, right, seed=work.seed, progress=progress)
        figures: dict[str, object] = {
            "kind": "training",
            "model": report.model_figures(training.model),
            "training": training.diagnostics.as_dict(),
            "warnings": list(training.diagnostics.warnings),
        }
        return _write(folder, figures, training.model)
    keys = Matchkeys.from_json(work.keys) if work.keys else None
    result: linker.Linkage | linker.Deduplication | linker.KeyLinkage | linker.KeyDeduplication
    if keys is not None and work.keys_only and right is not None:
        result = linker.link_by_keys(left, right, keys, progress=progress)
    elif keys is not None and work.keys_only:
        result = linker.dedupe_by_keys(left, keys=keys, progress=progress)
    elif right is not None:
        result = linker.link(
            left,
            right,
            keys=keys,
            model=model,
            cardinality=Cardinality(work.cardinality) if work.cardinality else None,
            threshold=work.threshold,
            all_pairs=work.all_pairs,
            seed=work.seed,
            progress=progress,
        )
    else:
        result = linker.dedupe(
            left,
            keys=keys,
            model=model,
            threshold=work.threshold,
            all_pairs=work.all_pairs,
            seed=work.seed,
            progress=progress,
        )
    tables = {
        Table.LINKS: result.links,
        Table.REVIEW: result.review,
        Table.PAIRS: getattr(result, "pairs", None),
        Table.CLUSTERS: getattr(result, "clusters", None),
    }
    for name, table in tables.items():
        if table is not None:
            durable.write(folder / f"{name}.parquet", table.write_parquet)
    if isinstance(result, linker.KeyLinkage | linker.KeyDeduplication):
        return _write(folder, report.figures(result), None)
    manifest = replace(result.manifest, model_file=MODEL_FILE).to_json().encode()
    durable.write(folder / "manifest.json", lambda file: file.write(manifest))
    return _write(folder, report.figures(result), result.model)


def _write(folder: Path, figures: dict[str, object], model: Model | None) -> Model | None:
    text = json.dumps(figures, allow_nan=False).encode()
    durable.write(folder / "report.json", lambda file: file.write(text))
    if model is not None:
        content = model.to_json().encode()
        durable.write(folder / MODEL_FILE, lambda file: file.write(content))
    return model
