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

ATTACH_SECONDS = 300.0
_WORDS = rb"[A-Za-z]{7,}|[0-9]{10}|[A-Z]{2}[0-9]{6}[A-D]|[A-Z][0-9]{12}"


def folder_of(roles: Path, role: Role) -> Path:
    """Where a role has its things."""
    return roles / f"{role}-role"


def settled(roles: Path) -> int:
    """Wait until every row of attributes has found its person, or is gone; how many are stored.

    Raises:
        StudyError: not in time.
    """
    until, before = time.monotonic() + ATTACH_SECONDS, None
    while True:
        with database(roles, Role.ATTRIBUTES) as attributes:
            stored = attributes.execute("SELECT count(*) FROM a_row").fetchone()[0]
        with database(roles, Role.BROKER) as broker:
            waiting = sum(
                broker.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("half", "stray")
            )
        # Who were merged follow a moment after their rows.
        if not waiting and stored == before:
            return int(stored)
        if time.monotonic() > until:
            raise StudyError("Attributes and persons have not found together. See the logs in roles/.")
        before = stored
        time.sleep(1.0)


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
