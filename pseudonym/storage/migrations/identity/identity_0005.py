"""A person's wrapped key stands with the person, and rows name theirs without a foreign key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0005"
down_revision = "identity_0004"

_ROW = "row_id, version, pid, source, received_day, tags, ct"


def upgrade() -> None:
    op.add_column("subject", sa.Column("kid", sa.Text))
    op.add_column("subject", sa.Column("wrapped", sa.LargeBinary))
    op.execute(
        "UPDATE subject SET kid = k.kid, wrapped = k.wrapped FROM subject_key k WHERE k.pid = subject.pid"
    )
    op.drop_table("subject_key")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE subject SET (fillfactor = 50)")
        op.drop_constraint("identity_row_pid_fkey", "identity_row", type_="foreignkey")
        return
    op.drop_index("ix_identity_row_pid", "identity_row")
    op.rename_table("identity_row", "identity_row_before")
    op.create_table(
        "identity_row",
        sa.Column("row_id", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("pid", sa.LargeBinary, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_day", sa.Integer, nullable=False),
        sa.Column("tags", sa.LargeBinary, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
    op.execute(
        f"INSERT INTO identity_row ({_ROW}) SELECT {_ROW} FROM identity_row_before ORDER BY row_id, version"
    )
    op.drop_table("identity_row_before")
    op.create_index("ix_identity_row_pid", "identity_row", ["pid"])
