"""SIGKILL at random moments of intake, rewrapping, erasure, and decisions on persons.

What was said to be done is done, and the rest is done or not, never half.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from pseudonym import columns
from pseudonym.keks import KekRing
from pseudonym.people import People
from pseudonym.records import SCHEMA
from pseudonym.storage import Store, open_store
from pseudonym.storage import identity as db
from pseudonym.storage.schema_identity import BLIND_INDEX, IDENTITY_ROW, SUBJECT
from pseudonym.subjects import LIVING, State, Subjects
from pseudonym.urn import Kind
from tests.pseudonym.storage import made_up, mortal_people
from tests.pseudonym.storage.delivered import check, check_rows
from tests.pseudonym.storage.mortal import BATCH, INTAKE, KEYS, PEOPLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DEATHS = 110
ROOT = Path(__file__).parents[3]


@pytest.fixture
def mortal():
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "POLARS_MAX_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.pseudonym.storage.mortal"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environment) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        orders, answers = program.stdin, program.stdout

        def die(seconds: float, work: str, url: str) -> tuple[bool, list[str]]:
            """Whether it was killed before it was through, and what it said was done."""
            orders.write(f"{seconds} {work} {url}\n")
            orders.flush()
            answer = json.loads(answers.readline())
            assert answer["status"] in (0, -signal.SIGKILL)
            return answer["status"] != 0, [line for line in answer["said"] if line != "ready"]

        yield die
        orders.close()


def moments(longest: float):
    """Seconds until death; one in eight comes while the store is being opened."""
    draw = random.Random(20261122)
    while True:
        yield -draw.uniform(0, 0.1) if draw.random() < 0.125 else draw.uniform(0, longest)


def everything(store: Store):
    """What the store says of everybody, apart from what is random each time."""
    here = made_up.vault(store)
    with store.read() as connection:
        subjects = connection.execute(sa.select(SUBJECT)).all()
        index = connection.execute(sa.select(BLIND_INDEX)).all()
        owners = {row.row_id: row.pid for row in connection.execute(sa.select(IDENTITY_ROW))}
    living = sorted(row.pid for row in subjects if row.state != State.ERASED)
    assert living == sorted(row.pid for row in subjects if row.wrapped is not None)
    assert set(owners.values()) <= set(living)
    assert {row.row_id for row in index} <= set(owners)
    opened = here.open(living, made_up.MANDATE)
    return (
        sorted((row.pid, row.state, row.version) for row in subjects),
        dict(zip(opened["pid"], columns.payloads(opened.select(SCHEMA.names())), strict=True)),
        sorted((owners[row.row_id], row.entry) for row in index),
    )


def test_intake_is_killed(mortal, tmp_path):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    wanted = [made_up.pid(n) for n in range(INTAKE)]
    done: set[int] = set()
    deaths = rounds = 0
    for seconds in moments(0.15):
        killed, said = mortal(seconds, "intake", url)
        done |= {int(line) for line in said}
        deaths += killed
        with open_store(url, "identity") as store:
            there = made_up.vault(store).states(wanted)
            for start in range(0, INTAKE, BATCH):
                batch = sum(pid in there for pid in wanted[start : start + BATCH])
                assert batch in (0, BATCH)
                assert batch or start not in done
            with store.read() as connection:
                counted = connection.execute(
                    sa.select(sa.func.count()).select_from(IDENTITY_ROW)
                ).scalar_one()
                assert counted == len(there)
            if len(there) < INTAKE:
                assert killed
                continue
            found = everything(store)
        if rounds == 0:
            with open_store(f"sqlite:///{tmp_path / 'calm.db'}", "identity") as calm:
                for start in range(0, INTAKE, BATCH):
                    pids = wanted[start : start + BATCH]
                    made_up.vault(calm).add(made_up.people(start, len(pids)), "council", pids=pids)
                expected = everything(calm)
        assert found == expected
        rounds, done = rounds + 1, set()
        if deaths >= DEATHS:
            break
        for path in tmp_path.glob("store.db*"):
            path.unlink()


def test_rewrapping_is_killed(mortal, sqlite_url):
    with open_store(sqlite_url, "identity") as store:
        pids = made_up.vault(store).add(
            made_up.people(0, KEYS), "council", pids=[made_up.pid(n) for n in range(KEYS)]
        )
        with store.read() as connection:
            keks = KekRing(made_up.kek(1))
            expected = Subjects(store, keks).deks(db.keys(store, connection, pids))
    deaths = month = 1
    for seconds in moments(0.12):
        killed, said = mortal(seconds, "rewrap", sqlite_url)
        deaths += killed
        with open_store(sqlite_url, "identity") as store:
            counts = made_up.vault(store).wrapped_under()
            assert sum(counts.values()) == KEYS
            assert len(counts) <= 2
            if said:
                month, done = map(int, said[-1].split())
                assert counts[made_up.kek(month).kid] >= done
            keks = KekRing(made_up.kek(1), tuple(made_up.kek(n) for n in range(2, month + 3)))
            with store.read() as connection:
                assert Subjects(store, keks).deks(db.keys(store, connection, pids)) == expected
        if deaths > DEATHS and month > 3:
            break
    with open_store(sqlite_url, "identity") as store:
        final = made_up.vault(store, month=month + 2, older=tuple(range(1, month + 2)))
        while final.rewrap(500):
            pass
        assert final.wrapped_under() == {made_up.kek(month + 2).kid: KEYS}
        assert made_up.vault(store, month=month + 2).open(pids, made_up.MANDATE).height == KEYS


def test_erasure_is_killed(mortal, tmp_path, sqlite_url):
    path = tmp_path / "store.db"
    first = tmp_path / "first.db"
    pids = [made_up.pid(n) for n in range(PEOPLE)]
    with open_store(f"sqlite:///{first}", "identity") as store:
        made_up.vault(store).add(made_up.people(0, PEOPLE), "council", pids=pids)
        whole = everything(store)
        with store.read() as connection:
            secrets = {row.pid: [row.ct[13:45], row.row_id] for row in db.rows(store, connection, pids)}
            for row in db.keys(store, connection, pids):
                secrets[row.pid].append(row.wrapped[13:])
    shutil.copy(first, path)
    deaths, done, halves = 0, set(), 0
    for seconds in moments(0.25):
        killed, said = mortal(seconds, "erase", sqlite_url)
        done |= {int(line) for line in said}
        deaths += killed
        with open_store(sqlite_url, "identity") as store:
            states = made_up.vault(store).states(pids)
            gone = {pid for pid in pids if states[pid] is State.ERASED}
            halves += len(gone) != 3 * len(done)
            for number in range(0, PEOPLE, 3):
                erased = sum(pid in gone for pid in pids[number : number + 3])
                assert erased in (0, 3)
                assert erased or number not in done
            living = [pid for pid in pids if pid not in gone]
            assert made_up.vault(store).open(living, made_up.MANDATE, states=LIVING).height == len(living)
            _, identities, index = everything(store)
            assert identities == {pid: whole[1][pid] for pid in living}
            assert index == [entry for entry in whole[2] if entry[0] not in gone]
        octets = b"".join(each.read_bytes() for each in tmp_path.glob("store.db*"))
        for pid in pids:
            for secret in secrets[pid]:
                assert (secret in octets) == (pid not in gone)
        done = {number for number in range(0, PEOPLE, 3) if pids[number] in gone}
        if not living:
            shutil.copy(first, path)
            done = set()
            if deaths >= DEATHS:
                break
    assert halves


def test_deliveries_merges_and_protections_are_killed(mortal, tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'calm.db'}", "identity") as calm:
        people = People(made_up.vault(calm))
        for step in range(mortal_people.STEPS):
            mortal_people.carry_out(people, step)
        expected = mortal_people.partition(people)
        assert len(people.untold(1000)) > mortal_people.STEPS
    url = f"sqlite:///{tmp_path / 'store.db'}"
    deaths = done = 0
    draw, longest = random.Random(20261123), 0.2
    while True:
        # About a step a life, however slow the machine is: death comes in the middle of something.
        killed, said = mortal(draw.uniform(0, longest), "persons", url)
        deaths += killed
        longest *= 1.15 if len(said) < 2 else 0.87
        done = max([done, *(int(line) + 1 for line in said)])
        with open_store(url, "identity") as store:
            people = People(made_up.vault(store))
            with store.read() as at:
                kept = people._tools.register.seen(at, Kind.PERSON, mortal_people.everybody())
            check_rows(store, kept)
            assert kept.state.number in (done, done + killed)
            done = kept.state.number
            if done < mortal_people.STEPS:
                assert killed
                continue
            check(store, people)
            assert mortal_people.partition(people) == expected
        if deaths >= DEATHS:
            break
        done = 0
        for path in tmp_path.glob("store.db*"):
            path.unlink()
