"""Linkage results become persons and families that stay: each function turns what came into one event.

The rules this module keeps (`standing.py` folds events, `grouping.py` has the partition and the names):

- Nothing changes but by an event, and nothing is decided here by chance or clock but the new ids.
- Which records are one person depends on the evidence, not on the order in which it came.
- No record changes its id without a row in an event that says so.
- No link that comes joins a protected person with anybody. It is refused, and goes to review with the event.
  Nobody can lift a protection; only what came later can be admitted, by a decision.
- Input that does not fit is refused as a whole, before anything is stored.

A *unit* is a record where persons are made, and one source's reference of a family where families are: both
are kept the same way, each in a register of its own (`register.py`). All ids are 16 random bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace

import polars as pl

from pseudonym.errors import InputError, LinkError, ProtectedError
from pseudonym.forms import divided
from pseudonym.grouping import groups, names
from pseudonym.standing import (
    MOVED,
    REFUSED,
    Action,
    Changes,
    Event,
    Stamp,
    State,
    across_fences,
    pairs_of,
    with_evidence,
)
from pseudonym.urn import ID_BYTES

Draw = Callable[[int], list[bytes]]


def random_ids(count: int) -> list[bytes]:
    """So many new ids."""
    return divided(os.urandom(ID_BYTES * count), ID_BYTES)


def deliver(
    state: State, units: pl.DataFrame, links: pl.DataFrame, stamp: Stamp, draw: Draw = random_ids
) -> Event | None:
    """A delivery joins what is known.

    Args:
        state: all, or what is concerned with the units and both ends of the links.
        units: unit and protected, what the delivery holds; those known already stay as they are.
        links: left, right, weight (bits): the links that the linkage resolved, among new units and to known
            ones; a link that is known already gets the new weight.
        stamp: when, by whom, why, and the linkage run.
        draw: gives new ids.

    Returns:
        The event, with every link that joined nothing in `changes.refused`; None if nothing is new.

    Raises:
        LinkError: a unit or a pair twice, a link to an unknown unit, no finite weight; or a known unit comes
            as protected and is not: that takes a decision (`protect`).
        InputError: an id is not of 16 bytes, or the stamp says too little.
    """
    came = units.select("unit", "protected").join(state.units.select("unit", "fence"), on="unit", how="left")
    pairs = pairs_of(links.select("left", "right", "weight"))
    _check_delivery(state, came, pairs)
    new = came.join(state.units, on="unit", how="anti")
    fences = pl.Series(draw(int(new["protected"].sum())), dtype=pl.Binary)
    guarded = new.filter("protected").select("unit", fence=fences)
    arrived = pl.concat([guarded, new.filter(~pl.col("protected")).select("unit", "fence")])
    both = pl.concat([state.units.select("unit", "fence"), arrived])
    bridging = pairs.join(across_fences(both, pairs), on=["left", "right"], how="semi")
    rest = pairs.join(bridging, on=["left", "right"], how="anti")
    withdrawn = rest.join(state.links.filter("void"), on=["left", "right"], how="semi")
    linked = rest.join(withdrawn, on=["left", "right"], how="anti").join(
        state.links, on=["left", "right", "weight"], how="anti"
    )
    # A decision outweighs every run.
    linked = linked.join(state.links.filter(pl.col("weight").is_infinite()), on=["left", "right"], how="anti")
    changes = Changes(arrived=arrived, linked=linked)
    apart = linked.head(0)  # where nothing is held apart, every link joins
    if state.apart.height:
        apart = _across_groups(groups(with_evidence(state, changes, stamp.run)), linked)
    refused = [
        found.with_columns(reason=pl.lit(reason))
        for reason, found in (("PROTECTED", bridging), ("WITHDRAWN", withdrawn), ("APART", apart))
    ]
    changes = replace(changes, refused=pl.concat([REFUSED.to_frame(), *refused]))
    if not (arrived.height or linked.height or changes.refused.height):
        return None
    return _event(state, Action.DELIVER, changes, stamp, draw)


def merge(state: State, one: bytes, other: bytes, stamp: Stamp, draw: Draw = random_ids) -> Event:
    """Decide that two persons are one; the older id stays. Takes back decisions that held them apart.

    Raises:
        ProtectedError: one of them is protected.
        LinkError: there is no such person, or another decision keeps them from being one.
    """
    left, right = _held_by(state, one), _held_by(state, other)
    if one == other:
        raise LinkError("These are one person already.")
    if left["fence"].is_not_null().any() or right["fence"].is_not_null().any():
        raise ProtectedError("A protected person is joined with nobody.", "Nothing can be done about that.")
    across = state.apart.join(_pairs(left["unit"], right["unit"]), on=["left", "right"], how="semi")
    changes = Changes(linked=_decided(_pairs(left["unit"].head(1), right["unit"].head(1))), rejoined=across)
    after = groups(with_evidence(state, changes, stamp.run))
    if after.join(pl.concat([left, right]), on="unit", how="semi")["group"].n_unique() > 1:
        raise LinkError("Other decisions keep these two from being one.", "Merge or split those first.")
    return _event(state, Action.MERGE, changes, stamp, draw)


def split(state: State, person: bytes, parts: pl.DataFrame, stamp: Stamp, draw: Draw = random_ids) -> Event:
    """Decide that one person is several.

    Args:
        state: all, or what is concerned.
        person: the id.
        parts: unit and part, every unit of the person once and at least two parts; no link ever brings units
            of two parts together again, until `merge` decides otherwise.
        stamp: when, by whom and why.
        draw: gives new ids.

    Raises:
        LinkError: there is no such person, or the parts are not the person's units.
    """
    units = _held_by(state, person).select("unit", "arrived")
    told = parts.select("unit", "part")
    if told["unit"].n_unique() != told.height or not _same(told["unit"], units["unit"]):
        raise LinkError("The parts do not hold every record of the person once.")
    if told["part"].n_unique() < 2 or told["part"].null_count():
        raise LinkError("A split has two parts at least.")
    told = units.join(told, on="unit", maintain_order="left")
    crossed = told.join(told, how="cross", suffix="_other").filter(
        (pl.col("part") != pl.col("part_other")) & (pl.col("unit") < pl.col("unit_other"))
    )
    changes = Changes(parted=crossed.select(left="unit", right="unit_other"))
    found = told.join(groups(with_evidence(state, changes, stamp.run)), on="unit")
    # A part whose records were only linked through another part holds together by this decision.
    loose = found.group_by("part", maintain_order=True).agg("unit", pl.col("group").n_unique())
    loose = loose.filter(pl.col("group") > 1).select(
        left=pl.col("unit").list.first(), right=pl.col("unit").list.slice(1)
    )
    changes = replace(changes, linked=_decided(pairs_of(loose.explode("right", empty_as_null=False))))
    return _event(state, Action.SPLIT, changes, stamp, draw)


def withdraw(state: State, links: pl.DataFrame, stamp: Stamp, draw: Draw = random_ids) -> Event:
    """Take links back: they count no more, and no later run brings them again. Who hangs on them falls apart.

    Args:
        state: all, or what is concerned.
        links: left and right.
        stamp: when, by whom and why.
        draw: gives new ids.

    Raises:
        LinkError: one of the links is not there.
    """
    pairs = pairs_of(links.select("left", "right")).unique()
    if not pairs.height or pairs.join(_standing(state), on=["left", "right"], how="anti").height:
        raise LinkError("A link to be withdrawn is not there.", "Read the links again.")
    return _event(state, Action.WITHDRAW, Changes(voided=pairs), stamp, draw)


def protect(
    state: State, person: bytes, stamp: Stamp, part: pl.Series | None = None, draw: Draw = random_ids
) -> Event:
    """Protect a person for good: no link that comes joins anything to them.

    With `part`, the records of the new identity are divided from those of the former one. Both then get new
    ids, and no list or history that is shown tells that one had to do with the other.

    Raises:
        LinkError: there is no such person, the part is not a true part, or all is protected already.
    """
    units = _held_by(state, person)
    if part is None:
        if units["fence"].is_not_null().all():
            raise LinkError("This person is protected already.")
        chosen, renewed = units["unit"], None
    else:
        chosen, renewed = part.unique(), units["unit"]
        if not 0 < len(chosen) < units.height or not chosen.is_in(units["unit"].implode()).all():
            raise LinkError("The records to protect are not a part of the person's.")
    fenced = chosen.to_frame("unit").with_columns(fence=pl.lit(draw(1)[0], pl.Binary))
    return _event(state, Action.PROTECT, Changes(fenced=fenced), stamp, draw, renewed, renewed)


def admit(state: State, person: bytes, into: bytes, stamp: Stamp, draw: Draw = random_ids) -> Event:
    """Decide that records which came after a person was protected are the protected person's.

    The danger: whoever admits a late record of the former identity makes the bridge. Look at the record.

    Raises:
        ProtectedError: some of the records were there before the protection, or are protected themselves.
        LinkError: there is no such person, or `into` is not protected.
    """
    late, kept = _held_by(state, person), _held_by(state, into)
    fence = kept["fence"].drop_nulls().unique()
    if len(fence) != 1 or kept["fence"].null_count():
        raise LinkError("Records are admitted to a protected person only.", "Use a merge.")
    if late["fence"].is_not_null().any() or (late["arrived"] <= kept["fenced"].min()).any():
        raise ProtectedError(
            "Only records that came after the protection can be admitted.",
            "Nothing can be done about others.",
        )
    changes = Changes(
        fenced=late.select("unit", fence=pl.lit(fence.item(), pl.Binary)),
        linked=_decided(_pairs(late["unit"].head(1), kept["unit"].head(1))),
    )
    return _event(state, Action.ADMIT, changes, stamp, draw, nameless=late["unit"])


def remove(state: State, units: pl.Series, stamp: Stamp, draw: Draw = random_ids) -> Event:
    """Forget records: erased, or delivered in error. Who was linked only through them falls apart.

    Raises:
        LinkError: one of them is not there.
    """
    removed = units.unique().to_frame("unit")
    if not removed.height or removed.join(state.units, on="unit", how="anti").height:
        raise LinkError("A record to be removed is not there.", "It may be removed already.")
    return _event(state, Action.REMOVE, Changes(removed=removed), stamp, draw)


def _event(
    state: State,
    action: Action,
    changes: Changes,
    stamp: Stamp,
    draw: Draw,
    nameless: pl.Series | None = None,
    hidden: pl.Series | None = None,
) -> Event:
    """The event with the names that follow; `nameless` units claim no id, `hidden` ones move unseen."""
    if stamp.time.tzinfo is None or not stamp.by or not stamp.why:
        raise InputError("An event names its time with the time zone, who did it, and why.")
    after = with_evidence(state, changes, stamp.run)
    units = after.units.with_columns(groups(after)["group"], before="holder")
    if nameless is not None:
        without = pl.col("unit").is_in(nameless.implode())
        units = units.with_columns(
            *(pl.when(~without).then(name).alias(name) for name in ("holder", "home")),
            founder=pl.col("founder") & ~without,
        )
    named, made = names(units, state.ids, state.next_age, draw)
    unseen = pl.lit(False) if hidden is None else pl.col("unit").is_in(hidden.implode())
    moved = named.filter(pl.col("after").ne_missing(pl.col("before"))).select(
        "unit", "before", "after", hidden=unseen | pl.col("fence").is_not_null()
    )
    gone = state.units.join(changes.removed, on="unit", how="semi").select(
        "unit",
        before="holder",
        after=pl.lit(None, pl.Binary),
        hidden=pl.col("fence").is_not_null(),
    )
    changes = replace(changes, made=made, moved=pl.concat([MOVED.to_frame(), moved, gone]))
    return Event(state.number + 1, action, stamp, changes)


def _check_delivery(state: State, came: pl.DataFrame, pairs: pl.DataFrame) -> None:
    if not (came["unit"].bin.size() == ID_BYTES).all() or came.select("unit", "protected").null_count().row(
        0
    ) != (0, 0):
        raise InputError(f"The id of a record is {ID_BYTES} bytes, and protected is true or false.")
    if came["unit"].n_unique() != came.height:
        raise LinkError("A delivery holds a record twice.")
    known = pl.concat([state.units.select("unit"), came.select("unit")]).unique()
    ends = pl.concat([pairs.select(unit="left"), pairs.select(unit="right")])
    if ends.join(known, on="unit", how="anti").height:
        raise LinkError("A link leads to a record that is neither known nor in the delivery.")
    if pairs.select("left", "right").n_unique() != pairs.height or (pairs["left"] == pairs["right"]).any():
        raise LinkError("A pair is linked twice, or a record with itself.")
    if not pairs["weight"].is_finite().all() or pairs["weight"].null_count():
        raise LinkError("A link has no finite weight.")
    late = came.filter("protected").join(state.units.filter(pl.col("fence").is_null()), on="unit", how="semi")
    if late.height:
        raise LinkError(
            "A record that is known and not protected comes as protected.",
            "Decide on it with a protection first.",
        )


def _held_by(state: State, person: bytes) -> pl.DataFrame:
    held = state.units.filter(pl.col("holder") == person).sort("arrived", "unit")
    if held.is_empty():
        raise LinkError("There is no such person, or no longer.", "Look where the number leads to now.")
    return held


def _standing(state: State) -> pl.DataFrame:
    return state.links.filter(~pl.col("void"))


def _pairs(left: pl.Series, right: pl.Series) -> pl.DataFrame:
    return pairs_of(left.to_frame("left").join(right.to_frame("right"), how="cross"))


def _decided(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.with_columns(weight=pl.lit(math.inf))


def _across_groups(grouped: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    return (
        pairs.join(grouped.rename({"unit": "left", "group": "one"}), on="left")
        .join(grouped.rename({"unit": "right", "group": "other"}), on="right")
        .filter(pl.col("one") != pl.col("other"))
        .select(pairs.columns)
    )


def _same(one: pl.Series, other: pl.Series) -> bool:
    return one.sort().to_list() == other.sort().to_list()
