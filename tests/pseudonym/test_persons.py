"""Persons that stay: what becomes of records and ids, case by case, and laws that hold in any history."""

from __future__ import annotations

import random
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym import persons
from pseudonym.errors import InputError, LinkError, ProtectedError
from pseudonym.register import concerned, memberships
from pseudonym.standing import Action, Stamp, State, apply, replay
from tests.pseudonym.histories import (
    World,
    facts,
    grouped_by_hand,
    holders,
    links,
    partition,
    stamp,
    unit,
    units,
    world,
)

seeds = st.integers(0, 10**9)


def after(state, event):
    assert event is not None
    return apply(state, event)


def delivered(numbers, rows=(), state=None, protected=(), **more):
    state = state or State()
    return after(state, persons.deliver(state, units(numbers, protected), links(rows), stamp(**more)))


def came(state, numbers, rows=(), protected=()):
    event = persons.deliver(state, units(numbers, protected), links(rows), stamp())
    assert event is not None
    return event


def groups_of(state):
    return {frozenset(int.from_bytes(u, "big") for u in group) for group in partition(state)}


def sets(*groups):
    return {frozenset(group) for group in groups}


# --- case by case --------------------------------------------------------------------------------


def test_a_first_delivery_makes_persons_of_what_is_linked():
    state = delivered([1, 2, 3, 4], [(2, 1, 9), (3, 2, 5)])
    assert groups_of(state) == sets({1, 2, 3}, {4})
    assert all(len(pid) == 16 for pid in holders(state).values())
    assert state.units["founder"].all()
    assert state.ids.sort("age")["age"].to_list() == [1, 2]


def test_a_later_delivery_joins_and_changes_no_id():
    first = delivered([1, 2], [(1, 2, 9)])
    second = delivered([3, 4], [(3, 2, 7)], first)
    assert groups_of(second) == sets({1, 2, 3}, {4})
    assert holders(second)[unit(3)] == holders(first)[unit(1)]
    assert second.units.filter(pl.col("unit") == unit(3))["founder"].to_list() == [False]


def test_the_oldest_id_survives_a_merge_whether_linked_or_decided():
    first = delivered([1])
    second = delivered([2, 3], [(2, 3, 9)], first)
    pids = holders(second)
    linked = delivered([4], [(4, 1, 3), (4, 2, 30)], second)
    assert set(holders(linked).values()) == {pids[unit(1)]}
    decided = after(second, persons.merge(second, pids[unit(2)], pids[unit(1)], stamp()))
    assert set(holders(decided).values()) == {pids[unit(1)]}


def test_a_split_leaves_the_id_with_the_records_it_was_made_for():
    state = delivered([5])
    state = delivered([1, 2, 3], [(1, 5, 9), (2, 1, 9), (3, 2, 9)], state)
    pid = holders(state)[unit(5)]
    parts = pl.DataFrame({"unit": [unit(n) for n in (1, 2, 3, 5)], "part": ["a", "a", "a", "b"]})
    event = persons.split(state, pid, parts, stamp())
    state = after(state, event)
    assert groups_of(state) == sets({1, 2, 3}, {5})
    assert holders(state)[unit(5)] == pid
    assert event.changes.made.height == 1
    # … and the new id was made for the three, so that it survives the next split of them.
    again = holders(state)[unit(1)]
    parts = pl.DataFrame({"unit": [unit(n) for n in (1, 2, 3)], "part": [1, 2, 2]})
    state = after(state, persons.split(state, again, parts, stamp()))
    assert holders(state)[unit(2)] == holders(state)[unit(3)] == again


def test_what_is_held_apart_is_not_brought_together_by_a_third():
    state = delivered([1, 2], [(1, 2, 9)])
    pid = holders(state)[unit(1)]
    parts = pl.DataFrame({"unit": [unit(1), unit(2)], "part": [1, 2]})
    state = after(state, persons.split(state, pid, parts, stamp()))
    event = came(state, [3], [(3, 1, 12), (3, 2, 20)])
    assert event.changes.refused.rows() == [(unit(1), unit(3), 12.0, "APART")]
    assert groups_of(after(state, event)) == sets({1}, {2, 3})


