"""Entries a second into the audit log, beside the disk alone; what opening and verifying a long log take.

    python benchmarks/audit.py [--runs N] [--entries N]

Each way of appending is measured beside the disk alone in the same run: frames of the same size, written and
put on disk (fdatasync) without anything else. The first table's last line seals 100 bytes of details in every
entry.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pseudonym.audit import Event, Log, Signer, verify

SIGNER = Signer("kinlink.example/bench", Ed25519PrivateKey.generate())
OFFICER = X25519PrivateKey.generate().public_key()
EVENT = Event("role/officer/alice", "identity.open", "linkage", "bench", bytes(32), 1)
SEALED = Event("role/officer/alice", "identity.open", "linkage", "bench", bytes(32), 1, bytes(100))


def disk_alone(folder: Path, frames: int, size: int) -> float:
    """Seconds to write frames of a size, each on disk before the next."""
    data = os.urandom(size)
    handle = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT)
    began = time.perf_counter()
    for number in range(frames):
        os.pwrite(handle, data, number * size)
        os.fdatasync(handle)
    seconds = time.perf_counter() - began
    os.close(handle)
    (folder / "raw").unlink()
    return seconds


def appended(log: Log, calls: int, events: list[Event]) -> float:
    """Seconds for calls one after the other."""
    began = time.perf_counter()
    for _ in range(calls):
        log.append(events)
    return time.perf_counter() - began


def together(log: Log, calls: int, threads: int) -> float:
    """Seconds for single entries from many threads at once."""
    work = [threading.Thread(target=appended, args=(log, calls // threads, [EVENT])) for _ in range(threads)]
    began = time.perf_counter()
    for one in work:
        one.start()
    for one in work:
        one.join()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Entries a second into the audit log.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the log to open and verify")
    given = parser.parse_args()
    ways: list[tuple[str, int, int, Callable[[Log], float]]] = [
        ("one by one", 300, 1, lambda log: appended(log, 300, [EVENT])),
        ("one by one, 16 threads at once", 1600, 1, lambda log: together(log, 1600, 16)),
        ("100 at a time", 100, 100, lambda log: appended(log, 100, [EVENT] * 100)),
        ("1,000 at a time", 50, 1000, lambda log: appended(log, 50, [EVENT] * 1000)),
        ("1,000 at a time, details sealed", 5, 1000, lambda log: appended(log, 5, [SEALED] * 1000)),
    ]
    print(f"Median of {given.runs} runs; {os.cpu_count()} cores, {platform.machine()}, ", end="")
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    print("| | entries/s | disk alone, frames of that size, entries/s |\n| --- | --: | --: |")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        (folder / "kept").mkdir()
        with Log.create(folder / "log", folder / "kept", SIGNER, OFFICER) as log:
            for what, calls, size, way in ways:
                ours, disk = [], []
                for _ in range(given.runs):
                    before = (folder / "log" / "entries").stat().st_size
                    ours.append(way(log))
                    written = (folder / "log" / "entries").stat().st_size - before
                    disk.append(disk_alone(folder, calls, written // calls))
                rates = [calls * size / statistics.median(seconds) for seconds in (ours, disk)]
                print(f"| {what} | {rates[0]:,.0f} | {rates[1]:,.0f} |")
            while log.size < given.entries:
                log.append([EVENT] * min(100_000, given.entries - log.size))
        began = time.perf_counter()
        Log.open(folder / "log", folder / "kept", SIGNER, OFFICER).close()
        opened = time.perf_counter() - began
        for helper in ("tree", "starts", "mark"):
            (folder / "log" / helper).unlink()
        began = time.perf_counter()
        Log.open(folder / "log", folder / "kept", SIGNER, OFFICER).close()
        made_again = time.perf_counter() - began
        began = time.perf_counter()
        shown = verify(folder / "log", folder / "kept", [SIGNER.verifier])
        verified = time.perf_counter() - began
        size = (folder / "log" / "entries").stat().st_size
    print(f"\nA log of {shown.entries:,} entries ({size / 1e6:,.0f} MB): opened in {opened * 1000:.0f} ms, ")
    print(f"in {made_again:.1f} s where all but the entries is made again; verified in {verified:.0f} s, ")
    print(f"{shown.entries / verified:,.0f} entries/s, against {shown.checkpoints:,} checkpoints.")


if __name__ == "__main__":
    main()
