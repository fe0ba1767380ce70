"""Sealing: each subject has a key of its own, and each row opens in its own place only.

The rules this module keeps (`docs/sealing.md` states them for any language, with vectors):

- Rows are sealed with AES-256-GCM under their subject's key, and that key is wrapped with AES-256-GCM-SIV
  under a key-encrypting key (KEK). Destroying a subject's key ends its rows; destroying a KEK ends every key
  wrapped under it, in every copy and backup.
- What is sealed is bound to its place: a row to its store, subject, row id and version; a key to its subject
  and KEK. Moved, exchanged, altered or rolled back, it does not open.
- Lengths are hidden up to 64 bytes.
- Everything begins with the scheme byte 01.

A subject's key seals few rows (one for each source and version), far below the 2^32 that random nonces
allow.

Danger: subjects' keys pass through here as bytes, and Python cannot wipe memory. They are never stored,
printed or logged unwrapped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import InputError, SealBrokenError
from pseudonym.forms import divided, filled
from pseudonym.urn import ID_BYTES, KEY_BYTES, enc, prf

SCHEME = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16
WRAPPED_BYTES = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES
"""The size of a wrapped key."""
BLOCK = 64
"""Payloads are padded to a multiple of this many bytes."""
LARGEST_VERSION = (1 << 32) - 1
STORES = frozenset({"identity", "attributes"})

_BODY = 1 + NONCE_BYTES
_ID_LENGTH = ID_BYTES.to_bytes(4, "big")
_VERSION_LENGTH = (4).to_bytes(4, "big")


class Kek:
    """A key-encrypting key: wraps subjects' keys, and opens those it has wrapped.

    It cannot be printed, copied or pickled.

    Args:
        kid: its id, as the keyset and the stores know it.
        secret: 32 random bytes, used for nothing else, or the cipher that holds them.

    Raises:
        InputError: the key's size is wrong, or the id is empty.
    """

    __slots__ = ("_cipher", "_suffix", "kid")

    def __init__(self, kid: str, secret: bytes | AESGCMSIV) -> None:
        if isinstance(secret, bytes) and len(secret) != KEY_BYTES:
            raise InputError(f"A key is {KEY_BYTES} bytes.")
        if not kid:
            raise InputError("A key-encrypting key has an id.")
        self.kid = kid
        self._cipher = AESGCMSIV(secret) if isinstance(secret, bytes) else secret
        self._suffix = enc(kid)[2:]

    def __repr__(self) -> str:
        return f"Kek(kid={self.kid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key does not leave the process that opened it.")

    def wrap(self, dek: bytes, pid: bytes) -> bytes:
        """Wrap one subject's key: see `wrap_all`."""
        return self.wrap_all([dek], [pid])[0]

    def unwrap(self, wrapped: bytes, pid: bytes) -> bytes:
        """Open one subject's key: see `unwrap_all`."""
        return self.unwrap_all([wrapped], [pid])[0]

    def wrap_all(self, deks: Sequence[bytes], pids: Sequence[bytes]) -> list[bytes]:
        """Wrap subjects' keys, each bound to its subject and to this key's id.

        Args:
            deks: 32 bytes each.
            pids: the subjects' ids, 16 bytes each, one for each key.

        Returns:
            `WRAPPED_BYTES` for each: 01, nonce, ciphertext, tag.

        Raises:
            InputError: a key or id has another size, or their numbers differ.
        """
        _check_sizes(deks, KEY_BYTES, "A subject's key")
        encrypt, suffix = self._cipher.encrypt, self._suffix
        start = self._before_pid(pids, len(deks))
        heads, fresh = new_nonces(len(deks))
        return [
            head + encrypt(nonce, dek, start + pid + suffix)
            for head, nonce, dek, pid in zip(heads, fresh, deks, pids, strict=True)
        ]

    def unwrap_all(self, wrapped: Sequence[bytes], pids: Sequence[bytes]) -> list[bytes]:
        """Open what `wrap_all` made.

        Raises:
            SealBrokenError: one was altered, belongs to another subject, or was wrapped under another key.
            InputError: an id has another size, or the numbers differ.
        """
        decrypt, suffix = self._cipher.decrypt, self._suffix
        start = self._before_pid(pids, len(wrapped))
        try:
            _check_schemes(wrapped)
            return [
                decrypt(sealed[1:_BODY], sealed[_BODY:], start + pid + suffix)
                for sealed, pid in zip(wrapped, pids, strict=True)
            ]
        except (InvalidTag, ValueError):
            raise SealBrokenError(
                "A subject's key was altered, is another subject's, or was wrapped under another key.",
                "Nothing was opened; restore the store, and find out who can write to it.",
            ) from None

    def _before_pid(self, pids: Sequence[bytes], count: int) -> bytes:
        _check_sizes(pids, ID_BYTES, "An internal id", count)
        return (3).to_bytes(2, "big") + enc("dek/1")[2:] + _ID_LENGTH


