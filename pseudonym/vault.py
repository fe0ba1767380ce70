"""The vault: who people are, sealed, and found again without being kept in the clear.

    people ──add, revise──▶ sealed rows + blind index ──find, open──▶ identities, for a purpose
                                       └──rewrap (each month), erase──▶ nothing that old copies open

The rules this module keeps:

- Each person has a random id (pid) and a key of their own; every row is sealed under it, bound to its place.
- Each version of a row is kept, and what the store says of a person (state, versions, sources) is vouched for
  under the person's key: a row or state exchanged, rolled back, added or taken away is noticed on opening.
- Nothing is opened without a mandate, a quota and an entry in the audit log (`pseudonym.openings`).
- Whatever a method has returned from is on disk; after a crash each batch is there whole or not at all.

Danger: a whole store put back to an earlier state looks like one. What was rewrapped since cannot be opened
then, and the audit log's checkpoints show the gap; erasures must be replayed (`erase` may be repeated).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl

from pseudonym import columns, seal
from pseudonym.blind import BlindIndex
from pseudonym.errors import InputError, KeyMissingError, SealBrokenError, SubjectMissingError
from pseudonym.keks import Keks
from pseudonym.limits import Limits
from pseudonym.openings import EACH, Mandate, Openings
from pseudonym.persons import random_ids
from pseudonym.rewrapping import Rewrapping
from pseudonym.sealed_register import SealedRegister
from pseudonym.storage import identity as db
from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import SUBJECT
from pseudonym.subjects import LIVING, STORE, Held, Place, State, Subjects, new_statements, opened, places_of
from pseudonym.urn import ID_BYTES, Kind
from pseudonym.vault_rows import Tools, VaultRows

__all__ = ["Mandate", "Openings", "State", "Vault"]

_OPENABLE = frozenset({State.ACTIVE})


class Vault:
    """The identity role's store, with the keys to it. Its methods may be called from any thread.

    Args:
        store: the identity role's.
        keks: the KEK that wraps the keys of new people, and those under which keys are still wrapped.
        index: makes the tags that people are found by.
        openings: what every opening goes through.

    Raises:
        StoreError: the blind index was begun with another key or another length of tags.
    """

    def __init__(self, store: Store, *, keks: Keks, index: BlindIndex, openings: Openings) -> None:
        self._store = store
        self._keks = keks
        self._subjects = Subjects(store, keks)
        self._rows = VaultRows(store, index)
        self._openings = openings
        self._register = SealedRegister(store, keks, self._subjects)
        self._rewrapping = Rewrapping(store, self._subjects, keks)
        limits = Limits(store, self._subjects)
        self.tools = Tools(store, keks, self._subjects, self._rows, openings, self._register, limits)
        db.check_index(store, index.epoch, index.fingerprint())

    def add(
        self,
        people: pl.DataFrame,
        source: str,
        *,
        pids: Sequence[bytes] | None = None,
        kind: Kind = Kind.PERSON,
    ) -> list[bytes]:
        """Take in new people, each with one row of one source: one batch, one transaction.

        Args:
            people: columns of `records.SCHEMA`; the more rows, the less each costs: 50,000 are a good batch.
            source: where the rows come from; in the clear in the store.
            pids: their ids, 16 random bytes each, or None to make them. With ids of the caller's own a batch
                can be sent again after a crash: `states` says whether it is there.
            kind: person or family.

        Returns:
            Their ids, in the order of the rows. All of it is on disk.

        Raises:
            InputError: a value may not be in an identity, or an id has not the right form.
            DuplicateError: one of the ids is there already; nothing was added.
        """
        count = people.height
        pids = random_ids(count) if pids is None else list(pids)
        if len(pids) != count or not {len(pid) for pid in pids} <= {ID_BYTES}:
            raise InputError(f"Each person has an id of {ID_BYTES} bytes.")
        payloads, values = columns.payloads_and_values(people)
        today = self._store.today()
        deks, row_ids = seal.new_deks(count), _row_ids(count)
        ready = seal.ciphers(deks)
        sealed = seal.seal_rows(ready, STORE, pids, row_ids, [1] * count, payloads.to_list())
        said = new_statements(pids, row_ids, kind.value, today, source)
        subjects: dict[str, list[Any]] = {
            "pid": pids,
            "kind": [kind.value] * count,
            "state": [State.ACTIVE.value] * count,
            "version": [1] * count,
            "created_day": [today] * count,
            "seal": seal.witness(ready, said),
        }
        # Rows go in by the order of their keys, so that neighbours in the tree are written together.
        order = sorted(range(count), key=pids.__getitem__)
        with self._store.transaction() as connection:
            db.wrapping(self._store, connection)
            kek = self._keks.current
            subjects |= {"kid": [kek.kid] * count, "wrapped": kek.wrap_all(deks, pids)}
            self._store.insert(connection, SUBJECT, _ordered(subjects, order))
            self._rows.insert(connection, source, today, row_ids, [1] * count, pids, sealed, values)
        return pids

    def revise(self, pids: Sequence[bytes], people: pl.DataFrame, source: str) -> None:
        """Write what a source now says of people: a new version of its row, or its first one.

        Earlier versions stay, sealed. People are found by what the newest version of each row holds, former
        values and aliases in it included, and no longer by what only an earlier one held.

        Args:
            pids: of different people; they may be restricted, but not erased.
            people: their identities in the same order, columns of `records.SCHEMA`.
            source: where they come from.

        Raises:
            SubjectMissingError: one is unknown or erased; nothing was written.
            SealBrokenError: what the store has of one was tampered with; nothing was written.
            InputError: a value may not be in an identity, or an id comes twice.
        """
        if len(pids) != people.height:
            raise InputError("There is one identity for each person.")
        payloads, values = columns.payloads_and_values(people)
        today = self._store.today()
        with self._store.transaction() as connection:
            found = self._subjects.held(connection, pids, LIVING, lock=True)
            held = [found[pid] for pid in pids]
            places = [
                _next_place(each, source, today, row_id)
                for each, row_id in zip(held, _row_ids(len(pids)), strict=True)
            ]
            row_ids, versions = [place.row_id for place in places], [place.version for place in places]
            deks = [each.dek for each in held]
            sealed = seal.seal_rows(deks, STORE, pids, row_ids, versions, payloads.to_list())
            numbers = [each.subject.version + 1 for each in held]
            statements = [
                each.statement({"version": number}, [place])
                for each, number, place in zip(held, numbers, places, strict=True)
            ]
            changed = {"pid": list(pids), "version": numbers, "seal": seal.witness(deks, statements)}
            self._store.update(connection, SUBJECT, ["pid"], changed)
            self._unindex(connection, held, places)
            found_in = self._register.realms(connection, pids)
            realms = [found_in.get(pid, 0) for pid in pids]
            self._rows.insert(connection, source, today, row_ids, versions, pids, sealed, values, realms)

    def open(
        self,
        pids: Sequence[bytes],
        mandate: Mandate,
        *,
        states: Collection[State] = _OPENABLE,
        history: bool = False,
    ) -> pl.DataFrame:
        """Open the identities of people.

        Args:
            pids: whose, each once.
            mandate: who asks, and why.
            states: in which states they may be; by default nobody who is restricted or has objected.
            history: every version of their rows, not only the newest.

        Returns:
            A frame of columns pid, row_id, version, source, received_day and those of `records.SCHEMA`; a row
            for each row of a person, in the order of `pids`.

        Raises:
            SubjectMissingError: one is unknown, or in another state; nothing was opened.
            SealBrokenError: what the store has of one was tampered with; nothing was opened.
            PurposeError, QuotaError: it may not be opened for this.
        """
        self._openings.admit(mandate, "open", len(pids), self.references(pids))
        with self._store.read() as connection:
            held = self._subjects.held(connection, pids, {*states, State.LIMITED})
            if len(self._in_states(connection, pids, states, mandate.purpose)) != len(pids):
                raise SubjectMissingError(
                    "People may not be opened for this purpose.",
                    "They asked for their data not to be used so.",
                )
        wanted = [
            (held[pid].dek, row)
            for pid in pids
            for row in (held[pid].rows if history else held[pid].newest())
        ]
        return places_of([row for _, row in wanted]).hstack(opened(wanted))

    def find(
        self,
        sought: pl.DataFrame,
        mandate: Mandate,
        *,
        fields: Collection[str] = columns.FIELDS,
        states: Collection[State] = _OPENABLE,
    ) -> pl.DataFrame:
        """Find people by NHS number, NINO, UPN, or by surname or postcode together with the date of birth.

        The index only narrows down: candidates are opened, counted as opened, and compared.

        Args:
            sought: a row for each search, with any columns of `records.SCHEMA`; each is searched for by every
                field that it has the values for.
            mandate: who asks, and why.
            fields: which of `columns.FIELDS` to search by.
            states: in which states those found may be.

        Returns:
            Columns row (of `sought`), field, pid, row_id: one row for each agreement, in this order.

        Raises:
            InputError: a field is unknown, or a value may not be in an identity.
            SealBrokenError: what the store has of a candidate was tampered with; nothing was found.
            PurposeError, QuotaError: it may not be opened for this.
        """
        if not set(fields) <= set(columns.FIELDS):
            raise InputError("A field to search by is unknown.", f"They are {', '.join(columns.FIELDS)}.")
        self._openings.check(mandate)
        values = columns.found_by(sought).filter(pl.col("field").is_in(list(fields)))
        with self._store.read() as connection:
            candidates, owners = self._candidates(connection, values)
            allowed = sorted(self._in_states(connection, set(owners.values()), states, mandate.purpose))
        self._openings.admit(mandate, "find", max(len(allowed), sought.height), self.references(allowed))
        with self._store.read() as connection:
            # Somebody may have been erased meanwhile.
            still = sorted(self._in_states(connection, allowed, states, mandate.purpose))
            held = self._subjects.held(connection, still, {*states, State.LIMITED})
        wanted = [
            (each.dek, row) for each in held.values() for row in each.newest() if row.row_id in candidates
        ]
        places = places_of([row for _, row in wanted]).select("pid", "row_id").with_row_index("candidate")
        theirs = columns.found_by(opened(wanted)).rename({"row": "candidate"})
        agreed = values.join(theirs, on=["field", "value"]).join(places, on="candidate")
        return agreed.select("row", "field", "pid", "row_id").unique().sort("row", "field", "pid", "row_id")

    def references(self, pids: Sequence[bytes]) -> list[bytes]:
        """What the audit log calls people: 32 bytes for each who is known and not erased.

        Nobody can make them again once the person is erased, or the key is destroyed that theirs was under.

        Args:
            pids: of different people.

        Returns:
            In the order of `pids`; nothing at all for more than `openings.EACH`.
        """
        if len(pids) > EACH:
            return []
        with self._store.read() as connection:
            rows = db.keys(self._store, connection, pids)
        # A key that was tampered with, or is dead, is said where the person is opened.
        deks: dict[bytes, bytes] = {}
        for row in rows:
            with suppress(SealBrokenError, KeyMissingError):
                deks.update(self._subjects.deks([row]))
        known = [pid for pid in pids if pid in deks]
        return seal.references([deks[pid] for pid in known], known)

    def states(self, pids: Sequence[bytes]) -> dict[bytes, State]:
        """The states of those people who are known; others are missing from the answer."""
        with self._store.read() as connection:
            return {row.pid: State(row.state) for row in db.subjects(self._store, connection, pids)}

    def all_ids(self, pids: Sequence[bytes]) -> list[bytes]:
        """These ids and every other of the same people: those that gave way to them, and so on, sorted."""
        found, new = set(pids), set(pids)
        with self._store.read() as connection:
            while new:
                new = db.given_way(self._store, connection, sorted(new)) - found
                found |= new
        return sorted(found)

    def set_state(self, pids: Sequence[bytes], state: State) -> None:
        """Restrict people's identities, note an objection, or lift either.

        Raises:
            InputError: the state is `erased`: see `erase`.
            SubjectMissingError: one is unknown or erased; nothing was changed.
        """
        if state is State.ERASED:
            raise InputError("People are erased with erase.")
        self._change(pids, {"state": state.value})

    def supersede(self, pid: bytes, by: bytes | None) -> None:
        """Note that a person turned out to be another, or, with None, that they did not.

        Raises:
            SubjectMissingError: either is unknown or erased; nothing was changed.
        """
        with self._store.read() as connection:
            if by is not None:
                self._subjects.held(connection, [by], LIVING)
        self._change([pid], {"superseded_by": by})

    def erase(self, pids: Sequence[bytes], *, purge: bool = True) -> int:
        """Erase people: index, rows and key go; that an id was theirs stays, so that it is never used again.

        It may be repeated, and asks for no opening: replaying it after a restore is safe. In a store with a
        register of persons people are erased with `People.erase`, which does this too.

        Args:
            pids: whose; ids that are unknown are passed over.
            purge: rewrite the database's files afterwards (`Store.purge`). Without it, do so within the day.

        Returns:
            How many of them were known. All of it is on disk.

        Raises:
            InputError: the store has a register of persons, which would still know them. Nobody was erased.
        """
        with self._store.transaction() as connection:
            if self._register.begun(connection):
                raise InputError("The store has a register of persons.", "Erase them with People.erase.")
            known = [row.pid for row in db.subjects(self._store, connection, pids, lock=True)]
            gone = db.forget(self._store, connection, known)
        if purge:
            self._store.purge_if_due()
        return gone

    def rewrap(self, batch: int = 20_000) -> int:
        """Wrap the next keys under the present KEK that are still under another: see `Rewrapping.step`."""
        return self._rewrapping.step(batch)

    def wrapped_under(self) -> dict[str, int]:
        """How many keys are wrapped under each KEK, by its id; the older ones are destroyed once at none.

        Whoever is wrapping keys is waited for, so that an older KEK at none stays at none.
        """
        with self._store.transaction() as connection:
            db.wrapped(self._store, connection)
            return db.keys_by_kid(connection)

    def _in_states(
        self, connection: db.Connection, pids: Collection[bytes], states: Collection[State], purpose: str
    ) -> set[bytes]:
        """Those in one of the states, and those who are kept from other purposes than this one."""
        found = db.subjects(self._store, connection, sorted(pids))
        named = {row.pid for row in found if row.state in states}
        limited = [row.pid for row in found if row.state == State.LIMITED and row.pid not in named]
        return named | self.tools.limits.usable(connection, limited, purpose)

    def _change(self, pids: Sequence[bytes], changes: dict[str, Any]) -> None:
        with self._store.transaction() as connection:
            self._subjects.change(connection, pids, changes)

    def _candidates(
        self, connection: db.Connection, values: pl.DataFrame
    ) -> tuple[set[bytes], dict[bytes, bytes]]:
        """Rows that may have one of the values, and whose they are."""
        found: set[bytes] = set()
        owners: dict[bytes, bytes] = {}
        for realm in self._register.parts_of_index(connection):
            tagged = self._rows.tagged(connection, values, realm)
            theirs = db.pids_of(self._store, connection, sorted(tagged))
            realms = self._register.realms(connection, sorted(set(theirs.values())))
            here = {row_id for row_id in tagged if realms.get(theirs[row_id], 0) == realm}
            found |= here
            owners.update({row_id: theirs[row_id] for row_id in here})
        return found, owners

    def _unindex(self, connection: db.Connection, held: list[Held], places: list[Place]) -> None:
        """Take the versions before new ones out of the index."""
        earlier = {(place.row_id, place.version - 1) for place in places}
        self._rows.unindex(
            connection, [row for each in held for row in each.rows if (row.row_id, row.version) in earlier]
        )


def _row_ids(count: int) -> list[bytes]:
    """Ids that never come again; those of one batch lie beside one another in the index.

    Their numbers are shuffled: no order of ids or rows tells the order of the file that people came in.
    """
    start = os.urandom(10)
    numbers = np.frombuffer(os.urandom(8 * count), np.uint64).argsort().tolist()
    return [start + number.to_bytes(6, "big") for number in numbers]


def _next_place(held: Held, source: str, today: int, row_id: bytes) -> Place:
    """Where a source's next row goes: after the versions it has of it, or to an id of its own."""
    last = max((row for row in held.rows if row.source == source), key=lambda row: row.version, default=None)
    if last is None:
        return Place(row_id, 1, today, source)
    return Place(last.row_id, last.version + 1, today, source)


def _ordered(values: dict[str, list[Any]], order: list[int]) -> dict[str, list[Any]]:
    return {name: [column[i] for i in order] for name, column in values.items()}
