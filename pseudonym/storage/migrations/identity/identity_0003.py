"""Keys of the folders in which the linkage service keeps submissions, jobs, references and models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0003"
down_revision = "identity_0002"


def upgrade() -> None:
    op.create_table(
        "folder_key",
        sa.Column("folder", sa.Text, primary_key=True),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
