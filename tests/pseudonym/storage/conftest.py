"""A new, empty database for each test, on each kind of database that the contract is for.

PostgreSQL is the one that KINLINK_TEST_POSTGRES names, or the one of this machine; a test's database is made
there and dropped afterwards. Without a server those tests are skipped.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

SERVER = os.environ.get("KINLINK_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


def server_connection() -> psycopg.Connection:
    url = sa.make_url(SERVER).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


@pytest.fixture(scope="session")
def postgres_server() -> sa.URL:
    try:
        server_connection().close()
    except psycopg.OperationalError:
        pytest.skip("there is no PostgreSQL server; name one in KINLINK_TEST_POSTGRES")
    return sa.make_url(SERVER)


@pytest.fixture
def postgres_url(postgres_server: sa.URL) -> Iterator[str]:
    name = f"kinlink_test_{secrets.token_hex(6)}"
    with server_connection() as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield postgres_server.set(database=name).render_as_string(hide_password=False)
    finally:
        with server_connection() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A new, empty database: the test runs once on each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(name)
    return found
