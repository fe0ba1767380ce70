"""SIGKILL: a process that appends and says what was acknowledged dies, again and again, in one log.

Whatever it said before it died is in the log afterwards, the log verifies, and the next process goes on.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pseudonym.audit import Log, Signer, verify
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import OFFICER, ORIGIN, SIGNING, Place

ROOT = Path(__file__).parents[3]
KILLS = 110

# Four threads append batches of different sizes, with and without details. Once `append` has returned, a line
# is printed: first number, the number after the last, and the count by which the batch is recognised.
# Checkpoints and marks are frequent, so that every kind of write is often under way.
APPENDING = """
import itertools, sys, threading
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pseudonym.audit import Cadence, Event, Log, Signer
from pseudonym.audit.writer import Writer

Writer.mark.__defaults__ = (50,)
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
signer = Signer(sys.argv[3], Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[4])))
officer = X25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[5])).public_key()
log = Log.open(folder / "log", folder / "kept", signer, officer, cadence=Cadence(entries=20))
print("ready", log.size, flush=True)
batches = itertools.count(seed * 1_000_000)

def work(thread):
    for turn in itertools.count(thread):
        batch = next(batches)
        size = (1, 1, 3, 40)[turn % 4]
        details = b"x" * 5000 if turn % 5 == 0 else b""
        events = [Event("role/test", "kill", "test", count=batch, details=details)] * size
        numbers = log.append(events)
        sys.stdout.write(f"{numbers.start} {numbers.stop} {batch}\\n")
        sys.stdout.flush()

threads = [threading.Thread(target=work, args=(one,)) for one in range(4)]
for one in threads:
    one.start()
"""


def die(folder: Path, seed: int, after: float) -> tuple[int, list[tuple[int, int, int]]]:
    """Let a process append for a while and kill it: the size it began with and what it acknowledged."""
    arguments = [str(folder), str(seed), ORIGIN, SIGNING.hex(), OFFICER.hex()]
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDING, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    ready, size = process.stdout.readline().split()
    assert ready == "ready"
    timer = threading.Timer(after, process.send_signal, [signal.SIGKILL])
    timer.start()
    # The last line may be cut off: what it was about to say was acknowledged, but nobody heard it.
    lines = [line for line in process.stdout if line.endswith("\n")]
    assert process.wait() == -signal.SIGKILL
    timer.join()
    process.stdout.close()
    return int(size), [tuple(map(int, line.split())) for line in lines]  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_however_often_it_is_killed(tmp_path):
    place = Place(tmp_path)
    Log.create(place.folder, place.kept, place.signer, place.officer.public_key()).close()
    chance = random.Random(5)
    told: list[tuple[int, int, int]] = []
    sizes = []
    for kill in range(KILLS):
        size, more = die(tmp_path, kill, chance.uniform(0, 0.12))
        sizes.append(size)
        assert size >= max((stop for _, stop, _ in told), default=0)
        told += more
        if kill % 10 == 9:
            live = verify(place.folder, place.kept, place.keys, live=True)
            assert live.entries >= max(stop for _, stop, _ in told)
    assert sizes == sorted(sizes)
    place.signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(SIGNING))
    place.officer = X25519PrivateKey.from_private_bytes(OFFICER)
    with Log.open(place.folder, place.kept, place.signer, place.officer.public_key()) as log:
        assert sum(stop - first for first, stop, _ in told) <= log.size
        for first, stop, batch in told:
            assert {log.entry(number).count for number in range(first, stop)} == {batch}
    spans = sorted(told)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert verify(place.folder, place.kept, place.keys).entries == log._writer.size
    assert oracle.verified(place.folder, place.kept, place.key, most=50) == log._writer.size
    print(json.dumps({"kills": KILLS, "acknowledged": len(told), "entries": sizes[-1]}))


# Opens a log, appends, closes it, and dies at the given step: every call that touches a file is a step, and a
# write is done to the half before the process dies. A negative step lets all through and prints the steps.
DYING = """
import json, os, signal, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pseudonym.audit import Cadence, Event, Log, Signer
from pseudonym.audit.writer import Writer

Writer.mark.__defaults__ = (1,)
folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
signer = Signer(sys.argv[3], Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[4])))
officer = X25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[5])).public_key()
steps = []

def watched(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        if len(steps) == fatal:
            if name == "pwrite":
                real(args[0], bytes(args[1])[: len(args[1]) // 2], args[2])
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(name)
        return real(*args, **kwargs)
    setattr(os, name, call)

for name in ("pwrite", "fdatasync", "fsync", "replace", "ftruncate"):
    watched(name)
if not (folder / "log" / "about").exists():
    log = Log.create(folder / "log", folder / "kept", signer, officer)
else:
    log = Log.open(folder / "log", folder / "kept", signer, officer, cadence=Cadence(entries=1))
print("ready", flush=True)
for count in (2, 3):
    log.append([Event("role/test", "kill", "test")] * count)
    print(log.size, flush=True)
log.close()
print(json.dumps(steps))
"""


def run(folder: Path, fatal: int) -> subprocess.CompletedProcess[str]:
    arguments = [str(folder), str(fatal), ORIGIN, SIGNING.hex(), OFFICER.hex()]
    return subprocess.run(
        [sys.executable, "-c", DYING, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("begun", [False, True])
def test_killed_at_every_step(begun, tmp_path):
    def prepared(name: str) -> Place:
        path = tmp_path / name
        path.mkdir()
        place = Place(path)
        if begun:  # a log with a torn tail, which opening cuts away
            place.clock.now = time.time_ns() // 1000 - 3_600_000_000
            place.filled([7])
            with place.entries.open("ab") as file:
                file.write(b"KLAUDIT1 half a header")
        return place

    whole = prepared("whole")
    done = run(whole.folder.parent, -1)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout.splitlines()[-1])
    assert len(steps) > 20
    had = 7 if begun else 0
    for fatal in range(len(steps)):
        place = prepared(f"killed-{fatal}")
        died = run(place.folder.parent, fatal)
        assert died.returncode == -signal.SIGKILL
        told = [int(line) for line in died.stdout.split() if line != "ready"]
        after = run(place.folder.parent, -1)
        assert after.returncode == 0, after.stderr
        size = int(after.stdout.split()[1]) - 2
        assert size in (had, had + 2, had + 5)
        assert size >= max(told, default=had)
        assert oracle.verified(place.folder, place.kept, place.key) == size + 5
