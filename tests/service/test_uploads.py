"""Uploads: refused where they are wrong, durable chunk by chunk, resumed, and held once."""

from __future__ import annotations

import hashlib
import uuid

import grpc
import polars as pl
import pytest

from linker.client import ServiceError
from linker.resources import Limits, SubmissionKind, SubmissionState
from linker.v1 import common_pb2, intake_pb2, intake_pb2_grpc
from tests.service.harness import (
    PROJECT,
    Server,
    arrow,
    chunk,
    details,
    end,
    eventually,
    header,
    mandate,
    people,
    quiet_port,
    upload,
    with_errors,
)

FRAME = people(40)
CHUNKS = [chunk(number, arrow(part)) for number, part in enumerate(FRAME.iter_slices(10), start=1)]


def batch_id() -> str:
    return f"batch-{uuid.uuid4().hex[:12]}"


def refused(server, *parts):
    with pytest.raises(grpc.RpcError) as caught:
        upload(server, *parts)
    return details(caught.value)


def test_a_complete_upload_is_ready(server):
    name = batch_id()
    submission = upload(server, header(FRAME, name), *CHUNKS, end(CHUNKS, 40))
    assert submission.state == intake_pb2.SUBMISSION_STATE_READY
    assert submission.kind == intake_pb2.SUBMISSION_KIND_EXTRACT
    assert (submission.last_durable_chunk, submission.rows) == (4, 40)
    assert [field.kind for field in submission.fields] == ["forename", "surname", "date_of_birth", "postcode"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ARROW_INVALID"),
        (b"person_id,forename\n1,Ann\n", "ARROW_INVALID"),
        (b"PAR1" + bytes(200), "ARROW_INVALID"),
        (b"\xff" * 64, "ARROW_INVALID"),
        (arrow(FRAME)[:-40], "ARROW_INVALID"),
        (arrow(FRAME)[:200], "ARROW_INVALID"),
        (arrow(FRAME) + b"more", "ARROW_INVALID"),
        (arrow(FRAME, compression="zstd"), "ARROW_INVALID"),
        (arrow(FRAME, compression="lz4"), "ARROW_INVALID"),
        (arrow(FRAME.cast({"surname": pl.Categorical})), "ARROW_INVALID"),
        (arrow(FRAME.with_columns(pl.col("date_of_birth").str.to_date())), "SCHEMA_MISMATCH"),
        (arrow(FRAME.with_columns(pl.lit(1).alias("postcode"))), "SCHEMA_MISMATCH"),
        (arrow(FRAME.with_columns(pl.lit(None).alias("postcode"))), "SCHEMA_MISMATCH"),
        (arrow(FRAME.with_columns(pl.col("postcode").cast(pl.Binary))), "SCHEMA_MISMATCH"),
        (arrow(FRAME.rename({"postcode": "postkode"})), "SCHEMA_MISMATCH"),
        (arrow(FRAME.drop("postcode")), "SCHEMA_MISMATCH"),
        (arrow(FRAME.select(reversed(FRAME.columns))), "SCHEMA_MISMATCH"),
        (arrow(people(Limits().chunk_rows + 1)), "CHUNK_TOO_LARGE"),
        # The same 200 kB text in every row: a few bytes that would become gigabytes.
        (arrow(FRAME.head(1).with_columns(surname=pl.lit("x" * 200_000))[[0] * 400]), "CHUNK_TOO_LARGE"),
    ],
)
def test_content_that_is_not_as_announced_is_refused(server, content, reason):
    name = batch_id()
    found = refused(server, header(FRAME, name), chunk(1, content))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", reason)
    assert found.help
    assert server.client().submission(batch_id=name).last_durable_chunk == 0


def test_a_message_over_the_limit_is_refused(server):
    content = bytes(Limits().message_bytes + 1)
    with pytest.raises(grpc.RpcError) as caught:
        upload(server, header(FRAME, batch_id()), chunk(1, content))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_chunk_out_of_order_is_refused_and_tells_the_last_durable_one(server):
    found = refused(server, header(FRAME, batch_id()), CHUNKS[0], CHUNKS[2])
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "CHUNK_OUT_OF_ORDER")
    assert found.metadata == {"last_durable_chunk": "1"}
    assert refused(server, header(FRAME, batch_id()), chunk(0, b"")).reason == "CHUNK_OUT_OF_ORDER"


def test_a_wrong_digest_is_refused_and_nothing_is_kept(server):
    name = batch_id()
    wrong = chunk(2, arrow(FRAME[10:20]), sha256=hashlib.sha256(b"other").digest())
    found = refused(server, header(FRAME, name), CHUNKS[0], wrong)
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "CHUNK_DIGEST_WRONG")
    assert server.client().submission(batch_id=name).last_durable_chunk == 1


