"""Whose area is whose: what the governance file says of the councils that read tables.

    [{"project": "tf-2026", "person": "carol", "area": "fenham"}]

`person` is as in the certificate, `area` as the datasets of the project name councils. The rule this module
keeps: who reads tables of a project reads one area of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pseudonym.datasets import LONGEST_CODE
from pseudonym.requests import check_name
from pseudonym.urn import check_label


@dataclass(frozen=True, slots=True)
class Areas:
    """The area of each person of a council, by project and person."""

    known: Mapping[tuple[str, str], str]

    @classmethod
    def read(cls, content: Sequence[Mapping[str, Any]]) -> Self:
        """Read the form above; what has not its form raises ValueError, TypeError, KeyError or InputError."""
        known: dict[tuple[str, str], str] = {}
        for one in content:
            if set(one) != {"project", "person", "area"}:
                raise ValueError
            area = one["area"]
            whose = check_label(one["project"], "project"), one["person"]
            check_name(whose[1], "a person of a council")
            if not isinstance(area, str) or not 0 < len(area) <= LONGEST_CODE or whose in known:
                raise ValueError
            known[whose] = area
        return cls(known)

    def of(self, project: str, person: str) -> str | None:
        """The area that somebody reads; None for nobody's."""
        return self.known.get((project, person))


NOWHERE: Final = Areas({})
"""Where nobody decided anything: no council reads any area."""
