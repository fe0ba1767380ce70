"""People's rights: cases, whose they are, answers, purposes that somebody is kept from, and disclosures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0006"
down_revision = "identity_0005"


def upgrade() -> None:
    op.create_table(
        "rights_case",
        sa.Column("case_id", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False, index=True),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rights_person",
        sa.Column("case_id", sa.Text, sa.ForeignKey("rights_case.case_id"), primary_key=True),
        sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), primary_key=True, index=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rights_answer",
        sa.Column("case_id", sa.Text, sa.ForeignKey("rights_case.case_id"), primary_key=True),
        sa.Column("half", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("ct", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "rights_limit",
        sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), primary_key=True),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "disclosure",
        sa.Column("row_id", sa.LargeBinary, primary_key=True),
        sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), nullable=False, index=True),
        sa.Column("ct", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
