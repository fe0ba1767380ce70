"""SIGKILL: a process that appends and says what was acknowledged dies, again and again, in one log.

Whatever it said before it died is in the log afterwards, the log verifies, and the next process goes on.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pseudonym.audit import Event, Log, Signer, verify
from tests.forks import said, started
from tests.pseudonym.audit import dying, oracle
from tests.pseudonym.audit.conftest import OFFICER, ORIGIN, SIGNING, Place

KILLS = 110


def die(folder: Path, seed: int, after: float) -> tuple[int, list[tuple[int, int, int]]]:
    """Let a process append for a while and kill it: the size it began with and what it acknowledged."""
    process, pipe = started(dying.appending, str(folder), seed)
    ready = b""
    while not ready.endswith(b"\n"):
        ready += os.read(pipe.fileno(), 1)
    time.sleep(after)
    process.kill()
    told = said(pipe)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    # The last line may be cut off: what it was about to say was acknowledged, but nobody heard it.
    lines = told.decode().split("\n")[:-1]
    return int(ready.split()[1]), [tuple(map(int, line.split())) for line in lines]  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_however_often_it_is_killed(tmp_path):
    place = Place(tmp_path)
    Log.create(place.folder, place.kept, place.signer, place.officer.public_key()).close()
    chance = random.Random(5)
    told: list[tuple[int, int, int]] = []
    sizes = []
    for kill in range(KILLS):
        size, more = die(tmp_path, kill, chance.uniform(0, 0.06))
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


def run(folder: Path, fatal: int) -> tuple[int | None, list[str]]:
    """How a process ended that was to die at a step, and what it said."""
    process, pipe = started(dying.stepping, str(folder), fatal)
    told = said(pipe).decode().splitlines()
    process.join()
    return process.exitcode, told


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
    code, told = run(whole.folder.parent, -1)
    assert code == 0
    steps = json.loads(told[-1])
    assert len(steps) > 20
    had = 7 if begun else 0
    for fatal in range(len(steps)):
        place = prepared(f"killed-{fatal}")
        code, told = run(place.folder.parent, fatal)
        assert code == -signal.SIGKILL
        with dying.opened(place.folder.parent) as log:
            size = log.size
        # Whoever copies the newest checkpoint alone has it, though nothing was added since.
        assert oracle.checkpoint((place.kept / "checkpoint").read_bytes(), place.key)[1] == size
        with dying.opened(place.folder.parent) as log:
            assert log.size == size
            log.append([Event("role/test", "kill", "test")] * 5)
        assert size in (had, had + 2, had + 5)
        assert size >= max(map(int, told), default=had)
        assert oracle.verified(place.folder, place.kept, place.key) == size + 5
