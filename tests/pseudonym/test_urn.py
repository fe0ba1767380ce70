"""Reference numbers: the published vectors, a second implementation, and what the check symbols promise."""

from __future__ import annotations

import copy
import hashlib
import hmac
import itertools
import pickle
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import (
    InputError,
    PseudonymError,
    UrnCheckError,
    UrnError,
    UrnKindError,
    UrnLengthError,
    UrnSymbolError,
)
from pseudonym.urn import AidKey, Kind, UrnKey, enc, grouped, prf, read

KEY = bytes(range(32))
ID = bytes(range(16))
SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
VECTORS = [
    ("nis-analysis", 1, Kind.PERSON, "P17CR8F91YH19R2CVDVQZTSR"),
    ("nis-analysis", 1, Kind.FAMILY, "F15HEDY0KQNZHDZ91NWXBG1E"),
    ("nis-analysis", 2, Kind.PERSON, "P2KAYYC368TESPMV3V55PPN0"),
    ("dwp-extract", 1, Kind.PERSON, "P15BB76XDR5XNCZ3ETXC4CS5"),
]
WORDS = [word for *_, word in VECTORS]

ids = st.binary(min_size=16, max_size=16)
keys = st.binary(min_size=32, max_size=32)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
epochs = st.integers(1, 31)
kinds = st.sampled_from(Kind)


@pytest.mark.parametrize(("recipient", "epoch", "kind", "word"), VECTORS)
def test_vectors(recipient, epoch, kind, word, oracle):
    key = UrnKey(KEY, "tf-2026", recipient, epoch)
    assert key.issue(kind, ID) == word
    assert key.issue_all(kind, [ID]) == [word]
    assert oracle.urn(KEY, "tf-2026", recipient, epoch, kind.value, ID) == word
    urn = read(word)
    assert (urn.kind, urn.epoch, urn.word) == (kind, epoch, word)


def test_vector_of_the_message(oracle):
    expected = bytes.fromhex(
        "00070000000575726e2f310000000774662d323032360000000c6e69732d616e616c79736973"
        "000000010100000006706572736f6e00000010000102030405060708090a0b0c0d0e0f0000000100"
    )
    parts = ("urn/1", "tf-2026", "nis-analysis", b"\x01", "person", ID, b"\x00")
    assert enc(*parts) == expected
    assert oracle.urn_message("tf-2026", "nis-analysis", 1, "person", ID, 0) == expected


def test_vector_of_the_aid(oracle):
    expected = bytes.fromhex("cc7df6e6c23c95968040a9afdfaa139c")
    key = AidKey(KEY, "tf-2026")
    assert key.aid(1, Kind.PERSON, ID) == expected
    assert oracle.aid(KEY, "tf-2026", 1, "person", ID) == expected


def test_vector_of_the_whole_chain(oracle):
    aid = AidKey(KEY, "tf-2026").aid(1, Kind.PERSON, ID)
    word = UrnKey(KEY, "tf-2026", "nis-analysis", 1).issue(Kind.PERSON, aid)
    assert word == "P1GXP5Y21Z71EGQCEJSV95DF"
    assert oracle.urn(KEY, "tf-2026", "nis-analysis", 1, "person", aid) == word


def test_vector_of_a_blind_index_made_with_the_same_function():
    # HKDF-Expand of 32 bytes is one HMAC of the info and the byte 01.
    field_key = hmac.digest(KEY, enc("bidx-key/1", "nhs", b"\x01") + b"\x01", "sha256")
    tag = int.from_bytes(prf(field_key, "bidx/1", "nhs", "9434765919"), "big")
    assert (tag >> (256 - 18), tag >> (256 - 24)) == (18285, 1170287)


