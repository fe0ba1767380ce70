"""The databases of the storage's contract, for the broker and the attribute store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from tests.pseudonym.storage.conftest import (
    postgres_server,
    postgres_url,
    server_connection,
    sqlite_url,
    url,
)

__all__ = ["postgres_server", "postgres_url", "sqlite_url", "url"]


@pytest.fixture
def postgres_databases(request: pytest.FixtureRequest) -> Iterator[Callable[[], dict[str, str]]]:
    """Makes three empty databases, one a role, and drops them after the test."""
    made: list[str] = []

    def make() -> dict[str, str]:
        server: sa.URL = request.getfixturevalue("postgres_server")
        urls = {}
        with server_connection() as connection:
            for role in ("identity", "broker", "attributes"):
                made.append(f"kinlink_test_{secrets.token_hex(6)}")
                connection.execute(f'CREATE DATABASE "{made[-1]}"')
                urls[role] = server.set(database=made[-1]).render_as_string(hide_password=False)
        return urls

    yield make
    if made:
        with server_connection() as connection:
            for name in made:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
