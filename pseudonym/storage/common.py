"""What the tables of every role share.

Days are whole numbers since 1 January 1970 (UTC), moments whole seconds since then; ids and ciphertexts are
bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

STORE = "store"


def store_table(metadata: sa.MetaData) -> sa.Table:
    """The table of one row: whose the database is, when it was last written, how much is purged."""
    return sa.Table(
        STORE,
        metadata,
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("deletions", sa.BigInteger, nullable=False),
        sa.Column("purged", sa.BigInteger, nullable=False),
        sa.CheckConstraint("one = 1", name="store_has_one_row"),
    )


def ledger_table(metadata: sa.MetaData) -> sa.Table:
    """The table of at most one row: how far the database has followed the ledger of erasures."""
    return sa.Table(
        "ledger",
        metadata,
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("one = 1", name="ledger_has_one_row"),
    )


def project_table(metadata: sa.MetaData, name: str) -> sa.Table:
    """The table of a role's projects; a row stays after the project's end, so that it never begins again."""
    return sa.Table(
        name,
        metadata,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.SmallInteger, nullable=False),
        sa.Column("began_day", sa.Integer, nullable=False),
        sa.Column("ended_day", sa.Integer),
    )
