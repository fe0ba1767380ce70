"""Numbers given to people: each a function of its place in a list, with its check digit or letter.

Where a range is never issued, the numbers are from it: NHS numbers begin with 9 (for tests), UPNs have an
authority below 100 (none has), prison numbers begin with one of the letters S to Z. NINOs have a prefix that
is never allocated, or on demand one that a check of prefixes lets through. ULNs, PNCIDs and CRO numbers have
no such range.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from benchmarks.draw import Ints

NHS_NUMBERS = ULNS = 90_000_000  # valid ones that begin with 9
NINO_LETTERS = "ABCEGHJKLMNOPRSTWXYZ"
NINO_UNUSED = {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ", "OO", "CR", "FY", "MW", "NC", "PP", "PY", "PZ"}
NINO_PREFIXES = [a + b for a in NINO_LETTERS for b in NINO_LETTERS if b != "O" and a + b not in NINO_UNUSED]
#: Each has a letter that stands in no prefix that was ever allocated: QQ, which examples have, is one.
NINO_NEVER_ISSUED = [a + b for a, b in product("DFIQUV", "ABCEGHJKLMNPQRSTWXYZ")]
UPNS = 10**9  # authority 0dd, school dddd, serial ddd, for each year
PNCIDS = 10**7  # a year
CROS = 10**8
PRISON_NUMBERS = 8 * 10**4 * 24 * 24
_UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"
_JUSTICE_LETTERS = "ZABCDEFGHJKLMNPQRTUVWXY"
_PRISON_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def nhs_number(place: Ints) -> Ints:
    """The valid NHS number at each place: modulus 11, the weighted sum is 0."""
    return _modulus_11(place, 0)


def uln(place: Ints) -> Ints:
    """The valid unique learner number at each place: modulus 11, the weighted sum is 10."""
    return _modulus_11(place, 10)


def nino(place: Ints, prefixes: list[str] = NINO_PREFIXES) -> pl.Series:
    """The NINO at each place: prefix · 10⁶ + digits, times four, + suffix; null for −1."""
    number, known = pl.Series(place), np.maximum(place, 0)
    made = (
        pl.Series(prefixes).gather(known // 4 // 10**6)
        + (number // 4 % 10**6).cast(pl.String).str.zfill(6)
        + pl.Series(list("ABCD")).gather(known % 4)
    )
    return made.set(number < 0, None).alias("nino")


def upn(place: Ints, year: Ints) -> pl.Series:
    """The unique pupil number at each place below `UPNS`, given in this year."""
    authority, school, serial = place // 10**7, place // 1000 % 10**4, place % 1000
    digits = ((authority * 10**4 + school) * 100 + year % 100) * 1000 + serial
    total = sum((digits // 10 ** (11 - at) % 10 * (at + 2) for at in range(12)), np.zeros_like(digits))
    return pl.Series(list(_UPN_LETTERS)).gather(total % 23) + _text(digits, 12)


def pncid(year: Ints, serial: Ints) -> pl.Series:
    """Police National Computer ids in full, 1981/0000034U."""
    letter = pl.Series(list(_JUSTICE_LETTERS)).gather((year % 100 * 10**7 + serial) % 23)
    return _text(year, 4) + "/" + _text(serial, 7) + letter


def cro(place: Ints) -> pl.Series:
    """Criminal Records Office numbers, 065656/91H, at each place below `CROS`."""
    year, serial = place // 10**6, place % 10**6
    letter = pl.Series(list(_JUSTICE_LETTERS)).gather((year * 10**6 + serial) % 23)
    return _text(serial, 6) + "/" + _text(year, 2) + letter


def prison_number(place: Ints) -> pl.Series:
    """Prison numbers, letter, four digits, two letters, at each place below `PRISON_NUMBERS`."""
    letters = pl.Series(list(_PRISON_LETTERS))
    pair = place % 576
    return (
        pl.Series(list("STUVWXYZ")).gather(place // 576 // 10**4)
        + _text(place // 576 % 10**4, 4)
        + letters.gather(pair // 24)
        + letters.gather(pair % 24)
    )


def _text(number: Ints, width: int) -> pl.Series:
    return pl.Series(number).cast(pl.String).str.zfill(width)


def _modulus_11(place: Ints, sum_wanted: int) -> Ints:
    """9, seven free digits, one of nine, and the check digit.

    Of the ten digits in the ninth position at most one leaves no check digit (a remainder of 10).
    """
    first, rank = 90_000_000 + place // 9, place % 9
    total = np.zeros(len(place), np.int64)
    for position in range(8):
        total += first // 10 ** (7 - position) % 10 * (10 - position)
    # 2 · ninth ≡ wanted + 1 − total modulo 11 is to be left out; the inverse of 2 is 6. It may be ten: none.
    barred = (sum_wanted + 1 - total) * 6 % 11
    ninth = rank + (rank >= barred)
    check = (sum_wanted - total - 2 * ninth) % 11
    return (first * 10 + ninth) * 10 + check
