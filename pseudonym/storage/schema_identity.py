"""The tables of the identity role: `docs/stores.md` says what each holds."""

from __future__ import annotations

import sqlalchemy as sa

from pseudonym.storage.common import ledger_table, store_table

REVISION = "identity_0008"
METADATA = sa.MetaData()

STORE = store_table(METADATA)
LEDGER = ledger_table(METADATA)
SUBJECT = sa.Table(
    "subject",
    METADATA,
    sa.Column("pid", sa.LargeBinary, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_day", sa.Integer, nullable=False),
    sa.Column("superseded_by", sa.LargeBinary, sa.ForeignKey("subject.pid")),
    sa.Column("seal", sa.LargeBinary),
    # The person's key; null, like the seal, once they are erased.
    sa.Column("kid", sa.Text),
    sa.Column("wrapped", sa.LargeBinary),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 50},  # the monthly re-wrap then finds room beside each row
)
_GAVE_WAY = SUBJECT.c.superseded_by.is_not(None)  # few, so the others are in no index
sa.Index(
    "ix_subject_superseded_by",
    SUBJECT.c.superseded_by,
    sqlite_where=_GAVE_WAY,
    postgresql_where=_GAVE_WAY,
)
IDENTITY_ROW = sa.Table(
    "identity_row",
    METADATA,
    sa.Column("row_id", sa.LargeBinary, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    # Of `subject`: no foreign key, which would be looked up for every row that comes. Whoever writes a row
    # writes its person in the same transaction, and without the person's key and seal it does not open.
    sa.Column("pid", sa.LargeBinary, nullable=False, index=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("received_day", sa.Integer, nullable=False),
    sa.Column("tags", sa.LargeBinary, nullable=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
)
BLIND_INDEX = sa.Table(
    "blind_index",
    METADATA,
    # One number of field, epoch and tag (`identity.entries`): three columns cost a quarter more to write.
    sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("row_id", sa.LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)
BLIND_EPOCH = sa.Table(
    "blind_epoch",
    METADATA,
    sa.Column("epoch", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
)
OPENING = sa.Table(
    "opening",
    METADATA,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("purpose", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
FOLDER_KEY = sa.Table(
    "folder_key",
    METADATA,
    sa.Column("folder", sa.Text, primary_key=True),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
REGISTER_KEY = sa.Table(
    "register_key",
    METADATA,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("kid", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
REGISTER_HEAD = sa.Table(
    "register_head",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
REGISTER_EVENT = sa.Table(
    "register_event",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
)
REGISTER_PLACE = sa.Table(
    "register_place",
    METADATA,
    sa.Column("tag", sa.LargeBinary, primary_key=True),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
REGISTER_PART = sa.Table(
    "register_part",
    METADATA,
    sa.Column("part", sa.LargeBinary, primary_key=True),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
OUTBOX = sa.Table(
    "outbox",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
)
RIGHTS_CASE = sa.Table(
    "rights_case",
    METADATA,
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False, index=True),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
RIGHTS_PERSON = sa.Table(
    "rights_person",
    METADATA,
    sa.Column("case_id", sa.Text, sa.ForeignKey("rights_case.case_id"), primary_key=True),
    sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)
RIGHTS_ANSWER = sa.Table(
    "rights_answer",
    METADATA,
    sa.Column("case_id", sa.Text, sa.ForeignKey("rights_case.case_id"), primary_key=True),
    sa.Column("half", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("ct", sa.LargeBinary, nullable=False),
)
RIGHTS_LIMIT = sa.Table(
    "rights_limit",
    METADATA,
    sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), primary_key=True),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
DISCLOSURE = sa.Table(
    "disclosure",
    METADATA,
    sa.Column("row_id", sa.LargeBinary, primary_key=True),
    sa.Column("pid", sa.LargeBinary, sa.ForeignKey("subject.pid"), nullable=False, index=True),
    sa.Column("ct", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
