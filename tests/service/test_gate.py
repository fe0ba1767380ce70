"""What every call passes: known method, deadline, a free place; errors masked; the way to a stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc

import server as program
from linker import service
from linker.client import Client, ServiceError, Tls
from linker.v1 import common_pb2, intake_pb2, intake_pb2_grpc, job_pb2, job_pb2_grpc
from pseudonym.errors import PseudonymError
from pseudonym.roles.callers import Role
from tests.forks import ended
from tests.pseudonym.roles.harness import production_flags
from tests.service.harness import PROJECT, ROOT, Server, arrow, chunk, details, end, header, people, upload


def list_jobs(channel, **options):
    return job_pb2_grpc.JobServiceStub(channel).ListJobs(job_pb2.ListJobsRequest(project=PROJECT), **options)


def test_a_call_needs_a_deadline(server):
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        list_jobs(channel)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(caught.value).reason == "DEADLINE_REQUIRED"
    with pytest.raises(grpc.RpcError) as caught:
        upload(server, header(people(1), "no-deadline"), timeout=None)
    assert details(caught.value).reason == "DEADLINE_REQUIRED"


@pytest.mark.parametrize("method", ["/linker.v1.JobService/DropJob", "/linker.v2.JobService/GetJob", "/x"])
def test_an_unknown_method_is_refused(server, method):
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method)(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert details(caught.value).reason == "METHOD_UNKNOWN"


def test_every_method_of_the_definitions_has_its_time():
    called = {
        f"/linker.v1.{service}/{method}"
        for path in (ROOT / "proto" / "linker" / "v1").glob("*.proto")
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", path.read_text(), re.S | re.M)
        for method in re.findall(r"^  rpc (\w+)\(", body, re.M)
    }
    assert set(service.METHODS) == called
    assert len(called) > 20
    assert all(1 <= seconds <= 86_400 for seconds in service.METHODS.values())


def test_bytes_that_are_no_message_are_refused(server):
    with server.channel() as channel:
        calls = (
            lambda: channel.unary_unary("/linker.v1.JobService/ListJobs")(b"\xff\xff\xff", timeout=10),
            lambda: list(channel.unary_stream("/linker.v1.JobService/WatchJob")(b"\x0a\x01\xff", timeout=10)),
            lambda: channel.stream_unary("/linker.v1.IntakeService/SubmitExtract")(
                iter([b"\x0a"]), timeout=10
            ),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert details(caught.value).reason == "MESSAGE_INVALID"


def test_an_unexpected_error_is_masked(tmp_path):
    code = (
        "from linker.store import jobs\n"
        "def fail(*_): raise KeyError('Zanzibarsdotter')\n"
        "jobs.Jobs.get = fail\n"
        "server.run(settings)"
    )
    with Server(tmp_path / "data", code=code) as server, server.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            job_pb2_grpc.JobServiceStub(channel).GetJob(
                job_pb2.GetJobRequest(project=PROJECT, job_id="job-1"), timeout=10
            )
        found = details(caught.value)
        assert (found.code, found.reason) == ("INTERNAL", "INTERNAL")
        assert caught.value.details() == found.message == "The service failed at this call."
        assert "Zanzibarsdotter" not in str(caught.value.trailing_metadata()) + server.log
        logged = server.events("call_error")
        assert [(line["call"], line["exception"]) for line in logged] == [(found.call_id, "KeyError")]


def test_a_method_may_not_take_longer_than_its_time(tmp_path):
    code = (
        "from linker import service\n"
        "service.METHODS['/linker.v1.JobService/WatchJob'] = 0.5\n"
        "service.METHODS['/linker.v1.IntakeService/SubmitExtract'] = 0.5\n"
        "from linker.jobs import Runner\n"
        "Runner.start = lambda self: None\n"
        "server.run(settings)"
    )
    with Server(tmp_path / "data", code=code) as server, server.channel() as channel:
        client = server.client()
        submission = client.submit(people(3), batch_id="three", source="NPD")
        job = client.start_deduplication(submission.submission_id)
        request = job_pb2.WatchJobRequest(project=PROJECT, job_id=job.job_id)
        with pytest.raises(grpc.RpcError) as caught:
            list(job_pb2_grpc.JobServiceStub(channel).WatchJob(request, timeout=30))
        assert details(caught.value).reason == "DEADLINE_PASSED"

        def slowly():
            yield intake_pb2.SubmitExtractRequest(header=header(people(1), "slow"))
            time.sleep(5)

        with pytest.raises(grpc.RpcError) as caught:
            intake_pb2_grpc.IntakeServiceStub(channel).SubmitExtract(slowly(), timeout=30)
        assert details(caught.value).reason == "DEADLINE_PASSED"


def test_too_many_calls_are_put_off(tmp_path):
    code = (
        "limits = dataclasses.replace(settings.limits, calls=2, queued_jobs=1)\n"
        "from linker.jobs import Runner\n"
        "Runner.start = lambda self: None\n"
        "server.run(dataclasses.replace(settings, limits=limits))"
    )
    with Server(tmp_path / "data", code=code) as server, server.channel() as channel:
        client = server.client(patience=0)
        submission = client.submit(people(3), batch_id="three", source="NPD")
        job = client.start_deduplication(submission.submission_id)
        with pytest.raises(ServiceError) as refused:
            client.start_deduplication(submission.submission_id)
        assert (refused.value.reason, refused.value.retry_after) == ("QUEUE_FULL", 30)
        request = job_pb2.WatchJobRequest(project=PROJECT, job_id=job.job_id)
        watches = [job_pb2_grpc.JobServiceStub(channel).WatchJob(request, timeout=30) for _ in range(2)]
        assert all(next(watch).job.job_id == job.job_id for watch in watches)
        with pytest.raises(grpc.RpcError) as caught:
            list_jobs(channel, timeout=10)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (details(caught.value).reason, details(caught.value).retry_after) == ("BUSY", 1.0)
        watches[0].cancel()
        assert [found.job_id for found in server.client().jobs()] == [job.job_id]


def health(channel, name):
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status


def test_health_is_told_by_service(server):
    with server.channel() as channel:
        for name in ("", "linker.v1.IntakeService", "linker.v1.JobService"):
            assert health(channel, name) == health_pb2.HealthCheckResponse.SERVING


def test_streams_of_health_leave_room_for_calls_and_end(tmp_path):
    code = (
        "limits = dataclasses.replace(settings.limits, calls=2)\n"
        "from linker import gate\n"
        "gate.INFRASTRUCTURE_SECONDS = 3.0\n"
        "server.run(dataclasses.replace(settings, limits=limits))"
    )
    request = health_pb2.HealthCheckRequest()
    with Server(tmp_path / "data", code=code) as server, server.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(request) for _ in range(2)]
        assert all(next(watch).status == health_pb2.HealthCheckResponse.SERVING for watch in watches)
        more = [stub.Watch(request) for _ in range(20)]
        for watch in more:
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            assert details(caught.value).reason == "BUSY"
        list_jobs(channel, timeout=10)
        for watch in watches:
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            assert details(caught.value).reason == "DEADLINE_PASSED"
        again = stub.Watch(request)
        assert next(again).status == health_pb2.HealthCheckResponse.SERVING
        again.cancel()


def until_durable(server, batch_id):
    client = server.client()
    for _ in range(200):
        if any(one.batch_id == batch_id and one.last_durable_chunk for one in client.submissions()):
            return
        time.sleep(0.05)
    raise AssertionError("the first chunk is not durable")


def test_a_stop_says_not_serving_lets_calls_end_and_exits_with_0(tmp_path):
    frame = people(20)
    parts = [chunk(number, arrow(part)) for number, part in enumerate(frame.iter_slices(10), start=1)]
    with Server(tmp_path / "data") as server, server.channel() as channel:
        go_on = threading.Event()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

        def messages():
            yield intake_pb2.SubmitExtractRequest(header=header(frame, "drained"))
            yield intake_pb2.SubmitExtractRequest(chunk=parts[0])
            assert go_on.wait(20)
            yield intake_pb2.SubmitExtractRequest(chunk=parts[1])
            yield intake_pb2.SubmitExtractRequest(end=end(parts, 20))

        call = intake_pb2_grpc.IntakeServiceStub(channel).SubmitExtract.future(messages(), timeout=30)
        until_durable(server, "drained")
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        go_on.set()
        assert call.result().submission.state == intake_pb2.SUBMISSION_STATE_READY
        assert server.process.wait(timeout=30) == 0
        assert [line["event"] for line in (*server.events("draining"), *server.events("stopped"))] == [
            "draining",
            "stopped",
        ]


def test_an_upload_that_does_not_end_is_cut_off_at_the_grace(tmp_path):
    with Server(tmp_path / "data", "--grace", "1") as server, server.channel() as channel:
        go_on = threading.Event()

        def messages():
            yield intake_pb2.SubmitExtractRequest(header=header(people(2), "cut"))
            go_on.wait(20)

        call = intake_pb2_grpc.IntakeServiceStub(channel).SubmitExtract.future(messages(), timeout=30)
        time.sleep(0.5)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        go_on.set()
        assert call.exception().code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_stop_does_not_wait_for_threads_that_are_all_taken(tmp_path):
    code = (
        "import time\n"
        "from linker.store import jobs\n"
        "jobs.Jobs.page = lambda *_: time.sleep(60)\n"
        "os._exit(server.run(settings))"
    )
    with Server(tmp_path / "data", "--grace", "1", code=code) as server, server.channel() as channel:
        request = job_pb2.ListJobsRequest(project=PROJECT)
        lists = job_pb2_grpc.JobServiceStub(channel).ListJobs
        calls = [lists.future(request, timeout=0.5) for _ in range(program.THREADS + 4)]
        assert all(call.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED for call in calls)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 8
        assert server.events("stopped")[0]["jobs_put_back"]


TLS = ["--tls-certificate", "identity.pem", "--tls-key", "identity.key"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--environment", "production"],
        ["--environment", "production", *TLS],
        ["--listen", "0.0.0.0:0", *TLS],
        ["--listen", "0.0.0.0:0"],
        ["--listen", "[::]:0"],
        ["--listen", "nonsense"],
        ["--tls-certificate", "identity.pem"],
        ["--tls-authority", "authority.pem"],
        ["--workers", "0"],
    ],
)
def test_unsafe_or_wrong_settings_are_refused(tmp_path, flags):
    found = ended("--data", str(tmp_path), *flags)
    assert found.returncode == 2
    assert found.stderr.strip()
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
def test_r20_plain_text_is_for_this_machine(tmp_path, host):
    assert program.settings_from(["--data", str(tmp_path), "--listen", f"{host}:0"]).host == host


def test_on_this_machine_clients_need_no_certificate_in_development(tmp_path):
    assert program.settings_from(["--data", str(tmp_path), *TLS]).authority is None


@pytest.mark.parametrize(
    ("flag", "name", "said"),
    [
        ("certificate", "none.pem", "--tls-certificate cannot be read"),
        ("certificate", "words.txt", "--tls-certificate holds no certificate"),
        ("certificate", "identity.key", "--tls-certificate holds no certificate"),
        ("certificate", "council.pem", "not that of the certificate"),
        ("key", "none.key", "--tls-key cannot be read"),
        ("key", "words.txt", "--tls-key holds no private key"),
        ("key", "locked.key", "--tls-key holds no private key without a passphrase"),
        ("key", "council.key", "not that of the certificate"),
        ("authority", "words.txt", "--tls-authority holds no certificate"),
    ],
)
def test_tls_files_that_cannot_serve_are_said(tmp_path, certificates, flag, name, said):
    for path in certificates.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "words.txt").write_text("not a PEM\n")
    key = serialization.load_pem_private_key((tmp_path / "identity.key").read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    files = {"certificate": "identity.pem", "key": "identity.key", "authority": "authority.pem"} | {
        flag: name
    }
    settings = program.Settings(tmp_path, **{one: tmp_path / file for one, file in files.items()})
    with pytest.raises(PseudonymError, match=said) as caught:
        program.credentials(settings)
    assert caught.value.help
    assert str(tmp_path) not in str(caught.value)


def test_a_data_folder_has_one_server(tmp_path):
    with Server(tmp_path / "data"):
        found = ended("--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
        assert found.returncode == 1
        assert "Another server" in found.stderr


def test_an_address_in_use_is_said(server, tmp_path):
    command = [sys.executable, str(ROOT / "server.py"), "--data", str(tmp_path), "--listen", server.address]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 1
    assert "cannot be listened on" in found.stderr


def test_r20_tls_with_certificates_on_both_sides(tmp_path, certificates):
    flags = production_flags(certificates, tmp_path / "data", Role.IDENTITY, broker="localhost:1")
    with Server(tmp_path / "data", *flags) as server:
        address = server.address.replace("127.0.0.1", "localhost")
        authority = certificates / "authority.pem"

        def client(tls):
            return Client(address, project=PROJECT, purpose="tests", tls=tls, patience=0)

        with client(Tls(authority, certificates / "council.pem", certificates / "council.key")) as council:
            assert council.submit(people(5), batch_id="five", source="NPD").rows == 5
            with pytest.raises(ServiceError) as refused:
                list(council.jobs())
        assert (refused.value.code, refused.value.reason) == ("PERMISSION_DENIED", "CALLER_REFUSED")
        for other in (None, Tls(authority)):
            with client(other) as unknown, pytest.raises(ServiceError):
                list(unknown.jobs())
        root, key, pair = (
            (certificates / name).read_bytes()
            for name in ("authority.pem", "linkage-operator.key", "linkage-operator.pem")
        )
        secured = grpc.ssl_channel_credentials(root, key, pair)
        with grpc.secure_channel(address, secured) as channel:
            assert not list_jobs(channel, timeout=10).jobs
            reflection: Any = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
            )
            with pytest.raises(grpc.RpcError) as caught:
                list(reflection(iter([b""]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_every_reason_in_the_code_is_in_the_definitions():
    defined = {name.removeprefix("ERROR_REASON_") for name, _ in common_pb2.ErrorReason.items()}
    files = [*(ROOT / "linker").glob("*.py"), *(ROOT / "linker" / "store").glob("*.py"), ROOT / "server.py"]
    raised = re.compile(
        r"(?:Invalid|NotFound|Conflict|NotReady|Exhausted|Unavailable|Unknown|Problem)\(\s*\"([A-Z_]+)\""
        r"|^    reason = \"([A-Z_]+)\"",
        re.MULTILINE,
    )
    found = {a or b for file in files for a, b in raised.findall(file.read_text())}
    assert len(found) > 25
    assert found <= defined
