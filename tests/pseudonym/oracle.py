"""Reference numbers and key wrapping, written a second time from the specification alone.

Plain integers and the `openssl` command; nothing of the package is imported, and nothing is done its way:
field elements are multiplied bit by bit, and check symbols are found by trying all 1,024 pairs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TAGS = {"person": "P", "family": "F"}


def openssl_hmac(key: bytes, message: bytes) -> bytes:
    command = ["openssl", "mac", "-digest", "SHA256", "-macopt", f"hexkey:{key.hex()}", "-in", "-", "HMAC"]
    answer = subprocess.run(command, input=message, capture_output=True, check=True)
    return bytes.fromhex(answer.stdout.decode().strip())


def message(*parts: bytes) -> bytes:
    text = f"{len(parts):04x}"
    for part in parts:
        text += f"{len(part):08x}{part.hex()}"
    return bytes.fromhex(text)


def aid(key: bytes, project: str, epoch: int, kind: str, pid: bytes) -> bytes:
    sent = message(b"aid/1", project.encode(), bytes([epoch]), kind.encode(), pid)
    return openssl_hmac(key, sent)[:16]


def urn_message(project: str, recipient: str, epoch: int, kind: str, aid: bytes, counter: int) -> bytes:
    labels = (b"urn/1", project.encode(), recipient.encode(), bytes([epoch]), kind.encode())
    return message(*labels, aid, bytes([counter]))


def urn(key: bytes, project: str, recipient: str, epoch: int, kind: str, aid: bytes, counter: int = 0) -> str:
    digest = openssl_hmac(key, urn_message(project, recipient, epoch, kind, aid, counter))
    bits = "".join(f"{octet:08b}" for octet in digest)[:100]
    payload = "".join(CROCKFORD[int(bits[i : i + 5], 2)] for i in range(0, 100, 5))
    start = TAGS[kind] + CROCKFORD[epoch] + payload
    fitting = [start + c + d for c in CROCKFORD for d in CROCKFORD if fits(start + c + d)]
    assert len(fitting) == 1
    return fitting[0]


def fits(word: str) -> bool:
    return evaluate(word, 0b10) == 0 and evaluate(word, 0b100) == 0


def evaluate(word: str, point: int) -> int:
    """The polynomial with the word's symbols as coefficients, w_0 constant, at a point of GF(32)."""
    total = 0
    for symbol in reversed(word):
        total = multiply(total, point) ^ CROCKFORD.index(symbol)
    return total


def multiply(x: int, y: int) -> int:
    product = 0
    for bit in range(5):
        if y >> bit & 1:
            product ^= x << bit
    for bit in range(8, 4, -1):
        if product >> bit & 1:
            product ^= 0b100101 << (bit - 5)
    return product


