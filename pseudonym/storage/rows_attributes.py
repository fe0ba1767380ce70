"""The attributes' tables, as `pseudonym.attributes` uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from pseudonym.errors import NotFoundError
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import AT_ONCE, Rows
from pseudonym.storage.schema_attributes import (
    BATCH,
    DATASET,
    HALF,
    KEY,
    LEDGER,
    LINK,
    MOVED,
    PROJECT,
    RELEASE,
    RELEASE_PART,
    RELEASE_PERSON,
    ROW,
    SUBJECT,
    TABLE,
)

_WRAPPED = ((KEY, "aid"), (BATCH, "batch_key"), (RELEASE, "release_key"), (TABLE, "table_key"))
"""Where keys lie that are wrapped under a key-encrypting key, and whose they are."""
_WRITING = 0x6B696E6D  # for PostgreSQL: one server at a time changes subjects, as on SQLite


class Subject(NamedTuple):
    """A person or family, with its wrapped key."""

    aid: bytes
    family: bytes | None
    project: int
    epoch: int
    flags: int
    seal: bytes
    kid: str
    wrapped: bytes


class Head(NamedTuple):
    """What identifies a row of a subject, and the family that it came in (None: it came in none)."""

    aid: bytes
    row_id: bytes
    dataset: int
    version: int
    handle: bytes | None = None
    family: bytes | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was received, with its wrapped key."""

    batch_key: bytes
    project: int
    dataset: int
    digest: bytes
    rows: int
    kid: str
    wrapped: bytes


