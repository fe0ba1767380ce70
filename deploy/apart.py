"""What lies in each role's files: looked for byte by byte, and for ids that two databases share."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from deploy.service import StudyError
from pseudonym.roles.callers import SERVER_ROLES, Role

ATTACH_SECONDS = 4 * 3_600.0  # a hundred thousand families on a busy machine
LOOKS = 4  # times as long as a look took, the next one waits: nobody purges a database that is read
_PIECE, _OVERLAP = 16 * 1024**2, 256  # bytes
_ROWS = 100_000
_LETTERS = np.array([chr(octet).isalnum() and octet < 128 for octet in range(256)])
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
    until = time.monotonic() + ATTACH_SECONDS
    while True:
        began = time.monotonic()
        if _together(roles):
            break
        if began > until:
            raise StudyError("Attributes and persons have not found together. See the logs in roles/.")
        time.sleep(max(1.0, LOOKS * (time.monotonic() - began)))
    with database(roles, Role.ATTRIBUTES) as connection:
        return int(connection.execute("SELECT count(*) FROM a_row").fetchone()[0])


def _together(roles: Path) -> bool:
    """Whether the broker has nothing more to say of rows that are here, and all who moved have moved."""
    broker = folder_of(roles, Role.BROKER) / Role.BROKER / "store.sqlite"
    with database(roles, Role.ATTRIBUTES) as connection:
        connection.execute("ATTACH ? AS broker", (f"{broker.absolute().as_uri()}?mode=ro",))
        return not any(connection.execute(f"SELECT EXISTS ({query})").fetchone()[0] for query in _APART)


_APART = (
    "SELECT 1 FROM broker.half WHERE outcome IS NOT NULL",
    "SELECT 1 FROM broker.half JOIN a_half USING (row_ref)",
    "SELECT 1 FROM broker.stray JOIN a_half USING (row_ref)",
    "SELECT 1 FROM broker.move WHERE number > (SELECT coalesce(max(number), 0) FROM a_moved)",
)


def found_in(roles: Path, words: Mapping[str, set[str]]) -> dict[Role, dict[str, int]]:
    """How many of some words are anywhere in the files of each role: databases, logs, submissions."""
    wanted = {what: {one.encode() for one in some} for what, some in words.items()}
    found = {}
    for role in SERVER_ROLES:
        seen: set[bytes] = set()
        for path in sorted(folder_of(roles, role).rglob("*")):
            if path.is_file():
                for piece in _pieces(path):
                    seen.update(re.findall(_WORDS, _spelt(piece)))
        found[role] = {what: len(some & seen) for what, some in wanted.items()}
    return found


def _pieces(path: Path) -> Iterator[bytes]:
    """A file, some of it at a time; no word is cut in two in both of two pieces."""
    last = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield last + piece
            last = piece[-_OVERLAP:]


def _spelt(piece: bytes) -> bytes:
    """The runs of at least seven letters and digits, of which every word is a part, with gaps between.

    Nearly all that lies in a database is sealed and has none; so little is left to look for words in.
    """
    octets = np.frombuffer(piece, dtype=np.uint8)
    runs = _LETTERS[octets]
    for step in (1, 2, 3):  # where seven in a row begin
        runs = runs[:-step] & runs[step:]
    if not runs.any():
        return b""
    kept = np.zeros(len(octets) + 1, dtype=np.bool_)
    for place in range(7):
        kept[place : place + len(runs)] |= runs
    gaps = kept.copy()
    gaps[1:] |= kept[:-1]
    return np.where(kept, np.append(octets, 32), 32).astype(np.uint8)[gaps].tobytes()


def ids_in_both(roles: Path) -> int:
    """How many ids the databases of identity and attributes have in common."""
    with database(roles, Role.IDENTITY) as one, database(roles, Role.ATTRIBUTES) as other:
        return _ids(one).join(_ids(other), on="id", how="semi").height


@contextmanager
def database(roles: Path, role: Role) -> Iterator[sqlite3.Connection]:
    """A role's database while the role runs; nothing is written."""
    path = folder_of(roles, role) / role / "store.sqlite"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _ids(connection: sqlite3.Connection) -> pl.DataFrame:
    """Every value of 16 bytes, which is what an id looks like, once: the column `id`."""
    found = [pl.DataFrame(schema={"id": pl.Binary})]
    for name in _tables(connection):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info('{name}')")]
        ids = (
            f'CASE WHEN typeof("{one}") = \'blob\' AND length("{one}") = 16 THEN "{one}" END'
            for one in columns
        )
        rows = connection.execute(f'SELECT {", ".join(ids)} FROM "{name}"')
        while some := rows.fetchmany(_ROWS):
            found += [
                pl.DataFrame({"id": values}, schema={"id": pl.Binary}).drop_nulls()
                for values in zip(*some, strict=True)
            ]
    return pl.concat(found).unique()
