"""Sealing to a public key: RFC 9180's vector, a second implementation, and what must not open."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import InputError, SealedError
from pseudonym.hpke import OVERHEAD, OpeningKey, seal
from pseudonym.urn import enc
from tests.pseudonym import hpke_oracle

INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
PLAIN = b"Beauty is truth, truth beauty"


def test_the_second_implementation_gives_the_vector_of_the_rfc():
    # RFC 9180, A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, sequence number 0.
    sealed = bytes.fromhex(
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )
    ephemeral = bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
    secret = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    public = bytes.fromhex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
    assert hpke_oracle.AES_128.seal(ephemeral, public, PLAIN, INFO, b"Count-0") == sealed
    assert hpke_oracle.AES_128.open(secret, sealed, INFO, b"Count-0") == PLAIN


@given(
    st.binary(max_size=200), st.lists(st.binary(max_size=9), max_size=3), st.binary(min_size=32, max_size=32)
)
def test_each_implementation_opens_what_the_other_sealed(plain, context, ephemeral):
    key, secret = OpeningKey.generate()
    sealed = seal(key.public, plain, *context)
    assert (sealed[0], len(sealed)) == (1, len(plain) + OVERHEAD)
    assert hpke_oracle.AES_256.open(secret, sealed[1:], enc(*context)) == plain
    theirs = hpke_oracle.AES_256.seal(ephemeral, key.public, plain, enc(*context))
    assert key.open(b"\1" + theirs, *context) == plain


def test_what_was_altered_or_meant_otherwise_does_not_open():
    key, _ = OpeningKey.generate()
    other, _ = OpeningKey.generate()
    sealed = seal(key.public, PLAIN, "answer/1", b"a")
    assert key.open(sealed, "answer/1", b"a") == PLAIN
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(SealedError):
            key.open(bytes(altered), "answer/1", b"a")
    for wrong in (sealed[:-1], sealed + b"\0", b"", sealed[:40]):
        with pytest.raises(SealedError):
            key.open(wrong, "answer/1", b"a")
    for context in ((), ("answer/1",), ("answer/1", b"b"), ("answer/", b"1a")):
        with pytest.raises(SealedError):
            key.open(sealed, *context)
    with pytest.raises(SealedError):
        other.open(sealed, "answer/1", b"a")


def test_two_sealings_of_the_same_are_not_the_same():
    key, _ = OpeningKey.generate()
    assert seal(key.public, PLAIN) != seal(key.public, PLAIN)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), bytes(32), b"\1" + bytes(31)])
def test_a_public_key_that_is_none_is_refused(public):
    with pytest.raises(InputError, match="public key"):
        seal(public, PLAIN)


def test_a_private_key_does_not_show_itself():
    key, secret = OpeningKey.generate()
    assert OpeningKey(secret).public == key.public
    assert secret.hex() not in repr(key)
    with pytest.raises(TypeError, match="does not leave"):
        pickle.dumps(key)
    with pytest.raises(TypeError, match="does not leave"):
        copy.deepcopy(key)
    with pytest.raises(InputError, match="32 bytes"):
        OpeningKey(secret[1:])
