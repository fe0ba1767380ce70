"""Sealed files: the format in which a folder's files lie on disk, under the folder's own key.

    file = 01, salt, part 0, part 1, …, end        part = length, AES-256-GCM of its content

The rules this module keeps (`docs/sealing.md` states the format):

- Each file has a key of its own, made of the folder's key, the folder's id, the file's name and a salt: no
  two files, and no two writings of one file, share a key, so that the number of a part may be its nonce.
- A part opens in its own place only: folder, name, number, and whether it is the last. A file that was
  exchanged, cut off, reordered or put together from others does not open.
- The end is opened before any part: what was cut off is noticed before anything comes out.

Danger: what is not hidden is how long the parts are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import InputError, SealBrokenError
from pseudonym.seal import NONCE_BYTES, SCHEME, TAG_BYTES
from pseudonym.urn import KEY_BYTES, enc

SALT_BYTES = 16
LENGTH_BYTES = 4
LARGEST_PART = (1 << 31) - 1 - TAG_BYTES
"""Bytes of one part: what one call of the cipher takes."""

_HEAD = len(SCHEME) + SALT_BYTES
_ZERO = bytes(NONCE_BYTES)


def seal_parts(key: bytes, folder: str, name: str, parts: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """Seal one file, piece by piece.

    Args:
        key: the folder's, 32 bytes.
        folder: the folder's id.
        name: the file's name within it.
        parts: its content, in parts that can be opened one by one; there may be none.
        end: its last part, which is opened first; it may be empty.

    Yields:
        What to write, in order; the file is whole once nothing more comes.

    Raises:
        InputError: a part has more than `LARGEST_PART` bytes.
    """
    salt = os.urandom(SALT_BYTES)
    cipher = _cipher(key, folder, name, salt)
    yield SCHEME + salt
    number = 0
    for part in parts:
        yield from _sealed(cipher, part, folder, name, number, last=False)
        number += 1
    yield from _sealed(cipher, end, folder, name, number, last=True)


class SealedFile:
    """A sealed file, opened to be read in any order.

    Args:
        key: the folder's.
        folder: the folder's id.
        name: the file's name within it.
        file: the file, whose length does not change; it is read from when a part is asked for.

    Raises:
        SealBrokenError: it is no file of this folder and name, or it was altered or cut off.

    Attributes:
        parts: how many there are before the end.
        end: the content of the last part.
    """

    def __init__(self, key: bytes, folder: str, name: str, file: IO[bytes]) -> None:
        self._folder, self._name, self._file = folder, name, file
        head = file.read(_HEAD)
        if len(head) != _HEAD or head[:1] != SCHEME:
            raise _broken()
        self._cipher = _cipher(key, folder, name, head[1:])
        self._places = _places(file)
        self.parts = len(self._places) - 1
        self.end = self._open(self.parts, last=True)

    def part(self, number: int) -> bytes:
        """The content of a part, counted from 0.

        Raises:
            SealBrokenError: it was altered, or stands in another's place.
        """
        return self._open(number, last=False)

    def _open(self, number: int, *, last: bool) -> bytes:
        start, length = self._places[number]
        self._file.seek(start)
        try:
            place = _place(self._folder, self._name, number, last)
            return self._cipher.decrypt(number.to_bytes(NONCE_BYTES, "big"), self._file.read(length), place)
        except InvalidTag:
            raise _broken() from None


def conceal(key: bytes, folder: str, place: str, value: bytes) -> bytes:
    """Seal a short value that has to be found or compared: the same value and place give the same bytes.

    Args:
        key: the folder's, 32 bytes.
        folder: the folder's id.
        place: what the value is; whoever has no key learns whether two values of one place are equal.
        value: what to seal.

    Returns:
        01, then AES-256-GCM-SIV with a nonce of noughts.
    """
    return SCHEME + _values(key, folder).encrypt(_ZERO, value, enc("sealed-value/1", folder, place))


def reveal(key: bytes, folder: str, place: str, sealed: bytes) -> bytes:
    """Open what `conceal` made.

    Raises:
        SealBrokenError: it was altered, or is of another folder or place.
    """
    try:
        if sealed[:1] != SCHEME:
            raise InvalidTag
        return _values(key, folder).decrypt(_ZERO, sealed[1:], enc("sealed-value/1", folder, place))
    except (InvalidTag, ValueError):
        raise _broken() from None


def _cipher(key: bytes, folder: str, name: str, salt: bytes) -> AESGCM:
    info = enc("sealed-file-key/1", folder, name, salt)
    return AESGCM(HKDFExpand(SHA256(), KEY_BYTES, info).derive(key))


def _values(key: bytes, folder: str) -> AESGCMSIV:
    return AESGCMSIV(HKDFExpand(SHA256(), KEY_BYTES, enc("sealed-value-key/1", folder)).derive(key))


def _place(folder: str, name: str, number: int, last: bool) -> bytes:
    return enc("sealed-file/1", folder, name, number.to_bytes(4, "big"), b"\x01" if last else b"\x00")


def _sealed(
    cipher: AESGCM, content: bytes, folder: str, name: str, number: int, *, last: bool
) -> Iterator[bytes]:
    if len(content) > LARGEST_PART:
        raise InputError(f"A part of a file has at most {LARGEST_PART} bytes.")
    yield (len(content) + TAG_BYTES).to_bytes(LENGTH_BYTES, "big")
    yield cipher.encrypt(number.to_bytes(NONCE_BYTES, "big"), content, _place(folder, name, number, last))


def _places(file: IO[bytes]) -> list[tuple[int, int]]:
    """Where each part begins and how long it is; nothing of it is known to be true yet."""
    size = file.seek(0, os.SEEK_END)
    at, places = _HEAD, []
    while at < size:
        file.seek(at)
        length = int.from_bytes(file.read(LENGTH_BYTES), "big")
        at += LENGTH_BYTES
        if length < TAG_BYTES or at + length > size:
            raise _broken()
        places.append((at, length))
        at += length
    if not places:
        raise _broken()
    return places


def _broken() -> SealBrokenError:
    return SealBrokenError(
        "A stored file was altered, cut off, or exchanged for another.",
        "Nothing of it may be used: send it again, and find out who can write to the data folder.",
    )
