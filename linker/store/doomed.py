"""What has ended, and whose key and files are still to be destroyed."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from linker.store.database import DOOMED, Database


class Doomed:
    """Ids of submissions, jobs, references and models; `linker.destruction` works them off."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, word: str) -> list[str]:
        """Those whose ids begin with a word."""
        query = sa.select(DOOMED.c.key).where(DOOMED.c.key.startswith(f"{word}-", autoescape=True))
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def done(self, keys: Sequence[str]) -> None:
        """Note that nothing of these is left."""
        with self._database.write() as connection:
            for key in keys:
                connection.execute(sa.delete(DOOMED).where(DOOMED.c.key == key))
