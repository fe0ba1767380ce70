"""An entry of the blind index is one number of field, epoch and tag."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "identity_0007"
down_revision = "identity_0006"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE blind_index_before AS"
        " SELECT field * 1099511627776 + epoch * 4294967296 + tag AS entry, row_id FROM blind_index"
    )
    op.drop_table("blind_index")
    op.create_table(
        "blind_index",
        sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("row_id", sa.LargeBinary, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO blind_index (entry, row_id) SELECT entry, row_id FROM blind_index_before"
        " ORDER BY entry, row_id"
    )
    op.drop_table("blind_index_before")