@given(keys, labels, labels, epochs, kinds, st.lists(ids, max_size=4), st.integers(0, 255))
def test_one_at_a_time_in_bulk_and_by_hand_agree(key, project, recipient, epoch, kind, aids, counter):
    urn_key = UrnKey(key, project, recipient, epoch)
    words = urn_key.issue_all(kind, aids, counter)
    assert words == [urn_key.issue(kind, aid, counter) for aid in aids]
    for aid, word in zip(aids, words, strict=True):
        parts = ("urn/1", project, recipient, bytes([epoch]), kind.value, aid, bytes([counter]))
        payload = int.from_bytes(_hmac_by_hand(key, enc(*parts)), "big") >> 156
        assert word[0] == {"person": "P", "family": "F"}[kind.value]
        assert word[1] == SYMBOLS[epoch]
        assert word[2:22] == "".join(SYMBOLS[payload >> 5 * i & 31] for i in range(19, -1, -1))
        assert read(word).word == word
    pids = aids
    derived = AidKey(key, project).aids(epoch, kind, pids)
    assert derived == [
        _hmac_by_hand(key, enc("aid/1", project, bytes([epoch]), kind.value, pid))[:16] for pid in pids
    ]


def _hmac_by_hand(key: bytes, message: bytes) -> bytes:
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(x ^ 0x36 for x in block) + message).digest()
    return hashlib.sha256(bytes(x ^ 0x5C for x in block) + inner).digest()


def test_check_symbols_agree_with_the_oracle_on_random_numbers(oracle):
    chance = random.Random(1)
    for _ in range(12):
        key, aid = chance.randbytes(32), chance.randbytes(16)
        epoch, kind = chance.randint(1, 31), chance.choice(list(Kind))
        counter = chance.randint(0, 255)
        word = UrnKey(key, "p", "r", epoch).issue(kind, aid, counter)
        assert word == oracle.urn(key, "p", "r", epoch, kind.value, aid, counter)


def test_bulk_across_chunks():
    aids = [i.to_bytes(16, "big") for i in range(70_000)]
    key = UrnKey(KEY, "tf-2026", "nis-analysis", 31)
    words = key.issue_all(Kind.FAMILY, aids)
    assert len(set(words)) == len(aids)
    for i in (0, 65_535, 65_536, 69_999):
        assert words[i] == key.issue(Kind.FAMILY, aids[i])


@pytest.mark.parametrize("word", WORDS)
def test_every_single_wrong_symbol_is_noticed(word):
    for place, symbol in itertools.product(range(24), SYMBOLS):
        if symbol != word[place]:
            with pytest.raises(UrnCheckError):
                read(word[:place] + symbol + word[place + 1 :])


def test_every_two_wrong_symbols_are_noticed(oracle):
    # The code is linear, so a change goes unnoticed in one number if and only if it does in every number:
    # all 265,236 changes of two places are tried on one.
    word = [SYMBOLS.index(symbol) for symbol in WORDS[0]]
    for first, second in itertools.combinations(range(24), 2):
        for x, y in itertools.product(range(1, 32), repeat=2):
            wrong = word.copy()
            wrong[first] ^= x
            wrong[second] ^= y
            with pytest.raises(UrnCheckError):
                read("".join(SYMBOLS[value] for value in wrong))


@given(keys, ids, st.randoms(use_true_random=False))
def test_two_wrong_symbols_at_any_two_places_are_noticed(key, aid, chance):
    word = UrnKey(key, "p", "r", 1).issue(Kind.PERSON, aid)
    for first, second in itertools.combinations(range(24), 2):
        wrong = [SYMBOLS.index(symbol) for symbol in word]
        wrong[first] ^= chance.randint(1, 31)
        wrong[second] ^= chance.randint(1, 31)
        with pytest.raises(UrnCheckError):
            read("".join(SYMBOLS[value] for value in wrong))


@given(keys, ids)
def test_two_symbols_exchanged_are_noticed_wherever_they_are(key, aid):
    word = UrnKey(key, "p", "r", 1).issue(Kind.PERSON, aid)
    for first, second in itertools.combinations(range(24), 2):
        if word[first] != word[second]:
            wrong = list(word)
            wrong[first], wrong[second] = wrong[second], wrong[first]
            with pytest.raises(UrnCheckError):
                read("".join(wrong))


