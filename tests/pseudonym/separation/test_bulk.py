"""Large registers: what a role does for each part of one does not grow with the whole."""

from __future__ import annotations

import os
import tracemalloc
from itertools import count
from typing import Any

import polars as pl
import pytest

from pseudonym import attribute_subjects
from pseudonym.datasets import Dataset
from pseudonym.frames import columns
from pseudonym.roles import exchange
from pseudonym.roles.arrow import written
from pseudonym.roles.exchange import Exchange
from pseudonym.roles.refusals import PeerUnavailableError
from tests.pseudonym.separation.parts import (
    EVERY_TAG,
    PROJECT,
    SCHOOL,
    WHO,
    attributes,
    begun,
    broker,
    column,
    declared,
    ids,
    values,
)
from tests.pseudonym.separation.test_registers import Wire, tell, text

NO_ROWS = written(pl.DataFrame(schema=dict.fromkeys(("row_ref", "aid", "family_aid", "handle"), pl.String)))
NO_MOVES = written(
    pl.DataFrame(schema=dict.fromkeys(("number", "what", "handle", "old_aid", "new_aid"), pl.String))
)


class Whole(Wire):
    """The broker for a whole round: it knows registers, and nothing else happened."""

    def call(self, method, asked, response, patience=None):
        name = method.rsplit("/", 1)[1]
        if name == "ListLinks":
            return super().call(method, asked, response)
        if name == "AcknowledgeRows":
            refs = text(asked.arrow, ["row_ref"]).select(pl.col("row_ref").str.decode("hex"))
            self.role.acknowledge(PROJECT, refs, asked.run or None)
        return response(**{"ListRows": {"arrow": NO_ROWS}, "FollowMoves": {"arrow": NO_MOVES}}.get(name, {}))


@pytest.fixture
def both(url, tmp_path):
    with (
        broker(f"sqlite:///{tmp_path / 'broker.db'}", tmp_path) as role,
        attributes(url, tmp_path) as store,
    ):
        begun(role)
        declared(store)
        yield role, store


def test_r85_the_database_is_rewritten_once_for_all_values_of_strangers(both, monkeypatch):
    """Once nothing more comes, and not with each page of a register: that would grow with its square."""
    role, store = both
    refs = ids(40)
    store.intake.receive(PROJECT, "ks2", "b1", column(row_ref=refs).hstack(values(40)))
    tell(role, [(ref, None) for ref in refs])
    purges = []
    real = store._rows.store.purge

    def purge():
        purges.append(1)
        real()

    monkeypatch.setattr(store._rows.store, "purge", purge)
    wire: Any = Whole(role, page=4)
    rounds = Exchange(store, lambda *_: b"", lambda: wire, text)
    monkeypatch.setattr(exchange, "EVERY", 0.0)
    rounds._work()
    assert role.registers.waiting(PROJECT).is_empty()
    assert store.intake.expecting() == []
    assert purges == []
    for _ in range(3):
        rounds._work()
    assert purges == [1]


def test_r85_a_round_that_failed_is_tried_again_soon_however_long_it_had_taken(both, monkeypatch):
    """One that found nothing is not: it would come again and again for rows whose values never come."""
    role, store = both
    refs = ids(4)
    store.intake.receive(PROJECT, "ks2", "b1", column(row_ref=refs).hstack(values(4)))
    wire: Any = Whole(role, page=4)
    failures: list[str] = []
    rounds = Exchange(store, lambda *_: b"", lambda: wire, text, failures.append)
    hours = count(step=3600.0)
    monkeypatch.setattr("pseudonym.roles.exchange.time.monotonic", lambda: next(hours))
    assert rounds._work() > exchange.MOVES_EVERY

    def cut_off(*_: object) -> object:
        raise PeerUnavailableError("The broker is away.")

    monkeypatch.setattr(wire, "call", cut_off)
    monkeypatch.setattr(rounds, "follow", lambda: 0)
    assert rounds._work() == exchange.MOVES_EVERY
    assert failures == ["PEER_UNAVAILABLE"]


def test_r85_what_vouches_for_people_is_looked_at_once_for_all_datasets(both, monkeypatch):
    _, store = both
    aids = ids(30)
    for name in ("ks2", "ks4", "ks5"):
        store.declare(PROJECT, Dataset(name, SCHOOL.columns))
        store.intake.add(PROJECT, name, name, column(aid=aids).hstack(values(30)))
    looked = []
    real = attribute_subjects.checked

    def checked(keks, people, heads):
        looked.append(len(people))
        return real(keks, people, heads)

    monkeypatch.setattr(attribute_subjects, "checked", checked)
    wanted = {"ks2": ["score"], "ks4": None, "ks5": ["term", "born"]}
    (parts,) = store.read_all(PROJECT, wanted, WHO, may=EVERY_TAG)
    assert looked == [30]
    alone = [
        next(store.read(PROJECT, name, WHO, columns=some, may=EVERY_TAG)) for name, some in wanted.items()
    ]
    assert all(one.equals(other) for one, other in zip(parts, alone, strict=True))
    assert [part.height for part in parts] == [30, 30, 30]


def test_r85_memory_does_not_grow_with_the_parts_of_an_extract(both):
    """What Python holds at most while parts arrive and are dropped: of twenty parts as much as of four."""
    _, store = both

    def most(parts: int) -> int:
        tracemalloc.start()
        for _ in range(parts):
            refs = ids(500)
            batch = os.urandom(8).hex()
            store.intake.receive(PROJECT, "ks2", batch, column(row_ref=refs).hstack(rows))
            store.registers.drop(PROJECT, columns(row_ref=refs), WHO)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    rows = values(500)
    most(2)  # what is made once
    few, many = most(4), most(20)
    assert few > 500 * 200
    assert many < 1.3 * few
