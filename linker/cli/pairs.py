"""`kinlink pairs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linker.cli import options
from linker.cli.outputs import Outputs, default_table, rows_of
from linker.cli.screen import session
from linker.model import Model

COLUMNS = ("left_id", "right_id", "match_weight", "match_probability", "rule")


def pairs(
    left: Annotated[
        Path,
        typer.Argument(metavar="LEFT", show_default=False, help="The smaller file: it is held in memory."),
    ],
    right: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RIGHT]", show_default=False, help="Of any size. Without it: LEFT against itself."
        ),
    ] = None,
    model: Annotated[
        Path, typer.Option("--model", metavar="FILE", help="A model from 'kinlink train' or 'model import'.")
    ] = ...,  # type: ignore[assignment]  # an option that must be given
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="WEIGHT", help="The lowest match weight in bits.")
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where the pairs go: .parquet, .csv, .tsv or .arrow."),
    ] = None,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """List every pair of at least a weight; the right file may be larger than memory.

    A model scores the pairs that its rules give. Nothing is decided: a record may stand in many pairs.
    The right file is read a part at a time, so that memory depends on the left one and on what is found.
    """
    with session(as_json) as screen:
        files = [path for path in (left, right) if path is not None]
        out = out or default_table("pairs", files)
        outputs = Outputs([*files, model])
        outputs.claim_table(out, COLUMNS)
        scoring = Model.load(model)
        with screen.progress() as progress:
            from linker.pairs import pairs as find_pairs

            found = find_pairs(
                left, right, model=scoring, threshold=threshold, threads=threads, progress=progress
            )
        outputs.table("pairs", found, out)
        screen.document["pairs"] = found.height
        outputs.show(screen, {"pairs": rows_of(found, "pair")})
