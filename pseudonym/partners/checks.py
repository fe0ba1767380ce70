"""What may be asked of whom, and with which fields: the one table that questions are made by.

The rule this module keeps: a question has the fields of its check and no others, and a check's fields never
hold a name together with an address. What a yes counts as in a scheme of problems stands in `COUNTS_AS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pseudonym.datasets import Tag
from pseudonym.errors import InputError


class Answer(StrEnum):
    """All that a partner says. Whoever could be meant twice is not found."""

    YES = "yes"
    NO = "no"
    NOT_FOUND = "not_found"


class About(StrEnum):
    """What one question is about."""

    ADULT = "adult"
    PERSON = "person"
    FAMILY = "family"  # its adults, answered together
    HOME = "home"


_PERSON = ("forename", "surname", "date_of_birth")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that partners are asked.

    Attributes:
        name: its code.
        words: the question, for people.
        about: what one question is about.
        needed: the fields of whom or what is asked about that must be there; of a home an address and a
            postcode, or a UPRN.
        further: fields that go along where they are known.
        purpose: what it is asked for: the purpose of the governance file, and of the audit log.
    """

    name: str
    words: str
    about: About
    needed: tuple[str, ...]
    further: tuple[str, ...]
    purpose: str

    @property
    def tags(self) -> frozenset[Tag]:
        """What the law says of the answers beyond their being personal data."""
        return frozenset({Tag.CRIMINAL_OFFENCE} if self.purpose == _POLICE else ())

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that a question of this check may have."""
        return self.needed + self.further


_BENEFITS, _HOUSING, _POLICE = "benefit-check", "housing-check", "police-check"
CHECKS: Final[Mapping[str, Check]] = {
    check.name: check
    for check in (
        Check(
            "out-of-work-benefits",
            "Does this adult receive out-of-work benefits?",
            About.ADULT,
            _PERSON,
            ("nino",),
            _BENEFITS,
        ),
        Check("stable-housing", "Has this family stable housing?", About.FAMILY, _PERSON, (), _HOUSING),
        Check(
            "presented-homeless",
            "Has this family presented as homeless?",
            About.FAMILY,
            _PERSON,
            (),
            _HOUSING,
        ),
        Check(
            "temporary-accommodation",
            "Has this family been in temporary accommodation?",
            About.FAMILY,
            _PERSON,
            (),
            _HOUSING,
        ),
        Check(
            "anti-social-behaviour",
            "Has this person been involved in anti-social behaviour?",
            About.PERSON,
            _PERSON,
            (),
            _POLICE,
        ),
        Check(
            "domestic-abuse",
            "Has this person been involved in domestic abuse?",
            About.PERSON,
            _PERSON,
            (),
            _POLICE,
        ),
        Check(
            "call-out",
            "Has there been a call-out to this address?",
            About.HOME,
            (),
            ("address", "postcode", "uprn"),
            _POLICE,
        ),
    )
}

COUNTS_AS: Final[Mapping[str, Mapping[str, str]]] = {
    "tf-2015": {
        "out-of-work-benefits": "WORK_FIN",
        "anti-social-behaviour": "CRIME_ASB",
        "domestic-abuse": "DA",
    },
}
"""By scheme: the problem that a yes is a sign of. Where a check is missing, a yes is a sign of none."""


def check_named(name: str) -> Check:
    """The check of a name.

    Raises:
        InputError: there is none.
    """
    if name not in CHECKS:
        raise InputError("There is no such check.", f"The checks are {', '.join(CHECKS)}.")
    return CHECKS[name]
