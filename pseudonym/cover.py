"""Covers: how ids lie in the broker's tables, so that no copy of the tables outlives the key.

The way back needs the pid behind an aid, and the aid behind a reference number, and neither can be computed.
Stored as they are, an old backup would keep every way back open for ever. Stored covered, the backup dies
with the key: the project's for pids, the recipient's for aids.

A cover is one AES-256 block: a keyed permutation of the 16-byte ids. Equal ids have equal covers, which is
all that it shows; it is fit for ids that are random and distinct, and for nothing else. A cover proves
nothing
either: any 16 bytes uncover to some id. Whoever uncovers makes the aid or the number again from what came
    out, and
compares: two keyed functions of 100 bits or more do not agree by accident.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from pseudonym.errors import InputError
from pseudonym.forms import divided
from pseudonym.urn import ID_BYTES, AidKey, UrnKey


def cover(key: AidKey | UrnKey, ids: Sequence[bytes]) -> list[bytes]:
    """The ids, unreadable without `key`, in the same order.

    Args:
        key: the project's, for pids and fids; the recipient's, for aids.
        ids: 16 random bytes each.

    Raises:
        InputError: an id has another size.
    """
    return divided(_permutation(key).encryptor().update(_joined(ids)), ID_BYTES)


def uncover(key: AidKey | UrnKey, covers: Sequence[bytes]) -> list[bytes]:
    """The ids behind covers made with the same key; some other 16 bytes, silently, behind any others."""
    return divided(_permutation(key).decryptor().update(_joined(covers)), ID_BYTES)


def _permutation(key: AidKey | UrnKey) -> Cipher[ECB]:
    return Cipher(AES256(key.derive("cover/1")), ECB())


def _joined(blocks: Sequence[bytes]) -> bytes:
    if not set(map(len, blocks)) <= {ID_BYTES}:
        raise InputError(f"An internal id is {ID_BYTES} bytes.", "Make one with os.urandom(16).")
    return b"".join(blocks)
