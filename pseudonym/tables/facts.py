"""What the register of releases keeps of a table: its cells as they are, and which of them have no number.

It is kept sealed, and nobody reads it but the attack on later tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from pseudonym.tables.board import Past, grouped
from pseudonym.tables.cells import Axis, Key, Sheet


class Kind(StrEnum):
    """What a sheet is of."""

    PEOPLE = "people"
    ANY = "any"  # who has any, of these people
    SUM = "sum"


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """A sheet of a table.

    Attributes:
        kind: see there.
        topic: what sheets have in common that are of the same.
        sheet: with its cells as they are.
        suppressed: those without a number.
        people: the place, among the table's facts, of the people that a sheet is about; its own for them.
    """

    kind: Kind
    topic: str
    sheet: Sheet
    suppressed: frozenset[Key]
    people: int


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of one table."""

    name: str
    facts: tuple[Fact, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts in plain types."""
        return {
            "name": self.name,
            "facts": [
                {
                    "kind": str(one.kind),
                    "topic": one.topic,
                    "people": one.people,
                    "sheet": _written(one.sheet),
                    "suppressed": _mask(one.sheet, one.suppressed),
                }
                for one in self.facts
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        facts = []
        for one in content["facts"]:
            sheet = _read(one["sheet"])
            hidden = _keys(sheet, one["suppressed"])
            facts.append(Fact(Kind(one["kind"]), one["topic"], sheet, hidden, one["people"]))
        return cls(content["name"], tuple(facts))


def pasts(earlier: Sequence[Facts], kind: Kind, topic: str) -> list[Past]:
    """What was released of one topic, put together as far as it is of the same people."""
    found = []
    for table in earlier:
        some = [one for one in table.facts if (one.kind, one.topic) == (kind, topic)]
        if not some:
            continue
        people = [table.facts[one.people] for one in some] if kind is Kind.ANY else []
        found.append(
            Past(
                (table.name,),
                tuple(one.sheet for one in some),
                frozenset[Key]().union(*(one.suppressed for one in some)),
                tuple(one.sheet for one in people),
                frozenset[Key]().union(*(one.suppressed for one in people)),
            )
        )
    return grouped(found)


def inner_keys(sheet: Sheet) -> Iterable[tuple[tuple[int, ...], Key]]:
    """The cells of a sheet, without totals, by place."""
    for place in np.ndindex(*sheet.shape):
        yield place, sheet.key(place)


def _mask(sheet: Sheet, suppressed: Collection[Key]) -> list[int]:
    return [number for number, (_, key) in enumerate(inner_keys(sheet)) if key in suppressed]


def _keys(sheet: Sheet, numbers: Iterable[int]) -> frozenset[Key]:
    wanted = set(numbers)
    return frozenset(key for number, (_, key) in enumerate(inner_keys(sheet)) if number in wanted)


_OPTIONAL: dict[str, Any] = {"noise": np.int64, "largest": np.float64}
_ARRAYS = ("amounts", "persons", "families", "possible", "unsafe", "shown")


def _written(sheet: Sheet) -> dict[str, Any]:
    optional = {name: getattr(sheet, name) for name in _OPTIONAL}
    return {
        **{name: getattr(sheet, name) for name in ("measure", "period", "about", "base", "spread")},
        "axes": [
            [axis.name, axis.column, list(axis.labels), [sorted(one) for one in axis.values], axis.about]
            for axis in sheet.axes
        ],
        **{name: getattr(sheet, name).tolist() for name in _ARRAYS},
        **{name: None if found is None else found.tolist() for name, found in optional.items()},
    }


def _read(content: Mapping[str, Any]) -> Sheet:
    axes = tuple(
        Axis(name, column, tuple(labels), tuple(map(frozenset, values)), about)
        for name, column, labels, values, about in content["axes"]
    )
    kinds: dict[str, Any] = dict(
        zip(_ARRAYS, (np.float64, np.int64, np.int64, np.bool_, np.bool_, np.bool_), strict=True)
    )
    given: dict[str, Any] = {name: np.array(content[name], kind) for name, kind in kinds.items()}
    given |= {name: content[name] for name in ("measure", "period", "about", "base", "spread")}
    for name, kind in _OPTIONAL.items():
        found = content.get(name)  # tables of before it was kept have none
        given[name] = None if found is None else np.array(found, kind)
    return Sheet(axes=axes, **given)
