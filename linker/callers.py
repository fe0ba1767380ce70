"""Who makes a call, as the gate was told: the sender of what is sent, and what of others' it may see."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        name: of role and person, as in the certificate; the same for every call of the same caller.
        only_own: whether it sees no submissions and judgements but its own.
    """

    name: str
    only_own: bool


_current: ContextVar[Caller] = ContextVar("caller")


def enter(caller: Caller) -> None:
    """Say who calls, for all that the present task does."""
    _current.set(caller)


def current() -> Caller:
    """Who makes the call that the present task or thread works on.

    Raises:
        LookupError: it works on none; nothing may then be assumed.
    """
    return _current.get()


def sender() -> str | None:
    """Whose submissions and judgements the caller sees: its own name, or None for everybody's."""
    caller = current()
    return caller.name if caller.only_own else None
