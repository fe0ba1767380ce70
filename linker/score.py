"""The candidate loop: one pass that produces a pair, compares it, weighs it and keeps it or drops it.

No pair is written down before it is scored. Level codes of a pair are packed into one integer (its
*pattern*); the weight is looked up from the pattern's parts, so it can be explained to the last bit.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from linker.conditions import Op
from linker.encode import ValueTable
from linker.kernels import common, damerau_osa, inlined_kernel, jaro, jaro_winkler, kernel, levenshtein
from linker.program import OPS, Tests, Weights

_MISSING, _EXACT = OPS[Op.MISSING], OPS[Op.EXACT]
_JARO_WINKLER, _JARO = OPS[Op.JARO_WINKLER], OPS[Op.JARO]
_LEVENSHTEIN, _DAMERAU = OPS[Op.LEVENSHTEIN], OPS[Op.DAMERAU]
_STANDARDISED = OPS[Op.STANDARDISED_LEVENSHTEIN]
_COMMON, _SUBSET, _JACCARD = OPS[Op.COMMON], OPS[Op.SUBSET], OPS[Op.JACCARD]
_DIFFERENCE = OPS[Op.DIFFERENCE]

Codes = npt.NDArray[np.int32]


@inlined_kernel
def _measure(table: ValueTable, op: int, a: int, b: int, scratch: npt.NDArray[np.int64]) -> float:
    chars, a0, a1, b0, b1 = (
        table.chars,
        table.starts[a],
        table.starts[a + 1],
        table.starts[b],
        table.starts[b + 1],
    )
    if op == _JARO_WINKLER:
        return jaro_winkler(chars, a0, a1, b0, b1, scratch)
    if op == _JARO:
        return jaro(chars, a0, a1, b0, b1, scratch)
    if op == _DAMERAU:
        return float(damerau_osa(chars, a0, a1, b0, b1, scratch))
    edits = float(levenshtein(chars, a0, a1, b0, b1, scratch))
    if op == _LEVENSHTEIN:
        return edits
    longer = max(a1 - a0, b1 - b0)
    return 1.0 - edits / longer if longer > 0 else 1.0


@inlined_kernel
def _longer_by(table: ValueTable, a: int, b: int) -> int:
    """Difference of two lengths: no edit distance is smaller."""
    return abs((table.starts[a + 1] - table.starts[a]) - (table.starts[b + 1] - table.starts[b]))


@inlined_kernel
def _tokens_hold(table: ValueTable, op: int, limit: float, a: int, b: int) -> bool:
    a0, a1, b0, b1 = (
        table.token_starts[a],
        table.token_starts[a + 1],
        table.token_starts[b],
        table.token_starts[b + 1],
    )
    shared = common(table.tokens, a0, a1, b0, b1)
    if op == _COMMON:
        return shared >= limit
    if op == _SUBSET:
        shorter = min(a1 - a0, b1 - b0)
        return shorter >= limit and shared == shorter
    either = (a1 - a0) + (b1 - b0) - shared
    return either > 0 and shared >= limit * either


@inlined_kernel
def _numbers_hold(table: ValueTable, op: int, limit: float, a: int, b: int) -> bool:
    difference = abs(table.numbers[a] - table.numbers[b])
    if op == _DIFFERENCE:
        return difference <= limit
    return difference <= limit * max(abs(table.numbers[a]), abs(table.numbers[b]))


@inlined_kernel
def _level(
    c: int,
    left: Codes,
    x: int,
    right: Codes,
    y: int,
    table: ValueTable,
    tests: Tests,
    memo: npt.NDArray[np.float64],
    scratch: npt.NDArray[np.int64],
) -> int:
    """Level code that comparison c reaches on left row x and right row y. A memo is NaN until measured."""
    node = tests.entry[c]
    while node >= 0:
        a, b, op = left[x, tests.left[node]], right[y, tests.right[node]], tests.op[node]
        if op == _MISSING:
            holds = a < 0 or b < 0
        elif a < 0 or b < 0:
            holds = False
        elif a == b:
            holds = op < _COMMON or op > _JACCARD or _tokens_hold(table, op, tests.value[node], a, b)
        elif op == _EXACT:
            holds = False
        elif op < _COMMON:
            slot = tests.measure[node]
            edits = op in (_LEVENSHTEIN, _DAMERAU)
            if np.isnan(memo[slot]) and not (edits and _longer_by(table, a, b) > tests.value[node]):
                memo[slot] = _measure(table, op, a, b, scratch)
            # Left unmeasured, the memo is NaN and holds against no limit.
            holds = memo[slot] <= tests.value[node] if edits else memo[slot] >= tests.value[node]
        elif op <= _JACCARD:
            holds = _tokens_hold(table, op, tests.value[node], a, b)
        else:
            holds = _numbers_hold(table, op, tests.value[node], a, b)
        node = tests.then[node] if holds else tests.otherwise[node]
    return -1 - node


@inlined_kernel
def frequency_gain(c: int, code: int, left: Codes, x: int, right: Codes, y: int, weights: Weights) -> float:
    """The term frequency adjustment of a level: the commoner of the two values counts."""
    column = weights.tf_column[c, code]
    if column < 0:
        return 0.0
    a, b = left[x, column], right[y, column]
    if a < 0 and b < 0:
        return 0.0
    first = weights.tf_shift[c, code]
    frequency = weights.log_frequency[first + max(a, b)]
    if a >= 0 and b >= 0:
        frequency = max(weights.log_frequency[first + a], weights.log_frequency[first + b])
    return weights.tf_weight[c, code] * (weights.tf_base[c, code] - frequency)


@inlined_kernel
def kin_discount(kin: float) -> float:
    """Bits that a pair loses to the other explanation, two people of one household: log2(1 + 2^kin)."""
    if kin < -60.0:
        return 0.0
    return kin if kin > 60.0 else math.log2(1.0 + 2.0**kin)


@inlined_kernel
def _agrees(
    left: Codes,
    x: int,
    right: Codes,
    y: int,
    left_columns: npt.NDArray[np.int16],
    right_columns: npt.NDArray[np.int16],
) -> bool:
    for i in range(len(left_columns)):
        if left_columns[i] < 0:
            break
        code = left[x, left_columns[i]]
        if code < 0 or code != right[y, right_columns[i]]:
            return False
    return True


@inlined_kernel
def _produced_by(
    k: int,
    left: Codes,
    x: int,
    right: Codes,
    y: int,
    rule_left: npt.NDArray[np.int16],
    rule_right: npt.NDArray[np.int16],
) -> bool:
    """Rule k holds the pair and no earlier rule does."""
    if not _agrees(left, x, right, y, rule_left[k], rule_right[k]):
        return False
    for earlier in range(k):
        if _agrees(left, x, right, y, rule_left[earlier], rule_right[earlier]):
            return False
    return True


@kernel
def scan(
    k: int,
    first: int,
    last: int,
    order: npt.NDArray[np.int32],
    start: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
    left: Codes,
    right: Codes,
    deduplicates: bool,
    rule_left: npt.NDArray[np.int16],
    rule_right: npt.NDArray[np.int16],
    table: ValueTable,
    tests: Tests,
    weights: Weights,
    cut: float,
    out_left: npt.NDArray[np.int32],
    out_right: npt.NDArray[np.int32],
    out_weight: npt.NDArray[np.float64],
    out_pattern: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Score the candidates that rule k gives for the right rows first..last-1.

    Pairs of weight >= cut are written to the outputs, which hold as many as the runs are long.

    Returns:
        pairs written, pairs compared.
    """
    memo = np.empty(tests.measures)
    scratch = np.empty(table.scratch, np.int64)
    written = compared = 0
    for y in range(first, last):
        for position in range(start[y], stop[y]):
            x = order[position]
            if deduplicates and x >= y:
                continue
            if not _produced_by(k, left, x, right, y, rule_left, rule_right):
                continue
            compared += 1
            memo[:] = np.nan
            weight, kin, pattern = weights.prior, weights.kin_prior, 0
            for c in range(len(tests.entry)):
                code = _level(c, left, x, right, y, table, tests, memo, scratch)
                pattern |= code << weights.shift[c]
                gain = frequency_gain(c, code, left, x, right, y, weights)
                weight += weights.weight[c, code] + gain
                if weights.shared[c]:
                    kin += weights.kin[c, code] + gain
            weight -= kin_discount(kin)
            if weight >= cut:
                out_left[written], out_right[written] = x, y
                out_weight[written], out_pattern[written] = weight, pattern
                written += 1
    return written, compared
