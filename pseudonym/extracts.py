"""Extracts of registers: kept sealed while a linkage job needs them, then destroyed with their key.

    begin ──▶ write chunk 0, 1, 2 … ──▶ finish ──▶ read, for a purpose ──▶ destroy

The rules this module keeps (`docs/sealing.md` states the format):

- Each extract has a key of its own, which the keyset makes and destroys; no chunk can be read without it.
- A chunk opens in its own place only, and an extract only whole: chunks exchanged, missing or cut off at the
  end are noticed.
- An extract is to be destroyed 31 days after it came in, at the latest: see `due`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import polars as pl
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym.errors import ExtractError, InputError, SealBrokenError
from pseudonym.openings import Mandate, Openings
from pseudonym.seal import NONCE_BYTES, SCHEME
from pseudonym.storage import extracts as db
from pseudonym.storage.engine import Store
from pseudonym.urn import check_label, enc

LONGEST_DAYS = 31


class Extracts:
    """The extracts in the identity role's store.

    Args:
        store: the identity role's.
        openings: what every reading goes through.
    """

    def __init__(self, store: Store, openings: Openings) -> None:
        self._store = store
        self._openings = openings

    def begin(self, extract: str, register: str, days: int) -> None:
        """Begin an extract.

        Args:
            extract: its name, never used before; that of its key.
            register: where it comes from, such as `npd`.
            days: after which it is to be destroyed, 1 to 31.

        Raises:
            InputError: a name or the number of days is out of range.
            DuplicateError: there is, or was, an extract of this name.
        """
        check_label(extract, "job")
        check_label(register, "register")
        if not 1 <= days <= LONGEST_DAYS:
            raise InputError(f"An extract is kept for 1 to {LONGEST_DAYS} days.")
        today = self._store.today()
        with self._store.transaction() as connection:
            db.add(self._store, connection, extract, register, today, today + days)

    def chunks(self, extract: str) -> int:
        """How many chunks are on disk: the number of the one to write next, also after a crash."""
        with self._store.read() as connection:
            return db.size(connection, extract)[0]

    def write(self, extract: str, key: AESGCM, number: int, frame: pl.DataFrame) -> None:
        """Keep a chunk; once this returns it is on disk.

        Args:
            extract: one that was begun and is not finished.
            key: the extract's.
            number: from 0, without gaps.
            frame: its rows, of any columns; 5,000 to 50,000 are a good chunk.

        Raises:
            ExtractError: the extract is not open, or another chunk is next.
        """
        plain = io.BytesIO()
        frame.write_ipc_stream(plain)
        nonce = os.urandom(NONCE_BYTES)
        sealed = SCHEME + nonce + key.encrypt(nonce, plain.getvalue(), _chunk_place(extract, number))
        with self._store.transaction() as connection:
            self._require(connection, extract, "open")
            chunks, _ = db.size(connection, extract)
            if number != chunks:
                raise ExtractError(f"The next chunk of the extract is number {chunks}.", "Go on from there.")
            db.add_chunk(self._store, connection, extract, number, frame.height, sealed)

    def finish(self, extract: str, key: AESGCM) -> None:
        """Close an extract: from then on it can be read, and not be written.

        Raises:
            ExtractError: it is not open.
        """
        with self._store.transaction() as connection:
            self._require(connection, extract, "open")
            nonce = os.urandom(NONCE_BYTES)
            end = key.encrypt(nonce, b"", _end(extract, *db.size(connection, extract)))
            db.finish(connection, extract, SCHEME + nonce + end)

    def read(self, extract: str, key: AESGCM, mandate: Mandate) -> Iterator[pl.DataFrame]:
        """The chunks of a whole extract, in order.

        Raises:
            ExtractError: it is not whole, or was destroyed.
            SealBrokenError: a chunk was altered, exchanged or taken away, or the key is another's. Chunks
                before it have come out by then: use none of them.
            PurposeError, QuotaError: it may not be opened for this; a row counts as one identity.
        """
        with self._store.read() as connection:
            seal = self._require(connection, extract, "whole")
            chunks, rows = db.size(connection, extract)
        _open(key, seal, _end(extract, chunks, rows))
        self._openings.admit(mandate, "extract", rows)
        for number in range(chunks):
            with self._store.read() as connection:
                self._require(connection, extract, "whole")
                sealed = db.chunk(connection, extract, number)
            yield pl.read_ipc_stream(io.BytesIO(_open(key, sealed, _chunk_place(extract, number))))

    def destroy(self, extract: str, *, purge: bool = True) -> None:
        """Delete an extract's chunks; it may be repeated. Destroy its key in the keyset as well.

        Args:
            extract: its name.
            purge: rewrite the database's files afterwards (`Store.purge`). Without it, do so within the day.

        Raises:
            ExtractError: there never was one of this name.
        """
        with self._store.transaction() as connection:
            if db.one(connection, extract, lock=True) is None:
                raise _missing()
            db.destroy(self._store, connection, extract)
        if purge:
            self._store.purge_if_due()

    def due(self) -> list[str]:
        """The names of those whose time is over, and which are not destroyed yet."""
        with self._store.read() as connection:
            return db.due(connection, self._store.today())

    def _require(self, connection: db.Connection, extract: str, state: str) -> bytes | None:
        found = db.one(connection, extract, lock=state == "open")
        if found is None:
            raise _missing()
        if found.state != state:
            raise ExtractError(f"The extract is {found.state}, and has to be {state} for this.")
        return None if found.seal is None else bytes(found.seal)


def _missing() -> ExtractError:
    return ExtractError("There is no extract of this name.", "Begin it first.")


def _chunk_place(extract: str, number: int) -> bytes:
    return enc("extract/1", extract, number.to_bytes(4, "big"))


def _end(extract: str, chunks: int, rows: int) -> bytes:
    return enc("extract-end/1", extract, chunks.to_bytes(4, "big"), rows.to_bytes(8, "big"))


def _open(key: AESGCM, sealed: bytes | None, place: bytes) -> bytes:
    try:
        if sealed is None or sealed[:1] != SCHEME:
            raise InvalidTag
        body = 1 + NONCE_BYTES
        return key.decrypt(sealed[1:body], sealed[body:], place)
    except (InvalidTag, ValueError):
        raise SealBrokenError(
            "A part of the extract was altered, exchanged or taken away, or this is not its key.",
            "Nothing of it may be used; receive the extract again.",
        ) from None