def test_the_order_of_the_parts_is_kept(server):
    assert refused(server, CHUNKS[0]).reason == "STREAM_INVALID"
    assert refused(server).reason == "STREAM_INVALID"
    twice = header(FRAME, batch_id())
    assert refused(server, twice, twice).reason == "STREAM_INVALID"
    assert refused(server, header(FRAME, batch_id()), CHUNKS[0]).reason == "STREAM_INVALID"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"batch_id": ""}, "header.batch_id"),
        ({"batch_id": "../../etc"}, "header.batch_id"),
        ({"source": "a b"}, "header.source"),
        ({"format": 0}, "header.format"),
        ({"columns": []}, "header.columns"),
        ({"columns": ["a", "a"]}, "header.columns"),
        ({"columns": [f"c{i}" for i in range(501)]}, "header.columns"),
        ({"columns": ["c" * 201]}, "header.columns"),
        ({"id_column": "c" * 201}, "header.id_column"),
        ({"ignore": ["c" * 201]}, "header.ignore"),
        ({"ignore": ["c"] * 501}, "header.ignore"),
        ({"mapping": {"k" * 201: "surname"}}, "header.mapping"),
        ({"mapping": {"surname": "c" * 1_001}}, "header.mapping"),
        ({"mapping": {f"surname_{i}": "surname" for i in range(501)}}, "header.mapping"),
        (
            {"mandate": mandate("short")},
            "mandate.request_id",
        ),
        ({"mandate": common_pb2.Mandate(request_id="long-enough", purpose="p")}, "mandate.project"),
        ({"mandate": common_pb2.Mandate(request_id="long-enough", project=PROJECT)}, "mandate.purpose"),
    ],
)
def test_a_wrong_header_is_refused_and_its_field_named(server, changes, field):
    found = refused(server, header(FRAME, batch_id(), **changes))
    assert (found.code, found.reason, found.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


def test_the_same_upload_twice_is_the_same_submission(server):
    parts = (header(FRAME, batch_id()), *CHUNKS, end(CHUNKS, 40))
    assert upload(server, *parts) == upload(server, *parts)


def test_the_same_content_is_the_same_submission_however_it_travels(server):
    frame = people(30, seed=5)
    client = server.client()
    first = client.submit(frame, batch_id=batch_id(), source="NPD", kind=SubmissionKind.EXTRACT)
    again = client.submit(frame, batch_id=batch_id(), source="NPD", kind=SubmissionKind.EXTRACT, chunk_rows=7)
    assert again.submission_id == first.submission_id
    rows = intake_pb2.Rows(rows=[intake_pb2.Row(values=row) for row in frame.rows()])
    text = "".join("".join(f"{value}\x1f" for value in row) + "\x1e" for row in frame.rows())
    part = intake_pb2.Chunk(number=1, sha256=hashlib.sha256(text.encode()).digest(), rows=rows)
    as_rows = header(frame, batch_id(), format=common_pb2.FORMAT_ROWS)
    as_rows.ClearField("id_column")
    assert upload(server, as_rows, part, end([part], 30)).submission_id == first.submission_id
    other = client.submit(frame, batch_id=batch_id(), source="NPD", kind=SubmissionKind.IDENTITIES)
    assert other.submission_id != first.submission_id


def test_a_batch_id_stands_for_one_upload(server):
    name = batch_id()
    upload(server, header(FRAME, name), *CHUNKS, end(CHUNKS, 40))
    again = {"mandate": mandate()}
    found = refused(server, header(FRAME, name, source="HES", **again))
    assert (found.code, found.reason) == ("ALREADY_EXISTS", "BATCH_CONFLICT")
    other = chunk(2, arrow(people(10, seed=9)))
    found = refused(server, header(FRAME, name, **again), CHUNKS[0], other)
    assert (found.code, found.reason) == ("ALREADY_EXISTS", "CHUNK_CONFLICT")
    found = refused(server, header(FRAME, name, **again), end([CHUNKS[0], other, *CHUNKS[2:]], 40))
    assert (found.code, found.reason) == ("ALREADY_EXISTS", "TOTALS_WRONG")
    found = refused(server, header(FRAME, name, **again), end(CHUNKS[:3], 30))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "TOTALS_WRONG")


