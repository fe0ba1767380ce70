"""What `tests.pseudonym.storage.mortal` kills: deliveries, merges and protections, each a numbered step.

A step is an event of the register, so that how far the work has got is in the store.
"""

from __future__ import annotations

import polars as pl

from pseudonym.people import People
from pseudonym.storage import Store, open_store
from pseudonym.urn import Kind
from tests.pseudonym.histories import stamp
from tests.pseudonym.storage import made_up
from tests.pseudonym.storage.delivered import delivery, pids, series

STEPS = 18
SIZE = 8


def first(step: int) -> int:
    """The number of the first record of a delivery; that many before are known by then."""
    return 10 + SIZE * step


def everybody() -> pl.Series:
    """All records that are ever delivered."""
    return series(*range(10, first(STEPS)))


def carry_out(people: People, step: int) -> None:
    """Step 0, 1, 2 …: every third is a merge of two known persons, or a protection of a part of one."""
    now = stamp(step, f"run-{step}")
    if step % 3 != 2:
        new = list(range(first(step), first(step) + SIZE))
        rows = [(n, n + 1, 9) for n in new[::2]]
        if step:
            rows += [(new[0], first(step - 1 - (step % 3 == 0)) + 4, 7)]
        people.deliver(delivery(new, rows, families={new[0]: 5000 + step}), now)
        return
    start = first(step - 1)
    one, other = pids(people, start + 2, start + 6)
    if step % 2:
        people.merge(one, other, now)
    else:
        people.protect(one, now, series(start + 2))


def number(store: Store, people: People) -> int:
    """How many steps the store has in it."""
    with store.read() as at:
        return people._tools.register.seen(at, Kind.PERSON, series()).state.number


def persons(url: str, say) -> None:
    with open_store(url, "identity") as store:
        people = People(made_up.vault(store))
        done = number(store, people)
        say("ready")
        for step in range(done, STEPS):
            carry_out(people, step)
            say(step)


def partition(people: People) -> list[list[bytes]]:
    """Who is with whom in the end."""
    members = people.members(everybody())
    return sorted(members.group_by("pid").agg(pl.col("unit").sort())["unit"].to_list())
