"""The candidate loop: one pass that produces a pair, compares it, weighs it and keeps it or drops it.

No pair is written down before it is scored. Level codes of a pair are packed into one integer (its
*pattern*); the weight is looked up from the pattern's parts, so it can be explained to the last bit.

A pair that cannot reach the cut is given up early, and nothing else changes: first every field that is
equal or missing is settled by its codes alone, then the others are measured, the most decisive first; after
each, the weight so far and the most that the rest can still give are held against the cut. The weight of a
pair that is kept is added up anew in the order of the model.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from linker.block import block_key, bucket_of, tag_of
from linker.conditions import Op
from linker.encode import Codes
from linker.kernels import (
    common,
    half,
    inlined_kernel,
    kernel,
    short,
    whole,
    word,
)
from linker.measures import BOUND, distance_op, measure_address, of_numbers, of_texts
from linker.program import OPS, Tests, Weights
from linker.spelling import KINDS, LENGTH, MANY, ValueTable

_MISSING, _EXACT = OPS[Op.MISSING], OPS[Op.EXACT]
_JARO_WINKLER, _JARO = OPS[Op.JARO_WINKLER], OPS[Op.JARO]
_LEVENSHTEIN, _DAMERAU = OPS[Op.LEVENSHTEIN], OPS[Op.DAMERAU]
_STANDARDISED = OPS[Op.STANDARDISED_LEVENSHTEIN]
_COMMON, _SUBSET, _JACCARD = OPS[Op.COMMON], OPS[Op.SUBSET], OPS[Op.JACCARD]
_DIFFERENCE, _RELATIVE_DIFFERENCE = OPS[Op.DIFFERENCE], OPS[Op.RELATIVE_DIFFERENCE]
_UNRESTRICTED = OPS[Op.UNRESTRICTED_DAMERAU]

MEMO_BITS = 12
BATCH = 256  # candidates between their production and their comparison
_SLACK = 1e-6  # bits by which the sums of a bound may differ from those of the weight
_NEAR = 1e-9  # by which a similarity may differ from its bound


class Workspace(NamedTuple):
    """What one thread writes on.

    Attributes:
        scratch: int64, for the distances.
        measure: where the code of `linker.measures.measure` is.
        memo_key: int64 [measures << MEMO_BITS], the pair of values measured; -1: none.
        memo: float64, what was measured.
        levels: int64 [comparisons], level codes of the pair at hand.
        left, right: int32 [BATCH], candidates.
        key: uint64 [BATCH], keys of right rows.
        touched: int32 [BATCH], what was read ahead: the processor waits for many reads at once, not for each.
    """

    scratch: npt.NDArray[np.int64]
    measure: int
    memo_key: npt.NDArray[np.int64]
    memo: npt.NDArray[np.float64]
    levels: npt.NDArray[np.int64]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    key: npt.NDArray[np.uint64]
    touched: npt.NDArray[np.int32]

    @staticmethod
    def of(table: ValueTable, tests: Tests) -> Workspace:
        """A clean one."""
        memos = tests.measures << MEMO_BITS
        return Workspace(
            np.empty(table.scratch, np.int64),
            measure_address(),
            np.full(memos, -1, np.int64),
            np.empty(memos),
            np.empty(len(tests.entry), np.int64),
            np.empty(BATCH, np.int32),
            np.empty(BATCH, np.int32),
            np.empty(BATCH, np.uint64),
            np.empty(BATCH, np.int32),
        )


class Kept(NamedTuple):
    """Pairs of weight >= cut.

    Attributes:
        left, right: int32 rows.
        weight: float64 match weights in bits.
        pattern: int64 packed level codes.
        held: int64, bit k says that rule k holds the pair; 0 where that was not asked for.
    """

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    pattern: npt.NDArray[np.int64]
    held: npt.NDArray[np.int64]

    def first(self, rows: int) -> Kept:
        """The first rows."""
        return Kept._make(column[:rows] for column in self)

    def copy(self) -> Kept:
        """Of its own, so that what it was part of can go."""
        return Kept._make(column.copy() for column in self)

    @staticmethod
    def empty(size: int) -> Kept:
        """Room for as many."""
        rows, words = np.empty((2, size), np.int32), np.empty((2, size), np.int64)
        return Kept(rows[0], rows[1], np.empty(size), words[0], words[1])


@inlined_kernel
def _ones(bits: int) -> int:
    """How many bits are set."""
    bits -= (bits >> word(1)) & word(0x5555555555555555)
    bits = (bits & word(0x3333333333333333)) + ((bits >> word(2)) & word(0x3333333333333333))
    bits = (bits + (bits >> word(4))) & word(0x0F0F0F0F0F0F0F0F)
    return whole((bits * word(0x0101010101010101)) >> word(56))


@inlined_kernel
def _signature(rows: Codes, row: int, at: int) -> int:
    """The signature of a value, from the row itself."""
    return word(half(rows[row, at])) | (word(half(rows[row, at + 1])) << word(32))


@inlined_kernel
def _hopeless(one: int, other: int, op: int, limit: float) -> bool:
    """No need to measure: the signatures alone show that the limit is not met.

    They count the characters of 29 kinds, up to two of each. An edit changes at most one character into
    another, which two bits show; an exchange changes none. Jaro's matches are characters in common.
    """
    longer, shorter = whole(one >> KINDS), whole(other >> KINDS)
    if longer < shorter:
        longer, shorter = shorter, longer
    if longer == MANY:
        return False
    apart = _ones((one ^ other) & ((word(1) << KINDS) - word(1)))
    edits = max(longer - shorter, (apart + 1) >> 1)
    if op in (_LEVENSHTEIN, _DAMERAU, _UNRESTRICTED):
        return edits > limit
    if op == _STANDARDISED:
        return longer > 0 and 1.0 - edits / longer < limit - _NEAR
    matched = min((longer + shorter - apart) >> 1, shorter)
    if matched <= 0:
        return longer > 0 and limit > 0.0
    most = (matched / longer + matched / shorter + 1.0) / 3.0
    if op == _JARO_WINKLER and most > 0.7:
        most += 0.4 * (1.0 - most)
    return most < limit - _NEAR


@inlined_kernel
def _measured_holds(
    table: ValueTable, op: int, slot: int, limit: float, a: int, b: int, space: Workspace
) -> bool:
    if slot < 0:
        value = of_numbers(table, op, a, b)
        return value <= limit if distance_op(op) else value >= limit
    key = (whole(a) << 32) | whole(b)
    mixed = word(key) * word(0x9E3779B97F4A7C15)
    place = (whole(slot) << MEMO_BITS) + whole(mixed >> word(64 - MEMO_BITS))
    if space.memo_key[place] != key:
        space.memo_key[place] = key
        first = BOUND if op == _UNRESTRICTED else op
        space.memo[place] = of_texts(table, space.measure, first, a, b, space.scratch)
    if op == _UNRESTRICTED and space.memo[place] < 0.0:
        # Twice a bound from below: mostly that settles it.
        if -space.memo[place] > 2.0 * limit:
            return False
        space.memo[place] = of_texts(table, space.measure, op, a, b, space.scratch)
    if op in (_LEVENSHTEIN, _DAMERAU) or distance_op(op):
        return space.memo[place] <= limit
    return space.memo[place] >= limit


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
def _reached(
    node: int, left: Codes, x: int, right: Codes, y: int, table: ValueTable, tests: Tests, space: Workspace
) -> int:
    """Level code that a chain ends in, from one of its nodes on."""
    while node >= 0:
        a, b, op = left[x, tests.left[node]], right[y, tests.right[node]], whole(tests.op[node])
        limit, base = tests.value[node], tests.base[node]
        holds = measures = False
        if op == _MISSING:
            holds = a < 0 or b < 0
        elif a < 0 or b < 0:
            pass
        elif op > _UNRESTRICTED:
            measures = True
        elif a == b:
            holds = op < _COMMON or op > _JACCARD or _tokens_hold(table, op, limit, base + a, base + b)
            if op in (_JARO_WINKLER, _JARO):  # two empty texts are not alike
                holds = (table.place[base + a] & LENGTH) > 0 or limit <= 0.0
        elif op == _EXACT:
            pass
        elif op < _COMMON or op == _UNRESTRICTED:
            one = _signature(left, x, tests.sketch_left[node])
            other = _signature(right, y, tests.sketch_right[node])
            measures = not _hopeless(one, other, op, limit)
        elif op <= _JACCARD:
            holds = _tokens_hold(table, op, limit, base + a, base + b)
        else:
            holds = _numbers_hold(table, op, limit, base + a, base + b)
        if measures:
            holds = _measured_holds(table, op, tests.measure[node], limit, base + a, base + b, space)
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
    frequency = max(frequency, weights.tf_least[c, code])
    return weights.tf_weight[c, code] * (weights.tf_base[c, code] - frequency)


@inlined_kernel
def kin_discount(kin: float) -> float:
    """Bits that a pair loses to the other explanation, two people of one household: log2(1 + 2^kin)."""
    if kin < -60.0:
        return 0.0
    return kin if kin > 60.0 else math.log2(1.0 + 2.0**kin)


@inlined_kernel
def _levels(
    left: Codes,
    x: int,
    right: Codes,
    y: int,
    table: ValueTable,
    tests: Tests,
    weights: Weights,
    cut: float,
    space: Workspace,
) -> bool:
    """Find the levels of a pair; false as soon as it cannot reach the cut."""
    bounds = weights.bounds
    bound, later = bounds.start, 0
    for c in bounds.order:
        column, other = tests.plain_left[c], tests.plain_right[c]
        if column < 0:
            space.levels[c] = -1
            later += 1
            continue
        a, b = left[x, column], right[y, other]
        if a < 0 or b < 0:
            code, gives = 0, 0.0
        elif a == b:
            code = 1
            gives = weights.weight[c, 1] + frequency_gain(c, 1, left, x, right, y, weights)
        else:
            code, gives = -1, bounds.rest[c]
            later += 1
        space.levels[c] = code
        bound += min(max(gives, -1e9), 1e9) - bounds.most[c]
        if bound < cut - _SLACK:
            return False
    if later == 0:
        return True
    for c in bounds.order:
        if space.levels[c] >= 0:
            continue
        plain = tests.plain_left[c] >= 0
        code = _reached(tests.rest[c] if plain else tests.entry[c], left, x, right, y, table, tests, space)
        gives = weights.weight[c, code] + frequency_gain(c, code, left, x, right, y, weights)
        space.levels[c] = code
        bound += min(max(gives, -1e9), 1e9) - (bounds.rest[c] if plain else bounds.most[c])
        if bound < cut - _SLACK:
            return False
    return True


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


@kernel
def weigh(
    lefts: npt.NDArray[np.int32],
    rights: npt.NDArray[np.int32],
    count: int,
    left: Codes,
    right: Codes,
    table: ValueTable,
    tests: Tests,
    weights: Weights,
    cut: float,
    rule_left: npt.NDArray[np.int16],
    rule_right: npt.NDArray[np.int16],
    noted: int,
    space: Workspace,
    kept: Kept,
    written: int,
) -> int:
    """Score candidates, and write those of weight >= cut to `kept`; returns how many it then holds.

    Args:
        lefts, rights: int32 rows of the candidates.
        count: how many there are.
        left, right: codes.
        table: what they stand for.
        tests, weights: the compiled model.
        cut: in bits; -inf keeps all.
        rule_left, rule_right: columns of all rules, -1 after the last.
        noted: of so many of the rules, note which hold a pair.
        space: this thread's.
        kept: the output.
        written: how many it holds.
    """
    for i in range(count):
        x, y = lefts[i], rights[i]
        if not _levels(left, x, right, y, table, tests, weights, cut, space):
            continue
        weight, kin, pattern = weights.prior, weights.kin_prior, 0
        for c in range(len(tests.entry)):
            code = space.levels[c]
            pattern |= code << weights.shift[c]
            gain = frequency_gain(c, code, left, x, right, y, weights)
            weight += weights.weight[c, code] + gain
            if weights.shared[c]:
                kin += weights.kin[c, code] + gain
        weight -= kin_discount(kin)
        if weight >= cut:
            kept.left[written], kept.right[written] = x, y
            kept.weight[written], kept.pattern[written] = weight, pattern
            held = 0
            for k in range(noted):
                held |= whole(_agrees(left, x, right, y, rule_left[k], rule_right[k])) << k
            kept.held[written] = held
            written += 1
    return written


@inlined_kernel
def produced_by(
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


@inlined_kernel
def _read_ahead(
    first: int,
    last: int,
    right: Codes,
    columns: npt.NDArray[np.int16],
    starts: npt.NDArray[np.int32],
    tags: npt.NDArray[np.uint32],
    space: Workspace,
) -> None:
    """Keys of some right rows, and their buckets on the way to the processor."""
    for row in range(first, last):
        space.key[row - first] = block_key(right, row, columns)
    for i in range(last - first):
        space.touched[i] = starts[bucket_of(space.key[i], len(starts) - 1)]
    for i in range(last - first):
        space.touched[i] = short(tags[min(space.touched[i], len(tags) - 1)]) if len(tags) else 0


@kernel
def scan(
    k: int,
    row: int,
    at: int,
    last: int,
    most: int,
    starts: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    tags: npt.NDArray[np.uint32],
    left: Codes,
    packed: bool,
    right: Codes,
    deduplicates: bool,
    rule_left: npt.NDArray[np.int16],
    rule_right: npt.NDArray[np.int16],
    table: ValueTable,
    tests: Tests,
    weights: Weights,
    cut: float,
    noted: int,
    space: Workspace,
    kept: Kept,
) -> tuple[int, int, int, int]:
    """Score the candidates that rule k gives for the right rows from `row` to last - 1.

    Args:
        k: the rule.
        row: the right row to go on with.
        at: the place in its bucket to go on from; -1 for the beginning.
        last: the row to stop before.
        most: candidates to look at, about; the kernel stops then, or when `kept` is full.
        starts, rows, tags: the rule's index.
        left: codes of the left rows, in the order of `rows` if `packed`.
        packed: so that a block's codes stand side by side.
        right: codes of the right rows.
        deduplicates: the right is the left: of each pair only one order counts.
        rule_left, rule_right: columns of all rules, -1 after the last.
        table, tests, weights, cut, noted, space, kept: see `weigh`.

    Returns:
        the row and place to go on with, pairs written, pairs compared.
    """
    written = compared = looked = 0
    known, ahead = row, row  # the rows whose keys are at hand
    while row < last and looked < most and written + BATCH <= len(kept.left):
        count = 0
        while row < last and count < BATCH:
            if row == ahead:
                known, ahead = row, min(row + BATCH, last)
                _read_ahead(known, ahead, right, rule_right[k], starts, tags, space)
            key = space.key[row - known]
            if key != 0:
                bucket, tag = bucket_of(key, len(starts) - 1), tag_of(key)
                end = starts[bucket + 1]
                if at < 0:
                    at = starts[bucket]
                while at < end and count < BATCH:
                    if tags[at] == tag:
                        if deduplicates and rows[at] >= row:
                            at = end
                            break
                        space.left[count], space.right[count] = at if packed else rows[at], row
                        count += 1
                    at += 1
                looked += 1
                if at < end:
                    break
            row += 1
            at = -1
        for i in range(count):
            space.touched[i] = left[space.left[i], 0]
        fresh = 0
        for i in range(count):
            x, y = space.left[i], space.right[i]
            space.left[fresh], space.right[fresh] = x, y
            fresh += produced_by(k, left, x, right, y, rule_left, rule_right)
        looked += count
        compared += fresh
        written = weigh(
            space.left, space.right, fresh, left, right, table, tests, weights, cut, rule_left, rule_right,
            noted, space, kept, written,
        )  # fmt: skip
    if packed:
        for i in range(written):
            kept.left[i] = rows[kept.left[i]]
    return row, at, written, compared
