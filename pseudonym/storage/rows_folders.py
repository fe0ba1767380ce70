"""The wrapped keys of folders: one for each submission, job, reference and model of the linkage service."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import FOLDER_KEY
from pseudonym.urn import ID_BYTES, enc

_WRAPPING = 0x6B696664  # for PostgreSQL: one at a time wraps folders' keys


def id_of(folder: str) -> bytes:
    """The 16 bytes that a folder's key is bound to: of its id, which is random and nobody's."""
    return sha256(enc("folder/1", folder)).digest()[:ID_BYTES]


class FolderKeyRows:
    """The table of folders' keys. A `pseudonym.destruction.WrappedKeys`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A transaction: see `Store.transaction`."""
        return self.store.transaction()

    def read(self) -> AbstractContextManager[sa.Connection]:
        """One state of the database: see `Store.read`."""
        return self.store.read()

    def alone(self, at: sa.Connection) -> None:
        """Let nobody else wrap a folder's key until this transaction ends; on SQLite nobody can anyway."""
        if self.store.backend == "postgresql":
            at.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRAPPING})")

    def add(self, at: sa.Connection, folder: str, kid: str, wrapped: bytes) -> bool:
        """Keep a folder's key; whether it had none before."""
        row: dict[str, Sequence[Any]] = {"folder": [folder], "kid": [kid], "wrapped": [wrapped]}
        return self.store.insert(at, FOLDER_KEY, row, skip_existing=True) == 1

    def key(self, at: sa.Connection, folder: str) -> tuple[str, bytes] | None:
        """The id of the KEK, and what is wrapped under it; None if the folder has no key, or no longer."""
        query = sa.select(FOLDER_KEY.c.kid, FOLDER_KEY.c.wrapped).where(FOLDER_KEY.c.folder == folder)
        row = at.execute(query).one_or_none()
        return None if row is None else (row.kid, bytes(row.wrapped))

    def delete(self, at: sa.Connection, folders: Sequence[str]) -> int:
        """Delete folders' keys; how many there were."""
        return self.store.delete_among(at, FOLDER_KEY.c.folder, list(folders))

    def forget(self) -> None:
        """Make deleted keys unreadable in the database's files: see `Store.purge_table`."""
        self.store.purge_table(FOLDER_KEY)

    def keys_not_under(self, at: sa.Connection, kid: str, limit: int) -> list[tuple[str, bytes, str, bytes]]:
        """Folder, the bytes its key is bound to, kid and wrapped key of some that are under another key."""
        query = (
            sa.select(FOLDER_KEY)
            .where(FOLDER_KEY.c.kid != kid)
            .order_by(FOLDER_KEY.c.folder)
            .limit(limit)
            .with_for_update()  # none of them is deleted meanwhile
        )
        return [(row.folder, id_of(row.folder), row.kid, bytes(row.wrapped)) for row in at.execute(query)]

    def put_keys(self, at: sa.Connection, kid: str, keys: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Folder, the bytes its key is bound to, and its key, wrapped under `kid` from now on."""
        if keys:
            self.store.purge_later(at)
            columns: dict[str, Sequence[Any]] = {
                "folder": [folder for folder, _, _ in keys],
                "kid": [kid] * len(keys),
                "wrapped": [wrapped for _, _, wrapped in keys],
            }
            self.store.update(at, FOLDER_KEY, ["folder"], columns)

    def kids(self, at: sa.Connection) -> dict[str, int]:
        """How many keys are wrapped under each KEK."""
        query = sa.select(FOLDER_KEY.c.kid, sa.func.count()).group_by(FOLDER_KEY.c.kid)
        return {row[0]: row[1] for row in at.execute(query)}

    def purge(self) -> None:
        """Make what was deleted unreadable in the database's files."""
        self.store.purge()
