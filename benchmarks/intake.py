"""Rows a second from a frame in memory, over gRPC, into durable storage, beside the disk alone.

    python benchmarks/intake.py [--rows N] [--runs N] [--beside CHECKOUT]

Client and server run on this machine and share its cores. Each run sends made-up people of nine columns of
text as a batch of its own and notes when the last chunk is durable (the server says so) and when the
submission is ready (read again, checked row by row, and written as records). Before it, in the same
run, the disk alone: the same Arrow bytes, hashed, written in pieces of a chunk, each put on disk. With
--beside, the server of another checkout of Kinlink takes the same rows in turn, and the ratio of each pair of
runs is told: what a change costs, on a machine whose disk and neighbours change from minute to minute.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from linker.client import Client
from linker.resources import SubmissionKind, SubmissionState
from linker.sending import CHUNK_ROWS, chunks_of

ROOT = Path(__file__).resolve().parents[1]
FORENAMES = "Amelia Oliver Isla George Ava Noah Mia Arthur Freya Leo Lily Oscar Grace Jack Alfie Ivy"
SURNAMES = "Baxter Cole Dunn Ellis Frost Gould Hale Irwin Judd Keane Lamb Marsh Nash Orr Pratt Quill"
STREETS = "Abbey Bridge Church Dale Elm Ferry Grange High Inkerman Jubilee Kiln Long Mill North"
TOWNS = "Ashford Bedford Carlisle Derby Exeter Frome Grimsby Hereford Ipswich Keighley"


@dataclass(frozen=True)
class Run:
    """Seconds of one run.

    Attributes:
        disk: the bytes hashed and written, without any service.
        durable: from the call of `submit` until every row is on disk.
        ready: until the submission can be linked.
        client: processor time of the client until every row was on disk.
        server: that of the server.
    """

    disk: float
    durable: float
    ready: float
    client: float
    server: float


def people(rows: int, seed: int) -> pl.DataFrame:
    """Made-up people, nine columns of text, about 80 bytes a row."""
    random = np.random.default_rng(seed)
    letters = list("ABDEFGHJLNPQRSTUWXYZ")

    def drawn(values: list[str]) -> pl.Series:
        return pl.Series(values).gather(random.integers(0, len(values), rows))

    def number(low: int, high: int) -> pl.Series:
        return pl.Series(random.integers(low, high, rows)).cast(pl.String)

    day = pl.Series(random.integers(-10_950, 14_000, rows)).cast(pl.Int32).cast(pl.Date).cast(pl.String)
    surname = drawn([a + b.lower() for a in SURNAMES.split() for b in SURNAMES.split()])
    columns = {
        "person_id": seed * 10**10 + pl.int_range(rows, eager=True),
        "forename": drawn(FORENAMES.split()),
        "surname": surname,
        "date_of_birth": day,
        "sex": drawn(["M", "F"]),
        "address": number(1, 200) + " " + drawn(STREETS.split()) + " " + drawn(["Road", "Street", "Lane"]),
        "town": drawn(TOWNS.split()),
        "postcode": drawn(["CB", "LS", "SW"]) + number(1, 25) + " " + number(1, 10)
        + drawn(letters) + drawn(letters),
        "nhs_number": nhs_numbers(random.integers(4 * 10**8, 8 * 10**8, rows)),
    }  # fmt: skip
    return pl.DataFrame(columns).cast(pl.String)


def nhs_numbers(stems: np.ndarray) -> pl.Series:
    """Nine digits and their check digit; where the check would be ten, another stem is taken."""
    for _ in range(8):
        digits = stems[:, None] // 10 ** np.arange(8, -1, -1) % 10
        check = (11 - digits @ np.arange(10, 1, -1) % 11) % 11
        stems = np.where(check == 10, stems + 1, stems)
    return pl.Series(stems * 10 + check % 10)


def disk_alone(contents: list[bytes], folder: Path) -> float:
    """Seconds to hash and write the bytes, each piece on disk before the next."""
    began = time.perf_counter()
    with (folder / "raw").open("wb") as file:
        for content in contents:
            hashlib.sha256(content).digest()
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    (folder / "raw").unlink()
    return seconds


def one_run(client: Client, process: subprocess.Popen[bytes], rows: int, seed: int, folder: Path) -> Run:
    """The disk alone, then the same rows through the service."""
    frame, batch = people(rows, seed), f"run-{seed}"
    disk = disk_alone([content for _, content in chunks_of([frame], CHUNK_ROWS)], folder)
    durable = client_seconds = server_seconds = 0.0

    def frames() -> Iterator[pl.DataFrame]:
        nonlocal durable, client_seconds, server_seconds
        yield frame
        # The last chunk is on its way: the end of the upload waits until the server says that it is durable.
        if began:
            while client.submission(batch_id=batch).rows < rows:
                time.sleep(0.005)
            durable = time.perf_counter() - began
            client_seconds, server_seconds = own_seconds() - own, its_seconds(process) - its

    began = 0.0
    own, its, began = own_seconds(), its_seconds(process), time.perf_counter()
    submission = client.submit(
        frames, batch_id=batch, source="NPD", kind=SubmissionKind.EXTRACT, id_column="person_id"
    )
    ready = time.perf_counter() - began
    if submission.state is not SubmissionState.READY or submission.rows != rows or submission.refused_rows:
        raise SystemExit("The submission is not what was sent.")
    return Run(disk, durable, ready, client_seconds, server_seconds)


def own_seconds() -> float:
    """Processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def its_seconds(process: subprocess.Popen[bytes]) -> float:
    """Processor time of another process (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Rows a second from a client into durable storage.")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout, whose server takes the same rows")
    given = parser.parse_args()
    content = sum(len(part) for _, part in chunks_of([people(100_000, 0)], CHUNK_ROWS)) / 100_000 * given.rows
    roots = [ROOT] if given.beside is None else [given.beside, ROOT]
    runs: list[list[Run]] = [[] for _ in roots]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folders = [Path(name) / str(place) for place in range(len(roots))]
        with ExitStack() as stack:
            servers = [
                stack.enter_context(served(root, folder)) for root, folder in zip(roots, folders, strict=True)
            ]
            for client, process in servers:
                one_run(client, process, 100_000, 1, Path(name))  # the first call loads and warms
            for number in range(given.runs):
                # Each is first in every other pair.
                turns = range(len(roots)) if number % 2 else reversed(range(len(roots)))
                for turn in turns:
                    runs[turn].append(one_run(*servers[turn], given.rows, 2 + number, Path(name)))
    tell(runs[-1], given.rows, content)
    if given.beside is not None:
        print("\nBeside the other checkout, pair by pair (median, least and most): ", end="")
        print(", ".join(f"{name} {ratios(runs, name)}" for name in ("durable", "ready", "server")) + ".")


@contextmanager
def served(root: Path, folder: Path) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    """A client of the server of a checkout, and that server's process."""
    folder.mkdir()
    command = [sys.executable, str(root / "server.py"), "--data", str(folder / "data")]
    command += ["--listen", "127.0.0.1:0", "--port-file", str(folder / "port")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=os.environ | {"PYTHONPATH": str(root)})
    try:
        while not (folder / "port").exists():
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.05)
        address = f"127.0.0.1:{(folder / 'port').read_text().strip()}"
        with Client(address, project="bench", purpose="benchmark", timeout=600) as client:
            yield client, process
    finally:
        process.terminate()
        process.wait()


