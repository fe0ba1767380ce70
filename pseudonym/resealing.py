"""What an event of the register means for subjects and their sealed rows, which follow their records.

The rules this module keeps:

- A row is opened under the person's key that it was under and sealed under that of the person it is under
  now, in every version; what is stated of both is made anew. It happens in the event's own transaction.
- A person left without rows stays, and leads to the one who has them now, if that is one and may be known.
- A restriction or objection is never lifted by it: of persons who become one, the stricter state stays.
- Rows that a protection divides get other ids, and the index enters them in another part (`vault_rows`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from pseudonym import seal
from pseudonym.moving import Arrived, Moving, Newcomers, Person, arriving, moving
from pseudonym.standing import Event, State
from pseudonym.storage.rows import At
from pseudonym.storage.schema_identity import SUBJECT
from pseudonym.subjects import LIVING, new_statements, statement
from pseudonym.subjects import State as Allowed
from pseudonym.urn import Kind
from pseudonym.vault_rows import Tools


def settle(
    tools: Tools,
    at: At,
    kind: Kind,
    event: Event,
    after: State,
    rows: Mapping[bytes, tuple[bytes, bytes]],
    arrived: Arrived | None = None,
    forgotten: Collection[bytes] = (),
) -> None:
    """Carry an event out on the subjects and their rows.

    Args:
        tools: the vault's.
        at: the event's transaction.
        kind: whose event; families are subjects too, and have no rows.
        event: as it was appended.
        after: what the event has to do with, after it.
        rows: of units whose row is not called as they are, the row's id now and from now on.
        arrived: the new rows, of the units that arrived.
        forgotten: persons whom `db.forget` forgets in this transaction: nothing of theirs is opened.

    Raises:
        SubjectMissingError, SealBrokenError: the rows are not where the register says; nothing was changed.
    """
    people, newcomers = _people(tools, at, event, after, forgotten)
    plan: Moving | None = None
    if kind is Kind.PERSON:
        plan = moving(event.changes, after, rows, people, forgotten)
        if arrived is not None:
            arrived = arriving(arrived, after, people, newcomers, tools.store.today())
    _lead(event, after, people)
    # Subjects that are new first: rows and successors refer to them.
    _add(tools, at, kind, people, newcomers, arrived.source if arrived else "")
    if plan is not None:
        plan.carry_out(tools, at)
    if arrived is not None:
        arrived.carry_out(tools, at)
    _update(tools, at, people)


def _people(
    tools: Tools, at: At, event: Event, after: State, forgotten: Collection[bytes]
) -> tuple[dict[bytes, Person], Newcomers]:
    """Everybody whom an event touches, checked; those who are new with a new key.

    Those to whom nothing moves have nothing but what arrives: they come apart from the others, being many.
    """
    changes = event.changes
    made = changes.made["id"].sort().to_list()
    fenced = after.units.join(changes.fenced, on="unit", how="semi")
    touched = pl.concat([changes.moved["before"], changes.moved["after"], fenced["holder"]])
    known = sorted(set(touched.drop_nulls().to_list()).difference(made, forgotten))
    held = tools.subjects.held(at, known, LIVING, lock=True)
    people = {
        pid: Person(each.dek, each, each.places(), Allowed(each.subject.state), each.subject.superseded_by)
        for pid, each in held.items()
    }
    moved_to = set(changes.moved.drop_nulls(["before", "after"])["after"].to_list())
    getting = [pid for pid in made if pid in moved_to]
    people |= {pid: Person(dek) for pid, dek in zip(getting, seal.new_deks(len(getting)), strict=True)}
    return people, Newcomers([pid for pid in made if pid not in moved_to] if getting else made)


def _lead(event: Event, after: State, people: dict[bytes, Person]) -> None:
    """Say of those whom nothing is left of who has it now, and of the others that nobody has."""
    moved = event.changes.moved
    for pid in people.keys() & set(moved["after"].drop_nulls().to_list()):
        people[pid].superseded_by = None
    emptied = moved.join(after.units.select(before="holder"), on="before", how="anti").drop_nulls("before")
    led = emptied.group_by("before").agg(
        pl.col("after").unique(), pl.col("hidden").any(), pl.col("after").is_null().any().alias("lost")
    )
    for pid, into, hidden, lost in led.iter_rows():
        if pid in people:
            people[pid].superseded_by = into[0] if len(into) == 1 and not hidden and not lost else None


def _add(
    tools: Tools,
    at: At,
    kind: Kind,
    people: dict[bytes, Person],
    newcomers: Newcomers,
    source: str,
) -> None:
    """Write who is new; `source` is where the newcomers' rows come from."""
    today = tools.store.today()
    some = {pid: person for pid, person in people.items() if person.held is None}
    # As old as its rows: of two who were divided none is to be known by the day on which it was.
    days = [min((place.received_day for place in person.places), default=today) for person in some.values()]
    said = [
        statement(
            {
                "pid": pid,
                "kind": kind.value,
                "state": person.state.value,
                "version": 1,
                "created_day": day,
                "superseded_by": None,
            },
            sorted(person.places),
        )
        for (pid, person), day in zip(some.items(), days, strict=True)
    ]
    said += new_statements(newcomers.pids, newcomers.rows, kind.value, today, source)
    pids = [*some, *newcomers.pids]
    if not pids:
        return
    deks = [*(person.dek for person in some.values()), *newcomers.deks]
    ready = [*seal.ciphers(deks[: len(some)]), *newcomers.ciphers]
    kek = tools.keks.current  # the transaction holds the lock of those who wrap: `SealedRegister.lock`
    states = [person.state.value for person in some.values()] + [Allowed.ACTIVE.value] * len(newcomers.pids)
    columns: dict[str, list[Any]] = {
        "pid": pids,
        "state": states,
        "created_day": days + [today] * len(newcomers.pids),
        "seal": seal.witness(ready, said),
        "wrapped": kek.wrap_all(deks, pids),
    }
    order = sorted(range(len(pids)), key=pids.__getitem__)
    ordered = {name: [column[place] for place in order] for name, column in columns.items()}
    count = len(pids)
    same: dict[str, list[Any]] = {
        "kind": [kind.value] * count,
        "version": [1] * count,
        "kid": [kek.kid] * count,
    }
    tools.store.insert(at, SUBJECT, {**ordered, **same})


def _update(tools: Tools, at: At, people: dict[bytes, Person]) -> None:
    changed: dict[str, list[Any]] = {
        name: [] for name in ("pid", "version", "state", "superseded_by", "seal")
    }
    deks, statements = [], []
    for _, person in sorted(people.items(), key=lambda each: each[0]):
        if person.held is None or not person.changed():
            continue
        said = {
            **person.held.subject._mapping,
            "version": person.held.subject.version + 1,
            "state": person.state.value,
            "superseded_by": person.superseded_by,
        }
        for name in ("pid", "version", "state", "superseded_by"):
            changed[name].append(said[name])
        deks.append(person.dek)
        statements.append(statement(said, sorted(person.places)))
    if deks:
        changed["seal"] = seal.witness(deks, statements)
        tools.store.update(at, SUBJECT, ["pid"], changed)
