"""PostgreSQL servers of the tests' own: nothing else runs on them, and their files and logs can be read.

Whatever lies in the folder of such a server comes from the tests.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from pseudonym.roles.authority import write_private
from pseudonym.roles.callers import SERVER_ROLES
from tests.missing import missing
from tests.service.harness import ROOT, quiet_port

ROLES = tuple(role.value for role in SERVER_ROLES)
SETTINGS = (
    "listen_addresses=127.0.0.1", "fsync=off", "wal_level=replica", "logging_collector=off",
    "password_encryption=scram-sha-256", "autovacuum=off",
)  # fmt: skip
WATCHED = (
    "archive_mode=on", "log_statement=all", "log_parameter_max_length=-1",
    "log_parameter_max_length_on_error=-1", "log_min_messages=info",
)  # fmt: skip

OWN = 16_384  # from this number on, files are of tables that were made by somebody


class Cluster:
    """A running server.

    Attributes:
        folder: what it writes: `data` and `log`, and `archive` if it is watched.
        passwords: of the administrator (`postgres`) and of each role.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.passwords = {name: secrets.token_hex(16) for name in ("postgres", *ROLES)}

    def url(self, role: str, user: str = "", database: str = "") -> str:
        """Where a role finds its database, for `--database`; the password is in a file."""
        user, database = user or role, database or role
        file = self.folder / f"{user}.pgpass"
        write_private(file, f"127.0.0.1:{self.port}:*:{user}:{self.passwords[user]}\n".encode())
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}?passfile={file}"

    def connect(self, database: str, user: str = "postgres", password: str = "") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, connect_timeout=10,
            password=password or self.passwords[user], autocommit=True,
        )  # fmt: skip

    def rows(self, database: str, query: str) -> list[dict[str, Any]]:
        with self.connect(database) as connection:
            return list(connection.cursor(row_factory=psycopg.rows.dict_row).execute(query))

    def dump(self, database: str) -> bytes:
        """What pg_dump makes of it, and every table, the server's own included; and the octets in them."""
        options = {"PGPASSWORD": self.passwords["postgres"], "PATH": os.environ["PATH"]}
        command = ["pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", database]
        found = [subprocess.run(command, env=options, capture_output=True, check=True).stdout]
        with self.connect(database) as connection:
            tables = connection.execute(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
            ).fetchall()
            assert len(tables) > 60
            for (table,) in tables:
                with connection.cursor().copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as copy:
                    found += [bytes(part) for part in copy]
        text = b"\n".join(found)
        return text + b"\n".join(map(bytes.fromhex, re.findall(r"\\x((?:[0-9a-f]{2})+)", text.decode())))

    def flushed(self) -> None:
        """Have everything that the server knows in its files, the archive of its write-ahead log included."""
        with self.connect("postgres") as connection:
            connection.execute("CHECKPOINT")
            [(name,)] = connection.execute("SELECT pg_walfile_name(pg_switch_wal())")
        until = time.monotonic() + 60
        while not (self.folder / "archive" / name).exists():
            assert time.monotonic() < until, "the write-ahead log is not archived"
            time.sleep(0.05)

    def files(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.rglob("*")) if path.is_file())

    def octets(self, database: str, *, catalogue: bool = True) -> bytes:
        """What the files of one database hold, once all that the server knows is in them.

        Args:
            database: its name.
            catalogue: the server's own tables too, which are most of a small database.
        """
        with self.connect("postgres") as connection:
            connection.execute("CHECKPOINT")
        [row] = self.rows("postgres", f"SELECT oid FROM pg_database WHERE datname = '{database}'")
        files = [
            path
            for path in sorted((self.folder / "data" / "base" / str(row["oid"])).iterdir())
            if path.is_file() and (catalogue or int((re.findall(r"\d{4,}", path.name) or ["0"])[0]) >= OWN)
        ]
        return b"".join(path.read_bytes() for path in files)


def documented(role: str, password: str) -> list[tuple[str, str]]:
    """The statements with which `docs/running.md` sets up the database of a role: where, and what."""
    [block] = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "running.md").read_text(), re.DOTALL)
    database, found = "postgres", []
    for line in block.replace("broker", role).replace("PASSWORD '…'", f"PASSWORD '{password}'").splitlines():
        text = line.partition("--")[0].strip()
        if text.startswith("\\connect"):
            database = text.split()[1]
        elif text:
            found.append((database, text))
    return found


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    named = shutil.which("initdb") or (str(found[-1]) if found else "")
    if not named or shutil.which("pg_dump") is None:
        missing("there are no programs of a PostgreSQL server (initdb, postgres, pg_dump)")
    return Path(named).parent


@contextmanager
def watched() -> Iterator[Cluster]:
    """A server set up as `docs/running.md` says: a database for each role, owned by the administrator.

    It logs every statement with its parameters and archives its write-ahead log: an administrator who wants
    to see everything.
    """
    with running(*WATCHED) as cluster:
        for role in ROLES:
            for database, statement in documented(role, cluster.passwords[role]):
                with cluster.connect(database) as connection:
                    connection.execute(statement)
        yield cluster


@contextmanager
def running(*settings: str) -> Iterator[Cluster]:
    """A server with nothing in it.

    Args:
        settings: each `name=value`, beside `SETTINGS`.
    """
    programs = _programs()
    # PostgreSQL does not run as root: it gets an account of its own where there is one.
    other: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kinlink-postgresql-") as named:
        folder = Path(named)
        if os.geteuid() == 0:
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                missing("PostgreSQL does not run as root, and there is no account postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            other = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        cluster = Cluster(folder, quiet_port())
        with _served(cluster, programs, (*SETTINGS, *settings), other):
            yield cluster


@contextmanager
def _served(
    cluster: Cluster, programs: Path, settings: Sequence[str], other: dict[str, Any]
) -> Iterator[None]:
    folder, environment = cluster.folder, {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def run(*command: str, **options: Any) -> None:
        subprocess.run(
            command, check=True, capture_output=True, cwd=folder, env=environment, **other, **options
        )

    run("mkdir", "archive")
    make = [
        "--pgdata=data", "--username=postgres", "--pwfile=password", "--auth=scram-sha-256", "--no-sync",
        "--wal-segsize=1", "--encoding=UTF8",
    ]  # fmt: skip
    (folder / "password").write_text(cluster.passwords["postgres"])
    os.chmod(folder / "password", 0o644)  # in a folder that only the server's account may enter
    run(str(programs / "initdb"), *make)
    archive = f"archive_command=cp %p {folder}/archive/%f"
    flags = [flag for setting in (*settings, archive) for flag in ("-c", setting)]
    command = [str(programs / "postgres"), "-D", "data", "-p", str(cluster.port), "-k", str(folder), *flags]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, **other)
    try:
        _wait(cluster, process)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # to end at once, in order
        process.wait(60)


def _wait(cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            cluster.connect("postgres").close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, (cluster.folder / "log").read_text()
            assert time.monotonic() < until, (cluster.folder / "log").read_text()
            time.sleep(0.05)


def may(connection: psycopg.Connection[Any], statements: Sequence[str]) -> list[str]:
    """Those of the statements that the server does not refuse to somebody for want of rights."""
    allowed = []
    for statement in statements:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            continue
        allowed.append(statement)
    return allowed
