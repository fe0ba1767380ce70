"""Rows keep the handle that the broker knows them by, and projects how far they followed what moved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0002"
down_revision: str | None = "attributes_0001"


def upgrade() -> None:
    op.add_column("a_row", sa.Column("handle", sa.LargeBinary))
    op.create_index("ix_a_subject_family", "a_subject", ["family"])
    op.create_index("ix_a_row_handle", "a_row", ["handle"])
    op.create_table(
        "a_moved",
        sa.Column(
            "project", sa.Integer, sa.ForeignKey("a_project.number"), primary_key=True, autoincrement=False
        ),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
