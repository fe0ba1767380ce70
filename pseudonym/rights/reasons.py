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
        laws: where it stands, for each request that it can refuse.
        words: for the person.
    """

    laws: Mapping[Right, str]
    words: str

    @property
    def rights(self) -> frozenset[Right]:
        """Which requests it can refuse."""
        return frozenset(self.laws)


_COPY = (Right.USED, Right.ACCESS, Right.EXPLANATION, Right.PORTABILITY)
_ARTICLES: Mapping[Right, str] = {
    Right.USED: "UK GDPR Art 15(1)",
    Right.ACCESS: "UK GDPR Art 15(1)",
    Right.RECTIFICATION: "UK GDPR Art 16",
    Right.ERASURE: "UK GDPR Art 17(1)",
    Right.RESTRICTION: "UK GDPR Art 18(1)",
    Right.PORTABILITY: "UK GDPR Art 20(1)",
    Right.OBJECTION: "UK GDPR Art 21(1)",
    Right.EXPLANATION: "UK GDPR Art 15(1)(h)",
    Right.LIFTING: "UK GDPR Art 18(3)",
}
"""Where each right stands."""


def _each(law: str, *rights: Right) -> dict[Right, str]:
    """The same law for several rights; for all where none is named."""
    return dict.fromkeys(rights or Right, law)


GROUNDS: Mapping[Refusal, Ground] = {
    Refusal.UNFOUNDED: Ground(_each("UK GDPR Art 12(5)"), "The request is manifestly unfounded."),
    Refusal.EXCESSIVE: Ground(_each("UK GDPR Art 12(5)"), "The request repeats others or is excessive."),
    Refusal.IDENTITY_NOT_SHOWN: Ground(
        _each("UK GDPR Art 12(6)"), "It was not shown that the request comes from the person concerned."
    ),
    Refusal.NOT_IDENTIFIABLE: Ground(
        _each("UK GDPR Art 11(2)"), "What was given does not tell one person from others."
    ),
    Refusal.NOTHING_HELD: Ground(
        {right: law for right, law in _ARTICLES.items() if right is not Right.USED},
        "Nothing is held of the person who was described.",
    ),
    Refusal.OTHERS_RIGHTS: Ground(
        _each("UK GDPR Art 15(4)", *_COPY) | {Right.PORTABILITY: "UK GDPR Art 20(4)"},
        "It would tell of other people what is theirs.",
    ),
    Refusal.LEGAL_OBLIGATION: Ground(
        _each("UK GDPR Art 17(3)(b)", Right.ERASURE),
        "A law, or a task in the public interest, asks for the data to be kept.",
    ),
    Refusal.RESEARCH: Ground(
        _each("UK GDPR Art 17(3)(d)", Right.ERASURE),
        "Erasing would make the research impossible or seriously harm it.",
    ),
    Refusal.LEGAL_CLAIMS: Ground(
        {
            Right.ERASURE: "UK GDPR Art 17(3)(e)",
            Right.RESTRICTION: "UK GDPR Art 18(2)",
            Right.OBJECTION: "UK GDPR Art 21(1)",
            Right.LIFTING: "UK GDPR Art 18(2)",
        },
        "The data are needed for legal claims.",
    ),
    Refusal.NO_GROUND: Ground(
        {right: _ARTICLES[right] for right in (Right.ERASURE, Right.RESTRICTION, Right.LIFTING)},
        "None of the grounds that the law gives for it is there.",
    ),
    Refusal.ACCURATE: Ground(
        _each("UK GDPR Art 16", Right.RECTIFICATION), "The data were looked at, and are accurate."
    ),
    Refusal.NOT_CONSENT_OR_CONTRACT: Ground(
        _each("UK GDPR Art 20(1)", Right.PORTABILITY),
        "The data are used neither by consent nor for a contract.",
    ),
    Refusal.PUBLIC_TASK: Ground(
        _each("UK GDPR Art 20(3)", Right.PORTABILITY),
        "The data are needed for a task in the public interest.",
    ),
    Refusal.RESEARCH_IN_THE_PUBLIC_INTEREST: Ground(
        _each("UK GDPR Art 21(6)", Right.OBJECTION),
        "The research is needed for a task in the public interest.",
    ),
    Refusal.COMPELLING_GROUNDS: Ground(
        _each("UK GDPR Art 21(1)", Right.OBJECTION),
        "There are compelling grounds that outweigh the person's interests.",
    ),
    Refusal.RESEARCH_EXEMPTION: Ground(
        _each(
            "DPA 2018 Sch 2 para 27",
            *(Right.ACCESS, Right.RECTIFICATION, Right.RESTRICTION, Right.OBJECTION, Right.EXPLANATION),
        ),
        "It would prevent or seriously impair the research, whose results name nobody.",
    ),
    Refusal.CRIME: Ground(
        _each("DPA 2018 Sch 2 para 2"), "It would be likely to prejudice the prevention of crime."
    ),
    Refusal.SERIOUS_HARM: Ground(
        _each("DPA 2018 Sch 3", *_COPY), "It would be likely to cause somebody serious harm."
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
