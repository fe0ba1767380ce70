"""What is known of persons (or families) at one moment, and the events that it follows from.

The rules this module keeps:

- The state is the fold of the events: `replay` draws nothing by chance and asks no clock.
- Evidence (links, links withdrawn, pairs held apart, fences) and names (who holds which id) are two things:
  the partition is a function of the evidence alone (`grouping.py`).
- A unit is known by a random id; nothing here is a value of a person.
- No link across a fence is kept: it would itself be the bridge that protection forbids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import polars as pl

UNITS: Final = pl.Schema(
    [
        ("unit", pl.Binary),  # a record's id, or a family's reference in one source: random, 16 bytes
        ("holder", pl.Binary),  # the pid or fid that it is under
        ("home", pl.Binary),  # the id that was last made for it, or else the one that it first came under
        ("founder", pl.Boolean),  # whether that id was made for it
        ("arrived", pl.Int64),  # the number of the event that brought it
        ("fence", pl.Binary),  # what links must not cross, or null …
        ("fenced", pl.Int64),  # … and the number of the event that put it up
    ]
)
IDS: Final = pl.Schema([("id", pl.Binary), ("age", pl.Int64)])
LINKS: Final = pl.Schema(
    [
        ("left", pl.Binary),
        ("right", pl.Binary),  # left < right
        ("weight", pl.Float64),  # bits; infinite where a person decided
        ("run", pl.String),  # the linkage run that it came from
        ("void", pl.Boolean),  # withdrawn: it counts no more, and no later run revives it
    ]
)
_FENCED: Final = pl.Schema([("unit", pl.Binary), ("fence", pl.Binary)])
_REMOVED: Final = pl.Schema([("unit", pl.Binary)])
PAIRS: Final = pl.Schema([("left", pl.Binary), ("right", pl.Binary)])
_LINKED: Final = pl.Schema([("left", pl.Binary), ("right", pl.Binary), ("weight", pl.Float64)])
REFUSED: Final = pl.Schema([*_LINKED.items(), ("reason", pl.String)])
MOVED: Final = pl.Schema(
    [("unit", pl.Binary), ("before", pl.Binary), ("after", pl.Binary), ("hidden", pl.Boolean)]
)


class Action(StrEnum):
    """What happened."""

    DELIVER = "deliver"  # records came, with links among themselves and to known ones
    MERGE = "merge"  # two were decided to be one
    SPLIT = "split"  # one was decided to be several
    WITHDRAW = "withdraw"  # a link was taken back
    PROTECT = "protect"  # nothing is joined to this person any more
    ADMIT = "admit"  # a reviewer lets late records join a protected person
    REMOVE = "remove"  # records left: erased, or delivered in error


@dataclass(frozen=True, slots=True)
class Stamp:
    """When, by whom, why, and from which run something was done; names and codes, no values of persons."""

    time: datetime
    by: str
    why: str
    run: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What an event changes: first the evidence, then the names that follow from it.

    Attributes:
        arrived: unit and fence (null: none) of what came.
        removed: units that left.
        fenced: unit and its new fence.
        linked: pairs with their weight, new or anew.
        voided: pairs whose link is withdrawn.
        parted: pairs that never again belong together …
        rejoined: … and pairs of which that was taken back.
        refused: links that came and join nothing, with the reason: PROTECTED, APART or WITHDRAWN; for review.
            A PROTECTED one is itself what must not be known: whoever keeps events keeps them sealed.
        made: ids that are new, with their age, a running number.
        moved: units under another id than before (before null: new; after null: gone); hidden: never shown.
    """

    arrived: pl.DataFrame = field(default_factory=_FENCED.to_frame)
    removed: pl.DataFrame = field(default_factory=_REMOVED.to_frame)
    fenced: pl.DataFrame = field(default_factory=_FENCED.to_frame)
    linked: pl.DataFrame = field(default_factory=_LINKED.to_frame)
    voided: pl.DataFrame = field(default_factory=PAIRS.to_frame)
    parted: pl.DataFrame = field(default_factory=PAIRS.to_frame)
    rejoined: pl.DataFrame = field(default_factory=PAIRS.to_frame)
    refused: pl.DataFrame = field(default_factory=REFUSED.to_frame)
    made: pl.DataFrame = field(default_factory=IDS.to_frame)
    moved: pl.DataFrame = field(default_factory=MOVED.to_frame)


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One change, with its number: 1, 2, 3 … without a gap."""

    number: int
    action: Action
    stamp: Stamp
    changes: Changes

    def __repr__(self) -> str:
        return f"Event(number={self.number}, action={self.action.value!r})"


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What is known after event `number`: all, or the part that is concerned (`concerned`).

    Attributes:
        number: of the last event.
        next_age: what the next id gets for its age; also in a part it is that of the whole.
        units: as `UNITS`.
        ids: every id that was ever made and is the holder or home of a unit here.
        links: as `LINKS`.
        apart: pairs that must not belong together.
    """

    number: int = 0
    next_age: int = 1
    units: pl.DataFrame = field(default_factory=UNITS.to_frame)
    ids: pl.DataFrame = field(default_factory=IDS.to_frame)
    links: pl.DataFrame = field(default_factory=LINKS.to_frame)
    apart: pl.DataFrame = field(default_factory=PAIRS.to_frame)

    def __repr__(self) -> str:
        return f"State(number={self.number}, units={self.units.height}, links={self.links.height})"


