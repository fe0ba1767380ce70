"""What lies in each role's files: looked for byte by byte, and for ids that two databases share."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from deploy.service import StudyError
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.exchange import MOVES_EVERY

ATTACH_SECONDS = 3_600.0
_WORDS = rb"[A-Za-z]{7,}|[0-9]{10}|[A-Z]{2}[0-9]{6}[A-D]|[A-Z][0-9]{12}"


def folder_of(roles: Path, role: Role) -> Path:
    """Where a role has its things."""
    return roles / f"{role}-role"


def settled(roles: Path) -> int:
    """Wait until the attributes role has heard of all rows whose they are; how many rows are stored.

    Some rows wait on: those of records that have no attributes, and those that somebody has to look at.

    Raises:
        StudyError: not in time.
    """
    until, since, before = time.monotonic() + ATTACH_SECONDS, time.monotonic(), (0, 0, 0)
    while True:
        now = (
            _count(roles, Role.ATTRIBUTES, "a_row"),
            _count(roles, Role.BROKER, "half"),
            _count(roles, Role.BROKER, "stray"),
        )
        if now != before:
            since, before = time.monotonic(), now
        # It asks again and again; who were merged follow a moment after their rows.
        if time.monotonic() - since > MOVES_EVERY + 2:
            return now[0]
        if time.monotonic() > until:
            raise StudyError("Attributes and persons have not found together. See the logs in roles/.")
        time.sleep(1.0)


def _count(roles: Path, role: Role, name: str) -> int:
    with database(roles, role) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])


def found_in(roles: Path, words: Mapping[str, set[str]]) -> dict[Role, dict[str, int]]:
    """How many of some words are anywhere in the files of each role: databases, logs, submissions."""
    wanted = {what: {one.encode() for one in some} for what, some in words.items()}
    found = {}
    for role in SERVER_ROLES:
        seen: set[bytes] = set()
        for path in sorted(folder_of(roles, role).rglob("*")):
            if path.is_file():
                seen.update(re.findall(_WORDS, path.read_bytes()))
        found[role] = {what: len(some & seen) for what, some in wanted.items()}
    return found


def ids_in_both(roles: Path) -> int:
    """How many ids the databases of identity and attributes have in common."""
    with database(roles, Role.IDENTITY) as one, database(roles, Role.ATTRIBUTES) as other:
        return len(_ids(one) & _ids(other))


@contextmanager
def database(roles: Path, role: Role) -> Iterator[sqlite3.Connection]:
    """A role's database while the role runs; nothing is written."""
    path = folder_of(roles, role) / role / "store.sqlite"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _ids(connection: sqlite3.Connection) -> set[bytes]:
    """Every value of 16 bytes: what an id looks like."""

    def rows(name: str) -> list[tuple[Any, ...]]:
        return connection.execute(f'SELECT * FROM "{name}"').fetchall()

    return {
        value
        for name in _tables(connection)
        for row in rows(name)
        for value in row
        if isinstance(value, bytes) and len(value) == 16
    }
