"""The symbols of a reference number: their values, and the arithmetic of the two check symbols.

A word is 24 symbols w_0 .. w_23 of Crockford's base 32, each taken for the element of GF(32) that its value
names, such that  sum w_i a^i = 0  and  sum w_i a^(2i) = 0.  It is a Reed-Solomon code of distance three: when
any one or two symbols are wrong, or two are exchanged, the sums are not both zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 24
PAYLOAD = 20


def _values() -> dict[str, int]:
    values = {symbol: value for value, symbol in enumerate(ALPHABET)}
    values |= {"O": values["0"], "I": values["1"], "L": values["1"]}
    # Lower case is spelt out: str.upper() would also let in letters such as a dotless i or a long s.
    return values | {symbol.lower(): value for symbol, value in values.items()}


def _powers() -> list[int]:
    """a^0 .. a^30 in GF(32), a a root of x^5 + x^2 + 1; bit k of an element is its coefficient of x^k."""
    powers = [1]
    while len(powers) < 31:
        doubled = powers[-1] << 1
        powers.append(doubled ^ 0b100101 if doubled & 32 else doubled)
    return powers


VALUES = _values()
_POWERS = _powers()
_LOGS = {element: exponent for exponent, element in enumerate(_POWERS)}


def _times_power(element: int, exponent: int) -> int:
    """The element times a^exponent."""
    return _POWERS[(_LOGS[element] + exponent) % 31] if element else 0


def _check_table() -> NDArray[np.uint16]:
    """For each place before the check symbols and each value there, what it adds to the two check symbols.

    The check symbols c and d at places 22 and 23 solve  c a^22 + d a^23 = s  and  c a^44 + d a^46 = t  for
    the sums s and t over the places before them. Both are linear in the symbols, so that each symbol's part
    can be looked up and the parts added (exclusive or).

    Returns:
        Shape (22, 32), entries 32 c + d.
    """
    table = np.zeros((LENGTH - 2, 32), dtype=np.uint16)
    determinant = _LOGS[_times_power(1, 22 + 46) ^ _times_power(1, 23 + 44)]
    for place in range(LENGTH - 2):
        for value in range(1, 32):
            s, t = _times_power(value, place), _times_power(value, 2 * place)
            c = _times_power(_times_power(s, 46) ^ _times_power(t, 23), -determinant)
            d = _times_power(_times_power(t, 22) ^ _times_power(s, 44), -determinant)
            table[place, value] = 32 * c + d
    return table


_CHECKS = _check_table()
_CHECK_ROWS: list[list[int]] = _CHECKS.tolist()
_SYMBOLS = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)


def checks(values: Sequence[int]) -> tuple[int, int]:
    """The values of the two check symbols that belong to the 22 values before them."""
    both = 0
    for row, value in zip(_CHECK_ROWS, values, strict=True):
        both ^= row[value]
    return both >> 5, both & 31


def fitting(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the check symbols fit, for many words at once: shape (n, 24), values 0 to 31."""
    both = np.zeros(len(values), dtype=np.uint16)
    for place in range(LENGTH - 2):
        both ^= _CHECKS[place][values[:, place]]
    found: NDArray[np.bool_] = both == (values[:, -2].astype(np.uint16) << 5) | values[:, -1]
    return found


def joined(values: NDArray[np.uint8]) -> list[str]:
    """The words of many rows of values, shape (n, 24)."""
    return _cut(_SYMBOLS[values].tobytes().decode("ascii"))


def suspects(values: Sequence[int]) -> tuple[int | None, int | None]:
    """Where a word whose check symbols do not fit may be wrong, if it is wrong in one way only.

    Neither is certain, so neither is ever put right here: two wrong symbols can look like either.

    Returns:
        The place that is wrong if one symbol is, and the first of two neighbours if they were exchanged; None
        where no such slip explains it.
    """
    s = t = 0
    for place, value in enumerate(values):
        s ^= _times_power(value, place)
        t ^= _times_power(value, 2 * place)
    if not s or not t:
        return None, None
    # An error e at place i gives s = e a^i and t = e a^2i.
    at = (_LOGS[t] - _LOGS[s]) % 31
    wrong = at if at < LENGTH else None
    # Neighbours at i and i + 1 that differ by d look like an error d at i + 18, since 1 + a = a^18.
    first = (at - 18) % 31
    difference = _POWERS[(_LOGS[s] - at) % 31]
    exchanged = first < LENGTH - 1 and values[first] ^ values[first + 1] == difference
    return wrong, first if exchanged else None


def _cut(text: str) -> list[str]:
    return [text[i : i + LENGTH] for i in range(0, len(text), LENGTH)]


def word(head: tuple[int, int], digest: bytes) -> str:
    """Make one word: see `words`."""
    payload = int.from_bytes(digest[:13], "big") >> 4
    values = [*head, *(payload >> shift & 31 for shift in range(5 * PAYLOAD - 5, -1, -5))]
    return "".join(ALPHABET[value] for value in (*values, *checks(values)))


def words(head: tuple[int, int], digests: Sequence[bytes]) -> list[str]:
    """Make many words at once.

    Args:
        head: the values of the first two symbols, the same in every word.
        digests: 13 bytes or more each, all of one size; the first 100 bits are the payload.

    Returns:
        For each digest the two symbols, the payload as twenty and the check symbols as two more.
    """
    n = len(digests)
    octets = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(n, -1).T[:13].astype(np.uint16)
    pairs = (octets[:-1] << 8) | octets[1:]
    text = np.empty((n, LENGTH), dtype=np.uint8)
    text[:, :2] = _SYMBOLS[list(head)]
    both = np.full(n, _CHECKS[0, head[0]] ^ _CHECKS[1, head[1]], dtype=np.uint16)
    for place in range(PAYLOAD):
        octet, bit = divmod(5 * place, 8)
        value = (pairs[octet] >> (11 - bit)) & 31
        text[:, 2 + place] = _SYMBOLS[value]
        both ^= _CHECKS[2 + place][value]
    text[:, -2] = _SYMBOLS[both >> 5]
    text[:, -1] = _SYMBOLS[both & 31]
    return _cut(text.tobytes().decode("ascii"))
