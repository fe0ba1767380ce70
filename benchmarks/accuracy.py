"""How right the default linkage is, where the truth is known: no labels, no model, no threshold given.

    python benchmarks/accuracy.py                       FEBRL 1 to 4
    python benchmarks/accuracy.py --data DIR [--out F]  and every set in DIR

A set is a folder with `truth.parquet` and either `left.parquet` and `right.parquet` (linked one to one) or
`records.parquet` (deduplicated). Prints a Markdown table; --out writes it to a file as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

import linker
from linker.classifiers import febrl
from linker.evaluate import Quality, at_thresholds, link_quality, recall_at_precision

LOW = -10.0  # bits; the curve over all thresholds is taken above this


class Set(NamedTuple):
    """Records with truth; right None to deduplicate."""

    name: str
    left: pl.DataFrame
    right: pl.DataFrame | None
    truth: pl.DataFrame


def sets(data: Path | None) -> Iterator[Set]:
    """FEBRL, then what is in the folder, by name."""
    for number in range(1, 5):
        one = febrl(number)
        yield Set(f"FEBRL {number}", one.left, one.right, one.truth)
    for folder in sorted(data.iterdir()) if data else ():
        if not (folder / "truth.parquet").is_file():
            continue
        truth = pl.read_parquet(folder / "truth.parquet")
        if (folder / "records.parquet").is_file():
            yield Set(folder.name, pl.read_parquet(folder / "records.parquet"), None, truth)
        else:
            left, right = (pl.read_parquet(folder / f"{side}.parquet") for side in ("left", "right"))
            yield Set(folder.name, left, right, truth)


def measure(one: Set) -> str:
    """One row of the table."""
    began = time.perf_counter()
    within = one.right is None
    result: linker.Linkage | linker.Deduplication
    if one.right is None:
        result = linker.dedupe(one.left, all_pairs=LOW)
        resolved = linker.evaluate(result.clusters, one.truth)
    else:
        result = linker.link(one.left, one.right, all_pairs=LOW)
        resolved = linker.evaluate(result.links, one.truth)
    seconds = time.perf_counter() - began
    assert result.pairs is not None
    ids = {"left_ids": result.records[0].ids, "right_ids": None if within else result.records[-1].ids}
    above = result.pairs.filter(pl.col("match_weight") >= max(0.0, result.threshold))
    decided = link_quality(above, one.truth, within=within, **ids)
    curve = at_thresholds(result.pairs, one.truth, within=within, **ids)
    strict = recall_at_precision(curve, 0.999)
    return row(
        one.name,
        " × ".join(f"{len(side.ids):,}" for side in result.records),
        figure(decided),
        figure(resolved),
        f"{resolved.precision:.4f}",
        f"{resolved.recall:.4f}",
        f"{strict['recall']:.3f}" if strict else "none",
        f"{result.threshold:.1f}",
        f"{seconds:.1f}",
    )


def figure(quality: Quality) -> str:
    """F1 with its 95 % interval."""
    interval = quality.f1_interval
    return f"{quality.f1:.4f}" + (f" ({interval[0]:.4f}–{interval[1]:.4f})" if interval else "")


def row(*cells: str) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


HEAD = (
    row(
        "set",
        "records",
        "pairs F1",
        "resolved F1",
        "precision",
        "recall",
        "recall at precision ≥ .999",
        "threshold",
        "s",
    )
    + "\n"
    + row(*["---"] * 9)
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Accuracy of the default linkage where truth is known.")
    parser.add_argument("--data", type=Path, help="a folder of sets with truth")
    parser.add_argument("--out", type=Path, help="write the table here as well")
    asked = parser.parse_args()
    lines = [HEAD]
    print(HEAD)
    for one in sets(asked.data):
        lines.append(measure(one))
        print(lines[-1], flush=True)
    if asked.out:
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
