"""Rows have handles, and what moved waits until the attributes role has followed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "broker_0002"
down_revision: str | None = "broker_0001"


def upgrade() -> None:
    op.add_column("half", sa.Column("handle", sa.LargeBinary))
    op.create_index("ix_half_handle", "half", ["handle"])
    op.create_table(
        "move",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("handle", sa.LargeBinary),
        sa.Column("old_aid", sa.LargeBinary),
        sa.Column("new_aid", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_move_project", "move", ["project", "number"])
    op.create_index("ix_move_old_aid", "move", ["old_aid"])
    op.create_index("ix_move_new_aid", "move", ["new_aid"])
