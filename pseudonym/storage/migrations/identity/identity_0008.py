"""The tables of extracts go: extracts of registers are sealed files of the linkage service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pseudonym.errors import StoreError

revision = "identity_0008"
down_revision = "identity_0007"


def upgrade() -> None:
    # A destroyed one left its name and no chunk.
    left = op.get_bind().execute(sa.text("SELECT count(*) FROM extract WHERE state <> 'destroyed'"))
    if left.scalar_one():
        raise StoreError(
            "The database holds extracts of registers, for which this version has no place.",
            "Run the program that made it until it has destroyed them, 31 days after they came at most.",
        )
    op.drop_table("extract_chunk")
    op.drop_table("extract")
