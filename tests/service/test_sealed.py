"""A real server keeps nothing of anybody in the clear: canaries in none of its files, at no moment."""

from __future__ import annotations

import sqlite3
from functools import cache

import grpc
import polars as pl
import pytest

import linker
from linker.client import Client, ServiceError
from linker.resources import JobState, SubmissionState, Table
from tests.pseudonym.storage.test_canary import forms
from tests.service.harness import (
    PROJECT,
    Server,
    arrow,
    chunk,
    details,
    end,
    header,
    people,
    upload,
    with_errors,
)

CANARIES = {
    "person_id": "canaryid-770316",
    "forename": "Zebediahnus",
    "surname": "Quistgaardova",
    "date_of_birth": "1931-11-27",
    "postcode": "ZE39 9JP",
}
PUT = {"forename": "Vexwhistle", "surname": "Plovercanary", "postcode": "ZE38 8QX"}
PURPOSE = "purpose of Canarypurpose"


@cache
def needles():
    values = [*CANARIES.values(), *PUT.values(), PURPOSE, "Canarypurpose", "27/11/1931", "19311127"]
    return {form: value for value in values for form in forms(value) if len(form) >= 6}


def seen(folder):
    """The canaries that are in a folder's files or their names, however they are written."""
    octets = b"\0".join(
        str(path.relative_to(folder)).encode() + b"\0" + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    )
    return {value for form, value in needles().items() if form in octets}


def planted(count=400):
    first = pl.int_range(count) == 7
    return people(count).with_columns(
        pl.when(first).then(pl.lit(value)).otherwise(column).alias(column)
        for column, value in CANARIES.items()
    )


FRAME = planted()


def test_the_search_finds_what_is_there(tmp_path):
    assert seen(tmp_path) == set()
    (tmp_path / "part.parquet").write_bytes(arrow(FRAME))
    (tmp_path / CANARIES["surname"]).mkdir()
    assert seen(tmp_path) >= set(CANARIES.values())


def send_half(server, frame, name):
    """The first of two chunks, and then the stream breaks off."""
    with pytest.raises(grpc.RpcError) as caught:
        upload(server, header(frame, name), chunk(1, arrow(frame[:200])))
    assert details(caught.value).reason == "STREAM_INVALID"


