"""Files that are shortened: what is young stays, whenever the process is killed, and what is old goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pseudonym.errors import NotFoundError
from pseudonym.roles.repeats import KEEP_DAYS, Repeats
from pseudonym.roles.spent import LONGEST, Spent
from pseudonym.roles.submissions import Submissions
from pseudonym.values import ValuesRefused
from pseudonym.wayback import Spending
from tests.service.harness import ROOT

DAY = 86_400
NOW = 1_795_000_000


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def refused() -> bytes:
    raise AssertionError("it was done again")


def test_requests_are_known_for_a_month_and_then_forgotten(tmp_path):
    clock, path = Clock(), tmp_path / "repeats"
    with Repeats(path, clock) as repeats:
        repeats.once("request-1", "digest", lambda: b"one")
        clock.now += 20 * DAY
        repeats.once("request-2", "digest", lambda: b"two")
        clock.now += (KEEP_DAYS - 20) * DAY
        assert repeats.once("request-1", "digest", refused) == b"one"
        clock.now += 2 * DAY
        repeats.once("request-3", "digest", lambda: b"three")  # shortens on its way
        assert path.read_bytes().count(b"\n") == 2
        assert repeats.once("request-1", "digest", lambda: b"new") == b"new"
    with Repeats(path, clock) as repeats:
        for name, answer in (("request-1", b"new"), ("request-2", b"two"), ("request-3", b"three")):
            assert repeats.once(name, "digest", refused) == answer
    clock.now += 40 * DAY
    Repeats(path, clock).close()
    assert path.read_bytes() == b""


PROGRAM = """
import sys
from pathlib import Path
from pseudonym.roles.repeats import Repeats
now = [float(sys.argv[2])]
def clock():
    now[0] += 0.26 * 86_400  # so that every fourth or so shortens
    return now[0]
with Repeats(Path(sys.argv[1]), clock) as repeats:
    for number in range(int(sys.argv[3]), 10**9):
        repeats.once(f"request-{number}", "digest", lambda: str(number).encode())
        print(number, int(now[0]), flush=True)
"""


def test_killed_at_any_moment_nothing_young_is_lost(tmp_path):
    path, number, now = tmp_path / "repeats", 0, NOW
    for killed in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), str(now), str(number)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(30)]
        time.sleep(0.003 * killed)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        done = [tuple(map(int, line.split())) for line in said if len(line.split()) == 2]
        number, now = done[-1][0] + 1, done[-1][1]
        clock = Clock()
        clock.now = now
        with Repeats(path, clock) as repeats:
            for one, moment in done:
                if now - moment < KEEP_DAYS * DAY - DAY:
                    assert repeats.once(f"request-{one}", "digest", refused) == str(one).encode()
        number += 1  # the one that may have been cut off
    assert path.stat().st_size < 200 * 100


def test_a_granted_request_is_kept_until_it_has_expired(tmp_path):
    clock, path = Clock(), tmp_path / "spent"
    today = datetime.fromtimestamp(NOW, UTC).date()
    with Spent(path, clock=clock) as spent:
        assert spent.spend(b"1" * 32, "olive", today, 6, 10) is Spending.DONE
        clock.now += LONGEST.total_seconds()
        later = today + LONGEST
        assert spent.spend(b"2" * 32, "olive", later, 6, 10) is Spending.DONE
        assert spent.spend(b"1" * 32, "olive", later, 1, 10) is Spending.USED
    clock.now += 4 * DAY
    with Spent(path, clock=clock) as spent:
        assert path.read_bytes().count(b"\n") == 1
        assert spent.spend(b"2" * 32, "olive", later + timedelta(4), 1, 10) is Spending.USED


def test_uploads_are_forgotten_a_month_after_their_last_chunk(tmp_path):
    clock = Clock()
    kept = Submissions(tmp_path, clock)
    old = kept.open("tf-2026", "b-1", "attainment", "row_ref", "alice")
    kept.refuse(old, ValuesRefused(table(3)))
    for path in tmp_path.iterdir():
        os.utime(path, (NOW, NOW))
    clock.now += 20 * DAY
    young = kept.open("tf-2026", "b-2", "attainment", "row_ref", "alice")
    os.utime(tmp_path / f"{young.submission_id}.json", (clock.now, clock.now))
    assert kept.get("tf-2026", batch_id="b-1").refused == 3
    clock.now += 12 * DAY
    kept.open("tf-2026", "b-2", "attainment", "row_ref", "alice")
    with pytest.raises(NotFoundError):
        kept.get("tf-2026", batch_id="b-1")
    assert [path.name for path in tmp_path.iterdir()] == [f"{young.submission_id}.json"]
    assert Submissions(tmp_path, clock).get("tf-2026", batch_id="b-2") == young


def table(count: int) -> pl.DataFrame:
    rows = {"row": range(count), "column": ["score"] * count, "reason": ["not_in_list"] * count}
    return pl.DataFrame(rows, schema_overrides={"row": pl.UInt32})


def test_all_that_was_refused_is_listed(tmp_path):
    kept = Submissions(tmp_path)
    upload = kept.open("tf-2026", "b-1", "attainment", "row_ref", "alice")
    assert kept.refusals(upload, 0, 10).rows() == []
    upload = kept.refuse(upload, ValuesRefused(table(25_000)))
    again = Submissions(tmp_path).get("tf-2026", batch_id="b-1")
    assert again.refused == 25_000
    found = pl.concat([kept.refusals(again, first, 1000) for first in range(0, 25_000, 1000)])
    assert found["row"].to_list() == list(range(25_000))
    assert found.row(24_999) == (1, 24_999, "score", "not_in_list")
    assert kept.refusals(again, 25_000, 1000).height == 0
