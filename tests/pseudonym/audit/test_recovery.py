"""After a crash a log has what was acknowledged, loses only what was not, and refuses what no crash does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pseudonym.audit import frames, merkle
from pseudonym.errors import AuditError, AuditTamperedError
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import Place

DERIVED = ("tree", "starts", "mark")


@pytest.fixture
def crashed(place: Place) -> Place:
    """Three batches were acknowledged, then the process was killed: nothing was closed, marked or signed."""
    log = place.create()
    for size in (4, 1, 6):
        log.append(place.events(size))
    log._closing.close()  # what the system does with a process's files
    log._closed = True
    return place


def again(place: Place, size: int) -> None:
    """It opens with so many entries, goes on, and the second implementation agrees."""
    with place.open() as log:
        assert log.size == size
        assert log.append(place.events(3)) == range(size, size + 3)
    assert oracle.verified(place.folder, place.kept, place.key) == size + 3


def test_a_killed_process_leaves_everything_that_it_acknowledged(crashed):
    again(crashed, 11)


@pytest.mark.parametrize("missing", [["tree"], ["starts"], ["mark"], ["tree", "starts", "mark"]])
@pytest.mark.parametrize("marked", [False, True])
def test_what_lies_beside_the_entries_is_made_again(crashed, missing, marked):
    if marked:
        crashed.open().close()
    for name in missing:
        (crashed.folder / name).unlink(missing_ok=True)
    again(crashed, 11)


@pytest.mark.parametrize("name", DERIVED)
@pytest.mark.parametrize("change", ["cut", "zeros", "flip"])
def test_what_lies_beside_the_entries_is_not_believed(crashed, name, change):
    """A damaged helper is made again, or the log refuses; it never opens as something else."""
    crashed.open().close()
    file = crashed.folder / name
    data = bytearray(file.read_bytes())
    if change == "flip":
        data[len(data) // 2] ^= 0xFF
    elif change == "cut":
        del data[len(data) // 2 :]
    else:
        data = bytearray(len(data))
    file.write_bytes(data)
    try:
        log = crashed.open()
    except AuditError:
        for one in DERIVED:
            (crashed.folder / one).unlink()
        log = crashed.open()
    with log:
        assert log.size == 11
        assert log.root() == oracle.mth(oracle.entries(crashed.folder))


def test_a_tail_that_was_torn_at_any_byte_is_cut_away(crashed, tmp_path):
    whole = crashed.entries.read_bytes()
    tail = frames.pack(11, [b"entries are not", b"read before they are whole"])
    for size in range(len(tail)):
        for rest in (b"", bytes(len(tail) - size)):  # the file may have its full length, with zeros in it
            crashed.entries.write_bytes(whole + tail[:size] + rest)
            crashed.open().close()
            assert crashed.entries.read_bytes() == whole
    again(crashed, 11)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_when_the_power_fails_any_part_of_the_last_write_may_be_missing(tmp_path_factory, data):
    """All blocks of what was put on disk are there; of what was written since, any of them.

    The model is one of a disk with sectors of 64 bytes, so that a small frame has many.
    """
    place = Place(tmp_path_factory.mktemp("power"))
    log = place.create()
    acknowledged = 0
    for size in data.draw(st.lists(st.integers(1, 5), max_size=3)):
        log.append(place.events(size))
        acknowledged += size
    if data.draw(st.booleans()):
        log._writer.mark(least=1)
    before = {name: (place.folder / name).read_bytes() for name in ("entries", "tree", "starts")}
    synced = log._writer._marked  # of the helpers, only what the mark covers is known to be on disk
    more = data.draw(st.integers(1, 5))
    log.append(place.events(more))
    log._closing.close()
    log._closed = True
    certain = {
        "entries": len(before["entries"]),
        "tree": 32 * merkle.complete(synced),
        "starts": 8 * synced,
    }
    reached = data.draw(st.booleans())  # whether the fsync of the last frame came to its end
    if reached:
        certain["entries"] = place.entries.stat().st_size
    for name, keep in certain.items():
        if name != "entries" and not reached and data.draw(st.booleans()):
            (place.folder / name).write_bytes(before[name])  # not yet written when the power failed
        if not reached:
            # Helpers are written after the entries are on disk, never before.
            known = (place.folder / name).read_bytes()[: len(before[name])] if name != "entries" else b""
            if name != "entries":
                (place.folder / name).write_bytes(known)
        whole = (place.folder / name).read_bytes()
        left = bytearray(whole[:keep])
        for at in range(keep, len(whole), 64):
            part = whole[at : at + 64]
            left += part if data.draw(st.booleans()) else bytes(len(part))
        left = left[: max(keep, data.draw(st.integers(keep, len(whole))))]
        (place.folder / name).write_bytes(left)
    with place.open() as log:
        size = log.size
        assert size in ((acknowledged + more,) if reached else (acknowledged, acknowledged + more))
        assert log.append(place.events(2)) == range(size, size + 2)
    assert oracle.verified(place.folder, place.kept, place.key) == size + 2
    shutil.rmtree(place.folder.parent)


def refused(place: Place, first: int) -> None:
    """It does not open, says where, and changes nothing."""
    before = place.entries.read_bytes()
    with pytest.raises(AuditTamperedError) as caught:
        place.open()
    assert caught.value.first == first
    assert place.entries.read_bytes() == before


def starts(place: Place) -> list[int]:
    """Where the frames begin and the file ends."""
    at, found = 0, []
    for first, entries in oracle.frames(place.entries.read_bytes()):
        found.append(at)
        at += len(oracle.frame(first, entries))
    return [*found, at]


@pytest.mark.parametrize("lost", [1, 30, 64, 65, 500])
def test_acknowledged_entries_that_are_gone_are_not_cut_away_further(crashed, lost):
    os.truncate(crashed.entries, crashed.entries.stat().st_size - lost)
    refused(crashed, 5)


def test_a_whole_frame_that_is_gone_is_missed(crashed):
    os.truncate(crashed.entries, starts(crashed)[2])
    refused(crashed, 5)
    for name in DERIVED[
        :2
    ]:  # what a signed checkpoint covers is missed without help from the log's own files
        (crashed.folder / name).unlink()
    os.truncate(crashed.entries, starts(crashed)[2])
    with crashed.open() as log:  # nobody who could tell is left: these entries were not signed yet
        assert log.size == 5


def test_what_a_checkpoint_signed_is_missed_whatever_else_is_gone(place):
    place.filled([4, 1, 6])
    os.truncate(place.entries, starts(place)[2])
    for name in DERIVED:
        (place.folder / name).unlink()
    refused(place, 5)
    os.truncate(place.entries, 0)
    refused(place, 0)


@pytest.mark.parametrize("at", [0, 8, 17, 21, 30, 60, 64, 70, 150])
def test_damage_before_the_last_frame_is_no_torn_tail(crashed, at):
    data = bytearray(crashed.entries.read_bytes())
    data[starts(crashed)[1] + at] ^= 1
    crashed.entries.write_bytes(data)
    refused(crashed, 4)


def test_damage_to_an_acknowledged_last_frame_is_no_torn_tail(crashed):
    data = bytearray(crashed.entries.read_bytes())
    data[-5] ^= 1
    crashed.entries.write_bytes(data)
    refused(crashed, 5)


def test_a_frame_in_the_wrong_place_is_refused(crashed):
    data, at = crashed.entries.read_bytes(), starts(crashed)
    crashed.entries.write_bytes(data[: at[1]] + data[at[2] :] + data[at[1] : at[2]])
    refused(crashed, 4)


def test_more_than_a_crash_can_leave_is_not_cut_away(crashed):
    with crashed.entries.open("ab") as file:
        file.truncate(crashed.entries.stat().st_size + (10 << 20))
    refused(crashed, 11)


def test_opening_does_not_read_what_was_marked(place, monkeypatch):
    """A log of a million entries opens without reading them: only the frames since the mark are read."""
    place.filled([1000, 1000, 500])
    with place.open() as log:
        log.append(place.events(7))
        log._closing.close()
        log._closed = True
    seen: list[int] = []
    real = frames.read

    def read(handle: int, start: int, end: int) -> frames.Frame:
        seen.append(start)
        return real(handle, start, end)

    monkeypatch.setattr("pseudonym.audit.stored.read", read)
    with place.open() as log:
        assert log.size == 2507
    assert len(seen) == 1


def test_marks_come_by_themselves(place, monkeypatch):
    monkeypatch.setattr("pseudonym.audit.writer._MARK_EVERY", 10)
    monkeypatch.setattr("pseudonym.audit.writer.Writer.mark.__defaults__", (10,))
    log = place.create()
    log.append(place.events(12))
    place.clock.pass_seconds(60)
    log.tick()
    assert (place.folder / "mark").exists()
    log._closing.close()
    log._closed = True
    again(place, 12)


def test_the_copy_that_a_crash_left_of_a_small_file_is_in_nobodys_way(place: Place, tmp_path: Path):
    place.filled([3])
    for path in (
        place.folder / "mark.new",
        place.kept / "checkpoint.new",
        place.kept / "history" / "half.new",
    ):
        path.write_bytes(b"half")
    again(place, 3)
