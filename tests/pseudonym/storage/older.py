"""A database of the identity role as the first version of its tables made it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from pseudonym.storage import Store, open_store, versions
from pseudonym.storage.schema import REVISIONS, Role
from pseudonym.storage.schema_identity import BLIND_INDEX, IDENTITY_ROW, SUBJECT

_KEY = ("kid", "wrapped")
_SUBJECT_KEY = sa.table("subject_key", *map(sa.column, ("pid", *_KEY)))
_INDEX = sa.table("blind_index", *map(sa.column, ("field", "epoch", "tag", "row_id")))


def make_older(url: str, now: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one at a URL, with the people of a database of today."""
    with now.read() as at:
        subjects, rows, entries = (
            [row._asdict() for row in at.execute(sa.select(table))]
            for table in (SUBJECT, IDENTITY_ROW, BLIND_INDEX)
        )
    keys = [{name: row[name] for name in ("pid", *_KEY)} for row in subjects if row["kid"] is not None]
    former = sa.table("subject", *(sa.column(one.name) for one in SUBJECT.columns if one.name not in _KEY))
    with monkeypatch.context() as patched:
        patched.setitem(REVISIONS, Role.IDENTITY, "identity_0001")
        patched.setattr(versions, "_keep_no_samples", lambda *_: None)  # it knows the tables of today
        with open_store(url, "identity") as older, older.transaction() as at:
            for table, content in (
                (former, [{column.name: row[column.name] for column in former.c} for row in subjects]),
                (_SUBJECT_KEY, keys),
                (IDENTITY_ROW, rows),
                (_INDEX, [_parted(**entry) for entry in entries]),
            ):
                at.execute(sa.insert(table), content)


def _parted(entry: int, row_id: bytes) -> dict[str, object]:
    """An entry of the index as it was before it was one number."""
    return {"field": entry >> 40, "epoch": entry >> 32 & 255, "tag": entry & 0xFFFFFFFF, "row_id": row_id}