def new_deks(count: int) -> list[bytes]:
    """Make keys for `count` subjects: 32 random bytes each."""
    return divided(os.urandom(KEY_BYTES * count), KEY_BYTES)


def ciphers(deks: Sequence[bytes]) -> list[AESGCM]:
    """Subjects' keys made ready, for whoever seals more than once under each: it costs as much as sealing."""
    _check_sizes(deks, KEY_BYTES, "A subject's key")
    return [AESGCM(dek) for dek in deks]


def seal_row(dek: bytes, store: str, subject: bytes, row_id: bytes, version: int, payload: bytes) -> bytes:
    """Seal one row: see `seal_rows`."""
    return seal_rows([dek], store, [subject], [row_id], [version], [payload])[0]


def open_row(dek: bytes, store: str, subject: bytes, row_id: bytes, version: int, sealed: bytes) -> bytes:
    """Open one row: see `open_rows`."""
    return open_rows([dek], store, [subject], [row_id], [version], [sealed])[0]


def seal_rows(
    deks: Sequence[bytes] | Sequence[AESGCM],
    store: str,
    subjects: Sequence[bytes],
    row_ids: Sequence[bytes],
    versions: Sequence[int],
    payloads: Sequence[bytes],
) -> list[bytes]:
    """Seal rows, each under its subject's key and bound to its place.

    Args:
        deks: the subjects' keys, 32 bytes each, or their `ciphers`.
        store: `identity` or `attributes`.
        subjects: the subjects' ids, 16 bytes each: pids or aids.
        row_ids: 16 bytes each.
        versions: 0 to 2^32 - 1.
        payloads: what to seal, of any length.

    Returns:
        For each row 01, nonce, ciphertext of the padded payload, tag.

    Raises:
        InputError: a size, a version or the store's name is wrong, or the numbers differ.
    """
    places = _places(store, subjects, row_ids, versions, len(payloads))
    heads, fresh = new_nonces(len(payloads))
    pads = _PADS
    return [
        head + cipher.encrypt(nonce, payload + pads[len(payload) % BLOCK], place)
        for head, nonce, cipher, payload, place in zip(
            heads, fresh, _ready(deks, len(payloads)), payloads, places, strict=True
        )
    ]


def open_rows(
    deks: Sequence[bytes],
    store: str,
    subjects: Sequence[bytes],
    row_ids: Sequence[bytes],
    versions: Sequence[int],
    sealed: Sequence[bytes],
) -> list[bytes]:
    """Open what `seal_rows` made.

    Raises:
        SealBrokenError: a row was altered, moved to another subject, store or id, or is of another version.
        InputError: a size, a version or the store's name is wrong, or the numbers differ.
    """
    places = _places(store, subjects, row_ids, versions, len(sealed))
    _check_sizes(deks, KEY_BYTES, "A subject's key", len(sealed))
    try:
        _check_schemes(sealed)
        return [
            AESGCM(dek).decrypt(row[1:_BODY], row[_BODY:], place).rstrip(b"\x00")[:-1]
            for dek, row, place in zip(deks, sealed, places, strict=True)
        ]
    except (InvalidTag, ValueError):
        raise SealBrokenError(
            "A row was altered, belongs elsewhere, or was exchanged for an older one.",
            "Nothing was opened; restore the store, and find out who can write to it.",
        ) from None


def witness(deks: Sequence[bytes] | Sequence[AESGCM], statements: Sequence[bytes]) -> list[bytes]:
    """Vouch for statements under subjects' keys, without hiding them: AES-256-GCM of nothing, over each.

    Args:
        deks: the subjects' keys, 32 bytes each, or their `ciphers`.
        statements: made with `enc`, beginning with a label that no row or key has.

    Returns:
        01, nonce, tag for each.
    """
    heads, fresh = new_nonces(len(statements))
    return [
        head + cipher.encrypt(nonce, b"", statement)
        for head, nonce, cipher, statement in zip(
            heads, fresh, _ready(deks, len(statements)), statements, strict=True
        )
    ]


