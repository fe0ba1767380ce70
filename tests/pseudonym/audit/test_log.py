"""Appending: durable, together, in time, signed when due, by one process."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.audit import Cadence, Checkpoint, CheckpointFolder, Event, Log, Signer, merkle, ticking, verify
from pseudonym.audit.frames import MOST_ENTRIES
from pseudonym.errors import (
    AuditCheckpointError,
    AuditClockError,
    AuditError,
    AuditLockedError,
    AuditTamperedError,
    InputError,
)
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import ORIGIN, Place


def test_what_is_appended_is_there_and_the_tree_is_that_of_the_definition(place):
    with place.create() as log:
        numbers = [log.append(place.events(count)) for count in (1, 3, 0, 7, 1)]
        assert numbers == [range(0, 1), range(1, 4), range(4, 4), range(4, 11), range(11, 12)]
        leaves = oracle.entries(place.folder)
        assert log.size == len(leaves) == 12
        for size in range(13):
            assert log.root(size) == oracle.mth(leaves[:size])
        assert [log.entry(number).count for number in range(12)] == list(range(12))
        assert log.inclusion(5) == oracle.path(5, leaves)
        assert log.inclusion(5, 9) == oracle.path(5, leaves[:9])
        assert log.consistency(5) == oracle.proof(5, leaves)
        assert log.consistency(5, 9) == oracle.proof(5, leaves[:9])
        for wrong in (lambda: log.root(13), lambda: log.entry(12), lambda: log.inclusion(12)):
            with pytest.raises(AuditError):
                wrong()
    assert oracle.verified(place.folder, place.kept, place.key) == 12


def test_a_bad_event_keeps_all_of_its_call_out(place):
    with place.create() as log:
        with pytest.raises(InputError):
            log.append([*place.events(2), Event("Jane Smith", "a", "b")])
        assert log.size == 0
        assert place.entries.stat().st_size == 0


def test_entries_are_on_disk_before_anything_else_is_written(place, monkeypatch):
    """fdatasync of the entries comes after their write and before the tree's; the reply comes last."""
    log = place.create()
    names = {
        os.fstat(handle).st_ino: path.name for path in place.folder.iterdir() for handle in [os.open(path, 0)]
    }
    steps: list[tuple[str, str]] = []

    def watched(name):
        real = getattr(os, name)

        def call(handle, *args):
            steps.append((name, names[os.fstat(handle).st_ino]))
            return real(handle, *args)

        monkeypatch.setattr(os, name, call)

    watched("pwrite")
    watched("fdatasync")
    log.append(place.events(5))
    monkeypatch.undo()
    assert steps == [
        ("pwrite", "entries"),
        ("fdatasync", "entries"),
        ("pwrite", "tree"),
        ("pwrite", "starts"),
    ]
    log.close()


def test_calls_that_wait_share_one_write(place, monkeypatch):
    log = place.create()
    syncs, held = [], threading.Event()
    real = os.fdatasync

    def slow(handle):
        syncs.append(handle)
        held.wait(10)
        real(handle)

    monkeypatch.setattr(os, "fdatasync", slow)
    found: list[range] = []
    threads = [threading.Thread(target=lambda: found.append(log.append(place.events(2)))) for _ in range(20)]
    threads[0].start()
    while not syncs:  # the first one writes …
        time.sleep(0.001)
    for thread in threads[1:]:
        thread.start()
    while len(log._queue) < 19:  # … and the rest wait together
        time.sleep(0.001)
    held.set()
    for thread in threads:
        thread.join()
    assert len(syncs) == 2
    assert sorted(number for numbers in found for number in numbers) == list(range(40))
    log.close()
    assert oracle.verified(place.folder, place.kept, place.key) == 40


def test_many_threads_each_get_their_own_numbers(place):
    told: list[list[tuple[int, int]]] = [[] for _ in range(8)]

    def work(mine: list[tuple[int, int]]) -> None:
        for size in range(1, 26):
            events = place.events(size % 4)
            numbers = log.append(events)
            mine += zip(numbers, (event.count for event in events), strict=True)

    with place.create() as log:
        threads = [threading.Thread(target=work, args=(mine,)) for mine in told]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pairs = sorted(pair for mine in told for pair in mine)
        assert [number for number, _ in pairs] == list(range(log.size))
        assert all(log.entry(number).count == count for number, count in pairs)
    assert oracle.verified(place.folder, place.kept, place.key) == len(pairs)


def test_a_large_call_is_written_in_frames_with_checkpoints_between(place):
    with place.create() as log:
        assert log.append(place.events(2500)) == range(2500)
        log.append(place.events(3, details=bytes(60_000)))
        big = place.events(150, details=bytes(65_536))  # 10 MB: more than one frame holds
        assert log.append(big) == range(2503, 2653)
    frames = oracle.frames(place.entries.read_bytes())
    assert [len(entries) for _, entries in frames[:4]] == [1000, 1000, 500, 3]
    assert sum(len(entries) for _, entries in frames[4:]) == 150
    assert len(frames) == 6
    assert max(len(entries) for _, entries in frames) <= MOST_ENTRIES
    kept = [checkpoint.size for _, checkpoint in CheckpointFolder(place.kept).all(place.keys)]
    assert kept == [0, 1000, 2000, 2653, 2653]
    assert oracle.verified(place.folder, place.kept, place.key) == 2653


