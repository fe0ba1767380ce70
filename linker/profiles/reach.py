"""The highest weight that a pair can reach (R26): why one threshold for all registers is an error.

A register without names cannot weigh as much as one with names, however good the match. `reach` works it out
from a trained model; `before` says about what it will be, from how many people share a value of each kind and
how large the whole register is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from linker.model import Comparison, Model
from linker.profiles.profile import Profile
from linker.records import Kind

#: About how many values of a kind there are, as far as chance agreement goes: 1 / P(two people agree).
VARIETY = {
    Kind.FORENAME: 220.0, Kind.MIDDLE_NAME: 150.0, Kind.SURNAME: 1_500.0, Kind.DATE_OF_BIRTH: 20_000.0,
    Kind.SEX: 2.0, Kind.HOUSE: 80.0, Kind.ADDRESS_LINE: 30_000.0, Kind.TOWN: 500.0, Kind.POSTCODE: 1e6,
    Kind.UPRN: 25e6, Kind.NHS_NUMBER: 60e6, Kind.NINO: 50e6, Kind.UPN: 10e6, Kind.ULN: 30e6, Kind.PNCID: 12e6,
    Kind.CRO: 12e6, Kind.INITIALS: 223.0, Kind.PARTIAL_POSTCODE: 9_000.0, Kind.LOCAL_AUTHORITY: 100.0,
}  # fmt: skip
AGREEMENT = 0.95  # share of one person's pairs of values that agree, about


def reach(model: Model) -> tuple[float, Mapping[str, float]]:
    """The highest weight of a trained model, in bits, and what each comparison can give to it.

    Where a level is adjusted by term frequency the rarest value counts.
    """
    most = {one.name: _most(one, model) for one in model.comparisons}
    return model.prior_weight + sum(most.values()), most


def _most(comparison: Comparison, model: Model) -> float:
    best = 0.0
    for level in comparison.levels:
        weight = level.weight
        if level.tf is not None and level.tf in model.frequencies:
            base, rare = comparison.levels[level.tf_level].u, model.frequencies[level.tf].rare
            weight += level.tf_weight * math.log2((base or 1.0) / max(rare, level.tf_minimum))
        best = max(best, weight)
    return best


def before(profile: Profile, on: frozenset[str]) -> tuple[float, Mapping[str, float]]:
    """About the highest weight that the profile reaches in the whole register, and its parts, in bits."""
    used = profile.fields(on)
    gives = {
        name: math.log2(AGREEMENT * VARIETY[Kind(name)])
        for name in profile.compare
        if name in used and name in set(Kind) and Kind(name) in VARIETY
    }
    if "postcode" in gives:  # a street and a town say little that its postcode does not
        for name in ("town", "address_line"):
            gives.pop(name, None)
    return sum(gives.values()) - math.log2(profile.size), gives
