"""A log that was edited, cut, reordered or extended fails, and it is said at which entry."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.audit import Checkpoint, CheckpointFolder, Signer, VerifierKey, merkle, verify
from pseudonym.errors import AuditCheckpointError, AuditError, AuditTamperedError
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import ORIGIN, Place

BATCHES = (3, 5, 1, 7, 4)  # a checkpoint after each: of 0, 3, 8, 9, 16 and 20 entries
Entries = list[bytes]


@pytest.fixture
def log(place: Place) -> Place:
    place.filled(BATCHES)
    return place


def failed(place: Place, live: bool = False) -> AuditTamperedError:
    with pytest.raises(AuditTamperedError) as caught:
        verify(place.folder, place.kept, place.keys, clock=place.clock, live=live)
    return caught.value


def rewritten(place: Place, change: Callable[[Entries], object], tree: bool = False) -> None:
    """Change the entries as somebody does who can write to the folder and knows the format, but has no key.

    Frames, digests and, if asked, the stored hashes are made anew, so that everything fits everything.
    """
    entries = oracle.entries(place.folder)
    change(entries)
    data, at = b"", 0
    for size in (*BATCHES, len(entries)):
        if at < len(entries):
            data += oracle.frame(at, entries[at : at + size])
            at += len(entries[at : at + size])
    place.entries.write_bytes(data)
    if tree:
        nodes = merkle.Frontier().add(map(merkle.leaf_hash, entries))
        (place.folder / "tree").write_bytes(b"".join(nodes))


def edited(number: int) -> Callable[[Entries], object]:
    """The entry says another actor."""

    def change(entries: Entries) -> None:
        entries[number] = entries[number].replace(b"alice", b"boris")

    return change


def test_a_log_that_was_left_alone_verifies(log):
    seen = []
    shown = verify(log.folder, log.kept, log.keys, progress=lambda *at: seen.append(at))
    assert (shown.origin, shown.entries, shown.signed, shown.checkpoints) == (ORIGIN, 20, 20, 6)
    assert shown.root == oracle.mth(oracle.entries(log.folder))
    assert shown.first is not None
    assert shown.last is not None
    assert shown.first < shown.last
    assert seen[-1][0] == seen[-1][1] == log.entries.stat().st_size


def test_the_entries_and_the_checkpoints_are_enough(log):
    for name in ("tree", "starts", "mark", "lock"):
        (log.folder / name).unlink()
    assert verify(log.folder, log.kept, log.keys).entries == 20
    (log.folder / "tree").write_bytes(b"anything")
    assert verify(log.folder, log.kept, log.keys).entries == 20


def test_an_empty_log_verifies(place):
    place.create().close()
    assert verify(place.folder, place.kept, place.keys).entries == 0


@pytest.mark.parametrize("number", range(20))
def test_an_edited_entry_is_named(log, number):
    rewritten(log, edited(number))
    assert (failed(log).first, failed(log).last) == (number, number)


@pytest.mark.parametrize("number", range(20))
def test_where_the_hashes_were_changed_too_it_is_between_two_checkpoints(log, number):
    rewritten(log, edited(number), tree=True)
    first, last = next((a, b - 1) for a, b in ((0, 3), (3, 8), (8, 9), (9, 16), (16, 20)) if a <= number < b)
    error = failed(log)
    assert (error.first, error.last) == (first, last)
    assert f"{first}" in error.message


@pytest.mark.parametrize("number", range(20))
def test_bytes_changed_in_place_are_found_in_their_entry(log, number):
    entry = oracle.entries(log.folder)[number]
    data = log.entries.read_bytes()
    log.entries.write_bytes(data.replace(entry, entry.replace(b"alice", b"boris")))
    assert (failed(log).first, failed(log).last) == (number, number)


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize("number", range(20))
def test_an_entry_that_was_taken_out_is_missed(log, number, tree):
    rewritten(log, lambda entries: entries.pop(number), tree)
    assert failed(log).first == number


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 3), (4, 19), (17, 18)])
def test_exchanged_entries_are_named(log, one, other, tree):
    def change(entries: Entries) -> None:
        entries[one], entries[other] = entries[other], entries[one]

    rewritten(log, change, tree)
    assert failed(log).first == one


def renumbered(entries: Entries) -> None:
    for number, entry in enumerate(entries):
        parts = oracle.unjoined(entry)
        entries[number] = oracle.joined(parts[0], number.to_bytes(8, "big"), *parts[2:])


def test_exchanged_entries_with_their_numbers_put_right_are_found(log):
    def change(entries: Entries) -> None:
        entries[9], entries[12] = entries[12], entries[9]
        renumbered(entries)

    rewritten(log, change)
    assert (failed(log).first, failed(log).last) == (9, 9)


def test_time_that_goes_back_is_found(log):
    def change(entries: Entries) -> None:
        parts = oracle.unjoined(entries[5])
        entries[5] = oracle.joined(*parts[:2], bytes(8), *parts[3:])

    rewritten(log, change, tree=True)
    error = failed(log)
    assert error.first == 5
    assert "older" in error.message


@pytest.mark.parametrize("left", [0, 1, 3, 8, 15, 19])
def test_a_cut_log_is_said_to_be_cut(log, left):
    def change(entries: Entries) -> None:
        del entries[left:]

    rewritten(log, change, tree=True)
    error = failed(log)
    assert (error.first, error.last) == (left, 19)
    assert "missing" in error.message
    assert failed(log, live=True).first == left


@pytest.mark.parametrize("lost", [1, 60, 100, 700, 2000])
def test_a_log_that_was_cut_anywhere_fails(log, lost):
    os.truncate(log.entries, log.entries.stat().st_size - lost)
    for live in (False, True):
        assert failed(log, live=live).first is not None


def test_entries_that_were_added_without_the_key_fail(log):
    def change(entries: Entries) -> None:
        entries += [entries[-1]] * 2
        renumbered(entries)

    rewritten(log, change, tree=True)
    error = failed(log)
    assert (error.first, error.last) == (20, 21)
    assert "no checkpoint" in error.message
    assert "without the key" in error.help


def test_entries_of_a_log_in_use_may_be_unsigned_for_a_little(log):
    log.clock.pass_seconds(10)
    with log.open() as open_log:
        open_log.append(log.events(3))
        error = failed(log)
        assert error.first == 20
        assert "--live" in error.help
        assert verify(log.folder, log.kept, log.keys, live=True, clock=log.clock).signed == 20
        with log.entries.open("ab") as file:  # the next frame, in the middle of being written
            file.write(b"KLAUDIT1 half")
        assert verify(log.folder, log.kept, log.keys, live=True, clock=log.clock).entries == 23
        assert failed(log).first == 23
        os.truncate(log.entries, log.entries.stat().st_size - 13)
        log.clock.pass_seconds(181)
        error = failed(log, live=True)
        assert error.first == 20
        assert "--live" not in error.help
    assert verify(log.folder, log.kept, log.keys).entries == 23


def test_what_is_no_entry_is_found(log):
    rewritten(log, lambda entries: entries.__setitem__(6, b"anything"), tree=True)
    assert failed(log).first == 6


@pytest.mark.parametrize("part", ["header", "entry", "gap"])
def test_a_damaged_frame_is_found(log, part):
    data = bytearray(log.entries.read_bytes())
    second = len(oracle.frame(0, oracle.entries(log.folder)[:3]))
    if part == "gap":
        data[second:second] = b"x"
    else:
        data[second + {"header": 20, "entry": 70}[part]] ^= 1
    log.entries.write_bytes(data)
    assert failed(log).first == 3


def test_random_damage_never_passes(log):
    chance, whole = random.Random(3), log.entries.read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] ^= chance.randint(1, 255)
        if chance.random() < 0.3:
            at = chance.randrange(len(data))
            del data[at : at + chance.randint(1, 200)]
        log.entries.write_bytes(data)
        assert failed(log).first is not None


def test_a_whole_log_made_again_with_another_key_fails(log, tmp_path):
    shutil.rmtree(log.folder)
    true, hidden = log.signer, log.kept.rename(tmp_path / "true")
    log.kept.mkdir()
    log.signer = Signer(ORIGIN, Ed25519PrivateKey.generate())
    log.filled(BATCHES)
    with pytest.raises(AuditTamperedError, match="not signed with a key"):
        verify(log.folder, log.kept, [true.verifier])
    with pytest.raises(AuditTamperedError):
        verify(log.folder, hidden, [true.verifier])


def test_a_log_made_again_with_its_own_key_contradicts_what_was_kept(log, tmp_path):
    """Whoever has the key can sign anything, but not make the other party's copies go away."""
    shutil.rmtree(log.folder)
    hidden = log.kept.rename(tmp_path / "true")
    log.kept.mkdir()
    log.filled(BATCHES)
    assert verify(log.folder, log.kept, log.keys).entries == 20
    with pytest.raises(AuditTamperedError) as caught:
        verify(log.folder, hidden, log.keys)
    assert (caught.value.first, caught.value.last) == (0, 2)