def test_a_request_id_stands_for_one_request(server):
    taken = mandate()
    upload(server, header(FRAME, batch_id(), mandate=taken), *CHUNKS, end(CHUNKS, 40))
    found = refused(server, header(FRAME, batch_id(), mandate=taken))
    assert (found.code, found.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_records_that_cannot_be_used_are_refused_in_words(server):
    frame = people(5).with_columns(person_id=pl.lit(""))
    submission = server.client().submit(frame, batch_id=batch_id(), source="NPD", id_column="person_id")
    assert submission.state is SubmissionState.REFUSED
    assert submission.problem is not None
    assert submission.problem.reason == "RECORDS_INVALID"
    missing = server.client().submit(
        FRAME, batch_id=batch_id(), source="NPD", mapping={"surname": "no_such_column"}
    )
    assert missing.problem is not None
    assert missing.problem.reason == "LAYOUT_INVALID"
    with pytest.raises(ServiceError, match="not ready") as caught:
        server.client().start_linkage(submission.submission_id, missing.submission_id)
    assert caught.value.reason == "SUBMISSION_NOT_READY"


def test_refusals_are_listed_by_row_field_and_reason(server):
    frame = people(50, seed=3).with_columns(
        pl.when(pl.int_range(50) == 6)
        .then(pl.lit("1985-02-31"))
        .otherwise("date_of_birth")
        .alias("date_of_birth")
    )
    client = server.client()
    submission = client.submit(
        pl.concat([frame, frame[:1]]), batch_id=batch_id(), source="NPD", id_column="person_id"
    )
    assert (submission.rows, submission.refused_rows, submission.values_set_aside) == (51, 1, 1)
    assert client.refusals(submission.submission_id).rows() == [
        (7, "date_of_birth", "impossible_date", False),
        (51, None, "id_repeated", True),
    ]


def test_pages_join_without_gaps(server):
    client = server.client(project="paging")
    names = [batch_id() for _ in range(5)]
    for seed, name in enumerate(names):
        client.submit(people(3, seed=seed), batch_id=name, source="NPD")
    found, token = [], ""
    with server.channel() as channel:
        stub = intake_pb2_grpc.IntakeServiceStub(channel)
        for _ in range(3):
            request = intake_pb2.ListSubmissionsRequest(project="paging", page_size=2, page_token=token)
            page = stub.ListSubmissions(request, timeout=10)
            found += [submission.batch_id for submission in page.submissions]
            token = page.next_page_token
        assert not token
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListSubmissions(
                intake_pb2.ListSubmissionsRequest(project="paging", page_token="x"), timeout=10
            )
    assert details(caught.value).field == "page_token"
    assert found == names


def test_projects_do_not_see_one_another(server):
    submission = server.client().submit(people(4, seed=8), batch_id=batch_id(), source="NPD")
    with pytest.raises(ServiceError) as caught:
        server.client(project="other").submission(submission.submission_id)
    assert caught.value.reason == "SUBMISSION_NOT_FOUND"


def test_an_upload_is_resumed_after_the_server_was_killed(tmp_path):
    frame = with_errors(people(3_000))
    with Server(tmp_path / "data") as server:
        sent = []

        def progress(rows, total):
            assert total == 3_000
            sent.append(rows)
            if rows == 1_500:
                # The sender runs ahead of the server: killed before it opened the submission, it holds none.
                # The call goes on only once the server is gone: what it has taken is on disk or lost.
                eventually(lambda: server.client().submission(batch_id="cut"))
                server.kill()

        with pytest.raises(ServiceError) as caught:
            server.client(patience=0).submit(
                frame, batch_id="cut", source="NPD", id_column="person_id", chunk_rows=100, progress=progress
            )
        assert caught.value.passing
    with Server(tmp_path / "data") as server:
        client = server.client()
        held = client.submission(batch_id="cut")
        assert held.state is SubmissionState.RECEIVING
        assert held.rows == 100 * held.last_durable_chunk < 3_000
        submission = client.submit(frame, batch_id="cut", source="NPD", id_column="person_id", chunk_rows=100)
        assert (submission.state, submission.rows) == (SubmissionState.READY, 3_000)
        whole = client.submit(frame, batch_id="whole", source="NPD", id_column="person_id")
        assert whole.submission_id == submission.submission_id
        changed = frame.with_columns(forename=pl.lit("Ann"))
        with pytest.raises(ServiceError) as caught:
            client.submit(changed, batch_id="cut", source="NPD", id_column="person_id", chunk_rows=100)
        assert caught.value.reason == "TOTALS_WRONG"


def test_the_client_goes_on_by_itself_when_the_server_comes_back(tmp_path):
    frame = people(2_000)
    address = f"127.0.0.1:{quiet_port()}"
    servers = [Server(tmp_path / "data", "--listen", address)]

    def progress(rows, total):
        if rows == 1_000 and len(servers) == 1:
            servers[0].kill()
            servers.append(Server(tmp_path / "data", "--listen", address))

    submission = (
        servers[0]
        .client()
        .submit(
            frame, batch_id="restart", source="NPD", id_column="person_id", chunk_rows=100, progress=progress
        )
    )
    with servers[1]:
        assert (submission.state, submission.rows) == (SubmissionState.READY, 2_000)
        assert len(servers) == 2
