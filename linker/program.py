"""A model compiled for the kernels: each comparison a chain of tests with jumps, levels as weights.

A comparison's conditions become one decision chain: a node is a test with the node to go on to if it
holds and if it does not; a negative target -1-k ends the chain at level code k. And, or and not cost
nothing, and no test that cannot matter is made. Level codes: 0 is the null level, 1 is the first level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.conditions import All, Any, Condition, Not, Op, Test
from linker.encode import Encoded
from linker.errors import ModelError
from linker.model import Comparison, Model

OPS = {op: number for number, op in enumerate(Op)}
_MEASURED = {Op.JARO_WINKLER, Op.JARO, Op.LEVENSHTEIN, Op.DAMERAU, Op.STANDARDISED_LEVENSHTEIN}


class Tests(NamedTuple):
    """Node i of all chains.

    Attributes:
        op: int8 [nodes].
        left, right: int16 [nodes], columns.
        value: float64 [nodes], the limit.
        measure: int16 [nodes]; nodes that measure the same two columns alike share a memo.
        then, otherwise: int32 [nodes], where to go on.
        entry: int32 [comparisons], where each chain begins.
        measures: how many memos there are.
    """

    op: npt.NDArray[np.int8]
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]
    value: npt.NDArray[np.float64]
    measure: npt.NDArray[np.int16]
    then: npt.NDArray[np.int32]
    otherwise: npt.NDArray[np.int32]
    entry: npt.NDArray[np.int32]
    measures: int


class Weights(NamedTuple):
    """What each level gives.

    Attributes:
        weight: float64 [comparisons, level codes], 0 for the null level.
        shift: int64 [comparisons], where a level code stands in a packed pattern.
        tf_column: int16 [comparisons, level codes]; -1: no adjustment.
        tf_weight, tf_base: float64 [comparisons, level codes]; base is log2 of the u replaced.
        tf_shift: int64 [comparisons, level codes]; a value's code plus this is its place in `log_frequency`.
        log_frequency: float64, log2 of the term frequencies, column after column.
        prior: log2 of the prior odds.
        shared: bool [comparisons], what a household shares.
        kin: float64 [comparisons, level codes], log2(kin/u); 0 where the comparison is not shared.
        kin_prior: log2 of the prior odds of kin; minus infinity without kin.
    """

    weight: npt.NDArray[np.float64]
    shift: npt.NDArray[np.int64]
    tf_column: npt.NDArray[np.int16]
    tf_weight: npt.NDArray[np.float64]
    tf_base: npt.NDArray[np.float64]
    tf_shift: npt.NDArray[np.int64]
    log_frequency: npt.NDArray[np.float64]
    prior: float
    shared: npt.NDArray[np.bool_]
    kin: npt.NDArray[np.float64]
    kin_prior: float


@dataclass
class _Chain:
    nodes: list[tuple[Test, int, int]]

    def compile(self, condition: Condition, then: int, otherwise: int) -> int:
        """Append the nodes of a condition; returns where it begins."""
        match condition:
            case Test():
                self.nodes.append((condition, then, otherwise))
                return len(self.nodes) - 1
            case Not(of=part):
                return self.compile(part, otherwise, then)
            case All(of=parts):
                for part in reversed(parts):
                    then = self.compile(part, then, otherwise)
                return then
            case Any(of=parts):
                for part in reversed(parts):
                    otherwise = self.compile(part, then, otherwise)
                return otherwise

    def comparison(self, comparison: Comparison) -> int:
        """Append a whole comparison; returns its entry."""
        levels = comparison.levels
        entry = -1 - len(levels)
        for code in range(len(levels) - 1, 0, -1):
            condition = levels[code - 1].condition
            assert condition is not None  # the model's check
            entry = self.compile(condition, -1 - code, entry)
        return self.compile(comparison.null, -1, entry)


def compile_tests(comparisons: Sequence[Comparison], encoded: Encoded) -> Tests:
    """The comparisons as jump chains over the columns of the encoded records.

    Raises:
        ModelError: a column is missing.
    """
    chain = _Chain([])
    entry = [chain.comparison(comparison) for comparison in comparisons]
    memos: dict[tuple[Op, str, str], int] = {}
    measure = [
        memos.setdefault((t.op, t.left, t.right), len(memos)) if t.op in _MEASURED else -1
        for t, _, _ in chain.nodes
    ]
    return Tests(
        op=np.array([OPS[t.op] for t, _, _ in chain.nodes], np.int8),
        left=np.array([encoded.column(t.left) for t, _, _ in chain.nodes], np.int16),
        right=np.array([encoded.column(t.right) for t, _, _ in chain.nodes], np.int16),
        value=np.array([t.value for t, _, _ in chain.nodes], np.float64),
        measure=np.array(measure, np.int16),
        then=np.array([then for _, then, _ in chain.nodes], np.int32),
        otherwise=np.array([otherwise for _, _, otherwise in chain.nodes], np.int32),
        entry=np.array(entry, np.int32),
        measures=max(1, len(memos)),
    )


def shifts(comparisons: Sequence[Comparison]) -> npt.NDArray[np.int64]:
    """Where each comparison's level code stands in a packed pattern."""
    bits = [comparison.bits for comparison in comparisons]
    return np.cumsum([0, *bits[:-1]]).astype(np.int64)


