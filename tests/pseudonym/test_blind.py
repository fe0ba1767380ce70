"""Blind indexes: the published vectors, an independent implementation, and how many rows share a tag."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym import errors
from pseudonym.blind import BlindIndex, bits_for, field_key

ROOT = bytes(range(32))


class Root:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def field(self, field: str, epoch: int) -> bytes:
        return field_key(self._secret, field, epoch)


def oracle_tag(oracle, field, epoch, value, bits):
    info = oracle.message(b"bidx-key/1", field.encode(), bytes([epoch]))
    key = oracle.openssl_hmac(ROOT, info + b"\x01")  # HKDF-Expand of one block
    digest = oracle.openssl_hmac(key, oracle.message(b"bidx/1", field.encode(), value.encode()))
    return int.from_bytes(digest, "big") >> (256 - bits)


@pytest.mark.parametrize(("bits", "tag"), [(18, 18285), (24, 1170287)])
def test_published_vectors(bits, tag, oracle):
    assert BlindIndex(Root(ROOT), 1, bits).tags("nhs", ["9434765919"]).tolist() == [tag]
    assert oracle_tag(oracle, "nhs", 1, "9434765919", bits) == tag


def test_tags_agree_with_openssl(oracle):
    values = ["", "9434765919", "SMITH|1990-01-31", "ŁÓPEZ|0001-01-01", "x" * 1000]
    for field, epoch, bits in [("surname-dob", 1, 31), ("nino", 31, 4), ("postcode-dob", 7, 24)]:
        expected = [oracle_tag(oracle, field, epoch, value, bits) for value in values]
        assert BlindIndex(Root(ROOT), epoch, bits).tags(field, values).tolist() == expected


@given(values=st.lists(st.text(max_size=30).filter(lambda t: t.isprintable()), max_size=20))
def test_many_are_as_one_at_a_time(values):
    index = BlindIndex(Root(ROOT), 1, 24)
    assert index.tags("nhs", values).tolist() == [index.tags("nhs", [value])[0] for value in values]


def test_fields_and_epochs_are_unrelated():
    values = [str(n) for n in range(2000)]
    seen = [
        BlindIndex(Root(root), epoch, 24).tags(field, values)
        for root, epoch, field in [
            (ROOT, 1, "nhs"),
            (ROOT, 2, "nhs"),
            (ROOT, 1, "upn"),
            (bytes(32), 1, "nhs"),
        ]
    ]
    for i, one in enumerate(seen):
        for other in seen[i + 1 :]:
            assert sum(a == b for a, b in zip(one, other, strict=True)) <= 2


@pytest.mark.parametrize(
    ("population", "bits"), [(10**6, 18), (60_000_000, 24), (0, 4), (1, 4), (10**12, 31)]
)
def test_sizes_by_population(population, bits):
    assert bits_for(population) == bits


def test_a_few_rows_share_a_tag():
    people = 40_000
    tags = BlindIndex(Root(ROOT), 1, bits_for(people)).tags("nhs", [str(n) for n in range(people)])
    shared = Counter(tags.tolist())
    mean = sum(n * n for n in shared.values()) / people  # candidates that a look-up meets
    assert 3 < mean < 9


def test_another_root_epoch_or_length_has_another_fingerprint():
    prints = {
        BlindIndex(Root(root), epoch, bits).fingerprint()
        for root, epoch, bits in [(ROOT, 1, 18), (ROOT, 1, 19), (ROOT, 2, 18), (bytes(32), 1, 18)]
    }
    assert len(prints) == 4
    assert {len(print_) for print_ in prints} == {16}


def test_what_has_not_the_right_form_is_refused():
    for epoch, bits in [(0, 18), (32, 18), (1, 3), (1, 32)]:
        with pytest.raises(errors.InputError):
            BlindIndex(Root(ROOT), epoch, bits)
    for root, field, epoch in [(ROOT[1:], "nhs", 1), (ROOT, "", 1), (ROOT, "nhs", 32)]:
        with pytest.raises(errors.InputError):
            field_key(root, field, epoch)


def test_an_index_does_not_show_itself():
    index = BlindIndex(Root(ROOT), 1, 18)
    index.tags("nhs", ["1"])
    assert repr(index) == "BlindIndex(epoch=1, bits=18)"
    with pytest.raises(TypeError):
        pickle.dumps(index)
