"""A file in two halves: who people are, and what is known of them; no server process sees both.

    rows ──divide──┬─ identifiers + row_ref ──▶ identity role
                   └─ attributes + row_ref ──▶ attributes role

The rules this module keeps:

- A row's two halves share a random reference and nothing else: no column is in both.
- Each half is in an order of its own, so that the place of a row does not tell which the other one is.
- Every column goes somewhere: one that nobody has named is refused, and goes nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from pseudonym.errors import InputError

ROW_REF = "row_ref"
REF_BYTES = 16


@dataclass(frozen=True, eq=False)
class Halves:
    """What goes to whom; every column is text, `row_ref` the first.

    Attributes:
        identifiers: for the identity role.
        attributes: for the attributes role.
    """

    identifiers: pl.DataFrame
    attributes: pl.DataFrame

    def __repr__(self) -> str:
        return f"Halves(rows={self.identifiers.height})"


def divide(
    rows: pl.DataFrame,
    identifiers: Collection[str],
    attributes: Collection[str],
    draw: Callable[[int], bytes] = os.urandom,
) -> Halves:
    """Divide rows into the two halves, with a random reference for each row.

    The references are drawn anew at every call, unless told otherwise: keep the halves to send them again.

    Args:
        rows: columns of text.
        identifiers: the columns that say who people are.
        attributes: the columns that say what is known of them.
        draw: gives so many random bytes; nobody else may be able to foretell them.

    Raises:
        InputError: a column is in both, in neither, not there, or called `row_ref`.
    """
    told = [*identifiers, *attributes]
    if twice := sorted({name for name in told if told.count(name) > 1}):
        raise InputError(f"Columns go into one half, and once: {', '.join(twice)}.", "Name each once.")
    if missing := sorted(set(told) - set(rows.columns)):
        raise InputError(f"There is no column {', '.join(missing)}.", "Correct the name.")
    if left := sorted(set(rows.columns) - set(told)):
        raise InputError(
            f"Nobody has said what to do with {', '.join(left)}.",
            "Name each column as identifier or attribute, or leave it out of the rows.",
        )
    if ROW_REF in rows.columns:
        raise InputError(f"A column is called {ROW_REF}, which is made here.", "Give it another name.")
    refs = references(rows.height, draw)
    return Halves(*(_shuffled(rows.select(refs, *names), draw) for names in (identifiers, attributes)))


def divide_extract(
    records: pl.DataFrame, events: pl.DataFrame, key: str, draw: Callable[[int], bytes] = os.urandom
) -> Halves:
    """Put random references in the place of a register's own ids: a record has any number of events.

    Args:
        records: who people are: the column `key`, each id once, and columns of identifiers, all text.
        events: what is known of them: the column `key`, and columns of attributes, all text.
        key: the column with the register's id of a record, which goes nowhere.
        draw: as in `divide`: first the references of the records, in their order.

    Raises:
        InputError: an id is missing or there twice, an event is of no record, or a column is in both.
    """
    for name, frame in (("records", records), ("events", events)):
        if key not in frame.columns:
            raise InputError(f"The {name} have no column {key}.", "Name the column with the id of a record.")
        if ROW_REF in frame.columns:
            raise InputError(f"A column is called {ROW_REF}, which is made here.", "Give it another name.")
    if both := sorted(set(records.columns) & set(events.columns) - {key}):
        raise InputError(f"Columns go into one half, and once: {', '.join(both)}.", "Keep each in one.")
    if records[key].null_count() or records[key].is_duplicated().any():
        raise InputError(f"Column {key} of the records has an id twice, or none.", "Give each record one.")
    if strangers := events.join(records, on=key, how="anti").height:
        raise InputError(f"{strangers} events are of no record.", "Send both of one extract.")
    known = records.with_columns(references(records.height, draw))
    told = events.join(known.select(key, ROW_REF), on=key)
    who, what = (frame.drop(key).select(ROW_REF, pl.exclude(ROW_REF)) for frame in (known, told))
    # The rows of a record stand together, in the order of what is random.
    return Halves(_shuffled(who, draw), what.sort(ROW_REF, maintain_order=True))


def references(count: int, draw: Callable[[int], bytes]) -> pl.Series:
    """So many references, text, 32 hexadecimal digits: the first that `divide` and `divide_extract` draw."""
    octets = np.frombuffer(draw(REF_BYTES * count), dtype=f"V{REF_BYTES}")
    return pl.Series(ROW_REF, [one.tobytes() for one in octets], dtype=pl.Binary).bin.encode("hex")


def _shuffled(half: pl.DataFrame, draw: Callable[[int], bytes]) -> pl.DataFrame:
    # The references are random: their order is one that tells nothing, and another one for each half.
    keys = np.frombuffer(draw(8 * half.height), dtype=np.uint64)
    return half[np.argsort(keys, kind="stable")]
