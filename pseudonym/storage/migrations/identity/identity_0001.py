"""The first tables of the identity role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0001"
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
        "subject",
        sa.Column("pid", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_day", sa.Integer, nullable=False),
        sa.Column("superseded_by", sa.LargeBinary, sa.ForeignKey("subject.pid")),
        sa.Column("seal", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subject_key",
        sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), primary_key=True),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity_row",
        sa.Column("row_id", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_day", sa.Integer, nullable=False),
        sa.Column("tags", sa.LargeBinary, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_identity_row_pid", "identity_row", ["pid"])
    op.create_table(
        "blind_index",
        sa.Column("field", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("tag", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("row_id", sa.LargeBinary, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blind_epoch",
        sa.Column("epoch", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "opening",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "extract",
        sa.Column("extract", sa.Text, primary_key=True),
        sa.Column("register", sa.Text, nullable=False),
        sa.Column("received_day", sa.Integer, nullable=False),
        sa.Column("destroy_day", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary),
    )
    op.create_table(
        "extract_chunk",
        sa.Column("extract", sa.Text, sa.ForeignKey("extract.extract"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
