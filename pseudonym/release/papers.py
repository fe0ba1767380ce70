"""What people sign of a release: approvals of exactly what was built, and that it was destroyed.

Approvals are checked as those of the way back are (`pseudonym.wayback`), with the same register of approvers.
A build's digest is that of its manifest, which holds the digests of every file and of the report; a build
that differs in anything is another one, and needs approvals of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pseudonym.approvers import Approver, Register
from pseudonym.errors import InputError, RequestRefusedError
from pseudonym.files import canonical
from pseudonym.requests import check_name, check_time, read_bytes, read_fields, read_time, seconds, written
from pseudonym.urn import enc
from pseudonym.wayback import Refusal

APPROVAL_FORMAT: Final = "kinlink-release-approval/1"
STATEMENT_FORMAT: Final = "kinlink-release-destroyed/1"
APPROVALS: Final = 2
SKEW: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's yes to exactly one build.

    Attributes:
        digest: of the build's manifest, 32 bytes.
        approver: the name in the register.
        time: when, in whole seconds.
        signature: Ed25519, 64 bytes.
    """

    digest: bytes
    approver: str
    time: datetime
    signature: bytes

    def __post_init__(self) -> None:
        check_name(self.approver, "an approver")
        check_time(self.time)
        if (len(self.digest), len(self.signature)) != (32, 64):
            raise InputError("An approval names a build by 32 bytes, and its signature has 64.")

    def signed(self) -> bytes:
        """What is signed."""
        return enc("release-approval/1", self.digest, self.approver, seconds(self.time))

    @classmethod
    def sign(cls, digest: bytes, approver: str, key: Ed25519PrivateKey, time: datetime) -> Self:
        """Approve a build."""
        unsigned = cls(digest, approver, time, bytes(64))
        return cls(digest, approver, time, key.sign(unsigned.signed()))

    def to_file(self) -> bytes:
        """The approval as a file."""
        return _to_file(self, APPROVAL_FORMAT)

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote. Raises TamperedError, InputError."""
        return cls(**_from_file(data, APPROVAL_FORMAT, cls.__slots__, "approval"))


@dataclass(frozen=True, slots=True)
class Statement:
    """A recipient's word that a release and all copies of it were destroyed.

    Attributes:
        digest: of the release's manifest, 32 bytes.
        who: the researcher who states it.
        time: when it was destroyed, in whole seconds.
        how: one sentence.
        signature: Ed25519, 64 bytes, with the recipient's signing key.
    """

    digest: bytes
    who: str
    time: datetime
    how: str
    signature: bytes

    def __post_init__(self) -> None:
        check_name(self.who, "who states it")
        check_time(self.time)
        if (len(self.digest), len(self.signature)) != (32, 64):
            raise InputError("A statement names a release by 32 bytes, and its signature has 64.")
        if not 1 <= len(self.how) <= 500 or not self.how.isprintable() or not self.how.strip():
            raise InputError("A statement says in one line of at most 500 characters how it was destroyed.")

    def signed(self) -> bytes:
        """What is signed."""
        return enc("release-destroyed/1", self.digest, self.who, seconds(self.time), self.how)

    @classmethod
    def sign(cls, digest: bytes, who: str, key: Ed25519PrivateKey, time: datetime, how: str) -> Self:
        """State it."""
        unsigned = cls(digest, who, time, how, bytes(64))
        return cls(digest, who, time, how, key.sign(unsigned.signed()))

    def check(self, digest: bytes, public_key: bytes, now: datetime) -> None:
        """Refuse a statement about something else, of the future, or of another key.

        Raises:
            RequestRefusedError: it is one.
        """
        if self.digest != digest:
            _refuse(
                Refusal.APPROVAL_SIGNATURE, "The statement is about another build.", "State it of this one."
            )
        if self.time > now + SKEW:
            _refuse(Refusal.APPROVAL_TIME, "The statement is from the future.", "Set the clocks.")
        if not _verifies(public_key, self.signature, self.signed()):
            _refuse(Refusal.APPROVAL_SIGNATURE, "The signature is not of the recipient's key over this.")

    def to_file(self) -> bytes:
        """The statement as a file."""
        return _to_file(self, STATEMENT_FORMAT)

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote. Raises TamperedError, InputError."""
        return cls(**_from_file(data, STATEMENT_FORMAT, cls.__slots__, "statement"))


def check_approval(
    register: Register,
    allowed: Collection[str],
    requester: str,
    digest: bytes,
    built: datetime,
    approval: Approval,
    others: Collection[Approval],
    now: datetime,
) -> None:
    """Refuse an approval that does not count.

    Args:
        register: the approvers, with their persons and keys.
        allowed: the names that the release's specification lets approve.
        requester: the person who asked for the release.
        digest: of the build that may be approved.
        built: when it was built.
        approval: as it came.
        others: approvals of the same build that count.
        now: the time.

    Raises:
        RequestRefusedError: with a code of `wayback.Refusal`.
    """
    approver = _known(register, approval.approver)
    if approver is None or approval.approver not in allowed:
        _refuse(Refusal.APPROVER_UNKNOWN, "The approver is not in the register, or not in the specification.")
    if approver.revoked:
        _refuse(Refusal.APPROVER_REVOKED, "The approver may approve no longer.")
    if approver.person == requester or approver.name == requester:
        _refuse(Refusal.APPROVER_IS_REQUESTER, "Nobody approves what they asked for.")
    persons = {known.person for one in others if (known := _known(register, one.approver))}
    if approver.person in persons:
        _refuse(Refusal.APPROVER_REPEATED, "The same person has approved already.")
    if not built - SKEW <= approval.time <= now + SKEW:
        _refuse(Refusal.APPROVAL_TIME, "The approval is from before the build, or from the future.")
    if approval.digest != digest or not _verifies(approver.public_key, approval.signature, approval.signed()):
        _refuse(
            Refusal.APPROVAL_SIGNATURE,
            "The signature is not the approver's over this build.",
            "If it was built again since, look at the new report, and approve that.",
        )


def complete(
    register: Register,
    allowed: Collection[str],
    requester: str,
    digest: bytes,
    built: datetime,
    approvals: Collection[Approval],
    now: datetime,
) -> None:
    """Refuse what too few have approved; every approval is checked again, by the register of now.

    Raises:
        RequestRefusedError: with a code of `wayback.Refusal`.
    """
    counted: list[Approval] = []
    for approval in approvals:
        check_approval(register, allowed, requester, digest, built, approval, counted, now)
        counted.append(approval)
    if len(counted) < APPROVALS:
        _refuse(Refusal.APPROVALS_TOO_FEW, f"A release takes {APPROVALS} approvals.", "Ask its approvers.")


def _known(register: Register, name: str) -> Approver | None:
    return next((one for one in register.approvers if one.name == name), None)


def _verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _to_file(paper: Approval | Statement, form: str) -> bytes:
    return canonical({"format": form} | {slot: written(getattr(paper, slot)) for slot in paper.__slots__})


def _from_file(data: bytes, form: str, slots: Collection[str], what: str) -> dict[str, Any]:
    found = read_fields(data, form, list(slots), what)
    for slot in ("digest", "signature"):
        found[slot] = read_bytes(found[slot])
    found["time"] = read_time(found["time"])
    if any(type(found[slot]) is not str for slot in ("approver", "who", "how") if slot in found):
        raise InputError(f"This is no {what}: a text is none.")
    return found


def _refuse(reason: Refusal, message: str, help: str = "") -> NoReturn:
    raise RequestRefusedError(reason.value, message, help)
