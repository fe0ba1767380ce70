"""A search for planted values in any form that careless code might leave behind.

A value is looked for in every spelling (as it is, capitals, small letters, without its punctuation, an NHS
number in groups), each in UTF-8 and UTF-16, forwards and reversed, and the unkeyed digests of each; all of
these as octets, as hexadecimal digits in both cases, and in base 64 of both alphabets at each of its three
alignments.
Whole numbers are looked for in four and eight bytes of both orders as well.

Data is read once: a table of all first four octets says where a needle may begin, and only there is compared.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DIGESTS = ("md5", "sha1", "sha256", "sha512")
SHORTEST = 6  # octets; what is shorter is found by chance
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Finding:
    """A value, and the form in which it lies there."""

    value: str | bytes
    form: str


def spellings(value: str) -> dict[str, str]:
    """The ways in which people and programs write one value, by their names."""
    found = {"as it is": value, "capitals": value.upper(), "small": value.lower()}
    found["bare"] = re.sub(r"[^\w]", "", value)
    found["bare small"] = found["bare"].lower()
    found["bare capitals"] = found["bare"].upper()
    if re.fullmatch("[0-9]{10}", value):
        for gap in " -":
            found[f"grouped with {gap!r}"] = gap.join((value[:3], value[3:6], value[6:]))
    if day := re.fullmatch("([0-9]{4})-([0-9]{2})-([0-9]{2})", value):
        year, month, number = day.groups()
        found["day first"] = f"{number}/{month}/{year}"
        found["day first, bare"] = f"{number}{month}{year}"
    return found


def written(value: str | bytes) -> Iterator[tuple[str, bytes]]:
    """A value as octets; one that is octets already is an id."""
    if isinstance(value, bytes):
        yield "octets", value
        yield "octets, reversed", value[::-1]
        return
    for name, spelling in spellings(value).items():
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            octets = spelling.encode(encoding)
            yield f"{name}, {encoding}", octets
            yield f"{name}, {encoding}, reversed", octets[::-1]
    if re.fullmatch("-?[0-9]{7,18}", value):
        for order in ("little", "big"):
            yield f"{order}-endian", int(value).to_bytes(8, order, signed=True)


def coded(octets: bytes) -> Iterator[tuple[str, bytes]]:
    """Octets as they may be written down."""
    yield "", octets
    yield ", hex", octets.hex().encode()
    yield ", HEX", octets.hex().upper().encode()
    yield ", hex of hex", octets.hex().encode().hex().encode()  # hexadecimal text in a dump of octets
    for offset in range(3):
        # What stands for the octets whatever stands before and after them.
        bits = 8 * (len(octets) + offset)
        first, last = (8 * offset + 5) // 6, bits // 6
        for name, encode in (("base64", base64.b64encode), ("url base64", base64.urlsafe_b64encode)):
            yield f", {name} at {offset}", encode(bytes(offset) + octets)[first:last]


def forms(value: str | bytes) -> dict[bytes, str]:
    """Everything that is looked for to find a value: octets, and what form they are."""
    found: dict[bytes, str] = {}
    for name, octets in written(value):
        for way, needle in coded(octets):
            if len(needle) >= SHORTEST:
                found.setdefault(needle, name + way)
        if len(octets) < SHORTEST:
            continue
        for digest in DIGESTS:
            for way, needle in coded(hashlib.new(digest, octets).digest()):
                found.setdefault(needle, f"{digest} of {name}{way}")
    return found


@dataclass
class Scanner:
    """Looks for values in data.

    Args:
        values: of six characters or octets or more each.
    """

    values: Iterable[str | bytes]
    _needles: dict[bytes, Finding] = field(init=False)
    _by_start: dict[int, list[bytes]] = field(init=False, default_factory=dict)
    _starts: np.ndarray[Any, Any] = field(init=False)
    _fours: np.ndarray[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._needles = {}
        for value in self.values:
            assert len(value) >= SHORTEST, "what is shorter is found by chance"
            self._needles |= {needle: Finding(value, form) for needle, form in forms(value).items()}
        for needle in self._needles:
            self._by_start.setdefault(int.from_bytes(needle[:4], "little"), []).append(needle)
        self._starts = np.zeros(1 << 24, dtype=bool)
        self._starts[[start & 0xFFFFFF for start in self._by_start]] = True
        self._fours = np.sort(np.fromiter(self._by_start, dtype=np.uint32))

    def __len__(self) -> int:
        return len(self._needles)

    def found(self, data: bytes) -> set[Finding]:
        """The values that lie in the data, each with the forms that it has there."""
        longest = max(map(len, self._needles))
        found: set[Finding] = set()
        for first in range(0, len(data), _AT_ONCE):
            found |= self._in_part(data[first : first + _AT_ONCE + longest])
        return found

    def _in_part(self, data: bytes) -> set[Finding]:
        if len(data) < 4:
            return set()
        octets = np.frombuffer(data, dtype=np.uint8).astype(np.uint32)
        three = octets[:-3] | octets[1:-2] << 8 | octets[2:-1] << 16
        places = np.flatnonzero(self._starts[three])
        fours = three[places] | octets[places + 3] << 24
        known = self._fours[np.minimum(np.searchsorted(self._fours, fours), len(self._fours) - 1)] == fours
        return {
            self._needles[needle]
            for place, four in zip(places[known].tolist(), fours[known].tolist(), strict=True)
            for needle in self._by_start[four]
            if data.startswith(needle, place)
        }
