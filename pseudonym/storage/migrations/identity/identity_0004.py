"""Who gave way to somebody is found without reading every person."""

from __future__ import annotations

from alembic import op

revision = "identity_0004"
down_revision = "identity_0003"


def upgrade() -> None:
    op.create_index("ix_subject_superseded_by", "subject", ["superseded_by"])
