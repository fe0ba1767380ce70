"""The databases of the storage's contract, for tables."""

from __future__ import annotations

from tests.pseudonym.separation.conftest import postgres_databases
from tests.pseudonym.storage.conftest import postgres_server, postgres_url, server_connection, sqlite_url, url

__all__ = ["postgres_databases", "postgres_server", "postgres_url", "server_connection", "sqlite_url", "url"]
