"""An event of the register as bytes to seal, and back: JSON, then its changes as Arrow IPC streams."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from datetime import datetime

import polars as pl

from pseudonym.standing import Action, Changes, Event, Stamp

_LENGTH = 4


def spelt(event: Event) -> bytes:
    """The bytes of an event."""
    stamp = event.stamp
    head = {
        "number": event.number,
        "action": event.action.value,
        "time": stamp.time.isoformat(),
        "by": stamp.by,
        "why": stamp.why,
        "run": stamp.run,
    }
    frames = [getattr(event.changes, each.name) for each in fields(Changes)]
    return joined([json.dumps(head).encode(), *(written(frame) for frame in frames)])


def read(octets: bytes) -> Event:
    """What `spelt` wrote."""
    first, *frames = divided(octets)
    head = json.loads(first)
    stamp = Stamp(datetime.fromisoformat(head["time"]), head["by"], head["why"], head["run"])
    changes = Changes(
        **{each.name: frame(octets) for each, octets in zip(fields(Changes), frames, strict=True)}
    )
    return Event(head["number"], Action(head["action"]), stamp, changes)


def joined(parts: list[bytes]) -> bytes:
    """Several strings of bytes as one, each after its length."""
    return b"".join(len(part).to_bytes(_LENGTH, "big") + part for part in parts)


def divided(octets: bytes) -> list[bytes]:
    """What `joined` joined."""
    parts, at = [], 0
    while at < len(octets):
        end = at + _LENGTH + int.from_bytes(octets[at : at + _LENGTH], "big")
        parts.append(octets[at + _LENGTH : end])
        at = end
    return parts


def written(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow IPC stream; an empty one as nothing but its columns' names and types."""
    plain = io.BytesIO()
    frame.rechunk().write_ipc_stream(plain)
    return plain.getvalue()


def frame(octets: bytes) -> pl.DataFrame:
    """What `written` wrote."""
    return pl.read_ipc_stream(io.BytesIO(octets))
