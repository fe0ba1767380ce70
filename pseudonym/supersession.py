"""What became of an id between two moments: lists that lead from old numbers to the living ones.

The rules this module keeps:

- A list is complete in itself: one step leads from each id that was in use at its beginning to those in use
  at its end. Nothing has to be followed through other lists, so nothing can go round in circles.
- It leads to exactly the ids that the records which were under the old one are under now.
- It never leads to or from an identity that protection divides: such an id is withheld, and leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import polars as pl

from pseudonym.standing import Event

HISTORY: Final = pl.Schema(
    [
        ("number", pl.Int64),
        ("time", pl.Datetime("us", "UTC")),
        ("action", pl.String),
        ("by", pl.String),
        ("why", pl.String),
        ("run", pl.String),
        ("came", pl.Int64),
        ("went", pl.Int64),
    ]
)


class Fate(StrEnum):
    """What became of an id."""

    REPLACED = "replaced"  # all that was under it is under one other
    DIVIDED = "divided"  # it is under several, among them perhaps the old one
    ENDED = "ended"  # nothing that was under it is left
    WITHHELD = "withheld"  # what was received under it must be dropped; nothing more is told


HOLDINGS: Final = pl.Schema(
    [
        ("unit", pl.Binary),
        ("id", pl.Binary),  # null: the unit left
        ("since", pl.Int64),  # the number of the event from which on
        ("hidden", pl.Boolean),  # whether it came there unseen
    ]
)
FENCES: Final = pl.Schema([("unit", pl.Binary), ("number", pl.Int64)])
LIST: Final = pl.Schema(
    [("old", pl.Binary), ("fate", pl.Enum([fate.value for fate in Fate])), ("new", pl.List(pl.Binary))]
)


def holdings(events: Iterable[Event]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Who was under which id since when, and who was fenced off when, from all events.

    Returns:
        Frames as `HOLDINGS` and `FENCES`; they are enough to answer any `succession`.
    """
    held, fenced = [HOLDINGS.to_frame()], [FENCES.to_frame()]
    for event in events:
        number = pl.lit(event.number, pl.Int64)
        held.append(event.changes.moved.select("unit", id="after", since=number, hidden="hidden"))
        for fences in (event.changes.fenced, event.changes.arrived):
            fenced.append(fences.drop_nulls("fence").select("unit", number=number))
    return pl.concat(held), pl.concat(fenced)


def succession(held: pl.DataFrame, fenced: pl.DataFrame, since: int, until: int) -> pl.DataFrame:
    """The supersession list from after event `since` to after event `until`.

    Args:
        held: from `holdings`.
        fenced: from `holdings`.
        since: 0 or the number of the event that the old ids' owner knows the state after.
        until: that of the state to lead to.

    Returns:
        As `LIST`, sorted by old; ids that still stand for all that was under them, and for nothing that
        belongs to another, are not in it. `new` is sorted, and empty if the id ended or is withheld.
    """
    then, now = _at(held, since), _at(held, until)
    known = held.filter((pl.col("since") > since) & (pl.col("since") <= until) & pl.col("hidden"))
    unseen = pl.concat(
        [known.select("unit"), fenced.filter(pl.col("number") <= until).select("unit")]
    ).unique()
    led = (
        then.select("unit", old="id")
        .join(now.select("unit", new="id"), on="unit", how="left")
        .join(unseen.with_columns(unseen=True), on="unit", how="left")
        .with_columns(withheld=pl.col("unseen").fill_null(False) & pl.col("old").ne_missing(pl.col("new")))
    )
    fates = led.group_by("old").agg(pl.col("new").drop_nulls().unique().sort(), pl.col("withheld").any())
    count, first = pl.col("new").list.len(), pl.col("new").list.first()
    fate = (
        pl.when("withheld")
        .then(pl.lit(Fate.WITHHELD.value))
        .when(count == 0)
        .then(pl.lit(Fate.ENDED.value))
        .when(count > 1)
        .then(pl.lit(Fate.DIVIDED.value))
        .otherwise(pl.lit(Fate.REPLACED.value))
    )
    return (
        fates.filter(pl.col("withheld") | (count != 1) | (first != pl.col("old")))
        .select(
            "old",
            fate=fate.cast(LIST["fate"]),
            new=pl.when("withheld").then(pl.lit([], pl.List(pl.Binary))).otherwise("new"),
        )
        .sort("old")
    )


def _at(held: pl.DataFrame, number: int) -> pl.DataFrame:
    return (
        held.filter(pl.col("since") <= number)
        .sort("since")
        .unique("unit", keep="last", maintain_order=True)
        .filter(pl.col("id").is_not_null())
    )


def history(events: Sequence[Event], person: bytes) -> pl.DataFrame:
    """What happened to an id that may be shown: nothing that is hidden, and nothing from before a protection.

    Returns:
        number, time, action, by, why, run, came (units that came under the id), went (units that left it), in
        the events' order.
    """
    fenced: dict[bytes, int] = {}
    for event in events:
        for fences in (event.changes.fenced, event.changes.arrived):
            fenced |= dict.fromkeys(fences.drop_nulls("fence")["unit"], event.number)
    shown: list[tuple[object, ...]] = []
    under: set[bytes] = set()
    first = 0
    for event in events:
        moved = event.changes.moved.with_columns(
            came=pl.col("after").eq_missing(person), went=pl.col("before").eq_missing(person)
        ).filter(pl.col("came") | pl.col("went"))
        under = (under | set(moved.filter("came")["unit"])) - set(moved.filter("went")["unit"])
        first = max([first, *(fenced[unit] for unit in under if unit in fenced)])
        # A protected record's first coming hides nothing from anybody.
        visible = moved.filter(~pl.col("hidden") | pl.col("before").is_null())
        if visible.height:
            stamp = (event.stamp.time, event.action.value, event.stamp.by, event.stamp.why, event.stamp.run)
            shown.append((event.number, *stamp, visible["came"].sum(), visible["went"].sum()))
    return pl.DataFrame([row for row in shown if row[0] >= first], schema=HISTORY, orient="row")  # type: ignore[operator]