class AttributeRows(Rows):
    """The attributes' database."""

    scattered = (SUBJECT, KEY, ROW, HALF, LINK)

    def __init__(self, store: Store) -> None:
        super().__init__(store, PROJECT, LEDGER)

    def alone(self, at: sa.Connection) -> None:
        """Let no other server change subjects until this transaction ends: a seal covers all rows."""
        if self.store.backend == "postgresql":
            at.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITING})")

    # --- datasets and batches ---------------------------------------------------------------------

    def declare(self, at: sa.Connection, project: int, name: str, declaration: str) -> None:
        """Put a declaration in the place of the one of the same name."""
        here = (DATASET.c.project == project) & (DATASET.c.name == name)
        if at.execute(sa.update(DATASET).where(here).values(declaration=declaration)).rowcount:
            return
        number = self.next_number(at, DATASET.c.number)
        values = {"number": number, "project": project, "name": name, "declaration": declaration}
        at.execute(sa.insert(DATASET).values(**values))

    def dataset(self, at: sa.Connection, project: int, name: str) -> tuple[int, str]:
        """A dataset's number and declaration.

        Raises:
            NotFoundError: none of this name is declared.
        """
        found = [one for one in self.datasets(at, project) if one[1] == name]
        if not found:
            raise NotFoundError("The project declares no such dataset.", "Declare it first.")
        return found[0][0], found[0][2]

    def datasets(self, at: sa.Connection, project: int) -> list[tuple[int, str, str]]:
        """Number, name and declaration of a project's datasets."""
        query = sa.select(DATASET.c.number, DATASET.c.name, DATASET.c.declaration)
        query = query.where(DATASET.c.project == project).order_by(DATASET.c.name)
        return [(row[0], row[1], row[2]) for row in at.execute(query)]

    def batch(self, at: sa.Connection, project: int, batch_id: str) -> Batch | None:
        """A batch by its sender's id."""
        query = sa.select(BATCH).where(BATCH.c.project == project, BATCH.c.batch_id == batch_id)
        row = at.execute(query).one_or_none()
        return _batch(row) if row else None

    def add_batch(self, at: sa.Connection, batch: Batch, batch_id: str) -> None:
        """Note that a batch was received."""
        values = {name: getattr(batch, name) for name in Batch.__slots__}
        at.execute(sa.insert(BATCH).values(**values, batch_id=batch_id, received=self.store.now()))

    def add_halves(
        self, at: sa.Connection, batch_key: bytes, refs: Sequence[bytes], cts: Sequence[bytes]
    ) -> None:
        """Keep sealed values until it is known whose they are.

        Raises:
            DuplicateError: a row_ref is there already.
        """
        rows = sorted(zip(refs, cts, strict=True))
        columns = {
            "row_ref": [ref for ref, _ in rows],
            "batch_key": [batch_key] * len(rows),
            "ct": [ct for _, ct in rows],
        }
        self.store.insert(at, HALF, columns)

    def halves(
        self, at: sa.Connection, project: int, refs: Sequence[bytes]
    ) -> tuple[dict[bytes, tuple[bytes, bytes | None]], dict[bytes, Batch]]:
        """What waits under row_refs of a project, as (batch key, sealed value or None), and the batches."""
        query = sa.select(HALF.c.row_ref, HALF.c.batch_key, HALF.c.ct)
        found = self.store.among(at, query, HALF.c.row_ref, refs)
        keys = list({row.batch_key for row in found})
        of = sa.select(BATCH).where(BATCH.c.project == project)
        batches = {row.batch_key: _batch(row) for row in self.store.among(at, of, BATCH.c.batch_key, keys)}
        here = {row.row_ref: (row.batch_key, row.ct) for row in found if row.batch_key in batches}
        return here, batches

    def arrived(self, at: sa.Connection, project: int, refs: Sequence[bytes]) -> dict[bytes, bool]:
        """Of row_refs of a project that are known, whether their values wait still; these are not read."""
        # The batches apart: joined, SQLite would look for every row_ref in each of them.
        waits = HALF.c.ct.is_not(None).label("waits")
        query = sa.select(HALF.c.row_ref, HALF.c.batch_key, waits)
        found = self.store.among(at, query, HALF.c.row_ref, refs)
        own = set(at.execute(sa.select(BATCH.c.batch_key).where(BATCH.c.project == project)).scalars())
        return {row.row_ref: bool(row.waits) for row in found if row.batch_key in own}

    def expecting(self, at: sa.Connection) -> list[int]:
        """The projects of which halves are here, whether they wait or were attached."""
        some = sa.exists().where(HALF.c.batch_key == BATCH.c.batch_key)
        return list(at.execute(sa.select(BATCH.c.project).where(some).distinct()).scalars())

    def attached(self, at: sa.Connection, refs: Sequence[bytes]) -> None:
        """Leave of halves only that they were attached, until the broker has forgotten them too."""
        self.store.update(at, HALF, ["row_ref"], {"row_ref": list(refs), "ct": [None] * len(refs)})

    def forget(self, at: sa.Connection, refs: Sequence[bytes]) -> int:
        """Forget row_refs that were attached."""
        self.store.purge_later(at)
        query = sa.select(HALF.c.row_ref).where(HALF.c.ct.is_(None))
        known = [row.row_ref for row in self.store.among(at, query, HALF.c.row_ref, refs)]
        return self.store.delete_among(at, HALF.c.row_ref, known)

    def waiting(self, at: sa.Connection) -> list[tuple[int, int, int]]:
        """Project, number of halves without their other half, and the moment of the oldest."""
        query = sa.select(BATCH.c.project, sa.func.count(), sa.func.min(BATCH.c.received))
        query = query.join(HALF, HALF.c.batch_key == BATCH.c.batch_key).where(HALF.c.ct.is_not(None))
        return [(row[0], row[1], row[2]) for row in at.execute(query.group_by(BATCH.c.project))]

    def drop_halves(self, at: sa.Connection, received_before: int) -> list[tuple[int, int]]:
        """Delete what is too old; project, and how many of it were never attached."""
        old = BATCH.c.received < received_before
        query = sa.select(BATCH.c.project, sa.func.count()).where(old, HALF.c.ct.is_not(None))
        query = query.join(HALF, HALF.c.batch_key == BATCH.c.batch_key).group_by(BATCH.c.project)
        found = [(row[0], row[1]) for row in at.execute(query)]
        gone = sa.delete(HALF).where(HALF.c.batch_key.in_(sa.select(BATCH.c.batch_key).where(old)))
        if at.execute(gone).rowcount:  # a purge rewrites the whole database: not for nothing, each day
            self.store.purge_later(at)
        return found

    # --- subjects ---------------------------------------------------------------------------------

    def subjects(self, at: sa.Connection, aids: Sequence[bytes]) -> dict[bytes, Subject]:
        """Those of the subjects that are there."""
        columns = (SUBJECT.c[name] for name in Subject._fields[:6])
        query = sa.select(*columns, KEY.c.kid, KEY.c.wrapped).join(KEY, KEY.c.aid == SUBJECT.c.aid)
        found = map(Subject._make, self.store.among(at, query, SUBJECT.c.aid, aids))
        return {subject.aid: subject for subject in found}

    def has(self, aids: Sequence[bytes]) -> bool:
        """Whether one of the subjects is there; read anew, also within `snapshot`."""
        with self.store.read() as at:
            return bool(self.subjects(at, aids))

    def flagged(self, at: sa.Connection, project: int) -> list[tuple[bytes, int, bytes]]:
        """The subjects of a project that have flags, by aid: aid, flags and seal."""
        query = sa.select(SUBJECT.c.aid, SUBJECT.c.flags, SUBJECT.c.seal)
        query = query.where(SUBJECT.c.project == project, SUBJECT.c.flags != 0).order_by(SUBJECT.c.aid)
        return [(bytes(aid), flags, bytes(seal)) for aid, flags, seal in at.execute(query)]

    def heads(self, at: sa.Connection, aids: Sequence[bytes], but: Sequence[int] = ()) -> list[Head]:
        """What rows the subjects have, of all datasets, or of all but some."""
        query = sa.select(*(ROW.c[name] for name in Head._fields))
        query = query.where(*(ROW.c.dataset != dataset for dataset in but))
        found = self.store.among(at, query, ROW.c.aid, aids)
        return list(map(Head._make, found))

    def sealed_rows(
        self, at: sa.Connection, aids: Sequence[bytes], datasets: Sequence[int] | None
    ) -> list[tuple[Head, bytes]]:
        """The subjects' rows of some datasets, or of all, sealed."""
        query = sa.select(*(ROW.c[name] for name in Head._fields), ROW.c.ct)
        if datasets is not None:
            query = query.where(sa.or_(*(ROW.c.dataset == dataset for dataset in datasets)))
        found = self.store.among(at, query, ROW.c.aid, aids)
        return [(Head._make(row[:-1]), row.ct) for row in found]

    def put_subjects(self, at: sa.Connection, subjects: Sequence[Subject], *, new: bool) -> None:
        """Add subjects with their keys, or change their family, flags and seal."""
        columns: dict[str, Sequence[Any]] = {
            name: [getattr(one, name) for one in subjects] for name in ("aid", "family", "flags", "seal")
        }
        if not new:
            self.store.update(at, SUBJECT, ["aid"], columns)
            return
        columns |= {name: [getattr(one, name) for one in subjects] for name in ("project", "epoch")}
        self.store.insert(at, SUBJECT, columns)
        keys = {name: [getattr(one, name) for one in subjects] for name in ("aid", "kid", "wrapped")}
        self.store.insert(at, KEY, keys)

    def add_rows(self, at: sa.Connection, heads: Sequence[Head], cts: Sequence[bytes]) -> None:
        """Add rows, in an order that tells nothing of when they came."""
        rows = sorted(zip(heads, cts, strict=True), key=lambda row: row[0].row_id)
        columns: dict[str, Sequence[Any]] = {
            name: [getattr(head, name) for head, _ in rows] for name in Head._fields
        }
        self.store.insert(at, ROW, {**columns, "ct": [ct for _, ct in rows]})

    def delete_rows(self, at: sa.Connection, row_ids: Sequence[bytes]) -> None:
        """Delete rows that others take the place of."""
        if row_ids:
            self.store.purge_later(at)
            self.store.delete_among(at, ROW.c.row_id, row_ids)

    def having(self, at: sa.Connection, handles: Sequence[bytes]) -> list[bytes]:
        """The subjects that have rows of these handles."""
        found = self.store.among(at, sa.select(ROW.c.aid), ROW.c.handle, handles)
        return list(dict.fromkeys(row.aid for row in found))

    def handles_under(self, at: sa.Connection, flag: int, handles: Sequence[bytes]) -> set[bytes]:
        """Those of the handles whose rows are of subjects with a flag."""
        query = sa.select(ROW.c.handle).join(SUBJECT, SUBJECT.c.aid == ROW.c.aid)
        query = query.where(SUBJECT.c.flags.op("&")(int(flag)) != 0)
        return {row.handle for row in self.store.among(at, query, ROW.c.handle, handles)}

    def in_families(self, at: sa.Connection, project: int, families: Sequence[bytes]) -> list[Subject]:
        """The subjects of a project that are in one of these families, or have a row that came in one."""
        aids = {
            row.aid
            for table in (SUBJECT, ROW)
            for row in self.store.among(at, sa.select(table.c.aid), table.c.family, families)
        }
        return [one for one in self.subjects(at, sorted(aids)).values() if one.project == project]

    def put_families(self, at: sa.Connection, heads: Sequence[Head]) -> None:
        """Put rows into the families that they name now."""
        columns: dict[str, Sequence[Any]] = {
            name: [getattr(head, name) for head in heads] for name in ("row_id", "family")
        }
        self.store.update(at, ROW, ["row_id"], columns)

    def moved(self, at: sa.Connection, project: int) -> int:
        """The number of the last of the broker's moves that a project has followed."""
        query = sa.select(MOVED.c.number).where(MOVED.c.project == project)
        return int(at.execute(query).scalar_one_or_none() or 0)

    def set_moved(self, at: sa.Connection, project: int, number: int) -> None:
        """Note how far a project has followed the broker's moves."""
        at.execute(sa.delete(MOVED).where(MOVED.c.project == project))
        at.execute(sa.insert(MOVED).values(project=project, number=number))

    def aid_pages(self, project: int | None = None, size: int = AT_ONCE) -> Iterator[list[bytes]]:
        """All aids of a project, or of all, by aid, at most `size` at a time."""
        whose = [SUBJECT.c.project == project] if project is not None else []
        return self._pages(SUBJECT.c.aid, *whose, size=size)

    def count(self, at: sa.Connection, project: int) -> int:
        """How many subjects a project has."""
        query = sa.select(sa.func.count()).select_from(SUBJECT).where(SUBJECT.c.project == project)
        return int(at.execute(query).scalar_one())

    # --- keys (`pseudonym.destruction.WrappedKeys`) ------------------------------------------------

    def keys_not_under(self, at: sa.Connection, kid: str, limit: int) -> list[tuple[str, bytes, str, bytes]]:
        """Table, subject, kid and wrapped key of some that are wrapped under another key."""
        found: list[tuple[str, bytes, str, bytes]] = []
        for table, name in _WRAPPED:
            column = table.c[name]
            query = sa.select(column, table.c.kid, table.c.wrapped).where(table.c.kid != kid)
            rows = at.execute(query.order_by(column).limit(limit - len(found)))
            found += [(table.name, row[0], row[1], row[2]) for row in rows]
        return found

    def put_keys(self, at: sa.Connection, kid: str, keys: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Table, subject and key, wrapped under `kid` from now on."""
        for table, name in _WRAPPED:
            some = [one for one in keys if one[0] == table.name]
            columns: dict[str, Sequence[Any]] = {
                name: [subject for _, subject, _ in some],
                "kid": [kid] * len(some),
                "wrapped": [wrapped for _, _, wrapped in some],
            }
            if some:
                self.store.purge_later(at)
                self.store.update(at, table, [name], columns)

    def kids(self, at: sa.Connection) -> dict[str, int]:
        """How many keys are wrapped under which."""
        counts: dict[str, int] = {}
        for table, _ in _WRAPPED:
            for row in at.execute(sa.select(table.c.kid, sa.func.count()).group_by(table.c.kid)):
                counts[row[0]] = counts.get(row[0], 0) + row[1]
        return counts

    # --- deleting ---------------------------------------------------------------------------------

    def delete_subjects(self, at: sa.Connection, aids: Sequence[bytes]) -> dict[str, int]:
        """Delete subjects with their keys and rows; counts by table."""
        self.store.purge_later(at)
        query = sa.select(ROW.c.handle).where(ROW.c.handle.is_not(None))
        handles = [row.handle for row in self.store.among(at, query, ROW.c.aid, aids)]
        self.store.delete_among(at, LINK.c.handle, handles)
        columns = (ROW.c.aid, KEY.c.aid, SUBJECT.c.aid)
        gone = {column.table.name: self.store.delete_among(at, column, aids) for column in columns}
        released = self.leave_releases(at, aids)
        return gone | ({RELEASE_PERSON.name: released} if released else {})

    def leave_releases(self, at: sa.Connection, aids: Sequence[bytes]) -> int:
        """Take people out of the releases that they are in, whose content goes: it is not given out any more.

        See `pseudonym.release.keeping`.
        """
        query = sa.select(RELEASE_PERSON.c.release_key)
        concerned = list({row.release_key for row in self.store.among(at, query, RELEASE_PERSON.c.aid, aids)})
        if concerned:
            self.store.purge_later(at)
            self.store.delete_among(at, RELEASE_PART.c.release_key, concerned)
        return self.store.delete_among(at, RELEASE_PERSON.c.aid, aids)

    def delete_intake(self, project: int) -> dict[str, int]:
        """Delete a project's batches and halves; counts by table."""
        with self.write() as at:
            self.store.purge_later(at)
            keys = sa.select(BATCH.c.batch_key).where(BATCH.c.project == project)
            halves = at.execute(sa.delete(HALF).where(HALF.c.batch_key.in_(keys))).rowcount
            batches = at.execute(sa.delete(BATCH).where(BATCH.c.project == project)).rowcount
        return {"a_half": halves, "a_batch": batches}

    def delete_datasets(self, at: sa.Connection, project: int) -> int:
        """Delete a project's declarations."""
        return at.execute(sa.delete(DATASET).where(DATASET.c.project == project)).rowcount


def _batch(row: sa.Row[Any]) -> Batch:
    return Batch(row.batch_key, row.project, row.dataset, row.digest, row.rows, row.kid, row.wrapped)