def compile_weights(model: Model, encoded: Encoded) -> Weights:
    """The weights and term frequencies of a trained model.

    Raises:
        ModelError: a level has no m and u, or a term frequency has no table.
    """
    shape = (len(model.comparisons), 1 + max(len(comparison.levels) for comparison in model.comparisons))
    weight, tf_weight, tf_base, kin = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    shared = np.zeros(len(model.comparisons), np.bool_)
    tf_column, tf_shift = np.full(shape, -1, np.int16), np.zeros(shape, np.int64)
    frequencies, filled, places = [np.zeros(1)], 1, dict[str, int]()
    for i, comparison in enumerate(model.comparisons):
        for code, level in enumerate(comparison.levels, start=1):
            weight[i, code] = level.weight
            if model.kin > 0.0 and level.kin and level.u:
                shared[i], kin[i, code] = True, np.log2(level.kin / level.u)
            if level.tf is None:
                continue
            base = comparison.levels[0].u
            if not base:
                raise ModelError(
                    f"The comparison '{comparison.name}' has term frequencies but no u.", "Train it."
                )
            if level.tf not in places:
                frequencies.append(_log_frequencies(level.tf, model, encoded))
                places[level.tf] = filled - encoded.offsets[level.tf][0]
                filled += len(frequencies[-1])
            tf_column[i, code], tf_shift[i, code] = encoded.column(level.tf), places[level.tf]
            tf_weight[i, code], tf_base[i, code] = level.tf_weight, np.log2(base)
    if np.isposinf(weight).any():
        raise ModelError("A level of the model has a u of 0: its weight has no bound.", "Give it a small u.")
    return Weights(
        weight,
        shifts(model.comparisons),
        tf_column,
        tf_weight,
        tf_base,
        tf_shift,
        np.concatenate(frequencies),
        model.prior_weight,
        shared,
        kin,
        float(np.log2(model.kin / (1.0 - model.kin))) if model.kin > 0.0 else -np.inf,
    )


def _log_frequencies(column: str, model: Model, encoded: Encoded) -> npt.NDArray[np.float64]:
    """log2 of the frequency of each value in the dictionary of a column."""
    table = model.frequencies.get(column)
    if table is None:
        raise ModelError(f"The model has no term frequencies for '{column}'.", "Train it, or leave them out.")
    values = encoded.values[column]
    listed = pl.DataFrame({"value": list(table.values), "share": list(table.values.values())}, _LISTED)
    shares = (
        values.alias("value").to_frame().join(listed, on="value", how="left", maintain_order="left")["share"]
    )
    return np.asarray(np.log2(shares.fill_null(table.rare).to_numpy()))


_LISTED = {"value": pl.String, "share": pl.Float64}
