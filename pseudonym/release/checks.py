"""The gate: everything that has to be so of a built release before anybody may approve it.

Each check looks at the built tables and at the specification, and trusts nothing of how they were built. What
is found blocks unless it says that it warns; nothing that is found shows a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

import polars as pl

from pseudonym import reading, registers
from pseudonym.datasets import Dataset
from pseudonym.errors import NotFoundError
from pseudonym.release import anonymity
from pseudonym.release.build import FAMILY, PERSON, REFERENCES, Built, allowed
from pseudonym.release.columns import MONTH, QUARTER, Out
from pseudonym.release.differences import CHECK as DIFFERENCES
from pseudonym.release.differences import Earlier, differences
from pseudonym.release.opted_out import APPLIED, EXEMPT
from pseudonym.release.report import Finding, Report, Weight
from pseudonym.release.spec import FAMILIES, PERSONS, Spec
from pseudonym.scanner import scan
from pseudonym.urn import Kind

BLOCKS, WARNS = Weight.BLOCKS, Weight.WARNS
_SHORTEST_CANARY = 4


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What is checked.

    Attributes:
        spec: what was wanted.
        declared: the datasets' declarations.
        built: the tables, under the recipient's numbers.
        everybody: the tables of everybody in the project's store, by internal id, where that is more people.
        blanked: by set, the rows that were blanked to meet it.
        earlier: releases that the recipient got before.
        canaries: values that were planted to be found, and that no file may hold.
        now: the time.
    """

    spec: Spec
    declared: Mapping[str, Dataset]
    built: Built
    everybody: Built | None
    blanked: Mapping[str, int]
    earlier: Sequence[Earlier]
    canaries: Sequence[str]
    now: datetime


def check(what: Checked) -> Report:
    """Make all checks."""
    sets = tuple(_measured(what))
    found = [finding for _, make in CHECKS for finding in make(what)]
    alone = {table.name: anonymity.uniques(table.frame, table.names) for table in what.built.tables}
    found += [*_of_sets(what, sets), *_uncovered(what), *_alone(what, alone)]
    new = {table.name: table.columns for table in what.built.tables}
    found += differences(new, what.earlier, max(one.k for one in what.spec.sets))
    tables = what.built.tables
    return Report(
        release=what.spec.name,
        checked=what.now.isoformat(timespec="seconds"),
        persons=what.built.members.height,
        families=what.built.members[FAMILY].drop_nulls().n_unique(),
        rows={table.name: table.frame.height for table in tables},
        checks=(*(name for name, _ in CHECKS), "sets of columns", DIFFERENCES),
        findings=tuple(sorted(found, key=lambda one: (one.weight, one.check, one.place))),
        sets=sets,
        row_uniques=alone,
    )


# --- what leaves ----------------------------------------------------------------------------------------


def _columns(what: Checked) -> Iterator[Finding]:
    """Each table has the columns that the specification alone gives it, and there is no other table."""
    wanted = allowed(what.spec, what.declared, what.now.date())
    for table in what.built.tables:
        references = [name for name in REFERENCES if table.name != FAMILIES or name == FAMILY]
        expected = [*references, *(out.name for out in wanted.get(table.name, []))]
        if table.frame.columns != expected:
            extra = len(set(table.frame.columns) ^ set(expected))
            yield Finding(
                "columns", BLOCKS, "The columns are not those of the specification.", table.name, extra
            )


def _allow_list(what: Checked) -> Iterator[Finding]:
    """A register's columns are in its declaration for this use."""
    for use in what.spec.datasets:
        register = registers.find(use.name)
        if register is None:
            continue
        try:
            may = set(register.purpose(what.spec.use).columns)
        except NotFoundError:
            message = f"The register is not declared for the use {what.spec.use}."
            yield Finding("allow-list", BLOCKS, message, use.name)
            continue
        for name in use.reads:
            if name not in may:
                message = f"The register's declaration does not have this column for {what.spec.use}."
                yield Finding("allow-list", BLOCKS, message, f"{use.name}.{name}", 1)


