"""Declared datasets: what an attribute may be, before any attribute arrives.

The rules this module keeps:

- A column is an integer, a decimal, a code from a list, a month, a quarter, a year or a flag. Free text has
  no kind, and neither has a full date, a name, an address or an identifier.
- Numbers have bounds. A code's list is complete, and no code in it looks like an identifier.
- Columns that hold special categories of personal data (UK GDPR, Article 9) or criminal offence data (Article
  10) say so.
- A declaration grows and never shrinks: what was stored under it can always be read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from pseudonym.errors import InputError
from pseudonym.urn import check_label

LONGEST_CODE = 32
MOST_CODES = 10_000
MOST_COLUMNS = 200
LARGEST = 10**15  # fits a JSON number that every reader keeps whole

_NAME = re.compile(r"[a-z](?:[a-z0-9_]{0,61}[a-z0-9])?")
_RESERVED = frozenset({"row_ref", "aid", "family", "row_id"})
# Words that a column of identifiers would be called by. A declaration that uses one is a mistake or a leak.
_FORBIDDEN = frozenset(
    {
        *("address", "addr", "postcode", "street", "uprn"),
        *("email", "mail", "mobile", "phone", "tel", "telephone"),
        *("name", "names", "forename", "forenames", "firstname", "surname", "fullname", "initials"),
        *("birthdate", "dob", "chi", "nhs", "nhsno", "nino", "passport", "pnc", "pncid"),
        *("uln", "upn", "pid", "urn"),
    }
)
_FORBIDDEN_PAIRS = ("date_of_birth", "birth_date", "day_of_birth", "national_insurance", "pupil_number")


class Kind(StrEnum):
    """What a column holds. There is no kind for text."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    CODE = "code"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    FLAG = "flag"


class Tag(StrEnum):
    """What the law says of a column beyond its being personal data."""

    SPECIAL_CATEGORY = "special-category"
    CRIMINAL_OFFENCE = "criminal-offence"
    THIRD_PARTY = "third-party"  # it tells of somebody else: a relative, a professional


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a dataset.

    Attributes:
        name: lower-case letters, digits and underscores.
        kind: what it holds.
        low: the least value, for integers and decimals (in units of the last place) and years.
        high: the largest.
        scale: decimal places, 1 to 6, for decimals; 0 for everything else.
        codes: every code that may occur, for codes.
        tags: what the law says of it.
    """

    name: str
    kind: Kind
    low: int = 0
    high: int = 0
    scale: int = 0
    codes: tuple[str, ...] = ()
    tags: frozenset[Tag] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        _check_name(self.name)
        numeric = self.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR)
        if numeric and not -LARGEST <= self.low <= self.high <= LARGEST:
            raise InputError(f"Column {self.name} has no bounds, or bounds that hold no value.", "Give both.")
        if self.kind is Kind.YEAR and not 1800 <= self.low <= self.high <= 2200:
            raise InputError(f"The years of column {self.name} are not between 1800 and 2200.")
        if (self.kind is Kind.DECIMAL) != (1 <= self.scale <= 6):
            raise InputError(f"Column {self.name} needs 1 to 6 decimal places, or none if it is no decimal.")
        if not numeric and (self.low or self.high):
            raise InputError(f"Column {self.name} is of a kind that has no bounds.")
        if (self.kind is Kind.CODE) != bool(self.codes):
            raise InputError(f"Column {self.name} needs a list of codes, or none if it holds no codes.")
        if len(self.codes) > MOST_CODES or len(set(self.codes)) != len(self.codes):
            raise InputError(f"The codes of column {self.name} repeat, or are more than {MOST_CODES}.")
        if not all(0 < len(code) <= LONGEST_CODE and code.isprintable() for code in self.codes):
            raise InputError(
                f"A code of column {self.name} is empty, unprintable or longer than {LONGEST_CODE}."
            )

    @property
    def widest(self) -> int:
        """The most bytes that a value of the column takes in a stored row."""
        if self.kind is Kind.CODE:
            return max(len(json.dumps(code, ensure_ascii=False).encode()) for code in self.codes)
        if self.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR):
            return max(4, len(str(self.low)), len(str(self.high)))
        return {Kind.MONTH: 9, Kind.QUARTER: 9, Kind.FLAG: 5}[self.kind]

    def grown(self, later: Column) -> bool:
        """Whether every value of this column is one of the later declaration's too."""
        same = (self.name, self.kind, self.scale) == (later.name, later.kind, later.scale)
        wider = later.low <= self.low and self.high <= later.high and set(self.codes) <= set(later.codes)
        return same and wider and self.tags <= later.tags


@dataclass(frozen=True, slots=True)
class Dataset:
    """A declared dataset of one project.

    Attributes:
        name: lower-case letters, digits and hyphens.
        columns: its columns, in the order in which they are given and read.
    """

    name: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        check_label(self.name, "dataset")
        names = [column.name for column in self.columns]
        if not 1 <= len(names) <= MOST_COLUMNS or len(set(names)) != len(names):
            raise InputError(f"A dataset has 1 to {MOST_COLUMNS} columns, each name once.")

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises:
            InputError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise InputError(f"Dataset {self.name} declares no such column.", "Name the columns it declares.")

    @property
    def width(self) -> int:
        """The bytes of a stored row: the same for all, so that a row's size says nothing of its values."""
        return 2 + sum(len(column.name) + 4 + column.widest for column in self.columns)

    def check_grown(self, later: Dataset) -> None:
        """Refuse a later declaration under which rows stored by this one could not be read.

        Raises:
            InputError: a column is missing, has another kind or lost values, bounds, codes or tags.
        """
        known = {column.name: column for column in later.columns}
        for column in self.columns:
            if column.name not in known or not column.grown(known[column.name]):
                raise InputError(
                    f"Column {column.name} of dataset {self.name} lost something in the new declaration.",
                    "Declarations grow; give another dataset another name.",
                )

    def to_json(self) -> str:
        """The declaration in its one spelling."""
        content = {
            "name": self.name,
            "columns": [
                {
                    "name": column.name,
                    "kind": column.kind,
                    "low": column.low,
                    "high": column.high,
                    "scale": column.scale,
                    "codes": list(column.codes),
                    "tags": sorted(column.tags),
                }
                for column in self.columns
            ],
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        columns = (
            Column(
                **{
                    **one,
                    "kind": Kind(one["kind"]),
                    "codes": tuple(one["codes"]),
                    "tags": frozenset(map(Tag, one["tags"])),
                }
            )
            for one in content["columns"]
        )
        return cls(content["name"], tuple(columns))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise InputError(
            "The name of a column is 1 to 63 lower-case letters, digits and underscores.",
            f"It begins with a letter and is none of {', '.join(sorted(_RESERVED))}.",
        )
    if _FORBIDDEN & set(name.split("_")) or any(pair in name for pair in _FORBIDDEN_PAIRS):
        raise InputError(
            "A column of the attribute store is called as if it held an identifier.",
            "Names, addresses, dates of birth and numbers of people belong in the identity store.",
        )
