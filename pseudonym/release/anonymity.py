"""k-anonymity on persons and on families, l-diversity, uniques, suppression, and what would help.

k-anonymity: Samarati and Sweeney (1998), here with a threshold on families beside the one on persons, since
one large family meets the latter alone. l-diversity: Machanavajjhala et al. (2007), in its distinct form.

In a set's own columns a missing value is a value of its own: it is no wildcard. In a sensitive column it is
none of the l values: where one value is known of a group, and otherwise nothing, that value is given away. A
group in which it is missing for everybody has no value to give away, and is not looked at for it.

All on frames with `person` and `family` (the table of families: `family` alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pseudonym.release.build import FAMILY, PERSON
from pseudonym.release.spec import QuasiSet

_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would make fewer combinations fail: leaving a column out, or blanking the rows that fail.

    Attributes:
        what: `leave out`, or `blank`.
        column: which, or empty for blanking.
        persons: who would still be in combinations that fail, or whose values would be blanked.
    """

    what: str
    column: str
    persons: int


@dataclass(frozen=True, slots=True)
class SetResult:
    """What a set of columns comes to.

    Attributes:
        name, table, columns, k, families: as declared.
        groups: combinations that occur.
        smallest: persons (for families: families) in the smallest.
        failing_groups: combinations below a threshold or without enough values of a sensitive column.
        failing_rows, failing_persons, failing_families: in these.
        short_of_values: combinations that fail for want of values of a sensitive column.
        uniques: persons who are alone in their combination.
        population_uniques: of these, alone among everybody in the project's store too.
        blanked_rows: rows of which the columns were blanked to meet the set.
        proposals: what would help.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    k: int
    families: int
    groups: int
    smallest: int
    failing_groups: int
    failing_rows: int
    failing_persons: int
    failing_families: int
    short_of_values: int
    uniques: int
    population_uniques: int
    blanked_rows: int = 0
    proposals: tuple[Proposal, ...] = ()


def groups(frame: pl.DataFrame, of: QuasiSet) -> pl.DataFrame:
    """The combinations that occur.

    Returns:
        The set's columns, `rows`, `persons`, `families`, `few` (too few of them) and `short` (too few values
        of a sensitive column).
    """
    keyed = _keyed(frame)
    short = [
        pl.col(one.column).drop_nulls().n_unique().is_between(1, one.l - 1).alias(f"_l{place}")
        for place, one in enumerate(of.sensitive)
    ]
    counts = pl.col("_person").n_unique().alias("persons"), pl.col("_family").n_unique().alias("families")
    counted = keyed.group_by(*of.columns).agg(pl.len().alias("rows"), *counts, *short)
    least_persons = 0 if PERSON not in frame.columns else of.k
    few = (pl.col("persons") < least_persons) | (pl.col("families") < of.families)
    named = [f"_l{place}" for place in range(len(short))]
    return counted.with_columns(few=few, short=pl.any_horizontal(pl.lit(False), *named)).drop(named)


def measured(frame: pl.DataFrame, of: QuasiSet, population: pl.DataFrame | None = None) -> SetResult:
    """What a set comes to in a table.

    Args:
        frame: the table.
        of: the set.
        population: the same table of everybody in the project's store, where that is more.
    """
    found = groups(frame, of)
    bad = found.filter(pl.col("few") | pl.col("short"))
    rows = _keyed(frame).join(bad.select(of.columns), on=of.columns, how="semi", nulls_equal=True)
    unit = "persons" if PERSON in frame.columns else "families"
    alone = found.filter(pl.col(unit) == 1)
    everybody = alone
    if population is not None:
        theirs = groups(population, of).filter(pl.col(unit) == 1)
        everybody = alone.join(theirs, on=of.columns, how="semi", nulls_equal=True)
    return SetResult(
        name=of.name,
        table=of.table,
        columns=of.columns,
        k=of.k,
        families=of.families,
        groups=found.height,
        smallest=int(found[unit].min() or 0),  # type: ignore[arg-type]
        failing_groups=bad.height,
        failing_rows=rows.height,
        failing_persons=rows["_person"].n_unique() if PERSON in frame.columns else 0,
        failing_families=rows["_family"].n_unique(),
        short_of_values=int(found["short"].sum()),
        uniques=alone.height,
        population_uniques=everybody.height,
        proposals=_proposals(frame, of, rows) if bad.height else (),
    )


def suppressed(frame: pl.DataFrame, of: QuasiSet, used: int = 0) -> tuple[pl.DataFrame, int, int]:
    """Blank the set's columns in rows whose combination fails, if that is within what the set allows.

    Blanked rows are a combination too: while they are too few, the smallest other one joins them.

    Args:
        frame: the table.
        of: the set.
        used: persons for whom the set was blanked before.

    Returns:
        The table, how many rows were blanked, and for how many persons: none, and the same table, where it
        would be too many.
    """
    most = of.suppress * _keyed(frame)["_person"].n_unique() - used
    marked = frame.with_row_index("_row")
    chosen, hit = pl.DataFrame(schema={"_row": marked.schema["_row"]}), 0
    empty = pl.all_horizontal(pl.col(name).is_null() for name in of.columns)
    for _ in range(_ROUNDS):
        now = _blanked(marked, chosen["_row"], of)
        found = groups(now.drop("_row"), of)
        bad = found.filter(pl.col("few") | pl.col("short"))
        if bad.is_empty():
            return now.drop("_row"), chosen.height, hit
        if bad.filter(~empty).is_empty():
            bad = found.filter(~empty).sort("persons", "rows", *of.columns).head(1)
        more = now.join(bad.select(of.columns), on=of.columns, how="semi", nulls_equal=True)
        larger = pl.concat([chosen, more.select("_row")]).unique(maintain_order=True)
        hit = _keyed(marked.join(larger, on="_row", how="semi"))["_person"].n_unique()
        if larger.height == chosen.height or hit > most:
            break
        chosen = larger
    return frame, 0, 0


def _blanked(marked: pl.DataFrame, rows: pl.Series, of: QuasiSet) -> pl.DataFrame:
    """The table with the set's columns blanked in some rows, by `_row`."""
    keep = ~pl.col("_row").is_in(rows.implode())
    return marked.with_columns(pl.when(keep).then(pl.col(name)).alias(name) for name in of.columns)


