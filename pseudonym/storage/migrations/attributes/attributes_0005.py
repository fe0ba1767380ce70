"""Protected tables: what was counted and what may be read of it, sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0005"
down_revision: str | None = "attributes_0004"


def upgrade() -> None:
    op.create_table(
        "a_table",
        sa.Column("table_key", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("project", "name"),
    )
