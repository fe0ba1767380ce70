"""Histories of made-up persons: what happens by chance, and a plain second way to group records."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import polars as pl

from pseudonym import persons
from pseudonym.errors import LinkError
from pseudonym.standing import IDS, LINKS, PAIRS, UNITS, Event, Stamp, State, apply

START = datetime(2026, 1, 1, tzinfo=UTC)


def unit(number: int) -> bytes:
    return number.to_bytes(16, "big")


def stamp(number: int = 0, run: str = "run-1") -> Stamp:
    return Stamp(START + timedelta(hours=number), "operator-7", "wave 1", run)


def units(numbers, protected=()) -> pl.DataFrame:
    return pl.DataFrame(
        {"unit": [unit(n) for n in numbers], "protected": [n in protected for n in numbers]},
        schema={"unit": pl.Binary, "protected": pl.Boolean},
    )


def links(rows) -> pl.DataFrame:
    return pl.DataFrame(
        [(unit(left), unit(right), float(weight)) for left, right, weight in rows],
        schema={"left": pl.Binary, "right": pl.Binary, "weight": pl.Float64},
        orient="row",
    )


def facts(state: State) -> tuple:
    """All of a state, in an order of its own, to compare."""
    return (
        state.number,
        state.next_age,
        sorted(state.units.select(UNITS.names()).rows()),
        sorted(state.ids.select(IDS.names()).rows()),
        sorted(state.links.select(LINKS.names()).rows()),
        sorted(state.apart.select(PAIRS.names()).rows()),
    )


def partition(state: State) -> set[frozenset[bytes]]:
    return {frozenset(group) for group in state.units.group_by("holder").agg("unit")["unit"].to_list()}


def holders(state: State) -> dict[bytes, bytes]:
    return dict(state.units.select("unit", "holder").iter_rows())


def grouped_by_hand(state: State) -> set[frozenset[bytes]]:
    """From the strongest link down, everywhere: join unless that brings two together that are held apart."""
    apart = {frozenset(pair) for pair in state.apart.iter_rows()}
    group = {u: frozenset([u]) for u in state.units["unit"]}
    standing = [row for row in state.links.iter_rows(named=True) if not row["void"]]
    for row in sorted(standing, key=lambda r: (-r["weight"], r["left"], r["right"])):
        one, other = group[row["left"]], group[row["right"]]
        if not any(frozenset((x, y)) in apart for x in one for y in other):
            for u in one | other:
                group[u] = one | other
    return set(group.values())


class World:
    """A register of persons to which things happen by chance."""

    def __init__(self, seed: int, protecting: bool = True) -> None:
        self.chance = random.Random(seed)
        self.protecting = protecting
        self.state = State()
        self.events: list[Event] = []
        self.snapshots: list[dict[bytes, bytes]] = [{}]
        self.count = 0

    def draw(self, count: int) -> list[bytes]:
        return [self.chance.randbytes(16) for _ in range(count)]

    def happen(self, event: Event | None) -> None:
        if event is None:
            return
        self.state = apply(self.state, event)
        self.events.append(event)
        self.snapshots.append(holders(self.state))

    def deliver(self, size: int, known: int = 4, chance_of_protected: float = 0.1) -> None:
        new = list(range(self.count, self.count + size))
        old = [int.from_bytes(u, "big") for u in self.state.units["unit"]]
        ends = new + self.chance.sample(sorted(old), min(known, len(old)))
        pairs = {tuple(sorted(self.chance.sample(ends, 2))) for _ in range(size) if len(ends) > 1}
        protected = [n for n in new if self.protecting and self.chance.random() < chance_of_protected]
        rows = [(*self.chance.sample(pair, 2), self.chance.randint(1, 40)) for pair in sorted(pairs)]
        self.count += size
        now = stamp(len(self.events), f"run-{len(self.events)}")
        self.happen(persons.deliver(self.state, units(new, protected), links(rows), now, self.draw))

    def decide(self) -> None:
        """One decision, of those that are possible."""
        chance, state, now = self.chance, self.state, stamp(len(self.events))
        living = sorted(set(state.units["holder"]))
        if not living:
            return
        one, other = chance.choice(living), chance.choice(living)
        held = sorted(state.units.filter(pl.col("holder") == one)["unit"])
        standing = state.links.filter(~pl.col("void")).sort("left", "right")
        act = chance.choice(
            ["merge", "merge", "split", "split", "withdraw", "remove", "protect", "part", "admit"]
        )
        try:
            if act == "merge":
                self.happen(persons.merge(state, one, other, now, self.draw))
            elif act == "split" and len(held) > 1:
                parts = [chance.randint(0, 2) for _ in held]
                told = pl.DataFrame({"unit": held, "part": parts}, schema_overrides={"unit": pl.Binary})
                self.happen(persons.split(state, one, told, now, self.draw))
            elif act == "withdraw" and standing.height:
                row = standing.slice(chance.randrange(standing.height), 1)
                self.happen(persons.withdraw(state, row, now, self.draw))
            elif act == "remove" and chance.random() < 0.3:
                self.happen(persons.remove(state, pl.Series(held[:1], dtype=pl.Binary), now, self.draw))
            elif act == "protect" and self.protecting and chance.random() < 0.4:
                self.happen(persons.protect(state, one, now, draw=self.draw))
            elif act == "part" and self.protecting and len(held) > 1:
                part = pl.Series(held[: chance.randint(1, len(held) - 1)], dtype=pl.Binary)
                self.happen(persons.protect(state, one, now, part, self.draw))
            elif act == "admit" and self.protecting:
                self.happen(persons.admit(state, one, other, now, self.draw))
        except LinkError:
            return


def world(seed: int, steps: int = 14, protecting: bool = True) -> World:
    made = World(seed, protecting)
    made.deliver(8)
    for _ in range(steps):
        if made.chance.random() < 0.35:
            made.deliver(made.chance.randint(1, 6))
        else:
            made.decide()
    return made