def seal_gcm_siv(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    """AES-256-GCM-SIV of RFC 8452, from AES in ECB mode."""

    def aes(key: bytes, block: bytes) -> bytes:
        command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
        return subprocess.run(command, input=block, capture_output=True, check=True).stdout

    blocks = b"".join(i.to_bytes(4, "little") + nonce for i in range(6))
    halves = aes(key, blocks)
    derived = b"".join(halves[16 * i : 16 * i + 8] for i in range(6))
    authentication, encryption = derived[:16], derived[16:]

    lengths = (8 * len(bound)).to_bytes(8, "little") + (8 * len(plain)).to_bytes(8, "little")
    digest = polyval(authentication, padded(bound) + padded(plain) + lengths)
    mixed = bytearray(x ^ y for x, y in zip(digest, nonce + bytes(4), strict=True))
    mixed[15] &= 0x7F
    tag = aes(encryption, bytes(mixed))

    counter = bytearray(tag)
    counter[15] |= 0x80
    first = int.from_bytes(counter[:4], "little")
    count = -(-len(plain) // 16)
    stream = b"".join(((first + i) % 2**32).to_bytes(4, "little") + counter[4:] for i in range(count))
    return bytes(x ^ y for x, y in zip(plain, aes(encryption, stream), strict=False)) + tag


def seal_gcm(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    """AES-256-GCM of NIST SP 800-38D with a nonce of 12 bytes, from AES in ECB mode."""
    count = -(-len(plain) // 16)
    counters = b"".join(nonce + i.to_bytes(4, "big") for i in range(1, count + 2))
    command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
    sent = bytes(16) + counters
    blocks = subprocess.run(command, input=sent, capture_output=True, check=True).stdout
    factor, first, stream = blocks[:16], blocks[16:32], blocks[32:]
    sealed = bytes(x ^ y for x, y in zip(plain, stream, strict=False))
    lengths = (8 * len(bound)).to_bytes(8, "big") + (8 * len(sealed)).to_bytes(8, "big")
    digest = ghash(factor, padded(bound) + padded(sealed) + lengths)
    return sealed + bytes(x ^ y for x, y in zip(digest, first, strict=True))


def ghash(key: bytes, data: bytes) -> bytes:
    """SP 800-38D, 6.4: blocks as polynomials with the first bit as the constant term."""
    factor, total = int.from_bytes(key, "big"), 0
    for i in range(0, len(data), 16):
        total ^= int.from_bytes(data[i : i + 16], "big")
        product, power = 0, factor
        for bit in range(127, -1, -1):
            if total >> bit & 1:
                product ^= power
            power = power >> 1 ^ (0xE1 << 120 if power & 1 else 0)
        total = product
    return total.to_bytes(16, "big")


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def polyval(key: bytes, data: bytes) -> bytes:
    """RFC 8452, section 3: dot(a, b) = a * b * x^-128 over x^128 + x^127 + x^126 + x^121 + 1."""
    modulus = 1 << 128 | 1 << 127 | 1 << 126 | 1 << 121 | 1
    factor, total = int.from_bytes(key, "little"), 0
    for i in range(0, len(data), 16):
        total ^= int.from_bytes(data[i : i + 16], "little")
        product = 0
        for bit in range(128):
            if factor >> bit & 1:
                product ^= total << bit
        for _ in range(128):
            product = (product ^ modulus if product & 1 else product) >> 1
        # The product had at most 255 bits and lost 128 of them.
        total = product
    return total.to_bytes(16, "little")


def share(secret: bytes, coefficients: list[bytes], x: int) -> bytes:
    """A part of a shared secret: polynomials over GF(256), by logarithms to the generator 3."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value ^= value << 1 ^ (0x11B if value & 0x80 else 0)

    def times(a: int, b: int) -> int:
        return powers[(powers.index(a) + powers.index(b)) % 255] if a and b else 0

    part = list(secret)
    factor = 1
    for octets in coefficients:
        factor = times(factor, x)
        part = [a ^ times(b, factor) for a, b in zip(part, octets, strict=True)]
    return bytes(part)


def public_x25519(private: bytes) -> bytes:
    """The public half, by the `openssl` command."""
    command = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
    answer = subprocess.run(command, input=_PRIVATE + private, capture_output=True, check=True).stdout
    return answer.removeprefix(_PUBLIC)


def open_hpke(private: bytes, sealed: bytes, info: bytes, folder: Path) -> bytes:
    """HPKE of RFC 9180 in base mode, with X25519, HKDF-SHA256 and AES-256-GCM; one message, no AAD."""
    enc, ciphertext = sealed[:32], sealed[32:]
    (folder / "own").write_bytes(_PRIVATE + private)
    (folder / "peer").write_bytes(_PUBLIC + enc)
    command = ["openssl", "pkeyutl", "-derive", "-keyform", "DER", "-inkey", str(folder / "own")]
    command += ["-peerform", "DER", "-peerkey", str(folder / "peer")]
    dh = subprocess.run(command, capture_output=True, check=True).stdout

    def extract(suite: bytes, salt: bytes, label: bytes, given: bytes) -> bytes:
        return openssl_hmac(salt or bytes(32), b"HPKE-v1" + suite + label + given)

    def expand(suite: bytes, key: bytes, label: bytes, given: bytes, size: int) -> bytes:
        bound = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + given
        return openssl_hmac(key, bound + b"\x01")[:size]

    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    shared = expand(
        kem, extract(kem, b"", b"eae_prk", dh), b"shared_secret", enc + public_x25519(private), 32
    )
    context = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    key, nonce = expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)
    return open_gcm(key, nonce, ciphertext)


def open_gcm(key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """AES-256-GCM of NIST SP 800-38D without additional data, from AES in ECB mode."""
    command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
    text, tag = sealed[:-16], sealed[-16:]
    counters = b"".join(nonce + i.to_bytes(4, "big") for i in range(1, 2 + -(-len(text) // 16)))
    stream = subprocess.run(command, input=bytes(16) + counters, capture_output=True, check=True).stdout
    h, total = int.from_bytes(stream[:16], "big"), 0
    data = padded(text) + bytes(8) + (8 * len(text)).to_bytes(8, "big")
    for i in range(0, len(data), 16):
        total ^= int.from_bytes(data[i : i + 16], "big")
        product, shifted = 0, total
        for bit in range(127, -1, -1):
            if h >> bit & 1:
                product ^= shifted
            shifted = shifted >> 1 ^ (0xE1 << 120 if shifted & 1 else 0)
        total = product
    found = (total ^ int.from_bytes(stream[16:32], "big")).to_bytes(16, "big")
    assert found == tag
    return bytes(x ^ y for x, y in zip(text, stream[32:], strict=False))


_PRIVATE = bytes.fromhex("302e020100300506032b656e04220420")
_PUBLIC = bytes.fromhex("302a300506032b656e032100")