def test_time_never_goes_back(place):
    with place.create() as log:
        log.append(place.events())
        place.clock.pass_seconds(-1.5)
        log.append(place.events())  # a little is nothing
        assert log.entry(0).time == log.entry(1).time
        place.clock.pass_seconds(-1)
        with pytest.raises(AuditClockError, match="behind the last entry"):
            log.append(place.events())
        with pytest.raises(AuditClockError):
            log.append(place.events())
        assert log.size == 2
        place.clock.pass_seconds(60)
        log.append(place.events())
    place.clock.pass_seconds(-3600)
    before = place.entries.read_bytes()
    with pytest.raises(AuditClockError, match="3600 seconds"):
        place.open()
    assert place.entries.read_bytes() == before
    place.clock.pass_seconds(3600)
    place.open().close()


def sizes(place: Place) -> list[int]:
    return sorted(int(path.name) for path in (place.kept / "history").iterdir() if path.suffix != ".new")


def test_checkpoints_come_every_thousand_entries_or_sixty_seconds(place):
    with place.create() as log:
        log.append(place.events(999))
        log.tick()
        assert sizes(place) == [0]
        log.append(place.events(1))
        assert sizes(place) == [0, 1000]
        place.clock.pass_seconds(59)
        log.append(place.events(1))
        log.tick()
        assert sizes(place) == [0, 1000]
        place.clock.pass_seconds(1)
        log.tick()
        assert sizes(place) == [0, 1000, 1001]
        place.clock.pass_seconds(600)
        log.tick()  # nothing new, so nothing to sign
        assert sizes(place) == [0, 1000, 1001]
        log.append(place.events(1))
        assert sizes(place) == [0, 1000, 1001, 1002]
        log.append(place.events(1))
    assert sizes(place) == [0, 1000, 1001, 1002, 1003]  # closing signs the rest
    assert CheckpointFolder(place.kept).newest(place.keys) == Checkpoint.read(
        (place.kept / "checkpoint").read_text(), place.keys
    )


def test_a_thread_signs_when_nobody_appends(place):
    with place.create() as log, ticking(log, every=0.01):
        log.append(place.events())
        place.clock.pass_seconds(61)
        for _ in range(500):
            if sizes(place) == [0, 1]:
                break
            threading.Event().wait(0.01)
        assert sizes(place) == [0, 1]


def test_entries_are_acknowledged_though_no_checkpoint_can_be_kept_but_not_for_long(place):
    with place.create(cadence=Cadence(entries=10, seconds=60, patience=3)) as log:
        log.append(place.events(9))
        hidden = place.kept.rename(place.kept.with_name("away"))
        for size in (10, 20, 30):
            log.append(place.events(size - log.size))
        assert log.checkpoint.size == 0
        with pytest.raises(AuditCheckpointError, match="cannot be written"):
            log.append(place.events())
        with pytest.raises(AuditCheckpointError):
            log.tick()
        assert log.size == 30
        hidden.rename(place.kept)
        log.append(place.events())
        assert log.checkpoint.size == 30
        hidden = place.kept.rename(place.kept.with_name("away"))
        place.clock.pass_seconds(179)
        log.append(place.events())
        place.clock.pass_seconds(2)
        with pytest.raises(AuditCheckpointError):
            log.append(place.events())
        hidden.rename(place.kept)
    assert oracle.verified(place.folder, place.kept, place.key) == 32


def test_a_key_that_fails_is_no_reason_to_lose_entries(place):
    class Broken:
        works = True

        def sign(self, data: bytes) -> bytes:
            if not self.works:
                raise RuntimeError("the device is gone")
            return real.sign(data)

        def public_key(self):
            return real.public_key()

    real, broken = Ed25519PrivateKey.generate(), Broken()
    place.signer = Signer(ORIGIN, broken)
    log = place.create(cadence=Cadence(entries=2))
    broken.works = False
    log.append(place.events(3))
    with pytest.raises(AuditCheckpointError, match="signed"):
        log.close()
    broken.works = True
    with place.open() as log:
        assert log.checkpoint.size == 3


