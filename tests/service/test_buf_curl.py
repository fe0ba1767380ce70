"""A client that is not ours: `buf curl` reads the definitions from the server and calls it."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.missing import missing
from tests.service.harness import PROJECT, people

BUF = Path(sys.executable).with_name("buf")

MANDATE = {"requestId": "buf-curl-000001", "project": PROJECT, "purpose": "tests with buf"}
HEADER = {
    "mandate": MANDATE,
    "batchId": "buf",
    "source": "NPD",
    "format": "FORMAT_ROWS",
    "columns": ["person_id", "forename", "surname", "date_of_birth", "postcode"],
    "idColumn": "person_id",
}


@pytest.fixture(autouse=True)
def buf():
    if not BUF.exists():
        missing("buf is not installed beside this Python")


def curl(server, method, *messages, deadline="60s"):
    command = [
        str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--timeout", deadline,
        "--data", "\n".join(map(json.dumps, messages)), f"http://{server.address}/{method}",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    text = ended.stdout or ended.stderr
    decoder, answers = json.JSONDecoder(), []
    while text.strip():
        answer, at = decoder.raw_decode(text.lstrip())
        answers.append(answer)
        text = text.lstrip()[at:]
    return ended.returncode, answers


@pytest.fixture(scope="module")
def submission(server):
    rows = [list(row) for row in people(60, seed=12).rows()]
    text = "".join("".join(f"{value}\x1f" for value in row) + "\x1e" for row in rows)
    digest = hashlib.sha256(text.encode()).digest()
    part = {
        "number": 1,
        "sha256": base64.b64encode(digest).decode(),
        "rows": {"rows": [{"values": row} for row in rows]},
    }
    whole = base64.b64encode(hashlib.sha256(digest).digest()).decode()
    code, answers = curl(
        server,
        "linker.v1.IntakeService/SubmitExtract",
        {"header": HEADER},
        {"chunk": part},
        {"end": {"chunks": 1, "rows": 60, "sha256": whole}},
    )
    assert code == 0, answers
    return answers[0]["submission"]


def test_an_upload_by_client_stream(submission):
    assert submission["state"] == "SUBMISSION_STATE_READY"
    assert submission["rows"] == "60"


def test_a_job_by_unary_calls_and_its_watch_by_server_stream(server, submission):
    mandate = MANDATE | {"requestId": "buf-curl-000002"}
    request = {"mandate": mandate, "submissionId": submission["submissionId"]}
    code, [started] = curl(server, "linker.v1.LinkageService/StartDeduplication", request)
    assert code == 0
    job = {"project": PROJECT, "jobId": started["job"]["jobId"]}
    code, watched = curl(server, "linker.v1.JobService/WatchJob", job)
    assert code == 0
    assert watched[-1]["job"]["state"] == "JOB_STATE_SUCCEEDED"
    table = job | {"table": "TABLE_CLUSTERS", "format": "FORMAT_ROWS"}
    code, [answer] = curl(server, "linker.v1.LinkageService/ReadLinks", table)
    assert code == 0
    assert len(answer["members"]["members"]) == 60
    code, [report] = curl(server, "linker.v1.LinkageService/GetReport", job)
    assert code == 0
    assert report["figures"]["kind"] == "deduplication"


@pytest.mark.parametrize(
    ("method", "message", "code", "reason"),
    [
        ("JobService/GetJob", {"project": PROJECT, "jobId": "job-0"}, "not_found", "JOB_NOT_FOUND"),
        ("JobService/WatchJob", {"project": PROJECT, "jobId": "job-0"}, "not_found", "JOB_NOT_FOUND"),
        ("JobService/ListJobs", {"project": ""}, "invalid_argument", "FIELD_INVALID"),
        ("IntakeService/SubmitExtract", {"end": {"chunks": 1}}, "invalid_argument", "STREAM_INVALID"),
        (
            "IntakeService/SubmitExtract",
            {"header": HEADER | {"source": "other"}},
            "already_exists",
            "BATCH_CONFLICT",
        ),
    ],
)
def test_a_bad_request_is_told_in_full(server, submission, method, message, code, reason):
    failed, [error] = curl(server, f"linker.v1.{method}", message)
    assert failed
    assert error["code"] == code
    assert error["message"].endswith(".")
    kinds = [detail["type"] for detail in error["details"]]
    assert kinds[:2] == ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"]
    info = error["details"][0]["value"]
    assert reason.encode() in base64.b64decode(info + "=" * (-len(info) % 4))


def test_a_call_without_a_deadline_is_refused(server):
    failed, [error] = curl(server, "linker.v1.JobService/ListJobs", {"project": PROJECT}, deadline="0")
    assert failed
    assert error["message"] == "The call has no deadline."