def test_two_histories_signed_with_one_key_are_said_to_be_that(log):
    forged = Checkpoint.sign(log.signer, 20, bytes(32))
    (log.kept / "checkpoint").write_text(forged.note)
    with pytest.raises(AuditTamperedError, match="two histories"):
        verify(log.folder, log.kept, log.keys)


def test_without_checkpoints_or_with_the_wrong_things_nothing_is_shown(log, tmp_path):
    with pytest.raises(AuditCheckpointError):
        verify(log.folder, tmp_path / "none", log.keys)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuditCheckpointError):
        verify(log.folder, tmp_path / "empty", log.keys)
    with pytest.raises(AuditError, match="no audit log"):
        verify(tmp_path / "empty", log.kept, log.keys)
    with pytest.raises(AuditError, match="not the one"):
        verify(log.folder, log.kept, [VerifierKey("kinlink.example/another", bytes(32))])


def test_one_kept_checkpoint_is_enough_for_what_it_covers(log):
    for name in [f"{size:016d}" for size in (0, 3, 8, 9)]:
        (log.kept / "history" / name).unlink()
    rewritten(log, edited(1))
    assert failed(log).first == 1
    kept = [checkpoint.size for _, checkpoint in CheckpointFolder(log.kept).all(log.keys)]
    assert kept == [16, 20, 20]
