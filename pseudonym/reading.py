"""Reading many reference numbers at once: a frame of those that read, and a frame of those that do not.

It reads exactly what `urn.read` reads and refuses with the same reasons. What does not read is told by its
row and reason, never by its value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pseudonym.errors import UrnCheckError, UrnKindError, UrnLengthError, UrnSymbolError
from pseudonym.symbols import LENGTH, VALUES, fitting, joined
from pseudonym.urn import SEPARATORS, Kind

REASONS = (UrnSymbolError.reason, UrnLengthError.reason, UrnCheckError.reason, UrnKindError.reason)
KINDS = pl.Enum([kind.value for kind in Kind])
_REFUSALS = pl.Enum(REASONS)
READ = pl.Schema([("row", pl.UInt32), ("kind", KINDS), ("epoch", pl.UInt8), ("urn", pl.String)])
REFUSED = pl.Schema([("row", pl.UInt32), ("reason", _REFUSALS), ("place", pl.UInt32)])

_SYMBOL, _LENGTH, _CHECK, _KIND = range(4)
_SEPARATOR, _FOREIGN = 32, 33
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What came of reading a column.

    Attributes:
        read: row (from 1), kind, epoch, urn (24 symbols, the form to store and compare), in row order.
        refused: row (from 1), reason (a reason code of `UrnError`), and place: for a character that no
            reference number holds, which it is, from 1 and separators not counted; otherwise null.
    """

    read: pl.DataFrame
    refused: pl.DataFrame

    def __repr__(self) -> str:
        return f"Readings(read={self.read.height}, refused={self.refused.height})"


def _codes() -> NDArray[np.uint8]:
    codes = np.full(256, _FOREIGN, dtype=np.uint8)
    for symbol, value in VALUES.items():
        codes[ord(symbol)] = value
    for separator in SEPARATORS:
        codes[ord(separator)] = _SEPARATOR
    return codes


_CODES = _codes()
_TAGS = {VALUES[kind.tag]: place for place, kind in enumerate(Kind)}


def read_all(texts: pl.Series | Iterable[str | None]) -> Readings:
    """Read a column of reference numbers as people write them; a null reads like an empty text.

    That one reads says that it was copied right, not that it was ever issued.
    """
    column = texts if isinstance(texts, pl.Series) else pl.Series(list(texts), dtype=pl.String)
    parts = [
        _read_part(column.slice(first, _CHUNK).fill_null(""), first)
        for first in range(0, len(column), _CHUNK)
    ]
    return Readings(
        pl.concat([READ.to_frame(), *(part.read for part in parts)]),
        pl.concat([REFUSED.to_frame(), *(part.refused for part in parts)]),
    )


def _read_part(texts: pl.Series, first: int) -> Readings:
    n = len(texts)
    sizes = texts.str.len_bytes().to_numpy()
    codes = _CODES[np.frombuffer(texts.str.join("").item().encode(), dtype=np.uint8)]
    rows = np.repeat(np.arange(n), sizes)
    counted = codes != _SEPARATOR
    if not counted.all():
        codes, rows = codes[counted], rows[counted]
    counts = np.bincount(rows, minlength=n)

    reason = np.full(n, -1, dtype=np.int8)
    reason[counts != LENGTH] = _LENGTH
    place = np.zeros(n, dtype=np.int64)
    # The first foreign character of a row: those before it are one byte each, so bytes count characters.
    foreign = np.flatnonzero(codes == _FOREIGN)
    strange, at = np.unique(rows[foreign], return_index=True)
    reason[strange] = _SYMBOL
    place[strange] = foreign[at] - (np.cumsum(counts) - counts)[strange] + 1

    whole = np.flatnonzero(reason < 0)
    values = codes[np.repeat(reason < 0, counts)].reshape(-1, LENGTH)
    reason[whole[~fitting(values)]] = _CHECK
    known = np.isin(values[:, 0], list(_TAGS)) & (values[:, 1] > 0)
    reason[whole[~known & (reason[whole] < 0)]] = _KIND

    good = reason[whole] < 0
    values = values[good]
    bad = np.flatnonzero(reason >= 0)
    return Readings(
        pl.DataFrame(
            {
                "row": whole[good] + first + 1,
                "kind": _named((values[:, 0] == VALUES[Kind.FAMILY.tag]).astype(np.uint8), KINDS),
                "epoch": values[:, 1],
                "urn": pl.Series(joined(values), dtype=pl.String),
            },
            schema=READ,
        ),
        pl.DataFrame(
            {
                "row": bad + first + 1,
                "reason": _named(reason[bad].astype(np.uint8), _REFUSALS),
                "place": pl.Series(place[bad]).replace(0, None),
            },
            schema=REFUSED,
        ),
    )


def _named(codes: NDArray[np.uint8], to: pl.Enum) -> pl.Series:
    return pl.Series(to.categories, dtype=to).gather(codes)
