"""The chunks of an upload as they come: while some are put on disk, the next are looked through.

    messages ──thread: examine──▶ at most AHEAD waiting ──thread: keep all that wait──▶ durable

The event loop only passes things on. A disk that is slow makes the groups larger, up to what may wait, and
then the sender waits: gRPC reads no message before the one in hand has its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from linker.chunks import Examined

AHEAD = 4  # chunks of an upload that wait to be kept

C = TypeVar("C")


async def receive(
    chunks: AsyncIterator[C], examine: Callable[[C], Examined], keep: Callable[[list[Examined]], None]
) -> None:
    """Examine and keep chunks until there are no more; all are durable then.

    Args:
        chunks: as they were sent.
        examine: looks through one of them; called in a thread.
        keep: makes chunks durable, in their order; called in a thread.

    Raises:
        Exception: whatever `keep` raises, at once; whatever `chunks` or `examine` raises, once the chunks
            before it are kept.
    """
    waiting: asyncio.Queue[Examined | None] = asyncio.Queue(AHEAD)

    async def keep_all() -> None:
        group: list[Examined | None] = []
        while None not in group:
            group = [await waiting.get()]
            while not waiting.empty():
                group.append(waiting.get_nowait())
            if some := [chunk for chunk in group if chunk is not None]:
                await asyncio.to_thread(keep, some)

    async def read_all() -> None:
        try:
            async for chunk in chunks:
                await waiting.put(await asyncio.to_thread(examine, chunk))
        except Exception:
            await waiting.put(None)
            await asyncio.wait({keeping})
            raise
        await waiting.put(None)

    keeping = asyncio.create_task(keep_all())
    reading = asyncio.create_task(read_all())
    try:
        await asyncio.wait({keeping, reading}, return_when=asyncio.FIRST_EXCEPTION)
        for task in (keeping, reading) if keeping.done() else (reading,):
            await task
    finally:
        keeping.cancel()
        reading.cancel()
        await asyncio.gather(keeping, reading, return_exceptions=True)
