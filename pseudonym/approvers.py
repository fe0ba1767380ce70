"""Who may ask for the way back, who may approve it, and within which limits, as one role knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pseudonym.errors import InputError
from pseudonym.requests import check_name

LEAST_APPROVALS: Final = 2
MOST_APPROVALS: Final = 16


@dataclass(frozen=True, slots=True)
class Approver:
    """Somebody who may approve.

    Attributes:
        name: as in their approvals.
        person: who they are; one person under two names is one person.
        public_key: Ed25519, 32 bytes.
        revoked: whether they no longer may, whenever they signed.
    """

    name: str
    person: str
    public_key: bytes
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Register:
    """Who may ask and who may approve, as one role knows it.

    Attributes:
        approvers: all that ever were, the revoked too.
        requesters: the person behind each name that may ask.

    Raises:
        InputError: a name twice, or one key for two persons.
    """

    approvers: Sequence[Approver]
    requesters: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in (*self.requesters, *self.requesters.values()):
            check_name(name, "a requester")
        owners: dict[bytes, str] = {}
        for approver in self.approvers:
            check_name(approver.name, "an approver")
            check_name(approver.person, "an approver")
            if len(approver.public_key) != 32:
                raise InputError("An approver's public key is 32 bytes.")
            if owners.setdefault(approver.public_key, approver.person) != approver.person:
                raise InputError("Two approvers have one key.", "Each makes a key of their own.")
        if len({approver.name for approver in self.approvers}) != len(self.approvers):
            raise InputError("The register holds an approver twice.")


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits.

    Attributes:
        least_approvals: two or more.
        most_urns: in one request.
        urns_a_day: for one requester, counted by days in UTC.
        longest: from when a request is made until it expires.
        skew: how far other people's clocks may be ahead.

    Raises:
        InputError: a limit that is none.
    """

    least_approvals: int = LEAST_APPROVALS
    most_urns: int = 500
    urns_a_day: int = 500
    longest: timedelta = timedelta(days=14)
    skew: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        if not LEAST_APPROVALS <= self.least_approvals <= MOST_APPROVALS:
            raise InputError(f"A request takes {LEAST_APPROVALS} to {MOST_APPROVALS} approvals.")
        if (
            min(self.most_urns, self.urns_a_day) < 1
            or self.longest <= timedelta(0)
            or self.skew < timedelta(0)
        ):
            raise InputError("The limits of the way back are above zero.")
