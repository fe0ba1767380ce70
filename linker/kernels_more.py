"""Compiled measures beyond `linker.kernels`: those that models of other tools are made of.

The same rules hold: a string is a slice of one buffer of characters, nothing allocates, takes the
interpreter lock or fails, and nothing depends on the order of the two values. A measure that has no value
is NaN, which holds against no limit.

Which convention is followed, where libraries differ:

- `damerau` is the unrestricted distance of Damerau (1964) with the algorithm of Zhao and Sahni (2019), as
  rapidfuzz's `DamerauLevenshtein`, jellyfish's and DuckDB's `damerau_levenshtein`: "CA" to "ABC" is 2.
- `hamming` has no value for strings of different lengths or of none; DuckDB refuses both.
- `character_jaccard` compares the sets of characters, as DuckDB's `jaccard`; that of an empty string has no
  value (DuckDB refuses it).
- `kilometres` is the spherical law of cosines with a radius of 6371 km, rounded to 32 bits, as Splink
  writes it.
- `percentage` divides by the larger number itself, not by its magnitude, as Splink writes it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from linker.kernels import (
    TABLE,
    Chars,
    Scratch,
    damerau_osa,
    fused,
    inlined_kernel,
    jaro,
    jaro_winkler,
    kernel,
    levenshtein,
)

SEPARATOR = 0x1F  # between the elements of a list, as a character
MARK = 0x00  # the element that every list holds, so that an empty list is a value too

Vectors = npt.NDArray[np.float64]


@kernel
def damerau(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> int:
    """Fewest insertions, deletions, substitutions and exchanges of neighbours, parts edited again or not."""
    restricted = damerau_osa(chars, a0, a1, b0, b1, scratch)
    if restricted <= 2:  # then nothing is gained by editing between two exchanged characters
        return restricted
    while a0 < a1 and b0 < b1 and chars[a0] == chars[b0]:
        a0 += 1
        b0 += 1
    while a0 < a1 and b0 < b1 and chars[a1 - 1] == chars[b1 - 1]:
        a1 -= 1
        b1 -= 1
    return _damerau_rows(chars, a0, a1, b0, b1, scratch)


@inlined_kernel
def _last_row(chars: Chars, a0: int, i: int, sign: int, scratch: Scratch) -> int:
    """The last of the first i rows whose character is `sign`, or -1."""
    if sign < TABLE:
        return int(scratch[sign])
    for row in range(i, 0, -1):
        if chars[a0 + row - 1] == sign:
            return row
    return -1


@kernel
def _damerau_rows(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> int:
    """Zhao and Sahni, "String correction using the Damerau-Levenshtein distance" (BMC Bioinf. 20, 2019)."""
    m, n = a1 - a0, b1 - b0
    most = max(m, n) + 1
    for t in range(b0, b1):
        if chars[t] < TABLE:
            scratch[chars[t]] = -1
    # Row entry j stands at row + 1 + j, so that j = -1 is allowed.
    swapped, above, here = TABLE, TABLE + n + 2, TABLE + 2 * (n + 2)
    for j in range(n + 2):
        scratch[swapped + j] = scratch[above + j] = most
        scratch[here + j] = j - 1
    scratch[here] = most
    for i in range(1, m + 1):
        above, here = here, above
        sign = chars[a0 + i - 1]
        last_column = -1
        before = scratch[here + 1]
        scratch[here + 1] = i
        two_above = most
        for j in range(1, n + 1):
            other = chars[b0 + j - 1]
            best = min(
                scratch[above + j] + (sign != other), scratch[here + j] + 1, scratch[above + j + 1] + 1
            )
            if sign == other:
                last_column = j
                scratch[swapped + 1 + j] = scratch[above + j - 1]
                two_above = before
            else:
                k = _last_row(chars, a0, i - 1, other, scratch)
                if last_column > 0 and j - last_column == 1:
                    best = min(best, scratch[swapped + 1 + j] + (i - k))
                elif i - k == 1:
                    best = min(best, two_above + (j - last_column))
            before = scratch[here + 1 + j]
            scratch[here + 1 + j] = best
        if sign < TABLE:
            scratch[sign] = i
    return int(scratch[here + 1 + n])


@kernel
def hamming(chars: Chars, a0: int, a1: int, b0: int, b1: int) -> float:
    """Places at which two strings of one length differ."""
    if a1 - a0 != b1 - b0 or a0 == a1:
        return math.nan
    places = 0
    for i in range(a1 - a0):
        places += chars[a0 + i] != chars[b0 + i]
    return float(places)


@kernel
def character_jaccard(chars: Chars, a0: int, a1: int, b0: int, b1: int) -> float:
    """Characters that two strings share, of those that either has."""
    if a0 == a1 or b0 == b1:
        return math.nan
    shared = either = 0
    for i in range(a0, a1):
        if _stands(chars, a0, i, chars[i]):
            continue
        either += 1
        shared += _stands(chars, b0, b1, chars[i])
    for j in range(b0, b1):
        either += not _stands(chars, b0, j, chars[j]) and not _stands(chars, a0, a1, chars[j])
    return shared / either


@inlined_kernel
def _stands(chars: Chars, start: int, stop: int, sign: int) -> bool:
    for i in range(start, stop):  # noqa: SIM110 - any() of a generator does not compile
        if chars[i] == sign:
            return True
    return False


@kernel
def percentage(x: float, y: float) -> float:
    """Difference of two numbers as a share of the larger one; that of two zeros has no value."""
    return abs(x - y) / (y if y > x else x)


@kernel
def kilometres(vectors: Vectors, a: int, b: int) -> float:
    """Distance between two points on the globe, each a latitude and a longitude in degrees."""
    north, other = math.radians(vectors[a]), math.radians(vectors[b])
    cosine = math.sin(north) * math.sin(other) + math.cos(north) * math.cos(other) * math.cos(
        math.radians(vectors[b + 1] - vectors[a + 1])
    )
    return float(np.float32(math.acos(min(1.0, max(-1.0, cosine))) * 6371.0))


@kernel
def cosine(vectors: Vectors, a0: int, a1: int, b0: int, b1: int) -> float:
    """Cosine of the angle between two vectors, to DuckDB's last bit; unequal lengths have none.

    That of a vector of zeros counts as infinite: DuckDB's is NaN, which it holds for larger than any number.
    """
    if a1 - a0 != b1 - b0:
        return math.nan
    product = first = second = 0.0
    for i in range(a1 - a0):
        x, y = vectors[a0 + i], vectors[b0 + i]
        product, first, second = fused(x, y, product), fused(x, x, first), fused(y, y, second)
    norms = math.sqrt(first * second)
    return max(-1.0, min(product / norms, 1.0)) if norms > 0.0 else math.inf


BEST_LEVENSHTEIN, BEST_DAMERAU, BEST_JARO_WINKLER, BEST_JARO = range(4)


@kernel
def best(measure: int, chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> float:
    """The best that any element of one list reaches with any of the other; lists as texts, see `MARK`.

    The smallest distance or the largest similarity; NaN where a list is empty.
    """
    found = math.nan
    i = a0
    while i <= a1:
        after_i = _element_end(chars, i, a1)
        j = b0 if not _is_mark(chars, i, after_i) else b1 + 1
        while j <= b1:
            after_j = _element_end(chars, j, b1)
            if not _is_mark(chars, j, after_j):
                value = _element_value(measure, chars, i, after_i, j, after_j, scratch)
                better = value < found if measure <= BEST_DAMERAU else value > found
                if better or math.isnan(found):
                    found = value
            j = after_j + 1
        i = after_i + 1
    return found


@inlined_kernel
def _element_end(chars: Chars, start: int, stop: int) -> int:
    while start < stop and chars[start] != SEPARATOR:
        start += 1
    return start


@inlined_kernel
def _is_mark(chars: Chars, start: int, stop: int) -> bool:
    return stop - start == 1 and chars[start] == MARK


@inlined_kernel
def _element_value(measure: int, chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> float:
    if measure == BEST_LEVENSHTEIN:
        return float(levenshtein(chars, a0, a1, b0, b1, scratch))
    if measure == BEST_DAMERAU:
        return float(damerau(chars, a0, a1, b0, b1, scratch))
    if a0 == a1 or b0 == b1:
        return 0.0  # as DuckDB has it for two empty strings too
    if measure == BEST_JARO_WINKLER:
        return jaro_winkler(chars, a0, a1, b0, b1, scratch)
    return jaro(chars, a0, a1, b0, b1, scratch)