def _law(what: Checked) -> Iterator[Finding]:
    """Tags are covered by the specification; health data say what became of the national data opt-out."""
    covered = {str(tag) for tag in what.spec.tags}
    for table in what.built.tables:
        for out in table.columns:
            if not set(out.tags) <= covered:
                message = f"The specification does not cover {', '.join(sorted(set(out.tags) - covered))}."
                yield Finding("law", BLOCKS, message, f"{table.name}.{out.name}", 1)
    for use in what.spec.datasets:
        register = registers.find(use.name)
        if register is None or not register.health:
            continue
        if use.opt_out.startswith(EXEMPT) and use.opt_out.removeprefix(EXEMPT).strip():
            message = f"The national data opt-out was not applied; {use.opt_out}."
            yield Finding("law", WARNS, message, use.name)
        elif use.opt_out != APPLIED:
            message = "Nothing says that the national data opt-out was applied, or why it is not."
            yield Finding("law", BLOCKS, message, use.name)


def _values(what: Checked) -> Iterator[Finding]:
    """A text is one of a closed list, or a month or quarter; nothing else can hide in it."""
    for table in what.built.tables:
        for out in table.columns:
            values = table.frame[out.name]
            if values.dtype.is_temporal() or values.dtype.is_nested() or values.dtype == pl.Binary:
                yield Finding("values", BLOCKS, "A type that no file has.", f"{table.name}.{out.name}")
            if values.dtype != pl.String:
                continue
            strange = _strange(values.drop_nulls(), out)
            if strange:
                message = f"{strange} rows hold something that is in no list of values."
                yield Finding("values", BLOCKS, message, f"{table.name}.{out.name}", strange)


def _strange(values: pl.Series, out: Out) -> int:
    pattern = {"month": MONTH, "quarter": QUARTER}.get(out.kind)
    fits = values.str.contains(pattern) if pattern else values.is_in(list(out.codes))
    return int((~fits).sum())


def _identifiers(what: Checked) -> Iterator[Finding]:
    """Nothing looks like an identifier, in the tables and in what the dictionary says."""
    for name, frame in _looked_at(what):
        # Columns have few different values: these are looked at first, and rows counted where needed.
        suspects = [one.name for one in frame.iter_columns() if scan(one.unique().to_frame())]
        for finding in scan(frame.select(suspects)):
            weight = WARNS if finding.like_chance else BLOCKS
            message = f"{finding.rows} values look like a {finding.sort.value}."
            yield Finding("identifiers", weight, message, f"{name}.{finding.column}", finding.rows)


def _canaries(what: Checked) -> Iterator[Finding]:
    """No planted value is anywhere, however it is spelt."""
    wanted = sorted({_bare(one) for one in what.canaries if len(_bare(one)) >= _SHORTEST_CANARY})
    if not wanted:
        return
    for name, frame in _looked_at(what):
        for column in frame.iter_columns():
            text = pl.col("text").cast(pl.String).str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]", "")
            hit = column.rename("text").to_frame().select(text.str.contains_any(wanted).sum()).item()
            if hit:
                message = f"{hit} rows hold a planted value: something is where it must not be."
                yield Finding("canaries", BLOCKS, message, f"{name}.{column.name}", int(hit))


def _looked_at(what: Checked) -> Iterator[tuple[str, pl.DataFrame]]:
    """The tables without the reference numbers, and the words of the dictionary and of the specification."""
    for table in what.built.tables:
        yield table.name, table.frame.select(table.names)
        words = [out.meaning for out in table.columns] + [code for out in table.columns for code in out.codes]
        yield f"dictionary of {table.name}", pl.DataFrame({"words": words}, schema={"words": pl.String})
    yield "specification", pl.DataFrame({"title": [what.spec.title]})


def _bare(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalnum())


def _references(what: Checked) -> Iterator[Finding]:
    """A person is a reference number of a person's, once in the table of persons; a family likewise."""
    for table in what.built.tables:
        for name, kind in ((PERSON, Kind.PERSON), (FAMILY, Kind.FAMILY)):
            if name not in table.frame.columns:
                continue
            place = f"{table.name}.{name}"
            numbers = table.frame[name]
            if numbers.dtype != pl.String:
                yield Finding("references", BLOCKS, "This is no column of reference numbers.", place)
                continue
            given = numbers.drop_nulls().unique()
            wrong = given.len() - reading.read_all(given).read.filter(pl.col("kind") == kind.value).height
            once = {PERSONS: PERSON, FAMILIES: FAMILY}.get(table.name) == name
            wrong += (numbers.len() - given.len()) if once else 0
            wrong += numbers.null_count() if name == PERSON and not once else 0
            if wrong:
                message = (
                    f"{wrong} rows have no reference number of a {kind.value}, or one that is there twice."
                )
                yield Finding("references", BLOCKS, message, place, wrong)


