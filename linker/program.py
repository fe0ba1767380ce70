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

from linker.conditions import MEASURED, All, Any, Condition, Not, Op, Test
from linker.encode import Encoded, observed
from linker.errors import ModelError
from linker.model import Comparison, Model
from linker.threads import each

OPS = {op: number for number, op in enumerate(Op)}
_UNBOUNDED = 1e9  # bits that stand for infinity in a bound


class Tests(NamedTuple):
    """Node i of all chains.

    Attributes:
        op: int8 [nodes].
        left, right: int16 [nodes], columns.
        sketch_left, sketch_right: int16 [nodes], where the signatures of measured values stand.
        base: int64 [nodes], the place of the first value of these columns in the table.
        value: float64 [nodes], the limit.
        measure: int16 [nodes]; nodes that measure the same two columns alike share a memo.
        then, otherwise: int32 [nodes], where to go on.
        entry: int32 [comparisons], where each chain begins.
        plain_left, plain_right: int16 [comparisons], the columns of a comparison that begins plainly: null
            where either is missing, the first level where they are equal; -1 for one that does not.
        rest: int32 [comparisons], where a plain one goes on if they are not equal.
        measures: how many memos there are.
    """

    op: npt.NDArray[np.int8]
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]
    sketch_left: npt.NDArray[np.int16]
    sketch_right: npt.NDArray[np.int16]
    base: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    measure: npt.NDArray[np.int16]
    then: npt.NDArray[np.int32]
    otherwise: npt.NDArray[np.int32]
    entry: npt.NDArray[np.int32]
    plain_left: npt.NDArray[np.int16]
    plain_right: npt.NDArray[np.int16]
    rest: npt.NDArray[np.int32]
    measures: int


class Bounds(NamedTuple):
    """How much a pair can still gain, so that it is given up as soon as it cannot reach the cut.

    Attributes:
        order: int64 [comparisons], the most decisive first.
        most: float64 [comparisons], the most that each can give.
        rest: float64 [comparisons], the most that a plain one can give where its columns are not equal.
        start: the prior and the most of all.
    """

    order: npt.NDArray[np.int64]
    most: npt.NDArray[np.float64]
    rest: npt.NDArray[np.float64]
    start: float


class Weights(NamedTuple):
    """What each level gives.

    Attributes:
        weight: float64 [comparisons, level codes], 0 for the null level.
        shift: int64 [comparisons], where a level code stands in a packed pattern.
        tf_column: int16 [comparisons, level codes]; -1: no adjustment.
        tf_weight, tf_base: float64 [comparisons, level codes]; base is log2 of the u replaced.
        tf_least: float64 [comparisons, level codes], log2 of the least term frequency that counts.
        tf_shift: int64 [comparisons, level codes]; a value's code plus this is its place in `log_frequency`.
        tf_size: int64 [comparisons, level codes], how many values have a frequency.
        log_frequency: float64, log2 of the term frequencies, column after column.
        prior: log2 of the prior odds.
        shared: bool [comparisons], what a household shares.
        kin: float64 [comparisons, level codes], log2(kin/u); 0 where the comparison is not shared.
        kin_prior: log2 of the prior odds of kin; minus infinity without kin.
        bounds: how much a pair can still gain.
    """

    weight: npt.NDArray[np.float64]
    shift: npt.NDArray[np.int64]
    tf_column: npt.NDArray[np.int16]
    tf_weight: npt.NDArray[np.float64]
    tf_base: npt.NDArray[np.float64]
    tf_least: npt.NDArray[np.float64]
    tf_shift: npt.NDArray[np.int64]
    tf_size: npt.NDArray[np.int64]
    log_frequency: npt.NDArray[np.float64]
    prior: float
    shared: npt.NDArray[np.bool_]
    kin: npt.NDArray[np.float64]
    kin_prior: float
    bounds: Bounds


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
    plain = [_plain(comparison) for comparison in comparisons]
    memos: dict[tuple[Op, str, str], int] = {}
    measure = [
        memos.setdefault((t.op, t.left, t.right), len(memos)) if t.op in MEASURED else -1
        for t, _, _ in chain.nodes
    ]
    return Tests(
        op=np.array([OPS[t.op] for t, _, _ in chain.nodes], np.int8),
        left=np.array([encoded.column(t.left) for t, _, _ in chain.nodes], np.int16),
        right=np.array([encoded.column(t.right) for t, _, _ in chain.nodes], np.int16),
        sketch_left=np.array([encoded.sketches.get(t.left, -1) for t, _, _ in chain.nodes], np.int16),
        sketch_right=np.array([encoded.sketches.get(t.right, -1) for t, _, _ in chain.nodes], np.int16),
        base=np.array([encoded.offsets[t.left][0] for t, _, _ in chain.nodes], np.int64),
        value=np.array([t.value for t, _, _ in chain.nodes], np.float64),
        measure=np.array(measure, np.int16),
        then=np.array([then for _, then, _ in chain.nodes], np.int32),
        otherwise=np.array([otherwise for _, _, otherwise in chain.nodes], np.int32),
        entry=np.array(entry, np.int32),
        plain_left=np.array([-1 if t is None else encoded.column(t.left) for t in plain], np.int16),
        plain_right=np.array([-1 if t is None else encoded.column(t.right) for t in plain], np.int16),
        # The chain of a plain one begins with the null test, which goes on to that of equality.
        rest=np.array(
            [
                start if t is None else chain.nodes[chain.nodes[start][2]][2]
                for start, t in zip(entry, plain, strict=True)
            ],
            np.int32,
        ),
        measures=max(1, len(memos)),
    )