@pytest.mark.slow
def test_no_canary_in_any_file_of_a_data_folder(tmp_path):
    data = tmp_path / "data"

    def client():
        return Client(server.address, project=PROJECT, purpose=PURPOSE, patience=60)

    with Server(data) as server:
        send_half(server, FRAME, "left")
        assert len(list(data.glob("submissions/*/chunks/*"))) == 1
        assert seen(data) == set()
        server.kill()
    assert seen(data) == set()
    with Server(data) as server, client() as caller:
        sides = [
            caller.submit(frame, batch_id=name, source="NPD", id_column="person_id", chunk_rows=200)
            for name, frame in (("again", FRAME), ("right", with_errors(FRAME)))
        ]
        ids = [side.submission_id for side in sides]
        assert seen(data) == set()
        linked = caller.wait(caller.start_linkage(*ids, all_pairs=-20.0).job_id)
        trained = caller.wait(caller.train_model("trained", *ids).job_id)
        deduplicated = caller.wait(caller.start_deduplication(ids[0], model="trained").job_id)
        assert {job.state for job in (linked, trained, deduplicated)} == {JobState.SUCCEEDED}
        links = caller.read_links(linked.job_id)
        ours = links.filter(pl.col("left_id") == CANARIES["person_id"]).row(0, named=True)
        assert caller.explain(linked.job_id, ours["left_id"], ours["right_id"])["match_weight"] > 0
        model = linker.Model.from_json(caller.get_model("trained"))
        for report in (caller.report(job.job_id, with_model=True) for job in (linked, trained)):
            linker.Model.from_json(report["model_json"])
        (tmp_path / "manifest.json").write_text(caller.report(linked.job_id)["manifest_json"])
        assert linker.Manifest.load(tmp_path / "manifest.json").model_file == "model.json"
        caller.load_reference("held", ids[0], "trained")
        assert caller.put_records("held", {"put-1": PUT}).changes == 1
        assert caller.match("held", PUT).candidates[0].record_id == "put-1"
        assert caller.refusals(ids[0]) is not None
        send_half(server, FRAME.reverse(), "half")
        assert seen(data) == set()
        server.kill()
    assert seen(data) == set()
    with Server(data) as server, client() as caller:
        assert caller.read_links(linked.job_id).equals(links)
        assert caller.read_links(linked.job_id, Table.PAIRS).height >= links.height
        assert caller.match("held", PUT).candidates[0].record_id == "put-1"
        assert linker.Model.from_json(caller.get_model("trained")) == model

        # What is in use is not deleted, and what is deleted is gone.
        for attempt, reason in (
            (lambda: caller.delete_submission(ids[0]), "SUBMISSION_IN_USE"),
            (lambda: caller.delete_model("trained"), "MODEL_IN_USE"),
        ):
            with pytest.raises(ServiceError) as refused:
                attempt()
            assert (refused.value.code, refused.value.reason) == ("FAILED_PRECONDITION", reason)
        caller.drop_reference("held")
        for _ in range(2):
            for job in (linked, trained, deduplicated):
                assert caller.delete_job(job.job_id).state is JobState.DELETED
            for side in ids:
                assert caller.delete_submission(side).state is SubmissionState.DELETED
        caller.delete_model("trained")
        for attempt, reason in (
            (lambda: caller.read_links(linked.job_id), "JOB_NOT_SUCCEEDED"),
            (lambda: caller.start_deduplication(ids[0]), "SUBMISSION_NOT_READY"),
            (lambda: caller.get_model("trained"), "MODEL_NOT_FOUND"),
            (lambda: caller.delete_model("trained"), "MODEL_NOT_FOUND"),
        ):
            with pytest.raises(ServiceError) as refused:
                attempt()
            assert refused.value.reason == reason
        halves = [one.submission_id for one in caller.submissions() if one.state is SubmissionState.RECEIVING]
        assert len(halves) == 2
        left = {
            path.name for name in ("submissions", "jobs", "references") for path in (data / name).iterdir()
        }
        assert left == set(halves)
        assert server.stop() == 0
    with sqlite3.connect(data / "identity" / "store.sqlite") as database:
        keys = {row[0] for row in database.execute("SELECT folder FROM folder_key")}
    assert {key for key in keys if not key.startswith("own-")} == set(halves)
    assert len(keys) == len(halves) + 1


def test_a_chunk_exchanged_between_two_submissions_is_refused(tmp_path):
    data, frames = tmp_path / "data", {"one": people(40, 1), "two": people(40, 2)}
    with Server(data) as server, server.client() as client:
        for name, frame in frames.items():
            with pytest.raises(grpc.RpcError):
                upload(server, header(frame, name), chunk(1, arrow(frame)))
        one, other = (
            data / "submissions" / client.submission(batch_id=name).submission_id / "chunks/00000001.sealed"
            for name in frames
        )
        other.replace(one)
        again = chunk(1, arrow(frames["one"]))  # it is durable, and only compared with its digest
        with pytest.raises(grpc.RpcError) as caught:
            upload(server, header(frames["one"], "one"), again, end([again], 40))
        told = details(caught.value)
        assert (told.code, told.reason) == ("DATA_LOSS", "SEAL_BROKEN")
        assert "altered, cut off, or exchanged" in told.message


def test_a_data_folder_of_an_earlier_version_is_refused_at_the_start(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        assert server.stop() == 0
    with sqlite3.connect(data / "kinlink.sqlite") as database:
        database.execute("PRAGMA user_version = 1")
    with pytest.raises(AssertionError, match="holds identifiers in the clear"), Server(data):
        pass
    assert (data / "kinlink.sqlite").exists()
