"""Sealed folders without a server: tables part by part, and files that were tampered with."""

from __future__ import annotations

import shutil
import time

import polars as pl
import pytest

from linker import vaulted
from linker.errors import LinkerError
from linker.intake import Intake
from linker.jobs import Runner
from linker.references import References
from linker.refusals import NotReady, Refused
from linker.resources import (
    Batch,
    Format,
    JobKind,
    JobState,
    Limits,
    Mandate,
    SubmissionKind,
    SubmissionState,
    Work,
)
from linker.store import Store
from linker.vaulted import Damaged, Folder
from tests.service.harness import PROJECT, PURPOSE, arrow, people, safe_in
from tests.service.test_receiving import digest

TABLE = people(1_000)


@pytest.fixture
def safe(tmp_path):
    with safe_in(tmp_path) as safe:
        yield safe


@pytest.fixture
def folder(tmp_path, safe):
    (tmp_path / "job-1").mkdir()
    safe.make("job-1")
    return Folder(safe, tmp_path / "job-1", "job-1")


@pytest.mark.parametrize(("rows", "bytes_"), [(1_000_000, 1 << 30), (170, 1 << 30), (1_000_000, 20_000)])
def test_any_rows_of_a_table_come_out_as_they_went_in(folder, monkeypatch, rows, bytes_):
    monkeypatch.setattr(vaulted, "PART_ROWS", rows)
    monkeypatch.setattr(vaulted, "PART_BYTES", bytes_)
    folder.write_table("links", TABLE)
    assert folder.frame("links").equals(TABLE)
    with folder.table("links") as table:
        assert table.height == TABLE.height
        for first, count in [(0, 10), (165, 10), (169, 1), (170, 400), (990, 50), (1_000, 5), (1 << 63, 5)]:
            expected = TABLE[min(first, 1_000) : min(first + count, 1_000)]
            assert table.slice(first, count).equals(expected)
        wanted = ["r000003", "r000169", "r000170", "r000999", "nobody"]
        assert table.where("person_id", wanted).equals(TABLE.filter(pl.col("person_id").is_in(wanted)))
        assert table.where("person_id", ["nobody"]).equals(TABLE.clear())


def test_an_empty_table_keeps_its_columns(folder):
    folder.write_table("links", TABLE.clear())
    assert folder.frame("links").equals(TABLE.clear())


def test_a_part_at_a_time_is_opened(folder, monkeypatch):
    monkeypatch.setattr(vaulted, "PART_ROWS", 100)
    folder.write_table("links", TABLE)
    opened = []

    class Counting:
        def __init__(self, file):
            self.parts, self.end, self._file = file.parts, file.end, file

        def part(self, number):
            opened.append(number)
            return self._file.part(number)

    whole = folder.safe.opened
    monkeypatch.setattr(type(folder.safe), "opened", lambda _, *given: Counting(whole(*given)))
    with folder.table("links") as table:
        for first in range(250, 450, 10):
            table.slice(first, 10)
    assert opened == [2, 3, 4]


def test_a_draft_is_sealed_too(folder, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        folder.write_table("links", TABLE)
    (draft,) = folder.path.iterdir()
    assert draft.name == "links.sealed.part"
    assert b"Ava" not in draft.read_bytes()
    vaulted.check_sealed(folder.path)  # what a crash left is no plain data


@pytest.mark.parametrize(
    "path",
    [
        "submissions/sub-1/records.parquet",
        "submissions/sub-1/chunks/00000001.arrow",
        "references/ref-1/00000001.parquet",
        "jobs/job-1/report.json",
        "jobs/job-1.part/links.parquet",
    ],
)
def test_a_folder_of_an_earlier_version_is_refused_and_left_as_it_is(tmp_path, safe, path):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"PAR1")
    store = Store(tmp_path / "kinlink.sqlite", safe)
    with pytest.raises(LinkerError, match="earlier version and holds identifiers in the clear"):
        open_all(tmp_path, store)
    assert file.exists()
    store.close()