# --- who might be known ---------------------------------------------------------------------------------


def _measured(what: Checked) -> Iterator[anonymity.SetResult]:
    for one in what.spec.sets:
        table, everybody = what.built.table(one.table), None
        if what.everybody is not None:
            everybody = what.everybody.table(one.table).frame
        result = anonymity.measured(table.frame, one, everybody)
        yield replace(result, blanked_rows=what.blanked.get(one.name, 0))


def _of_sets(what: Checked, sets: Sequence[anonymity.SetResult]) -> Iterator[Finding]:
    for one in sets:
        if one.failing_groups:
            who = f"{one.failing_persons:,} persons of " if one.table != FAMILIES else ""
            message = f"{who}{one.failing_families:,} families are in combinations that fail."
            count = one.failing_persons or one.failing_families
            yield Finding("sets of columns", BLOCKS, message, one.name, count)
        if one.blanked_rows:
            message = f"{one.blanked_rows:,} rows of these columns were blanked."
            yield Finding("sets of columns", WARNS, message, one.name, one.blanked_rows)


def _uncovered(what: Checked) -> Iterator[Finding]:
    """Columns in no set: the approvers judge whether others could know them of a person."""
    for table in what.built.tables:
        in_sets: set[str] = set()
        for one in what.spec.sets:
            if one.table == table.name:
                in_sets |= {*one.columns, *(sensitive.column for sensitive in one.sensitive)}
        left = [name for name in table.names if name not in in_sets]
        if left:
            message = f"{len(left)} columns are in no set: {', '.join(left)}."
            yield Finding("sets of columns", WARNS, message, table.name, len(left))


def _alone(what: Checked, alone: Mapping[str, int]) -> Iterator[Finding]:
    """Rows that nobody shares: whoever knows all of somebody's values finds them in such a file."""
    for table in what.built.tables:
        if alone[table.name]:
            message = f"{alone[table.name]:,} of {table.frame.height:,} rows are alone in all their columns."
            yield Finding("sets of columns", WARNS, message, table.name, alone[table.name])


CHECKS: Final = (
    ("columns", _columns),
    ("allow-list", _allow_list),
    ("law", _law),
    ("values", _values),
    ("identifiers", _identifiers),
    ("canaries", _canaries),
    ("references", _references),
)
"""Each check by its name, in the order of the report."""


def suppress(spec: Spec, built: Built) -> tuple[Built, dict[str, int]]:
    """Blank what the specification allows to be blanked; the tables, and the rows for each set.

    Sets may share columns, so that blanking for one makes another's combinations smaller: the sets are gone
    through until nothing changes, and the checks look again at what came of it.
    """
    tables = {table.name: table for table in built.tables}
    blanked: dict[str, int] = {}
    used: dict[str, int] = {}
    for _ in range(3):
        before = dict(blanked)
        for one in spec.sets:
            if one.suppress:
                table = tables[built.table(one.table).name]
                frame, rows, persons = anonymity.suppressed(table.frame, one, used.get(one.name, 0))
                blanked[one.name] = blanked.get(one.name, 0) + rows
                used[one.name] = used.get(one.name, 0) + persons
                tables[one.table] = replace(table, frame=frame)
        if blanked == before:
            break
    return Built(tuple(tables.values()), built.members), {name: n for name, n in blanked.items() if n}


def unknown_columns(spec: Spec, declared: Mapping[str, Dataset], today: date) -> list[str]:
    """The columns of sets that their tables do not have, as table.column."""
    tables = {name: {out.name for out in outs} for name, outs in allowed(spec, declared, today).items()}
    wanted = [
        (one.table, name)
        for one in spec.sets
        for name in (*one.columns, *(sensitive.column for sensitive in one.sensitive))
    ]
    return sorted({f"{table}.{name}" for table, name in wanted if name not in tables.get(table, set())})
