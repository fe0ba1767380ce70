"""Whom the vault holds for a project, as its register tells."""

from __future__ import annotations

import pytest

from pseudonym.arrivals import Arrivals
from pseudonym.errors import KeyDestroyedError, KeyMissingError
from pseudonym.people import People
from pseudonym.storage import open_store
from tests.pseudonym.histories import stamp
from tests.pseudonym.storage.delivered import delivery, pids, series
from tests.pseudonym.storage.made_up import vault

RUNS = {"job-1": "mine", "job-2": "mine", "job-3": "other", "job-4": "over"}


@pytest.fixture
def kept(url):
    with open_store(url, "identity") as store:
        yield vault(store)


def test_r48_whoever_came_for_a_project_is_held_for_it_wherever_they_are_now(kept):
    people = People(kept)
    people.deliver(delivery([0, 10]), stamp(run="job-1"))
    people.deliver(delivery([1, 20], [(0, 1, 9.0)]), stamp(run="job-2"))  # 1 joins 0
    people.deliver(delivery([11], [(10, 11, 9.0)]), stamp(run="job-3"))
    people.deliver(delivery([21, 30], [(20, 21, 9.0)]), stamp(run="job-4"))
    # A part of a person goes where nobody hears of, and one is erased.
    people.protect(pids(people, 0)[0], stamp(), series(1))
    arrivals = Arrivals(kept, lambda: RUNS, "over".__eq__)
    mine, others = arrivals.held("mine")
    assert mine == set(pids(people, 0, 1, 10, 20))
    assert len(mine) == 4
    assert others == set(pids(people, 10))  # what has ended holds nobody
    people.erase(pids(people, 20))
    assert len(arrivals.held("mine")[0]) == 3
    assert arrivals.held("unknown")[0] == set()


def test_r48_a_key_that_is_not_at_hand_is_no_reason_to_erase_those_whom_others_have(kept, monkeypatch):
    People(kept).deliver(delivery([0]), stamp(run="job-1"))
    arrivals = Arrivals(kept, lambda: RUNS, "over".__eq__)

    def without(error):
        def events(kind):
            raise error("No key.")

        monkeypatch.setattr(kept.tools.register, "events", events)

    without(KeyMissingError)
    with pytest.raises(KeyMissingError):
        arrivals.held("mine")
    without(KeyDestroyedError)
    assert arrivals.held("mine") == (set(), set())
