"""The vectors of docs/audit.md: made by the second implementation, and the package's own bytes."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pseudonym.audit import Checkpoint, Signer, frames, merkle
from pseudonym.audit.entries import decode, encode, open_details
from tests.pseudonym.audit import oracle

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"
ORIGIN = "kinlink.example/tf/identity"
SIGNING, OFFICER, EPHEMERAL, SALT = (bytes(range(start, start + 32)) for start in (0, 32, 64, 96))
START = 1_795_000_000_000_000
ROWS = [
    (b"role/officer/alice", b"identity.open", b"linkage", b"tf-2026", bytes(range(32)), 3),
    (b"role/operator/host-1", b"keys.rotate", b"operations", b"", b"", 1),
    (b"role/council/e09000033", b"intake.submit", b"linkage", b"tf-2026", b"", 1250),
]


def entries() -> list[bytes]:
    found = []
    for number, (*fields, count) in enumerate(ROWS):
        parts = (*fields, count.to_bytes(8, "big"))
        sealed = [b"", b""] if number else oracle.seal(OFFICER, EPHEMERAL, SALT, b"request 4711", parts)
        numbers = number.to_bytes(8, "big"), (START + 1000 * number).to_bytes(8, "big")
        found.append(oracle.joined(b"audit/1", *numbers, *parts, *sealed))
    return found


def wrapped(name: str, value: bytes) -> str:
    text = value.hex()
    lines = [text[at : at + 96] for at in range(0, len(text), 96)]
    return "\n".join(f"    {name if not at else '':<15}{line}" for at, line in enumerate(lines))


def page() -> str:
    """The vectors as they stand at the end of the page."""
    log = entries()
    private = X25519PrivateKey.from_private_bytes(OFFICER)
    public = Ed25519PrivateKey.from_private_bytes(SIGNING).public_key().public_bytes_raw()
    lines = [wrapped("officer's key", private.public_key().public_bytes_raw())]
    for number, entry in enumerate(log):
        lines += [wrapped(f"entry {number}", entry), wrapped(f"leaf {number}", oracle.sha(b"\x00" + entry))]
    lines += [wrapped(f"root of {size}", oracle.mth(log[:size])) for size in range(4)]
    lines.append(wrapped("inclusion 0", b"".join(oracle.path(0, log))))
    lines.append(wrapped("consistency 2", b"".join(oracle.proof(2, log))))
    lines.append(wrapped("frame's header", oracle.frame(0, log)[:64]))
    text = f"{ORIGIN}\n3\n{base64.b64encode(oracle.mth(log)).decode()}\n"
    note = oracle.note(text, ORIGIN, SIGNING).replace("\n", "\n    ").replace("    \n", "\n").rstrip()
    key = oracle.vkey(ORIGIN, public)
    return (
        "\n".join(lines) + f"\n\nThe public key and the checkpoint of all three:\n\n    {key}\n\n    {note}\n"
    )


def test_the_page_has_the_vectors_of_the_second_implementation():
    assert PAGE.read_text().endswith("\n\n" + page())


def test_the_package_makes_the_same_bytes():
    log = entries()
    for number, entry in enumerate(log):
        read = decode(entry)
        assert encode(number, START + 1000 * number, oracle.joined(*oracle.unjoined(entry)[3:])[2:]) == entry
        assert (read.number, read.microseconds) == (number, START + 1000 * number)
    assert open_details(decode(log[0]), X25519PrivateKey.from_private_bytes(OFFICER)) == b"request 4711"
    assert frames.pack(0, log) == oracle.frame(0, log)
    tree = merkle.Frontier()
    tree.add(map(merkle.leaf_hash, log))
    signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(SIGNING))
    checkpoint = Checkpoint.sign(signer, 3, tree.root())
    lines = PAGE.read_text().splitlines()[-5:]
    assert "".join(f"{line.strip()}\n" for line in lines) == checkpoint.note
    assert f"    {signer.verifier}\n" in PAGE.read_text()
