"""Rows that came of a register's extract are known by the run that last linked them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0003"
down_revision: str | None = "attributes_0002"


def upgrade() -> None:
    op.create_table(
        "a_link",
        sa.Column("handle", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
        sa.Column("register", sa.Text, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_a_link_run", "a_link", ["project", "register", "run"])
