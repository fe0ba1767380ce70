"""Sealed files: what was written comes out whole and in its place, or not at all."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import SealBrokenError
from pseudonym.sealed_files import SealedFile, conceal, reveal, seal_parts

KEY = bytes(range(32))
FOLDER, NAME = "sub-00112233445566778899", "records"
PARTS, END = [b"one", b"two, which is longer", b""], b"end"


def sealed(parts=PARTS, end=END, key=KEY, folder=FOLDER, name=NAME):
    return list(seal_parts(key, folder, name, parts, end))


def opened(content, key=KEY, folder=FOLDER, name=NAME):
    """All parts and the end, as whoever reads the whole file has them."""
    file = SealedFile(key, folder, name, io.BytesIO(content))
    return [file.part(number) for number in range(file.parts)], file.end


@given(st.lists(st.binary(max_size=70), max_size=5), st.binary(max_size=70))
def test_what_was_sealed_comes_out(parts, end):
    content = b"".join(sealed(parts, end))
    assert opened(content) == (parts, end)
    assert not any(part in content for part in [*parts, end] if len(part) > 8)


@given(st.data())
def test_a_file_that_was_altered_anywhere_does_not_open(data):
    content = bytearray(b"".join(sealed()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBrokenError):
        opened(bytes(content))


def test_a_file_that_was_cut_off_anywhere_does_not_open():
    content = b"".join(sealed())
    for length in range(len(content)):
        with pytest.raises(SealBrokenError):
            SealedFile(KEY, FOLDER, NAME, io.BytesIO(content[:length]))
    with pytest.raises(SealBrokenError):
        SealedFile(KEY, FOLDER, NAME, io.BytesIO(content + b"\0"))


def parts_of(pieces):
    """Head, and then length and content of each part together."""
    head, *rest = pieces
    return [head, *(rest[i] + rest[i + 1] for i in range(0, len(rest), 2))]


def test_parts_that_were_reordered_repeated_left_out_or_exchanged_do_not_open():
    head, one, two, three, end = parts_of(sealed())
    other = parts_of(sealed())  # the same content, written again
    for content in (
        [head, two, one, three, end],
        [head, one, one, two, three, end],
        [head, one, two, end],
        [head, one, two, three],
        [head, end],
        [head, one, two, three, end, end],
        [head, one, other[2], three, end],
        [other[0], one, two, three, end],
    ):
        with pytest.raises(SealBrokenError):
            opened(b"".join(content))


@pytest.mark.parametrize(
    "elsewhere", [{"key": bytes(32)}, {"folder": "sub-00112233445566778898"}, {"name": "refusals"}]
)
def test_a_file_opens_in_its_own_place_only(elsewhere):
    with pytest.raises(SealBrokenError):
        opened(b"".join(sealed()), **elsewhere)


def test_no_two_writings_share_a_key_stream():
    first, second = (b"".join(sealed([], bytes(64))) for _ in range(2))
    assert first[:17] != second[:17]
    assert first[21:] != second[21:]


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_concealed_values_are_equal_where_the_values_and_their_places_are(one, other):
    first = conceal(KEY, FOLDER, "content", one)
    assert (first == conceal(KEY, FOLDER, "content", other)) == (one == other)
    assert first != conceal(KEY, FOLDER, "chunk/1/1", one)
    assert first != conceal(KEY, "own-0", "content", one)
    assert reveal(KEY, FOLDER, "content", first) == one
    for wrong in ((KEY, FOLDER, "check"), (KEY, "own-0", "content"), (bytes(32), FOLDER, "content")):
        with pytest.raises(SealBrokenError):
            reveal(*wrong, first)
    for broken in (b"", first[:-1], b"\2" + first[1:], first[:-1] + bytes([first[-1] ^ 1])):
        with pytest.raises(SealBrokenError):
            reveal(KEY, FOLDER, "content", broken)


def test_published_vectors(oracle):
    """The file and the value in docs/sealing.md, made by a program of its own from what the page says."""
    text = (Path(__file__).parents[2] / "docs" / "sealing.md").read_text()
    text = text.partition("### A folder's vectors")[2]
    said = dict(re.findall(r"^    (\w+(?: \w+)?) {2,}(\w+)$", text, re.MULTILINE))
    salt = bytes(range(16))
    info = oracle.message(b"sealed-file-key/1", FOLDER.encode(), NAME.encode(), salt)
    file_key = oracle.openssl_hmac(KEY, info + b"\1")  # HKDF-Expand of one block
    assert file_key.hex() == said["file key"]
    expected = b"\1" + salt
    for number, (content, last) in enumerate([(b"one", b"\0"), (b"end", b"\1")]):
        place = oracle.message(
            b"sealed-file/1", FOLDER.encode(), NAME.encode(), number.to_bytes(4, "big"), last
        )
        body = oracle.seal_gcm(file_key, number.to_bytes(12, "big"), content, place)
        expected += len(body).to_bytes(4, "big") + body
    assert expected.hex() == said["file"]
    assert opened(expected) == ([b"one"], b"end")

    value_key = oracle.openssl_hmac(KEY, oracle.message(b"sealed-value-key/1", FOLDER.encode()) + b"\1")
    place = oracle.message(b"sealed-value/1", FOLDER.encode(), b"content")
    value = b"\1" + oracle.seal_gcm_siv(value_key, bytes(12), bytes(range(32)), place)
    assert value.hex() == said["value"]
    assert conceal(KEY, FOLDER, "content", bytes(range(32))) == value
