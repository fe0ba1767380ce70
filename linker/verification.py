"""Running again as a manifest says, and comparing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from linker.arrival import Source, checked, path_of
from linker.decide import Cardinality
from linker.digest import digest
from linker.errors import ManifestError
from linker.files import read_frame
from linker.linkage import dedupe, link
from linker.manifest import Input, Manifest, name_of
from linker.matchkeys import Matchkeys
from linker.matchkeys_ons import SETS, key_set
from linker.model import Model
from linker.predict import Progress
from linker.raw import raw_records
from linker.records import Layout, Records


@dataclass(frozen=True)
class Verdict:
    """How a second run compares with the first.

    Attributes:
        same: every table of the result is the same, byte for byte.
        results: by table, whether it is the same.
        differences: what else is not the same: code, libraries, model, threshold, counts. Not empty although
            `same` is true where, for example, another version gave the same result.
        again: the manifest of the second run.
    """

    same: bool
    results: dict[str, bool]
    differences: tuple[str, ...]
    again: Manifest


def verify(
    manifest: Manifest,
    *sources: Source,
    model: Model | None = None,
    labels: pl.DataFrame | None = None,
    keys: Matchkeys | str | Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Run again as a manifest says, and say whether the result is the same.

    Args:
        manifest: of the first run.
        sources: its inputs, in its order: files, frames or records; the order of their rows may be another.
        model: the model of the first run, if one was given to it.
        labels: its labels, if it had any.
        keys: its matchkeys, if it had any; those that come with Kinlink need not be given.
        threads: None for one a core.
        progress: called with (stage, done, total); may raise `Cancelled`.

    Raises:
        ManifestError: an input, the model, the labels or the matchkeys are not those of the first run.
        LinkerError: what is wrong with a file.
    """
    asked = manifest.asked
    sides = records_of(manifest, sources)
    if asked.model_given and model is None:
        raise ManifestError("The run had a model that was given to it.", "Give the model of that digest too.")
    if not asked.model_given and model is not None:
        raise ManifestError("The run trained its own model.", "Leave the model out: it is trained again.")
    if model is not None and model.digest != manifest.model:
        raise ManifestError("The model is not the one of the run.", "Give the model of that digest.")
    if asked.labels != (None if labels is None else digest(labels.cast(pl.String))):
        raise ManifestError(
            "The labels are not those of the run.", "Give the labels of that digest, or none."
        )
    chosen = _keys_of(manifest, keys)
    if manifest.kind == "linkage":
        again = link(
            *sides,
            keys=chosen,
            model=model,
            labels=labels,
            cardinality=Cardinality(asked.cardinality or Cardinality.ONE_TO_ONE),
            threshold=asked.threshold,
            lead=asked.lead,
            all_pairs=asked.all_pairs,
            seed=asked.seed,
            threads=threads,
            progress=progress,
        ).manifest
    else:
        again = dedupe(
            *sides,
            keys=chosen,
            model=model,
            labels=labels,
            threshold=asked.threshold,
            all_pairs=asked.all_pairs,
            seed=asked.seed,
            threads=threads,
            progress=progress,
        ).manifest
    results = {name: again.results.get(name) == before for name, before in manifest.results.items()}
    return Verdict(all(results.values()), results, _differences(manifest, again), again)


def _keys_of(manifest: Manifest, given: Matchkeys | str | Path | None) -> Matchkeys | None:
    """The matchkeys of a run: given, or of its name among those that come with Kinlink."""
    known = manifest.asked.keys
    if known is None:
        if given is not None:
            raise ManifestError("The run had no matchkeys.", "Leave them out.")
        return None
    chosen = SETS.get(known.rpartition(" ")[0]) if given is None else key_set(given)
    if chosen is None:
        raise ManifestError("The run had matchkeys of its own.", "Give the set of that digest too.")
    if name_of(chosen) != known:
        raise ManifestError("The matchkeys are not those of the run.", "Give the set of that digest.")
    return chosen


def records_of(manifest: Manifest, sources: Sequence[Source]) -> list[Records]:
    """The inputs of a run, understood as they were then.

    Raises:
        ManifestError: there are too many or too few, or one is not the input of the run.
    """
    if len(sources) != len(manifest.inputs):
        raise ManifestError(
            f"The run had {len(manifest.inputs)} inputs, and {len(sources)} are given.", "Give all of them."
        )
    pairs = list(zip(sources, manifest.inputs, strict=True))
    sides = [_understood(source, known.layout, place) for place, (source, known) in enumerate(pairs, 1)]
    found = [Input.of(side) for side in sides]
    for place, (one, known) in enumerate(zip(found, manifest.inputs, strict=True), start=1):
        if one.digest == known.digest:
            continue
        if one.digest in (other.digest for other in manifest.inputs):
            said = "it is another of its inputs"
        elif one.records != known.records:
            said = f"it has {one.records:,} records, that one {known.records:,}"
        else:
            said = "its ids or values differ"
        raise ManifestError(
            f"Input {place} is not the one of the run: {said}.",
            "Give the inputs as they were, in the order of the run.",
        )
    return sides


def _understood(source: Source, layout: Layout, place: int) -> Records:
    if isinstance(source, Records):
        return source
    if not layout.fields and layout.id_column is not None:  # for a model that reads records as they stand
        return raw_records(source, layout.id_column)
    frame = source if isinstance(source, pl.DataFrame) else read_frame(path_of(source))
    needed = {name for field in layout.fields for name in field.columns} | {layout.id_column} - {None}
    if not needed <= set(frame.columns):
        raise ManifestError(
            f"Input {place} is not the one of the run: columns are missing.",
            "Give the inputs in the order of the run.",
        )
    return checked(frame, layout)


def _differences(before: Manifest, now: Manifest) -> tuple[str, ...]:
    said = []
    for name, word in (("code", "Kinlink"), ("environment", "environment")):
        then, here = getattr(before, name), getattr(now, name)
        said += [
            f"{word}, {key}: then {_short(then.get(key))}, now {_short(here.get(key))}"
            for key in sorted({*then, *here})
            if then.get(key) != here.get(key)
        ]
    for name in ("model", "threshold"):
        then, here = getattr(before, name), getattr(now, name)
        if then != here:
            said.append(f"{name}: then {_short(then)}, now {_short(here)}")
    said += [
        f"{key.replace('_', ' ')}: then {before.counts.get(key)}, now {now.counts.get(key)}"
        for key in ("candidate_pairs", "links", "review", "clusters")
        if before.counts.get(key) != now.counts.get(key)
    ]
    return tuple(said)


def _short(value: object) -> str:
    """A digest as people compare it."""
    text = str(value)
    return text[:16] if len(text) == 64 else text
