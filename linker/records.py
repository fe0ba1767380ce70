"""Records: what a file of people is once its columns are understood.

    frame of text ──recognise──▶ Layout ──arrive──▶ Records (ids, fields, refusals)

Invariants: ids are unique and never null; every field names columns that exist; a refused row is
counted, coded and never linked; no refusal holds a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Kind(StrEnum):
    """What a field is about; each kind has its standardisation and its comparison."""

    FORENAME = "forename"
    MIDDLE_NAME = "middle_name"
    SURNAME = "surname"
    FULL_NAME = "full_name"
    DATE_OF_BIRTH = "date_of_birth"
    SEX = "sex"
    HOUSE = "house"
    ADDRESS_LINE = "address_line"
    ADDRESS = "address"
    TOWN = "town"
    POSTCODE = "postcode"
    UPRN = "uprn"
    NHS_NUMBER = "nhs_number"
    CHI = "chi"
    HC_NUMBER = "hc_number"
    NINO = "nino"
    UPN = "upn"
    ULN = "uln"
    PNCID = "pncid"
    CRO = "cro"
    EMAIL = "email"
    PHONE = "phone"
    CATEGORY = "category"
    TEXT = "text"
    NUMBER = "number"
    HOUSEHOLD = "household"
    PROTECTED = "protected"
    IDENTIFIER = "identifier"
    INITIALS = "initials"
    PARTIAL_POSTCODE = "partial_postcode"
    LOCAL_AUTHORITY = "local_authority"


NAMING = frozenset(
    {
        *(Kind.FORENAME, Kind.SURNAME, Kind.FULL_NAME, Kind.DATE_OF_BIRTH),
        *(Kind.NHS_NUMBER, Kind.CHI, Kind.HC_NUMBER, Kind.NINO, Kind.UPN, Kind.ULN, Kind.PNCID, Kind.CRO),
    }
)
"""Names, the day of birth, and numbers that people have: identities without any of these are nobody's."""


@dataclass(frozen=True)
class Field:
    """One field of a record.

    Attributes:
        name: the kind's name, or `<kind>_2`, `<kind>_3` for further fields of the same kind; for
            the open kinds (category, text, number, identifier) the column's own name in lower case.
        kind: what it is.
        columns: the file's columns it is read from; three (year, month, day) for a date in parts.
        why: how it was recognised, for the user: "by name", "by its values", "as mapped".
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Layout:
    """How a file's columns were understood.

    Attributes:
        id_column: the column with the record's id, or None where the row number serves.
        fields: in the order of the file.
        ignored: (column, reason) of the columns that take no part.
    """

    id_column: str | None
    fields: tuple[Field, ...]
    ignored: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Records:
    """Records that passed the checks on arrival.

    Attributes:
        ids: text, unique, no null; in the order of the file, refused rows left out.
        frame: the layout's columns as text, null for missing; same length and order as `ids`.
        layout: how the columns were understood.
        refusals: one row a problem: `row` (UInt32, 1 is the first row of data), `field` (text, null where
            the row as a whole is meant), `reason` (code), `refused` (true: the row is left out;
            false: only this value is set aside).
    """

    ids: pl.Series
    frame: pl.DataFrame
    layout: Layout
    refusals: pl.DataFrame
