"""A server that keeps persons stops when nobody uses it: its keys leave the memory with it."""

from __future__ import annotations

import asyncio
import time

from linker.events import event
from linker.gate import Gate
from linker.jobs import Runner

LOOK_EVERY = 1.0  # seconds between two looks


async def lock_when_idle(minutes: float, gate: Gate, runner: Runner, stop: asyncio.Event) -> None:
    """Set `stop` once nobody has called and no job has run for so long.

    Args:
        minutes: how long.
        gate: what calls pass.
        runner: of the jobs.
        stop: what ends the server.
    """
    worked = time.monotonic()
    while True:
        if runner.busy:
            worked = time.monotonic()
        idle = min(gate.rested, time.monotonic() - worked)
        if idle >= minutes * 60:
            break
        await asyncio.sleep(min(minutes * 60 - idle, LOOK_EVERY))
    event("locked", idle_minutes=round(idle / 60, 2))
    stop.set()
