"""The register of persons and families that stay, and what the broker has to be told of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0002"
down_revision: str | None = "identity_0001"


def upgrade() -> None:
    op.create_table(
        "register_key",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "register_head",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "register_event",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "register_place",
        sa.Column("tag", sa.LargeBinary, primary_key=True),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "register_part",
        sa.Column("part", sa.LargeBinary, primary_key=True),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