def test_a_part_that_hung_together_through_another_stays_whole():
    state = delivered([1, 2, 3], [(1, 2, 9), (2, 3, 9)])
    parts = pl.DataFrame({"unit": [unit(1), unit(2), unit(3)], "part": [1, 2, 1]})
    state = after(state, persons.split(state, holders(state)[unit(1)], parts, stamp()))
    assert groups_of(state) == sets({1, 3}, {2})


def test_a_withdrawn_link_stays_withdrawn():
    state = delivered([1, 2], [(1, 2, 9)])
    pid = holders(state)[unit(1)]
    state = after(state, persons.withdraw(state, links([(2, 1, 0)]), stamp()))
    assert groups_of(state) == sets({1}, {2})
    assert holders(state)[unit(1)] == pid
    event = came(state, [3], [(1, 2, 30)])
    assert event.changes.refused.rows() == [(unit(1), unit(2), 30.0, "WITHDRAWN")]
    state = after(state, event)
    assert groups_of(state) == sets({1}, {2}, {3})
    with pytest.raises(LinkError, match="not there"):
        persons.withdraw(state, links([(1, 2, 0)]), stamp())


def test_a_decision_to_merge_takes_back_what_held_them_apart():
    state = delivered([1, 2], [(1, 2, 9)])
    pid = holders(state)[unit(1)]
    parts = pl.DataFrame({"unit": [unit(1), unit(2)], "part": [1, 2]})
    state = after(state, persons.split(state, pid, parts, stamp()))
    other = holders(state)[unit(2)]
    state = after(state, persons.merge(state, other, pid, stamp()))
    assert groups_of(state) == sets({1, 2})
    assert state.apart.is_empty()
    # No run changes what was decided.
    event = persons.deliver(state, units([]), links([(1, 2, 1)]), stamp())
    assert event is None


def test_the_same_delivery_twice_is_one():
    state = delivered([1, 2, 3], [(1, 2, 9)])
    assert persons.deliver(state, units([1, 2, 3]), links([(2, 1, 9)]), stamp()) is None
    assert persons.deliver(State(), units([]), links([]), stamp()) is None


def test_a_removed_record_leaves_nothing_but_its_number():
    state = delivered([1, 2, 3], [(1, 2, 9), (2, 3, 9)])
    event = persons.remove(state, pl.Series([unit(2)]), stamp())
    state = after(state, event)
    assert groups_of(state) == sets({1}, {3})
    assert state.links.is_empty()
    with pytest.raises(LinkError, match="removed"):
        persons.remove(state, pl.Series([unit(2)]), stamp())


def test_families_are_kept_like_persons():
    people = delivered([1, 2, 3], [(1, 3, 9)])
    families = delivered([101, 102])
    later = delivered([103], [(103, 101, 5)], families)
    of = pl.DataFrame({"record": [unit(n) for n in (1, 2, 3)], "family": [unit(n) for n in (101, 102, 103)]})
    pid, fid = holders(people), holders(later)
    assert set(memberships(people, later, of).iter_rows()) == {
        (fid[unit(101)], pid[unit(1)]),
        (fid[unit(102)], pid[unit(2)]),
    }


# --- protected -----------------------------------------------------------------------------------


def test_a_link_to_a_protected_record_is_refused_and_goes_to_review():
    state = delivered([1])
    event = came(state, [2, 3, 4], [(2, 1, 40), (3, 2, 40), (3, 4, 9)], {2})
    state = after(state, event)
    assert groups_of(state) == sets({1}, {2}, {3, 4})
    assert set(event.changes.refused["reason"]) == {"PROTECTED"}
    assert event.changes.refused.height == 2
    # The link itself would be the bridge: it is kept with the event for review and nowhere else.
    assert state.links.select("left", "right").rows() == [(unit(3), unit(4))]


def test_a_protected_person_is_merged_with_nobody():
    state = delivered([1, 2, 3], protected={2, 3})
    pid = holders(state)
    for one, other in ((1, 2), (2, 1), (2, 3)):
        with pytest.raises(ProtectedError):
            persons.merge(state, pid[unit(one)], pid[unit(other)], stamp())


