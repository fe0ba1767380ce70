"""Processes killed (SIGKILL) at random moments, on both databases: intake, re-wrapping, erasure, destruction.

Whatever was answered is there, nothing is there in part, and doing it again finishes it.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from pseudonym.broker import Broker
from pseudonym.cover import cover
from pseudonym.destruction import rewrap
from pseudonym.errors import EndedError
from pseudonym.ledger import What
from pseudonym.storage import Role, open_store
from pseudonym.storage.schema import METADATA
from pseudonym.storage.schema_attributes import KEY, ROW, SUBJECT
from pseudonym.storage.schema_broker import HALF, MEMBER, URN
from pseudonym.tracing import WAY_BACK
from pseudonym.urn import Kind
from tests.forks import started
from tests.pseudonym.databases import Databases, OnServer, OnSqlite
from tests.pseudonym.separation import dying
from tests.pseudonym.separation.parts import (
    EVERY_TAG,
    PROJECT,
    RECIPIENT,
    WHO,
    Clock,
    Keys,
    attributes,
    broker,
    column,
    everything,
    values,
)

MEASURED = 10  # attempts from one measurement to the next


@dataclass(frozen=True)
class Start:
    """What each attempt begins with a copy of: the ledgers of both roles, and their databases."""

    folder: Path
    databases: Databases
    of_attributes: str
    of_broker: str

    def url(self, what: str) -> str:
        return self.of_broker if what.startswith("broker-") else self.of_attributes

    @contextmanager
    def copied(self, what: str, folder: Path) -> Iterator[str]:
        """A copy of what something is done to; its ledgers are in the folder, and its URL is returned."""
        shutil.copytree(self.folder, folder)
        url = self.databases.copy(self.url(what))
        yield url
        self.databases.drop(url)
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def start(request, tmp_path_factory) -> Start:
    databases: Databases = (
        OnSqlite(tmp_path_factory.mktemp("databases"))
        if request.param == "sqlite"
        else OnServer(request.getfixturevalue("postgres_server"))
    )
    start = Start(tmp_path_factory.mktemp("start"), databases, databases.new(), databases.new())
    dying.prepare(start.folder, start.of_attributes, start.of_broker)
    return start


def attempt(what: str, folder: Path, url: str, delay: float | None) -> tuple[list[Any], float]:
    """Do it in a process of its own, killed after the delay; what was answered, and how long that took."""
    process, ours = started(dying.run, what, str(folder), url)
    assert ours.recv() == "ready"
    began = time.monotonic()
    said: list[Any] = []
    with suppress(EOFError):
        while "done" not in said:
            if delay is not None and not ours.poll(max(0.0, began + delay - time.monotonic())):
                break
            said.append(ours.recv())
    took = time.monotonic() - began
    if delay is not None:
        process.kill()
    process.join()
    with suppress(EOFError):
        while True:
            said.append(ours.recv())
    ours.close()
    process.close()
    return said, took


def killed(what: str, start: Start, tmp_path: Path):
    """The folder and the database after each kill, and what had been answered; so many died before the end.

    How long it takes undisturbed is measured again and again, and taken from whatever came to its end: the
    machine may be busier than it was, or less.
    """
    chance = random.Random(what)
    died = tries = 0
    while died < start.databases.deaths:
        if tries % MEASURED == 0:
            with start.copied(what, tmp_path / "whole") as url:
                said, took = attempt(what, tmp_path / "whole", url, None)
                assert said[-1] == "done"
        tries += 1
        assert tries < 3 * start.databases.deaths, "most attempts ended before they were killed"
        with start.copied(what, tmp_path / "try") as url:
            said, spent = attempt(what, tmp_path / "try", url, chance.uniform(0, took))
            start.databases.left(url)
            if "done" in said:
                took = spent
            else:
                died += 1
            yield tmp_path / "try", url, said


def kept(role: Broker) -> dict[str, list[str]]:
    """All that the broker's tables hold, but how much was purged and how far the ledger was followed."""
    tables = [
        table for name, table in METADATA[Role.BROKER].tables.items() if name not in ("store", "ledger")
    ]
    with role._rows.read() as at:
        return {table.name: sorted(map(repr, at.execute(sa.select(table)))) for table in tables}


def undisturbed(what: str, start: Start, tmp_path: Path) -> dict[str, list[str]]:
    """What the broker's tables hold when nobody was killed."""
    with start.copied(what, tmp_path / "calm") as url:
        said, _ = attempt(what, tmp_path / "calm", url, None)
        assert said[-1] == "done"
        with broker(url, tmp_path / "calm") as role:
            return kept(role)


