"""The report on a table: what was found, how much is suppressed, and whether it is kept back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from pseudonym.files import canonical, parse
from pseudonym.release.report import Finding, Weight

FORMAT: Final = "kinlink-table-report/1"
UNPROTECTED: Final = "TABLE_UNPROTECTED"
"""The table cannot be protected, in no categories that it declares."""
DIFFERENCE: Final = "TABLE_DIFFERENCE"
"""So few came or left since an earlier release that the difference of the two would be about them."""
OVERLAP: Final = "TABLE_UNPROTECTED_OVERLAP"
"""A measure looks at some of the rows of another and not at the same, or sums them up for another unit."""
BASES: Final = "TABLE_UNPROTECTED_BASE"
"""A sum is rounded otherwise than the same sum elsewhere: two roundings tell more than one."""
_WORDS = {
    BASES: "A sum has another base than the same sum of another measure, here or in a released table: two "
    "roundings of one sum tell more of it than either. Give it the base that the other has.",
    OVERLAP: "A measure looks at some of the rows of another, here or in a released table, and at more or "
    "less, or sums them up for persons where the other does for families: their difference cannot be "
    "protected. Ask for the same codes, months, costs and unit, or for other rows.",
    UNPROTECTED: "The table cannot be protected. Declare fewer dimensions or coarser categories.",
    DIFFERENCE: "Fewer than 10 persons or families came, left or changed since a table that was released, or "
    "one or two may make nearly all of what changed in a sum: read that one, or wait.",
}


@dataclass(frozen=True, slots=True)
class TableReport:
    """What came of one look at a table.

    Attributes:
        table: its name.
        checked: when, UTC, ISO 8601.
        persons, families: counted.
        findings: what was found of its declaration.
        cells: shown, or suppressed.
        suppressed: of these.
        secondary: of these, only so that others cannot be told.
        attacked: cells that were attacked, those of earlier releases and their totals included.
        earlier: the released tables that took part.
        coarser: the dimensions that had to be coarser.
        reason: the code of why the table is refused, or empty.
    """

    table: str
    checked: str
    persons: int
    families: int
    findings: tuple[Finding, ...]
    cells: int = 0
    suppressed: int = 0
    secondary: int = 0
    attacked: int = 0
    earlier: tuple[str, ...] = ()
    coarser: tuple[str, ...] = ()
    reason: str = ""

    @property
    def blocked(self) -> bool:
        """Whether the table is kept back."""
        return bool(self.reason) or any(one.weight is Weight.BLOCKS for one in self.findings)

    def told(self, **what: Any) -> Self:
        """The report with more that is known."""
        return replace(self, **what)

    def refused(self, reason: str) -> Self:
        """The report of a table that is refused."""
        return replace(self, reason=reason)

    def to_file(self) -> bytes:
        """The report as a file."""
        return canonical({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote. Raises TamperedError."""
        content: dict[str, Any] = dict(parse(data, "report"))
        content.pop("format")
        content["findings"] = tuple(
            Finding(**{**one, "weight": Weight(one["weight"])}) for one in content["findings"]
        )
        content["earlier"], content["coarser"] = tuple(content["earlier"]), tuple(content["coarser"])
        return cls(**content)

    def text(self) -> str:
        """The report as people read it."""
        state = "BLOCKED" if self.blocked else "may be approved"
        lines = [
            f"Table {self.table}, checked {self.checked}: {state}",
            f"{self.persons:,} persons of {self.families:,} families are counted.",
        ]
        if self.cells:
            lines += [
                f"{self.cells:,} cells: {self.suppressed:,} suppressed, {self.secondary:,} of them so that "
                "others cannot be told.",
                f"{self.attacked:,} cells and totals attacked; each keeps five possible values or more.",
            ]
        if self.earlier:
            lines.append(f"Held against {', '.join(self.earlier)}.")
        if self.coarser:
            lines.append(f"In coarser categories: {', '.join(self.coarser)}.")
        if self.reason:
            lines.append(f"BLOCKS {self.reason}: {_WORDS[self.reason]}")
        for one in self.findings:
            lines.append(f"{one.weight.upper():<6} {one.check} [{one.place}]: {one.message}")
        return "\n".join(lines) + "\n"
