"""What was decided about one or more people: the rule, without who they are where that need not be known.

| rule | what of the people is kept | what it does |
| --- | --- | --- |
| `withdrawal` | tokens; ids until they are erased | whoever matches is made nobody |
| `nhs-number` | tokens and ids, also of records | the number is not kept and not used |
| `sharing` | ids, also of records | no register is told of them or linked with them, but by override |
| `circulation` | tokens | a list of its own; research asks nothing of it |
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pseudonym.errors import InputError, SealBrokenError
from pseudonym.optouts.tokens import Tokens, packed, unpacked


class Kind(StrEnum):
    """What a rule is about."""

    WITHDRAWAL = "withdrawal"
    NHS_NUMBER = "nhs-number"
    SHARING = "sharing"
    CIRCULATION = "circulation"


class State(StrEnum):
    """How far a rule has come."""

    PENDING = "pending"
    """It holds, and what it asks for besides is still being done."""
    DONE = "done"
    LIFTED = "lifted"


class Ground(StrEnum):
    """Why a request not to share is overridden: the cases in which a notice says that it may be."""

    LAW = "required-by-law"
    HARM = "prevent-harm-to-a-child"
    CRIME = "prevent-a-crime"
    STATUTORY = "statutory-function"


@dataclass(frozen=True, slots=True)
class Override:
    """A request not to share is not followed in one respect.

    Attributes:
        ground: why.
        reference: of the paper in which it was decided, a code.
        register: for which register, or empty for all.
        when: ISO 8601, UTC.
        told: when the person was told of it, or empty: they have to be.
    """

    ground: Ground
    reference: str
    register: str
    when: str
    told: str = ""

    def text(self) -> str:
        """What the person has to be told, in words for them."""
        why = {
            Ground.LAW: "a law requires it",
            Ground.HARM: "it is needed to prevent harm to a child",
            Ground.CRIME: "it is needed to prevent a crime",
            Ground.STATUTORY: "it is needed for a duty that the law gives us",
        }[self.ground]
        what = f"with the register {self.register}" if self.register else "with others"
        return (
            f"You asked us not to share information about you. We have to share some {what}, because {why}. "
            f"Our reference is {self.reference}. You can ask our data protection officer about it, and "
            "complain to the Information Commissioner's Office."
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as a rule keeps it.

    Attributes:
        request_id: its id.
        project, purpose: of its mandate.
        requester: by whom, as in the certificate.
        tag: by which the same request is known again, four hexadecimal digits.
        when: ISO 8601, UTC.
    """

    request_id: str
    project: str
    purpose: str
    requester: str
    tag: str
    when: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One decision.

    Attributes:
        name: its id, random.
        kind: what it is about.
        state: how far it has come.
        request: that made it.
        persons: how many people it is about.
        tokens: of each person, where tokens are kept.
        pids: ids of the people, where and as long as they are kept.
        overrides: of a request not to share.
        erasure_id: of a withdrawal, once it has begun.
        units: ids of their records, by which they are known after a person was divided.
    """

    name: str
    kind: Kind
    state: State
    request: Asked
    persons: int
    tokens: tuple[Tokens, ...] = field(default=(), repr=False)
    pids: tuple[bytes, ...] = field(default=(), repr=False)
    overrides: tuple[Override, ...] = ()
    erasure_id: str = ""
    units: tuple[bytes, ...] = field(default=(), repr=False)

    def shares(self, register: str) -> bool:
        """Whether, of a request not to share, an override lets a register be."""
        return any(one.register in ("", register) for one in self.overrides)

    def overridden(self, override: Override) -> Rule:
        """The rule with an override more, unless it has the same one."""
        same = (override.ground, override.reference, override.register)
        if same in [(one.ground, one.reference, one.register) for one in self.overrides]:
            return self
        return replace(self, overrides=(*self.overrides, override))

    def spelt(self) -> dict[str, Any]:
        """The rule as JSON; it is sealed wherever it is kept."""
        return {
            **{name: getattr(self, name) for name in ("name", "kind", "state", "erasure_id")},
            **{name: getattr(self.request, name) for name in _ASKED},
            "persons": self.persons,
            "tokens": [base64.b64encode(packed(one)).decode() for one in self.tokens],
            "pids": [pid.hex() for pid in self.pids],
            "units": [unit.hex() for unit in self.units],
            "overrides": [
                [one.ground, one.reference, one.register, one.when, one.told] for one in self.overrides
            ],
        }

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """What `spelt` made.

        Raises:
            SealBrokenError: it is nothing of the kind.
        """
        try:
            texts = {name: str(content[name]) for name in _TEXTS}
            return cls(
                name=texts["name"],
                kind=Kind(texts["kind"]),
                state=State(texts["state"]),
                request=Asked(*(texts[name] for name in _ASKED)),
                persons=int(content["persons"]),
                erasure_id=texts["erasure_id"],
                tokens=tuple(unpacked(base64.b64decode(one)) for one in content["tokens"]),
                pids=tuple(bytes.fromhex(one) for one in content["pids"]),
                units=tuple(bytes.fromhex(one) for one in content.get("units", ())),
                overrides=tuple(Override(Ground(one[0]), *one[1:]) for one in content["overrides"]),
            )
        except (KeyError, ValueError, TypeError, IndexError):
            raise SealBrokenError(
                "A rule about a person is not spelt as it would have been written."
            ) from None


_ASKED = ("request_id", "project", "purpose", "requester", "tag", "when")
_TEXTS = ("name", "kind", "state", "erasure_id", *_ASKED)


def ground(text: str) -> Ground:
    """A ground by its code.

    Raises:
        InputError: it is none.
    """
    try:
        return Ground(text)
    except ValueError:
        raise InputError("This is no ground for an override.", f"They are {', '.join(Ground)}.") from None


def moment(when: datetime) -> str:
    """A moment as rules have it."""
    return when.isoformat(timespec="seconds")
