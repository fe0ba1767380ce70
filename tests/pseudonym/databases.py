"""Databases over which programs are killed: made anew, copied and searched, on each kind."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

import sqlalchemy as sa

from tests.pseudonym.cluster import Cluster


class OnSqlite:
    """Databases that are files of one folder."""

    deaths = 110
    """How many a program dies in one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self) -> str:
        """The URL of a database that is empty."""
        return f"sqlite:///{self._folder / secrets.token_hex(6)}.db"

    def copy(self, url: str) -> str:
        """The URL of a copy of a database that nobody has open."""
        copied = self.new()
        for path in self._files(url):
            shutil.copy(path, _file(copied).with_name(path.name.replace(_file(url).name, _file(copied).name)))
        return copied

    def drop(self, url: str) -> None:
        for path in self._files(url):
            path.unlink()

    def left(self, url: str) -> None:
        """Wait until whoever was killed has the database open no more."""

    def octets(self, url: str) -> bytes:
        """What is in the files of the database's tables."""
        return b"".join(path.read_bytes() for path in self._files(url))

    def _files(self, url: str) -> list[Path]:
        return sorted(self._folder.glob(f"{_file(url).name}*"))


class OnServer:
    """Databases of a PostgreSQL server; what they are asked for is as of `OnSqlite`."""

    deaths = 25

    def __init__(self, server: Cluster) -> None:
        self._server = server

    def new(self) -> str:
        return self._made("")

    def copy(self, url: str) -> str:
        self.left(url)
        return self._made(f'TEMPLATE "{_name(url)}"')

    def drop(self, url: str) -> None:
        with self._server.connect("postgres") as connection:
            connection.execute(f'DROP DATABASE "{_name(url)}" WITH (FORCE)')

    def left(self, url: str) -> None:
        # A server's process that lost its client ends what it is doing, and may even commit it.
        until = time.monotonic() + 60
        there = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{_name(url)}'"
        while self._server.rows("postgres", there):
            assert time.monotonic() < until, "the database is still open"
            time.sleep(0.01)

    def octets(self, url: str) -> bytes:
        return self._server.octets(_name(url), catalogue=False)

    def _made(self, how: str) -> str:
        name = f"kinlink_test_{secrets.token_hex(6)}"
        with self._server.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}" {how}')
        return self._server.url("postgres", database=name)


Databases = OnSqlite | OnServer


def _name(url: str) -> str:
    return sa.make_url(url).database or ""


def _file(url: str) -> Path:
    return Path(_name(url))