def open_all(folder, store):
    intake = Intake(store, folder / "submissions", Limits())
    References(store, intake, folder / "references", Limits())
    return intake, Runner(store, intake, folder / "jobs", Limits(), 1)


# --- tampering -------------------------------------------------------------------------------------


class Two:
    """Two submissions of three chunks each, on their way, in one project."""

    def __init__(self, folder, safe):
        self.store = Store(folder / "kinlink.sqlite", safe)
        self.intake, self.runner = open_all(folder, self.store)
        self.frames = {name: people(30, seed) for name, seed in (("one", 1), ("two", 2))}
        self.uploads = {name: self.send(name, frame) for name, frame in self.frames.items()}

    def send(self, name, frame, kind=SubmissionKind.EXTRACT):
        batch = Batch(kind, name, "NPD", Format.ARROW, tuple(frame.columns), id_column="person_id")
        upload = self.intake.open(batch, Mandate(f"request-{name}", PROJECT, PURPOSE), name.encode())
        contents = [arrow(part) for part in frame.iter_slices(10)]
        upload.keep([upload.examine(n, digest(one), one) for n, one in enumerate(contents, start=1)])
        self.digests = getattr(self, "digests", {}) | {name: digest(b"".join(map(digest, contents)))}
        return upload

    def end(self, name):
        return self.uploads[name].end(3, 30, self.digests[name])

    def path(self, name):
        return self.intake.folder / self.uploads[name].submission.submission_id


@pytest.fixture
def two(tmp_path, safe):
    two = Two(tmp_path, safe)
    yield two
    two.store.close()


def exchange(one, other, beside):
    one.rename(beside)
    other.rename(one)
    beside.rename(other)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


CHUNK = "chunks/00000002.sealed"
TAMPERED = {
    "exchanged between submissions": lambda two, at: exchange(
        two.path("one") / at, two.path("two") / at, two.intake.folder / "x"
    ),
    "the other's copied": lambda two, at: shutil.copy(two.path("two") / at, two.path("one") / at),
    "cut off": lambda two, at: cut(two.path("one") / at, -1),
    "cut off at its head": lambda two, at: cut(two.path("one") / at, 17),
    "emptied": lambda two, at: cut(two.path("one") / at, 0),
}


@pytest.mark.parametrize("how", [*TAMPERED, "reordered"])
def test_chunks_that_were_tampered_with_make_no_submission(two, how):
    if how == "reordered":
        chunks = two.path("one") / "chunks"
        exchange(chunks / "00000001.sealed", chunks / "00000002.sealed", chunks / "x.sealed")
    else:
        TAMPERED[how](two, CHUNK)
    with pytest.raises(Damaged) as caught:
        two.end("one")
    assert (caught.value.code, caught.value.reason) == ("DATA_LOSS", "SEAL_BROKEN")
    assert "altered, cut off, or exchanged" in caught.value.message
    assert two.store.submissions.get(PROJECT, batch_id="one").state is SubmissionState.RECEIVING


@pytest.mark.parametrize("how", TAMPERED)
@pytest.mark.parametrize("name", ["records", "refusals", "layout"])
def test_records_that_were_tampered_with_are_not_read(two, how, name):
    done = two.end("one")
    two.end("two")
    TAMPERED[how](two, f"{name}.sealed")
    with pytest.raises(Damaged):
        two.intake.records(done)


def test_a_job_over_tampered_records_fails_and_says_why(two):
    done = two.end("one")
    two.end("two")
    TAMPERED["the other's copied"](two, "records.sealed")
    asked = Work(JobKind.DEDUPLICATION, (done.submission_id,))
    job = two.runner.submit(asked, Mandate("request-job", PROJECT, PURPOSE), "Start", b"job")
    two.runner._run(two.store.jobs.claim())
    failed = two.store.jobs.get(PROJECT, job.job_id)
    assert (failed.state, failed.problem.reason) == (JobState.FAILED, "SEAL_BROKEN")


# --- destruction -----------------------------------------------------------------------------------


def mandate(name="delete"):
    return Mandate(f"request-{name}", PROJECT, PURPOSE)