def test_protecting_a_part_gives_both_sides_new_ids_and_cuts_every_link():
    state = delivered([1, 2, 3, 4], [(1, 2, 9), (2, 3, 9), (3, 4, 9), (1, 4, 2)])
    pid = holders(state)[unit(1)]
    event = persons.protect(state, pid, stamp(), pl.Series([unit(3), unit(4)]))
    state = after(state, event)
    assert groups_of(state) == sets({1, 2}, {3, 4})
    assert pid not in holders(state).values()
    assert event.changes.moved["hidden"].all()
    assert state.links.select("left", "right").rows() == [(unit(1), unit(2)), (unit(3), unit(4))]
    later = came(state, [5], [(5, 1, 9), (5, 4, 30)])
    assert later.changes.refused.rows() == [(unit(4), unit(5), 30.0, "PROTECTED")]
    assert groups_of(after(state, later)) == sets({1, 2, 5}, {3, 4})


def test_only_what_came_later_is_admitted_and_the_protected_id_stays():
    state = delivered([1])
    state = delivered([2], state=state)
    pid = holders(state)
    state = after(state, persons.protect(state, pid[unit(2)], stamp()))
    with pytest.raises(ProtectedError, match="after the protection"):
        persons.admit(state, pid[unit(1)], pid[unit(2)], stamp())
    state = delivered([3, 4], [(3, 4, 9), (3, 2, 30)], state)
    late = holders(state)[unit(3)]
    with pytest.raises(LinkError, match="protected person only"):
        persons.admit(state, late, pid[unit(1)], stamp())
    event = persons.admit(state, late, pid[unit(2)], stamp())
    state = after(state, event)
    assert groups_of(state) == sets({1}, {2, 3, 4})
    assert holders(state)[unit(4)] == pid[unit(2)]
    assert event.changes.moved["hidden"].all()
    # Whoever was admitted is as protected as the rest.
    later = came(state, [5], [(5, 4, 30)])
    assert later.changes.refused["reason"].to_list() == ["PROTECTED"]


def test_a_known_record_that_comes_as_protected_takes_a_decision():
    state = delivered([1, 2], protected={2})
    with pytest.raises(LinkError, match="Decide on it"):
        persons.deliver(state, units([1], {1}), links([]), stamp())
    assert persons.deliver(state, units([2], {2}), links([]), stamp()) is None
    with pytest.raises(LinkError, match="already"):
        persons.protect(state, holders(state)[unit(2)], stamp())


# --- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "rows", "match"),
    [
        ([1, 1], [], "twice"),
        ([1, 2], [(1, 9, 3)], "neither known"),
        ([1, 2], [(1, 2, 3), (2, 1, 4)], "twice"),
        ([1], [(1, 1, 3)], "itself"),
        ([1, 2], [(1, 2, float("nan"))], "weight"),
        ([1, 2], [(1, 2, float("inf"))], "weight"),
    ],
)
def test_a_delivery_that_does_not_fit_is_refused_as_a_whole(numbers, rows, match):
    with pytest.raises(LinkError, match=match):
        persons.deliver(State(), units(numbers), links(rows), stamp())


def test_ids_stamps_and_persons_that_are_none_are_refused():
    with pytest.raises(InputError, match="16 bytes"):
        persons.deliver(
            State(), units([1]).with_columns(unit=pl.lit(b"short", pl.Binary)), links([]), stamp()
        )
    for wrong in (
        Stamp(datetime(2026, 1, 1), "a", "b"),
        Stamp(stamp().time, "", "b"),
        Stamp(stamp().time, "a", ""),
    ):
        with pytest.raises(InputError, match="time zone"):
            persons.deliver(State(), units([1]), links([]), wrong)
    state = delivered([1, 2, 3], [(1, 2, 9)])
    pid = holders(state)[unit(1)]
    with pytest.raises(LinkError, match="no such person"):
        persons.merge(state, pid, bytes(16), stamp())
    with pytest.raises(LinkError, match="already"):
        persons.merge(state, pid, pid, stamp())
    for numbers, parts in (([1], [1]), ([1, 2], [1, 1]), ([1, 3], [1, 2]), ([1, 2, 3], [1, 2, 2])):
        told = pl.DataFrame({"unit": [unit(n) for n in numbers], "part": parts})
        with pytest.raises(LinkError, match="part"):
            persons.split(state, pid, told, stamp())
    for part in ([1, 2], [3], []):
        with pytest.raises(LinkError, match="part"):
            persons.protect(state, pid, stamp(), pl.Series([unit(n) for n in part], dtype=pl.Binary))


def test_no_representation_shows_an_id():
    made = world(1)
    assert all(len(f"{thing!r}") < 60 for thing in (made.state, *made.events))