LOOKED_AT = {Role.BROKER: (MEMBER, URN, HALF), Role.ATTRIBUTES: (SUBJECT, KEY, ROW)}


def left_over(url: str, role: Role = Role.BROKER) -> tuple[int, ...]:
    """How many rows a role's database has, before the role looks at the ledger."""
    with open_store(url, role, clock=Clock()) as store, store.read() as at:
        counts = (sa.select(sa.func.count()).select_from(one) for one in LOOKED_AT[role])
        return tuple(at.execute(count).scalar_one() for count in counts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intake(start, tmp_path):
    batches = [dying.batch(number) for number in range(dying.BATCHES)]
    with attributes(start.of_attributes, start.folder) as store:
        already = everything(store).drop("family")
    parts = []
    for rows, pairs in batches:
        joined = rows.join(pairs, on="row_ref").drop("row_ref")
        parts.append(joined.cast({"score": pl.Int64, "born": pl.Int64, "cost": pl.Decimal(38, 2)}))
    partly, tries = set(), 0
    for folder, url, said in killed("intake", start, tmp_path):
        with attributes(url, folder) as store:
            found = everything(store).drop("family")
            waiting = sum(one.halves for one in store.intake.waiting())
            attached, rest = divmod(found.height - already.height, dying.ROWS)
            assert rest == 0
            assert attached >= sum(one[0] == "attached" for one in said if isinstance(one, tuple))
            received = attached + waiting // dying.ROWS
            assert waiting % dying.ROWS == 0
            assert received >= sum(one[0] == "received" for one in said if isinstance(one, tuple))
            new = (received, attached) not in partly
            partly.add((received, attached))
            tries += 1
            if not new and tries % 8:  # what is done again from one state is the same each time
                continue
            for number, (rows, pairs) in enumerate(batches):  # the sender and the broker do it all again
                assert store.intake.receive(PROJECT, "ks2", f"b{number}", rows).repeated == (
                    number < received
                )
                store.intake.attach(PROJECT, pairs)
                store.intake.forget(PROJECT, pairs)
            assert store.intake.waiting() == []
            names = already.columns
            expected = pl.concat([already, *(part.select(names) for part in parts)]).sort(names)
            assert everything(store).select(names).sort(names).equals(expected)
    assert len(partly) > 5  # it was killed all over the place


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rewrap(start, tmp_path):
    with attributes(start.of_attributes, start.folder) as store:
        before = everything(store)
    shares = set()
    for folder, url, _ in killed("rewrap", start, tmp_path):
        with attributes(url, folder, keks=dying.BOTH) as store:
            assert everything(store).equals(before)
            with store._rows.read() as at:
                shares.add(store._rows.kids(at).get("kek-2", 0))
            rewrap(store._rows, dying.BOTH)
        with attributes(url, folder, keks=dying.NEW) as store:
            assert everything(store).equals(before)
    assert len(shares) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_erasure(start, tmp_path):
    aids = dying.made("subject", dying.SUBJECTS)
    sizes = set()
    for folder, url, said in killed("erase", start, tmp_path):
        with attributes(url, folder) as store:
            left = set(everything(store)["aid"])
            in_ledger = store._context.ledger.erased(What.SUBJECT, aids)
            assert left == {aid for aid, gone in zip(aids, in_ledger, strict=True) if not gone}
            for first in (one for one in said if isinstance(one, int)):
                assert not left & set(aids[first : first + 50])
            assert left >= set(aids[200:])
            sizes.add(len(left))
            with store._rows.read() as at:
                assert {head.aid for head in store._rows.heads(at, aids)} == left
            store.erasure.erase(PROJECT, column(aid=aids[:200]), WHO)
            assert set(everything(store)["aid"]) == set(aids[200:])
        data = start.databases.octets(url)
        assert not [aid for aid in aids[:200] if aid in data]
    assert len(sizes) > 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_destruction(start, tmp_path):
    aids = dying.made("subject", dying.SUBJECTS)
    other = values(50).with_columns(column(aid=dying.made("other", 50)))
    lefts = set()
    for folder, url, said in killed("destroy", start, tmp_path):
        lefts.add(left_over(url, Role.ATTRIBUTES))
        with attributes(url, folder) as store:
            unfinished = store.erasure.unfinished()
            try:
                height = everything(store).height
            except EndedError:
                height = 0
            assert (height, unfinished) in ((dying.SUBJECTS, []), (0, [PROJECT]), (0, []))
            if "destroyed" in said:
                assert (height, unfinished) == (0, [])
            store.erasure.destroy_project(PROJECT, WHO)
            with pytest.raises(EndedError):
                everything(store)
            read = pl.concat(list(store.read("other", "ks2", WHO, may=EVERY_TAG)))
            assert set(read["aid"]) == set(other["aid"])
        data = start.databases.octets(url)
        assert not [aid for aid in aids if aid in data]
    assert len(lefts) > 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intake_by_the_broker(start, tmp_path):
    expected = undisturbed("broker-intake", start, tmp_path)
    batches = [dying.rows_of_persons(number) for number in range(dying.BATCHES)]
    key = Keys().aid_key(PROJECT)
    heights = (0, dying.ROWS, dying.ROWS - dying.ACKNOWLEDGED)  # not taken, taken, acknowledged in part
    states = set()
    for folder, url, said in killed("broker-intake", start, tmp_path):
        with broker(url, folder) as role:
            waiting = set(role.outgoing(PROJECT)["row_ref"])
            steps = [heights.index(len(waiting & set(rows["row_ref"]))) for rows in batches]
            assert sum(steps) >= sum(isinstance(one, tuple) for one in said)
            assert steps == sorted(steps, reverse=True)
            assert len([step for step in steps if step == 1]) <= 1
            taken = {pid for rows, step in zip(batches, steps, strict=True) if step for pid in rows["pid"]}
            (here,) = role.members(PROJECT, Kind.PERSON)
            persons = [*dying.made("pid", dying.SUBJECTS), *taken]
            assert set(here["aid"]) == set(key.aids(1, Kind.PERSON, persons))
            states.add(tuple(steps))
            for rows in batches:  # identity sends it all again, and so does the attributes role
                role.take(PROJECT, rows)
                role.acknowledge(PROJECT, rows.head(dying.ACKNOWLEDGED))
            assert kept(role) == expected
    assert len(states) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_erasure_by_the_broker(start, tmp_path):
    keys, pids = Keys(), dying.made("pid", dying.SUBJECTS)
    expected = undisturbed("broker-erase", start, tmp_path)
    aids = keys.aid_key(PROJECT).aids(1, Kind.PERSON, pids)
    covers = cover(keys.aid_key(PROJECT), pids[:200])
    for recipient in (RECIPIENT, "dwp-extract"):
        covers += cover(keys.urn_key(PROJECT, recipient, 1), aids[:200])
    before = start.databases.octets(start.of_broker)
    assert all(one in before for one in [*aids, *covers])
    sizes, lefts = set(), set()
    for folder, url, said in killed("broker-erase", start, tmp_path):
        lefts.add(left_over(url))
        with broker(url, folder, keys=keys) as role:
            gone = role._context.ledger.erased(What.SUBJECT, aids)
            sizes.add(sum(gone))
            people = role.tracing.pids(PROJECT, column(aid=aids), WHO, WAY_BACK)
            assert [pid is None for pid in people["pid"]] == gone
            for recipient in (RECIPIENT, "dwp-extract"):
                key = keys.urn_key(PROJECT, recipient, 1)
                urns = pl.DataFrame({"urn": key.issue_all(Kind.PERSON, aids)})
                found = role.tracing.resolve(PROJECT, recipient, urns, WHO, WAY_BACK)
                assert [aid is None for aid in found["aid"]] == gone
                assert role.erasure.erased(PROJECT, recipient).height == sum(gone)
            for first in (one for one in said if isinstance(one, int)):
                assert all(gone[first : first + 50])
            role.erasure.erase(PROJECT, Kind.PERSON, column(pid=pids[:200]), WHO)
            assert kept(role) == expected
        data = start.databases.octets(url)
        assert not [one for one in [*aids[:200], *covers] if one in data]
        assert all(aid in data for aid in aids[200:])
    assert len(sizes) > 3
    assert len(lefts) > 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_destruction_by_the_broker(start, tmp_path):
    aids = Keys().aid_key(PROJECT).aids(1, Kind.PERSON, dying.made("pid", dying.SUBJECTS))
    states = set()
    for folder, url, said in killed("broker-destroy", start, tmp_path):
        left = left_over(url)
        with broker(url, folder) as role:
            unfinished = role.erasure.unfinished()
            states.add((*left, *unfinished))
            if "destroyed" in said:
                assert unfinished == []
            role.erasure.destroy_project(PROJECT, lambda: [], WHO)
            assert role.erasure.unfinished() == []
            assert list(role._rows.member_pages()) == []
            with role._rows.read() as at:
                for domain in role._rows.domains(at):
                    assert role._rows.urn_page(at, domain.number, "") == []
        data = start.databases.octets(url)
        assert not [aid for aid in aids if aid in data]
    assert len(states) > 1