@pytest.mark.parametrize("complete", [False, True])
def test_a_deleted_submission_is_gone_for_good(two, complete):
    if complete:
        two.end("one")
    upload, kept = two.uploads["one"], shutil.copytree(two.path("one"), two.intake.folder.parent / "kept")
    key = upload.submission.submission_id
    for request in ("delete", "delete", "again"):
        deleted = two.intake.delete(mandate(request), key, None, b"delete")
        assert deleted.state is SubmissionState.DELETED
    assert not two.path("one").exists()
    # Whoever has kept the files cannot read them any more.
    shutil.copytree(kept, two.path("one"))
    with pytest.raises(Damaged, match="key of this data is not there"):
        Folder(two.store.safe, two.path("one") / ("" if complete else "chunks"), key).read(
            "layout" if complete else "00000001"
        )
    for attempt in (lambda: two.send("one", two.frames["one"]), lambda: two.end("one")):
        with pytest.raises(Refused, match="was deleted") as caught:
            attempt()
        assert caught.value.reason == "BATCH_CONFLICT"
    with pytest.raises(NotReady):
        two.intake.records(deleted)
    assert two.end("two").state is SubmissionState.READY
    # The same content under another name is a submission of its own.
    two.frames["three"] = two.frames["one"]
    two.uploads["three"] = two.send("three", two.frames["three"])
    assert two.end("three").state is SubmissionState.READY


@pytest.mark.parametrize("broken", ["destroy", "remove"])
def test_a_restart_finishes_what_a_crash_cut_off(two, tmp_path, monkeypatch, broken):
    done = two.end("one")

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        where = type(two.store.safe) if broken == "destroy" else "linker.destruction.remove"
        if broken == "destroy":
            patched.setattr(where, "destroy", crash)
        else:
            patched.setattr(where, crash)
        with pytest.raises(KeyboardInterrupt):
            two.intake.delete(mandate(), done.submission_id, None, b"delete")
    assert two.path("one").exists()
    with pytest.raises(NotReady):  # nobody reads it, whatever else is left to do
        two.intake.records(two.store.submissions.get(PROJECT, batch_id="one"))
    kept = shutil.copytree(two.path("one"), tmp_path / "kept")
    open_all(tmp_path, two.store)
    assert not two.path("one").exists()
    assert two.store.doomed.all("sub") == []
    with pytest.raises(Damaged):
        Folder(two.store.safe, kept, done.submission_id).read("layout")
    assert two.path("two").exists()


def test_r45_extracts_of_registers_are_destroyed_after_31_days_and_councils_files_are_not(two):
    two.end("one")
    two.uploads["families"] = two.send("families", people(30, 3), SubmissionKind.IDENTITIES)
    now = time.time()
    assert two.intake.delete_overdue(lambda: now + 31 * 86_400 - 60) == 0
    assert two.path("one").exists()
    # Whole or broken off: both are gone, and what a job still waits for goes on another day.
    one = two.uploads["one"].submission.submission_id
    job = two.runner.submit(Work(JobKind.DEDUPLICATION, (one,)), mandate("job"), "StartDeduplication", b"job")
    assert two.intake.delete_overdue(lambda: now + 31 * 86_400 + 60) == 1
    assert [two.path(name).exists() for name in ("one", "two", "families")] == [True, False, True]
    two.runner.cancel(mandate("cancel"), job.job_id, b"cancel")
    assert two.intake.delete_overdue(lambda: now + 32 * 86_400) == 1
    assert two.intake.delete_overdue(lambda: now + 32 * 86_400) == 0
    assert [two.path(name).exists() for name in ("one", "two", "families")] == [False, False, True]


def test_a_database_that_was_sealed_with_other_keys_is_refused(two, tmp_path):
    two.store.close()
    (tmp_path / "other").mkdir()
    with (
        safe_in(tmp_path / "other") as other,
        pytest.raises(LinkerError, match="does not open with the keys"),
    ):
        Store(tmp_path / "kinlink.sqlite", other)
