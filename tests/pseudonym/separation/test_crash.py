"""Processes killed (SIGKILL) at random moments of intake, re-wrapping, erasure and destruction, on SQLite.

Whatever was answered is there, nothing is there in part, and doing it again finishes it.
"""

from __future__ import annotations

import random
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pseudonym.destruction import rewrap
from pseudonym.errors import EndedError
from pseudonym.ledger import What
from pseudonym.tracing import WAY_BACK
from pseudonym.urn import Kind
from tests.forks import started
from tests.pseudonym.separation import dying
from tests.pseudonym.separation.parts import (
    EVERY_TAG,
    PROJECT,
    RECIPIENT,
    WHO,
    Keys,
    attributes,
    broker,
    column,
    everything,
    values,
)

KILLS = 100
MEASURED = 10  # attempts from one measurement to the next


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("start")
    dying.prepare(folder)
    return folder


def attempt(what: str, folder: Path, delay: float | None) -> tuple[list[Any], float]:
    """Do it in a process of its own, killed after the delay; what was answered, and how long that took."""
    process, ours = started(dying.run, what, str(folder))
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


def killed(what: str, start: Path, tmp_path: Path):
    """The folder after each kill, and what had been answered; at least `KILLS` died before the end.

    How long it takes undisturbed is measured again and again, and taken from whatever came to its end: the
    machine may be busier than it was, or less.
    """
    chance = random.Random(what)
    died = tries = 0
    while died < KILLS:
        if tries % MEASURED == 0:
            whole = Path(shutil.copytree(start, tmp_path / "whole"))
            said, took = attempt(what, whole, None)
            assert said[-1] == "done"
            shutil.rmtree(whole)
        tries += 1
        assert tries < 3 * KILLS, "most attempts ended before they were killed"
        folder = Path(shutil.copytree(start, tmp_path / "try"))
        said, spent = attempt(what, folder, chance.uniform(0, took))
        if "done" in said:
            took = spent
        else:
            died += 1
        yield folder, said
        shutil.rmtree(folder)


def url(folder: Path, name: str = "a.db") -> str:
    return f"sqlite:///{folder / name}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intake(start, tmp_path):
    batches = [dying.batch(number) for number in range(dying.BATCHES)]
    with attributes(url(start), start) as store:
        already = everything(store).drop("family")
    parts = []
    for rows, pairs in batches:
        joined = rows.join(pairs, on="row_ref").drop("row_ref")
        parts.append(joined.cast({"score": pl.Int64, "born": pl.Int64, "cost": pl.Decimal(38, 2)}))
    partly, tries = set(), 0
    for folder, said in killed("intake", start, tmp_path):
        with attributes(url(folder), folder) as store:
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
    with attributes(url(start), start) as store:
        before = everything(store)
    shares = set()
    for folder, _ in killed("rewrap", start, tmp_path):
        with attributes(url(folder), folder, keks=dying.BOTH) as store:
            assert everything(store).equals(before)
            with store._rows.read() as at:
                shares.add(store._rows.kids(at).get("kek-2", 0))
            rewrap(store._rows, dying.BOTH)
        with attributes(url(folder), folder, keks=dying.NEW) as store:
            assert everything(store).equals(before)
    assert len(shares) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_erasure(start, tmp_path):
    aids = dying.made("subject", dying.SUBJECTS)
    sizes = set()
    for folder, said in killed("erase", start, tmp_path):
        with attributes(url(folder), folder) as store:
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
        data = b"".join(path.read_bytes() for path in folder.glob("a.db*"))
        assert not [aid for aid in aids[:200] if aid in data]
    assert len(sizes) > 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_destruction(start, tmp_path):
    aids = dying.made("subject", dying.SUBJECTS)
    other = values(50).with_columns(column(aid=dying.made("other", 50)))
    states = set()
    for folder, said in killed("destroy", start, tmp_path):
        with attributes(url(folder), folder) as store:
            unfinished = store.erasure.unfinished()
            try:
                height = everything(store).height
            except EndedError:
                height = 0
            states.add((height, *unfinished))
            assert (height, unfinished) in ((dying.SUBJECTS, []), (0, [PROJECT]), (0, []))
            if "destroyed" in said:
                assert (height, unfinished) == (0, [])
            store.erasure.destroy_project(PROJECT, WHO)
            with pytest.raises(EndedError):
                everything(store)
            read = pl.concat(list(store.read("other", "ks2", WHO, may=EVERY_TAG)))
            assert set(read["aid"]) == set(other["aid"])
        data = b"".join(path.read_bytes() for path in folder.glob("a.db*"))
        assert not [aid for aid in aids if aid in data]
    assert len(states) > 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_erasure_by_the_broker(start, tmp_path):
    keys, pids = Keys(), dying.made("pid", dying.SUBJECTS)
    aids = keys.aid_key(PROJECT).aids(1, Kind.PERSON, pids)
    for folder, said in killed("broker-erase", start, tmp_path):
        with broker(url(folder, "b.db"), folder, keys=keys) as role:
            gone = role._context.ledger.erased(What.SUBJECT, aids)
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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_destruction_by_the_broker(start, tmp_path):
    for folder, said in killed("broker-destroy", start, tmp_path):
        with broker(url(folder, "b.db"), folder) as role:
            if "destroyed" in said:
                assert role.erasure.unfinished() == []
            role.erasure.destroy_project(PROJECT, lambda: [], WHO)
            assert role.erasure.unfinished() == []
            assert list(role._rows.member_pages()) == []
            with role._rows.read() as at:
                for domain in role._rows.domains(at):
                    assert role._rows.urn_page(at, domain.number, "") == []
