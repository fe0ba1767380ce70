"""Rows of registers wait with their run and outcome; so do those that are nobody's; runs are known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "broker_0003"
down_revision: str | None = "broker_0002"


def upgrade() -> None:
    op.add_column("half", sa.Column("run", sa.Integer))
    op.add_column("half", sa.Column("outcome", sa.Text))
    op.create_index("ix_half_run", "half", ["run"])
    op.create_table(
        "register_run",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("register", sa.Text, nullable=False),
        sa.Column("run", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("began_day", sa.Integer, nullable=False),
        sa.UniqueConstraint("project", "run"),
    )
    op.create_table(
        "exchange",
        sa.Column(
            "project", sa.Integer, sa.ForeignKey("project.number"), primary_key=True, autoincrement=False
        ),
        sa.Column("recipient", sa.Text, primary_key=True),
        sa.Column("end_day", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stray",
        sa.Column("row_ref", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