def replay(events: Iterable[Event], state: State | None = None) -> State:
    """The state after the events, in their order, from nothing or from an earlier state."""
    state = state or State()
    for event in events:
        state = apply(state, event)
    return state


def apply(state: State, event: Event) -> State:
    """The state after one more event."""
    evident = with_evidence(state, event.changes, event.stamp.run)
    return _with_names(evident, event.changes)


def with_evidence(state: State, changes: Changes, run: str) -> State:
    """The next state's evidence; whoever moved is still under the id from before."""
    number = state.number + 1
    arrived = changes.arrived.select(
        "unit",
        holder=pl.lit(None, pl.Binary),
        home=pl.lit(None, pl.Binary),
        founder=pl.lit(False),
        arrived=pl.lit(number, pl.Int64),
        fence="fence",
        fenced=pl.when(pl.col("fence").is_not_null()).then(pl.lit(number, pl.Int64)),
    )
    units = pl.concat([state.units, arrived])
    links, apart = state.links, state.apart
    if changes.removed.height:
        units = units.join(changes.removed, on="unit", how="anti")
        links, apart = (_without(pairs, changes.removed) for pairs in (links, apart))
    if changes.fenced.height:
        units = (
            units.join(changes.fenced.rename({"fence": "new"}), on="unit", how="left")
            .with_columns(
                fence=pl.coalesce("new", "fence"),
                fenced=pl.when(pl.col("new").is_not_null()).then(number).otherwise("fenced"),
            )
            .select(UNITS.names())
        )
    if changes.linked.height:
        new = changes.linked.select(
            *_LINKED.names(), run=pl.lit(run, pl.String), void=pl.lit(False, pl.Boolean)
        )
        links = pl.concat([links.join(new, on=PAIRS.names(), how="anti"), new])
    if changes.voided.height:
        voided = changes.voided.with_columns(void_new=True)
        links = links.join(voided, on=PAIRS.names(), how="left").select(
            *LINKS.names()[:-1], void=pl.col("void") | pl.col("void_new").fill_null(False)
        )
    if changes.parted.height or changes.rejoined.height:
        apart = (
            pl.concat([apart, changes.parted]).unique().join(changes.rejoined, on=PAIRS.names(), how="anti")
        )
    if changes.fenced.height:
        links = links.join(across_fences(units, links), on=PAIRS.names(), how="anti")
    return replace(state, number=number, units=units, links=links, apart=apart)


def _with_names(state: State, changes: Changes) -> State:
    if not changes.moved.height:
        return state
    moved = changes.moved.select("unit", "after").join(
        changes.made.select(after="id", new=pl.lit(True)), on="after", how="left"
    )
    joined = state.units.join(moved, on="unit", how="left")
    founded = pl.col("new").fill_null(False)
    units = joined.select(
        "unit",
        holder=pl.coalesce("after", "holder"),
        home=pl.when(founded).then("after").otherwise(pl.coalesce("home", "after")),
        founder=founded | pl.col("founder"),
        arrived="arrived",
        fence="fence",
        fenced="fenced",
    )
    return replace(
        state,
        units=units,
        ids=pl.concat([state.ids, changes.made]),
        next_age=state.next_age + changes.made.height,
    )


def pairs_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns left and right in the one order in which a pair is kept, the other columns as they are."""
    turned = pl.col("right") < pl.col("left")
    return frame.with_columns(
        left=pl.when(turned).then("right").otherwise("left"),
        right=pl.when(turned).then("left").otherwise("right"),
    )


def across_fences(units: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs of which one side is fenced off from the other."""
    if units["fence"].null_count() == units.height:
        return pairs.select("left", "right").clear()
    fences = units.select("unit", "fence")
    return (
        pairs.select("left", "right")
        .join(fences.rename({"unit": "left", "fence": "one"}), on="left", how="left")
        .join(fences.rename({"unit": "right", "fence": "other"}), on="right", how="left")
        .filter(pl.col("one").ne_missing(pl.col("other")))
        .select("left", "right")
    )


def _without(pairs: pl.DataFrame, units: pl.DataFrame) -> pl.DataFrame:
    return pairs.join(units, left_on="left", right_on="unit", how="anti").join(
        units, left_on="right", right_on="unit", how="anti"
    )
