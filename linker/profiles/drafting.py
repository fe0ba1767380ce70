"""What a profile compares in two files: comparisons, candidate rules and keys, before training.

The comparisons are those of the field's kind (`linker.defaults`), each level met by any of a record's several
values; that another value agrees, and not the main one, is a level of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.conditions import All, Any, Not, Op, missing, test
from linker.defaults import default_comparisons
from linker.errors import RecordsError
from linker.matchkeys import Matchkey
from linker.matchkeys_pass import answerable, first_keys
from linker.model import BlockingRule, Comparison, Level, Model
from linker.predict import no_progress
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
        _over_values(_once(one, main), further.get(one.name, ()))
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


def _once(comparison: Comparison, names: Collection[str]) -> Comparison:
    """A comparison of a place that only speaks where the postcodes do not say already that it is another."""
    if comparison.name not in ("house", "address_line", "town") or "postcode" not in names:
        return comparison
    elsewhere = All((Not(missing("postcode")), Not(test(Op.DAMERAU, "postcode", 1))))
    return replace(comparison, null=Any((comparison.null, elsewhere)))


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


def persons(side: Side, profile: Profile, *, register: bool) -> npt.NDArray[np.int64]:
    """Which rows are one person's by the profile's `same`: a number a row, the same for one person.

    Args:
        side: one file.
        profile: says by what.
        register: the file is the register's; some rules hold there only.
    """
    from linker.decide import components

    keys = [
        Matchkey(
            one.name,
            one.label,
            tuple(BlockingRule(columns) for columns in one.equal),
            condition_of(one.where, {}) if one.where else None,
        )
        for one in (*profile.same, *(profile.same_in_register if register else ()))
    ]
    usable, _ = answerable(keys, side.columns.columns, side.columns.columns)
    rows, edges = len(side.ids), []
    if usable and rows > 1:
        _, met, _, _ = first_keys(usable, [side.columns], None, no_progress)
        edges.append((met.left.astype(np.int64), met.right.astype(np.int64)))
    if side.person is not None:
        said = pl.DataFrame({"row": np.arange(rows), "person": side.person}).drop_nulls()
        said = said.with_columns(first=pl.col("row").min().over("person"))
        edges.append((said["row"].to_numpy(), said["first"].to_numpy()))
    if not edges:
        return np.arange(rows)
    left, right = (np.concatenate([edge[place] for edge in edges]) for place in (0, 1))
    return components(left, right, rows)
