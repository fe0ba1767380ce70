"""Where events and the state are kept, as a narrow interface, and what of the state a question concerns.

The vault implements `Register`. It may keep the state in any tables it likes, as long as `concerned` gives
what the function of the same name here would give of the whole state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import polars as pl

from pseudonym.standing import Event, State
from pseudonym.urn import Kind


class Register(Protocol):
    """The events of persons and of families, each kind numbered by itself, and the state they lead to."""

    def concerned(self, kind: Kind, units: pl.Series) -> State:
        """What of the state these units have to do with; unknown units have to do with nothing."""
        ...

    def append(self, kind: Kind, event: Event) -> None:
        """Store the event and what it changes, durably, before returning.

        An event whose number is not the next is refused: somebody else was first, so read and decide again.
        """
        ...

    def events(self, kind: Kind, after: int = 0) -> Iterator[Event]:
        """The events with a higher number, in their order."""
        ...


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
        edges.append(named.join(known, on="id").select("left", "right"))
    left, right = (np.concatenate([frame[side].to_numpy() for frame in edges]) for side in ("left", "right"))
    count = places.height + known.height
    graph = sparse.coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    labels = csgraph.connected_components(graph, directed=False)[1]
    label = pl.Series(labels[: places.height], dtype=pl.Int64)
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
