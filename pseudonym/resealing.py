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
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym import seal
from pseudonym.coming import Arrived, Coming
from pseudonym.forms import slices
from pseudonym.moving import Moving, Person, moving
from pseudonym.seal import Kek
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
    today = tools.store.today()
    plan: Moving | None = None
    coming: Coming | None = None
    if kind is Kind.PERSON:
        plan = moving(event.changes, after, rows, people, forgotten)
        if arrived is not None:
            coming = Coming(arrived, after, newcomers, today)
            coming.count_known(people)
            coming.enter(tools, at)
    _lead(event, after, people)
    # Who is new first: rows and successors refer to them.
    _add(tools, at, kind, today, people, newcomers, coming)
    if plan is not None:
        plan.carry_out(tools, at)
    _update(tools, at, people)


def _people(
    tools: Tools, at: At, event: Event, after: State, forgotten: Collection[bytes]
) -> tuple[dict[bytes, Person], list[bytes]]:
    """Everybody whom an event touches, checked; those who are new with a new key.

    Newcomers, to whom nothing moves, have nothing but what arrives: they come apart, in order, being many.
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
    return people, [pid for pid in made if pid not in moved_to] if getting else made


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
    today: int,
    people: dict[bytes, Person],
    newcomers: list[bytes],
    coming: Coming | None,
) -> None:
    """Write who is new, and the rows that come, whoever they are of."""
    getting = {pid: person for pid, person in people.items() if person.held is None}
    if getting:
        tools.store.insert(at, SUBJECT, _getting(getting, kind, tools.keks.current, today))
    ciphers: list[AESGCM] = []
    for some in slices(len(newcomers)):
        rows = coming.rows_of(some) if coming else [b""] * (some.stop - some.start)
        source = coming.source if coming else ""
        ciphers += _add_newcomers(tools, at, kind, today, newcomers[some], rows, source)
    if coming is not None:
        coming.put(tools, at, ciphers, people)


def _add_newcomers(
    tools: Tools, at: At, kind: Kind, today: int, pids: list[bytes], rows: list[bytes], source: str
) -> list[AESGCM]:
    """Write people who are new, as are their rows, of which these are the ids; their keys, made ready."""
    deks = seal.new_deks(len(pids))
    ciphers = seal.ciphers(deks)
    said = new_statements(pids, rows, kind.value, today, source)
    kek = tools.keks.current  # the transaction holds the lock of those who wrap: `SealedRegister.lock`
    columns: dict[str, list[Any]] = {
        "pid": pids,
        "kind": [kind.value] * len(pids),
        "state": [Allowed.ACTIVE.value] * len(pids),
        "version": [1] * len(pids),
        "created_day": [today] * len(pids),
        "seal": seal.witness(ciphers, said),
        "kid": [kek.kid] * len(pids),
        "wrapped": kek.wrap_all(deks, pids),
    }
    tools.store.insert(at, SUBJECT, columns)
    return ciphers


def _getting(people: Mapping[bytes, Person], kind: Kind, kek: Kek, today: int) -> dict[str, list[Any]]:
    """People who are new and get rows from others, as rows of subject."""
    rows: list[dict[str, Any]] = [
        {
            "pid": pid,
            "kind": kind.value,
            "state": person.state.value,
            "version": 1,
            # As old as its rows: of two who were divided none is to be known by the day on which it was.
            "created_day": min((place.received_day for place in person.places), default=today),
        }
        for pid, person in people.items()
    ]
    deks = [person.dek for person in people.values()]
    said = [
        statement({**row, "superseded_by": None}, sorted(person.places))
        for row, person in zip(rows, people.values(), strict=True)
    ]
    return {
        **{name: [row[name] for row in rows] for name in rows[0]},
        "seal": seal.witness(deks, said),
        "kid": [kek.kid] * len(rows),
        "wrapped": kek.wrap_all(deks, list(people)),
    }


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
