"""What the broker is told of an event: who went where, if that may be known, and under whom records are.

The rules this module keeps:

- No message leads from a protected identity to what it was before, or holds the records of both: what moved
  unseen is told in a message for each id that records came under, and for each that was emptied.
- These come in an order that is drawn by chance.
"""

from __future__ import annotations

import random

import polars as pl

from pseudonym.deliveries import CHANGES, HOLDERS
from pseudonym.standing import Changes, State
from pseudonym.urn import Kind

Message = tuple[Kind, pl.DataFrame, pl.DataFrame]


def messages_of(kind: Kind, changes: Changes, after: State) -> list[Message]:
    """The messages of an event.

    Args:
        kind: of persons or of families.
        changes: of the event.
        after: what it has to do with, after it.

    Returns:
        The kind, then frames as `CHANGES` and `HOLDERS`, for each message.
    """
    moved = changes.moved
    unseen = pl.col("hidden") & pl.col("before").is_not_null()
    shown, hidden = moved.filter(~unseen), moved.filter(unseen)
    told: list[Message] = []
    if shown.height:
        pairs = shown.drop_nulls("before").select(CHANGES.names()).unique().sort(CHANGES.names())
        told.append((kind, pairs, shown.select("unit", holder="after").sort("unit")))
    apart: list[Message] = [
        (kind, CHANGES.to_frame(), group.select("unit", holder="after").sort("unit"))
        for group in hidden.partition_by("after")
    ]
    emptied = hidden.join(after.units.select(before="holder"), on="before", how="anti")["before"].unique()
    apart += [
        (kind, pl.DataFrame([{"before": pid, "after": None}], schema=CHANGES), HOLDERS.to_frame())
        for pid in emptied
    ]
    random.SystemRandom().shuffle(apart)
    return told + apart
