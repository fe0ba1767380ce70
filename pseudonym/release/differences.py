"""What a release adds to what its recipient got before: who the difference singles out, and what is finer.

A person has the same number in all releases of an epoch to one recipient, so whoever has two of them joins
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pseudonym.release.columns import Out
from pseudonym.release.report import Finding, Weight

CHECK = "earlier releases"


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier release to the same recipient, as it is kept.

    Attributes:
        name: the release's.
        columns: of each table.
        same: persons who are in both.
        gone: persons who were in it and are not in the new one.
        fresh: persons who are in the new one alone.
    """

    name: str
    columns: Mapping[str, Sequence[Out]]
    same: int
    gone: int
    fresh: int


def differences(new: Mapping[str, Sequence[Out]], earlier: Sequence[Earlier], k: int) -> list[Finding]:
    """What has to be known of earlier releases before this one is approved; nothing of it blocks by itself.

    Args:
        new: the columns of each table of the new release.
        earlier: the releases that the recipient has or had.
        k: below this many, a difference of persons singles them out.
    """
    found = []
    for one in earlier:
        if not one.same:
            continue
        for count, words in ((one.gone, "left since then"), (one.fresh, "are new since then")):
            if 0 < count < k:
                message = f"Only {count} persons {words}: what a table of both releases differs by is theirs."
                found.append(Finding(CHECK, Weight.WARNS, message, one.name, count))
        before: dict[str, list[Out]] = {}
        for out in (out for outs in one.columns.values() for out in outs if out.source):
            before.setdefault(out.source, []).append(out)
        for table, outs in new.items():
            found += [
                Finding(CHECK, Weight.WARNS, words, f"{table}.{out.name}", one.same)
                for out in outs
                if (words := _told(out, before.get(out.source, []), one))
            ]
    return found


def _told(now: Out, before: Sequence[Out], earlier: Earlier) -> str:
    """What is to be said of a column for people who are in both; empty where nothing is."""
    whom = f"for {earlier.same:,} persons who are in {earlier.name} too"
    if not now.source or any((now.how, now.codes) == (then.how, then.codes) for then in before):
        return ""
    if not before:
        return f"This column is new {whom}."
    then = before[0]
    if _finer(now, then):
        return f"This column is finer than it was {whom} (then: {then.how or 'as declared'})."
    return f"This column is told otherwise than it was {whom} (then: {then.how or 'as declared'})."


def _finer(now: Out, then: Out) -> bool:
    """Whether a column surely tells more than it did: less was done to it, or it has more values."""
    order = ("month", "quarter", "year")
    if now.kind in order and then.kind in order:
        return order.index(now.kind) < order.index(then.kind)
    return (bool(then.how) and not now.how) or (bool(then.codes) and len(now.codes) > len(then.codes))
