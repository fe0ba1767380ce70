"""What a council may say of a person: our columns, and into which half each goes.

The rules this module keeps:

- There is no column for free text, and none that a scheme or this list does not name.
- Names, dates of birth, addresses and numbers are identifiers and nothing else.
- The council's own reference of a member goes nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pseudonym.study.schemes import Scheme


class Part(StrEnum):
    """Where a column goes."""

    IDENTIFIERS = "identifiers"
    ATTRIBUTES = "attributes"
    COUNCIL = "council"  # nowhere: it serves to check and to decide, and stays


class Form(StrEnum):
    """How the values of a column are written."""

    TEXT = "text"
    DATE = "date"
    CODE = "code"  # one of a list, by the layout's translation
    LIST = "list"  # several of a list in one value
    FLAG = "flag"
    HOURS = "hours"


@dataclass(frozen=True, slots=True)
class Field:
    """One of our columns.

    Attributes:
        name: of the column; for identifiers, one that linkage understands.
        part: where it goes.
        form: how its values are written.
        codes: what a translation may lead to.
        longest: characters of a value of text. words: of it, at most: more is a remark and no name.
    """

    name: str
    part: Part
    form: Form
    codes: tuple[str, ...] = ()
    longest: int = 0
    words: int = 0


RELATIONS = {
    "parent": "Parent",
    "partner": "Parent's partner",
    "child": "Child",
    "partners-child": "Child of a parent's partner",
    "sibling": "Brother or sister of a parent or child",
    "grandparent": "Grandparent",
    "relative": "Another relative",
    "carer": "Carer or guardian",
    "other": "Somebody else",
}
"""What somebody is in the family, in words, by code."""
CHILDREN = ("child", "partners-child")
SOURCES = {
    "young-person": "The child or young person",
    "family-member": "A member of the family",
    "professional": "A professional who knows them",
    "partner": "A partner organisation asked to confirm",
}
"""Who told the council, in words, by code."""
SOURCE = "_source"  # ends the name of the column that says who told
NAMES = (
    "forename", "middle_name", "surname", "full_name", "alias_forename", "alias_surname", "former_surname",
)  # fmt: skip
PLACES = ("house", "address_line", "town", "address", "postcode")
NUMBERS = ("nhs_number", "nino", "upn", "uln", "pncid")
PROTECTED = "protected"
PROBLEMS = "problems"  # a list of them in one column
DATES = ("date_of_birth", "member_from", "member_to", "screened", "support_from", "support_to")

_TOLD = ("date_of_birth", "sex", "relation", PROBLEMS, "arm", "intervention")
_TEXTS = {
    **dict.fromkeys(NAMES, (100, 8)),
    "house": (60, 8),
    "address_line": (100, 12),
    "town": (60, 6),
    "address": (250, 30),
    "postcode": (10, 3),
    **dict.fromkeys(NUMBERS, (20, 5)),
}


def fields(scheme: Scheme) -> dict[str, Field]:
    """Our columns under a scheme, by name, in the order in which they are written."""
    one, own, known = Part.IDENTIFIERS, Part.COUNCIL, Part.ATTRIBUTES
    made = [
        *(Field(name, one, Form.TEXT, (), *_TEXTS[name]) for name in NAMES),
        Field("date_of_birth", one, Form.DATE),
        Field("sex", one, Form.CODE, ("F", "M", "X")),
        *(Field(name, one, Form.TEXT, (), *_TEXTS[name]) for name in (*PLACES, *NUMBERS)),
        Field(PROTECTED, one, Form.FLAG),
        Field("family", one, Form.TEXT, (), 64, 4),
        Field("member", own, Form.TEXT, (), 64, 4),
        Field("relation", known, Form.CODE, tuple(RELATIONS)),
        *(Field(name, own, Form.DATE) for name in DATES[1:3]),
        *(Field(name, known, Form.FLAG) for name in scheme.flags),
        Field(PROBLEMS, own, Form.LIST, scheme.flags),
        Field("arm", known, Form.CODE, tuple(scheme.arms)),
        Field("intervention", known, Form.CODE, tuple(scheme.interventions)),
        Field("intensity", known, Form.CODE, tuple(band.code for band in scheme.intensity)),
        Field("hours", own, Form.HOURS),
        *(Field(name, known, Form.DATE) for name in DATES[3:]),
    ]
    headline = tuple(problem.column for problem in scheme.problems)
    told = [
        Field(f"{field.name}{SOURCE}", known if field.part is own else field.part, Form.CODE, tuple(SOURCES))
        for field in made
        if field.name in (*NAMES, *PLACES, *NUMBERS, *_TOLD, *headline)
    ]
    return {field.name: field for field in (*made, *told)}
