"""SIGKILL at random moments of intake, rewrapping, erasure, and decisions on persons, on both databases.

What was said to be done is done, and the rest is done or not, never half.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from pseudonym import columns
from pseudonym.folders import FolderKeys
from pseudonym.keks import KekRing
from pseudonym.people import People
from pseudonym.records import SCHEMA
from pseudonym.seal import new_deks
from pseudonym.storage import Store, open_store, register, wrapped
from pseudonym.storage import identity as db
from pseudonym.storage.schema_identity import BLIND_INDEX, IDENTITY_ROW, SUBJECT
from pseudonym.subjects import LIVING, State, Subjects
from pseudonym.urn import Kind
from tests.pseudonym.storage import made_up, mortal_people
from tests.pseudonym.storage.delivered import check, check_rows
from tests.pseudonym.storage.mortal import FOLDERS, INTAKE, KEYS, PEOPLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

REGISTER_KEYS = 3
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


class Deaths:
    """When to die: one death in eight comes while the store is being opened, the others while work is done.

    However slow the machine is, some answers come before most deaths, and deaths before the work is through.
    """

    def __init__(self, longest: float, some: int = 4) -> None:
        self._draw = random.Random(20261122)
        self._longest, self._some = longest, some

    def moment(self) -> float:
        """Seconds until death, as `mortal` has them."""
        if self._draw.random() < 0.125:
            return -self._draw.uniform(0, 0.1)
        return self._draw.uniform(0, self._longest)

    def learn(self, said: Sequence[str]) -> None:
        """What one said before it died decides how long the next may live."""
        self._longest *= 1.15 if len(said) < self._some else 0.87


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


def test_intake_is_killed(mortal, databases):
    url = databases.new()
    batches, size = INTAKE[sa.make_url(url).get_backend_name()]
    wanted = [made_up.pid(n) for n in range(batches * size)]
    done: set[int] = set()
    moments, deaths, rounds = Deaths(0.15), 0, 0
    while True:
        killed, said = mortal(moments.moment(), "intake", url)
        moments.learn(said)
        databases.left(url)
        done |= {int(line) for line in said}
        deaths += killed
        with open_store(url, "identity") as store:
            there = made_up.vault(store).states(wanted)
            for start in range(0, len(wanted), size):
                batch = sum(pid in there for pid in wanted[start : start + size])
                assert batch in (0, size)
                assert batch or start not in done
            with store.read() as connection:
                counted = connection.execute(
                    sa.select(sa.func.count()).select_from(IDENTITY_ROW)
                ).scalar_one()
                assert counted == len(there)
            if len(there) < len(wanted):
                assert killed
                continue
            found = everything(store)
        if rounds == 0:
            with open_store(databases.new(), "identity") as calm:
                for start in range(0, len(wanted), size):
                    pids = wanted[start : start + size]
                    made_up.vault(calm).add(made_up.people(start, size), "council", pids=pids)
                expected = everything(calm)
        assert found == expected
        rounds, done = rounds + 1, set()
        if deaths >= databases.deaths:
            break
        databases.drop(url)
        url = databases.new()


def every_key(store: Store, keks: KekRing, pids: Sequence[bytes]) -> tuple[dict[bytes, bytes], list[bytes]]:
    """What is under the KEKs: the keys of people and of the register, and those of folders."""
    with store.read() as connection:
        rows = [*db.keys(store, connection, pids), *register.keys(connection)]
        deks = Subjects(store, keks).deks(rows)
    folders = FolderKeys(store, keks)
    return deks, [folders.key(f"sub-{n}") for n in range(FOLDERS)]


def test_rewrapping_is_killed(mortal, databases):
    url = databases.new()
    with open_store(url, "identity") as store:
        pids = made_up.vault(store).add(
            made_up.people(0, KEYS), "council", pids=[made_up.pid(n) for n in range(KEYS)]
        )
        first = KekRing(made_up.kek(1))
        ids, deks = [made_up.pid(KEYS + n) for n in range(REGISTER_KEYS)], new_deks(REGISTER_KEYS)
        with store.transaction() as connection:
            for one, dek in zip(ids, deks, strict=True):
                register.add_key(store, connection, one, first.current.kid, first.current.wrap(dek, one))
        for n in range(FOLDERS):
            FolderKeys(store, first).make(f"sub-{n}")
        expected = every_key(store, first, pids)
    total = KEYS + REGISTER_KEYS + FOLDERS
    shares: set[int] = set()
    moments, deaths, month = Deaths(0.12), 0, 1
    while deaths < databases.deaths or month < 4:
        killed, said = mortal(moments.moment(), "rewrap", url)
        moments.learn(said)
        databases.left(url)
        deaths += killed
        with open_store(url, "identity") as store:
            counts = wrapped.kids(store)
            assert sum(counts.values()) == total
            assert len(counts) <= 2
            if said:
                month, done = map(int, said[-1].split())
                assert counts[made_up.kek(month).kid] >= done
            if killed:
                shares.add(counts[max(counts)])
            keks = KekRing(made_up.kek(1), tuple(made_up.kek(n) for n in range(2, month + 3)))
            assert every_key(store, keks, pids) == expected
    # It died between any two batches: of people's keys, and, the register's done with the last, of folders'.
    assert len([share for share in shares if share < KEYS]) > 5
    assert [share for share in shares if KEYS + REGISTER_KEYS <= share < total]
    assert not [share for share in shares if KEYS <= share < KEYS + REGISTER_KEYS]
    with open_store(url, "identity") as store:
        last, older = month + 2, tuple(range(1, month + 2))
        final = made_up.vault(store, month=last, older=older)
        while final.rewrap(500):
            pass
        FolderKeys(store, KekRing(made_up.kek(last), tuple(map(made_up.kek, older)))).rewrap()
        assert wrapped.kids(store) == {made_up.kek(last).kid: total}
        assert every_key(store, KekRing(made_up.kek(last)), pids) == expected
        assert made_up.vault(store, month=last).open(pids, made_up.MANDATE).height == KEYS


def test_erasure_is_killed(mortal, databases):
    first = databases.new()
    pids = [made_up.pid(n) for n in range(PEOPLE)]
    with open_store(first, "identity") as store:
        made_up.vault(store).add(made_up.people(0, PEOPLE), "council", pids=pids)
        whole = everything(store)
        with store.read() as connection:
            secrets = {row.pid: [row.ct[13:45], row.row_id] for row in db.rows(store, connection, pids)}
            for row in db.keys(store, connection, pids):
                secrets[row.pid].append(row.wrapped[13:])
    url = databases.copy(first)
    moments, deaths, done, halves = Deaths(0.25), 0, set(), 0
    while True:
        killed, said = mortal(moments.moment(), "erase", url)
        moments.learn(said)
        databases.left(url)
        done |= {int(line) for line in said}
        deaths += killed
        with open_store(url, "identity") as store:
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
        octets = databases.octets(url)
        for pid in pids:
            for secret in secrets[pid]:
                assert (secret in octets) == (pid not in gone)
        done = {number for number in range(0, PEOPLE, 3) if pids[number] in gone}
        if not living:
            databases.drop(url)
            url = databases.copy(first)
            done = set()
            if deaths >= databases.deaths:
                break
    assert halves


def test_deliveries_merges_and_protections_are_killed(mortal, databases):
    with open_store(databases.new(), "identity") as calm:
        people = People(made_up.vault(calm))
        for step in range(mortal_people.STEPS):
            mortal_people.carry_out(people, step)
        expected = mortal_people.partition(people)
        assert len(people.untold(1000)) > mortal_people.STEPS
    url = databases.new()
    deaths = done = 0
    draw, longest = random.Random(20261123), 0.2
    while True:
        # About a step a life, however slow the machine is: death comes in the middle of something.
        killed, said = mortal(draw.uniform(0, longest), "persons", url)
        databases.left(url)
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
        if deaths >= databases.deaths:
            break
        done = 0
        databases.drop(url)
        url = databases.new()
