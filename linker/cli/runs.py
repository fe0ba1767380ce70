"""`kinlink verify`, and what other commands take from the manifest of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from linker.cli import options
from linker.cli.reading import native_silence
from linker.cli.screen import Screen, session, table
from linker.errors import ManifestError
from linker.files import read_frame, read_typed
from linker.linkage import train
from linker.manifest import Manifest
from linker.model import Model
from linker.records import Records
from linker.verification import Verdict, records_of
from linker.verification import verify as verify_run


def verify(
    manifest: options.RunManifest,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", show_default=False, help="The inputs of the run, in its order."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FILE", help="The model that was given to the run, if it is not beside it."
        ),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option("--keys", metavar="FILE", help="The matchkeys of the run, if they were in a file."),
    ] = None,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """Run again as a manifest says, and say whether the result is the same, byte for byte.

    Exit code 0 if it is, 1 if it is not. Nothing is written.
    """
    with session(as_json) as screen:
        before = Manifest.load(manifest)
        if before.asked.labels is not None:
            raise ManifestError("The run learnt from labels.", "Verify it in Python: linker.verify.")
        given = _model_of(before, manifest, model) if before.asked.model_given or model else None
        as_they_stand = all(not one.layout.fields for one in before.inputs)
        with native_silence():
            frames = [read_typed(path) if as_they_stand else read_frame(path) for path in files]
        with screen.progress() as progress:
            verdict = verify_run(before, *frames, model=given, keys=keys, threads=threads, progress=progress)
        _show(screen, before, verdict)
    if not verdict.same:
        raise typer.Exit(1)


def _show(screen: Screen, before: Manifest, verdict: Verdict) -> None:
    screen.document |= {
        "same": verdict.same,
        "results": verdict.results,
        "differences": list(verdict.differences),
        "manifest": verdict.again.as_dict(),
    }
    screen.title("Run again")
    rows = [
        (name, "the same" if same else "DIFFERENT", before.results[name][:16])
        for name, same in verdict.results.items()
    ]
    screen.say(table(["Table", "", "Digest in the manifest"], rows))
    if verdict.differences:
        screen.title("What else is not as it was")
        for one in verdict.differences:
            screen.say(f"- {one}")
    screen.say(
        "", "The result is the same, byte for byte." if verdict.same else "The result is NOT the same."
    )


def read_as(manifest: Manifest, files: Sequence[Path]) -> list[Records]:
    """The inputs of a run of one file or two, understood as they were then.

    Raises:
        ManifestError: they are others, or more.
    """
    if manifest.kind == "deduplication" and len(manifest.inputs) > 1:
        raise ManifestError(
            "The run looked for duplicates in several files together.",
            "A pair of one file, or of two that were linked, can be explained.",
        )
    with native_silence():
        return records_of(manifest, files)


def model_as(
    manifest: Manifest,
    path: Path,
    given: Path | None,
    sides: Sequence[Records],
    threads: int | None,
    screen: Screen,
) -> Model:
    """The model of a run: given, kept beside its manifest, or trained again.

    Args:
        manifest: of the run.
        path: where the manifest is.
        given: a model file, or None.
        sides: the records, as `read_as` gives them.
        threads: of the training.
        screen: for the progress of the training.

    Raises:
        ManifestError: it is not the model of the run, or cannot be had.
    """
    if given or manifest.model_file or manifest.asked.model_given:
        return _model_of(manifest, path, given)
    if manifest.asked.labels is not None:
        raise ManifestError("The run learnt from labels and kept no model.", "Name it with --model.")
    screen.warn("The run kept no model, so it is trained again; --save-model keeps one.")
    model = trained(sides, manifest.asked.seed, threads, screen)
    if model.digest != manifest.model:
        raise ManifestError(
            "The model that was trained again is not the one of the run.",
            "Kinlink or a library is of another version: 'kinlink verify' says which.",
        )
    return model


def trained(sides: Sequence[Records], seed: int, threads: int | None, screen: Screen) -> Model:
    """The model that a run of one set of records or of two would train."""
    with screen.progress() as progress:
        right = sides[1] if len(sides) > 1 else None
        return train(sides[0], right, seed=seed, threads=threads, progress=progress).model


def _model_of(manifest: Manifest, path: Path, given: Path | None) -> Model:
    if given is None and manifest.model_file is None:
        raise ManifestError("The run was given a model that is not beside it.", "Name it with --model.")
    model = Model.load(given or path.with_name(str(manifest.model_file)))
    if model.digest != manifest.model:
        raise ManifestError(
            "The model is not the one of the run.", "Give the model of the manifest's digest with --model."
        )
    return model
