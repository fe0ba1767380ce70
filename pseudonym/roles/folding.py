"""Entries of the audit log that would say the same again and again: one at once, then one with their number.

    first of its like ──▶ entry on disk ──▶ reply
    the next ones     ──▶ counted, reply ──(a minute or a day after the first, or a stop)──▶ one entry

The rules this module keeps:

- The first of its like is never held back: its entry is on disk before its reply goes out.
- What is held back is counted, with whose and how many names it had, and written when its time is over or the
  server stops. A crash loses what was counted since the first entry, and no more.
- Where the log takes no entry, nothing counted is dropped: it is tried again.

What is alike, and may be held back at all, is for `passage` to say.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace

from pseudonym.audit.entries import Event
from pseudonym.errors import PseudonymError

MINUTE, DAY = 60.0, 86_400.0
MOST_NAMED = 20
"""Different purposes, projects and named things that the details tell of each; others are counted."""
REPEATED = ".repeated"
SEVERAL = "in-details"

Write = Callable[[Event], Awaitable[object]]
"""Puts an entry on disk."""


@dataclass(slots=True)
class _Alike:
    """Calls that were held back since the first of their like."""

    first: Event
    write: Write
    count: int = 0
    said: dict[str, dict[str, None]] = field(default_factory=dict)
    others: int = 0

    def add(self, event: Event) -> None:
        self.count += 1
        told = json.loads(event.details or b"{}")
        for name, text in {"purpose": event.purpose, "project": event.project, **told}.items():
            known = self.said.setdefault(name, {})
            if text and text not in known:
                if len(known) < MOST_NAMED:
                    known[text] = None
                else:
                    self.others += 1

    def entry(self) -> Event:
        """One entry of them all; purpose and project stand in the open where they were always the same."""
        first = self.first
        details: dict[str, object] = {name: list(texts) for name, texts in self.said.items() if texts}
        details |= {"others": self.others} if self.others else {}
        purposes, projects = set(self.said.get("purpose", {})), set(self.said.get("project", {}))
        return replace(
            first,
            action=first.action + REPEATED,
            purpose=first.purpose if purposes <= {first.purpose} else SEVERAL,
            project=first.project if projects <= {first.project} else "",
            count=self.count,
            details=json.dumps(details, sort_keys=True).encode(),
        )


class Folding:
    """What a server has held back; used by the thread of its event loop alone."""

    def __init__(self) -> None:
        self._alike: dict[Hashable, _Alike] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def take(self, key: Hashable, event: Event, seconds: float, write: Write) -> None:
        """Write an entry, or count it if one of its like was written a short while ago.

        Args:
            key: the same for entries that are alike.
            event: what the entry says; its details are a JSON object of texts, or empty.
            seconds: how long after the first the others are written.
            write: puts an entry on disk.

        Raises:
            PseudonymError: the log takes no entries.
        """
        if (alike := self._alike.get(key)) is not None:
            alike.add(event)
            return
        await write(event)
        if key not in self._alike:  # or another was the first meanwhile
            self._alike[key] = _Alike(event, write)
            asyncio.get_running_loop().call_later(seconds, self._due, key, seconds)

    async def close(self) -> None:
        """Write all that was held back."""
        await asyncio.gather(*self._writing)
        while self._alike:
            _, alike = self._alike.popitem()
            if alike.count:
                await alike.write(alike.entry())

    def _due(self, key: Hashable, seconds: float) -> None:
        alike = self._alike.get(key)
        if alike is not None and alike.count:
            task = asyncio.get_running_loop().create_task(self._write(key, alike, seconds))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        else:
            self._alike.pop(key, None)

    async def _write(self, key: Hashable, alike: _Alike, seconds: float) -> None:
        del self._alike[key]
        try:
            await alike.write(alike.entry())
        except PseudonymError:
            now = self._alike.setdefault(key, alike)
            if now is not alike:  # another first came meanwhile
                now.count += alike.count
            asyncio.get_running_loop().call_later(seconds, self._due, key, seconds)
