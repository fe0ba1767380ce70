"""Kinlink alone at sizes that the comparison with others does not reach.

    python benchmarks/scale.py --bulk      a thousand million candidate pairs
    python benchmarks/scale.py --stream    100 k records against 1 m, then against 10 m, streamed: peak memory
    python benchmarks/scale.py --national  1 m records against 60 m, streamed

Each in a process of its own, with the model that Splink trained on a million made-up people a side
(model.json). Files are made in --folder and used again; the largest is 1.6 GB.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from benchmarks.linkage import MODEL, RULES, THRESHOLD, candidates, f1, row, with_rules
from benchmarks.measure import Result, machine, run
from benchmarks.population import study, write_study

MILLION = 1_000_000
#: With a million records a side, 1.1 thousand million pairs.
BULK = (("surname",), ("forename", "town"))

HEAD = (
    row("left", "right", "links", "F1", "s", "CPU s", "right records/s", "peak MiB")
    + "\n| --- |"
    + " --: |" * 7
)


def measured(
    left: int, right: int, rules: Sequence[Sequence[str]], folder: Path, *, stream: bool
) -> tuple[str, Result]:
    """One link of made-up people, as a row of the table."""
    files = folder / f"{left}x{right}"
    if not (files / "truth.parquet").exists():
        write_study(study(left, right, 0.7, seed=1), files, "realistic")
    model, links = with_rules(MODEL, rules, files / "model.json"), files / "links.parquet"
    job = {
        "do": "predict", "folder": str(files), "model": str(model), "threshold": THRESHOLD,
        "links": str(links), "stream": stream,
    }  # fmt: skip
    result = run("with_kinlink", job)
    frame = pl.read_parquet(links)
    cells = (
        f"{left:,}", f"{right:,}", f"{frame.height:,}", f1(frame, files), f"{result.wall():.1f}",
        f"{result.cpu():.1f}", f"{right / result.wall():,.0f}", f"{result.peak:,.0f}",
    )  # fmt: skip
    return row(*cells), result


def bulk(folder: Path) -> Iterator[str]:
    """Pairs a second where most of the work is in the pairs."""
    yield "## A thousand million candidate pairs\n"
    yield HEAD
    line, result = measured(MILLION, MILLION, BULK, folder, stream=False)
    yield line
    pairs = candidates(folder / f"{MILLION}x{MILLION}", BULK)
    yield f"\n{pairs:,} candidate pairs, {pairs / result.wall() / 1e6:.0f} m pairs/s.\n"


def stream(folder: Path) -> Iterator[str]:
    """Memory must not depend on the size of the register."""
    yield "## 100 k records against a register of 1 m and of 10 m, streamed\n"
    yield HEAD
    peaks = []
    for right in (MILLION, 10 * MILLION):
        line, result = measured(100_000, right, RULES["light"], folder, stream=True)
        peaks.append(result.peak)
        yield line
    yield f"\nPeak memory with 10 m: {peaks[1] / peaks[0]:.2f} times that with 1 m.\n"


def national(folder: Path) -> Iterator[str]:
    """A million people against a register of a whole country."""
    yield "## 1 m records against a register of 60 m, streamed\n"
    yield HEAD
    yield measured(MILLION, 60 * MILLION, RULES["light"], folder, stream=True)[0] + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Kinlink at large sizes.")
    parts = {"bulk": bulk, "stream": stream, "national": national}
    for name, part in parts.items():
        parser.add_argument(f"--{name}", action="store_true", help=part.__doc__)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--out", type=Path, help="write what is printed here as well")
    asked = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        lines.append("# Kinlink at large sizes\n\n" + " ".join(machine()) + "\n")
        print(lines[0])
        for name, part in parts.items():
            if not getattr(asked, name):
                continue
            for line in part(folder):
                lines.append(line)
                print(line, flush=True)
    if asked.out:
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
