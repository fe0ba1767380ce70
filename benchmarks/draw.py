"""Chance as a function: the n-th draw of a kind depends on the seed, the kind and n alone.

Nothing is drawn in sequence, so records may be made in any order, in chunks of any size and on any number of
threads, and are the same. The mixing is SplitMix64's (Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Draws:
    """All draws of one seed."""

    def __init__(self, seed: int) -> None:
        """The draws of `seed`; two seeds have nothing to do with one another."""
        self.seed = seed

    def key(self, what: str) -> np.uint64:
        """The stream for one kind of draw."""
        digest = hashlib.blake2b(f"{self.seed}:{what}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "little"))

    def below(self, what: str, of: Ints, limit: int) -> Ints:
        """A whole number from 0 to limit − 1 (at most 2³²) for each number in `of`."""
        made: Ints = _below(of, self.key(what), limit)
        return made

    def chance(self, what: str, of: Ints, p: float | NDArray[np.float64]) -> Flags:
        """For each number in `of`, whether something of probability `p` happened."""
        if isinstance(p, float) and p == 0.0:
            return np.zeros(len(of), np.bool_)
        return self.share(what, of) < p

    def share(self, what: str, of: Ints) -> NDArray[np.float64]:
        """A number from 0 up to 1 for each number in `of`, in steps of 2⁻³²."""
        return self.below(what, of, 1 << 32).astype(np.float64) * np.float64(2.0**-32)

    def pick(self, what: str, of: Ints, table: NDArray[Any]) -> NDArray[Any]:
        """One entry of the table for each number in `of`."""
        return table[self.below(what, of, len(table))]


class Permutation:
    """A shuffle of 0 … n − 1 which is computed, not stored, either way.

    A Feistel network on the quotient and remainder of the number, in which halves are added modulo their own
    size (Black and Rogaway 2002); what falls beyond n goes round again.
    """

    def __init__(self, n: int, draws: Draws, what: str) -> None:
        """The shuffle of n numbers for one purpose."""
        side = max(1, math.isqrt(max(0, n - 1)) + 1)
        self._sizes = (n, side, max(1, -(-n // side)))
        self._keys = np.array([draws.key(f"{what}:{turn}") for turn in range(4)])

    def to(self, numbers: Ints) -> Ints:
        """Where each number goes."""
        made: Ints = _shuffled(numbers, *self._sizes, self._keys)
        return made

    def back(self, numbers: Ints) -> Ints:
        """Where each number came from: the inverse of `to`."""
        made: Ints = _restored(numbers, *self._sizes, self._keys)
        return made


@nb.njit(inline="always")
def _mixed(number: Any, key: Any) -> Any:
    x = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15) + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@nb.njit(cache=True, nogil=True)
def _below(of: Any, key: Any, limit: Any) -> Any:
    made = np.empty(len(of), np.int64)
    for i in range(len(of)):
        made[i] = np.int64(((_mixed(of[i], key) >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32))
    return made


@nb.njit(cache=True, nogil=True)
def _shuffled(numbers: Any, n: Any, a: Any, b: Any, keys: Any) -> Any:
    made = np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        x = numbers[i]
        while True:
            high, low = x // b, x % b
            high = (high + np.int64(_mixed(low, keys[0]) >> np.uint64(33))) % a
            low = (low + np.int64(_mixed(high, keys[1]) >> np.uint64(33))) % b
            high = (high + np.int64(_mixed(low, keys[2]) >> np.uint64(33))) % a
            low = (low + np.int64(_mixed(high, keys[3]) >> np.uint64(33))) % b
            x = high * b + low
            if x < n:
                break
        made[i] = x
    return made


@nb.njit(cache=True, nogil=True)
def _restored(numbers: Any, n: Any, a: Any, b: Any, keys: Any) -> Any:
    made = np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        x = numbers[i]
        while True:
            high, low = x // b, x % b
            low = (low - np.int64(_mixed(high, keys[3]) >> np.uint64(33))) % b
            high = (high - np.int64(_mixed(low, keys[2]) >> np.uint64(33))) % a
            low = (low - np.int64(_mixed(high, keys[1]) >> np.uint64(33))) % b
            high = (high - np.int64(_mixed(low, keys[0]) >> np.uint64(33))) % a
            x = high * b + low
            if x < n:
                break
        made[i] = x
    return made
