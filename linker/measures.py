"""The ops that look at characters, numbers or vectors, on values in codes.

Measures are compiled once and called by their address: a part of each loop that measures, they would be
compiled anew with every one of them, which took most of the time of compiling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numba.extending
import numpy as np

from linker import kernels_more as more
from linker.conditions import Op
from linker.kernels import (
    Chars,
    Scratch,
    damerau_osa,
    inlined_kernel,
    jaro,
    jaro_winkler,
    kernel,
    levenshtein,
)
from linker.program import OPS
from linker.spelling import LENGTH, LENGTH_BITS, ValueTable

_JARO_WINKLER, _JARO = OPS[Op.JARO_WINKLER], OPS[Op.JARO]
_LEVENSHTEIN, _OSA, _STANDARDISED = OPS[Op.LEVENSHTEIN], OPS[Op.DAMERAU], OPS[Op.STANDARDISED_LEVENSHTEIN]
_DAMERAU, _HAMMING = OPS[Op.UNRESTRICTED_DAMERAU], OPS[Op.HAMMING]
_PERCENTAGE, _KILOMETRES = OPS[Op.PERCENTAGE], OPS[Op.KILOMETRES]
_BEST_LEVENSHTEIN, _BEST_DAMERAU = OPS[Op.BEST_LEVENSHTEIN], OPS[Op.BEST_DAMERAU]
_BEST_JARO_WINKLER = OPS[Op.BEST_JARO_WINKLER]
_CHARACTER_JACCARD, _COSINE = OPS[Op.CHARACTER_JACCARD], OPS[Op.COSINE]


@inlined_kernel
def distance_op(op: int) -> bool:
    """Whether this is a further op that holds up to its limit, and not from it on."""
    return _DAMERAU <= op <= _BEST_DAMERAU


@inlined_kernel
def _damerau_bound(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> float:
    """The unrestricted distance where it is at most 2; else less than nothing, twice a bound from below.

    Where that restricted to optimal alignments is at most 2, it is the unrestricted one. Above that, the
    unrestricted one can still be 2: an exchange around one inserted character, so that one text is longer
    by one. Of such texts, edits without exchanges tell: an exchange is worth two of them at most.
    """
    if abs((a1 - a0) - (b1 - b0)) == 1:
        edits = levenshtein(chars, a0, a1, b0, b1, scratch)
        if edits > 4:
            return -float(edits)
    else:
        edits = 6
    restricted = damerau_osa(chars, a0, a1, b0, b1, scratch)
    return float(restricted) if restricted <= 2 else -float(edits)


BOUND = -1  # the op that bounds `unrestricted_damerau`, see `_damerau_bound`


@kernel
def measure(op: int, chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> float:
    """What an op measures of two texts; NaN where it has no value."""
    if op == _JARO_WINKLER:
        return jaro_winkler(chars, a0, a1, b0, b1, scratch)
    if op == _JARO:
        return jaro(chars, a0, a1, b0, b1, scratch)
    if op == _OSA:
        return float(damerau_osa(chars, a0, a1, b0, b1, scratch))
    if op in (_LEVENSHTEIN, _STANDARDISED):
        edits = float(levenshtein(chars, a0, a1, b0, b1, scratch))
        longer = max(a1 - a0, b1 - b0)
        if op == _LEVENSHTEIN:
            return edits
        return 1.0 - edits / longer if longer > 0 else 1.0
    if op == BOUND:
        return _damerau_bound(chars, a0, a1, b0, b1, scratch)
    if op == _DAMERAU:
        return float(more.damerau(chars, a0, a1, b0, b1, scratch))
    if op == _HAMMING:
        return more.hamming(chars, a0, a1, b0, b1)
    if op == _CHARACTER_JACCARD:
        return more.character_jaccard(chars, a0, a1, b0, b1)
    kind = more.BEST_JARO
    if op == _BEST_LEVENSHTEIN:
        kind = more.BEST_LEVENSHTEIN
    elif op == _BEST_DAMERAU:
        kind = more.BEST_DAMERAU
    elif op == _BEST_JARO_WINKLER:
        kind = more.BEST_JARO_WINKLER
    return more.best(kind, chars, a0, a1, b0, b1, scratch)


@inlined_kernel
def of_numbers(table: ValueTable, op: int, a: int, b: int) -> float:
    """What an op measures of two numbers or vectors; NaN where it has no value."""
    if op == _PERCENTAGE:
        return more.percentage(table.numbers[a], table.numbers[b])
    starts = table.vector_starts
    if op == _KILOMETRES:
        if starts[a + 1] - starts[a] != 2 or starts[b + 1] - starts[b] != 2:
            return np.nan  # no points
        return more.kilometres(table.vectors, starts[a], starts[b])
    if starts[a + 1] == starts[a] or starts[b + 1] == starts[b]:
        return np.nan  # no vectors
    return more.cosine(table.vectors, starts[a], starts[a + 1], starts[b], starts[b + 1])


@inlined_kernel
def of_texts(table: ValueTable, address: int, op: int, a: int, b: int, scratch: Scratch) -> float:
    """What an op measures of two texts; NaN where it has no value."""
    one, other = table.place[a], table.place[b]
    a0, b0 = one >> LENGTH_BITS, other >> LENGTH_BITS
    return _measured(address, op, table.chars, a0, a0 + (one & LENGTH), b0, b0 + (other & LENGTH), scratch)


def measure_address() -> int:
    """Where the machine code of `measure` is."""
    dispatcher: Any = measure
    dispatcher.compile(_TYPES)
    compiled = dispatcher.overloads[_TYPES]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


_WHOLE = numba.types.int64
_TYPES = (
    _WHOLE, numba.types.Array(numba.types.uint32, 1, "C"), _WHOLE, _WHOLE, _WHOLE, _WHOLE,
    numba.types.Array(_WHOLE, 1, "C"),
)  # fmt: skip


def _call(
    _typing: Any, address: Any, op: Any, chars: Any, a0: Any, a1: Any, b0: Any, b1: Any, scratch: Any
) -> Any:
    value = numba.types.float64

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        at, *given = values
        function = context.call_conv.get_function_type(value, _TYPES)
        called = builder.inttoptr(at, function.as_pointer())
        return context.call_conv.call_function(builder, called, value, _TYPES, given)[1]

    return value(_WHOLE, *_TYPES), generate


# `measure`, by its address.
_measured = cast(
    "Callable[[int, int, Chars, int, int, int, int, Scratch], float]", numba.extending.intrinsic(_call)
)
