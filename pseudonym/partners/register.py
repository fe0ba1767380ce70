"""Who may make and read partner checks, and which partners are asked: what the governance file says of it.

    {"council": "e10000003", "most": 12,
     "operators": [{"name": "alice", "person": "alice", "public_key": "…64 hexadecimal digits…"}],
     "partners": [{"name": "jcp-ely", "checks": ["out-of-work-benefits"], "public_key": "…64 digits…"}],
     "purposes": {"benefit-check": {"words": "to find out whether a family qualifies", "basis": "6(1)(e)",
                                    "sharing": "statutory-function", "datasets": ["out-of-work-benefits"]}}}

The rules this module keeps:

- The operators are few, each a person by name with one key, and no register of more than `most` is read.
- A check is asked for a purpose that has a lawful basis and names the check, among its datasets; a check
  about offending needs its condition as well (`pseudonym.lawful.cover`). Partners need no purposes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pseudonym.errors import InputError, LawError, OperatorError
from pseudonym.lawful.cover import check_uses
from pseudonym.lawful.records import Purpose, read_purpose
from pseudonym.partners.checks import Check, check_named
from pseudonym.requests import check_name
from pseudonym.urn import check_label

MOST: Final = 12
"""Operators, where the file names no other number …"""
LARGEST: Final = 50
"""… which is never above this: staff who share information are a small number."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who may make questions, and read the answers to their own.

    Attributes:
        name: what the audit log calls them.
        person: who they are.
        public_key: Ed25519, 32 bytes; what they make is signed with its private half.
    """

    name: str
    person: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Partner:
    """An organisation that is asked.

    Attributes:
        name: its label.
        checks: what was agreed that it is asked.
        public_key: X25519, 32 bytes; questions are sealed to it.
    """

    name: str
    checks: frozenset[str]
    public_key: bytes


@dataclass(frozen=True, slots=True)
class PartnerRegister:
    """The operators and partners of one council.

    Attributes:
        council: its label.
        most: how many operators there may be.
        operators: by name.
        partners: by name.
        purposes: by code: what checks stand on.

    Raises:
        InputError: a part has not its form, there are too many operators, or two share a person or a key.
    """

    council: str
    most: int
    operators: tuple[Operator, ...]
    partners: tuple[Partner, ...]
    purposes: Mapping[str, Purpose] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_label(self.council, "council")
        if not 1 <= self.most <= LARGEST:
            raise InputError(f"The most operators of partner checks are 1 to {LARGEST}.")
        if len(self.operators) > self.most:
            raise InputError(
                f"{len(self.operators)} operators of partner checks are named, and {self.most} is the most.",
                "Take somebody out before another comes in.",
            )
        for operator in self.operators:
            check_label(operator.name, "operator")
            check_name(operator.person, "an operator")
        for part in ("name", "person", "public_key"):
            if len({getattr(one, part) for one in self.operators}) != len(self.operators):
                raise InputError(
                    "Two operators of partner checks have one name, person or key.",
                    "Each is one person, with a key of their own.",
                )
        for partner in self.partners:
            check_label(partner.name, "partner")
            for name in partner.checks:
                check_named(name)
        if len({one.name for one in self.partners}) != len(self.partners):
            raise InputError("A partner is named twice.")
        keys = [one.public_key for one in self.operators] + [one.public_key for one in self.partners]
        if any(len(key) != 32 for key in keys):
            raise InputError("A public key is 32 bytes.")

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read the form above; keys and values of other forms raise ValueError, TypeError or KeyError."""
        if not set(content) <= {"council", "most", "operators", "partners", "purposes"}:
            raise ValueError
        most = content.get("most", MOST)
        if type(most) is not int:
            raise TypeError
        return cls(
            content["council"],
            most,
            tuple(
                Operator(**{**one, "public_key": bytes.fromhex(one["public_key"])})
                for one in content.get("operators", [])
            ),
            tuple(
                Partner(one["name"], frozenset(one["checks"]), bytes.fromhex(one["public_key"]))
                for one in content.get("partners", [])
            ),
            {
                code: read_purpose("partner_checks", code, one)
                for code, one in content.get("purposes", {}).items()
            },
        )

    def operator(self, public_key: bytes) -> Operator:
        """The operator whose key this is.

        Raises:
            OperatorError: it is nobody's.
        """
        for one in self.operators:
            if one.public_key == public_key:
                return one
        raise OperatorError(
            "This key is none of an operator of partner checks.",
            "Those who decide on them name operators in the governance file.",
        )

    def purpose(self, check: Check) -> Purpose:
        """What a check stands on.

        Raises:
            LawError: nobody said so, or it lacks the condition for what the check asks.
        """
        found = self.purposes.get(check.purpose)
        if found is None:
            raise LawError(
                "BASIS_MISSING",
                f"Nobody said on what basis the {check.purpose} is made.",
                "Add it to purposes under partner_checks of the governance file; docs/partner-checks.md "
                "shows the form.",
            )
        check_uses(found, (check.name,), check.tags)
        return found

    def partner(self, name: str, check: Check) -> Partner:
        """The partner of a name, if it may be asked this.

        Raises:
            InputError: it is not known, or this was not agreed with it.
        """
        for one in self.partners:
            if one.name == name and check.name in one.checks:
                return one
        raise InputError(
            "No partner of this name is asked this.", "The governance file says what was agreed with whom."
        )
