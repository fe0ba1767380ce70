"""Matchkeys at the service: before the model and alone, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest
from typer.testing import CliRunner

import linker
from linker.cli import app
from linker.client import ServiceError
from linker.matchkeys_ons import ONS
from linker.resources import JobState, Table
from linker.v1 import common_pb2, linkage_pb2, linkage_pb2_grpc
from tests.service.harness import PROJECT, PURPOSE, details, mandate, people, with_errors

# A third of the left records is there twice, so that some keys find two records for one.
PEOPLE = people(900, seed=31).with_columns(
    sex=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("F")).otherwise(pl.lit("M"))
)
LEFT = pl.concat([PEOPLE, PEOPLE[:300].with_columns(person_id="d" + pl.col("person_id"))])
RIGHT = with_errors(PEOPLE, seed=32)
OWN = linker.Matchkeys.from_json(
    json.dumps(
        {
            "format": "kinlink-matchkeys/1",
            "name": "own",
            "version": "2",
            "keys": [
                {"name": "all", "equal": [["forename.first", "surname", "date_of_birth.days", "postcode"]]},
                {"name": "born", "equal": [["surname", "date_of_birth.days"]], "clerical": True},
            ],
        }
    )
)


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def sides(client):
    return [
        client.submit(frame, batch_id=f"keys-{name}", source="NPD", id_column="person_id").submission_id
        for frame, name in ((LEFT, "left"), (RIGHT, "right"))
    ]


@pytest.fixture(scope="module")
def here():
    return [linker.arrive(frame, id_column="person_id") for frame in (LEFT, RIGHT)]


def finished(client, job):
    job = client.wait(job.job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    return job.job_id


def counts(figures):
    """What each key did, without seconds."""
    found = figures["summary"]["matchkeys"]
    return {
        name: found[name] for name in ("name", "version", "digest", "candidate_pairs", "keys", "left_out")
    }


@pytest.mark.parametrize("keys", ["ons", OWN], ids=["by name", "as JSON"])
def test_keys_before_the_model_do_what_the_library_does(client, sides, here, keys):
    job = finished(client, client.start_linkage(*sides, keys=keys, all_pairs=-5.0))
    expected = linker.link(*here, keys=keys, all_pairs=-5.0)
    links = client.read_links(job)
    assert links.equals(expected.links)
    by_keys = links.filter(pl.col("stage") == "matchkey")
    assert 0 < by_keys.height < links.height
    assert set(by_keys["rule"]) <= {one["key"] for one in expected.summary["matchkeys"]["keys"]}
    assert client.read_links(job, Table.REVIEW).equals(expected.review)
    assert client.read_links(job, Table.PAIRS).equals(expected.pairs)
    report = client.report(job)
    assert counts(report["figures"]) == counts({"summary": expected.summary})
    assert sum(one["linked"] for one in counts(report["figures"])["keys"]) == by_keys.height
    assert report["figures"]["manifest"]["asked"]["keys"] == expected.manifest.asked.keys
    assert report["model_digest"] == expected.model.digest


def test_keys_alone_do_what_the_library_does(client, server, sides, here):
    job = finished(client, client.start_linkage(*sides, keys=OWN, keys_only=True))
    expected = linker.link_by_keys(here[0], here[1], OWN)
    assert client.read_links(job).equals(expected.links)
    assert client.read_links(job, Table.REVIEW).equals(expected.review)
    assert set(expected.review["outcome"]) == {"REVIEW", "AMBIGUOUS"}
    report = client.report(job)
    assert counts(report["figures"]) == counts({"summary": expected.summary})
    assert report["model_digest"] == ""
    pair = expected.links.row(0, named=True)
    with pytest.raises(ServiceError, match="matchkeys alone") as caught:
        client.explain(job, pair["left_id"], pair["right_id"])
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    with pytest.raises(ServiceError) as caught:
        client.read_links(job, Table.PAIRS)
    assert caught.value.reason == "TABLE_NOT_FOUND"
    # As rows, a pair that no model scored says so: its weight is no weight of 0.
    request = linkage_pb2.ReadLinksRequest(
        project=PROJECT, job_id=job, format=common_pb2.FORMAT_ROWS, table=linkage_pb2.TABLE_LINKS
    )
    with server.channel() as channel:
        (answer,) = linkage_pb2_grpc.LinkageServiceStub(channel).ReadLinks(request, timeout=60)
    sent = [(one.left_id, one.right_id, one.stage, one.rule, one.unscored) for one in answer.pairs.pairs]
    assert sent == [
        (*row, True) for row in expected.links.select("left_id", "right_id", "stage", "rule").rows()
    ]


@pytest.mark.parametrize("keys_only", [False, True], ids=["before the model", "alone"])
def test_duplicates_are_found_as_the_library_finds_them(client, sides, here, keys_only):
    job = finished(client, client.start_deduplication(sides[0], keys="ons", keys_only=keys_only))
    expected = (linker.dedupe_by_keys if keys_only else linker.dedupe)(here[0], keys="ons")
    assert client.read_links(job, Table.CLUSTERS).equals(expected.clusters)
    assert client.read_links(job).equals(expected.links)
    assert client.read_links(job, Table.REVIEW).equals(expected.review)
    assert expected.links.filter(pl.col("stage") == "matchkey").height >= 300
    report = client.report(job)
    assert counts(report["figures"]) == counts({"summary": expected.summary})
    assert report["figures"]["kind"] == "deduplication"


def test_rows_of_a_model_are_scored(client, server, sides):
    job = finished(client, client.start_linkage(*sides))
    request = linkage_pb2.ReadLinksRequest(project=PROJECT, job_id=job, format=common_pb2.FORMAT_ROWS)
    with server.channel() as channel:
        (answer,) = linkage_pb2_grpc.LinkageServiceStub(channel).ReadLinks(request, timeout=60)
    assert not any(one.unscored for one in answer.pairs.pairs)


Keys = linkage_pb2.MatchkeyOptions
Options = linkage_pb2.LinkageOptions
KEY: dict[str, Any] = {"name": "a", "equal": [["surname"]]}


def written(**changes):
    return json.dumps({"format": "kinlink-matchkeys/1", "name": "n", "version": "1", "keys": [KEY]} | changes)


def nested(depth):
    where: dict[str, Any] = {"op": "exact", "left": "surname"}
    for _ in range(depth):
        where = {"not": where}
    return KEY | {"where": where}


def wrong_set(text, words, reason="MODEL_INVALID"):
    return Options(matchkeys=Keys(json=text)), reason, "options.matchkeys.json", words


def not_alone(**others):
    (name,) = others
    return (
        Options(matchkeys=Keys(name="ons", only=True), **others),
        "FIELD_INVALID",
        f"options.{name}",
        "leave",
    )


@pytest.mark.parametrize(
    ("options", "reason", "field", "words"),
    [
        (Options(matchkeys=Keys(name="onz")), "FIELD_INVALID", "options.matchkeys.name", "but: ons"),
        (Options(matchkeys=Keys(name="/etc/hostname")), "FIELD_INVALID", "options.matchkeys.name", "no set"),
        (Options(matchkeys=Keys()), "FIELD_INVALID", "options.matchkeys", "name of a set"),
        (Options(matchkeys=Keys(only=True)), "FIELD_INVALID", "options.matchkeys", "name of a set"),
        wrong_set("", "not JSON"),
        wrong_set("[" * 100_000, "not JSON"),
        wrong_set("{}", "no matchkeys"),
        wrong_set(written(keys=[]), "empty"),
        wrong_set(written(keys=[KEY, KEY]), "one name"),
        wrong_set(written(keys=[KEY | {"where": {"op": "nearly", "left": "x"}}]), "matchkey 'a'"),
        wrong_set(written(keys=[nested(200)]), "matchkey 'a'"),
        wrong_set(written(keys=[KEY | {"label": "x" * 1024**2}]), "at most 1,048,576 bytes", "FIELD_INVALID"),
        not_alone(model="m"),
        not_alone(threshold=0.0),
        not_alone(all_pairs=0.0),
    ],
)
def test_wrong_keys_start_nothing(client, server, sides, options, reason, field, words):
    before = [job.job_id for job in client.jobs()]
    request = linkage_pb2.StartLinkageRequest(
        mandate=mandate(), left_submission_id=sides[0], right_submission_id=sides[1], options=options
    )
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        linkage_pb2_grpc.LinkageServiceStub(channel).StartLinkage(request, timeout=10)
    found = details(caught.value)
    assert (found.code, found.reason, found.field) == ("INVALID_ARGUMENT", reason, field)
    assert words in found.message
    assert [job.job_id for job in client.jobs()] == before


def test_keys_alone_link_one_to_one(client, sides):
    with pytest.raises(ServiceError, match="one to one") as caught:
        client.start_linkage(*sides, keys="ons", keys_only=True, cardinality="many-to-one")
    assert caught.value.reason == "FIELD_INVALID"


def test_keys_that_the_records_cannot_answer_fail_the_job_and_say_so(client, sides):
    key = linker.Matchkey("upn", "", (linker.model.BlockingRule((("upn", "upn"),)),))
    job = client.wait(client.start_linkage(*sides, keys=linker.Matchkeys("none", "1", (key,))).job_id)
    assert job.state is JobState.FAILED
    assert job.problem is not None
    assert job.problem.reason == "RECORDS_INVALID"
    assert "upn" in job.problem.help


def test_the_command_line_asks_for_keys(client, server, sides, here, tmp_path, monkeypatch):
    for name, value in (("SERVICE", server.address), ("PROJECT", PROJECT), ("PURPOSE", PURPOSE)):
        monkeypatch.setenv(f"KINLINK_{name}", value)
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["job", *map(str, words)])
        assert done.exit_code == code, done.output
        return done

    OWN.save("own.json")
    for keys, chosen in (("ons", ONS), ("own.json", OWN)):
        started = json.loads(run("link", *sides, "--keys", keys, "--keys-only", "--json").stdout)
        job = started["job"]["job_id"]
        run("wait", job)
        run("read", job, "--out", f"{chosen.name}.csv")
        links = pl.read_csv(f"{chosen.name}.csv", infer_schema=False)
        expected = linker.link_by_keys(here[0], here[1], chosen).links
        assert (
            links.select("left_id", "right_id", "rule").rows()
            == expected.select("left_id", "right_id", "rule").rows()
        )
    started = json.loads(run("dedupe", sides[0], "--keys", "own.json", "--keys-only", "--json").stdout)
    run("wait", started["job"]["job_id"])
    run("read", started["job"]["job_id"], "--table", "clusters", "--out", "clusters.csv")
    clusters = pl.read_csv("clusters.csv", infer_schema=False)
    assert clusters.rows() == linker.dedupe_by_keys(here[0], keys=OWN).clusters.rows()
    assert "needs --keys" in run("dedupe", sides[0], "--keys-only", code=2).output
    assert "needs --keys" in run("link", *sides, "--keys-only", code=2).output
    assert (
        "without a model"
        in run("link", *sides, "--keys", "ons", "--keys-only", "--model", "m", code=2).output
    )
    assert "cannot be read" in run("link", *sides, "--keys", Path("nothing.json"), code=1).stderr