def ratios(runs: list[list[Run]], name: str) -> str:
    """How many times as long the second takes as the first."""
    found = [getattr(own, name) / getattr(other, name) for other, own in zip(*runs, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def tell(runs: list[Run], rows: int, content: float) -> None:
    """Print the medians."""
    print(f"{rows:,} rows of 9 columns, {content / 1e6:,.0f} MB of Arrow in chunks of {CHUNK_ROWS:,} rows;")
    print(
        f"median of {len(runs)} runs; {os.cpu_count()} cores, {platform.machine()}, "
        f"load average {os.getloadavg()[1]:.1f} (this run alone: 2 to 3)\n"
    )
    print("| | s | rows/s | MB/s | slowest run, rows/s |\n| --- | --- | --- | --- | --- |")
    for name, seconds in (
        ("disk alone: SHA-256, write, fsync a chunk", [run.disk for run in runs]),
        ("client → gRPC → durable", [run.durable for run in runs]),
        ("client → gRPC → durable → checked, ready to link", [run.ready for run in runs]),
    ):
        median = statistics.median(seconds)
        print(
            f"| {name} | {median:.2f} | {rows / median:,.0f} | {content / median / 1e6:,.0f} | "
            f"{rows / max(seconds):,.0f} |"
        )
    ratio = statistics.median(run.durable / run.disk for run in runs)
    print(f"\nDurable intake takes {ratio:.2f} times as long as the disk alone (median run by run).")
    client, server = (
        statistics.median(getattr(run, side) for run in runs) / rows * 1e6 for side in ("client", "server")
    )
    print(f"Processor time a million rows until durable: client {client:.2f} s, server {server:.2f} s.")


if __name__ == "__main__":
    main()
