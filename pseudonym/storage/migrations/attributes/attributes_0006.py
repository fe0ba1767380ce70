"""Rows keep the family that they came in, so that who is in two families at once is known by the row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0006"
down_revision: str | None = "attributes_0005"


def upgrade() -> None:
    op.add_column("a_row", sa.Column("family", sa.LargeBinary))
    op.create_index("ix_a_row_family", "a_row", ["family"])
