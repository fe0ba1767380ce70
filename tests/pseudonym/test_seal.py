"""Sealing: what opens, what does not, and the same bytes from an independent implementation."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from pseudonym import errors, seal
from pseudonym.blind import field_key
from pseudonym.seal import Kek
from pseudonym.subjects import Place, new_statements, statement
from pseudonym.urn import enc

KEY = bytes(range(32))
PID, OTHER = bytes(range(16)), bytes(range(1, 17))
ROW = bytes(range(16, 32))
KID = "00112233445566aa"


def gcm_open(key, nonce, sealed, bound):
    """AES-256-GCM from the general interface of ciphers, not the one that the package uses."""
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce, sealed[-16:])).decryptor()
    cipher.authenticate_additional_data(bound)
    return cipher.update(sealed[:-16]) + cipher.finalize()


@given(
    payload=st.binary(max_size=300),
    version=st.integers(0, 2**32 - 1),
    store=st.sampled_from(["identity", "attributes"]),
)
def test_a_row_opens_as_the_specification_says(payload, version, store, oracle):
    sealed = seal.seal_row(KEY, store, PID, ROW, version, payload)
    bound = oracle.message(b"row/1", store.encode(), PID, ROW, version.to_bytes(4, "big"))
    assert sealed[:1] == b"\x01"
    padded = gcm_open(KEY, sealed[1:13], sealed[13:], bound)
    assert len(padded) % 64 == 0
    assert len(padded) - len(payload) <= 64
    assert padded == payload + b"\x80" + bytes(len(padded) - len(payload) - 1)
    assert seal.open_row(KEY, store, PID, ROW, version, sealed) == payload


def test_a_key_is_wrapped_as_the_specification_says(oracle):
    kek = Kek(KID, KEY)
    dek = bytes(range(32, 64))
    wrapped = kek.wrap(dek, PID)
    bound = oracle.message(b"dek/1", PID, KID.encode())
    assert len(wrapped) == seal.WRAPPED_BYTES
    assert wrapped == b"\x01" + wrapped[1:13] + oracle.seal_gcm_siv(KEY, wrapped[1:13], dek, bound)
    assert kek.unwrap(wrapped, PID) == dek


def test_a_row_opens_in_its_own_place_only():
    sealed = seal.seal_row(KEY, "identity", PID, ROW, 2, b"payload")
    for place in [
        ("attributes", PID, ROW, 2),
        ("identity", OTHER, ROW, 2),
        ("identity", PID, OTHER, 2),
        ("identity", ROW, PID, 2),
        ("identity", PID, ROW, 1),
        ("identity", PID, ROW, 3),
    ]:
        with pytest.raises(errors.SealBrokenError):
            seal.open_row(KEY, *place, sealed)
    with pytest.raises(errors.TamperedError):
        seal.open_row(bytes(32), "identity", PID, ROW, 2, sealed)


def test_every_bit_of_a_sealed_row_counts():
    sealed = seal.seal_row(KEY, "identity", PID, ROW, 2, b"payload")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.SealBrokenError):
            seal.open_row(KEY, "identity", PID, ROW, 2, bytes(altered))
    for length in range(len(sealed)):
        with pytest.raises(errors.SealBrokenError):
            seal.open_row(KEY, "identity", PID, ROW, 2, sealed[:length])
    with pytest.raises(errors.SealBrokenError):
        seal.open_row(KEY, "identity", PID, ROW, 2, sealed + b"\0")


def test_a_wrapped_key_opens_for_its_subject_and_kek_only():
    kek = Kek(KID, KEY)
    wrapped = kek.wrap(bytes(32), PID)
    for other, pid, octets in [
        (kek, OTHER, wrapped),
        (Kek("0011223344556677", KEY), PID, wrapped),
        (Kek(KID, bytes(32)), PID, wrapped),
        (kek, PID, wrapped[:-1]),
        (kek, PID, b"\x02" + wrapped[1:]),
        (kek, PID, b""),
    ]:
        with pytest.raises(errors.SealBrokenError):
            other.unwrap(octets, pid)


def test_a_witnessed_statement_is_the_only_one_that_passes():
    (sealed,) = seal.witness([KEY], [b"statement"])
    seal.check_witness([KEY], [b"statement"], [sealed])
    row = seal.seal_row(KEY, "identity", PID, ROW, 1, b"")
    for key, said, octets in [
        (KEY, b"Statement", sealed),
        (bytes(32), b"statement", sealed),
        (KEY, b"statement", sealed[:-1]),
        (KEY, b"statement", b"\x02" + sealed[1:]),
        (KEY, b"statement", row),
    ]:
        with pytest.raises(errors.SealBrokenError):
            seal.check_witness([key], [said], [octets])


def test_batches_are_the_same_as_one_at_a_time():
    count = 300
    deks = seal.new_deks(count)
    assert len(set(deks)) == count
    pids = [n.to_bytes(16, "big") for n in range(count)]
    rows = [bytes(15 - n // 256) + n.to_bytes(1 + n // 256, "big") for n in range(256)] + pids[256:]
    versions = [n % 7 for n in range(count)]
    payloads = [bytes(n) for n in range(count)]
    sealed = seal.seal_rows(deks, "identity", pids, rows, versions, payloads)
    assert seal.open_rows(deks, "identity", pids, rows, versions, sealed) == payloads
    for i in range(0, count, 17):
        opened = seal.open_row(deks[i], "identity", pids[i], rows[i], versions[i], sealed[i])
        assert opened == payloads[i]
    assert len({row[1:13] for row in sealed}) == count
    kek = Kek(KID, KEY)
    wrapped = kek.wrap_all(deks, pids)
    assert kek.unwrap_all(wrapped, pids) == deks
    assert kek.wrap_all([], []) == kek.unwrap_all([], []) == []
    assert seal.seal_rows([], "identity", [], [], [], []) == []
    sealed[40], sealed[41] = sealed[41], sealed[40]
    with pytest.raises(errors.SealBrokenError):
        seal.open_rows(deks, "identity", pids, rows, versions, sealed)


def test_lengths_are_hidden_up_to_a_block():
    sizes = {len(seal.seal_row(KEY, "identity", PID, ROW, 1, bytes(n))) for n in range(64)}
    assert len(sizes) == 1
    assert len(seal.seal_row(KEY, "identity", PID, ROW, 1, bytes(64))) == sizes.pop() + 64


@pytest.mark.parametrize(
    "arguments",
    [
        (KEY[1:], "identity", PID, ROW, 1),
        (KEY, "elsewhere", PID, ROW, 1),
        (KEY, "identity", PID[1:], ROW, 1),
        (KEY, "identity", PID, ROW + b"\0", 1),
        (KEY, "identity", PID, ROW, -1),
        (KEY, "identity", PID, ROW, 2**32),
    ],
)
def test_what_has_not_the_right_form_is_refused(arguments):
    dek, store, subject, row_id, version = arguments
    with pytest.raises(errors.InputError):
        seal.seal_row(dek, store, subject, row_id, version, b"")
    with pytest.raises(errors.InputError):
        seal.open_row(dek, store, subject, row_id, version, bytes(93))


def test_numbers_of_rows_must_agree():
    with pytest.raises(errors.InputError):
        seal.seal_rows([KEY], "identity", [PID, PID], [ROW, ROW], [1, 1], [b"", b""])
    with pytest.raises(errors.InputError):
        seal.seal_rows([KEY], "identity", [PID], [ROW], [1, 2], [b""])
    with pytest.raises(errors.InputError):
        Kek(KID, KEY).wrap_all([KEY, KEY], [PID])
    with pytest.raises(errors.InputError):
        Kek(KID, KEY).wrap(KEY[1:], PID)
    for kid, secret in [(KID, KEY[1:]), ("", KEY)]:
        with pytest.raises(errors.InputError):
            Kek(kid, secret)


def test_a_kek_does_not_show_itself():
    kek = Kek(KID, KEY)
    assert KEY.hex() not in repr(kek)
    assert not hasattr(kek, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(kek)


def vectors():
    """The values in docs/sealing.md, by what stands before them, section by section."""
    text = (Path(__file__).parents[2] / "docs" / "sealing.md").read_text().partition("## Vectors")[2]
    return [
        dict(re.findall(r"^    (\w+(?: \w+)?) {2,}(.*)$", block, re.MULTILINE))
        for block in text.split("\n\n")
        if block.startswith("    ")
    ]


def test_published_vectors(oracle):
    row, key, stated, tag = vectors()
    nonce = bytes(range(12))
    payload = b'{"nhs":"9434765919"}'
    padded = payload + b"\x80" + bytes(43)
    sealed, bound = bytes.fromhex(row["sealed"]), bytes.fromhex(row["bound to"])
    assert sealed == b"\x01" + nonce + oracle.seal_gcm(KEY, nonce, padded, bound)
    assert seal.open_row(KEY, "identity", PID, ROW, 1, sealed) == payload

    wrapped, bound = bytes.fromhex(key["wrapped"]), bytes.fromhex(key["bound to"])
    dek = bytes(range(32, 64))
    assert wrapped == b"\x01" + nonce + oracle.seal_gcm_siv(KEY, nonce, dek, bound)
    assert Kek(KID, KEY).unwrap(wrapped, PID) == dek

    said, vouched = bytes.fromhex(stated["bound to"]), bytes.fromhex(stated["seal"])
    assert vouched == b"\x01" + nonce + oracle.seal_gcm(KEY, nonce, b"", said)
    seal.check_witness([KEY], [said], [vouched])
    subject = {
        "pid": PID,
        "kind": "person",
        "state": "active",
        "version": 1,
        "created_day": 20_000,
        "superseded_by": None,
    }
    assert statement(subject, [Place(ROW, 1, 20_000, "council")]) == said
    assert new_statements([PID], [ROW], "person", 20_000, "council") == [said]

    assert field_key(KEY, "nhs", 1).hex() == tag["field key"]
    assert (
        oracle.openssl_hmac(bytes.fromhex(tag["field key"]), bytes.fromhex(tag["message"])).hex()
        == tag["PRF"]
    )


def test_the_second_implementation_agrees_with_published_gcm(oracle):
    """Test case 14 of McGrew and Viega's specification of GCM."""
    sealed = oracle.seal_gcm(bytes(32), bytes(12), bytes(16), b"")
    assert sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_stated_of_people_is_the_parts_that_are_documented(count):
    rows = [bytes([n]) * 16 for n in range(count)]
    number = (1).to_bytes(4, "big"), (20_000).to_bytes(4, "big")
    about: list[bytes | str] = ["subject/1", PID, "family", "active", *number]
    ends = [row + b"".join(number) + "Ça".encode() for row in rows]
    subject = {"pid": PID, "kind": "family", "state": "active", "version": 1, "created_day": 20_000}
    places = [Place(row, 1, 20_000, "Ça") for row in rows]
    assert statement({**subject, "superseded_by": KEY[:16]}, places) == enc(*about, KEY[:16], *ends)
    new = statement({**subject, "superseded_by": None}, places)
    assert new == enc(*about, b"", *ends)
    assert new_statements([PID], [b"".join(rows)], "family", 20_000, "Ça") == [new]