@given(keys, ids, kinds, epochs, st.randoms(use_true_random=False))
def test_reading_forgives_hyphens_spaces_case_and_lookalikes(key, aid, kind, epoch, chance):
    word = UrnKey(key, "p", "r", epoch).issue(kind, aid)
    alike = {"0": "0Oo", "1": "1IiLl"}
    written = "".join(
        chance.choice(alike.get(symbol, symbol + symbol.lower())) + chance.choice(["", "", "-", " "])
        for symbol in word
    )
    assert read(written + "\r\n").word == word
    assert read(grouped(word)).word == word
    assert str(read(word)) == grouped(word)


def test_shown_in_groups_of_four():
    assert grouped(WORDS[0]) == "P17C-R8F9-1YH1-9R2C-VDVQ-ZTSR"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", UrnLengthError),
        (WORDS[0][:-1], UrnLengthError),
        (WORDS[0] + "0", UrnLengthError),
        ("U" + WORDS[0][1:], UrnSymbolError),
        ("\u0131" + WORDS[0][1:], UrnSymbolError),  # its capital would be I
        (WORDS[0].replace("S", "\u017f"), UrnSymbolError),  # its capital would be S
        ("\uff30" + WORDS[0][1:], UrnSymbolError),  # a full-width P
        (WORDS[0] + "\0", UrnSymbolError),
        ("0" * 24, UrnKindError),  # zero symbols satisfy any check
    ],
)
def test_what_is_no_reference_number_is_refused_by_what_is_wrong(text, error):
    with pytest.raises(error):
        read(text)


def test_a_number_with_the_epoch_zero_or_a_strange_tag_is_refused(oracle):
    for start in ("P0", "Q1"):
        word = next(
            start + "7CR8F91YH19R2CVDVQZT" + c + d
            for c in SYMBOLS
            for d in SYMBOLS
            if oracle.fits(start + "7CR8F91YH19R2CVDVQZT" + c + d)
        )
        with pytest.raises(UrnKindError):
            read(word)


@given(st.text(max_size=40) | st.text(alphabet=SYMBOLS + "UILO-", min_size=22, max_size=26))
def test_an_error_never_repeats_what_was_given(text):
    try:
        read(text)
    except UrnError as error:
        told = f"{error} {error.args} {error!r}"
        squeezed = "".join(text.split())
        assert len(squeezed) < 5 or squeezed not in told


def test_the_counter_gives_an_unrelated_number():
    key = UrnKey(KEY, "tf-2026", "nis-analysis", 1)
    words = [key.issue(Kind.PERSON, ID, counter) for counter in range(256)]
    assert len(set(words)) == 256
    assert words[0] == key.issue(Kind.PERSON, ID)
    for counter in (-1, 256):
        with pytest.raises(InputError, match="counter"):
            key.issue(Kind.PERSON, ID, counter)


def test_a_collision_is_settled_by_the_next_counter():
    key = UrnKey(KEY, "tf-2026", "nis-analysis", 1)
    taken = {key.issue(Kind.PERSON, ID, counter) for counter in range(3)}
    counter = next(c for c in range(256) if key.issue(Kind.PERSON, ID, c) not in taken)
    assert counter == 3
    assert key.issue_all(Kind.PERSON, [ID], counter) == [key.issue(Kind.PERSON, ID, 3)]


def test_r33_numbers_of_two_recipients_projects_epochs_and_kinds_are_unrelated():
    # Even under one key, each label alone makes the payloads differ in about half of their 100 bits.
    aids = [i.to_bytes(16, "big") for i in range(2_000)]
    base = UrnKey(KEY, "a", "b", 1).issue_all(Kind.PERSON, aids)
    others = [
        UrnKey(KEY, "a", "c", 1).issue_all(Kind.PERSON, aids),
        UrnKey(KEY, "b", "b", 1).issue_all(Kind.PERSON, aids),
        UrnKey(KEY, "a", "b", 2).issue_all(Kind.PERSON, aids),
        UrnKey(KEY, "a", "b", 1).issue_all(Kind.FAMILY, aids),
        UrnKey(bytes(32), "a", "b", 1).issue_all(Kind.PERSON, aids),
    ]
    for other in others:
        payloads = zip(base, other, strict=True)
        differing = [(_payload(x) ^ _payload(y)).bit_count() for x, y in payloads]
        # The mean of 2,000 binomials (100, 1/2) has a standard deviation of 0.11.
        assert abs(sum(differing) / len(differing) - 50) < 0.7
        assert not {word[2:22] for word in base} & {word[2:22] for word in other}


