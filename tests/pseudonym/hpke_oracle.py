"""HPKE's base mode written a second time, from RFC 9180 alone: the DH and the AEAD are the library's."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


@dataclass(frozen=True)
class Suite:
    aead: Any
    aead_id: int
    key_bytes: int

    def seal(self, ephemeral: bytes, public: bytes, plain: bytes, info: bytes, bound: bytes = b"") -> bytes:
        secret = X25519PrivateKey.from_private_bytes(ephemeral)
        encapsulated = secret.public_key().public_bytes_raw()
        shared = secret.exchange(X25519PublicKey.from_public_bytes(public))
        key, nonce = self._schedule(shared, encapsulated + public, info)
        return encapsulated + bytes(self.aead(key).encrypt(nonce, plain, bound))

    def open(self, secret: bytes, sealed: bytes, info: bytes, bound: bytes = b"") -> bytes:
        private = X25519PrivateKey.from_private_bytes(secret)
        shared = private.exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
        key, nonce = self._schedule(shared, sealed[:32] + private.public_key().public_bytes_raw(), info)
        return bytes(self.aead(key).decrypt(nonce, sealed[32:], bound))

    def _schedule(self, dh: bytes, kem_context: bytes, info: bytes) -> tuple[bytes, bytes]:
        kem = b"KEM" + (0x0020).to_bytes(2, "big")
        shared = expand(kem, extract(kem, b"", b"eae_prk", dh), b"shared_secret", kem_context, 32)
        suite = b"HPKE" + b"".join(i.to_bytes(2, "big") for i in (0x0020, 0x0001, self.aead_id))
        context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
        secret = extract(suite, shared, b"secret", b"")
        return (
            expand(suite, secret, b"key", context, self.key_bytes),
            expand(suite, secret, b"base_nonce", context, 12),
        )


def extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, hashlib.sha256)


def expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    block, out = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + labelled + bytes([number]), hashlib.sha256)
        out += block
    return out[:length]


AES_128 = Suite(AESGCM, 0x0001, 16)
AES_256 = Suite(AESGCM, 0x0002, 32)
CHACHA = Suite(ChaCha20Poly1305, 0x0003, 32)
