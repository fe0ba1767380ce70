"""The way back from reference numbers to people: only by a request that others approved, and once.

The rules this module keeps; the broker checks them, and identity checks them again with a register, a ledger
and a clock of its own:

- At least two people approve, by Ed25519 signatures over the exact request, each at a time of their own. They
  are in the register of approvers and not revoked; they are two persons, and neither is the requester.
- A request is refused before it was made, after it expires, after its project's end, if it is valid for too
  long, if it is for numbers other than those it was approved for, and the second time.
- A requester's numbers in a day are counted, and end at the quota.
- Every refusal and every grant goes to the alarm. A grant that could not be told is no grant.

One approval that does not hold refuses the whole request: somebody sent it on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import NoReturn, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pseudonym.approvers import MOST_APPROVALS, Policy, Register
from pseudonym.errors import RequestRefusedError
from pseudonym.reading import read_all
from pseudonym.requests import Approval, Request, digest_of, seal_to_requester, signed


class Refusal(StrEnum):
    """Why a request is not granted."""

    REQUESTER_UNKNOWN = "REQUESTER_UNKNOWN"
    PROJECT_UNKNOWN = "PROJECT_UNKNOWN"
    PROJECT_ENDED = "PROJECT_ENDED"
    REQUEST_TIME = "REQUEST_TIME"  # made in the future
    REQUEST_EXPIRED = "REQUEST_EXPIRED"
    REQUEST_TOO_LONG = "REQUEST_TOO_LONG"  # valid for longer than is allowed
    REQUEST_USED = "REQUEST_USED"
    URNS_DIFFER = "URNS_DIFFER"  # not the numbers that were approved
    URNS_TOO_MANY = "URNS_TOO_MANY"
    APPROVALS_TOO_FEW = "APPROVALS_TOO_FEW"
    APPROVER_UNKNOWN = "APPROVER_UNKNOWN"
    APPROVER_REVOKED = "APPROVER_REVOKED"
    APPROVER_REPEATED = "APPROVER_REPEATED"
    APPROVER_IS_REQUESTER = "APPROVER_IS_REQUESTER"
    APPROVAL_TIME = "APPROVAL_TIME"
    APPROVAL_SIGNATURE = "APPROVAL_SIGNATURE"  # not over this request, or altered
    QUOTA = "QUOTA"


class Spending(StrEnum):
    """What a ledger says."""

    DONE = "DONE"
    USED = "USED"
    QUOTA = "QUOTA"


class Ledger(Protocol):
    """What a role remembers of requests, durably."""

    def spend(self, request: bytes, person: str, day: date, count: int, quota: int) -> Spending:
        """Note, in one step that nothing can come between, that a request is granted.

        USED if the request (by its name, 32 bytes) was noted before; QUOTA if with `count` the person's
        numbers of that day would be above `quota`; in both cases nothing is noted. DONE once it is durable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Alarm:
    """What an alarm tells: never a reference number, never a reason in words.

    Attributes:
        role: who checked.
        granted: or refused.
        reason: the refusal's code, or an empty string.
        time: when.
        request: the request's name, 32 bytes.
        project: as the request says, and so the rest.
        recipient: whose numbers.
        requester: who asked.
        count: how many numbers.
    """

    role: str
    granted: bool
    reason: str
    time: datetime
    request: bytes
    project: str
    recipient: str
    requester: str
    count: int


@dataclass(frozen=True, slots=True)
class Gate:
    """What one role checks requests with.

    Attributes:
        role: its name, for the alarm.
        register: who may ask and approve.
        ends: when each project ends; a project that is not here is unknown.
        ledger: what it remembers.
        alarm: is called for every refusal and every grant, before the caller knows of it.
        policy: the limits.
    """

    role: str
    register: Register
    ends: Mapping[str, datetime]
    ledger: Ledger
    alarm: Callable[[Alarm], None]
    policy: Policy = field(default_factory=Policy)


