"""The gate of sharing: for which reasons data may go outside, and what shows that a service was wished for.

The reasons are those that families were told: their consent, a law that requires it, statutory functions, or
a service that they requested; and, whatever they asked, to prevent harm to a child or a crime.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Sharing(StrEnum):
    """Why data may go outside."""

    CONSENT = "consent"
    LAW = "law"
    STATUTORY_FUNCTION = "statutory-function"
    REQUESTED_SERVICE = "requested-service"
    HARM_OR_CRIME = "harm-or-crime"

    @property
    def words(self) -> str:
        """The reason as a notice says it."""
        return _WORDS[self]

    @property
    def needs_evidence(self) -> bool:
        """Whether something a family did has to show it."""
        return self is Sharing.REQUESTED_SERVICE


class Wish(StrEnum):
    """What shows that somebody wishes for a service."""

    ASSESSMENT_SIGNED = "assessment-signed"
    ASSESSMENT_ATTENDED = "assessment-attended"
    PLAN_SIGNED = "plan-signed"
    PLAN_ATTENDED = "plan-attended"
    REFERRAL = "referral"


_WORDS: Final = {
    Sharing.CONSENT: "you have consented to it",
    Sharing.LAW: "a law requires it",
    Sharing.STATUTORY_FUNCTION: "it is needed for statutory functions",
    Sharing.REQUESTED_SERVICE: "it is needed for a service that you requested",
    Sharing.HARM_OR_CRIME: "it is needed to prevent harm to a child or a crime",
}
