"""Under what a register was linked that the National Data Opt-out concerns; of no person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0008"
down_revision: str | None = "attributes_0007"


def upgrade() -> None:
    op.create_table(
        "a_opt_out",
        sa.Column(
            "project", sa.Integer, sa.ForeignKey("a_project.number"), primary_key=True, autoincrement=False
        ),
        sa.Column("register", sa.Text, primary_key=True),
        sa.Column("basis", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