_CHECKED = object()


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that was checked, just now, and is spent. Only `check_request` makes one."""

    request: Request
    approvers: tuple[str, ...]
    _by: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._by is not _CHECKED:
            raise TypeError("Only check_request grants a request.")

    def __reduce__(self) -> NoReturn:
        raise TypeError("What is granted does not leave the process that granted it.")


def check_asked(gate: Gate, request: Request, now: datetime, words: Sequence[str]) -> None:
    """Refuse a request that could never be granted, however many approve it.

    Args:
        gate: what this role checks with.
        request: as it came.
        now: this role's own clock, with its time zone.
        words: the reference numbers, sorted.

    Raises:
        RequestRefusedError: with a code of `Refusal`; nothing is spent.
    """
    with _alarmed(gate, request, now):
        _check_asked(gate, request, now, words, None)


def check_approval(gate: Gate, request: Request, approval: Approval, now: datetime) -> None:
    """Refuse an approval that could never help to grant its request.

    Raises:
        RequestRefusedError: with a code of `Refusal`; nothing is spent.
    """
    with _alarmed(gate, request, now):
        person = _check_requester(gate, request)
        _check_approval(gate, request, person, approval, now)


def check_before(
    gate: Gate, request: Request, approvals: Collection[Approval], now: datetime, *, count: int
) -> None:
    """Refuse what `check_request` would, and spend nothing: for identity, before it opens anything.

    Raises:
        RequestRefusedError: with a code of `Refusal`.
    """
    with _alarmed(gate, request, now):
        _check(gate, request, approvals, now, None, count)


def check_request(
    gate: Gate,
    request: Request,
    approvals: Collection[Approval],
    now: datetime,
    *,
    words: Sequence[str] | None = None,
    count: int | None = None,
    again: bool = False,
) -> Granted:
    """Grant a request, once, or refuse it.

    Args:
        gate: what this role checks with.
        request: as it came.
        approvals: all that came with it; every one has to hold.
        now: this role's own clock, with its time zone.
        words: the reference numbers, for the broker, which knows them.
        count: how many people the answer would be about, for identity, which must not see the numbers.
        again: whether a request that this role has granted before is granted once more, for the same answer
            because the first one may be lost: all is checked and told again, and nothing more is spent.

    Returns:
        What `seal_answer` takes.

    Raises:
        RequestRefusedError: it is refused, with a code of `Refusal`; nothing is spent.
        ValueError: not exactly one of `words` and `count` was given.
    """
    if (words is None) == (count is None):
        raise ValueError("Either the reference numbers are given, or how many people it is about.")
    with _alarmed(gate, request, now):
        person, approvers = _check(gate, request, approvals, now, words, count)
        _spend(gate, request, person, now, again=again)
    gate.alarm(_alarm(gate, request, now, ""))
    return Granted(request, approvers, _CHECKED)


def _spend(gate: Gate, request: Request, person: str, now: datetime, *, again: bool) -> None:
    day = now.astimezone(UTC).date()
    spent = gate.ledger.spend(request.name(), person, day, request.count, gate.policy.urns_a_day)
    if spent is Spending.USED and again:
        return
    if spent is Spending.USED:
        _refuse(Refusal.REQUEST_USED, "The request was granted before.", "Make a new one.")
    if spent is not Spending.DONE:
        _refuse(Refusal.QUOTA, "The requester's numbers for today are used up.", "Try again tomorrow.")


@contextmanager
def _alarmed(gate: Gate, request: Request, now: datetime) -> Iterator[None]:
    try:
        yield
    except RequestRefusedError as refused:
        with suppress(Exception):  # it stays refused, whether or not the alarm is heard
            gate.alarm(_alarm(gate, request, now, refused.reason))
        raise


def seal_answer(granted: Granted, answer: bytes) -> bytes:
    """Seal the answer to a granted request, so that only the requester can open it."""
    return seal_to_requester(granted.request, answer)


def _check(
    gate: Gate,
    request: Request,
    approvals: Collection[Approval],
    now: datetime,
    words: Sequence[str] | None,
    count: int | None,
) -> tuple[str, tuple[str, ...]]:
    person = _check_asked(gate, request, now, words, count)
    return person, _check_approvals(gate, request, person, approvals, now)


def _check_requester(gate: Gate, request: Request) -> str:
    person = gate.register.requesters.get(request.requester)
    if person is None:
        _refuse(Refusal.REQUESTER_UNKNOWN, "The requester may not ask.")
    return person


def _check_asked(
    gate: Gate, request: Request, now: datetime, words: Sequence[str] | None, count: int | None
) -> str:
    policy = gate.policy
    person = _check_requester(gate, request)
    end = gate.ends.get(request.project)
    if end is None:
        _refuse(Refusal.PROJECT_UNKNOWN, "There is no such project.")
    if now >= end:
        _refuse(Refusal.PROJECT_ENDED, "The project has ended, and the way back with it.")
    if request.made > now + policy.skew:
        _refuse(Refusal.REQUEST_TIME, "The request was made in the future.", "Set the clocks.")
    if now >= request.expires:
        _refuse(Refusal.REQUEST_EXPIRED, "The request has expired.", "Make a new one.")
    if request.expires - request.made > policy.longest:
        _refuse(Refusal.REQUEST_TOO_LONG, f"A request is valid for {policy.longest.days} days at most.")
    if request.count > policy.most_urns:
        _refuse(Refusal.URNS_TOO_MANY, f"A request is about {policy.most_urns} reference numbers at most.")
    if words is not None:
        _check_words(request, words)
    # A person whose numbers were merged is one: there may be fewer people than numbers, and never more.
    if count is not None and not 0 <= count <= request.count:
        _refuse(Refusal.URNS_DIFFER, "The answer would be about more people than the request.")
    return person


def _check_words(request: Request, words: Sequence[str]) -> None:
    found = read_all(words[: request.count]).read
    same = (
        len(words) == request.count == len(set(words))
        and found["urn"].to_list() == list(words)
        and bool((found["epoch"] == request.epoch).all())
        and digest_of(request.id, words) == request.digest
    )
    if not same:
        _refuse(Refusal.URNS_DIFFER, "These are not the reference numbers that were approved.")


def _check_approvals(
    gate: Gate, request: Request, person: str, approvals: Collection[Approval], now: datetime
) -> tuple[str, ...]:
    least = gate.policy.least_approvals
    if not least <= len(approvals) <= MOST_APPROVALS:
        _refuse(Refusal.APPROVALS_TOO_FEW, f"A request takes {least} approvals at least.")
    persons: set[str] = set()
    for approval in approvals:
        approver = _check_approval(gate, request, person, approval, now, persons)
        persons.add(approver)
    return tuple(sorted(approval.approver for approval in approvals))


def _check_approval(
    gate: Gate,
    request: Request,
    person: str,
    approval: Approval,
    now: datetime,
    others: Collection[str] = (),
) -> str:
    """The person who gave an approval of somebody else's request, unless they are one of the others."""
    approver = {one.name: one for one in gate.register.approvers}.get(approval.approver)
    if approver is None:
        _refuse(Refusal.APPROVER_UNKNOWN, "An approver is not in the register.")
    if approver.revoked:
        _refuse(Refusal.APPROVER_REVOKED, "An approver may approve no longer.")
    if approver.person == person or approver.name == request.requester:
        _refuse(Refusal.APPROVER_IS_REQUESTER, "Nobody approves their own request.")
    if approver.person in others:
        _refuse(Refusal.APPROVER_REPEATED, "Two approvals are one person's.")
    first, last = request.made - gate.policy.skew, min(now + gate.policy.skew, request.expires)
    if not first <= approval.time <= last:
        _refuse(Refusal.APPROVAL_TIME, "An approval is from before the request, or from the future.")
    try:
        Ed25519PublicKey.from_public_bytes(approver.public_key).verify(
            approval.signature, signed(request, approval.approver, approval.time)
        )
    except (InvalidSignature, ValueError):
        _refuse(Refusal.APPROVAL_SIGNATURE, "A signature is not the approver's over this request.")
    return approver.person


def _alarm(gate: Gate, request: Request, now: datetime, reason: str) -> Alarm:
    return Alarm(
        gate.role,
        not reason,
        reason,
        now,
        request.name(),
        request.project,
        request.recipient,
        request.requester,
        request.count,
    )


def _refuse(reason: Refusal, message: str, help: str = "") -> NoReturn:
    raise RequestRefusedError(reason.value, message, help)
