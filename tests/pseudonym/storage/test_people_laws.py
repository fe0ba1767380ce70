"""Laws of the register on disk, on every database: random histories against the pure fold of their events."""

from __future__ import annotations

import random

import polars as pl
import pytest

from pseudonym import forms, register_events
from pseudonym.errors import LinkError
from pseudonym.keks import KekRing
from pseudonym.people import People
from pseudonym.register import concerned
from pseudonym.sealed_register import SealedRegister
from pseudonym.standing import Changes, State, apply
from pseudonym.storage import open_store
from pseudonym.subjects import Subjects
from pseudonym.urn import Kind
from tests.pseudonym.histories import facts, stamp, unit, world
from tests.pseudonym.storage import made_up
from tests.pseudonym.storage.delivered import check, delivery, series


@pytest.fixture
def store(url):
    with open_store(url, "identity") as opened:
        yield opened


def about(changes: Changes) -> pl.Series:
    """The units that an event names, both ends of every pair."""
    names = [pl.Series("unit", [], dtype=pl.Binary)]
    for frame in (getattr(changes, name) for name in changes.__slots__):
        names += [frame[name].rename("unit") for name in ("unit", "left", "right") if name in frame.columns]
    return pl.concat(names).unique()


@pytest.mark.parametrize("seed", range(2))
def test_what_is_read_for_some_records_is_what_concerns_them_of_the_whole(store, seed):
    kek = made_up.kek(1)
    register = SealedRegister(store, KekRing(kek), Subjects(store, KekRing(kek)))
    chance = random.Random(seed)
    made, state = world(seed, steps=16), State()
    for event in made.events:
        with store.transaction() as at:
            register.lock(at)
            seen = register.seen(at, Kind.FAMILY, about(event.changes))
            after = register.append(at, Kind.FAMILY, event, seen)
            register.keep(at, Kind.FAMILY, event, seen, after)
        state = apply(state, event)
        everybody = sorted(state.units["unit"])
        some = pl.Series(chance.sample(everybody, min(len(everybody), 2)), dtype=pl.Binary)
        ids = chance.sample(sorted(state.units["holder"]), min(len(everybody), 1))
        theirs = pl.concat([some, state.units.filter(pl.col("holder").is_in(ids))["unit"]])
        with store.read() as at:
            assert facts(register.seen(at, Kind.FAMILY, some).state) == facts(concerned(state, some))
            assert facts(register.seen(at, Kind.FAMILY, some, ids).state) == facts(concerned(state, theirs))
            assert register.seen(at, Kind.PERSON, some).state.units.is_empty()
    assert facts(state) == facts(made.state)
    read = list(register.events(Kind.FAMILY))
    assert [register_events.spelt(each) for each in read] == [register_events.spelt(e) for e in made.events]
    assert len(list(register.events(Kind.FAMILY, after=len(read) - 2))) == 2


@pytest.mark.parametrize(("seed", "at_a_time"), [(0, 2048), (1, 2), (2, 3)])
def test_whatever_happens_rows_register_and_index_agree(store, seed, at_a_time, monkeypatch):
    monkeypatch.setattr(forms, "_SOME", at_a_time)
    chance = random.Random(seed)
    people = People(made_up.vault(store))
    held: set[bytes] = set()  # by hand, from what each call says
    count = 0
    for step in range(11):
        now = stamp(step, f"run-{step}")
        living = sorted(held)
        persons = dict(people.members(pl.Series(living, dtype=pl.Binary)).select("unit", "pid").iter_rows())
        one, other = (chance.choice(sorted(persons.values())) if persons else b"" for _ in range(2))
        mine = [int.from_bytes(each, "big") for each, pid in persons.items() if pid == one]
        act = chance.choice(
            ["deliver", "deliver", "merge", "split", "protect", "part", "admit", "remove", "erase"]
        )
        try:
            if act == "deliver" or not persons:
                new = list(range(count, count + chance.randint(1, 6)))
                ends = new + [
                    int.from_bytes(each, "big") for each in chance.sample(living, min(3, len(living)))
                ]
                pairs = {tuple(sorted(chance.sample(ends, 2))) for _ in new if len(ends) > 1}
                rows = [(*pair, chance.randint(1, 40)) for pair in sorted(pairs)]
                families = {n: 900 + chance.randint(0, 3) for n in new if chance.random() < 0.5}
                hidden = {n for n in new if chance.random() < 0.15}
                outcome = people.deliver(delivery(new, rows, hidden, families), now)
                count += len(new)
            elif act == "merge":
                outcome = people.merge(one, other, now)
            elif act == "split":
                parts = [chance.randint(0, 1) for _ in mine]
                told = pl.DataFrame({"unit": series(*mine), "part": parts})
                outcome = people.split(one, told, now)
            elif act in ("protect", "part"):
                part = series(*mine[: len(mine) // 2]) if act == "part" else None
                outcome = people.protect(one, now, part, purge=False)
            elif act == "admit":
                outcome = people.admit(one, other, now, purge=False)
            elif act == "remove":
                outcome = people.remove(series(*mine[:1]), now, purge=False)
            else:
                people.erase([one], purge=False)
                held = {each for each in living if persons[each] != one}
                continue
        except LinkError:
            continue
        for each, after in outcome.moved.filter(kind="person").select("unit", "after").iter_rows():
            held.discard(each)
            if after is not None:
                held.add(each)
        for each, pid in people.members(outcome.members["unit"]).select("unit", "pid").iter_rows():
            assert outcome.members.filter(unit=each)["pid"].to_list() == [pid]
        if step % 4 == 3:
            check(store, people)
    state = check(store, people)
    assert held == set(state.units["unit"])
    last: dict[bytes, bytes | None] = {}
    for message in people.untold(1000):
        if message.kind is Kind.PERSON:
            last.update(message.members.iter_rows())
    assert {each: pid for each, pid in last.items() if pid} == dict(
        state.units.select("unit", "holder").iter_rows()
    )
    assert unit(0) in last
