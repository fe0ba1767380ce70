"""The council's own key: it makes batch ids and row references that nobody else can try out.

The same content has the same batch id and the same references under it, so that a file that is divided again
is the same submission. It is made when it is first needed, lies beside the layout, and never leaves the
council.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from pseudonym.errors import TamperedError
from pseudonym.files import canonical, parse, read_secret_file, replace_file
from pseudonym.urn import prf

FORMAT = "kinlink-council-key/1"
KEY_BYTES = 32


def council_key(path: Path) -> tuple[bytes, bool]:
    """The key in a file, and whether it was made just now.

    Raises:
        KeysetError: the file is open to others, is no key, or cannot be written.
    """
    if not path.exists():
        key = os.urandom(KEY_BYTES)
        replace_file(path, canonical({"format": FORMAT, "key": key.hex()}))
        return key, True
    content = parse(read_secret_file(path, "council's key"), "council's key")
    try:
        key = bytes.fromhex(content["key"])
    except (KeyError, TypeError, ValueError):
        key = b""
    if content.get("format") != FORMAT or len(key) != KEY_BYTES:
        raise TamperedError("The council's key is none.", "Restore it, or name another file.")
    return key, False


def stream(key: bytes, *parts: bytes | str) -> Callable[[int], bytes]:
    """Bytes without end that depend on the key and the parts alone: like `os.urandom` to everybody else."""
    # ChaCha20 under a key of its own; so its nonce may be noughts.
    cipher = Cipher(algorithms.ChaCha20(prf(key, *parts), bytes(16)), mode=None).encryptor()
    return lambda count: cipher.update(bytes(count))