def _plain(comparison: Comparison) -> Test | None:
    """The test of equality that a plain comparison begins with."""
    null, first = comparison.null, comparison.levels[0].condition
    if not isinstance(null, Test) or not isinstance(first, Test) or first.op is not Op.EXACT:
        return None
    return first if (null.op, null.left, null.right) == (Op.MISSING, first.left, first.right) else None


def _bounds(weights: Weights, comparisons: Sequence[Comparison]) -> Bounds:
    """The bounds of a model's weights.

    The discount for kin only takes away, so that it is left out.
    """
    count, width = weights.weight.shape
    most, rest, expected = np.zeros(count), np.zeros(count), np.zeros(count)
    for c, comparison in enumerate(comparisons):
        gains = np.zeros(width)
        for code in range(1, len(comparison.levels) + 1):
            gains[code] = weights.weight[c, code] + _largest_gain(weights, c, code)
        gains = np.clip(gains[: len(comparison.levels) + 1], -_UNBOUNDED, _UNBOUNDED)
        u = np.array([0.0, *(level.u or 0.0 for level in comparison.levels)])
        most[c], rest[c], expected[c] = gains.max(), gains[2:].max(initial=-_UNBOUNDED), gains @ u
    return Bounds(np.argsort(expected - most, kind="stable"), most, rest, float(weights.prior + most.sum()))


def _largest_gain(weights: Weights, c: int, code: int) -> float:
    """The most that a level's term frequency can add."""
    column = weights.tf_column[c, code]
    if column < 0:
        return 0.0
    first = weights.tf_shift[c, code]
    values = weights.log_frequency[first : first + weights.tf_size[c, code]]
    values = np.maximum(values, weights.tf_least[c, code])
    gains = weights.tf_weight[c, code] * (weights.tf_base[c, code] - values)
    return float(gains.max(initial=0.0))


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
    tf_least = np.full(shape, -np.inf)
    shared = np.zeros(len(model.comparisons), np.bool_)
    tf_column = np.full(shape, -1, np.int16)
    tf_shift, tf_size = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    adjusted = list(
        dict.fromkeys(level.tf for one in model.comparisons for level in one.levels if level.tf is not None)
    )
    # Counting what is in the records is worth a thread a column; looking values up in a table is not.
    run = map if model.raw is None else each
    frequencies = [np.zeros(1), *run(lambda column: _log_frequencies(column, model, encoded), adjusted)]
    places = dict(zip(adjusted, np.cumsum([len(one) for one in frequencies]).tolist(), strict=False))
    for i, comparison in enumerate(model.comparisons):
        for code, level in enumerate(comparison.levels, start=1):
            weight[i, code] = level.weight
            if model.kin > 0.0 and level.kin is not None and level.u:
                shared[i] = True
                kin[i, code] = np.log2(level.kin / level.u) if level.kin > 0.0 else -np.inf
            if level.tf is None:
                continue
            base = comparison.levels[level.tf_level].u
            if not base:
                raise ModelError(
                    f"The comparison '{comparison.name}' has term frequencies but no u.", "Train it."
                )
            tf_column[i, code], tf_shift[i, code] = encoded.column(level.tf), places[level.tf]
            tf_size[i, code] = encoded.offsets[level.tf][1]
            tf_weight[i, code], tf_base[i, code] = level.tf_weight, np.log2(base)
            if level.tf_minimum:
                tf_least[i, code] = np.log2(level.tf_minimum)
    if np.isposinf(weight).any():
        raise ModelError("A level of the model has a u of 0: its weight has no bound.", "Give it a small u.")
    weights = Weights(
        weight,
        shifts(model.comparisons),
        tf_column,
        tf_weight,
        tf_base,
        tf_least,
        tf_shift,
        tf_size,
        np.concatenate(frequencies),
        model.prior_weight,
        shared,
        kin,
        float(np.log2(model.kin / (1.0 - model.kin))) if model.kin > 0.0 else -np.inf,
        _no_bounds(len(model.comparisons)),
    )
    return weights._replace(bounds=_bounds(weights, model.comparisons))


def blank_weights(comparisons: Sequence[Comparison]) -> Weights:
    """Weights of nothing: a pass with them only notes the patterns."""
    count, width = len(comparisons), 1 + max(len(comparison.levels) for comparison in comparisons)
    nothing, nowhere = np.zeros((count, width)), np.zeros((count, width), np.int64)
    return Weights(
        nothing, shifts(comparisons), np.full((count, width), -1, np.int16), nothing, nothing, nothing,
        nowhere, nowhere, np.zeros(1), 0.0, np.zeros(count, np.bool_), nothing, -np.inf, _no_bounds(count),
    )  # fmt: skip


def _no_bounds(comparisons: int) -> Bounds:
    return Bounds(np.arange(comparisons), np.zeros(comparisons), np.zeros(comparisons), 0.0)


def _log_frequencies(column: str, model: Model, encoded: Encoded) -> npt.NDArray[np.float64]:
    """log2 of the frequency of each value in the dictionary of a column, and of values still to come."""
    table = model.frequencies.get(column)
    if table is None and model.raw is not None:
        return observed(column, encoded)
    if table is None:
        raise ModelError(f"The model has no term frequencies for '{column}'.", "Train it, or leave them out.")
    values = encoded.values(column)
    listed = pl.DataFrame({"value": list(table.values), "share": list(table.values.values())}, _LISTED)
    shares = (
        values.alias("value").to_frame().join(listed, on="value", how="left", maintain_order="left")["share"]
    )
    coming = encoded.offsets[column][1] - len(shares)
    known = shares.fill_null(table.rare).to_numpy()
    return np.asarray(np.log2(np.concatenate((known, np.full(coming, table.rare)))))


_LISTED = {"value": pl.String, "share": pl.Float64}
