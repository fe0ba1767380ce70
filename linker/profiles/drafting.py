"""What a profile compares in two files that are there: comparisons, candidate rules and keys, before training.

The comparisons are those of the field's kind (`linker.defaults`), each level met by any of a record's several
values; that another value agrees, and not the main one, is a level of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.conditions import Any
from linker.defaults import default_comparisons
from linker.errors import RecordsError
from linker.matchkeys import Matchkey
from linker.matchkeys_pass import answerable
from linker.model import BlockingRule, Comparison, Level, Model
from linker.profiles.profile import Profile
from linker.profiles.sides import Side
from linker.profiles.words import OPEN, any_value, between, condition_of, opened, pairs_of
from linker.records import Field, Kind
from linker.workup import UNTRAINED

OTHER_VALUE = 0.04  # m of "agrees with another value": an expectation, which training replaces


@dataclass(frozen=True)
class Draft:
    """What is compared.

    Attributes:
        model: comparisons with the expected m; rules.
        keys: those that both files can answer, in order.
        left_out: (key, columns lacking) of the others.
        columns: of the left and of the right, with the open columns that conditions read.
    """

    model: Model
    keys: tuple[Matchkey, ...]
    left_out: tuple[tuple[str, tuple[str, ...]], ...]
    columns: tuple[pl.DataFrame, pl.DataFrame]


def draft(profile: Profile, left: Side, right: Side) -> Draft:
    """Lay out what the two sides can be compared by.

    Raises:
        RecordsError: they have nothing in common that the profile compares.
    """
    names = _both(left.columns, right.columns)
    main = [name for name in names if name.split(".")[0] in profile.compare]
    fields = {field.name: field for side in (left, right) for field in side.records.layout.fields}
    there = {column.split(".")[0] for side in (left, right) for column in side.columns.columns}
    further = {base: tuple(one for one in others if one in there) for base, others in profile.compare.items()}
    comparisons = tuple(
        _over_values(one, further.get(one.name, ()))
        for one in default_comparisons(_known(fields.values(), profile), main)
    )
    keys = [
        Matchkey(
            key.name,
            key.label,
            tuple(BlockingRule(columns) for columns in key.equal),
            condition_of(key.where, further) if key.where else None,
        )
        for key in profile.keys
    ]
    rules = [BlockingRule(columns) for columns in profile.block]
    read = {name for one in comparisons for name in one.columns}
    read |= {name for key in keys for name in key.columns}
    read |= {name for rule in rules for pair in rule.columns for name in pair}
    columns = (_open(left, profile, opened(read)), _masked(right, profile))
    here = [frozenset(side.columns) for side in columns]
    rules = [rule for rule in rules if all(a in here[0] and b in here[1] for a, b in rule.columns)]
    usable, left_out = answerable(keys, *here)
    if not comparisons or not rules:
        raise RecordsError(
            f"The two files have too little in common for the profile '{profile.name}'.",
            "'kinlink profile show' lists what it compares.",
        )
    model = Model(comparisons, tuple(dict.fromkeys(rules)), UNTRAINED)
    return Draft(model, tuple(usable), left_out, columns)


def _both(left: pl.DataFrame, right: pl.DataFrame) -> list[str]:
    """Columns that both sides have, with a value in each."""
    return [
        name
        for name in left.columns
        if name in right.columns and all(side[name].null_count() < len(side) for side in (left, right))
    ]


def _known(fields: Collection[Field], profile: Profile) -> tuple[Field, ...]:
    """The fields with the kinds that the profile says, composed ones too."""
    composed = (Kind.INITIALS, Kind.PARTIAL_POSTCODE)
    made = [Field(kind.value, kind, (), "composed") for kind in composed if kind in profile.compare]
    return (*fields, *made)


def _over_values(comparison: Comparison, others: tuple[str, ...]) -> Comparison:
    if not others:
        return comparison
    base, (first, *levels) = comparison.name, comparison.levels
    assert first.condition is not None
    another = Any(tuple(between(first.condition, base, *pair) for pair in pairs_of(base, others)))
    made = [
        level
        if level.condition is None
        else replace(level, condition=any_value(level.condition, base, others))
        for level in levels
    ]
    other = Level("agrees with another value on record", another, OTHER_VALUE)
    return replace(comparison, levels=(first, other, *made))


def _open(side: Side, profile: Profile, names: Collection[str]) -> pl.DataFrame:
    """The left columns: further values taken from protected people, and what may meet those of the right."""
    frame, protected = _masked(side, profile), pl.Series("protected", side.protected)
    made = {
        name + OPEN: pl.when(~pl.lit(protected)).then(pl.col(name)) for name in names if name in frame.columns
    }
    return frame.with_columns(**made)


def _masked(side: Side, profile: Profile) -> pl.DataFrame:
    if not np.any(side.protected):
        return side.columns
    protected = pl.Series("protected", side.protected)
    others = {one for further in profile.compare.values() for one in further}
    return side.columns.with_columns(
        pl.when(~pl.lit(protected)).then(pl.col(name)).alias(name)
        for name in side.columns.columns
        if name.split(".")[0] in others
    )


def persons(side: Side, profile: Profile) -> npt.NDArray[np.int64]:
    """Which rows are one person's, as the file says or by the profile's `same`: a number a row."""
    if side.person is not None:
        return (side.person.rank("dense").cast(pl.Int64) - 1).to_numpy()
    from linker.decide import components

    rows, edges = len(side.ids), []
    for names in profile.same:
        if not all(name in side.columns.columns for name in names):
            continue
        known = side.columns.select(names).with_row_index("row").drop_nulls()
        groups = known.with_columns(first=pl.col("row").min().over(names))
        edges.append(groups.filter(pl.col("first") != pl.col("row")).select("row", "first"))
    if not edges:
        return np.arange(rows)
    both = pl.concat(edges)
    return components(
        both["row"].to_numpy().astype(np.int64), both["first"].to_numpy().astype(np.int64), rows
    )
