"""One job's work: the engine is called, and what it returns is put into a folder of durable, sealed files.

links  review  [pairs]  [clusters]: tables     report  [model  manifest]: JSON
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import linker
from linker import report
from linker.decide import Cardinality
from linker.matchkeys import Matchkeys
from linker.model import Model
from linker.records import Records
from linker.resources import JobKind, Table, Work
from linker.vaulted import Folder

MODEL, REPORT, MANIFEST = "model", "report", "manifest"
MODEL_FILE = "model.json"  # what the manifest calls the model, for whoever fetches both
Progress = Callable[[str, int, int], None]


def perform(
    work: Work, left: Records, right: Records | None, model: Model | None, folder: Folder, progress: Progress
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
        return _write(folder, figures | work.lawfulness, training.model)
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
            folder.write_table(str(name), table)
    if isinstance(result, linker.KeyLinkage | linker.KeyDeduplication):
        return _write(folder, report.figures(result) | work.lawfulness, None)
    folder.write(MANIFEST, replace(result.manifest, model_file=MODEL_FILE).to_json().encode())
    return _write(folder, report.figures(result) | work.lawfulness, result.model)


def _write(folder: Folder, figures: dict[str, object], model: Model | None) -> Model | None:
    folder.write(REPORT, json.dumps(figures, allow_nan=False).encode())
    if model is not None:
        folder.write(MODEL, model.to_json().encode())
    return model