def check_witness(deks: Sequence[bytes], statements: Sequence[bytes], seals: Sequence[bytes]) -> None:
    """Check what `witness` made.

    Raises:
        SealBrokenError: a statement is not the one that was vouched for.
    """
    try:
        _check_schemes(seals)
        for dek, statement, seal in zip(deks, statements, seals, strict=True):
            if AESGCM(dek).decrypt(seal[1:_BODY], seal[_BODY:], statement):
                raise InvalidTag
    except (InvalidTag, ValueError):
        raise SealBrokenError(
            "What the store says of a subject is not what was written: a row or a state was exchanged.",
            "Nothing was opened; restore the store, and find out who can write to it.",
        ) from None


def references(deks: Sequence[bytes], subjects: Sequence[bytes]) -> list[bytes]:
    """What the audit log calls subjects, for as long as their keys exist.

    Without the key nobody can tell whose reference it is, nor whether two logs name one person.

    Args:
        deks: the subjects' keys, 32 bytes each.
        subjects: their ids, 16 bytes each.

    Returns:
        32 bytes for each, the same whenever it is asked for: re-wrapping a key does not change it.
    """
    _check_sizes(deks, KEY_BYTES, "A subject's key", len(subjects))
    info = enc("audit-subject/1")
    keys = [HKDFExpand(SHA256(), KEY_BYTES, info).derive(dek) for dek in deks]
    return [prf(key, "audit-subject/1", subject) for key, subject in zip(keys, subjects, strict=True)]


def _ready(deks: Sequence[bytes] | Sequence[AESGCM], count: int) -> Sequence[AESGCM]:
    if len(deks) != count:
        raise InputError("There is one of each for every row.")
    some = [dek for dek in deks if isinstance(dek, bytes)]
    if len(some) == count:
        return ciphers(some)
    return [dek for dek in deks if isinstance(dek, AESGCM)]


# A payload of n bytes is followed by 80 and as many noughts as fill the last block.
_PADS = tuple(b"\x80" + bytes(BLOCK - 1 - used) for used in range(BLOCK))


def _places(
    store: str, subjects: Sequence[bytes], row_ids: Sequence[bytes], versions: Sequence[int], count: int
) -> list[bytes]:
    """enc("row/1", store, subject, row id, version) for each row."""
    if store not in STORES:
        raise InputError("A row is sealed for the identity or the attributes store.")
    _check_sizes(subjects, ID_BYTES, "An internal id", count)
    _check_sizes(row_ids, ID_BYTES, "A row's id", count)
    if len(versions) != count:
        raise InputError("There is one of each for every row.")
    if count and not (min(versions) >= 0 and max(versions) <= LARGEST_VERSION):
        raise InputError("A row's version is a whole number below 2^32.")
    start = (5).to_bytes(2, "big") + enc("row/1", store)[2:] + _ID_LENGTH
    ends = {version: _VERSION_LENGTH + version.to_bytes(4, "big") for version in set(versions)}
    if len(ends) == 1:  # most batches are of one version
        (end,) = ends.values()
        return filled(count, start, subjects, _ID_LENGTH, row_ids, end)
    return [
        start + subject + _ID_LENGTH + row_id + ends[version]
        for subject, row_id, version in zip(subjects, row_ids, versions, strict=True)
    ]


def new_nonces(count: int) -> tuple[list[bytes], list[bytes]]:
    """Random nonces, with and without the scheme byte before them; one system call for all."""
    octets = os.urandom(NONCE_BYTES * count)
    return filled(count, SCHEME, [octets]), divided(octets, NONCE_BYTES)


def _check_schemes(sealed: Sequence[bytes]) -> None:
    if not {row[:1] for row in sealed} <= {SCHEME}:
        raise InvalidTag


def _check_sizes(values: Sequence[bytes], size: int, what: str, count: int | None = None) -> None:
    if count is not None and len(values) != count:
        raise InputError("There is one of each for every row.")
    if not set(map(len, values)) <= {size}:
        raise InputError(f"{what} is {size} bytes.")
