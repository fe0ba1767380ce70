"""Runs of registers that the National Data Opt-out concerns say what they were linked under."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "broker_0004"
down_revision: str | None = "broker_0003"


def upgrade() -> None:
    op.add_column("register_run", sa.Column("opt_out", sa.Text))
    op.add_column("register_run", sa.Column("opt_out_until", sa.BigInteger))