def test_one_process_has_the_log(place):
    log = place.create()
    with pytest.raises(AuditLockedError, match="in use"):
        place.open()
    script = """
import sys
from pathlib import Path
from pseudonym.audit.folder import hold
hold(Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", script, str(place.folder)]
    other = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert "AuditLockedError" in other.stderr
    log.close()
    place.open().close()


def test_a_forked_child_cannot_append(place):
    with place.create() as log:
        log.append(place.events())

        def child() -> None:
            try:
                log.append(place.events())
            except AuditLockedError:
                os._exit(7)
            os._exit(0)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(30)
        assert process.exitcode == 7
        assert log.size == 1


def test_a_closed_log_takes_and_tells_nothing(place):
    log = place.create()
    log.append(place.events())
    log.close()
    log.close()
    for use in (lambda: log.append(place.events()), log.tick, lambda: log.entry(0), log.root):
        with pytest.raises(AuditError, match="closed"):
            use()


def failing(monkeypatch, name, code, after=0):
    real, left = getattr(os, name), [after]

    def call(*args):
        if left[0] == 0:
            if name == "pwrite":
                real(args[0], bytes(args[1])[:10], args[2])
            raise OSError(code, os.strerror(code))
        left[0] -= 1
        return real(*args)

    monkeypatch.setattr(os, name, call)


def test_a_full_disk_refuses_and_the_log_goes_on_once_there_is_room(place, monkeypatch):
    with place.create() as log:
        log.append(place.events(3))
        failing(monkeypatch, "pwrite", errno.ENOSPC)
        with pytest.raises(AuditError, match="disk is full"):
            log.append(place.events(3))
        monkeypatch.undo()
        assert log.append(place.events(2)) == range(3, 5)
    assert oracle.verified(place.folder, place.kept, place.key) == 5


@pytest.mark.parametrize(("name", "after"), [("fdatasync", 0), ("pwrite", 1), ("pwrite", 2)])
def test_after_a_failed_sync_the_log_has_to_be_opened_again(place, monkeypatch, name, after):
    log = place.create()
    log.append(place.events(3))
    failing(monkeypatch, name, errno.EIO, after)
    with pytest.raises(AuditError, match="could not be written"):
        log.append(place.events(3))
    monkeypatch.undo()
    with pytest.raises(AuditError, match="disk failed"):
        log.append(place.events(3))
    log.close()
    with place.open() as log:
        assert log.size == 6  # all six were written; none was said to be
        log.append(place.events())
    assert oracle.verified(place.folder, place.kept, place.key) == 7


def test_a_file_that_somebody_else_changes_is_not_written_to(place):
    with place.create() as log:
        log.append(place.events(3))
        with place.entries.open("ab") as file:
            file.write(b"x")
        for _ in range(2):
            with pytest.raises(AuditTamperedError, match="somebody else"):
                log.append(place.events())


def test_a_log_is_made_once_and_opened_by_its_own_key(place, tmp_path):
    place.create().close()
    with pytest.raises(AuditError, match="already"):
        place.create()
    with pytest.raises(AuditError, match="no audit log"):
        Log.open(tmp_path / "kept", place.kept, place.signer, place.officer.public_key())
    with pytest.raises(AuditError, match="cannot be opened"):
        Log.open(tmp_path / "none", place.kept, place.signer, place.officer.public_key())
    with pytest.raises(AuditError, match="cannot be made"):
        Log.create(tmp_path / "a" / "b", place.kept, place.signer, place.officer.public_key())
    right = place.signer
    place.signer = Signer("kinlink.example/tf/broker", Ed25519PrivateKey.generate())
    with pytest.raises(AuditError, match="not the one"):
        place.open()
    place.signer = Signer(ORIGIN, Ed25519PrivateKey.generate())
    with pytest.raises(AuditTamperedError, match="not good"):
        place.open()
    with place.open(former=[right]) as log:  # a new key, with the former one at hand
        log.append(place.events(2))
    assert verify(place.folder, place.kept, [right.verifier]).checkpoints == 3


def test_a_new_log_cannot_take_the_place_of_a_lost_one(place, tmp_path):
    place.filled([3])
    os.rename(place.folder, tmp_path / "lost")
    with pytest.raises(AuditError, match="those of a log with 3 entries"):
        place.create()


def test_without_a_kept_checkpoint_a_log_does_not_open(place):
    place.filled([3])
    place.kept.rename(place.kept.with_name("away"))
    with pytest.raises(AuditCheckpointError):
        place.open()
    place.kept.mkdir()
    with pytest.raises(AuditTamperedError, match="No checkpoint"):
        place.open()


def test_a_log_that_was_not_made_to_the_end_is_made_again(place, monkeypatch):
    monkeypatch.setattr("pseudonym.audit.log.write_about", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        place.create()
    monkeypatch.undo()
    with pytest.raises(AuditError, match="no audit log"):
        place.open()
    with place.create() as log:
        log.append(place.events())
    assert oracle.verified(place.folder, place.kept, place.key) == 1


def test_it_does_not_sign_against_what_it_signed(place):
    place.filled([5])
    forged = merkle.Frontier()
    forged.add([bytes(32)] * 7)
    with place.open() as log:
        CheckpointFolder(place.kept).keep(Checkpoint.sign(place.signer, 7, forged.root()))
        log.append(place.events(2))
        place.clock.pass_seconds(60)
        with pytest.raises(AuditTamperedError):
            log.tick()
        with pytest.raises(AuditTamperedError):
            log.append(place.events())
    with pytest.raises(AuditTamperedError, match="newest checkpoint"):
        place.open()


def test_files_are_for_the_owner_alone(place):
    os.umask(os.umask(0o022))
    place.filled([20])
    assert {path.stat().st_mode & 0o777 for path in place.folder.iterdir()} == {0o600}
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in place.folder.iterdir()} == {
        "about",
        "entries",
        "lock",
        "mark",
        "public-key",
        "starts",
        "tree",
    }
