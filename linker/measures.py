"""The ops of `linker.kernels_more`, on values in codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from linker import kernels_more as more
from linker.conditions import Op
from linker.kernels import damerau_osa, inlined_kernel, kernel, levenshtein
from linker.program import OPS
from linker.spelling import LENGTH, LENGTH_BITS, ValueTable

_DAMERAU, _HAMMING = OPS[Op.UNRESTRICTED_DAMERAU], OPS[Op.HAMMING]
_PERCENTAGE, _KILOMETRES = OPS[Op.PERCENTAGE], OPS[Op.KILOMETRES]
_BEST_LEVENSHTEIN, _BEST_DAMERAU = OPS[Op.BEST_LEVENSHTEIN], OPS[Op.BEST_DAMERAU]
_BEST_JARO_WINKLER = OPS[Op.BEST_JARO_WINKLER]
_CHARACTER_JACCARD, _COSINE = OPS[Op.CHARACTER_JACCARD], OPS[Op.COSINE]


@inlined_kernel
def distance_op(op: int) -> bool:
    """Whether this is a further op that holds up to its limit, and not from it on."""
    return _DAMERAU <= op <= _BEST_DAMERAU


@kernel
def damerau_bound(table: ValueTable, a: int, b: int, scratch: npt.NDArray[np.int64]) -> float:
    """The unrestricted distance where it is at most 2; else less than nothing, the edits without exchanges.

    An exchange is worth two such edits at most, so that half of them bound the distance from below: from 5
    on, it is above 2. Where that restricted to optimal alignments is at most 2, it is the unrestricted one.
    """
    chars, a0, b0 = table.chars, table.place[a] >> LENGTH_BITS, table.place[b] >> LENGTH_BITS
    a1, b1 = a0 + (table.place[a] & LENGTH), b0 + (table.place[b] & LENGTH)
    edits = levenshtein(chars, a0, a1, b0, b1, scratch)
    if edits > 4:
        return -float(edits)
    restricted = damerau_osa(chars, a0, a1, b0, b1, scratch)
    return float(restricted) if restricted <= 2 else -float(edits)


@kernel
def further(table: ValueTable, op: int, a: int, b: int, scratch: npt.NDArray[np.int64]) -> float:
    """What a further op measures of two values; NaN where it has no value."""
    if op == _PERCENTAGE:
        return more.percentage(table.numbers[a], table.numbers[b])
    starts = table.vector_starts
    if op == _KILOMETRES:
        if starts[a + 1] - starts[a] != 2 or starts[b + 1] - starts[b] != 2:
            return np.nan  # no points
        return more.kilometres(table.vectors, starts[a], starts[b])
    if op == _COSINE:
        if starts[a + 1] == starts[a] or starts[b + 1] == starts[b]:
            return np.nan  # no vectors
        return more.cosine(table.vectors, starts[a], starts[a + 1], starts[b], starts[b + 1])
    chars, a0, b0 = table.chars, table.place[a] >> LENGTH_BITS, table.place[b] >> LENGTH_BITS
    a1, b1 = a0 + (table.place[a] & LENGTH), b0 + (table.place[b] & LENGTH)
    if op == _DAMERAU:
        return float(more.damerau(chars, a0, a1, b0, b1, scratch))
    if op == _HAMMING:
        return more.hamming(chars, a0, a1, b0, b1)
    if op == _CHARACTER_JACCARD:
        return more.character_jaccard(chars, a0, a1, b0, b1)
    if op == _BEST_LEVENSHTEIN:
        return more.best(more.BEST_LEVENSHTEIN, chars, a0, a1, b0, b1, scratch)
    if op == _BEST_DAMERAU:
        return more.best(more.BEST_DAMERAU, chars, a0, a1, b0, b1, scratch)
    if op == _BEST_JARO_WINKLER:
        return more.best(more.BEST_JARO_WINKLER, chars, a0, a1, b0, b1, scratch)
    return more.best(more.BEST_JARO, chars, a0, a1, b0, b1, scratch)
