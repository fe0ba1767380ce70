"""The first tables of the attributes role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "attributes_0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "store",
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("deletions", sa.BigInteger, nullable=False),
        sa.Column("purged", sa.BigInteger, nullable=False),
        sa.CheckConstraint("one = 1", name="store_has_one_row"),
    )
    op.create_table(
        "ledger",
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("one = 1", name="ledger_has_one_row"),
    )
    op.create_table(
        "a_project",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.SmallInteger, nullable=False),
        sa.Column("began_day", sa.Integer, nullable=False),
        sa.Column("ended_day", sa.Integer),
    )
    op.create_table(
        "a_dataset",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("declaration", sa.Text, nullable=False),
        sa.UniqueConstraint("project", "name"),
    )
    op.create_table(
        "a_subject",
        sa.Column("aid", sa.LargeBinary, primary_key=True),
        sa.Column("family", sa.LargeBinary),
        sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
        sa.Column("epoch", sa.SmallInteger, nullable=False),
        sa.Column("flags", sa.SmallInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_a_subject_project", "a_subject", ["project"])
    op.create_table(
        "a_key",
        sa.Column("aid", sa.LargeBinary, sa.ForeignKey("a_subject.aid"), primary_key=True),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_a_key_kid", "a_key", ["kid"])
    op.create_table(
        "a_row",
        sa.Column("row_id", sa.LargeBinary, primary_key=True),
        sa.Column("aid", sa.LargeBinary, sa.ForeignKey("a_subject.aid"), nullable=False),
        sa.Column("dataset", sa.Integer, sa.ForeignKey("a_dataset.number"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_a_row_aid", "a_row", ["aid"])
    op.create_table(
        "a_batch",
        sa.Column("batch_key", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
        sa.Column("batch_id", sa.Text, nullable=False),
        sa.Column("dataset", sa.Integer, sa.ForeignKey("a_dataset.number"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary),
        sa.UniqueConstraint("project", "batch_id"),
    )
    op.create_table(
        "a_half",
        sa.Column("row_ref", sa.LargeBinary, primary_key=True),
        sa.Column("batch_key", sa.LargeBinary, sa.ForeignKey("a_batch.batch_key"), nullable=False),
        sa.Column("ct", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_a_half_batch_key", "a_half", ["batch_key"])
