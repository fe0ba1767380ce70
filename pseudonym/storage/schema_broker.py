"""The tables of the broker role: `docs/broker-and-attributes.md` says what each holds.

Random ids, keyed hashes of them, labels of projects and recipients, counters and dates: nothing else has a
column here. What leads back lies covered (`pseudonym.cover`), and dies with its key.
"""

from __future__ import annotations

import sqlalchemy as sa

from pseudonym.storage.common import ledger_table, project_table, store_table

REVISION = "broker_0004"
METADATA = sa.MetaData()

STORE = store_table(METADATA)
LEDGER = ledger_table(METADATA)
PROJECT = project_table(METADATA, "project")
DOMAIN = sa.Table(
    "domain",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("epoch", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("began_day", sa.Integer, nullable=False),
    sa.Column("ended_day", sa.Integer),
    sa.UniqueConstraint("project", "recipient", "epoch"),
)
MEMBER = sa.Table(
    "member",
    METADATA,
    sa.Column("aid", sa.LargeBinary, primary_key=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("cover", sa.LargeBinary, nullable=False),
    sa.Column("since_day", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
HALF = sa.Table(
    "half",
    METADATA,
    sa.Column("row_ref", sa.LargeBinary, primary_key=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
    sa.Column("aid", sa.LargeBinary, sa.ForeignKey("member.aid"), nullable=False, index=True),
    sa.Column("family", sa.LargeBinary),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("handle", sa.LargeBinary, index=True),
    sa.Column("run", sa.Integer, index=True),
    sa.Column("outcome", sa.Text),
    sa.Index("ix_half_received", "project", "received"),
    sqlite_with_rowid=False,
)
REGISTER_RUN = sa.Table(
    "register_run",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
    sa.Column("register", sa.Text, nullable=False),
    sa.Column("run", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("began_day", sa.Integer, nullable=False),
    sa.Column("opt_out", sa.Text),
    sa.Column("opt_out_until", sa.BigInteger),
    sa.UniqueConstraint("project", "run"),
)
EXCHANGE = sa.Table(
    "exchange",
    METADATA,
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), primary_key=True, autoincrement=False),
    sa.Column("recipient", sa.Text, primary_key=True),
    sa.Column("end_day", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
STRAY = sa.Table(
    "stray",
    METADATA,
    sa.Column("row_ref", sa.LargeBinary, primary_key=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
URN = sa.Table(
    "urn",
    METADATA,
    sa.Column("domain", sa.Integer, sa.ForeignKey("domain.number"), primary_key=True, autoincrement=False),
    sa.Column("word", sa.Text, primary_key=True),
    sa.Column("cover", sa.LargeBinary),
    sa.Column("counter", sa.SmallInteger, nullable=False),
    sa.Column("issued_day", sa.Integer, nullable=False),
    sa.Column("erased_day", sa.Integer),
    sqlite_with_rowid=False,
)
SUPERSEDED = sa.Table(
    "superseded",
    METADATA,
    sa.Column("old_aid", sa.LargeBinary, primary_key=True),
    sa.Column("new_aid", sa.LargeBinary, primary_key=True, index=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("change", sa.Text, nullable=False),
    sa.Column("day", sa.Integer, nullable=False),
    sa.Index("ix_superseded_day", "project", "day"),
    sqlite_with_rowid=False,
)
MOVE = sa.Table(
    "move",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("project", sa.Integer, sa.ForeignKey("project.number"), nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("handle", sa.LargeBinary),
    sa.Column("old_aid", sa.LargeBinary, index=True),
    sa.Column("new_aid", sa.LargeBinary, index=True),
    sa.Index("ix_move_project", "project", "number"),
    sqlite_with_rowid=False,
)
