"""What the register of persons is sealed with: one key, wrapped under the KEK, and keys derived from it.

    key ─X─▶ tag: where something is, found again without being told
        └─X─▶ head, event, place, part, message: AES-256-GCM-SIV, each bound to its place

The rules this module keeps (`docs/sealing.md` states the formats):

- The key is drawn once and wrapped under the month's KEK like a person's: a copy of the store from before the
  month's KEK was destroyed opens nothing by itself.
- Nothing opens in another place than its own, or as something else.
- Lengths are hidden: of places wholly, of parts up to 256 bytes, of events and messages up to 4 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pseudonym.errors import SealBrokenError
from pseudonym.holders import PrfKey
from pseudonym.seal import NONCE_BYTES, SCHEME, new_nonces
from pseudonym.urn import ID_BYTES, KEY_BYTES, enc

KEY_ID: Final = b"register/1".ljust(ID_BYTES, b"\0")
"""What the key is bound to where a person's is bound to the pid."""
BLOCKS: Final = {"head": 64, "place": 64, "part": 512, "event": 4096, "message": 4096}
_BODY = 1 + NONCE_BYTES


class RegisterKeys:
    """The register's keys, opened. They cannot be printed."""

    __slots__ = ("_ciphers", "_tag")

    def __init__(self, secret: bytes) -> None:
        def derived(what: str) -> bytes:
            return HKDFExpand(SHA256(), KEY_BYTES, enc("register-key/1", what)).derive(secret)

        self._tag = PrfKey("register", derived("tag"))
        self._ciphers = {what: AESGCMSIV(derived(what)) for what in BLOCKS}

    def __repr__(self) -> str:
        return "RegisterKeys()"

    def tags(self, what: str, ids: Sequence[bytes]) -> list[bytes]:
        """Where something is kept: 16 bytes for each id, of which nothing tells whose they are.

        Args:
            what: such as `person-unit`; ids of two sorts have unlike tags.
            ids: 16 bytes each.
        """
        start = enc("register-tag/1", what, bytes(ID_BYTES))[:-ID_BYTES]
        return [digest[:ID_BYTES] for digest in self._tag.digests([start + one for one in ids])]

    def number(self, what: str, one: bytes, below: int) -> int:
        """A whole number that depends on an id and tells nothing of it."""
        return int.from_bytes(self._tag.prf("register-number/1", what, one)[:8], "big") % below

    def seal(self, what: str, places: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
        """Seal payloads, each bound to its place: 01, nonce, ciphertext of the padded payload, tag."""
        encrypt, block, start = self._ciphers[what].encrypt, BLOCKS[what], enc(f"register-{what}/1")
        pads = {size: b"\x80" + bytes(-(size + 1) % block) for size in set(map(len, payloads))}
        heads, nonces = new_nonces(len(payloads))
        return [
            head + encrypt(nonce, payload + pads[len(payload)], start + place)
            for head, nonce, payload, place in zip(heads, nonces, payloads, places, strict=True)
        ]

    def open(self, what: str, places: Sequence[bytes], sealed: Sequence[bytes]) -> list[bytes]:
        """Open what `seal` made.

        Raises:
            SealBrokenError: one was altered, or is another's.
        """
        decrypt, start = self._ciphers[what].decrypt, enc(f"register-{what}/1")
        try:
            if any(one[:1] != SCHEME for one in sealed):
                raise InvalidTag
            return [
                decrypt(one[1:_BODY], one[_BODY:], start + place).rstrip(b"\0")[:-1]
                for one, place in zip(sealed, places, strict=True)
            ]
        except (InvalidTag, ValueError):
            raise SealBrokenError(
                "What the register of persons holds was altered or exchanged.",
                "Nothing was changed; restore the store, and find out who can write to it.",
            ) from None
