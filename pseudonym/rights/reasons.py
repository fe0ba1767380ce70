"""Why a request may be refused: codes, each with its article, the rights that it can refuse, and plain words.

A request is refused, or granted in part, with one of these or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pseudonym.errors import InputError


class Right(StrEnum):
    """What is asked for."""

    USED = "used"  # whether data are used at all
    ACCESS = "access"
    RECTIFICATION = "rectification"
    ERASURE = "erasure"
    RESTRICTION = "restriction"
    PORTABILITY = "portability"
    OBJECTION = "objection"
    EXPLANATION = "explanation"
    LIFTING = "lifting"  # the end of a restriction or objection that was upheld


class Refusal(StrEnum):
    """A reason for refusing."""

    UNFOUNDED = "unfounded"
    EXCESSIVE = "excessive"
    IDENTITY_NOT_SHOWN = "identity-not-shown"
    NOT_IDENTIFIABLE = "not-identifiable"
    NOTHING_HELD = "nothing-held"
    OTHERS_RIGHTS = "others-rights"
    LEGAL_OBLIGATION = "legal-obligation"
    RESEARCH = "research"
    LEGAL_CLAIMS = "legal-claims"
    NO_GROUND = "no-ground"
    ACCURATE = "accurate"
    NOT_CONSENT_OR_CONTRACT = "not-consent-or-contract"
    PUBLIC_TASK = "public-task"
    RESEARCH_IN_THE_PUBLIC_INTEREST = "research-in-the-public-interest"
    COMPELLING_GROUNDS = "compelling-grounds"
    RESEARCH_EXEMPTION = "research-exemption"
    CRIME = "crime"
    SERIOUS_HARM = "serious-harm"


@dataclass(frozen=True, slots=True)
class Ground:
    """What the law says of a reason.

    Attributes:
        law: where it stands.
        rights: which requests it can refuse.
        words: for the person.
    """

    law: str
    rights: frozenset[Right]
    words: str


_ALL = frozenset(Right)
_COPY = frozenset({Right.ACCESS, Right.PORTABILITY, Right.EXPLANATION, Right.USED})

GROUNDS: Mapping[Refusal, Ground] = {
    Refusal.UNFOUNDED: Ground("UK GDPR Art 12(5)", _ALL, "The request is manifestly unfounded."),
    Refusal.EXCESSIVE: Ground("UK GDPR Art 12(5)", _ALL, "The request repeats others or is excessive."),
    Refusal.IDENTITY_NOT_SHOWN: Ground(
        "UK GDPR Art 12(6)", _ALL, "It was not shown that the request comes from the person concerned."
    ),
    Refusal.NOT_IDENTIFIABLE: Ground(
        "UK GDPR Art 11(2)", _ALL, "What was given does not tell one person from others."
    ),
    Refusal.NOTHING_HELD: Ground(
        "UK GDPR Art 15(1)", _ALL - {Right.USED}, "Nothing is held of the person who was described."
    ),
    Refusal.OTHERS_RIGHTS: Ground(
        "UK GDPR Art 15(4) and 20(4)", _COPY, "It would tell of other people what is theirs."
    ),
    Refusal.LEGAL_OBLIGATION: Ground(
        "UK GDPR Art 17(3)(b)",
        frozenset({Right.ERASURE}),
        "A law, or a task in the public interest, asks for the data to be kept.",
    ),
    Refusal.RESEARCH: Ground(
        "UK GDPR Art 17(3)(d)",
        frozenset({Right.ERASURE}),
        "Erasing would make the research impossible or seriously harm it.",
    ),
    Refusal.LEGAL_CLAIMS: Ground(
        "UK GDPR Art 17(3)(e), 18(2) and 21(1)",
        frozenset({Right.ERASURE, Right.OBJECTION, Right.RESTRICTION, Right.LIFTING}),
        "The data are needed for legal claims.",
    ),
    Refusal.NO_GROUND: Ground(
        "UK GDPR Art 17(1), 18(1) and 18(3)",
        frozenset({Right.ERASURE, Right.RESTRICTION, Right.LIFTING}),
        "None of the grounds that the law gives for it is there.",
    ),
    Refusal.ACCURATE: Ground(
        "UK GDPR Art 16", frozenset({Right.RECTIFICATION}), "The data were looked at, and are accurate."
    ),
    Refusal.NOT_CONSENT_OR_CONTRACT: Ground(
        "UK GDPR Art 20(1)",
        frozenset({Right.PORTABILITY}),
        "The data are used neither by consent nor for a contract.",
    ),
    Refusal.PUBLIC_TASK: Ground(
        "UK GDPR Art 20(3)",
        frozenset({Right.PORTABILITY}),
        "The data are needed for a task in the public interest.",
    ),
    Refusal.RESEARCH_IN_THE_PUBLIC_INTEREST: Ground(
        "UK GDPR Art 21(6)",
        frozenset({Right.OBJECTION}),
        "The research is needed for a task in the public interest.",
    ),
    Refusal.COMPELLING_GROUNDS: Ground(
        "UK GDPR Art 21(1)",
        frozenset({Right.OBJECTION}),
        "There are compelling grounds that outweigh the person's interests.",
    ),
    Refusal.RESEARCH_EXEMPTION: Ground(
        "DPA 2018 Sch 2 para 27",
        frozenset({Right.ACCESS, Right.RECTIFICATION, Right.RESTRICTION, Right.OBJECTION, Right.EXPLANATION}),
        "It would prevent or seriously impair the research, whose results name nobody.",
    ),
    Refusal.CRIME: Ground(
        "DPA 2018 Sch 2 para 2", _ALL, "It would be likely to prejudice the prevention of crime."
    ),
    Refusal.SERIOUS_HARM: Ground(
        "DPA 2018 Sch 3", _COPY, "It would be likely to cause somebody serious harm."
    ),
}


def check(right: Right, reasons: Collection[Refusal]) -> None:
    """Do nothing if each reason can refuse what was asked.

    Raises:
        InputError: one is for other rights.
    """
    wrong = sorted(one for one in reasons if right not in GROUNDS[one].rights)
    if wrong:
        may = sorted(one for one, ground in GROUNDS.items() if right in ground.rights)
        raise InputError(
            f"A request for {right} is not refused for {', '.join(wrong)}.",
            f"It may be for {', '.join(may)}.",
        )
