"""Kinlink's side of the comparison, with the model that Splink trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

import linker
from benchmarks.measure import THREADS, Meter, answer
from linker.splink import read_splink

WARM = 2_000  # records of either side, to compile or load the kernels before the clock starts


def work(job: dict[str, Any], meter: Meter) -> Callable[[], object]:
    """Train, or predict with a model; a right side to be streamed stays in its file."""
    folder = Path(job["folder"])
    left = pl.read_parquet(folder / "left.parquet")
    right = folder / "right.parquet" if job.get("stream") else pl.read_parquet(folder / "right.parquet")
    model = read_splink(Path(job["model"]))
    few = pl.scan_parquet(folder / "right.parquet").head(WARM).collect()
    linker.pairs(left.head(WARM), few, model=model, threshold=job["threshold"])
    with meter.stage("predict"):
        pairs = linker.pairs(left, right, model=model, threshold=job["threshold"], threads=THREADS)

    def finish() -> None:
        pairs.write_parquet(job["links"])

    return finish


if __name__ == "__main__":
    answer(work)
