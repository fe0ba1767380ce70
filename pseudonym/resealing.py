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
from pseudonym.moving import Arrived, Moving, Person, arriving, moving
from pseudonym.standing import Event, State
from pseudonym.storage.rows import At
from pseudonym.storage.schema_identity import SUBJECT, SUBJECT_KEY
from pseudonym.subjects import LIVING, statement
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
    people = _people(tools, at, event, after, forgotten)
    plan: Moving | None = None
    if kind is Kind.PERSON:
        plan = moving(event.changes, after, rows, people, forgotten)
        if arrived is not None:
            arrived = arriving(arrived, after, people, tools.store.today())
    _lead(event, after, people)
    # Subjects that are new first: rows and successors refer to them.
    _add(tools, at, kind, people)
    if plan is not None:
        plan.carry_out(tools, at)
    if arrived is not None:
        arrived.carry_out(tools, at)
    _update(tools, at, people)


def _people(
    tools: Tools, at: At, event: Event, after: State, forgotten: Collection[bytes]
) -> dict[bytes, Person]:
    """Everybody whom an event touches, checked; those who are new with a new key."""
    changes = event.changes
    made = changes.made["id"].to_list()
    fenced = after.units.join(changes.fenced, on="unit", how="semi")
    touched = pl.concat([changes.moved["before"], changes.moved["after"], fenced["holder"]])
    known = sorted(set(touched.drop_nulls().to_list()).difference(made, forgotten))
    held = tools.subjects.held(at, known, LIVING, lock=True)
    people = {
        pid: Person(each.dek, each, each.places(), Allowed(each.subject.state), each.subject.superseded_by)
        for pid, each in held.items()
    }
    return people | {pid: Person(dek) for pid, dek in zip(made, seal.new_deks(len(made)), strict=True)}


def _lead(event: Event, after: State, people: dict[bytes, Person]) -> None:
    """Say of those whom nothing is left of who has it now, and of the others that nobody has."""
    moved = event.changes.moved
    for pid in moved["after"].drop_nulls().unique().to_list():
        people[pid].superseded_by = None
    emptied = moved.join(after.units.select(before="holder"), on="before", how="anti").drop_nulls("before")
    led = emptied.group_by("before").agg(
        pl.col("after").unique(), pl.col("hidden").any(), pl.col("after").is_null().any().alias("lost")
    )
    for pid, into, hidden, lost in led.iter_rows():
        if pid in people:
            people[pid].superseded_by = into[0] if len(into) == 1 and not hidden and not lost else None


def _add(tools: Tools, at: At, kind: Kind, people: dict[bytes, Person]) -> None:
    new = sorted(pid for pid, person in people.items() if person.held is None)
    if not new:
        return
    today, some = tools.store.today(), [people[pid] for pid in new]
    subjects = [
        {
            "pid": pid,
            "kind": kind.value,
            "state": person.state.value,
            "version": 1,
            # As old as its rows: of two who were divided none is to be known by the day on which it was.
            "created_day": min((place.received_day for place in person.places), default=today),
            "superseded_by": None,
        }
        for pid, person in zip(new, some, strict=True)
    ]
    deks = [person.dek for person in some]
    said = [statement(subject, sorted(person.places)) for subject, person in zip(subjects, some, strict=True)]
    columns: dict[str, list[Any]] = {name: [subject[name] for subject in subjects] for name in subjects[0]}
    tools.store.insert(at, SUBJECT, {**columns, "seal": seal.witness(deks, said)})
    kek = tools.keks.current  # the transaction holds the lock of those who wrap: `SealedRegister.lock`
    keys: dict[str, list[Any]] = {
        "pid": new,
        "kid": [kek.kid] * len(new),
        "wrapped": kek.wrap_all(deks, new),
    }
    tools.store.insert(at, SUBJECT_KEY, keys)


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
