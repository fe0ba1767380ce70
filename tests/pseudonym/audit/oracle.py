"""The audit log a second time, from the specifications alone: RFC 9162, RFC 9180, C2SP, docs/audit.md.

Nothing of the package is imported. Trees are computed by the RFC's recursive definitions, over all leaves,
every time; HPKE is put together from X25519, HMAC and AES-GCM.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import astuple, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# --- RFC 9162, 2.1 ---------------------------------------------------------------------------------


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    if not d:
        return sha(b"")
    if len(d) == 1:
        return sha(b"\x00" + d[0])
    k = split(len(d))
    return sha(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: list[bytes]) -> list[bytes]:
    return subproof(m, d, True)


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


# --- RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 ------------------------------------

KEM_SUITE = b"KEM\x00\x20"
AEADS = {16: b"\x00\x01", 32: b"\x00\x02"}  # key size: AES-128-GCM, AES-256-GCM


def extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(prk: bytes, suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
    message = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, message + b"\x01", "sha256")[:size]


def schedule(shared: bytes, enc: bytes, receiver: bytes, info: bytes, key_size: int) -> tuple[AESGCM, bytes]:
    prk = extract(b"", KEM_SUITE, b"eae_prk", shared)
    secret = expand(prk, KEM_SUITE, b"shared_secret", enc + receiver, 32)
    suite = b"HPKE\x00\x20\x00\x01" + AEADS[key_size]
    context = b"\x00" + extract(b"", suite, b"psk_id_hash", b"") + extract(b"", suite, b"info_hash", info)
    final = extract(secret, suite, b"secret", b"")
    key, nonce = (
        expand(final, suite, b"key", context, key_size),
        expand(final, suite, b"base_nonce", context, 12),
    )
    return AESGCM(key), nonce


def hpke_open(private: bytes, sealed: bytes, info: bytes, key_size: int = 32, aad: bytes = b"") -> bytes:
    key = X25519PrivateKey.from_private_bytes(private)
    shared = key.exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
    aead, nonce = schedule(shared, sealed[:32], key.public_key().public_bytes_raw(), info, key_size)
    return aead.decrypt(nonce, sealed[32:], aad)


def hpke_seal(public: bytes, ephemeral: bytes, plain: bytes, info: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(ephemeral)
    shared, enc = key.exchange(X25519PublicKey.from_public_bytes(public)), key.public_key().public_bytes_raw()
    aead, nonce = schedule(shared, enc, public, info, 32)
    return enc + aead.encrypt(nonce, plain, b"")


# --- docs/audit.md: entries ------------------------------------------------------------------------


def joined(*parts: bytes) -> bytes:
    text = f"{len(parts):04x}"
    for part in parts:
        text += f"{len(part):08x}{part.hex()}"
    return bytes.fromhex(text)


def unjoined(data: bytes) -> list[bytes]:
    text = data.hex()
    count, at, parts = int(text[:4], 16), 4, []
    for _ in range(count):
        size = 2 * int(text[at : at + 8], 16)
        parts.append(bytes.fromhex(text[at + 8 : at + 8 + size]))
        at += 8 + size
    assert at == len(text)
    assert joined(*parts) == data
    return parts


@dataclass
class Said:
    mark: bytes
    number: bytes
    time: bytes
    actor: bytes
    action: bytes
    purpose: bytes
    project: bytes
    subject: bytes
    count: bytes
    digest: bytes
    sealed: bytes


def said(entry: bytes) -> Said:
    return Said(*unjoined(entry))


def details_info(entry: Said) -> bytes:
    return joined(b"audit-details/1", *astuple(entry)[3:10])


def details(entry: Said, private: bytes) -> bytes:
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    assert entry.sealed[:9] == b"\x01" + sha(public)[:8]
    plain = hpke_open(private, entry.sealed[9:], details_info(entry))
    assert len(plain) % 64 == 0
    size = int.from_bytes(plain[32:36], "big")
    clear = plain[36 : 36 + size]
    assert not any(plain[36 + size :])
    assert sha(joined(b"audit-digest/1", plain[:32], clear)) == entry.digest
    return clear


def seal(
    private: bytes, ephemeral: bytes, salt: bytes, clear: bytes, fields: tuple[bytes, ...]
) -> list[bytes]:
    """Digest and sealed details of an entry whose open fields from the actor to the count are given."""
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    digest = sha(joined(b"audit-digest/1", salt, clear))
    plain = salt + len(clear).to_bytes(4, "big") + clear
    plain += bytes(-len(plain) % 64)
    info = joined(b"audit-details/1", *fields, digest)
    return [digest, b"\x01" + sha(public)[:8] + hpke_seal(public, ephemeral, plain, info)]


def frames(data: bytes) -> list[tuple[int, list[bytes]]]:
    """First number and entries of each frame of a whole file."""
    found, at = [], 0
    while at < len(data):
        head = data[at : at + 64]
        assert head[:8] == b"KLAUDIT1"
        assert head[56:] == sha(head[:56])[:8]
        first, count, size = (int.from_bytes(head[i:j], "big") for i, j in ((8, 16), (16, 20), (20, 24)))
        body = data[at + 64 : at + 64 + size]
        assert sha(body) == head[24:56]
        entries = []
        while body:
            length = int.from_bytes(body[:4], "big")
            entries.append(body[4 : 4 + length])
            body = body[4 + length :]
        assert len(entries) == count
        found.append((first, entries))
        at += 64 + size
    assert at == len(data)
    return found


def frame(first: int, entries: list[bytes]) -> bytes:
    body = b"".join(len(entry).to_bytes(4, "big") + entry for entry in entries)
    numbers = first.to_bytes(8, "big") + len(entries).to_bytes(4, "big") + len(body).to_bytes(4, "big")
    head = b"KLAUDIT1" + numbers + sha(body)
    return head + sha(head)[:8] + body


def entries(folder: Path) -> list[bytes]:
    found: list[bytes] = []
    for first, some in frames((folder / "entries").read_bytes()):
        assert first == len(found)
        found += some
    return found


# --- C2SP signed-note and tlog-checkpoint ------------------------------------------------------------


def vkey(name: str, public: bytes) -> str:
    key_id = sha(name.encode() + b"\n\x01" + public)[:4]
    return "+".join([name, key_id.hex(), base64.b64encode(b"\x01" + public).decode()])


def note(text: str, name: str, private: bytes) -> str:
    key = Ed25519PrivateKey.from_private_bytes(private)
    key_id = sha(name.encode() + b"\n\x01" + key.public_key().public_bytes_raw())[:4]
    return f"{text}\n— {name} {base64.b64encode(key_id + key.sign(text.encode())).decode()}\n"


def checkpoint(note: bytes, key: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint with one signature, which is checked."""
    name, key_id, public = key.split("+", 2)
    text, signature = note.decode().split("\n\n— ")
    signer, encoded = signature.rstrip("\n").split(" ")
    assert signer == name
    data = base64.b64decode(encoded)
    assert data[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(base64.b64decode(public)[1:]).verify(data[4:], f"{text}\n".encode())
    origin, size, root = text.split("\n")
    return origin, int(size), base64.b64decode(root)


def verified(folder: Path, kept: Path, key: str, most: int = 1000) -> int:
    """Check a closed log against its checkpoints by definition alone; the number of its entries.

    Each checkpoint is computed from all leaves before it, so of many only so many are, evenly spread.
    """
    log = entries(folder)
    moments = []
    for number, entry in enumerate(log):
        parts = said(entry)
        assert parts.mark == b"audit/1"
        assert int.from_bytes(parts.number, "big") == number
        moments.append(int.from_bytes(parts.time, "big"))
    assert moments == sorted(moments)
    newest = 0
    history = sorted((kept / "history").glob("[0-9]" * 16))
    for file in [*history[:: len(history) // most + 1], kept / "checkpoint"]:
        origin, size, root = checkpoint(file.read_bytes(), key)
        assert origin == key.split("+")[0]
        assert size <= len(log)
        assert mth(log[:size]) == root
        newest = max(newest, size)
    assert newest == len(log)
    return len(log)
