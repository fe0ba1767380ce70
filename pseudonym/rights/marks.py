"""What may not be done with a person's data, from all cases that are in force.

A restriction is of all purposes, or of those that it names. An objection that was upheld is of all. Where
several are in force, each holds; where one ends, the others stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pseudonym.rights.cases import Case
from pseudonym.rights.reasons import Right


@dataclass(frozen=True, slots=True)
class Mark:
    """What holds of a person.

    Attributes:
        restricted: whether their data are kept, and used for nothing.
        objected: whether an objection was upheld: neither are they used.
        purposes: what else they are not used for, in order.
    """

    restricted: bool = False
    objected: bool = False
    purposes: tuple[str, ...] = ()


def mark_of(cases: Iterable[Case]) -> Mark:
    """What the cases of one person come to."""
    restricted = objected = False
    purposes: set[str] = set()
    for case in cases:
        if not case.in_force or case.decision is None:
            continue
        if case.right is Right.OBJECTION:
            objected = True
        elif case.decision.purposes:
            purposes.update(case.decision.purposes)
        else:
            restricted = True
    return Mark(restricted, objected, tuple(sorted(purposes)))
