"""Who gave way to somebody is found without reading every person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0004"
down_revision = "identity_0003"


def upgrade() -> None:
    gave_way = sa.text("superseded_by IS NOT NULL")
    op.create_index(
        "ix_subject_superseded_by",
        "subject",
        ["superseded_by"],
        sqlite_where=gave_way,
        postgresql_where=gave_way,
    )
