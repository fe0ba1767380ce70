"""What is wrapped under which key-encrypting key, in whatever table of a role it is."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from pseudonym.storage.engine import Store
from pseudonym.storage.schema import METADATA


def wrapping_tables(store: Store) -> list[sa.Table]:
    """The role's tables that hold wrapped keys: those with the columns `kid` and `wrapped`."""
    return [
        table for table in METADATA[store.role].tables.values() if {"kid", "wrapped"} <= set(table.c.keys())
    ]


def kids(store: Store) -> dict[str, int]:
    """How many keys are wrapped under each key-encrypting key, by its id."""
    counts = Counter[str]()
    with store.read() as connection:
        for table in wrapping_tables(store):
            there = table.c.kid.is_not(None)  # whoever is erased has no key
            query = sa.select(table.c.kid, sa.func.count()).where(there).group_by(table.c.kid)
            counts.update({row[0]: row[1] for row in connection.execute(query)})
    return dict(counts)
