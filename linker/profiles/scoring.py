"""Weights of all pairs that come into question: the candidates of the rules and the pairs of the keys.

draft ──train──▶ model ──▶ pairs: left row, right row, weight, first key, level of each comparison
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.encode import Encoded, encode
from linker.frequencies import term_frequencies
from linker.matchkeys_pass import first_keys
from linker.model import Model
from linker.predict import Progress, scan_candidates, score_rows
from linker.profiles.drafting import Draft
from linker.program import compile_tests, compile_weights, shifts
from linker.train import Training, train_em
from linker.workup import affordable, index_rules

LOWEST = -10.0  # bits; a pair below is no rival of anything
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Weighed:
    """Pairs with their weights.

    Attributes:
        pairs: left, right (rows, Int64), weight (bits), key (position among the draft's keys, null for none),
            one column a comparison with the level reached: 0 where a value is missing, 1 the best.
        model: what scored.
        training: how it was trained; None if it was given.
        compared: candidate pairs by rule.
        left_out: rules that would have cost too much.
        levels: of each comparison the number of its last level.
    """

    pairs: pl.DataFrame
    model: Model
    training: Training | None
    compared: Mapping[str, int]
    left_out: tuple[str, ...]
    levels: Mapping[str, int]
    encoded: Encoded

    def of(self, left: Rows, right: Rows) -> pl.DataFrame:
        """Any pairs of rows, weighed, in the columns of `pairs` but the key."""
        weight, pattern = _scores(self.encoded, self.model, left, right)
        return _frame(self.model, left, right, weight, pattern)


def weigh(
    drafted: Draft,
    model: Model | None,
    *,
    within: bool = False,
    seed: int,
    threads: int | None,
    progress: Progress,
) -> Weighed:
    """Train the draft, unless a model is given, and weigh all pairs.

    Args:
        drafted: what is compared.
        model: as of an earlier run.
        within: the left with itself.
        seed, threads, progress: as of `link_profile`.
    """
    left = drafted.columns[0]
    right = None if within else drafted.columns[1]
    sides = [left] if right is None else [left, right]
    chosen = drafted.model if model is None else model
    if model is None:
        chosen = replace(chosen, frequencies=term_frequencies(chosen, sides))
    encoded = encode(left, right, chosen)
    blocks, left_out = affordable(index_rules(chosen.rules, encoded), encoded)
    training = None
    if model is None:
        chosen = replace(chosen, rules=tuple(index.rule for index in blocks))
        training = train_em(chosen, encoded, blocks, seed=seed, threads=threads, progress=progress)
        chosen = training.model
    tests, weights = compile_tests(chosen.comparisons, encoded), compile_weights(chosen, encoded)
    scored = scan_candidates(encoded, blocks, tests, weights, LOWEST, threads=threads, progress=progress)
    frame = _frame(
        chosen, scored.left.astype(np.int64), scored.right.astype(np.int64), scored.weight, scored.pattern
    ).with_columns(key=pl.lit(None, pl.Int64))
    if drafted.keys:
        frame = _with_keys(frame, drafted, sides, chosen, encoded, threads, progress)
    counts = {index.rule.name: many for index, many in zip(blocks, scored.compared, strict=True)}
    levels = {one.name: len(one.levels) for one in chosen.comparisons}
    return Weighed(frame.sort("left", "right"), chosen, training, counts, left_out, levels, encoded)


def _with_keys(
    frame: pl.DataFrame,
    drafted: Draft,
    sides: list[pl.DataFrame],
    model: Model,
    encoded: Encoded,
    threads: int | None,
    progress: Progress,
) -> pl.DataFrame:
    _, met, first, _ = first_keys(drafted.keys, sides, threads, progress)
    keyed = pl.DataFrame(
        {
            "left": met.left.astype(np.int64),
            "right": met.right.astype(np.int64),
            "key": first.astype(np.int64),
        }
    ).filter(pl.col("key") < len(drafted.keys))
    joined = frame.drop("key").join(keyed, on=["left", "right"], how="left")
    fresh = keyed.join(frame, on=["left", "right"], how="anti")
    left, right = fresh["left"].to_numpy(), fresh["right"].to_numpy()
    weight, pattern = _scores(encoded, model, left, right)
    made = _frame(model, left, right, weight, pattern).with_columns(key=fresh["key"])
    return pl.concat([joined.select(made.columns), made])


def _scores(
    encoded: Encoded, model: Model, left: Rows, right: Rows
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    tests, weights = compile_tests(model.comparisons, encoded), compile_weights(model, encoded)
    return score_rows(encoded, left, right, tests, weights)


def _frame(
    model: Model,
    left: Rows,
    right: Rows,
    weight: npt.NDArray[np.float64],
    pattern: npt.NDArray[np.int64],
) -> pl.DataFrame:
    levels = {
        f"level {one.name}": ((pattern >> place) & ((1 << one.bits) - 1)).astype(np.int8)
        for place, one in zip(shifts(model.comparisons).tolist(), model.comparisons, strict=True)
    }
    return pl.DataFrame({"left": left, "right": right, "weight": weight} | levels)
