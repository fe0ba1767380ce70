"""Compiled string distances and token counts, for use inside other compiled loops.

Every string is a slice of one buffer of code points, `chars[a0:a1]` (uint32). No kernel allocates,
takes the interpreter lock or fails; `scratch` (int64, at least `scratch_size(longest)` long, one for
each thread) may hold anything before and holds nothing of use after. Nothing depends on the order of
the two strings.

Which convention is followed, where libraries differ:

- A character is one code point, as in rapidfuzz. jellyfish counts grapheme clusters ("E" and a combining
  acute are one), and so gives other figures on text that is not composed: compose it before it comes
  here. DuckDB counts UTF-8 bytes.
- `jaro` and `jaro_winkler` of two empty strings are 1, as in rapidfuzz, so that equal strings always have
  1; jellyfish and DuckDB give 0. One empty string gives 0 in all.
- `jaro_winkler` closes a tenth of the remaining gap for each character of the common prefix, at most
  four, and only where `jaro` is above 0.7: jellyfish, rapidfuzz and DuckDB agree. The "long strings"
  bonus of Winkler's original is left out, as all three do unless asked.
- `damerau_osa` is optimal string alignment, as rapidfuzz's `OSA`: no part is edited twice, "CA" to "ABC"
  is 3. `damerau_levenshtein` of jellyfish and DuckDB is the unrestricted distance, there 2.

Sources: Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming"
(J. ACM 46, 1999); Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances"
(Nordic J. Computing 10, 2003); Winkler, "String comparator metrics and enhanced decision rules" (1990).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numba.extending
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])
Chars = npt.NDArray[np.uint32]
Scratch = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.int32]
# Machine words in compiled code. NumPy's annotations follow its own rules of promotion, not the compiler's.
word: Any = np.uint64
whole: Any = np.int64
half: Any = np.uint32
short: Any = np.int32
octet: Any = np.uint8

WORD = 64  # characters that fit one machine word
# scratch[:TABLE] is the bit masks of the code points below it, the rest is work rows. A power of two that
# holds the alphabets in use for names; ideographic names are so short that the general path is cheap.
TABLE = 1 << 14


_unkept: list[str] = []  # functions for which there was no folder


def _compiled(function: F, **options: bool) -> F:
    """With the cache of Numba: beside the module where that may be written, else the user's cache folder."""
    settings = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True, **options}
    compile_with: Any = numba.njit  # its annotations do not know of `_nrt`
    try:
        return cast(F, compile_with(cache=True, **settings)(function))
    except RuntimeError:  # neither may be written; a shared folder is no choice, for what is in it is run
        _unkept.append(function.__name__)
        return cast(F, compile_with(**settings)(function))


def kept() -> bool:
    """Whether there is a folder that keeps compiled kernels."""
    return not _unkept


def kernel(function: F) -> F:
    """Compile a function for use without the interpreter lock; the compiled code is kept on disk.

    A division by zero gives inf or nan, as in numpy. The function may not allocate: memory is not counted,
    because counting who holds an array, in every call for every pair, would cost more than all the rest.
    """
    return _compiled(function)


def inlined_kernel(function: F) -> F:
    """As `kernel`, for a few lines in a hot loop: they become part of each caller."""
    return _compiled(function, forceinline=True)


def scratch_size(longest: int) -> int:
    """Length of the scratch array that strings of at most `longest` characters need."""
    return TABLE + 3 * (longest + 2)


