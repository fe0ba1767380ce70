"""The ledger of erasures, and certificates."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.certificates import key_id, sign, verify
from pseudonym.destruction import certificate
from pseudonym.erasure import domain_id
from pseudonym.errors import CertificateError, InputError, LedgerError, StoreError
from pseudonym.ledger import Ledger, LedgerKey, What
from pseudonym.urn import prf
from tests.pseudonym.separation.parts import NOON, ids


@pytest.fixture
def key():
    return LedgerKey(bytes(range(32)), "attributes")


def test_references_are_keyed_and_name_nobody(tmp_path, key):
    some = ids(3)
    with Ledger.open(tmp_path / "l", key) as ledger:
        ledger.append(What.SUBJECT, some, 20_000)
        ledger.append(What.PROJECT, [b"tf-2026"], 20_001)
        ledger.append(What.DOMAIN, [domain_id("tf-2026", "dwp", 1)], 20_001)
        assert ledger.erased(What.SUBJECT, [some[1], bytes(16)]) == [True, False]
        assert ledger.erased(What.PROJECT, [some[1]]) == [False]
        expected = [prf(bytes(range(32)), "erased/1", "attributes", "subject", one)[:16] for one in some]
        assert [entry.reference for entry in ledger._entries][:3] == expected
        project = prf(bytes(range(32)), "erased/1", "attributes", "project", "tf-2026")[:16]
        assert ledger._entries[3].reference == project
    data = (tmp_path / "l").read_bytes()
    for one in (*some, b"tf-2026", b"dwp"):
        assert one not in data
        assert one.hex().encode() not in data
    assert (tmp_path / "l").stat().st_mode & 0o777 == 0o600
    assert LedgerKey(bytes(range(32)), "broker").references(What.SUBJECT, some) != expected


def test_what_is_there_is_not_written_again_and_comes_back(tmp_path, key):
    some = ids(4)
    with Ledger.open(tmp_path / "l", key) as ledger:
        ledger.append(What.SUBJECT, [some[0], some[0], some[1]], 1)
        ledger.append(What.SUBJECT, some, 2)
        assert (ledger.size, [entry.day for entry in ledger._entries]) == (4, [1, 1, 2, 2])
        digests = [ledger.digest_at(number) for number in range(5)]
        with pytest.raises(LedgerError):
            Ledger.open(tmp_path / "l", key)
    with Ledger.open(tmp_path / "l", key) as ledger:
        assert [ledger.digest_at(number) for number in range(5)] == digests
        assert ledger.digest == digests[-1]


def test_half_a_line_at_the_end_is_cut_off(tmp_path, key):
    with Ledger.open(tmp_path / "l", key) as ledger:
        ledger.append(What.SUBJECT, ids(3), 1)
    whole = (tmp_path / "l").read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(lines[0]), len(whole)):
        for rest in (b"", bytes(40)):
            (tmp_path / "l").write_bytes(whole[:cut] + rest)
            with Ledger.open(tmp_path / "l", key) as ledger:
                kept = whole[:cut].count(b"\n") - 1
                assert ledger.size == kept
                ledger.append(What.SUBJECT, ids(1), 2)
            with Ledger.open(tmp_path / "l", key) as ledger:
                assert ledger.size == kept + 1
    for cut in range(len(lines[0])):  # the very first write was cut off
        (tmp_path / "l").write_bytes(whole[:cut])
        with Ledger.open(tmp_path / "l", key) as ledger:
            assert ledger.size == 0


def test_noughts_with_anything_after_them_are_no_crash_and_are_left_as_they_are(tmp_path, key):
    path = tmp_path / "l"
    with Ledger.open(path, key) as ledger:
        ledger.append(What.SUBJECT, ids(4), 1)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    wrong = [whole[:place] + b"\0" + whole[place + 1 :] for place in range(len(whole) - 1)]
    wrong += [bytes(len(whole)), whole[:last] + bytes(40) + b"5", bytes(1) + whole[1:40]]
    for data in wrong:
        path.write_bytes(data)
        with pytest.raises(LedgerError):
            Ledger.open(path, key)
        assert path.read_bytes() == data


def test_opening_alone_cuts_nothing_off(tmp_path, key):
    path = tmp_path / "l"
    with Ledger.open(path, key) as ledger:
        ledger.append(What.SUBJECT, ids(2), 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with Ledger.open(path, key) as ledger:
        assert ledger.size == 1
    assert path.read_bytes() == whole[:-9]


def test_an_append_that_the_disk_did_not_take_leaves_nothing(tmp_path, key):
    path, some = tmp_path / "l", ids(3)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Ledger.open(path, key) as ledger:
        ledger.append(What.SUBJECT, some[:1], 1)
        before = path.read_bytes()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 60, hard))
            with pytest.raises(StoreError):
                ledger.append(What.SUBJECT, some[1:2], 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == before
        assert ledger.erased(What.SUBJECT, some) == [True, False, False]
        ledger.append(What.SUBJECT, some[2:], 2)
    with Ledger.open(path, key) as ledger:
        assert ledger.erased(What.SUBJECT, some) == [True, False, True]


def test_anything_else_is_refused(tmp_path, key):
    with Ledger.open(tmp_path / "l", key) as ledger:
        ledger.append(What.SUBJECT, ids(3), 1)
    whole = (tmp_path / "l").read_bytes()
    header, *lines = whole.splitlines(keepends=True)
    swapped = header + lines[1] + lines[0] + lines[2]
    missing = header + lines[0] + lines[2]
    other = header + lines[0].replace(b"subject", b"project") + b"".join(lines[1:])
    changed = []
    for place in range(len(whole) - 1):
        octet = b"1" if whole[place : place + 1] != b"1" else b"2"
        changed.append(whole[:place] + octet + whole[place + 1 :])
    for wrong in (swapped, missing, other, *changed):
        (tmp_path / "l").write_bytes(wrong)
        with pytest.raises(LedgerError):
            Ledger.open(tmp_path / "l", key)
        assert (tmp_path / "l").read_bytes() == wrong
    (tmp_path / "l").write_bytes(whole)
    for stranger in (LedgerKey(bytes(32), "attributes"), LedgerKey(bytes(range(32)), "broker")):
        with pytest.raises(LedgerError):
            Ledger.open(tmp_path / "l", stranger)
    os.symlink(tmp_path / "l", tmp_path / "link")
    with pytest.raises(LedgerError):
        Ledger.open(tmp_path / "link", key)
    with pytest.raises(InputError):
        key.references(What.SUBJECT, [b"short"])


def made(**changes):
    facts = certificate(
        "broker",
        "tf-2026",
        "All keys and rows of the project",
        ["officer/alice", "custodian/bob"],
        moment=NOON,
        kids=["0011223344556677"],
        counts={"urn": 3, "member": 2},
        ledger=bytes(32),
    )
    return replace(facts, **changes)


def test_a_certificate_is_read_as_it_was_signed():
    key = Ed25519PrivateKey.generate()
    data = sign(made(), key)
    read = verify(data, key.public_key())
    assert read == made()
    assert read.when == "2027-01-15T08:00:00+00:00"
    assert len(read.how) == 3
    assert key_id(key.public_key()).encode() in data
    for nothing in ({"who": ()}, {"how": ()}, {"what": ""}):
        with pytest.raises(InputError):
            sign(made(**nothing), key)


def test_an_altered_certificate_is_refused():
    key = Ed25519PrivateKey.generate()
    data = sign(made(), key)
    with pytest.raises(CertificateError):
        verify(data, Ed25519PrivateKey.generate().public_key())
    for place in range(len(data)):
        octet = b"7" if data[place : place + 1] != b"7" else b"8"
        with pytest.raises(CertificateError):
            verify(data[:place] + octet + data[place + 1 :], key.public_key())
    for wrong in (b"", b"{}\n", b"[]\n", data[:-1], data + b"\n", data.replace(b"  ", b" ")):
        with pytest.raises(CertificateError):
            verify(wrong, key.public_key())
