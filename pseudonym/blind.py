"""Blind indexes: finding a sealed row by an identifier, without keeping the identifier.

A tag is the first bits of a keyed function of the value. It has so few bits that a few rows share each:
whoever has the index without its key learns next to nothing from a tag, and who looks something up opens the
candidates and compares them. The rules (`docs/sealing.md` states them for any language, with vectors):

- Each field has a key of its own in each epoch: equal values of two fields have unrelated tags.
- No unkeyed hash of an identifier exists anywhere, not even for a moment in a file.

Danger: whoever has a field's key can try out every NHS number against that field's index.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import InputError
from pseudonym.forms import slices
from pseudonym.urn import KEY_BYTES, check_epoch, digests, enc, prf

FEWEST_BITS, MOST_BITS = 4, 31
_ROWS_A_TAG = 4


class FieldKeys(Protocol):
    """The root of the indexes, as a keyset lends it."""

    def field(self, field: str, epoch: int) -> bytes:
        """The field's key in an epoch, 32 bytes: see `field_key`."""
        ...


def field_key(root: bytes, field: str, epoch: int) -> bytes:
    """The key of one field in one epoch: HKDF-Expand-SHA256(root, enc("bidx-key/1", field, epoch), 32).

    Raises:
        InputError: the root's size or the epoch is wrong, or the field has no name.
    """
    if len(root) != KEY_BYTES:
        raise InputError(f"A key is {KEY_BYTES} bytes.")
    if not field:
        raise InputError("A field has a name.")
    info = enc("bidx-key/1", field, bytes([check_epoch(epoch)]))
    return HKDFExpand(SHA256(), KEY_BYTES, info).derive(root)


def bits_for(population: int) -> int:
    """How many bits tags have, so that about four rows share one: 18 for 1 m people, 24 for 60 m."""
    return min(max(round(math.log2(max(population, 1) / _ROWS_A_TAG)), FEWEST_BITS), MOST_BITS)


class BlindIndex:
    """Makes the tags of one epoch. It cannot be printed with its keys, copied or pickled.

    Args:
        keys: the root, which gives each field its key.
        epoch: 1 to 31.
        bits: how long a tag is: see `bits_for`. Fixed for the whole of an epoch.

    Raises:
        InputError: the epoch or the number of bits is out of range.
    """

    __slots__ = ("_keys", "_starts", "bits", "epoch")

    def __init__(self, keys: FieldKeys, epoch: int, bits: int) -> None:
        if not FEWEST_BITS <= bits <= MOST_BITS:
            raise InputError(f"A tag has {FEWEST_BITS} to {MOST_BITS} bits.")
        self.epoch = check_epoch(epoch)
        self.bits = bits
        self._keys = keys
        self._starts: dict[str, HMAC] = {}

    def __repr__(self) -> str:
        return f"BlindIndex(epoch={self.epoch}, bits={self.bits})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key does not leave the process that opened it.")

    def tags(self, field: str, values: Sequence[str]) -> np.ndarray[Any, Any]:
        """The tags of values of one field: the first bits of PRF(field key, "bidx/1", field, value).

        Args:
            field: its name.
            values: in the one spelling that the field's values have.

        Returns:
            uint32, one for each: whole numbers below 2^bits.
        """
        tags = np.empty(len(values), dtype=np.uint32)
        for some in slices(len(values)):
            octets = list(map(str.encode, values[some]))
            lengths = {size: size.to_bytes(4, "big") for size in set(map(len, octets))}
            found = digests(self._start(field), [lengths[len(value)] + value for value in octets])
            tags[some] = np.frombuffer(b"".join(found), dtype=">u4")[::8]
        tags >>= np.uint32(32 - self.bits)
        return tags

    def fingerprint(self) -> bytes:
        """What a store keeps, to notice another root, epoch or length of tags: 16 bytes.

        It is a keyed function of no identifier, under the key of a field that no value has.
        """
        return prf(self._keys.field("-", self.epoch), "bidx-check/1", bytes([self.epoch, self.bits]))[:16]

    def _start(self, field: str) -> HMAC:
        start = self._starts.get(field)
        if start is None:
            # Keying and the fixed beginning of the message are done once for each field.
            start = HMAC(self._keys.field(field, self.epoch), SHA256())
            start.update((3).to_bytes(2, "big") + enc("bidx/1", field)[2:])
            self._starts[field] = start
        return start
