"""What rows somebody has is read without the rows themselves."""

from __future__ import annotations

from alembic import op

revision = "attributes_0007"
down_revision: str | None = "attributes_0006"


def upgrade() -> None:
    op.drop_index("ix_a_row_aid", "a_row")
    op.create_index("ix_a_row_of", "a_row", ["aid", "dataset", "version", "handle", "row_id", "family"])
