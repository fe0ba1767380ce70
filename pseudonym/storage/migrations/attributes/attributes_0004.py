"""Releases: what was built for a recipient, sealed, and who is in it, to hold later ones against it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0004"
down_revision: str | None = "attributes_0003"


def upgrade() -> None:
    op.create_table(
        "a_release",
        sa.Column("release_key", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("project", "name"),
    )
    op.create_table(
        "a_release_part",
        sa.Column("release_key", sa.LargeBinary, sa.ForeignKey("a_release.release_key"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "a_release_person",
        sa.Column("release_key", sa.LargeBinary, sa.ForeignKey("a_release.release_key"), primary_key=True),
        sa.Column("aid", sa.LargeBinary, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_a_release_person_aid", "a_release_person", ["aid"])
