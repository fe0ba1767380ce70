"""Entries have one encoding, no place for a person's values, and details that one reader can open."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.audit.entries import Entry, Event, decode, encode, open_details, prepare
from pseudonym.errors import AuditProofError, AuditTamperedError, InputError
from tests.pseudonym.audit import oracle

PRIVATE = bytes(range(32, 64))
OFFICER = X25519PrivateKey.from_private_bytes(PRIVATE)
EVENT = Event("role/officer/alice", "identity.open", "linkage", "tf-2026", bytes(range(32)), 3, b"Jane Smith")


def written(event: Event, number: int = 7, moment: int = 1_795_000_000_000_000) -> bytes:
    return encode(number, moment, prepare(event, OFFICER.public_key()))


def test_hpke_of_the_oracle_has_the_vector_of_the_rfc():
    """RFC 9180, A.1.1: X25519, HKDF-SHA256, AES-128-GCM, base mode, the first message."""
    sealed = (
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )
    clear = oracle.hpke_open(
        bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"),
        bytes.fromhex(sealed),
        bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"),
        key_size=16,
        aad=b"Count-0",
    )
    assert clear == b"Beauty is truth, truth beauty"


def test_the_second_implementation_reads_an_entry_and_opens_its_details():
    said = oracle.said(written(EVENT))
    assert said.mark == b"audit/1"
    assert (said.actor, said.action) == (b"role/officer/alice", b"identity.open")
    assert (said.purpose, said.project) == (b"linkage", b"tf-2026")
    assert (said.subject, int.from_bytes(said.count, "big")) == (bytes(range(32)), 3)
    assert oracle.details(said, PRIVATE) == b"Jane Smith"


def test_what_the_second_implementation_seals_opens_here():
    fields = (b"a", b"b", b"c", b"", b"", (5).to_bytes(8, "big"))
    digest, sealed = oracle.seal(PRIVATE, bytes(range(64, 96)), bytes(32), b"x" * 100, fields)
    data = oracle.joined(b"audit/1", bytes(8), bytes(8), *fields, digest, sealed)
    assert open_details(decode(data), OFFICER) == b"x" * 100


def test_nothing_of_the_details_is_open_and_the_same_ones_look_different_each_time():
    one, other = written(EVENT), written(EVENT)
    assert b"Jane" not in one
    assert decode(one).digest != decode(other).digest
    assert len(one) == len(written(replace(EVENT, details=b"J")))  # nor their length, up to 64 bytes


@given(st.binary(max_size=300), st.integers(0, 2**63 - 1), st.integers(0, 2**63), st.booleans())
def test_an_entry_is_read_back(details, count, number, subject):
    event = replace(EVENT, details=details, count=count, subject=bytes(32) if subject else b"")
    entry = decode(written(event, number))
    assert (entry.number, entry.count, entry.subject) == (number, count, event.subject)
    assert open_details(entry, OFFICER) == details
    assert bool(details) == bool(entry.digest) == bool(entry.sealed)


@given(st.data())
def test_any_other_bytes_are_no_entry_or_another_one(data):
    whole = written(EVENT)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for other in (changed, whole[:at], whole + b"x"):
        try:
            entry = decode(other)
        except AuditTamperedError:
            continue
        assert entry != decode(whole)


def test_details_do_not_open_with_another_key_in_another_entry_or_altered():
    entry = decode(written(EVENT))
    with pytest.raises(AuditProofError, match="another officer"):
        open_details(entry, X25519PrivateKey.generate())
    for other in (
        replace(entry, actor="role/officer/bob"),
        replace(entry, count=4),
        replace(entry, digest=bytes(32)),
        replace(entry, sealed=entry.sealed[:-1] + bytes([entry.sealed[-1] ^ 1])),
        replace(entry, sealed=entry.sealed[:20]),
    ):
        with pytest.raises(AuditProofError):
            open_details(other, OFFICER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actor", ""),
        ("actor", "Alice Smith"),
        ("actor", "alice@example.org"),
        ("actor", "a" * 129),
        ("actor", "role/9434765919"),
        ("actor", "role/e09000033/e090000331"),
        ("actor", "role/x09000033"),
        ("actor", "role/943-476-5919"),
        ("action", "opened Jane's record"),
        ("action", ""),
        ("action", "1984-02-29"),
        ("purpose", "linkage for jane"),
        ("purpose", "zürich"),
        ("purpose", "ab123456c"),
        ("purpose", "ab-12-34-56-c"),
        ("purpose", "born-29.2.1984"),
        ("purpose", "born-1984-2-29"),
        ("purpose", "x" * 64),
        ("project", "TF 2026"),
        ("project", "p-9434765919"),
        ("project", "p-9434-7659-19"),
        ("subject", bytes(16)),  # a pid as it is
        ("subject", b"9434765919"),
        ("count", -1),
        ("count", 2**63),
        ("details", bytes(65_537)),
    ],
)
def test_a_value_of_a_person_has_no_place(field, value):
    with pytest.raises(InputError) as caught:
        prepare(replace(EVENT, **{field: value}), OFFICER.public_key())
    assert field in str(caught.value)
    if isinstance(value, str) and value:
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actor", "spiffe://kinlink.example/role/officer/alice"),
        ("actor", "spiffe://kinlink.example/role/council/e09000033"),
        ("action", "pseudonym.v1.broker/issue-urns"),
        ("purpose", "evaluation-2026"),
        ("project", "study-2026-2027"),
        ("project", ""),
        ("count", 2**63 - 1),
    ],
)
def test_the_names_that_are_in_use_have_one(field, value):
    entry = decode(written(replace(EVENT, **{field: value})))
    assert getattr(entry, field) == value


def test_a_forged_entry_with_a_value_in_an_open_field_is_none():
    parts = oracle.unjoined(written(replace(EVENT, details=b"")))
    parts[4] = b"opened Jane's record"
    with pytest.raises(AuditTamperedError):
        decode(oracle.joined(*parts))
    parts[4], parts[9] = b"identity.open", bytes(32)  # a digest of details that are not there
    with pytest.raises(AuditTamperedError):
        decode(oracle.joined(*parts))


def test_an_entry_shows_neither_its_details_nor_those_of_an_event():
    assert "Jane" not in repr(EVENT)
    entry: Entry = decode(written(EVENT))
    assert "sealed" not in repr(entry)
    assert entry.time.isoformat() == "2026-11-18T11:06:40+00:00"
