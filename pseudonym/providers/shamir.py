"""Shamir's way to share a secret (1979), byte by byte over GF(256).

The rules this module keeps:

- Any `threshold` parts give the secret; fewer say nothing at all of it, whatever computing power is used: for
  any parts fewer than that, every secret fits them in equally many ways.
- The field is that of AES: x^8 + x^4 + x^3 + x + 1. Tables would leak which bytes are looked up through the
  processor's cache, so elements are multiplied bit by bit, without a branch on them.

A wrong part is not noticed here: what comes out is then another secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

LARGEST = 255


def split(secret: bytes, threshold: int, parts: int) -> dict[int, bytes]:
    """Make parts of a secret.

    Args:
        secret: any bytes.
        threshold: how many parts give the secret, at least 1.
        parts: how many there are, at most 255.

    Returns:
        For each x from 1 to `parts` the value of random polynomials, one a byte, whose values at 0 are the
        secret.
    """
    if not 1 <= threshold <= parts <= LARGEST:
        raise ValueError("1 <= threshold <= parts <= 255")
    coefficients = [secret, *(os.urandom(len(secret)) for _ in range(threshold - 1))]
    return {x: _value(coefficients, x) for x in range(1, parts + 1)}


def combine(parts: Mapping[int, bytes], at: int = 0) -> bytes:
    """The value at 0, which is the secret, or elsewhere, of the polynomials that go through the parts.

    Args:
        parts: exactly as many as the threshold was, or more.
        at: where the value is wanted.
    """
    total = bytes(len(next(iter(parts.values()))))
    for x, value in parts.items():
        above = below = 1
        for other in parts:
            if other != x:
                above, below = _multiply(above, at ^ other), _multiply(below, x ^ other)
        factor = _multiply(above, _inverse(below))
        total = bytes(a ^ _multiply(factor, b) for a, b in zip(total, value, strict=True))
    return total


def _value(coefficients: list[bytes], x: int) -> bytes:
    total = bytes(len(coefficients[0]))
    for octets in reversed(coefficients):
        total = bytes(_multiply(a, x) ^ b for a, b in zip(total, octets, strict=True))
    return total


def _multiply(a: int, b: int) -> int:
    product = 0
    for _ in range(8):
        product ^= -(b & 1) & a
        a = (a << 1) ^ (-(a >> 7) & 0x11B)
        b >>= 1
    return product


def _inverse(a: int) -> int:
    # a^254: the group has 255 elements.
    power = 1
    for _ in range(7):
        a = _multiply(a, a)
        power = _multiply(power, a)
    return power
