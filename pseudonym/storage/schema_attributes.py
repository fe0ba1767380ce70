"""The tables of the attributes role: `docs/broker-and-attributes.md` says what each holds.

There is no column for a name, an address, a date of birth or an identifier, and none for text: what a
subject's row says is sealed in `ct`, and what it may say is declared in `a_dataset`.
"""

from __future__ import annotations

import sqlalchemy as sa

from pseudonym.storage.common import ledger_table, project_table, store_table

REVISION = "attributes_0008"
METADATA = sa.MetaData()

STORE = store_table(METADATA)
LEDGER = ledger_table(METADATA)
PROJECT = project_table(METADATA, "a_project")
DATASET = sa.Table(
    "a_dataset",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("declaration", sa.Text, nullable=False),
    sa.UniqueConstraint("project", "name"),
)
SUBJECT = sa.Table(
    "a_subject",
    METADATA,
    sa.Column("aid", sa.LargeBinary, primary_key=True),
    sa.Column("family", sa.LargeBinary, index=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False, index=True),
    sa.Column("epoch", sa.SmallInteger, nullable=False),
    sa.Column("flags", sa.SmallInteger, nullable=False),
    sa.Column("seal", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
KEY = sa.Table(
    "a_key",
    METADATA,
    sa.Column("aid", sa.LargeBinary, sa.ForeignKey("a_subject.aid"), primary_key=True),
    sa.Column("kid", sa.Text, nullable=False, index=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
ROW = sa.Table(
    "a_row",
    METADATA,
    sa.Column("row_id", sa.LargeBinary, primary_key=True),
    sa.Column("aid", sa.LargeBinary, sa.ForeignKey("a_subject.aid"), nullable=False),
    sa.Column("dataset", sa.Integer, sa.ForeignKey("a_dataset.number"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sa.Column("handle", sa.LargeBinary, index=True),
    sa.Column("family", sa.LargeBinary, index=True),
    # All that a subject's seal vouches for: it is looked at with every change, and the rows need not be read.
    sa.Index("ix_a_row_of", "aid", "dataset", "version", "handle", "row_id", "family"),
    sqlite_with_rowid=False,
)
BATCH = sa.Table(
    "a_batch",
    METADATA,
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
HALF = sa.Table(
    "a_half",
    METADATA,
    sa.Column("row_ref", sa.LargeBinary, primary_key=True),
    sa.Column("batch_key", sa.LargeBinary, sa.ForeignKey("a_batch.batch_key"), nullable=False, index=True),
    sa.Column("ct", sa.LargeBinary),
    sqlite_with_rowid=False,
)
MOVED = sa.Table(
    "a_moved",
    METADATA,
    sa.Column(
        "project", sa.Integer, sa.ForeignKey("a_project.number"), primary_key=True, autoincrement=False
    ),
    sa.Column("number", sa.BigInteger, nullable=False),
)
LINK = sa.Table(
    "a_link",
    METADATA,
    sa.Column("handle", sa.LargeBinary, primary_key=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
    sa.Column("register", sa.Text, nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Index("ix_a_link_run", "project", "register", "run"),
    sqlite_with_rowid=False,
)
OPT_OUT = sa.Table(
    "a_opt_out",
    METADATA,
    sa.Column(
        "project", sa.Integer, sa.ForeignKey("a_project.number"), primary_key=True, autoincrement=False
    ),
    sa.Column("register", sa.Text, primary_key=True),
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
RELEASE = sa.Table(
    "a_release",
    METADATA,
    sa.Column("release_key", sa.LargeBinary, primary_key=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("project", "name"),
)
RELEASE_PART = sa.Table(
    "a_release_part",
    METADATA,
    sa.Column("release_key", sa.LargeBinary, sa.ForeignKey("a_release.release_key"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
)
RELEASE_PERSON = sa.Table(
    "a_release_person",
    METADATA,
    sa.Column("release_key", sa.LargeBinary, sa.ForeignKey("a_release.release_key"), primary_key=True),
    sa.Column("aid", sa.LargeBinary, primary_key=True, index=True),
    sqlite_with_rowid=False,
)
TABLE = sa.Table(
    "a_table",
    METADATA,
    sa.Column("table_key", sa.LargeBinary, primary_key=True),
    sa.Column("project", sa.Integer, sa.ForeignKey("a_project.number"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("project", "name"),
)
