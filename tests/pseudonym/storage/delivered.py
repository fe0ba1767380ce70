"""Deliveries of made-up people, and what must hold of the persons in a vault at any moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl
import sqlalchemy as sa

from pseudonym import columns
from pseudonym.people import Delivery, People
from pseudonym.records import SCHEMA
from pseudonym.register import concerned
from pseudonym.register_parts import Seen
from pseudonym.standing import State, replay
from pseudonym.storage import Store
from pseudonym.storage.schema_identity import BLIND_INDEX, IDENTITY_ROW, SUBJECT
from pseudonym.urn import Kind
from tests.pseudonym.histories import facts, links, unit
from tests.pseudonym.storage import made_up


def identities(numbers: Iterable[int]) -> pl.DataFrame:
    """Record n is what a source says of person n // 10: ten records share their number and names."""
    return pl.concat([made_up.people(n // 10, 1) for n in numbers]) if numbers else made_up.people(0, 0)


def delivery(
    numbers: Iterable[int],
    rows: Iterable[tuple[float, ...]] = (),
    protected: Iterable[int] = (),
    families: Mapping[int, int] | None = None,
    family_rows: Iterable[tuple[float, ...]] = (),
    source: str = "council",
) -> Delivery:
    numbers = list(numbers)
    units = pl.Series([unit(n) for n in numbers], dtype=pl.Binary)
    marked = pl.Series([n in protected for n in numbers], dtype=pl.Boolean)
    families = families or {}
    return Delivery(
        source,
        identities(numbers).with_columns(unit=units, protected=marked),
        links(rows),
        pl.DataFrame(
            {"unit": [unit(n) for n in families], "family": [unit(n) for n in families.values()]},
            schema={"unit": pl.Binary, "family": pl.Binary},
        ),
        links(family_rows),
    )


def series(*numbers: int) -> pl.Series:
    return pl.Series("unit", [unit(n) for n in numbers], dtype=pl.Binary)


def pids(people: People, *numbers: int) -> list[bytes]:
    members = people.members(series(*numbers))
    found = dict(members.select("unit", "pid").iter_rows())
    return [found[unit(n)] for n in numbers]


def replayed(people: People, kind: Kind = Kind.PERSON) -> State:
    return replay(people._tools.register.events(kind))


def rows_of(store: Store, table: sa.Table) -> list[sa.Row]:
    with store.read() as at:
        return list(at.execute(sa.select(table)))


def check(store: Store, people: People) -> State:
    """Hold register, events, rows and index against one another; the state that the events lead to."""
    register = people._tools.register
    for kind in (Kind.FAMILY, Kind.PERSON):
        state = replayed(people, kind)
        with store.read() as at:
            kept = register.seen(at, kind, state.units["unit"])
        assert facts(kept.state) == facts(concerned(state, state.units["unit"]))
    check_rows(store, kept)
    return state


def check_rows(store: Store, kept: Seen) -> None:
    """Hold rows and index against all that the register has of persons."""
    vault, state = made_up.vault(store), kept.state
    holders = dict(state.units.select("unit", "holder").iter_rows())
    named = dict(kept.beside.drop_nulls("row").select("unit", "row").iter_rows())
    stored = {row.row_id: row.pid for row in rows_of(store, IDENTITY_ROW)}
    assert stored == {named.get(one, one): pid for one, pid in holders.items()}
    there = sorted(set(holders.values()))
    opened = vault.open(there, made_up.MANDATE, states=list(vault.states(there).values()))
    back = {named.get(one, one): one for one in holders}
    of = [int.from_bytes(back[row], "big") for row in opened["row_id"]]
    assert columns.payloads(opened.select(SCHEMA.names())) == columns.payloads(identities(of))
    entered = {row.row_id for row in rows_of(store, BLIND_INDEX)}
    assert entered == set(stored)
    subjects = {row.pid: row for row in rows_of(store, SUBJECT)}
    assert all(subjects[pid].wrapped is not None for pid in stored.values())  # no row without its person
    for row in subjects.values():
        assert (row.wrapped is None) == (row.kid is None) == (row.seal is None) == (row.state == "erased")
        assert row.superseded_by is None or row.pid not in holders.values()
