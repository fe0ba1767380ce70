"""Persons in the vault, when somebody without keys writes to the store: it is noticed."""

from __future__ import annotations

import polars as pl
import pytest
import sqlalchemy as sa

from pseudonym.errors import (
    SealBrokenError,
)
from pseudonym.people import People
from pseudonym.register_parts import Seen
from pseudonym.storage import open_store
from pseudonym.storage.schema import METADATA, Role
from pseudonym.storage.schema_identity import (
    IDENTITY_ROW,
    REGISTER_EVENT,
    REGISTER_HEAD,
    REGISTER_KEY,
    REGISTER_PART,
    REGISTER_PLACE,
    STORE,
    SUBJECT,
)
from pseudonym.urn import Kind
from tests.pseudonym.histories import stamp, unit
from tests.pseudonym.storage.delivered import (
    delivery,
    pids,
    replayed,
    rows_of,
    series,
)
from tests.pseudonym.storage.made_up import MANDATE, vault


@pytest.fixture
def store(url):
    with open_store(url, "identity") as opened:
        yield opened


@pytest.fixture
def people(store):
    return People(vault(store))


def everything(store):
    return {
        name: sorted(map(repr, rows_of(store, table)))
        for name, table in METADATA[Role.IDENTITY].tables.items()
        if name not in ("store", "opening")
    }


def swap(store, table, key, one, other, *columns):
    """Exchange what two rows hold."""
    with store.transaction() as at:
        rows = {
            bytes(row[0]): row for row in at.execute(sa.select(key, *columns).where(key.in_([one, other])))
        }
        for target, source in ((one, other), (other, one)):
            values = {column.name: rows[source]._mapping[column] for column in columns}
            at.execute(sa.update(table).where(key == target).values(**values))


def test_a_row_moved_between_persons_is_noticed(store, people):
    people.deliver(delivery([11, 21]), stamp())
    one, other = pids(people, 11, 21)
    swap(store, IDENTITY_ROW, IDENTITY_ROW.c.row_id, unit(11), unit(21), IDENTITY_ROW.c.pid)
    before = everything(store)
    for act in (
        lambda: people.merge(one, other, stamp(1)),
        lambda: people.deliver(delivery([12], [(11, 12, 9)]), stamp(1)),
        lambda: people.protect(one, stamp(1)),
        lambda: list(people.known(MANDATE)),
    ):
        with pytest.raises(SealBrokenError):
            act()
    assert everything(store) == before


def test_a_row_rolled_back_to_the_person_before_is_noticed(store, people):
    people.deliver(delivery([11, 21]), stamp())
    one, other = pids(people, 11, 21)
    tables = (IDENTITY_ROW, SUBJECT)
    before = {table.name: [row._asdict() for row in rows_of(store, table)] for table in tables}
    people.merge(one, other, stamp(1))
    (kept,) = set(pids(people, 11, 21))
    lost = ({one, other} - {kept}).pop()
    with store.transaction() as at:  # the row and its person, as an older copy has them
        for row in before["identity_row"]:
            if row["pid"] == lost:
                at.execute(
                    sa.update(IDENTITY_ROW).where(IDENTITY_ROW.c.row_id == row["row_id"]).values(**row)
                )
        for row in before["subject"]:
            if row["pid"] == lost:
                at.execute(sa.update(SUBJECT).where(SUBJECT.c.pid == lost).values(**row))
    with pytest.raises(SealBrokenError):
        vault(store).open([kept], MANDATE)
    parts = pl.DataFrame({"unit": [unit(11), unit(21)], "part": [1, 2]})
    with pytest.raises(SealBrokenError):
        people.split(kept, parts, stamp(2))


@pytest.mark.parametrize(
    "table", [REGISTER_PLACE, REGISTER_PART, REGISTER_EVENT, REGISTER_HEAD, REGISTER_KEY]
)
def test_what_the_register_holds_cannot_be_exchanged_or_altered(store, people, table):
    people.deliver(delivery([11, 12, 21, 22], [(11, 12, 9), (21, 22, 9)]), stamp())
    people.deliver(delivery([31]), stamp(1))
    one, other = pids(people, 11, 21)
    column = table.c.wrapped if table is REGISTER_KEY else table.c.ct
    key = next(iter(table.primary_key)) if table is not REGISTER_EVENT else table.c.number
    found = [(row[0], bytes(row[1])) for row in _read(store, sa.select(key, column))]
    with store.transaction() as at:
        for (place, _), (_, ct) in zip(found, found[1:] + found[:1], strict=True):
            altered = ct if len(found) > 1 else ct[:-1] + bytes([ct[-1] ^ 1])
            at.execute(sa.update(table).where(key == place).values({column.name: altered}))
    fresh = People(vault(store))
    with pytest.raises(SealBrokenError):
        replayed(fresh) if table is REGISTER_EVENT else fresh.merge(one, other, stamp(1))


def test_a_part_taken_away_is_noticed(store, people):
    people.deliver(delivery([11, 21], [(11, 21, 9)]), stamp())
    with store.transaction() as at:
        at.execute(sa.delete(REGISTER_PART))
    with pytest.raises(SealBrokenError, match="taken away"):
        people.members(series(11))


def _read(store, query):
    with store.read() as at:
        return list(at.execute(query))


def test_nothing_shows_what_it_holds(store, people):
    outcome = people.deliver(delivery([11]), stamp())
    register = people._tools.register
    with store.read() as at:
        shown = [
            outcome,
            register.seen(at, Kind.PERSON, series(11)),
            people._tools,
            *people.untold(9),
            register._keys(at),
        ]
    assert all(len(repr(thing)) < 90 for thing in shown)
    assert isinstance(shown[1], Seen)
    assert rows_of(store, STORE)
