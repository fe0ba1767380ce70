"""Supersession lists: from any moment to a later one, exactly to the living ids, never across a fence."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym import persons
from pseudonym.standing import Action, State, apply
from pseudonym.supersession import LIST, Fate, history, holdings, succession
from tests.pseudonym.histories import holders, links, stamp, unit, units, world

seeds = st.integers(0, 10**9)


def listed(events, since, until):
    held, fenced = holdings(events)
    found = succession(held, fenced, since, until)
    assert found.schema == LIST
    return {old: (fate, list(new)) for old, fate, new in found.iter_rows()}


class Story:
    """Events one after the other."""

    def __init__(self):
        self.state, self.events = State(), []

    def then(self, event):
        assert event is not None
        self.state = apply(self.state, event)
        self.events.append(event)
        return holders(self.state)

    def deliver(self, numbers, rows=(), protected=()):
        return self.then(persons.deliver(self.state, units(numbers, protected), links(rows), stamp()))


def test_merged_and_split_again_is_as_if_nothing_had_been():
    story = Story()
    story.deliver([1])
    first = story.deliver([2, 3], [(2, 3, 9)])
    a, b = first[unit(1)], first[unit(2)]
    story.then(persons.merge(story.state, b, a, stamp()))
    assert listed(story.events, 2, 3) == {b: ("replaced", [a])}
    parts = pl.DataFrame({"unit": [unit(1), unit(2), unit(3)], "part": [1, 2, 2]})
    assert story.then(persons.split(story.state, a, parts, stamp())) == first
    # Who knows the state from before the merge has nothing to do; who knows that between, has.
    assert listed(story.events, 2, 4) == {}
    assert listed(story.events, 3, 4) == {a: ("divided", sorted([a, b]))}


def test_what_ended_leads_nowhere():
    story = Story()
    pid = story.deliver([1, 2])[unit(1)]
    story.then(persons.remove(story.state, pl.Series([unit(1)]), stamp()))
    assert listed(story.events, 1, 2) == {pid: ("ended", [])}
    assert listed(story.events, 2, 2) == {}


def test_protection_withholds_what_was_before():
    story = Story()
    pid = story.deliver([1, 2, 3], [(1, 2, 9), (2, 3, 9)])[unit(1)]
    now = story.then(persons.protect(story.state, pid, stamp(), pl.Series([unit(3)])))
    assert listed(story.events, 1, 2) == {pid: ("withheld", [])}
    # Those who only know the new ids are told nothing, and what is shown starts there.
    assert listed(story.events, 2, 2) == {}
    for living in set(now.values()):
        assert history(story.events, living).is_empty()
    # A merge from long before the protection is withheld as well.
    story = Story()
    first = story.deliver([1, 2])
    story.deliver([], [(1, 2, 9)])
    story.then(persons.protect(story.state, first[unit(1)], stamp()))
    assert listed(story.events, 1, 2) == {first[unit(2)]: ("replaced", [first[unit(1)]])}
    assert listed(story.events, 1, 3) == {first[unit(2)]: ("withheld", [])}


def test_the_former_identity_is_not_led_to_either():
    # Who knows that 2 became 1 would know from "2 became the number of the rest" that the rest was 1.
    story = Story()
    first = story.deliver([1, 2])
    story.deliver([3], [(1, 2, 9), (1, 3, 9)])
    story.then(persons.protect(story.state, first[unit(1)], stamp(), pl.Series([unit(3)])))
    assert listed(story.events, 1, 3) == {
        first[unit(1)]: ("withheld", []),
        first[unit(2)]: ("withheld", []),
    }


def test_a_history_tells_when_who_why_and_from_which_run():
    story = Story()
    story.then(persons.deliver(story.state, units([1, 2]), links([]), stamp(0, "run-a")))
    pids = holders(story.state)
    a, b = pids[unit(1)], pids[unit(2)]
    story.then(persons.deliver(story.state, units([3]), links([(1, 2, 9), (3, 2, 9)]), stamp(1, "run-b")))
    shown = history(story.events, a)
    assert shown.select("number", "action", "by", "why", "run", "came", "went").rows() == [
        (1, "deliver", "operator-7", "wave 1", "run-a", 1, 0),
        (2, "deliver", "operator-7", "wave 1", "run-b", 2, 0),
    ]
    assert history(story.events, b).select("number", "came", "went").rows() == [(1, 1, 0), (2, 0, 1)]
    assert history(story.events, bytes(16)).is_empty()


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_every_id_leads_to_exactly_the_living_ones(seed):
    made = world(seed, steps=16, protecting=False)
    held, fenced = holdings(made.events)
    last = len(made.events)
    for since in range(last + 1):
        for until in {since, (since + last) // 2, last}:
            then, now = made.snapshots[since], made.snapshots[until]
            expected = {}
            for pid in set(then.values()):
                led = sorted({now[u] for u in then if then[u] == pid and u in now})
                if led != [pid]:
                    fate = Fate.ENDED if not led else Fate.REPLACED if len(led) == 1 else Fate.DIVIDED
                    expected[pid] = (fate.value, led)
            found = succession(held, fenced, since, until)
            assert {old: (fate, list(new)) for old, fate, new in found.iter_rows()} == expected
            assert found["old"].is_sorted()
            # No circles: what a list leads to is living, so its own row can only say that it is divided.
            assert {pid for _, led in expected.values() for pid in led} <= set(now.values())


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_no_list_and_no_history_leads_across_a_fence(seed):
    made = world(seed, steps=24)
    held, fenced = holdings(made.events)
    last = len(made.events)
    fences = dict(made.state.units.select("unit", "fence").iter_rows())
    for since in range(last + 1):
        then, now = made.snapshots[since], made.snapshots[last]
        for old, fate, new in succession(held, fenced, since, last).iter_rows():
            was = [u for u in then if then[u] == old and u in now]
            moved = [u for u in was if now[u] != old]
            if any(fences[u] for u in moved):
                assert (fate, list(new)) == (Fate.WITHHELD.value, [])
            if fate != Fate.WITHHELD.value:
                assert list(new) == sorted({now[u] for u in was})
                assert len({fences[u] for u in was if now[u] != old}) <= 1
    for event in made.events:
        if event.action is Action.PROTECT and event.changes.moved.height:
            ended = set(event.changes.moved["before"])
            for later in range(event.number, last + 1):
                for since in range(event.number):
                    rows = succession(held, fenced, since, later)
                    told = {new for old, _, led in rows.iter_rows() if old in ended for new in led}
                    assert not told
