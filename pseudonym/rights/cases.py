"""A case: one request of one person, from the day it came to the day it was answered.

    open ──extend──▶ open ──decide──▶ deciding ──carried out──▶ closed

The rules this module keeps:

- A request is decided once. It is refused, or granted in part, for reasons that can refuse it, and for one at
  the least; and granted only where it was checked who asks.
- The clock is extended once, with a reason, before its first end.
- A case says nothing by which anybody could be known. Whose it is stands apart from it, and goes with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Self

from pseudonym.errors import ConflictError, InputError
from pseudonym.rights.clock import Urgency, due, urgency
from pseudonym.rights.reasons import GROUNDS, Refusal, Right, check


class State(StrEnum):
    """How far a case has come."""

    OPEN = "open"
    DECIDING = "deciding"  # decided, and being carried out
    CLOSED = "closed"


class Outcome(StrEnum):
    """What was decided."""

    GRANTED = "granted"
    PARTLY = "partly"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"  # by who asked


class Asker(StrEnum):
    """Who asks."""

    SELF = "self"
    PARENT = "parent"  # or whoever has parental responsibility
    REPRESENTATIVE = "representative"


class Proof(StrEnum):
    """How it was checked who asks. No number or document is kept of it."""

    DOCUMENT = "document"  # an official document was seen
    KNOWN = "known"  # somebody who knows the person confirms it
    ACCOUNT = "account"  # signed in to an account that was checked before
    POST = "post"  # a code sent to the address that is held
    AUTHORITY = "authority"  # a power of attorney, an order, parental responsibility was shown


class Delay(StrEnum):
    """Why the clock is extended: Article 12(3)."""

    COMPLEX = "complex"
    NUMEROUS = "numerous"


class Found(StrEnum):
    """What the vault has of who was described."""

    ONE = "one"
    NOBODY = "nobody"
    SEVERAL = "several"
    UNRESOLVABLE = "unresolvable"  # the project's data were destroyed


class Used(StrEnum):
    """The answer to whether data are used."""

    YES = "yes"
    NO = "no"
    UNRESOLVABLE = "no-longer-resolvable"


class Truth(StrEnum):
    """What a value was that is corrected."""

    FORMER = "former"  # it was true once: it is kept as a former value
    NEVER = "never"  # it was never true of the person: nothing of it is kept


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a request.

    Attributes:
        outcome: see `Outcome`.
        reasons: why it was refused, or granted in part only.
        purposes: of a restriction, the purposes that the data may not be used for; none: any.
        truth: of a rectification, what the values were; None of others.
        ground: of an erasure, the name of its ground.
    """

    outcome: Outcome
    reasons: tuple[Refusal, ...] = ()
    purposes: tuple[str, ...] = ()
    truth: Truth | None = None
    ground: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One request.

    Attributes:
        case_id: its own id.
        project: the project's name.
        right: what is asked for.
        opener: who took it in, as in the certificate.
        tag: what the request is known again by, four hexadecimal digits.
        received: the day it came.
        asker: who asks.
        proofs: how it was checked.
        found: what the vault has of who was described; for the officer alone.
        lifts: of a lifting, the case that it ends.
        delay: why the clock was extended; None if it was not.
        state: how far it has come.
        decision: what was decided, if it was.
        decided: when, the day.
        decider: by whom, as in the certificate.
        purpose: under which it was decided.
        tag_decided: what the decision is known again by.
        number: in which order what follows from it is carried out; 0 for nothing to do.
        errand: what the other roles know it by.
        steps: what was done.
        used: the answer to whether data are used.
        lifted: of a restriction or objection, the day on which it ended.
    """

    case_id: str
    project: str
    right: Right
    opener: str
    tag: str
    received: date
    asker: Asker
    proofs: tuple[Proof, ...]
    found: Found
    lifts: str = ""
    delay: Delay | None = None
    state: State = State.OPEN
    decision: Decision | None = None
    decided: date | None = None
    decider: str = ""
    purpose: str = ""
    tag_decided: str = ""
    number: int = 0
    errand: str = ""
    steps: tuple[str, ...] = field(default=())
    used: Used | None = None
    lifted: date | None = None

    @property
    def due(self) -> date:
        """The last day of its clock."""
        return due(self.received, extended=self.delay is not None)

    def urgency(self, today: date) -> Urgency:
        """How near that is."""
        return urgency(self.due, today, closed=self.state is State.CLOSED)

    @property
    def granted(self) -> bool:
        """Whether something follows from its decision."""
        return self.decision is not None and self.decision.outcome in (Outcome.GRANTED, Outcome.PARTLY)

    @property
    def in_force(self) -> bool:
        """Whether it keeps a person's data from being used."""
        return self.right in (Right.RESTRICTION, Right.OBJECTION) and self.granted and self.lifted is None

    def extended(self, delay: Delay, today: date) -> Case:
        """With two more months.

        Raises:
            ConflictError: it was extended for another reason, is decided, or its first month is over.
        """
        if self.delay is delay:
            return self
        if self.delay is not None or self.state is not State.OPEN:
            raise ConflictError("The case was extended or decided already.", "A clock is extended once.")
        if today > self.due:
            raise ConflictError(
                "The month is over: a clock is extended, and the person told so, within it.",
                "Decide the case now.",
            )
        return replace(self, delay=delay)

    def decide(
        self, decision: Decision, proofs: Sequence[Proof], *, by: str, purpose: str, tag: str, today: date
    ) -> Case:
        """With its decision; what follows from it is not done yet.

        Args:
            decision: the decision.
            proofs: how it was checked who asks, beside what was said before.
            by: who decides.
            purpose: what for.
            tag: what the decision is known again by.
            today: the day.

        Raises:
            ConflictError: it was decided otherwise.
            InputError: it lacks a reason, has one that cannot refuse this, or grants what cannot be granted.
        """
        if self.state is not State.OPEN:
            if self.decision == decision and self.tag_decided == tag:
                return self
            raise ConflictError("The case was decided already.", "kinlink rights show tells how.")
        self._check(decision, (*self.proofs, *proofs))
        return replace(
            self,
            state=State.DECIDING,
            decision=decision,
            decided=today,
            decider=by,
            purpose=purpose,
            tag_decided=tag,
            proofs=tuple(dict.fromkeys((*self.proofs, *proofs))),
        )

    def _check(self, decision: Decision, proofs: Sequence[Proof]) -> None:
        refusing = decision.outcome in (Outcome.REFUSED, Outcome.PARTLY)
        if refusing and not decision.reasons:
            raise InputError(
                "A request is refused, in whole or in part, for a reason.", "Name one or more of the codes."
            )
        if decision.reasons and not refusing:
            raise InputError("A reason stands with a refusal only.", "Leave it out, or refuse.")
        check(self.right, decision.reasons)
        if decision.outcome in (Outcome.GRANTED, Outcome.PARTLY):
            if not proofs:
                raise InputError(
                    "It was not checked who asks.", "Say how it was, or refuse: identity-not-shown."
                )
            if self.found is Found.SEVERAL:
                raise InputError(
                    "Several people agree with what was given, so the case is nobody's.",
                    "Refuse it (not-identifiable), and have it opened again with more of the person.",
                )
            if self.right is not Right.USED and self.found is not Found.ONE:
                raise InputError(
                    "Nobody agrees with what was given, so there is nothing to grant.",
                    "Refuse it (nothing-held), or have it opened again with other values of the person.",
                )
        granting = decision.outcome in (Outcome.GRANTED, Outcome.PARTLY)
        for wanted, option, right, given in (
            (
                "what the right values are, and whether the wrong ones were true once",
                "--correct and --truth",
                Right.RECTIFICATION,
                decision.truth,
            ),
            ("the ground of the erasure", "--ground", Right.ERASURE, decision.ground),
        ):
            if granting and self.right is right and not given:
                raise InputError(f"Whoever grants {right} says {wanted}.", f"Use {option}.")
            if given and not (granting and self.right is right):
                raise InputError(
                    f"Only where {right} is granted is it said {wanted}.", f"Leave {option} out."
                )
        if decision.purposes and not (granting and self.right is Right.RESTRICTION):
            raise InputError("Purposes stand with a restriction that is granted.", "Leave them out.")

    def done(self, step: str) -> Case:
        """With one more step done."""
        return self if step in self.steps else replace(self, steps=(*self.steps, step))

    def closed(self) -> Case:
        """With nothing left to do."""
        return replace(self, state=State.CLOSED)

    def to_bytes(self) -> bytes:
        """As it is sealed."""
        return json.dumps(asdict(self), default=date.isoformat, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `to_bytes` made."""
        read: dict[str, Any] = json.loads(content)
        told = read["decision"]
        decision = told and Decision(
            Outcome(told["outcome"]),
            tuple(map(Refusal, told["reasons"])),
            tuple(told["purposes"]),
            told["truth"] and Truth(told["truth"]),
            told["ground"],
        )
        return cls(
            **read
            | {
                "right": Right(read["right"]),
                "received": date.fromisoformat(read["received"]),
                "asker": Asker(read["asker"]),
                "proofs": tuple(map(Proof, read["proofs"])),
                "found": Found(read["found"]),
                "delay": read["delay"] and Delay(read["delay"]),
                "state": State(read["state"]),
                "decision": decision,
                "decided": _day(read["decided"]),
                "steps": tuple(read["steps"]),
                "used": read["used"] and Used(read["used"]),
                "lifted": _day(read["lifted"]),
            }
        )


def refusals(case: Case) -> list[tuple[Refusal, str, str]]:
    """Why it was refused, in full or in part: code, law and plain words."""
    reasons = case.decision.reasons if case.decision else ()
    return [(one, GROUNDS[one].laws[case.right], GROUNDS[one].words) for one in reasons]


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
