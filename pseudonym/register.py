"""What of a state a question concerns, and who is in which family.

The vault keeps the state in parts, each whole in this sense (`pseudonym.sealed_register`), so that what it
reads is what `concerned` would give of the whole, and perhaps more parts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from pseudonym.standing import State


def concerned(state: State, units: pl.Series) -> State:
    """The part of a state that holds all that a decision about some units may depend on.

    Units belong to the part if they are connected with one of `units` through links (withdrawn ones too),
    pairs held apart, or an id that is the holder or home of both. What is decided on the part is what would
    be decided on the whole.

    Args:
        state: the whole.
        units: known ones, and others, which are passed over.

    Returns:
        The part; its number and next age are the whole's.
    """
    label = connected(state)
    places = state.units.select("unit").with_row_index("place")
    asked = places.join(units.unique().to_frame("unit"), on="unit", how="semi")["place"]
    kept = state.units.filter(label.is_in(label.gather(asked).implode()))
    ids = pl.concat([kept.select(id="holder"), kept.select(id="home")]).unique()
    return replace(
        state,
        units=kept,
        ids=state.ids.join(ids, on="id", how="semi"),
        links=state.links.join(kept, left_on="left", right_on="unit", how="semi"),
        apart=state.apart.join(kept, left_on="left", right_on="unit", how="semi"),
    )


def connected(state: State) -> pl.Series:
    """For each unit of a state a number that it shares with those that `concerned` says belong with it."""
    from scipy import sparse  # here, because SciPy takes half a second that most commands need not wait
    from scipy.sparse import csgraph

    places = state.units.select("unit").with_row_index("place")
    edges = [
        pairs.select(
            places.rename({"unit": side, "place": "at"})
            .join(pairs.select(side), on=side, how="right", maintain_order="right")["at"]
            .alias(side)
            for side in ("left", "right")
        )
        for pairs in (state.links.select("left", "right"), state.apart)
    ]
    known = state.ids.select("id").with_row_index("right", offset=places.height)
    for name in ("holder", "home"):
        named = state.units.select(id=name).with_row_index("left")
        if name == "home":  # as a rule it is the holder
            named = named.filter(state.units["home"] != state.units["holder"])
        edges.append(named.join(known, on="id").select("left", "right"))
    left, right = (np.concatenate([frame[side].to_numpy() for frame in edges]) for side in ("left", "right"))
    count = places.height + known.height
    graph = sparse.coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    labels = csgraph.connected_components(graph, directed=False)[1]
    return pl.Series("part", labels[: places.height], dtype=pl.Int64)


def memberships(persons: State, families: State, of: pl.DataFrame) -> pl.DataFrame:
    """Who is in which family, by the ids they are under now.

    Args:
        persons: the register of persons.
        families: the register of families.
        of: record and family (a source's reference), as delivered; a person may be in several families.

    Returns:
        fid and pid, each pair once, sorted.
    """
    return (
        of.select("record", "family")
        .join(persons.units.select(record="unit", pid="holder"), on="record")
        .join(families.units.select(family="unit", fid="holder"), on="family")
        .select("fid", "pid")
        .unique()
        .sort("fid", "pid")
    )
