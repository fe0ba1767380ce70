"""Which units belong together, from the evidence; and which id each group is under.

The partition is a function of the evidence alone, so the order in which it came does not matter. Two units
belong together if links lead from one to the other, with one exception: where two units of such a group are
held apart, the links join from the strongest down (of equal ones the smaller pair first), and a link that
would bring two together that are held apart joins nothing.

The names, in this order, so that as few as possible change and nobody has to guess:

1. A group whose units all had one id, none of which is elsewhere, keeps it, whatever else might be said.
2. Each id that is in use claims one group: of those that hold its units, the one with the most units that it
   was made for; then the one with the unit that first came under it; then the one with the first unit at all.
3. Of the ids that claim a group, the oldest stays. The others are superseded.
4. A group without a claim gets back an id that had been superseded, if it has the most units that the id was
   made for; of several ids, the oldest. So a split undoes a merge.
5. Otherwise the group gets a new id.

"First" is by the event that brought the unit, then by the unit's own id; "oldest" by the ids' running number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import polars as pl

from pseudonym.standing import IDS, State


def groups(state: State) -> pl.DataFrame:
    """The partition that the evidence gives.

    Args:
        state: all, or a part that holds whole groups.

    Returns:
        unit and group (a number of no meaning), in the order of the state's units.
    """
    units = state.units.select("unit").with_row_index("place")
    links = (
        state.links.filter(~pl.col("void"))
        .sort(["weight", "left", "right"], descending=[True, False, False])
        .select("left", "right")
    )
    one, other = _places(units, links)
    group = _components(units.height, one, other)
    if state.apart.height and units.height:
        group = _held_apart(group, one, other, *_places(units, state.apart))
    return units.select("unit", group=pl.Series(group, dtype=pl.Int64))


def _places(units: pl.DataFrame, pairs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    sides = [
        pairs.select(unit=side).join(units, on="unit", how="left", maintain_order="left")["place"]
        for side in ("left", "right")
    ]
    return sides[0].to_numpy().astype(np.int64), sides[1].to_numpy().astype(np.int64)


def _components(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from scipy import sparse  # here, because SciPy takes half a second that most commands need not wait
    from scipy.sparse import csgraph

    if not len(one):
        return np.arange(count, dtype=np.int64)
    graph = sparse.coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(count, count))
    labels: np.ndarray = csgraph.connected_components(graph, directed=False)[1]
    return labels.astype(np.int64)


def _held_apart(
    group: np.ndarray, one: np.ndarray, other: np.ndarray, apart: np.ndarray, from_: np.ndarray
) -> np.ndarray:
    """Divide the components within which two are held apart; these are few, so units are visited singly."""
    within = group[apart] == group[from_]
    if not within.any():
        return group
    foes: dict[int, set[int]] = defaultdict(set)
    for x, y in zip(apart[within].tolist(), from_[within].tolist(), strict=True):
        foes[x].add(y)
        foes[y].add(x)
    divided = np.unique(group[apart[within]])
    here = np.flatnonzero(np.isin(group, divided))
    first = {place: place for place in here.tolist()}
    members = {place: [place] for place in here.tolist()}
    inside = np.isin(group[one], divided)
    for x, y in zip(one[inside].tolist(), other[inside].tolist(), strict=True):
        kept, joining = sorted((first[x], first[y]), key=lambda g: len(members[g]), reverse=True)
        if kept == joining or any(first[foe] == kept for m in members[joining] for foe in foes.get(m, ())):
            continue
        for member in members[joining]:
            first[member] = kept
        members[kept] += members.pop(joining)
    result = group.copy()
    start = int(group.max()) + 1
    for place, leader in first.items():
        result[place] = start + leader
    return result


def names(
    units: pl.DataFrame, ids: pl.DataFrame, next_age: int, draw: Callable[[int], list[bytes]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The id of each group, by the rules above.

    Args:
        units: the units, each with its group; holder null where it has none yet.
        ids: every id that is holder or home of a unit, with its age.
        next_age: the age of the next new id.
        draw: gives so many new random ids.

    Returns:
        The units of groups that rule 1 does not settle, with the id after it (after); the new ids with their
        ages.
    """
    held = units.drop_nulls("holder")
    spread = held.group_by("holder").agg(pl.col("group").n_unique().alias("groups"))
    settled = (  # only a group that holds some id already: most of a delivery's hold none
        units.join(held.select("group").unique(), on="group", how="semi")
        .join(spread, on="holder", how="left")
        .group_by("group")
        .agg(
            (pl.col("holder").n_unique() == 1).alias("one"),
            pl.col("holder").is_not_null().all().alias("named"),
            (pl.col("groups") == 1).all().alias("whole"),
        )
        .filter(pl.col("one") & pl.col("named") & pl.col("whole"))
    )
    ranked = units.sort("arrived", "unit").with_row_index("rank")
    # Units of settled groups still count in rule 4: an id's units may be in one of them.
    open_ = ranked.join(settled, on="group", how="anti")
    if open_.is_empty():
        return units.head(0).with_columns(after="holder"), IDS.to_frame()
    by_age = ids.rename({"id": "after"})
    living = (
        open_.filter(pl.col("holder").is_not_null())
        .group_by("group", after="holder")
        .agg(_founders("holder"), _first_own(), pl.col("rank").min().alias("first"))
        .sort(["founders", "own", "first"], descending=[True, False, False], nulls_last=True)
        .unique("after", keep="first", maintain_order=True)
    )
    named = _oldest(living, by_age)
    claimed = open_.join(named, on="group", how="anti").select("group").unique()
    dead = (
        ranked.filter("founder")
        .join(units.select(home="holder").drop_nulls().unique(), on="home", how="anti")
        .group_by("group", after="home")
        .agg(pl.len().alias("founders"), pl.col("rank").min().alias("first"))
        .sort(["founders", "first"], descending=[True, False])
        .unique("after", keep="first", maintain_order=True)
        .join(claimed, on="group", how="semi")
    )
    named = pl.concat([named, _oldest(dead, by_age)])
    unnamed = (
        open_.join(named, on="group", how="anti")
        .group_by("group")
        .agg(pl.col("rank").min())
        .sort("rank")
        .select("group")
    )
    drawn = pl.Series(draw(unnamed.height), dtype=pl.Binary)
    made = pl.DataFrame({"id": drawn, "age": range(next_age, next_age + unnamed.height)}, schema=IDS)
    named = pl.concat([named, unnamed.with_columns(after=drawn)])
    return open_.join(named, on="group", how="left"), made


def _founders(of: str) -> pl.Expr:
    return ((pl.col("home") == pl.col(of)) & pl.col("founder")).fill_null(False).sum().alias("founders")


def _first_own() -> pl.Expr:
    return pl.col("rank").filter((pl.col("home") == pl.col("holder")).fill_null(False)).min().alias("own")


def _oldest(claims: pl.DataFrame, ages: pl.DataFrame) -> pl.DataFrame:
    return (
        claims.join(ages, on="after", how="left")
        .sort("age")
        .unique("group", keep="first", maintain_order=True)
        .select("group", "after")
    )
