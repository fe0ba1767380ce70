"""From rows to a table that may be looked at: count, protect, hold against what was released, report.

count ──▶ people ──▶ who has any, sums ──▶ differences ──▶ published, facts, report
  ▲                        │
  └── coarser categories ◀─┘ where it cannot be protected, or more than half would be gone
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pseudonym.datasets import Dataset
from pseudonym.tables.board import Change, Past, cells
from pseudonym.tables.cellkey import Noise
from pseudonym.tables.cells import Key, Sheet
from pseudonym.tables.counting import Counted, Told, count
from pseudonym.tables.facts import Fact, Facts, Kind, inner_keys, pasts
from pseudonym.tables.lawful import findings
from pseudonym.tables.overlap import overlap
from pseudonym.tables.protect import Given, Protected, Unprotected, loose, protect
from pseudonym.tables.published import Published, published
from pseudonym.tables.report import BASES, DIFFERENCE, OVERLAP, UNPROTECTED, TableReport
from pseudonym.tables.rules import THRESHOLD
from pseudonym.tables.spec import TableSpec
from pseudonym.tables.subtracting import told_by_subtraction

MOST_SUPPRESSED: Final = 0.5
"""The share of cells above which coarser categories are tried, where the declaration has some."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What came of a table.

    Attributes:
        report: what was found.
        table, facts: None where the table is refused.
        persons: how many are counted.
    """

    report: TableReport
    table: Published | None
    facts: Facts | None
    persons: int


@dataclass(frozen=True, slots=True, eq=False)
class _Guarded:
    facts: tuple[Fact, ...]
    cells: int
    gone: int
    secondary: int
    attacked: int
    changes: tuple[Change, ...]
    subtracted: bool


def build_table(
    spec: TableSpec,
    declared: Mapping[str, Dataset],
    rows: Mapping[str, pl.DataFrame],
    now: datetime,
    earlier: Sequence[Facts],
    noise: Noise | None = None,
) -> Made:
    """Count a table, protect it, and attack it together with what was released before.

    Args:
        spec: its declaration.
        declared: the datasets' declarations.
        rows: of each dataset, as `counting.count` takes them.
        now: for the report.
        earlier: the tables that were released.
        noise: for cell keys.

    Raises:
        InputError: the declaration asks for what datasets do not have.
    """
    found = findings(spec, declared)
    order = [one.name for one in reversed(spec.dimensions) if one.coarser]
    best: tuple[Counted, _Guarded, list[str]] | None = None
    persons = families = 0
    for size in range(len(order) + 1):
        coarse = order[:size]
        counted = count(spec, declared, rows, now.date(), frozenset(coarse), noise)
        persons, families = counted.persons, counted.families
        reason = BASES if _in_two_roundings(spec, counted, earlier) else ""
        reason = OVERLAP if _overlapping(spec, counted, earlier) else reason
        if reason:
            report = TableReport(
                spec.name, now.isoformat(timespec="seconds"), persons, families, tuple(found)
            )
            return Made(report.refused(reason), None, None, persons)
        try:
            guarded = _guarded(spec, counted, earlier)
        except Unprotected:
            continue
        best = counted, guarded, coarse
        if guarded.gone <= MOST_SUPPRESSED * guarded.cells:
            break
    report = TableReport(
        table=spec.name,
        checked=now.isoformat(timespec="seconds"),
        persons=persons,
        families=families,
        findings=tuple(found),
    )
    if best is None or best[1].gone == best[1].cells:
        return Made(report.refused(UNPROTECTED), None, None, persons)
    counted, guarded, coarse = best
    report = report.told(
        cells=guarded.cells,
        suppressed=guarded.gone,
        secondary=guarded.secondary,
        attacked=guarded.attacked,
        earlier=tuple(one.name for one in earlier),
        coarser=tuple(coarse),
    )
    if guarded.subtracted or any(_too_few(one) for one in guarded.changes):
        return Made(report.refused(DIFFERENCE), None, None, persons)
    if report.blocked:
        return Made(report, None, None, persons)
    hidden = {id(one.sheet): one.suppressed for one in guarded.facts}
    table = published(spec, counted, hidden, coarse, now.date())
    return Made(report, table, Facts(spec.name, guarded.facts), persons)


def _too_few(one: Change) -> bool:
    """Whether people came or left since an earlier table, and so few that the difference is about them."""
    return bool(one.persons or one.families) and min(one.persons, one.families) < THRESHOLD


def _guarded(spec: TableSpec, counted: Counted, earlier: Sequence[Facts]) -> _Guarded:
    """Protect all sheets; the people first, since every other sheet tells of them too. Raises Unprotected."""
    people: dict[int, Sheet] = {id(one.people): one.people for one in counted.told}
    places = {identity: place for place, identity in enumerate(people)}
    done = protect(Given(list(people.values()), pasts=pasts(earlier, Kind.PEOPLE, spec.topic)))
    kept = [done]
    facts = [
        Fact(Kind.PEOPLE, spec.topic, sheet, done.suppressed, place)
        for place, sheet in enumerate(people.values())
    ]
    topics: dict[tuple[Kind, str], list[Told]] = {}
    for one in counted.told:
        if one.sheet is not one.people:
            topics.setdefault(_topic(spec, one), []).append(one)
    for (kind, topic), some in topics.items():  # what is told of the same is attacked together
        found = protect(_given(some, done, pasts(earlier, kind, topic), kind))
        kept.append(found)
        facts += [Fact(kind, topic, one.sheet, found.suppressed, places[id(one.people)]) for one in some]
    # The people are shown where a measure counts them, and else only behind the others.
    counted_too = [facts[places[id(one.people)]] for one in counted.told if one.sheet is one.people]
    own = gone = shown = 0
    for fact in (*counted_too, *facts[len(people) :]):
        known = cells([fact.sheet])
        for group in _shown(fact):
            shown += 1
            gone += any(key in fact.suppressed for key in group)
            own += any(known[key].primary for key in group)
    return _Guarded(
        tuple(facts),
        shown,
        gone,
        gone - own,
        sum(one.attacked for one in kept),
        tuple(change for one in kept for change in one.changes),
        any(_subtracted(fact, table) for fact in facts for table in earlier),
    )


def _subtracted(fact: Fact, earlier: Facts) -> bool:
    """Whether a sum of it less the same sum of an earlier table tells what somebody adds."""
    return fact.kind is Kind.SUM and any(
        told_by_subtraction(fact.sheet, fact.suppressed, one.sheet, one.suppressed)
        for one in earlier.facts
        if (one.kind, one.topic) == (fact.kind, fact.topic)
    )


def _in_two_roundings(spec: TableSpec, counted: Counted, earlier: Sequence[Facts]) -> bool:
    """Whether a sum has another base than the same sum here or in a released table."""
    mine = {(*_topic(spec, one), one.sheet.base) for one in counted.told if one.sheet.base}
    known = {(one.kind, one.topic, one.sheet.base) for table in earlier for one in table.facts}
    bases = defaultdict[tuple[Kind, str], set[int]](set)
    for kind, topic, base in mine | known:
        bases[kind, topic].add(base)
    return any(len(bases[kind, topic]) > 1 for kind, topic, _ in mine)


def _overlapping(spec: TableSpec, counted: Counted, earlier: Sequence[Facts]) -> bool:
    """Whether a measure looks at some rows of another's, here or in a released table, and not at the same.

    Persons' sums and families' sums of the same rows overlap too: a family counts in one cell, wherever its
    members do, so that a cell of the one is not that of the other, and no puzzle holds both.
    """
    mine = {_topic(spec, one) for one in counted.told if one.sheet is not one.people}
    others = mine | {(one.kind, one.topic) for table in earlier for one in table.facts}
    return any(_overlap(*one, topic) for one in mine for kind, topic in others if kind is one[0])


def _overlap(kind: Kind, one: str, other: str) -> bool:
    (what, unit, population), (what_2, unit_2, population_2) = (_parts(kind, it) for it in (one, other))
    if population != population_2:
        return False
    if kind is Kind.SUM:
        return (unit != unit_2 and what == what_2) or overlap(what, what_2, sums=True)
    return unit == unit_2 and overlap(what, what_2)


def _parts(kind: Kind, topic: str) -> tuple[str, str, str]:
    """What a measure's topic says that it looks at, of which unit and of which population."""
    if kind is Kind.SUM:
        what, _, whose = topic.rpartition(" of each ")
    else:
        whose, _, what = topic.partition(" any ")
    unit, _, population = whose.partition(" of ")
    return what, unit, population