def _fused(typing: Any, x: Any, y: Any, z: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    double = numba.types.float64
    return double(double, double, double), generate


# x * y + z, rounded once, as DuckDB's compiler makes it: so similarities are the same to the last bit.
fused = cast("Callable[[float, float, float], float]", numba.extending.intrinsic(_fused))


@inlined_kernel
def _at(chars: Chars, i: int) -> int:
    """`chars[i]`; an index that could be negative would cost a test."""
    return int(chars[np.uint64(i)])


@inlined_kernel
def _common_prefix(chars: Chars, a0: int, a1: int, b0: int, b1: int) -> int:
    most = min(a1 - a0, b1 - b0)
    n = 0
    while n < most and _at(chars, a0 + n) == _at(chars, b0 + n):
        n += 1
    return n


@inlined_kernel
def _common_suffix(chars: Chars, a0: int, a1: int, b0: int, b1: int) -> int:
    most = min(a1 - a0, b1 - b0)
    n = 0
    while n < most and _at(chars, a1 - 1 - n) == _at(chars, b1 - 1 - n):
        n += 1
    return n


@inlined_kernel
def _tabulate(chars: Chars, p0: int, p1: int, t0: int, t1: int, scratch: Scratch) -> bool:
    """Bit i of `scratch[c]` says that pattern character i is c, for every c of pattern and text.

    Only the slots that will be looked up are cleared. False, and the table is of no use, if a character does
    not fit it.
    """
    seen = 0
    for t in range(t0, t1):
        c = _at(chars, t)
        seen |= c
        scratch[c & (TABLE - 1)] = 0
    for p in range(p0, p1):
        c = _at(chars, p)
        seen |= c
        scratch[c & (TABLE - 1)] = 0
    bit = 1
    for p in range(p0, p1):
        scratch[_at(chars, p) & (TABLE - 1)] |= bit
        bit <<= 1
    return seen < TABLE


@inlined_kernel
def _levenshtein_word(chars: Chars, p0: int, p1: int, t0: int, t1: int, scratch: Scratch) -> int:
    """Hyyrö 2003, after Myers, for a tabulated pattern of 1 to 64 characters."""
    distance = p1 - p0
    last = 1 << (p1 - p0 - 1)
    vp = -1
    vn = 0
    for t in range(t0, t1):
        x = scratch[_at(chars, t) & (TABLE - 1)]
        d0 = (((x & vp) + vp) ^ vp) | x | vn
        hp = vn | ~(d0 | vp)
        hn = d0 & vp
        distance += ((hp & last) != 0) - ((hn & last) != 0)
        hp = (hp << 1) | 1
        hn <<= 1
        vp = hn | ~(d0 | hp)
        vn = hp & d0
    return distance


@inlined_kernel
def _osa_word(chars: Chars, p0: int, p1: int, t0: int, t1: int, scratch: Scratch) -> int:
    """Hyyrö 2003, with transpositions, for a tabulated pattern of 1 to 64 characters."""
    distance = p1 - p0
    last = 1 << (p1 - p0 - 1)
    vp = -1
    vn = 0
    d0 = 0
    before = 0
    for t in range(t0, t1):
        x = scratch[_at(chars, t) & (TABLE - 1)]
        swapped = ((~d0 & x) << 1) & before
        d0 = (((x & vp) + vp) ^ vp) | x | vn | swapped
        hp = vn | ~(d0 | vp)
        hn = d0 & vp
        distance += ((hp & last) != 0) - ((hn & last) != 0)
        hp = (hp << 1) | 1
        hn <<= 1
        vp = hn | ~(d0 | hp)
        vn = hp & d0
        before = x
    return distance


@kernel
def _edit_rows(chars: Chars, p0: int, p1: int, t0: int, t1: int, transpose: bool, scratch: Scratch) -> int:
    """The textbook recurrence over three rows of scratch, for patterns of any length."""
    m = p1 - p0
    above2 = TABLE
    above = above2 + m + 1
    here = above + m + 1
    for i in range(m + 1):
        scratch[above + i] = i
    for t in range(t0, t1):
        c = chars[t]
        scratch[here] = t - t0 + 1
        for i in range(1, m + 1):
            q = chars[p0 + i - 1]
            best = scratch[above + i - 1] + (q != c)
            best = min(best, scratch[above + i] + 1, scratch[here + i - 1] + 1)
            if transpose and i > 1 and t > t0 and q == chars[t - 1] and chars[p0 + i - 2] == c:
                best = min(best, scratch[above2 + i - 2] + 1)
            scratch[here + i] = best
        above2, above, here = above, here, above2
    return int(scratch[above + m])


@kernel
def levenshtein(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> int:
    """Fewest insertions, deletions and substitutions between two strings; see the module's docstring."""
    n = _common_prefix(chars, a0, a1, b0, b1)
    a0 += n
    b0 += n
    n = _common_suffix(chars, a0, a1, b0, b1)
    a1 -= n
    b1 -= n
    if a1 - a0 < b1 - b0:
        a0, a1, b0, b1 = b0, b1, a0, a1
    if b0 == b1:
        return a1 - a0
    # A step of the text costs more than one of the table: the longer string is the pattern where it fits.
    if a1 - a0 > WORD:
        a0, a1, b0, b1 = b0, b1, a0, a1
    if a1 - a0 <= WORD and _tabulate(chars, a0, a1, b0, b1, scratch):
        return _levenshtein_word(chars, a0, a1, b0, b1, scratch)
    return _edit_rows(chars, a0, a1, b0, b1, False, scratch)


@kernel
def damerau_osa(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> int:
    """As `levenshtein`, an exchange of two neighbours also counting one (optimal string alignment)."""
    n = _common_prefix(chars, a0, a1, b0, b1)
    a0 += n
    b0 += n
    n = _common_suffix(chars, a0, a1, b0, b1)
    a1 -= n
    b1 -= n
    if a1 - a0 < b1 - b0:
        a0, a1, b0, b1 = b0, b1, a0, a1
    if b0 == b1:
        return a1 - a0
    # A step of the text costs more than one of the table: the longer string is the pattern where it fits.
    if a1 - a0 > WORD:
        a0, a1, b0, b1 = b0, b1, a0, a1
    if a1 - a0 <= WORD and _tabulate(chars, a0, a1, b0, b1, scratch):
        return _osa_word(chars, a0, a1, b0, b1, scratch)
    return _edit_rows(chars, a0, a1, b0, b1, True, scratch)


@inlined_kernel
def _jaro_word(
    chars: Chars, p0: int, p1: int, t0: int, t1: int, window: int, scratch: Scratch
) -> tuple[int, int]:
    """Matches, and how many of them are out of order, for a tabulated pattern of 1 to 64 characters."""
    reach = -1 if window >= WORD - 1 else (1 << (window + 1)) - 1
    widening = t0 + window
    taken = 0
    matched = 0
    for t in range(t0, t1):
        x = scratch[_at(chars, t) & (TABLE - 1)]
        free = x & reach & ~taken
        taken |= free & -free
        scratch[np.uint64(TABLE + matched)] = x
        matched += free != 0
        reach = (reach << 1) | (t < widening)
    moved = 0
    for k in range(matched):
        lowest = taken & -taken
        moved += (scratch[np.uint64(TABLE + k)] & lowest) == 0
        taken ^= lowest
    return matched, moved


@kernel
def _jaro_rows(
    chars: Chars, p0: int, p1: int, t0: int, t1: int, window: int, scratch: Scratch
) -> tuple[int, int]:
    """As `_jaro_word`, for patterns of any length."""
    m = p1 - p0
    taken = TABLE
    hits = TABLE + m
    for i in range(m):
        scratch[taken + i] = 0
    matched = 0
    for t in range(t0, t1):
        c = chars[t]
        for i in range(max(0, t - t0 - window), min(m, t - t0 + window + 1)):
            if scratch[taken + i] == 0 and chars[p0 + i] == c:
                scratch[taken + i] = 1
                scratch[hits + matched] = c
                matched += 1
                break
    moved = 0
    k = 0
    for i in range(m):
        if scratch[taken + i] == 1:
            moved += scratch[hits + k] != chars[p0 + i]
            k += 1
    return matched, moved


@inlined_kernel
def _jaro(chars: Chars, a0: int, a1: int, b0: int, b1: int, prefix: int, scratch: Scratch) -> float:
    """Jaro's similarity, the length of the common prefix being known.

    A common prefix always matches itself in order, so only the rest is searched; and each string can be
    searched in the other, because taking the first free place in the window is the same merge either way.
    """
    long = a1 - a0
    short = b1 - b0
    if long < short:
        long, short = short, long
        a0, a1, b0, b1 = b0, b1, a0, a1
    if short == 0:
        return 1.0 if long == 0 else 0.0
    if short == prefix:  # the same sum as below, so that the last bit is the same
        return (prefix / long + 1.0 + 1.0) / 3.0
    window = max(long // 2 - 1, 0)
    a0 += prefix
    b0 += prefix
    if a1 - a0 > WORD:
        a0, a1, b0, b1 = b0, b1, a0, a1
    if a1 - a0 <= WORD and _tabulate(chars, a0, a1, b0, b1, scratch):
        matched, moved = _jaro_word(chars, a0, a1, b0, b1, window, scratch)
    else:
        matched, moved = _jaro_rows(chars, a0, a1, b0, b1, window, scratch)
    matched += prefix
    if matched == 0:
        return 0.0
    return (matched / long + matched / short + (matched - moved // 2) / matched) / 3.0


@kernel
def jaro(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> float:
    """Jaro's similarity, from 0 (nothing in common) to 1 (equal)."""
    return _jaro(chars, a0, a1, b0, b1, _common_prefix(chars, a0, a1, b0, b1), scratch)


@kernel
def jaro_winkler(chars: Chars, a0: int, a1: int, b0: int, b1: int, scratch: Scratch) -> float:
    """Jaro's similarity raised for a common prefix, from 0 to 1; see the module's docstring."""
    prefix = _common_prefix(chars, a0, a1, b0, b1)
    similarity = _jaro(chars, a0, a1, b0, b1, prefix, scratch)
    if similarity > 0.7:
        similarity = fused(min(prefix, 4) * 0.1, 1.0 - similarity, similarity)
    return similarity


@kernel
def common(tokens: Tokens, a0: int, a1: int, b0: int, b1: int) -> int:
    """How many tokens two ascending slices of one array share."""
    shared = 0
    while a0 < a1 and b0 < b1:
        a = tokens[a0]
        b = tokens[b0]
        shared += a == b
        a0 += a <= b
        b0 += b <= a
    return shared
