"""The search for canaries finds what is planted, in each form: else finding nothing would say nothing."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest

from tests.pseudonym.threats.canaries import Scanner

VALUES = ("9434765919", "Quistgaard-Øre", "ZE3 9JP", "1931-11-27", "77 Plover Wynd", "6180339887498")
SCANNER = Scanner(VALUES)


def planted(value):
    """A value in many forms, made here without the search's own functions."""
    texts = {value, value.upper(), value.lower(), "".join(c for c in value if c.isalnum())}
    texts |= {"".join(c for c in value if c.isalnum()).lower()}
    if value == "9434765919":
        texts |= {"943 476 5919", "943-476-5919"}
    if value == "1931-11-27":
        texts |= {"27/11/1931", "27111931"}
    for text in texts:
        plain = text.encode()
        yield from (plain, text.encode("utf-16-le"), text.encode("utf-16-be"), plain[::-1])
        yield from (plain.hex().encode(), plain.hex().upper().encode(), plain.hex().encode().hex().encode())
        for octets in (plain, text.encode("utf-16-le")):
            for name in ("md5", "sha1", "sha256", "sha512"):
                made = hashlib.new(name, octets)
                yield from (made.digest(), made.hexdigest().encode(), made.hexdigest().upper().encode())
                for before in (b"", b"x", b"xy"):
                    yield base64.b64encode(before + made.digest() + b"after")
                    yield base64.urlsafe_b64encode(before + made.digest() + b"!")
        for before in (b"", b"x", b"xy"):
            for after in (b"", b"z", b"zzz"):
                yield base64.b64encode(before + plain + after)
                yield base64.urlsafe_b64encode(before + plain + after)
    if value.isdecimal():
        yield int(value).to_bytes(8, "little")
        yield int(value).to_bytes(8, "big")


@pytest.mark.parametrize("value", VALUES)
def test_every_form_of_a_value_is_found(value):
    count = 0
    for octets in planted(value):
        data = b"\x00before" + octets + b"after\xff"
        assert value in {one.value for one in SCANNER.found(data)}, octets
        count += 1
    assert count > 90


def test_a_value_is_found_at_every_place_and_over_the_parts_in_which_data_is_read(monkeypatch):
    monkeypatch.setattr("tests.pseudonym.threats.canaries._AT_ONCE", 64)
    for place in range(200):
        data = b"\x01" * place + b"ZE3 9JP" + b"\x01" * (200 - place)
        assert {one.value for one in SCANNER.found(data)} == {"ZE3 9JP"}
    assert SCANNER.found(b"ZE3 9JP"[:6] + b"\x01" * 300) == set()


def test_what_is_not_there_is_not_found():
    assert len(SCANNER) > 5_000
    assert SCANNER.found(os.urandom(4 << 20)) == set()
    assert SCANNER.found(b"") == set()
    assert (
        SCANNER.found(hashlib.sha256(b"keyed, that is: with something else" + b"9434765919").digest())
        == set()
    )