def _topic(spec: TableSpec, one: Told) -> tuple[Kind, str]:
    """What a measure tells of; the same in all tables."""
    if one.sheet.base:
        return Kind.SUM, one.sheet.about
    return Kind.ANY, f"{spec.topic} {one.sheet.axes[-1].column}"


def _given(some: Sequence[Told], done: Protected, before: Sequence[Past], kind: Kind) -> Given:
    """What is protected together with the people that sheets are about."""
    sheets = [one.sheet for one in some]
    if kind is Kind.SUM:
        return Given(sheets, forced=done.suppressed, pasts=before)
    people = list({id(one.people): one.people for one in some}.values())
    # Who has any and who has none add up to the people, who are known: neither is shown without the other.
    groups = {
        key: (one.sheet.key((*place, 0)), one.sheet.key((*place, 1)))
        for one in some
        for place, key in one.people.margins()
    }
    forced = set(done.suppressed).union(*(groups[key] for key in done.suppressed if key in groups))
    pairs = list(groups.values())
    return Given(sheets, forced, pairs, people, done.suppressed, loose(people), before)


def _shown(fact: Fact) -> list[tuple[Key, ...]]:
    """The cells that a table shows, or would; who has any and who has none are one cell of a table."""
    sheet = fact.sheet
    places = [place for place, _ in inner_keys(sheet) if sheet.shown[place] and sheet.possible[place]]
    if fact.kind is not Kind.ANY:
        return [(sheet.key(place),) for place in places]
    return [(sheet.key(place), sheet.key((*place[:-1], 1))) for place in places if place[-1] == 0]
