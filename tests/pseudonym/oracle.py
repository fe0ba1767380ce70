"""Reference numbers and key wrapping, written a second time from the specification alone.

Plain integers and the `openssl` command; nothing of the package is imported, and nothing is done its way:
field elements are multiplied bit by bit, and check symbols are found by trying all 1,024 pairs.
"""

from __future__ import annotations

import subprocess

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
