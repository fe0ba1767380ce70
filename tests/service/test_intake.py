"""Intake without a server: turns within a batch, what a crash leaves, and rows before they are unpacked."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time

import pytest

import linker
from linker import chunks, destruction, service, upload
from linker.intake import Intake
from linker.refusals import Exhausted, Invalid
from linker.resources import Batch, Format, Limits, Mandate, SubmissionKind, SubmissionState
from linker.store import Store
from linker.v1 import intake_pb2
from tests.service.harness import PURPOSE, arrow, people, safe_in

FRAME = people(10)
CONTENT = arrow(FRAME)
DIGEST = hashlib.sha256(CONTENT).digest()


@pytest.fixture
def store(tmp_path):
    with safe_in(tmp_path) as safe:
        store = Store(tmp_path / "kinlink.sqlite", safe)
        yield store
        store.close()


def intake_of(store, tmp_path, **limits):
    return Intake(store, tmp_path / "submissions", Limits(**limits))


def opened(intake, name, columns=tuple(FRAME.columns), form=Format.ARROW):
    batch = Batch(SubmissionKind.EXTRACT, name, "NPD", form, tuple(columns))
    return intake.open(batch, Mandate(f"request-{name}", "families", PURPOSE), b"digest")


def add(upload, number, content):
    upload.keep([upload.examine(number, hashlib.sha256(content).digest(), content)])


def ended(upload):
    add(upload, 1, CONTENT)
    return upload.end(1, FRAME.height, hashlib.sha256(DIGEST).digest())


def test_whoever_waits_long_for_a_turn_is_told_to_come_again(store, tmp_path, monkeypatch):
    intake = intake_of(store, tmp_path)
    first, again, others = (
        opened(intake, "b"),
        opened(intake, "b"),
        [opened(intake, f"o{n}") for n in range(70)],
    )
    working, go_on = threading.Event(), threading.Event()
    arrive = linker.arrive

    def slowly(*given, **options):
        working.set()
        assert go_on.wait(20)
        return arrive(*given, **options)

    monkeypatch.setattr(linker, "arrive", slowly)
    thread = threading.Thread(target=ended, args=(first,))
    thread.start()
    assert working.wait(20)
    try:
        began = time.monotonic()
        with pytest.raises(Exhausted) as caught:
            add(again, 1, CONTENT)
        assert time.monotonic() - began < 5
        assert (caught.value.reason, caught.value.retry_after) == ("BUSY", 1.0)
        # No other batch waits for this one.
        for other in others:
            add(other, 1, CONTENT)
    finally:
        go_on.set()
        thread.join()
    assert again.end(1, FRAME.height, hashlib.sha256(DIGEST).digest()).state is SubmissionState.READY


def test_what_a_crash_leaves_goes_at_the_next_start(store, tmp_path, monkeypatch):
    intake = intake_of(store, tmp_path)
    kept = ended(opened(intake, "kept"))
    receiving = opened(intake, "receiving")
    add(receiving, 1, CONTENT)
    # Two batches of one content end at the same time: both are written, and only one of them stays.
    twin = opened(intake, "twin")
    with monkeypatch.context() as patched:
        patched.setattr(store.submissions, "same_content", lambda _: None)
        patched.setattr(intake, "destroy_doomed", lambda: None)
        patched.setattr(upload, "remove", lambda _: True)
        assert ended(twin).submission_id == kept.submission_id
    folders = tmp_path / "submissions"
    assert (folders / twin.submission.submission_id / "records.sealed").exists()
    # A crash before the chunks of a ready submission are removed.
    (folders / kept.submission_id / "chunks").mkdir()
    (folders / "sub-unknown").mkdir()
    shutil.copytree(folders / kept.submission_id, folders / "sub-stranger")

    again = intake_of(store, tmp_path)
    assert {folder.name for folder in folders.iterdir()} == {
        kept.submission_id,
        receiving.submission.submission_id,
    }
    assert not (folders / kept.submission_id / "chunks").exists()
    assert again.records(kept).ids.len() == FRAME.height
    assert list((folders / receiving.submission.submission_id / "chunks").iterdir())


def test_a_folder_that_cannot_be_removed_is_said(store, tmp_path, monkeypatch):
    intake_of(store, tmp_path)
    (tmp_path / "submissions" / "sub-left").mkdir()
    said = []
    monkeypatch.setattr(destruction, "event", lambda name, level, **facts: said.append((name, facts)))

    def fail(*_given, **options):
        if not options.get("ignore_errors"):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", fail)
    intake_of(store, tmp_path)
    facts = {"folder": "sub-left", "exception": "PermissionError"}
    assert said == [("folder_not_removed", facts)]


@pytest.mark.parametrize(
    ("rows", "values", "reason"),
    [(1_001, 3, "CHUNK_TOO_LARGE"), (700, 3, "CHUNK_TOO_LARGE"), (1, 900_000, "SCHEMA_MISMATCH")],
)
def test_rows_are_counted_before_they_are_unpacked(store, tmp_path, monkeypatch, rows, values, reason):
    # Room for 2,000 values.
    intake = intake_of(store, tmp_path, chunk_rows=1_000, chunk_bytes=32_000)
    upload = opened(intake, "rows", ["a", "b", "c"], Format.ROWS)
    monkeypatch.setattr(chunks, "digest_of", lambda _: pytest.fail("the rows are read"))
    row = intake_pb2.Row(values=[""] * values)
    chunk = intake_pb2.Chunk(number=1, rows=intake_pb2.Rows(rows=[row] * rows))
    with pytest.raises(Invalid) as caught:
        service._examine(upload, chunk)
    assert caught.value.reason == reason


def test_the_digest_of_rows_is_that_of_their_text():
    rows = [["a", "é", ""], ["", "\U0001f600", "b"]]
    text = "a\x1fé\x1f\x1f\x1e\x1f\U0001f600\x1fb\x1f\x1e"
    assert chunks.digest_of(rows) == hashlib.sha256(text.encode()).digest()
