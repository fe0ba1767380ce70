"""Sealed rows and their entries in the blind index, as the vault and its register of persons write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pseudonym import columns
from pseudonym.blind import BlindIndex
from pseudonym.forms import slices
from pseudonym.keks import Keks
from pseudonym.limits import Limits
from pseudonym.openings import Openings
from pseudonym.sealed_register import SealedRegister
from pseudonym.storage import identity as db
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import At
from pseudonym.storage.schema_identity import BLIND_INDEX, IDENTITY_ROW
from pseudonym.subjects import Subjects


@dataclass(frozen=True, slots=True)
class Tools:
    """What a vault works with; with the keys, so it is shown to nobody.

    Attributes:
        store: the identity role's.
        keks: the present one wraps the keys of new people.
        subjects: reads people and checks them.
        rows: writes their rows.
        openings: what every opening goes through.
        register: persons and families that stay.
        limits: purposes that people's data are kept from.
    """

    store: Store
    keks: Keks
    subjects: Subjects
    rows: VaultRows
    openings: Openings
    register: SealedRegister
    limits: Limits

    def __repr__(self) -> str:
        return f"Tools({self.store!r})"


class VaultRows:
    """Rows of one store, entered in its blind index.

    The index has parts (`sealed_register.REALMS`) that nothing tells apart. The records of a person who is
    protected are entered in another part than before, so that no tag leads from the one to the other.

    Args:
        store: the identity role's.
        index: makes the tags that people are found by.
    """

    def __init__(self, store: Store, index: BlindIndex) -> None:
        self._store = store
        self._index = index

    def insert(
        self,
        at: At,
        source: str,
        day: int,
        row_ids: Sequence[bytes],
        versions: Sequence[int],
        pids: Sequence[bytes],
        sealed: Sequence[bytes],
        values: pl.DataFrame,
        realms: Sequence[int] | None = None,
    ) -> None:
        """Insert rows, and enter them in the index.

        Args:
            at: a transaction.
            source: where they come from.
            day: on which they came.
            row_ids: what they are called …
            versions: … and which version each is of.
            pids: whose they are.
            sealed: what they hold.
            values: what each row can be found by: row, field, value (`columns.found_by`).
            realms: in which part of the index; None: where everybody is.
        """
        notes = self.enter(at, values, pl.Series(row_ids, dtype=pl.Binary), realms)
        # Not in the order of the file that they came in: nobody is to be found by their neighbours.
        order = sorted(range(len(row_ids)), key=row_ids.__getitem__)
        self.put(
            at,
            source,
            day,
            [row_ids[place] for place in order],
            [versions[place] for place in order],
            [pids[place] for place in order],
            [sealed[place] for place in order],
            [notes[place] for place in order],
        )

    def put(
        self,
        at: At,
        source: str,
        day: int,
        row_ids: Sequence[bytes],
        versions: Sequence[int],
        pids: Sequence[bytes],
        sealed: Sequence[bytes],
        notes: Sequence[bytes],
    ) -> None:
        """Insert rows in their order; `notes` are what `enter` gave for them. The rest is as for `insert`."""
        count = len(row_ids)
        rows: dict[str, Sequence[Any]] = {
            "row_id": row_ids,
            "version": versions,
            "pid": pids,
            "source": [source] * count,
            "received_day": [day] * count,
            "tags": notes,
            "ct": sealed,
        }
        self._store.insert(at, IDENTITY_ROW, rows)

    def unindex(self, at: At, rows: Sequence[Any]) -> None:
        """Take rows of identity_row out of the index."""
        db.unindex(self._store, at, rows)
        keys: dict[str, list[Any]] = {
            "row_id": [row.row_id for row in rows],
            "version": [row.version for row in rows],
            "tags": [b""] * len(rows),
        }
        self._store.update(at, IDENTITY_ROW, ["row_id", "version"], keys)

    def reindex(
        self,
        at: At,
        rows: Sequence[Any],
        row_ids: Sequence[bytes],
        values: pl.DataFrame,
        realms: Sequence[int],
    ) -> None:
        """Enter rows of identity_row in other parts of the index, or under other ids.

        Args:
            at: a transaction.
            rows: as they were stored.
            row_ids: what they are called now.
            values: what each can be found by: row, field, value.
            realms: in which part each is from now on.
        """
        db.unindex(self._store, at, rows)
        noted = self.enter(at, values, pl.Series(row_ids, dtype=pl.Binary), realms)
        versions = [row.version for row in rows]
        keys: dict[str, Sequence[Any]] = {"row_id": row_ids, "version": versions, "tags": noted}
        self._store.update(at, IDENTITY_ROW, ["row_id", "version"], keys)

    def tagged(self, at: At, values: pl.DataFrame, realm: int) -> set[bytes]:
        """The ids of rows that may have one of the values (field, value) and be in a part of the index."""
        found: set[bytes] = set()
        for (field,), group in _in_realm(values, realm).group_by(["field"]):
            tags = np.unique(self._index.tags(str(field), group["value"].to_list()))
            entered = db.entries(columns.FIELDS[str(field)], self._index.epoch, tags).tolist()
            found.update(row.row_id for row in db.tagged(self._store, at, entered))
        return found

    def enter(
        self, at: At, values: pl.DataFrame, row_ids: pl.Series, realms: Sequence[int] | None = None
    ) -> list[bytes]:
        """Enter rows in the blind index, in its order; what each row notes of its entries."""
        made: list[np.ndarray[Any, Any]] = []
        places: list[np.ndarray[Any, Any]] = []
        if realms is not None and any(realms):
            realm = pl.Series(realms, dtype=pl.UInt8).gather(values["row"])
            values = pl.concat(_in_realm(values.filter(realm == one), one) for one in realm.unique())
        for field, number in columns.FIELDS.items():
            group = values.filter(pl.col("field") == field)
            tags = self._index.tags(field, group["value"].to_list())
            # Two values of one row may share a tag: each pair once.
            pairs = np.unique(tags.astype(np.int64) << 32 | group["row"].to_numpy())
            made.append(db.entries(number, self._index.epoch, pairs >> 32))
            places.append(pairs & 0xFFFFFFFF)
        entered, rows = np.concatenate(made), np.concatenate(places)
        for some in slices(len(rows)):
            index = {"entry": entered[some].tolist(), "row_id": row_ids.gather(rows[some]).to_list()}
            self._store.insert(at, BLIND_INDEX, index)
        octets = db.noted(entered[np.argsort(rows, kind="stable")])
        ends = (np.bincount(rows, minlength=len(row_ids)).cumsum() * db.ENTRY_BYTES).tolist()
        return [octets[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _in_realm(values: pl.DataFrame, realm: int) -> pl.DataFrame:
    """Values as they are entered in a part of the index: after a character that no value has."""
    return values.with_columns(value=pl.lit(chr(realm)) + pl.col("value")) if realm else values
