"""The report of the checks: what was looked at, what was found, and whether it blocks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Self

from pseudonym.files import canonical
from pseudonym.release.anonymity import Proposal, SetResult

FORMAT: Final = "kinlink-release-report/1"
_ALONE: Final = (
    "A set names columns that others may know, and by these nobody may stand out. By all columns together",
    "rows are alone all the same: whoever knows much of somebody finds them (docs/release.md).",
)


class Weight(StrEnum):
    """Whether a finding keeps the release back."""

    BLOCKS = "blocks"
    WARNS = "warns"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found.

    Attributes:
        check: which check.
        weight: see `Weight`.
        message: one sentence; no value of a person is in it.
        place: the table and column, or empty.
        count: how many rows, persons or columns.
    """

    check: str
    weight: Weight
    message: str
    place: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks of one build came to.

    Attributes:
        release: its name.
        checked: when, UTC, ISO 8601.
        persons, families: in it.
        rows: by table.
        checks: the names of all checks that were made.
        findings: what was found, what blocks first.
        sets: what each declared set of columns comes to.
        row_uniques: by table, rows that are alone in all their columns together.
    """

    release: str
    checked: str
    persons: int
    families: int
    rows: dict[str, int]
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    sets: tuple[SetResult, ...]
    row_uniques: dict[str, int]

    @property
    def blocked(self) -> bool:
        """Whether it may not be approved."""
        return any(one.weight is Weight.BLOCKS for one in self.findings)

    def to_file(self) -> bytes:
        """The report in its one spelling."""
        return canonical({"format": FORMAT, **json.loads(json.dumps(asdict(self)))})

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote."""
        content: dict[str, Any] = json.loads(data)
        content.pop("format")
        content["checks"] = tuple(content["checks"])
        content["findings"] = tuple(
            Finding(**{**one, "weight": Weight(one["weight"])}) for one in content["findings"]
        )
        content["sets"] = tuple(_set(one) for one in content["sets"])
        return cls(**content)

    def text(self) -> str:
        """The report as people read it."""
        lines = [
            f"Release {self.release}, checked {self.checked}: "
            + ("BLOCKED" if self.blocked else "may be approved"),
            f"{self.persons:,} persons, {self.families:,} families",
            "",
            f"{'table':<12} {'rows':>10}   rows alone in all columns together",
        ]
        lines += [
            f"{name:<12} {rows:>10,}   {self.row_uniques.get(name, 0):,}" for name, rows in self.rows.items()
        ]
        for one in self.sets:
            lines += ["", *_of_set(one)]
        if any(self.row_uniques.values()):
            lines += ["", *_ALONE]
        lines += ["", f"Checked: {', '.join(self.checks)}."]
        lines += [_of_finding(one) for one in self.findings] or ["Nothing was found."]
        return "\n".join(lines) + "\n"


def _of_set(one: SetResult) -> list[str]:
    unit = "families" if one.table == "families" else "persons"
    least = (
        f"{one.families} families" if unit == "families" else f"{one.k} persons of {one.families} families"
    )
    lines = [
        f"Set {one.name} ({one.table}: {', '.join(one.columns)}), at least {least}",
        f"  combinations {one.groups:,}, the smallest has {one.smallest:,} {unit}",
        f"  failing: {one.failing_groups:,} combinations, {one.failing_rows:,} rows, "
        f"{one.failing_persons:,} persons, {one.failing_families:,} families",
        f"  alone in theirs: {one.uniques:,} {unit}; alone in the whole project: {one.population_uniques:,}",
    ]
    if one.short_of_values:
        lines.append(f"  combinations short of values of a sensitive column: {one.short_of_values:,}")
    if one.blanked_rows:
        lines.append(f"  blanked to meet it: {one.blanked_rows:,} rows")
    for proposal in one.proposals:
        if proposal.what == "blank":
            lines.append(f"  or blank these columns for {proposal.persons:,} {unit} (suppress)")
        else:
            lines.append(f"  without {proposal.column}, or coarser: {proposal.persons:,} {unit} would fail")
    return lines


def _of_finding(one: Finding) -> str:
    place = f" [{one.place}]" if one.place else ""
    return f"{one.weight.upper():<6} {one.check}{place}: {one.message}"


def _set(one: dict[str, Any]) -> SetResult:
    proposals = tuple(Proposal(**proposal) for proposal in one["proposals"])
    return SetResult(**{**one, "columns": tuple(one["columns"]), "proposals": proposals})
