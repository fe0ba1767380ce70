"""Kinlink's side of the comparison, with the model that Splink trained, or with its comparisons to train."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

import linker
from benchmarks.measure import THREADS, Meter, answer
from linker.model import Model
from linker.predict import no_progress
from linker.raw import raw_table
from linker.splink import read_splink
from linker.workup import learn, work_up

WARM = 2_000  # records of either side, to compile or load the kernels before the clock starts


def work(job: dict[str, Any], meter: Meter) -> Callable[[], object]:
    """Train, or predict with a model; a right side to be streamed stays in its file."""
    folder = Path(job["folder"])
    left = pl.read_parquet(folder / "left.parquet")
    right = folder / "right.parquet" if job.get("stream") else pl.read_parquet(folder / "right.parquet")
    few = pl.scan_parquet(folder / "right.parquet").head(WARM).collect()
    model = read_splink(Path(job["model"])) if "model" in job else linker.Model.load(job["own_model"])
    if job["do"] == "train":
        _train(left.head(WARM), few, model, Meter())
        assert isinstance(right, pl.DataFrame)
        trained = _train(left, right, model, meter)
        return lambda: trained.save(job["own_model"])
    linker.pairs(left.head(WARM), few, model=model, threshold=job["threshold"])
    with ExitStack() as stages:
        stages.enter_context(meter.stage("encode and index"))

        def begins(_stage: str, _done: int, _total: int) -> None:
            if "encode and index" not in meter.spent:
                stages.close()
                stages.enter_context(meter.stage("score"))

        pairs = linker.pairs(
            left, right, model=model, threshold=job["threshold"], threads=THREADS, progress=begins
        )
    return lambda: pairs.write_parquet(job["links"])


def _train(left: pl.DataFrame, right: pl.DataFrame, draft: Model, meter: Meter) -> Model:
    """Learn u, m and the prior; of the draft only the comparisons and the rules count."""
    with meter.stage("encode"):
        assert draft.raw is not None  # as all models that were Splink's
        sides = raw_table(left, draft.raw.id_column), raw_table(right, draft.raw.id_column)
        drafted = work_up(sides, draft)
    with meter.stage("u and em"):
        return learn(drafted, None, seed=0, threads=THREADS, progress=no_progress).model


if __name__ == "__main__":
    answer(work)