# --- laws ----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_replaying_the_events_gives_the_same_state(seed):
    made = world(seed)
    assert facts(replay(made.events)) == facts(made.state)
    half = len(made.events) // 2
    assert facts(replay(made.events[half:], replay(made.events[:half]))) == facts(made.state)
    assert [event.number for event in made.events] == list(range(1, len(made.events) + 1))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_partition_is_the_one_that_is_found_by_hand(seed):
    made = world(seed)
    assert partition(made.state) == grouped_by_hand(made.state)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_no_record_changes_its_id_without_being_told(seed):
    made = world(seed)
    for event, before, now in zip(made.events, made.snapshots, made.snapshots[1:], strict=False):
        told = {row[0]: (row[1], row[2]) for row in event.changes.moved.iter_rows()}
        changed = {
            u: (before.get(u), now.get(u)) for u in before.keys() | now.keys() if before.get(u) != now.get(u)
        }
        assert told == changed
        new = set(event.changes.made["id"])
        assert not new & set().union(*(set(s.values()) for s in made.snapshots[: event.number]))
        assert new <= set(now.values())
        # As few as can be: of those whose records all stay together and among themselves, none changes.
        if event.action is not Action.PROTECT:
            for pid in set(before.values()):
                held = {u for u in before if before[u] == pid}
                around = {now.get(u) for u in held}
                if len(around) == 1 and {u for u in now if now[u] in around} == held:
                    assert around == {pid}


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_protected_records_are_never_with_others(seed):
    made = world(seed, steps=25)
    state = made.state
    fences = dict(state.units.select("unit", "fence").iter_rows())
    for group in partition(state):
        assert len({fences[u] for u in group}) == 1
    assert all(
        fences[left] == fences[right] for left, right in state.links.select("left", "right").iter_rows()
    )


@settings(max_examples=30, deadline=None)
@given(seeds, st.permutations(range(5)))
def test_any_order_of_deliveries_gives_the_same_partition(seed, order):
    base = world(seed)
    chance = random.Random(seed)
    known = [int.from_bytes(u, "big") for u in base.state.units["unit"]]
    new = {n: n % 5 for n in range(1000, 1012)}
    protected = {n for n in new if chance.random() < 0.15}
    everyone = known + list(new)
    pairs = {tuple(sorted(chance.sample(everyone, 2))) for _ in range(25)}
    fixed = set(base.state.links.select("left", "right").iter_rows())
    evidence = [
        (left, right, chance.randint(1, 40))
        for left, right in sorted(pairs)
        if (left in new or right in new) and (unit(left), unit(right)) not in fixed
    ]

    def play(deliveries):
        state, there = base.state, set(known)
        for number in deliveries:
            came = [n for n in new if new[n] == number]
            there |= set(came)
            # A link comes with the delivery that completes it.
            rows = [row for row in evidence if {row[0], row[1]} <= there and {row[0], row[1]} & set(came)]
            event = persons.deliver(state, units(came, protected), links(rows), stamp())
            state = after(state, event)
        return state

    assert partition(play(order)) == partition(play(range(5)))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_split_undoes_a_merge(seed):
    made = world(seed)
    free = made.state.units.filter(pl.col("fence").is_null())
    pids = sorted(set(free["holder"]))
    if len(pids) < 2:
        return
    one, other = made.chance.sample(pids, 2)
    before = holders(made.state)
    try:
        event = persons.merge(made.state, one, other, stamp(), made.draw)
    except LinkError:
        return
    merged = apply(made.state, event)
    survivor = holders(merged)[free.filter(pl.col("holder") == one)["unit"][0]]
    ages = dict(made.state.ids.iter_rows())
    assert survivor == min(one, other, key=lambda pid: ages[pid])
    if {u for u, pid in holders(merged).items() if pid == survivor} != {
        u for u, pid in before.items() if pid in (one, other)
    }:
        return  # others came along, whom only the decision had kept away
    parts = merged.units.filter(pl.col("holder") == survivor).select(
        "unit", part=pl.col("unit").replace_strict(before, return_dtype=pl.Binary)
    )
    again = apply(merged, persons.split(merged, survivor, parts, stamp(), made.draw))
    assert partition(again) == partition(made.state)
    founded = (
        made.state.units.filter("founder", home=one).height
        and made.state.units.filter("founder", home=other).height
    )
    if (
        founded
        and made.state.units.filter(pl.col("founder") & pl.col("home").is_in([one, other]))
        .filter(pl.col("home") != pl.col("holder"))
        .is_empty()
    ):
        assert holders(again) == before


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_decision_on_what_is_concerned_is_that_on_the_whole(seed):
    made = world(seed, steps=10)
    for kind in ("deliver", "merge", "split", "remove"):
        chance = random.Random(seed)
        state = made.state
        people = sorted(set(state.units["holder"]))
        if len(people) < 2:
            return
        one, other = chance.sample(people, 2)
        of = {pid: state.units.filter(pl.col("holder") == pid)["unit"].sort() for pid in (one, other)}
        ask = pl.concat([of[one], of[other]])
        calls = {
            "deliver": lambda s: persons.deliver(
                s,
                units([5000, 5001]),
                links(
                    [
                        (5000, int.from_bytes(of[one][0], "big"), 21),  # noqa: B023
                        (5000, int.from_bytes(of[other][0], "big"), 22),  # noqa: B023
                        (5001, 5000, 3),
                    ]
                ),
                stamp(),
                World(5).draw,
            ),
            "merge": lambda s: persons.merge(s, one, other, stamp(), World(5).draw),  # noqa: B023
            "split": lambda s: persons.split(
                s,
                one,  # noqa: B023
                of[one].to_frame("unit").with_row_index("part"),  # noqa: B023
                stamp(),
                World(5).draw,
            ),
            "remove": lambda s: persons.remove(s, of[one].head(1), stamp(), World(5).draw),  # noqa: B023
        }
        part = concerned(state, ask)
        assert part.units.height <= state.units.height
        outcomes: list[object] = []
        for seen in (state, part):
            try:
                event = calls[kind](seen)
                assert event is not None
                outcomes.append(
                    (
                        event.number,
                        sorted(event.changes.moved.rows(), key=str),
                        event.changes.made.rows(),
                        sorted(event.changes.refused.rows()),
                    )
                )
            except LinkError as error:
                outcomes.append(error.message)
        assert outcomes[0] == outcomes[1]


