"""What the client does before and between calls: chunks that repeat, patience, no plain text to elsewhere."""

from __future__ import annotations

import socket
import time

import polars as pl
import pytest

from linker.client import Client, ServiceError, Tls
from linker.errors import LinkerError
from linker.sending import CHUNK_BYTES, Pause, Sent, chunks_of
from pseudonym.roles.authority import Authority
from pseudonym.roles.callers import Role
from tests.service.harness import people


def test_chunks_are_the_same_each_time_and_none_is_too_large():
    frame = people(50).with_columns(note=pl.lit("x" * 1_000_000))
    first = list(chunks_of([frame], 40))
    assert first == list(chunks_of([frame], 40))
    assert sum(rows for rows, _ in first) == 50
    assert all(len(content) <= CHUNK_BYTES for _, content in first)
    assert [rows for rows, _ in chunks_of([frame[:7], frame[7:9]], 4)] == [4, 3, 2]


def test_patience_begins_at_the_first_failure_and_ends():
    passing, lasting = ServiceError("UNAVAILABLE", None), ServiceError("NOT_FOUND", None)
    pause = Pause(0.5)
    time.sleep(0.6)
    pause.after(passing)
    with pytest.raises(ServiceError):
        pause.after(lasting)
    time.sleep(0.5)
    with pytest.raises(ServiceError):
        pause.after(passing)
    pause.reset()
    pause.after(passing)


@pytest.mark.parametrize("address", ["example.org:443", "10.0.0.1:7070", "localhost.example.org:1", "[::]:1"])
def test_plain_text_does_not_leave_this_machine(address):
    with pytest.raises(LinkerError, match="TLS"):
        Client(address, project="p", purpose="tests")


def test_a_service_that_cannot_be_reached_is_said():
    with (
        Client("localhost:1", project="p", purpose="tests", patience=0) as client,
        pytest.raises(ServiceError, match="cannot be reached") as caught,
    ):
        list(client.jobs())
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "UNAVAILABLE")
    assert caught.value.passing


def test_plain_text_does_not_go_through_a_proxy(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(2)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with Client("localhost:1", project="p", purpose="tests", patience=0, timeout=2) as client:
            with pytest.raises(ServiceError):
                list(client.jobs())
            with pytest.raises(TimeoutError):
                proxy.accept()


def test_a_record_that_is_too_large_is_refused_at_once(server):
    frame = people(3).with_columns(note=pl.lit("x" * CHUNK_BYTES))
    with pytest.raises(LinkerError, match="A single record takes more than 15 MiB"):
        list(chunks_of([frame], 40))
    began = time.monotonic()
    with pytest.raises(LinkerError, match="A single record"):
        server.client(patience=60).submit(frame, batch_id="large-record", source="NPD")
    assert time.monotonic() - began < 20


class OwnError(Exception):
    """What no library raises."""


class OwnPanic(BaseException):
    """What native code raises when it panics is no Exception either."""


def test_an_error_on_the_way_ends_the_stream_and_is_kept():
    def messages(error):
        yield 1
        if error is not None:
            raise error

    for error in (OwnError(), OwnPanic(), None):
        sent = Sent(messages(error))
        assert list(sent) == [1]
        assert sent.error is error


@pytest.mark.parametrize("where", ["frames", "progress"])
def test_what_the_caller_raises_comes_back_unchanged(server, where):
    raised = OwnError("Zanzibarsdotter")
    frame = people(4)

    def frames():
        yield frame[:2]
        if where == "frames":
            raise raised
        yield frame[2:]

    def progress(rows, total):
        if where == "progress" and rows == 4:
            raise raised

    client = server.client(patience=60)
    with pytest.raises(OwnError) as caught:
        client.submit(frames, batch_id=f"own-{where}", source="NPD", progress=progress)
    assert caught.value is raised
    # What came before is kept, and the upload can go on.
    assert client.submit(frame, batch_id=f"own-{where}", source="NPD", chunk_rows=2).rows == 4


def test_files_of_a_connection_that_do_not_go_together_are_refused_at_once(tmp_path):
    for name in ("one", "other"):
        issued = Authority().issue(Role.COUNCIL, name)
        issued.write(tmp_path, name)
    authority = tmp_path / "authority.pem"
    authority.write_bytes(Authority().certificate)
    nonsense = tmp_path / "nonsense.csv"
    nonsense.write_text("a,b\n1,2\n")
    one, other = tmp_path / "one.pem", tmp_path / "other.key"
    for tls, said in (
        (Tls(authority, one, None), "go together"),
        (Tls(authority, None, other), "go together"),
        (Tls(authority, one, other), "no certificate and its key"),
        (Tls(authority, nonsense, other), "no certificate and its key"),
        (Tls(nonsense), "no certificate of an authority"),
        (Tls(tmp_path / "missing.pem"), "no certificate of an authority"),
    ):
        with pytest.raises(LinkerError, match=said):
            Client("localhost:1", project="p", purpose="p", tls=tls)
    Client("localhost:1", project="p", purpose="p", tls=Tls(authority, one, tmp_path / "one.key")).close()
