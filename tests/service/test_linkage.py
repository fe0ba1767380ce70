"""From two uploads to links, and everything that can be asked about them, over the wire."""

from __future__ import annotations

import math

import grpc
import pytest

import linker
from linker.client import ServiceError
from linker.resources import JobKind, JobState, SubmissionKind, SubmissionState, Table
from linker.v1 import common_pb2, linkage_pb2, linkage_pb2_grpc
from tests.service.harness import PROJECT, details, mandate, people, with_errors

LEFT = people(1_500)
RIGHT = with_errors(LEFT[:1_200])


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def sides(client):
    left = client.submit(LEFT, batch_id="left", source="E06000023", id_column="person_id")
    right = client.submit(
        RIGHT, batch_id="right", source="NPD", kind=SubmissionKind.EXTRACT, id_column="person_id"
    )
    assert (left.state, right.state) == (SubmissionState.READY, SubmissionState.READY)
    return left.submission_id, right.submission_id


@pytest.fixture(scope="module")
def job(client, sides):
    stages = []
    started = client.start_linkage(*sides, all_pairs=-5.0)
    job = client.wait(started.job_id, lambda stage, done, total: stages.append(stage))
    assert job.problem is None
    assert (job.state, job.work.kind, job.attempts) == (JobState.SUCCEEDED, JobKind.LINKAGE, 1)
    assert stages
    return job


@pytest.fixture(scope="module")
def here():
    """The same linkage without a service."""
    left = linker.arrive(LEFT, id_column="person_id")
    right = linker.arrive(RIGHT, id_column="person_id")
    return left, right, linker.link(left, right, all_pairs=-5.0)


def test_the_service_gives_what_the_engine_gives(client, job, here):
    _, _, result = here
    links = client.read_links(job.job_id)
    assert links.height > 1_000
    assert links.equals(result.links)
    assert client.read_links(job.job_id, Table.REVIEW).equals(result.review)
    assert client.read_links(job.job_id, Table.PAIRS).equals(result.pairs)


def test_rows_say_what_arrow_says(client, server, job):
    request = linkage_pb2.ReadLinksRequest(
        project=PROJECT, job_id=job.job_id, format=common_pb2.FORMAT_ROWS, first_row=7
    )
    with server.channel() as channel:
        answers = list(linkage_pb2_grpc.LinkageServiceStub(channel).ReadLinks(request, timeout=60))
    links = client.read_links(job.job_id)
    assert answers[0].first_row == 7
    assert answers[0].total_rows == links.height
    pairs = [pair for answer in answers for pair in answer.pairs.pairs]
    assert [(pair.left_id, pair.match_weight) for pair in pairs] == links[7:].select(
        "left_id", "match_weight"
    ).rows()
    assert {pair.outcome for pair in pairs} == {linkage_pb2.OUTCOME_LINKED}


