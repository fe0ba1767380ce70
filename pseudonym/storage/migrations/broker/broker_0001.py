"""The first tables of the broker role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "broker_0001"
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
        "project",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.SmallInteger, nullable=False),
        sa.Column("began_day", sa.Integer, nullable=False),
        sa.Column("ended_day", sa.Integer),
    )
    op.create_table(
        "domain",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("epoch", sa.SmallInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("began_day", sa.Integer, nullable=False),
        sa.Column("ended_day", sa.Integer),
        sa.UniqueConstraint("project", "recipient", "epoch"),
    )
    op.create_table(
        "member",
        sa.Column("aid", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("cover", sa.LargeBinary, nullable=False),
        sa.Column("since_day", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_member_project", "member", ["project"])
    op.create_table(
        "half",
        sa.Column("row_ref", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("aid", sa.LargeBinary, sa.ForeignKey("member.aid"), nullable=False),
        sa.Column("family", sa.LargeBinary),
        sa.Column("received", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_half_aid", "half", ["aid"])
    op.create_index("ix_half_received", "half", ["project", "received"])
    op.create_table(
        "urn",
        sa.Column(
            "domain", sa.Integer, sa.ForeignKey("domain.number"), primary_key=True, autoincrement=False
        ),
        sa.Column("word", sa.Text, primary_key=True),
        sa.Column("cover", sa.LargeBinary),
        sa.Column("counter", sa.SmallInteger, nullable=False),
        sa.Column("issued_day", sa.Integer, nullable=False),
        sa.Column("erased_day", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "superseded",
        sa.Column("old_aid", sa.LargeBinary, primary_key=True),
        sa.Column("new_aid", sa.LargeBinary, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("change", sa.Text, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_superseded_day", "superseded", ["project", "day"])
    op.create_index("ix_superseded_new_aid", "superseded", ["new_aid"])