def test_records_that_an_id_was_made_for_concern_one_another_even_without_a_link():
    state = delivered([9])
    state = delivered([1], state=state)
    state = delivered([2, 3, 4, 5], [(2, 5, 8), (5, 3, 9), (3, 4, 9)], state)
    once = holders(state)[unit(2)]
    state = delivered([], [(1, 2, 9)], state)
    state = after(state, persons.withdraw(state, links([(2, 5, 0)]), stamp()))
    assert holders(state)[unit(3)] == once != holders(state)[unit(2)]
    state = after(state, persons.remove(state, pl.Series([unit(5)]), stamp()))
    state = after(state, persons.merge(state, once, holders(state)[unit(9)], stamp()))
    # The id from once is nobody's now. It was made for 2 as well, and more for 3 and 4.
    part = concerned(state, pl.Series([unit(1)]))
    assert set(part.units["unit"]) == {unit(n) for n in (1, 2, 3, 4, 9)}
    pid = holders(state)[unit(1)]
    parts = pl.DataFrame({"unit": [unit(1), unit(2)], "part": [1, 2]})
    for seen in (state, part):
        assert persons.split(seen, pid, parts, stamp()).changes.made.height == 1


def test_an_unknown_unit_concerns_nothing():
    state = delivered([1, 2], [(1, 2, 9)])
    part = concerned(state, pl.Series([unit(7)]))
    assert (part.units.height, part.number, part.next_age) == (0, 1, 2)
    assert concerned(State(), pl.Series([unit(7)])).units.is_empty()


def test_a_hundred_thousand_records_in_one_delivery():
    count = 99_999
    numbers = range(count)
    rows = pl.DataFrame(
        {
            "left": [unit(n) for n in range(0, count, 3)],
            "right": [unit(n + 1) for n in range(0, count, 3)],
        }
    ).with_columns(weight=pl.lit(9.0))
    event = persons.deliver(State(), units(numbers), rows, stamp())
    state = after(State(), event)
    assert state.units["holder"].n_unique() == count - rows.height
    more = came(state, range(count, count + 10), [(count, 5, 9)])
    assert more.changes.moved.height == 10
