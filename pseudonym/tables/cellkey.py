"""Cell-key perturbation: the same people in a cell get the same noise, in whichever table they are counted.

The method is that of the Australian Bureau of Statistics (Thompson, Broadfoot, Elazar 2013) as ONS has it:
each record has a random key of 0 to 255, the keys of a cell's records add up modulo 256 to the cell key, and
a table says for each count and cell key what is added; it has counts up to 750, after which 501 to 750
repeat. A record's key is the first byte of a keyed hash of its internal id, under a key of the broker's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pseudonym.errors import InputError
from pseudonym.tables.rules import BASE, THRESHOLD

KEYS: Final = 256
LAST: Final = 750
REPEATED: Final = 250
COLUMNS: Final = ("pcv", "ckey", "pvalue")
_SHARES = {-2: 24, -1: 56, 0: 96, 1: 56, 2: 24}


@dataclass(frozen=True, slots=True, eq=False)
class PTable:
    """A perturbation table.

    Attributes:
        values: what is added, by count from 1 to 750 and cell key.
    """

    values: NDArray[np.int64]

    @classmethod
    def named(cls, name: str) -> Self:
        """A ready-made one: `plus-minus-2`, or `10-5`, which rounds as ONS's example table does.

        Raises:
            InputError: there is none of this name.
        """
        if name not in _MADE:
            raise InputError("There is no such perturbation table.", f"There are {', '.join(_MADE)}.")
        return cls(np.array([_MADE[name](count) for count in range(1, LAST + 1)], np.int64))

    @property
    def spread(self) -> int:
        """The largest noise on a count that is not suppressed."""
        return int(np.abs(self.values[THRESHOLD - 1 :]).max())

    def to_csv(self) -> str:
        """The table as ONS writes it: pcv, ckey, pvalue."""
        pcv, ckey = np.indices(self.values.shape)
        columns = (pcv.ravel() + 1, ckey.ravel(), self.values.ravel())
        return pl.DataFrame(dict(zip(COLUMNS, columns, strict=True))).write_csv()

    def noise(self, counts: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """What is added to counts.

        Args:
            counts: 0 or more.
            keys: the sum of the record keys of each cell.
        """
        row = np.where(counts > LAST, (counts - 1) % REPEATED + LAST - REPEATED + 1, counts)
        found: NDArray[np.int64] = np.where(counts > 0, self.values[np.maximum(row, 1) - 1, keys % KEYS], 0)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What a table is perturbed with.

    Attributes:
        table: the perturbation table.
        keys: gives units, by internal id, their record keys.
    """

    table: PTable
    keys: Callable[[pl.Series], pl.Series]

    @property
    def spread(self) -> int:
        """See `PTable.spread`."""
        return self.table.spread

    def of(self, counts: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `PTable.noise`."""
        return self.table.noise(counts, keys)


def record_key(digest: bytes) -> int:
    """A record's key from the keyed hash of its internal id."""
    return digest[0]


def _rounding(count: int) -> list[int]:
    """Rounded to five, and gone below ten."""
    rest = (count + BASE // 2) % BASE - BASE // 2
    return [-count if count < THRESHOLD else -rest] * KEYS


def _near(count: int) -> list[int]:
    """Noise of up to two either way, none in three of eight cells, and never below the threshold."""
    if count < THRESHOLD:
        return [-count] * KEYS
    drawn = [noise for noise, share in _SHARES.items() for _ in range(share)]
    # Cell keys are spread over the noise anew for each count, so that neighbours differ.
    turned = np.random.default_rng(count).permutation(drawn)
    return [max(int(noise), THRESHOLD - count) for noise in turned]


_MADE: Final = {"plus-minus-2": _near, "10-5": _rounding}
