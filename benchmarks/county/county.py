"""A county: its families and its other households by number, and what they draw their lives from.

    presets ─┐
    names ───┼─▶ County ─▶ families ─▶ naming ─▶ homes     who there is, under which name, and where
    draws ───┘                 └─▶ problems ─▶ contacts    what families need, and what registers hear of

A person's number is the household's times `SLOTS` and a place: 0 parent, 1 partner, 2–7 children, 8 elder,
9 new partner. All that is drawn depends on such numbers, so a block of households is made by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.county.presets import Preset
from benchmarks.dates import TODAY, day
from benchmarks.draw import Draws, Ints, Permutation
from benchmarks.identifiers import (
    CROS,
    NHS_NUMBERS,
    NINO_NEVER_ISSUED,
    NINO_PREFIXES,
    PRISON_NUMBERS,
    ULNS,
    UPNS,
)
from benchmarks.names import names
from benchmarks.people import Mixes
from benchmarks.places import Places

SLOTS = 10
PARENT, PARTNER, CHILDREN, ELDER, NEWCOMER = 0, 1, slice(2, 8), 8, 9
SINCE = day("2010-01-01")  # registers and addresses go back to here
NOW = int(TODAY.astype(np.int64))  # the second delivery and the registers' extracts
DELIVERIES = (NOW - 366, NOW)  # the councils' files
NEVER = day("2059-01-01")
OTHERS = 3.2  # other households a family
BLOCK = 8192  # families of a block, an even number: cousins are next to one another
HOSTELS = 40


class Block(NamedTuple):
    """Some households.

    Attributes:
        household: their numbers.
        families: how many of them, at the beginning, are families of the study.
        elsewhere: whether they live elsewhere in the country: registers alone know them.
    """

    household: Ints
    families: int
    elsewhere: bool = False


class County:
    """Where a county's people come from.

    Attributes:
        families: households 0 … families − 1 are those a council assessed. here: households of the county.
            households: with those elsewhere in the country, whose numbers come last.
        preset: how well the files are kept.
        draws, names, places, mixes: chance, the vocabularies, and who lives where.
        prefixes: of NINOs.
    """

    def __init__(
        self,
        families: int,
        seed: int,
        preset: Preset,
        others: float = OTHERS,
        issued_ninos: bool = False,
        elsewhere: float = 0.0,
    ) -> None:
        """Lay out a county; nobody is made yet.

        Args:
            families: households that councils assessed.
            seed: everything else follows from it.
            preset: how well the files are kept.
            others: other households for each of them.
            issued_ninos: whether NINOs have prefixes in use, so that checks of a prefix let them pass.
            elsewhere: households elsewhere in the country for each of them, whom registers hold besides.

        Raises:
            ValueError: no family, fewer than no others, or more people than there are NHS numbers to give.
        """
        if families < 1 or others < 0 or elsewhere < 0:
            raise ValueError(
                "A county needs at least one family, and no fewer than 0 other households for each."
            )
        self.families, self.here = families, families + round(families * others)
        self.households = self.here + round(families * elsewhere)
        self.span = self.households * SLOTS
        if 2 * self.span > NHS_NUMBERS:
            raise ValueError(
                f"At most {NHS_NUMBERS // (2 * SLOTS):,} households, families and others together."
            )
        self.preset, self.draws, self.names = preset, Draws(seed), names()
        self.places = Places(self.households, self.draws)
        self.mixes = Mixes(self.places, self.draws)
        self.prefixes = NINO_PREFIXES if issued_ninos else NINO_NEVER_ISSUED
        self._permutations = {
            what: Permutation(many, self.draws, what)
            for what, many in (
                ("dwelling", self.places.count), ("nhs", NHS_NUMBERS), ("nino", len(self.prefixes) * 10**6),
                ("upn", UPNS), ("uln", ULNS), ("pncid", self.span), ("cro", CROS), ("prison", PRISON_NUMBERS),
            )
        }  # fmt: skip

    def place(self, what: str, number: Ints) -> Ints:
        """A place in the list of all `what`, another one for each number."""
        return self._permutations[what].to(number)

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """All households, the others spread evenly over the blocks of families; those elsewhere last."""
        others, many = self.here - self.families, -(-self.families // size)
        for turn in range(many):
            own = np.arange(turn * size, min(self.families, (turn + 1) * size), dtype=np.int64)
            bounds = [self.families + others * at // many for at in (turn, turn + 1)]
            yield Block(np.concatenate([own, np.arange(*bounds, dtype=np.int64)]), len(own))
        for start in range(self.here, self.households, 4 * size):
            stop = min(self.households, start + 4 * size)
            yield Block(np.arange(start, stop, dtype=np.int64), 0, elsewhere=True)
