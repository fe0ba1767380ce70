"""Threads of their own for two kinds of work, so that neither the one nor the other stops a role.

- The entry in the audit log that each reply waits for: it never waits behind the work of other calls.
- Work that waits for another role: it may wait long, and takes no thread from calls that need nobody else.
  Calls beyond `MOST` are refused at once, so that there are always places for others: in one process the
  calls that these wait for are among them.

All other work runs in the server's common threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from pseudonym.roles.refusals import BusyError

AT_ONCE, MOST = 16, 48
"""How many calls that wait for another role are worked on, and how many may be there; a server takes 64."""

P = ParamSpec("P")
T = TypeVar("T")

_entries = ThreadPoolExecutor(4, "audit")
_peers = ThreadPoolExecutor(AT_ONCE, "peer")
_there = 0  # changed by the event loop's thread only


async def to_log(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Write to the audit log."""
    return await asyncio.get_running_loop().run_in_executor(_entries, partial(work, *args, **kwargs))


async def to_peer(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work that waits for another role, in the context of the present task.

    Raises:
        BusyError: too many calls wait for another role already.
    """
    global _there
    if _there >= MOST:
        raise BusyError("Too many calls wait for another role.", "Try again in a moment.")
    _there += 1
    try:
        inside = partial(copy_context().run, partial(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(_peers, inside)
    finally:
        _there -= 1
