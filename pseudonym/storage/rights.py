"""The identity role's queries about people's rights and disclosures; nothing about keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import (
    DISCLOSURE,
    RIGHTS_ANSWER,
    RIGHTS_CASE,
    RIGHTS_LIMIT,
    RIGHTS_PERSON,
)

Connection = sa.Connection


def case(at: Connection, case_id: str, *, lock: bool = False) -> bytes | None:
    """What is sealed of a case."""
    query = sa.select(RIGHTS_CASE.c.ct).where(RIGHTS_CASE.c.case_id == case_id)
    found = at.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    return bytes(found) if found is not None else None


def cases(at: Connection, project: str | None = None) -> list[tuple[str, bytes]]:
    """Id and what is sealed of all cases, or of a project's, by id."""
    query = sa.select(RIGHTS_CASE.c.case_id, RIGHTS_CASE.c.ct).order_by(RIGHTS_CASE.c.case_id)
    if project is not None:
        query = query.where(RIGHTS_CASE.c.project == project)
    return [(row.case_id, bytes(row.ct)) for row in at.execute(query)]


def add_case(store: Store, at: Connection, case_id: str, project: str, ct: bytes) -> bool:
    """Keep a new case; whether it was not there before."""
    row: dict[str, list[Any]] = {"case_id": [case_id], "project": [project], "ct": [ct]}
    return store.insert(at, RIGHTS_CASE, row, skip_existing=True) == 1


def put_case(at: Connection, case_id: str, ct: bytes) -> None:
    """Put what is sealed of a case in the place of what was."""
    at.execute(sa.update(RIGHTS_CASE).where(RIGHTS_CASE.c.case_id == case_id).values(ct=ct))


def add_persons(store: Store, at: Connection, case_id: str, pids: Sequence[bytes]) -> None:
    """Note whom a case is about."""
    rows: dict[str, list[Any]] = {"case_id": [case_id] * len(pids), "pid": sorted(pids)}
    store.insert(at, RIGHTS_PERSON, rows, skip_existing=True)


def persons(at: Connection, case_id: str) -> list[bytes]:
    """Whom a case is about, as far as they are known still."""
    query = sa.select(RIGHTS_PERSON.c.pid).where(RIGHTS_PERSON.c.case_id == case_id)
    return [bytes(pid) for pid in at.execute(query.order_by(RIGHTS_PERSON.c.pid)).scalars()]


def cases_of(store: Store, at: Connection, pids: Sequence[bytes]) -> list[str]:
    """The cases that are about one of these people, by id."""
    found = store.among(at, sa.select(RIGHTS_PERSON.c.case_id).distinct(), RIGHTS_PERSON.c.pid, pids)
    return sorted({row.case_id for row in found})


def put_answer(store: Store, at: Connection, case_id: str, half: str, day: int, ct: bytes) -> None:
    """Keep a sealed half of an answer, unless there is one."""
    row: dict[str, list[Any]] = {"case_id": [case_id], "half": [half], "day": [day], "ct": [ct]}
    store.insert(at, RIGHTS_ANSWER, row, skip_existing=True)


def answers(at: Connection, case_id: str) -> dict[str, bytes]:
    """The sealed halves of an answer."""
    query = sa.select(RIGHTS_ANSWER.c.half, RIGHTS_ANSWER.c.ct).where(RIGHTS_ANSWER.c.case_id == case_id)
    return {row.half: bytes(row.ct) for row in at.execute(query)}


def drop_answers(store: Store, at: Connection, before: int) -> int:
    """Delete the answers from before a day; how many halves there were."""
    gone = at.execute(sa.delete(RIGHTS_ANSWER).where(RIGHTS_ANSWER.c.day < before)).rowcount
    if gone:
        store.purge_later(at)
    return gone


def limits(store: Store, at: Connection, pids: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Pid, and what is sealed of the purposes that these people's data are kept from."""
    found = store.among(at, sa.select(RIGHTS_LIMIT), RIGHTS_LIMIT.c.pid, pids)
    return [(bytes(row.pid), bytes(row.ct)) for row in found]


def put_limit(store: Store, at: Connection, pid: bytes, ct: bytes) -> None:
    """Keep purposes of somebody who has none."""
    store.insert(at, RIGHTS_LIMIT, {"pid": [pid], "ct": [ct]})


def drop_limits(store: Store, at: Connection, pids: Sequence[bytes]) -> None:
    """Take purposes away."""
    store.delete_among(at, RIGHTS_LIMIT.c.pid, pids)


def add_disclosures(
    store: Store, at: Connection, row_ids: Sequence[bytes], pids: Sequence[bytes], cts: Sequence[bytes]
) -> None:
    """Keep disclosures, but those that are there, in the order of their ids."""
    rows = sorted(zip(row_ids, pids, cts, strict=True))
    columns: dict[str, list[Any]] = {
        "row_id": [row for row, _, _ in rows],
        "pid": [pid for _, pid, _ in rows],
        "ct": [ct for _, _, ct in rows],
    }
    store.insert(at, DISCLOSURE, columns, skip_existing=True)


def disclosures(store: Store, at: Connection, pids: Sequence[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """Row id, pid and what is sealed of people's disclosures."""
    found = store.among(at, sa.select(DISCLOSURE), DISCLOSURE.c.pid, pids)
    return [(bytes(row.row_id), bytes(row.pid), bytes(row.ct)) for row in found]


def forget(store: Store, at: Connection, pids: Sequence[bytes]) -> None:
    """Delete all that is about people: answers to them, whose their cases are, limits, disclosures."""
    about = cases_of(store, at, pids)
    store.delete_among(at, RIGHTS_ANSWER.c.case_id, about)
    for column in (RIGHTS_PERSON.c.pid, RIGHTS_LIMIT.c.pid, DISCLOSURE.c.pid):
        store.delete_among(at, column, pids)


def forget_project(store: Store, at: Connection, project: str) -> None:
    """Delete a project's cases."""
    found = [case_id for case_id, _ in cases(at, project)]
    for column in (RIGHTS_ANSWER.c.case_id, RIGHTS_PERSON.c.case_id, RIGHTS_CASE.c.case_id):
        store.delete_among(at, column, found)
    store.purge_later(at)
