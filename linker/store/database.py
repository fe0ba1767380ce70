"""The embedded SQLite database: its tables and transactions, the request ids taken in them, what it seals."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from linker.errors import LinkerError
from linker.refusals import Conflict
from linker.resources import JobState, Mandate, Problem, Work
from linker.vaulted import Damaged, Safe, plain_data

VERSION = 2
IN_THE_CLEAR = 1  # the version that sealed nothing
METADATA = sa.MetaData()

OWN = sa.Table(  # one row: the key of what the database itself seals
    "own",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("check", sa.LargeBinary, nullable=False),
)
DOOMED = sa.Table(
    "doomed",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
)

REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("purpose", sa.LargeBinary, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)
BATCHES = sa.Table(
    "batches",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("batch_id", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("header", sa.Text, nullable=False),
    sa.Column("submission_id", sa.Text, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False, default=0),
    sa.Column("rows", sa.Integer, nullable=False, default=0),
    sa.Column("bytes", sa.Integer, nullable=False, default=0),
    sa.UniqueConstraint("project", "batch_id"),
)
CHUNKS = sa.Table(
    "chunks",
    METADATA,
    sa.Column("batch", sa.ForeignKey("batches.seq"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
SUBMISSIONS = sa.Table(
    "submissions",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("submission_id", sa.Text, nullable=False, unique=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("batch", sa.ForeignKey("batches.seq"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("refused_rows", sa.Integer, nullable=False, default=0),
    sa.Column("values_set_aside", sa.Integer, nullable=False, default=0),
    sa.Column("content_sha256", sa.LargeBinary, index=True),
    sa.Column("fields", sa.Text),
    sa.Column("problem", sa.Text),
    sa.Column("created", sa.Float, nullable=False),
)
JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text, nullable=False, unique=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("work", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("stage", sa.Text, nullable=False, default=""),
    sa.Column("done", sa.Integer, nullable=False, default=0),
    sa.Column("total", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("problem", sa.Text),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
)
MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("json", sa.LargeBinary, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Index("models_by_name", "project", "name"),
)

REFERENCES = sa.Table(
    "references",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("reference_id", sa.Text, nullable=False, unique=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("submission_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("model_digest", sa.Text, nullable=False),
    sa.Column("changes", sa.Integer, nullable=False, default=0),
    sa.Column("folded", sa.Integer, nullable=False, default=0),
    sa.Column("created", sa.Float, nullable=False),
    sa.UniqueConstraint("project", "name"),
)


@dataclass(frozen=True)
class Notes:
    """Seals values of the database under the database's own key.

    Attributes:
        safe: what seals them.
        key: the id of that key.
    """

    safe: Safe
    key: str

    def conceal(self, place: str, value: bytes) -> bytes:
        """A value, sealed; equal values of one place stay equal."""
        return self.safe.conceal(self.key, place, value)

    def reveal(self, place: str, sealed: bytes) -> bytes:
        """What `conceal` has sealed. Raises Damaged."""
        return self.safe.reveal(self.key, place, sealed)


def notes(connection: sa.Connection) -> Notes:
    """What seals the values of the database that a connection is to."""
    found = connection.get_execution_options()["notes"]
    assert isinstance(found, Notes)
    return found


class Database:
    """Connections to the file; usable from any thread."""

    def __init__(self, path: Path, safe: Safe) -> None:
        """Open the database, or make it.

        Raises:
            LinkerError: the file was made by another version, or sealed with another safe.
        """
        self._notes = Notes(safe, "")
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "begin", _begin)
        with self.write() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if found == IN_THE_CLEAR:
                raise plain_data()
            if found not in (0, VERSION):
                raise LinkerError(
                    f"The database is of version {found}; this program needs version {VERSION}.",
                    "Use the program that made it, or another data folder.",
                )
            METADATA.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
            self._notes = _own(connection, safe)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with self._engine.connect().execution_options(notes=self._notes) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is on disk once the block has ended, or undone if it raised."""
        connected = self._engine.connect().execution_options(write=True, notes=self._notes)
        with connected as connection, connection.begin():
            yield connection


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and then writes may fail; one that says so at once waits.
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _own(connection: sa.Connection, safe: Safe) -> Notes:
    """The database's own key: made with the database, and looked for ever after."""
    row = connection.execute(sa.select(OWN)).one_or_none()
    if row is None:
        made = Notes(safe, new_id("own"))
        safe.make(made.key)
        connection.execute(sa.insert(OWN).values(key=made.key, check=made.conceal("check", b"")))
        return made
    found = Notes(safe, row.key)
    try:
        found.reveal("check", row.check)
    except Damaged:
        raise LinkerError(
            "The data folder does not open with the keys of the identity role's database.",
            "They belong together: start the server with the database that this folder was made with.",
        ) from None
    return found