def _payload(word: str) -> int:
    return sum(SYMBOLS.index(symbol) << 5 * (19 - i) for i, symbol in enumerate(word[2:22]))


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_the_encoding_is_injective(left, right):
    assert (enc(*left) == enc(*right)) == (left == right)


@pytest.mark.parametrize("label", ["", "A", "a b", "-a", "a-", "a:b", "a/b", "ä", "a\n", "a" * 64])
def test_a_name_that_could_be_written_two_ways_is_refused(label):
    for make in (
        lambda: AidKey(KEY, label),
        lambda: UrnKey(KEY, label, "r", 1),
        lambda: UrnKey(KEY, "p", label, 1),
    ):
        with pytest.raises(InputError, match="name"):
            make()


@pytest.mark.parametrize("epoch", [-1, 0, 32, 256])
def test_an_epoch_is_one_to_thirty_one(epoch):
    with pytest.raises(InputError, match="epoch"):
        UrnKey(KEY, "p", "r", epoch)
    with pytest.raises(InputError, match="epoch"):
        AidKey(KEY, "p").aid(epoch, Kind.PERSON, ID)


def test_ids_and_keys_of_another_size_are_refused():
    for size in (0, 15, 17, 32):
        with pytest.raises(InputError, match="16 bytes"):
            UrnKey(KEY, "p", "r", 1).issue_all(Kind.PERSON, [ID, bytes(size)])
        with pytest.raises(InputError, match="16 bytes"):
            AidKey(KEY, "p").aid(1, Kind.PERSON, bytes(size))
    with pytest.raises(InputError, match="32 bytes"):
        UrnKey(bytes(16), "p", "r", 1)


def test_a_key_cannot_be_printed_pickled_or_copied():
    for key in (AidKey(KEY, "p"), UrnKey(KEY, "p", "r", 1)):
        assert KEY.hex() not in repr(key)
        assert repr(KEY)[2:-1] not in repr(key)
        with pytest.raises(TypeError, match="does not leave"):
            pickle.dumps(key)
        with pytest.raises(TypeError, match="does not leave"):
            copy.deepcopy(key)


def test_a_number_is_not_in_its_repr():
    assert WORDS[0] not in repr(read(WORDS[0]))


def test_errors_say_what_is_wrong_and_what_to_do():
    with pytest.raises(PseudonymError) as caught:
        read("P1")
    assert caught.value.reason == "URN_LENGTH"
    assert str(caught.value) == f"{caught.value.message} {caught.value.help}"
    assert "24 symbols, and this has 2" in caught.value.message


def test_the_page_of_the_format_holds_what_is_computed_here(oracle):
    page = (Path(__file__).parents[2] / "docs" / "urn-format.md").read_text()
    rows = re.findall(r"\| ([a-z-]+) \| (\d) \| (\w+) \| (\d) \| `(\w+)` \| `(\w+)` \|", page)
    assert len(rows) == 6
    chain = AidKey(KEY, "tf-2026").aid(1, Kind.PERSON, ID)
    for row, aid in zip(rows, [ID] * 5 + [chain], strict=True):
        recipient, epoch, kind, counter, digest, word = row
        message = oracle.urn_message("tf-2026", recipient, int(epoch), kind, aid, int(counter))
        assert oracle.openssl_hmac(KEY, message).hex() == digest
        key = UrnKey(KEY, "tf-2026", recipient, int(epoch))
        assert key.issue(Kind(kind), aid, int(counter)) == word
    power, powers = 1, []
    for _ in range(31):
        powers.append(str(power))
        power = oracle.multiply(power, 2)
    table = re.findall(r"^\| a\^k \| (.*) \|$", page, re.MULTILINE)
    assert " | ".join(table).split(" | ") == powers
