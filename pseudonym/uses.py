"""What keys are for: the names of their uses, and which role's keyset may hold which.

| use | role | algorithm | what for |
| --- | --- | --- | --- |
| `kek/1:<YYYY-MM>` | identity, attributes | AES-256-GCM-SIV | wraps subjects' keys; a new one each month |
| `bidx/1` | identity | HMAC-SHA256 | root of the blind indexes |
| `extract/1:<id>` | identity | AES-256-GCM | in older keysets; seals nothing any more |
| `suppression/1` | identity | HMAC-SHA256 | the list of people who must not be linked |
| `unit/1` | identity | HMAC-SHA256 | units: what records and sources' families are called by |
| `aid/1:<project>` | broker | HMAC-SHA256 | attribute ids |
| `urn/1:<project>:<recipient>:<epoch>` | broker | HMAC-SHA256 | reference numbers |
| `ckp/1:<project>` | broker | HMAC-SHA256 | record keys for cell-key perturbation |
| `exchange/1:<a>:<b>:<id>` | broker | HMAC-SHA256 | exchange tokens between two named parties |
| `erasures/1` | each | HMAC-SHA256 | references and chain of the role's ledger of erasures |
| `audit/1` | each | Ed25519 | signs the checkpoints of the role's audit log |

A month's key that leaked has a successor in the same month: `kek/1:2026-11.2`.

The rule this module keeps: a use has one spelling and never gets a second key. So the successor of `audit/1`
is another use: `audit/1:2`, `audit/1:3`. Older keysets may have `bidx/1:2`, which no index follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pseudonym.errors import InputError
from pseudonym.urn import check_epoch, check_label


class Role(StrEnum):
    """Whose keys a keyset holds."""

    IDENTITY = "identity"
    BROKER = "broker"
    ATTRIBUTES = "attributes"


class Algorithm(StrEnum):
    """What a key is used with."""

    HMAC = "HMAC-SHA256"
    GCM_SIV = "AES-256-GCM-SIV"
    GCM = "AES-256-GCM"
    ED25519 = "Ed25519"


@dataclass(frozen=True, slots=True)
class Use:
    """One use, read.

    Attributes:
        kind: the part before the first colon, with its version: `kek/1`.
        labels: the parts after it.
        algorithm: what its key is used with.
        roles: whose keysets may hold it.
    """

    kind: str
    labels: tuple[str, ...]
    algorithm: Algorithm
    roles: frozenset[Role]

    @property
    def number(self) -> int:
        """The use's place among its successors: a URN's epoch, or 1, 2, …; 1 where there are none."""
        if self.kind == URN:
            return int(self.labels[2])
        return int(self.labels[0]) if self.kind in (BIDX, AUDIT) and self.labels else 1

    def __str__(self) -> str:
        return ":".join((self.kind, *self.labels))


KEK: Final = "kek/1"
BIDX: Final = "bidx/1"
EXTRACT: Final = "extract/1"
SUPPRESSION: Final = "suppression/1"
UNIT: Final = "unit/1"
AID: Final = "aid/1"
URN: Final = "urn/1"
CKP: Final = "ckp/1"
EXCHANGE: Final = "exchange/1"
ERASURES: Final = "erasures/1"
AUDIT: Final = "audit/1"

_MONTH = re.compile(r"([0-9]{4}-(?:0[1-9]|1[0-2]))(?:\.([2-9]|[1-9][0-9]))?")
_LATER = re.compile(r"[1-9][0-9]{0,3}")


def check_month(text: str) -> str:
    """Return a month unchanged, if it is written as 2026-11, or 2026-11.2 for its second key.

    Raises:
        InputError: it is not.
    """
    place_of_month(text)
    return text


def place_of_month(text: str) -> tuple[str, int]:
    """The month itself and which of its keys is meant, from 1.

    Raises:
        InputError: it is not written as a month.
    """
    found = _MONTH.fullmatch(text)
    if found is None:
        raise InputError("A month is written as in 2026-11, and its second key as 2026-11.2.")
    return found[1], int(found[2] or 1)


def month_of(moment: datetime) -> str:
    """The month of a moment."""
    return moment.strftime("%Y-%m")


def month_after(month: str) -> str:
    """The month that follows."""
    year, number = map(int, month.split("-"))
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def _epoch(text: str) -> None:
    if not _LATER.fullmatch(text):
        raise InputError("An epoch is written as a whole number.")
    check_epoch(int(text))


def _later(text: str) -> None:
    if not _LATER.fullmatch(text) or text == "1":
        raise InputError("A successor is written as a whole number from 2.")


def _label(what: str) -> Callable[[str], object]:
    return lambda text: check_label(text, what)


_EVERY: Final = frozenset(Role)
_IDENTITY: Final = frozenset({Role.IDENTITY})
_BROKER: Final = frozenset({Role.BROKER})
_PROJECT, _PARTY, _ID = _label("project"), _label("party"), _label("job")
_FORMS: Final[
    dict[str, tuple[Algorithm, frozenset[Role], tuple[tuple[Callable[[str], object], ...], ...]]]
] = {
    KEK: (Algorithm.GCM_SIV, frozenset({Role.IDENTITY, Role.ATTRIBUTES}), ((check_month,),)),
    BIDX: (Algorithm.HMAC, _IDENTITY, ((), (_later,))),
    EXTRACT: (Algorithm.GCM, _IDENTITY, ((_ID,),)),
    SUPPRESSION: (Algorithm.HMAC, _IDENTITY, ((),)),
    UNIT: (Algorithm.HMAC, _IDENTITY, ((),)),
    AID: (Algorithm.HMAC, _BROKER, ((_PROJECT,),)),
    URN: (Algorithm.HMAC, _BROKER, ((_PROJECT, _label("recipient"), _epoch),)),
    CKP: (Algorithm.HMAC, _BROKER, ((_PROJECT,),)),
    EXCHANGE: (Algorithm.HMAC, _BROKER, ((_PARTY, _PARTY, _ID),)),
    ERASURES: (Algorithm.HMAC, _EVERY, ((),)),
    AUDIT: (Algorithm.ED25519, _EVERY, ((), (_later,))),
}


def read(text: str) -> Use:
    """Read a use.

    Raises:
        InputError: it is none.
    """
    kind, *labels = text.split(":")
    algorithm, roles, forms = _FORMS.get(kind, (None, None, ()))
    for form in forms:
        if len(form) == len(labels) and algorithm is not None and roles is not None:
            for check, label in zip(form, labels, strict=True):
                check(label)
            return Use(kind, tuple(labels), algorithm, roles)
    raise InputError(
        "No key has such a use.", f"Uses begin with {', '.join(_FORMS)}, and their names follow after colons."
    )


def role_of(set_name: str) -> Role:
    """The role that a keyset of this name is for: `broker`, or a name that begins with `broker-`.

    Raises:
        InputError: the name is of none.
    """
    check_label(set_name, "keyset")
    for role in Role:
        if set_name == role or set_name.startswith(f"{role}-"):
            return role
    raise InputError(
        "The name of a keyset is a role's, or begins with it and a hyphen.",
        f"The roles are {', '.join(Role)}.",
    )
