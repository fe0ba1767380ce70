"""The model by which one asks whether a person is on a list: fixed, since a few questions train nothing.

The chances are those of people in England, not of any list: m as `linker.defaults` expects it, u as names and
birthdays spread. What differs from a linkage between registers:

- The prior follows the length of the list: who is one of a million is harder to tell than who is one of
  ten. A list is never taken to be shorter than a thousand, or twins and cousins would pass.
- A forename that is not alike speaks strongly against: twins share everything else. Only an equal National
  Insurance number outweighs it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from linker.defaults import default_comparisons
from linker.model import BlockingRule, Comparison, Level, Model
from linker.records import Field, Kind

NEEDED = (Kind.FORENAME, Kind.SURNAME, Kind.DATE_OF_BIRTH)
THRESHOLD = 6.63
"""Bits from which a pair is one person: 99 in a hundred."""
LEAD = 5.0
"""Bits by which the best of several must lead, or it is not known which of them is meant."""

_SHORTEST = 1_000
_SHARE = 0.5  # of those asked about: as many are on the list, for all that is known before
# By comparison and level: the chance among different people, and of one person where it is not the default.
_CHANCES: dict[str, dict[str, tuple[float, float | None]]] = {
    "forename": {
        "exact": (0.006, None),
        "same letters or other spelling of accents": (0.0005, None),
        "same first name, or nickname": (0.012, None),
        "nearly the same": (0.004, None),
        "one is the initial": (0.02, None),
        "swapped with the surname": (0.0002, None),
        "similar": (0.03, 0.0003),
        "different": (0.93, 0.000001),
    },
    "surname": {
        "exact": (0.003, None),
        "same letters or other spelling of accents": (0.0003, None),
        "nearly the same": (0.003, None),
        "one part in common": (0.0006, None),
        "similar": (0.02, None),
        "different": (0.97, 0.05),
    },
    "date_of_birth": {
        "exact": (0.00006, None),
        "day and month swapped": (0.00006, None),
        "one digit differs": (0.0008, None),
        "one part differs": (0.005, None),
        "two digits differ": (0.02, None),
        "same year": (0.02, None),
        "different": (0.95, 0.0001),
    },
    "nino": {"exact": (0.0000001, None), "different": (1.0, 0.02)},
}
_RULES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("nino.first8", "nino.first8"),),
    (("date_of_birth", "date_of_birth"),),
    (("surname", "surname"), ("forename.first", "forename.first")),
    (("surname.soundex", "surname.soundex"), ("date_of_birth.year", "date_of_birth.year")),
    (("forename.first", "forename.first"), ("date_of_birth.year", "date_of_birth.year")),
    (("forename", "surname"), ("surname", "forename")),
)


def enquiry_model(fields: Collection[Field], columns: Collection[str], listed: int) -> Model:
    """The model for questions about people.

    Args:
        fields: the fields that questions and list both have.
        columns: the standard columns that both have.
        listed: how many records the list has.
    """
    wanted = {column for column in columns if column.split(".")[0] in _CHANCES}
    comparisons = default_comparisons([field for field in fields if field.name in _CHANCES], wanted)
    return Model(
        tuple(_with_chances(one) for one in comparisons),
        tuple(BlockingRule(rule) for rule in _RULES if all({*pair} <= wanted for pair in rule)),
        _SHARE / max(listed, _SHORTEST),
    )


def _with_chances(comparison: Comparison) -> Comparison:
    chances = _CHANCES[comparison.name]
    levels = tuple(_level(level, *chances[level.label]) for level in comparison.levels)
    return replace(comparison, levels=levels)


def _level(level: Level, u: float, m: float | None) -> Level:
    return replace(level, u=u, m=level.m if m is None else m, tf=None)
