"""Ids of people, each person's by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def alone(
    pids: Sequence[bytes], all_ids: Callable[[Sequence[bytes]], Sequence[bytes]]
) -> list[tuple[bytes, ...]]:
    """Group ids by person.

    Args:
        pids: ids of people; several may be of one person, of which all but one gave way.
        all_ids: an id and every other that gave way to it.

    Returns:
        The ids, each once, in the order in which the people come first.
    """
    groups: list[tuple[list[bytes], set[bytes]]] = []
    for pid in dict.fromkeys(pids):
        names = set(all_ids([pid]))
        mine = [one for one in groups if not one[1].isdisjoint(names)]
        own = [*(each for one in mine for each in one[0]), pid], names.union(*(one[1] for one in mine))
        place = groups.index(mine[0]) if mine else len(groups)
        groups = [one for one in groups if one not in mine]
        groups.insert(place, own)
    return [tuple(own) for own, _ in groups]