def doom(connection: sa.Connection, *keys: str) -> None:
    """Note that the keys and files of these are to be destroyed; see `linker.destruction`."""
    for key in keys:
        connection.execute(sa.insert(DOOMED).prefix_with("OR IGNORE").values(key=key))


def works(connection: sa.Connection, project: str) -> Iterator[dict[str, Any]]:
    """What each job of a project that has not finished is asked to do."""
    unfinished = JOBS.c.state.in_([JobState.QUEUED, JobState.RUNNING])
    query = sa.select(JOBS).where(JOBS.c.project == project, unfinished)
    return (work_of(connection, row) for row in connection.execute(query))


def work_of(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    """What a row of jobs says is to be done."""
    content: dict[str, Any] = json.loads(notes(connection).reveal(f"work/{row.job_id}", row.work))
    return content


def work_json(connection: sa.Connection, job_id: str, work: Work) -> bytes:
    """What a job is asked to do as it is kept: sealed, for it may hold words of the caller."""
    return notes(connection).conceal(f"work/{job_id}", to_json(asdict(work)).encode())


def take(
    connection: sa.Connection, mandate: Mandate, method: str, digest: bytes, resource: str
) -> str | None:
    """Take a request id for a resource.

    Returns:
        The resource of the same request if it was made before, else None.

    Raises:
        Conflict: the request id was used for another request.
    """
    row = connection.execute(
        sa.select(REQUESTS).where(
            REQUESTS.c.project == mandate.project, REQUESTS.c.request_id == mandate.request_id
        )
    ).one_or_none()
    # A request may be about one person: its digest, in the clear, could be tried out.
    place, own = f"{mandate.project}/{mandate.request_id}", notes(connection)
    digest = own.conceal(f"request/{place}", digest)
    if row is None:
        connection.execute(
            sa.insert(REQUESTS).values(
                project=mandate.project,
                request_id=mandate.request_id,
                method=method,
                digest=digest,
                purpose=own.conceal(f"purpose/{place}", mandate.purpose.encode()),
                resource=resource,
                created=time.time(),
            )
        )
        return None
    if row.method != method or row.digest != digest:
        raise Conflict(
            "REQUEST_ID_REUSED",
            "The request id was used for another request.",
            "Give each request an id of its own, such as a random UUID.",
            field="mandate.request_id",
        )
    return str(row.resource)


def inserted(connection: sa.Connection, statement: sa.Insert) -> int:
    """Run an insert and return the key of its row."""
    key = connection.execute(statement).inserted_primary_key
    assert key is not None
    return int(key[0])


def new_id(word: str) -> str:
    """An id that cannot be guessed, such as `job-2f…`."""
    return f"{word}-{secrets.token_hex(10)}"


def to_json(value: Any) -> str:
    """Compact JSON that keeps the order of keys."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def problem_json(problem: Problem | None) -> str | None:
    """A problem as it is kept."""
    return to_json(asdict(problem)) if problem else None


def moment(seconds: float) -> datetime:
    """A time as it was kept, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
