"""What the truth knows of households and persons: arrays, a row each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.dates import YEAR
from benchmarks.draw import Flags, Ints

Reals = NDArray[np.float64]
UNCHANGED, ADOPTED, REASSIGNED, PROTECTED = range(4)
CHANGES = ("", "adoption", "gender", "protected")


@dataclass(frozen=True)
class Households:
    """One row a household of a block.

    Attributes:
        number: of the household. assessed: whether it is a family of the study.
        community: place in `names.COMMUNITIES`. kin: the household whose surname it has, mostly itself.
        together, separated: when parent and partner moved in and apart; NEVER.
        blended: the partner moved into the next household in number, as its new partner.
        between: its children live with both parents in turn once these are separated.
    """

    number: Ints
    assessed: Flags
    community: Ints
    kin: Ints
    together: Ints
    separated: Ints
    blended: Flags
    between: Flags


@dataclass(frozen=True)
class Persons:
    """One row a person, by household and place.

    Attributes:
        number: household · SLOTS + place. row: of `Households`. slot: the place.
        sex: place in `names.SEXES`. born, died: days.
        joined, left: when the person came to live in the household, and went.
        before, after: the households, real or not, of the time before and after.
        twin_of: the first of the twins, −1 for others. parent_1, parent_2: numbers or −1.
        junior: bears the forename of the partner, his father. care: went into care when he or she left.
        changed, change: day and kind (a place in `CHANGES`) of a protected change of identity.
    """

    number: Ints
    row: Ints
    slot: Ints
    sex: Ints
    born: Ints
    died: Ints
    joined: Ints
    left: Ints
    before: Ints
    after: Ints
    twin_of: Ints
    parent_1: Ints
    parent_2: Ints
    junior: Flags
    care: Flags
    changed: Ints
    change: Ints

    def __len__(self) -> int:
        return len(self.number)

    def age(self, on: Ints | int) -> Reals:
        """Years of age on a day."""
        years: Reals = (on - self.born) / YEAR
        return years