def _proposals(frame: pl.DataFrame, of: QuasiSet, failing: pl.DataFrame) -> tuple[Proposal, ...]:
    """For each column how many persons would still fail without it, the best first; and blanking them all."""
    unit = "_person" if PERSON in frame.columns else "_family"
    without = []
    for name in of.columns if len(of.columns) > 1 else ():
        rest = QuasiSet(
            of.name,
            tuple(one for one in of.columns if one != name),
            of.table,
            of.k,
            of.families,
            sensitive=of.sensitive,
        )
        bad = groups(frame, rest).filter(pl.col("few") | pl.col("short"))
        left = _keyed(frame).join(bad.select(rest.columns), on=rest.columns, how="semi", nulls_equal=True)
        without.append(Proposal("leave out", name, left[unit].n_unique()))
    ordered = sorted(without, key=lambda one: (one.persons, one.column))
    return (*ordered, Proposal("blank", "", failing[unit].n_unique()))


def _keyed(frame: pl.DataFrame) -> pl.DataFrame:
    """With whom each row counts for; a person of no family is a family of one."""
    family: pl.Expr = pl.col(FAMILY)
    if PERSON not in frame.columns:
        return frame.with_columns(_person=family, _family=family)
    return frame.with_columns(_person=pl.col(PERSON), _family=pl.coalesce(family, pl.col(PERSON)))


def uniques(frame: pl.DataFrame, columns: Sequence[str]) -> int:
    """How many rows are alone in all of these columns together."""
    if not columns or frame.is_empty():
        return 0
    return int(frame.group_by(columns).len().filter(pl.col("len") == 1).height)