@pytest.mark.parametrize("first_row", [10**9, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_table_read_from_beyond_its_end_is_empty(server, job, first_row):
    request = linkage_pb2.ReadLinksRequest(
        project=PROJECT, job_id=job.job_id, format=common_pb2.FORMAT_ROWS, first_row=first_row
    )
    with server.channel() as channel:
        (answer,) = linkage_pb2_grpc.LinkageServiceStub(channel).ReadLinks(request, timeout=60)
    assert (answer.first_row, len(answer.pairs.pairs)) == (first_row, 0)
    assert answer.total_rows > 1_000


def test_a_table_that_is_not_there_is_said(client, job):
    with pytest.raises(ServiceError) as caught:
        client.read_links(job.job_id, Table.CLUSTERS)
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "TABLE_NOT_FOUND")


def test_an_explanation_adds_up_to_the_weight(client, job):
    pair = client.read_links(job.job_id).row(0, named=True)
    found = client.explain(job.job_id, pair["left_id"], pair["right_id"])
    assert found["match_weight"] == pair["match_weight"]
    assert found["steps"][-1]["total"] == pair["match_weight"]
    assert found["sentences"]
    for side, ids in (("left", ("nobody", pair["right_id"])), ("right", (pair["left_id"], "nobody"))):
        with pytest.raises(ServiceError, match=side) as caught:
            client.explain(job.job_id, *ids)
        assert caught.value.reason == "RECORD_NOT_FOUND"


def test_the_report_counts_what_is_there(client, job, here):
    report = client.report(job.job_id)
    assert report["figures"]["kind"] == "linkage"
    assert report["figures"]["links"] == client.read_links(job.job_id).height
    assert report["model_digest"] == here[2].model.digest
    assert report["figures"]["manifest"]["results"] == here[2].manifest.results


def test_duplicates_are_found(client):
    frame = LEFT[:300].vstack(with_errors(LEFT[:200]))
    submission = client.submit(frame, batch_id="duplicates", source="HES", id_column="person_id")
    job = client.wait(client.start_deduplication(submission.submission_id).job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    clusters = client.read_links(job.job_id, Table.CLUSTERS)
    assert clusters.equals(linker.dedupe(linker.arrive(frame, id_column="person_id")).clusters)
    assert clusters["cluster_id"].n_unique() < 350


def test_a_trained_model_is_kept_and_used(client, sides, here):
    job = client.wait(client.train_model("families-npd", *sides).job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    model = linker.Model.from_json(client.get_model("families-npd"))
    assert model.digest == linker.train(here[0], here[1]).model.digest
    assert client.report(job.job_id)["figures"]["kind"] == "training"
    with_model = client.wait(client.start_linkage(*sides, model="families-npd").job_id)
    links = client.read_links(with_model.job_id)
    assert links.equals(linker.link(here[0], here[1], model=model).links)


def test_models_are_put_got_and_listed(client, here):
    text = here[2].model.to_json()
    kept = client.put_model("by-hand", text)
    assert kept.digest == here[2].model.digest
    assert client.get_model("by-hand") == text
    assert "by-hand" in [model.name for model in client.models()]
    with pytest.raises(ServiceError) as caught:
        client.put_model("broken", "{}")
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "MODEL_INVALID")
    with pytest.raises(ServiceError) as caught:
        client.get_model("broken")
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    with pytest.raises(ServiceError) as caught:
        client.put_model("no name", text)
    assert caught.value.reason == "FIELD_INVALID"


def test_the_same_request_starts_one_job(client, server, sides):
    first = client.start_linkage(*sides, request_id="request-000001")
    again = client.start_linkage(*sides, request_id="request-000001")
    assert again.job_id == first.job_id
    with pytest.raises(ServiceError) as caught:
        client.start_linkage(*sides, seed=1, request_id="request-000001")
    assert (caught.value.code, caught.value.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    client.wait(first.job_id)
    assert client.cancel(first.job_id).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"left_submission_id": "sub-0", "right_submission_id": "sub-1"}, "SUBMISSION_NOT_FOUND"),
        ({"cardinality": 99}, "FIELD_INVALID"),
        ({"options": linkage_pb2.LinkageOptions(model="a b")}, "FIELD_INVALID"),
        ({"options": linkage_pb2.LinkageOptions(threshold=math.nan)}, "FIELD_INVALID"),
        ({"options": linkage_pb2.LinkageOptions(threshold=math.inf)}, "FIELD_INVALID"),
        ({"options": linkage_pb2.LinkageOptions(all_pairs=-math.inf)}, "FIELD_INVALID"),
    ],
)
def test_a_wrong_request_starts_nothing(server, request_, reason):
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        linkage_pb2_grpc.LinkageServiceStub(channel).StartLinkage(
            linkage_pb2.StartLinkageRequest(mandate=mandate(), **request_), timeout=10
        )
    assert details(caught.value).reason == reason


def test_an_unknown_model_starts_nothing(client, sides):
    with pytest.raises(ServiceError) as caught:
        client.start_linkage(*sides, model="nobody-trained-it")
    assert caught.value.reason == "MODEL_NOT_FOUND"
