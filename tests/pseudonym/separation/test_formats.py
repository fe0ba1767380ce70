"""What docs/broker-and-attributes.md fixes, computed a second time: with hashlib, hmac and openssl."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym.certificates import sign
from pseudonym.cover import cover, uncover
from pseudonym.datasets import Dataset, Kind
from pseudonym.destruction import certificate
from pseudonym.errors import InputError
from pseudonym.ledger import Ledger, LedgerKey, What
from pseudonym.urn import AidKey, UrnKey
from tests.missing import missing
from tests.pseudonym.separation.parts import PROJECT, attributes, column, declared, ids, kek, values

KEY = bytes(range(32))


def enc(*parts: bytes | str) -> bytes:
    octets = [part.encode() if isinstance(part, str) else part for part in parts]
    return len(octets).to_bytes(2, "big") + b"".join(len(part).to_bytes(4, "big") + part for part in octets)


def prf(key: bytes, *parts: bytes | str) -> bytes:
    return hmac.new(key, enc(*parts), hashlib.sha256).digest()


def openssl(key: bytes, data: bytes) -> bytes:
    command = ["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def test_covers():
    if shutil.which("openssl") is None:
        missing("computes with the openssl command")
    some = ids(50)
    for key, subkey in (
        (AidKey(KEY, "tf-2026"), prf(KEY, "cover/1", "aid/1", "tf-2026")),
        (UrnKey(KEY, "tf-2026", "dwp", 3), prf(KEY, "cover/1", "urn/1", "tf-2026", "dwp", b"\x03")),
    ):
        covers = cover(key, some)
        assert b"".join(covers) == openssl(subkey, b"".join(some))
        assert uncover(key, covers) == some
        assert cover(key, []) == []
        with pytest.raises(InputError):
            cover(key, [b"short"])


def test_the_ledger(tmp_path):
    subject = ids(1)[0]
    with Ledger.open(tmp_path / "l", LedgerKey(KEY, "broker")) as ledger:
        ledger.append(What.SUBJECT, [subject], 20_000)
        ledger.append(What.DOMAIN, [enc("tf-2026", "dwp", b"\x01")], 20_001)
    chaining = prf(KEY, "erasures-chain/1", "broker")

    def link(before: bytes, number: int, what: str, day: int, reference: bytes) -> bytes:
        return prf(chaining, before, number.to_bytes(8, "big"), what, day.to_bytes(4, "big"), reference)

    chain = link(bytes(32), 0, "project", 0, bytes(16))
    lines = [f"kinlink-erasures/1 broker {chain.hex()}"]
    entries = [("subject", 20_000, subject), ("domain", 20_001, enc("tf-2026", "dwp", b"\x01"))]
    for number, (what, day, one) in enumerate(entries, 1):
        reference = prf(KEY, "erased/1", "broker", what, one)[:16]
        chain = link(chain, number, what, day, reference)
        lines.append(f"{number} {what} {day} {reference.hex()} {chain.hex()}")
    assert (tmp_path / "l").read_text() == "\n".join(lines) + "\n"


def test_a_certificate():
    key = Ed25519PrivateKey.generate()
    facts = certificate(
        "broker", "tf-2026", "Keys", ["é"], moment=0, kids=[], counts={"urn": 1}, ledger=bytes(32)
    )
    content = json.loads(sign(facts, key))
    value = bytes.fromhex(content.pop("signature")["value"])
    body = json.dumps(content, sort_keys=True, indent=1) + "\n"
    key.public_key().verify(value, enc("certificate/1", body))


def test_the_declaration_that_the_page_shows_is_one():
    page = (Path(__file__).parents[3] / "docs" / "stores.md").read_text()
    shown = page.split("## The declaration of a dataset")[1].split("```json")[1].split("```")[0]
    dataset = Dataset.from_json(shown)
    assert dataset.column("cost").high == 10**6 * 10**2
    assert Dataset.from_json(dataset.to_json()) == dataset
    assert {column["kind"] for column in json.loads(shown)["columns"]} == {"integer", "decimal", "code"}
    told = page.split("| kind | values")[1].split("\n\n")[0]
    assert all(f"`{kind}`" in told for kind in Kind)


def test_a_waiting_value_is_bound_to_its_dataset_as_the_page_says(tmp_path):
    (ref,) = ids(1)
    with attributes(f"sqlite:///{tmp_path / 'a.db'}", tmp_path) as store:
        declared(store).intake.receive(PROJECT, "ks2", "b", values(1).with_columns(column(row_ref=[ref])))
        rows = store.intake._rows
        with rows.read() as at:
            project = rows.project(at, PROJECT).number
            number, _ = rows.dataset(at, project, "ks2")
            here, batches = rows.halves(at, project, [ref])
    batch_key, sealed = here[ref]
    assert sealed is not None
    dek = kek().unwrap(batches[batch_key].wrapped, batch_key)
    place = hashlib.sha256(enc("half/1", PROJECT, number.to_bytes(4, "big"))).digest()[:16]
    said = enc("row/1", "attributes", ref, place, bytes(4))
    assert AESGCM(dek).decrypt(sealed[1:13], sealed[13:], said).startswith(b'\0\0\0\1{"score":')
