"""One run of the engine: its stages, each with its seconds, and the figures of all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any as Json

import polars as pl

from linker.blocking_losses import Losses, losses
from linker.errors import RecordsError
from linker.matchkeys import Matchkeys
from linker.matchkeys_pass import Matched, match_keys, match_within
from linker.model import Model
from linker.predict import Progress, Scored, scan_candidates
from linker.program import compile_tests, compile_weights
from linker.records import Records
from linker.threshold import Expectation
from linker.workup import Workup, learn, work_up


@dataclass
class Run:
    """One run's progress, the seconds of its stages, and what its rules can lose, if that was asked."""

    progress: Progress
    threads: int | None

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.losses: Losses | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note the time of a stage."""
        began = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - began, 3)

    def match(self, sides: tuple[Records, Records], keys: Matchkeys) -> Matched:
        """What the matchkeys decide."""
        with self.timed("matchkeys"):
            return match_keys(*sides, keys, threads=self.threads, progress=self.progress)

    def match_within(self, sides: tuple[Records, ...], keys: Matchkeys) -> Matched:
        """What the matchkeys decide within one set, or within several together."""
        with self.timed("matchkeys"):
            return match_within(sides, keys, threads=self.threads, progress=self.progress)

    def prepare(
        self,
        sides: tuple[Records, ...],
        model: Model | None,
        labels: pl.DataFrame | None,
        seed: int,
        *,
        together: bool = False,
        certify: bool = False,
    ) -> Workup:
        """Standardise, encode, block and, without a model, train; if asked, say what the rules can lose."""
        if model is not None and labels is not None:
            raise RecordsError(
                "A model and labels were both given.", "Labels train a model: give one of the two."
            )
        with self.timed("standardise"):
            self.progress("standardise", 0, 1)
            work = work_up(sides, model, together=together, keep=certify)
            self.progress("standardise", 1, 1)
        if model is None:
            with self.timed("train"):
                work = learn(work, labels, seed=seed, threads=self.threads, progress=self.progress)
        if certify:
            with self.timed("certify"):
                self.progress("certify", 0, 1)
                self.losses = losses(work, seed=seed)
                self.progress("certify", 1, 1)
        return replace(work, columns=None)

    def score(self, work: Workup, cut: float) -> Scored:
        """Every candidate pair of at least the weight `cut`."""
        with self.timed("compare"):
            tests = compile_tests(work.model.comparisons, work.encoded)
            weights = compile_weights(work.model, work.encoded)
            return scan_candidates(
                work.encoded, work.blocks, tests, weights, cut, threads=self.threads, progress=self.progress
            )

    def summary(
        self,
        work: Workup,
        scored: Scored,
        links: pl.DataFrame,
        review: pl.DataFrame,
        expected: Expectation,
        matches: float,
    ) -> dict[str, Json]:
        """The figures of the run."""
        rules = [
            {"rule": index.rule.name, "pairs": n}
            for index, n in zip(work.blocks, scored.compared, strict=True)
        ]
        certified = {} if self.losses is None else {"blocking": self.losses.at(expected.threshold).as_dict()}
        return {
            "records": [len(side.ids) for side in work.sides],
            "refused": [int(side.refusals["refused"].sum()) for side in work.sides],
            "set_aside": [int((~side.refusals["refused"]).sum()) for side in work.sides],
            "candidate_pairs": sum(scored.compared),
            "rules": rules,
            "rules_left_out": list(work.left_out),
            "links": links.height,
            "review": review.height,
            "threshold": expected.threshold,
            "expected_matches": round(matches, 1),
            "expected_precision": expected.precision,
            "expected_recall": expected.recall,
            "model": work.model.digest,
            "seconds": dict(self.seconds),
        } | certified
