"""A real server process on a free port, made-up people, and messages made by hand."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl

from linker import status
from linker.client import Client, ServiceError
from linker.v1 import common_pb2, intake_pb2, intake_pb2_grpc
from linker.vaulted import Damaged
from pseudonym.folders import FolderKeys, SealedFolders
from pseudonym.keks import KekRing
from pseudonym.seal import Kek
from pseudonym.storage import open_store
from tests.forks import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "families"
PURPOSE = "tests of the service"
CANARY = "Zanzibarsdotter"  # the surname of one made-up person, which must not turn up anywhere

FORENAMES = "Amelia Oliver Isla George Ava Noah Mia Arthur Freya Leo Lily Oscar Grace Jack"
SURNAMES = "Baxter Cole Dunn Ellis Frost Gould Hale Irwin Judd Keane Lamb Marsh Nash Orr"


def people(count: int, seed: int = 1) -> pl.DataFrame:
    """Records of made-up people, all columns text."""
    random = np.random.default_rng(seed)
    days = random.integers(0, 25_000, count)
    letters = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
    inward = ["".join(pair) for pair in random.choice(letters, (count, 2))]
    return pl.DataFrame(
        {
            "person_id": [f"r{number:06}" for number in range(count)],
            "forename": random.choice(FORENAMES.split(), count).tolist(),
            "surname": [f"{a}{b.lower()}" for a, b in random.choice(SURNAMES.split(), (count, 2)).tolist()],
            "date_of_birth": (np.datetime64("1940-01-01") + days).astype(str).tolist(),
            "postcode": [
                f"CB{area} {sector}{letters}"
                for area, sector, letters in zip(
                    random.integers(1, 25, count), random.integers(1, 10, count), inward, strict=True
                )
            ],
        }
    )


def with_errors(frame: pl.DataFrame, seed: int = 2) -> pl.DataFrame:
    """The same people as another register has them: some letters and postcodes differ, the order too."""
    return frame.sample(fraction=1.0, shuffle=True, seed=seed).with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0)
        .then(pl.col("forename").str.slice(0, 3))
        .otherwise("forename")
        .alias("forename"),
        pl.when(pl.int_range(pl.len()) % 11 == 0).then(None).otherwise("postcode").alias("postcode"),
        ("x" + pl.col("person_id")).alias("person_id"),
    )


def eventually(attempt: Callable[[], object], seconds: float = 60.0) -> None:
    """Call until it is no longer refused by the service."""
    until = time.monotonic() + seconds
    while True:
        try:
            attempt()
            return
        except ServiceError:
            assert time.monotonic() < until, "still refused"
            time.sleep(0.05)


def quiet_port() -> int:
    """A free port that the system gives to nobody who asks for any, so that a server can come back to it."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def safe_in(folder: Path) -> Iterator[SealedFolders]:
    """What seals a data folder that has no server."""
    with open_store(f"sqlite:///{folder / 'identity.sqlite'}", "identity") as store:
        yield SealedFolders(FolderKeys(store, KekRing(Kek("kek", bytes(range(32))))), Damaged)


class Server:
    """A server process; `log` holds what it wrote."""

    def __init__(self, data: Path, *flags: str, code: str = "") -> None:
        """Start it and wait until it listens.

        Args:
            data: its data folder.
            flags: for `server.py`.
            code: Python that runs instead of `server.main`, with `server` and `settings` at hand.
        """
        self.data = data
        data.mkdir(exist_ok=True)
        self._port_file = data.with_suffix(".port")
        self._port_file.unlink(missing_ok=True)
        self._log_path = data.with_suffix(".log")
        own = ("--data", str(data), "--listen", "127.0.0.1:0", "--port-file", str(self._port_file), *flags)
        self._log_path.touch()
        self.process = ServerProcess(own, self._log_path, code)
        until = time.monotonic() + 120
        while not self._port_file.exists():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.log}"
            assert time.monotonic() < until, "the server does not listen"
            time.sleep(0.05)
        self.address = f"127.0.0.1:{self._port_file.read_text().strip()}"

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def events(self, name: str) -> list[dict[str, object]]:
        # Before the log begins, the server may say in plain words what it does not protect.
        lines = (json.loads(line) for line in self.log.splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == name]

    def client(self, project: str = PROJECT, patience: float = 60.0) -> Client:
        return Client(self.address, project=project, purpose=PURPOSE, patience=patience)

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address)

    def kill(self) -> None:
        """End it without any warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def arrow(frame: pl.DataFrame, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, **options)
    return buffer.getvalue()


def header(frame: pl.DataFrame, name: str, **changes: Any) -> intake_pb2.SubmissionHeader:
    fields: dict[str, Any] = {
        "mandate": mandate(str(uuid.uuid5(uuid.NAMESPACE_OID, name))),
        "batch_id": name,
        "source": "NPD",
        "format": common_pb2.FORMAT_ARROW,
        "columns": frame.columns,
        "id_column": "person_id",
    } | changes
    return intake_pb2.SubmissionHeader(**fields)


def mandate(request_id: str = "") -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=request_id or str(uuid.uuid4()), project=PROJECT, purpose=PURPOSE)


def chunk(number: int, content: bytes, **changes: Any) -> intake_pb2.Chunk:
    fields: dict[str, Any] = {
        "number": number,
        "sha256": hashlib.sha256(content).digest(),
        "arrow": content,
    } | changes
    return intake_pb2.Chunk(**fields)


def end(chunks: list[intake_pb2.Chunk], rows: int) -> intake_pb2.SubmissionEnd:
    digest = hashlib.sha256(b"".join(chunk.sha256 for chunk in chunks)).digest()
    return intake_pb2.SubmissionEnd(chunks=len(chunks), rows=rows, sha256=digest)


KINDS: dict[type, Any] = {
    intake_pb2.SubmissionHeader: "header",
    intake_pb2.Chunk: "chunk",
    intake_pb2.SubmissionEnd: "end",
}


def upload(server: Server, *parts: Any, timeout: float | None = 60) -> intake_pb2.Submission:
    """Send parts of an upload just as they are."""

    def messages() -> Iterator[intake_pb2.SubmitExtractRequest]:
        for part in parts:
            name = KINDS[type(part)]
            yield intake_pb2.SubmitExtractRequest(**{name: part})

    with server.channel() as channel:
        stub = intake_pb2_grpc.IntakeServiceStub(channel)
        return stub.SubmitExtract(messages(), timeout=timeout).submission


def details(error: Any) -> status.Details:
    """What came with an error; it must be there."""
    sent = dict(error.trailing_metadata())
    found = status.read(sent[status.METADATA_KEY])
    assert found.code == error.code().name
    assert found.call_id
    return found
