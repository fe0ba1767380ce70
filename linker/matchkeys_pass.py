"""The pass over a set of matchkeys: candidate pairs → first key of each pair → what is linked.

    match_keys(left, right, keys)   two sets of records
    match_within(sides, keys)       one set with itself, or several together

All keys are the levels of one comparison, so that one run of the fused pass (`predict.scan_candidates`) gives
every pair its first key; the blocking rules are the smallest of the keys' sets of equal columns. A key of
people who moved together is a comparison of its own, since one pair alone does not say whether it is met.
What is then linked is settled in `linker.matchkeys_settle`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any as Json

import numpy as np
import polars as pl

from linker.block import block
from linker.composed import fields_read, with_composed
from linker.conditions import All, Any, Condition, Not, Op, Test, turned
from linker.derive import standard_columns
from linker.encode import Encoded, encode
from linker.errors import RecordsError
from linker.matchkeys import Matchkey, Matchkeys
from linker.matchkeys_settle import OUTCOMES, Mask, Rows, settle_between, settle_within
from linker.model import BlockingRule, Comparison, Level, Model
from linker.predict import Progress, Scored, no_progress, scan_candidates
from linker.program import compile_tests, compile_weights, shifts
from linker.records import Kind, Records
from linker.workup import agreed, as_one, canonical


@dataclass(frozen=True)
class Matched:
    """What a set of matchkeys made of two sets of records, or of one.

    Attributes:
        keys: the set.
        pairs: left_id, right_id, key (name of the first one that the pair meets) and outcome, sorted by the
            ids. NOT_LINKED is a pair whose record an earlier key linked, REVIEW one of a clerical key. Within
            one set the smaller id stands left.
        used: the names of the keys that the records can answer, in order.
        left_out: (name, columns that the records lack) of the others.
        compared: candidate pairs that were looked at.
        ids: of the records on the left; within one set, of all.
    """

    keys: Matchkeys
    pairs: pl.DataFrame
    used: tuple[str, ...]
    left_out: tuple[tuple[str, tuple[str, ...]], ...]
    compared: int
    ids: pl.Series

    def summary(self, links: pl.DataFrame) -> dict[str, Json]:
        """Plain figures: the set, and for each key its pairs, and how many of them had which outcome.

        Args:
            links: the links of the run: of a key's links the mean probability by the model is given, null
                without a model.
        """
        counted = self.pairs.group_by("key", "outcome").len()
        found = {(key, outcome): many for key, outcome, many in counted.rows()}
        sure = dict(links.group_by("rule").agg(pl.col("match_probability").mean()).rows())
        labels = {key.name: key.label for key in self.keys.keys}
        return {
            "name": self.keys.name,
            "version": self.keys.version,
            "digest": self.keys.digest,
            "candidate_pairs": self.compared,
            "keys": [
                {"key": name, "label": labels[name]}
                | {outcome.value.lower(): found.get((name, outcome.value), 0) for outcome in OUTCOMES}
                | {"model_probability": sure.get(name)}
                for name in self.used
            ],
            "left_out": [
                {"key": name, "label": labels[name], "missing": list(columns)}
                for name, columns in self.left_out
            ],
        }


def match_keys(
    left: Records,
    right: Records,
    keys: Matchkeys,
    *,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Matched:
    """Go through a set of matchkeys; what a key links is said in `linker.matchkeys`.

    Args:
        left: records.
        right: the other side.
        keys: the set.
        threads: worker threads; None for one a core.
        progress: called with ("matchkeys", done, total); may raise `Cancelled`.

    Raises:
        RecordsError: the records can answer none of the keys.
    """
    reading = {name for key in keys.keys for name in key.columns}
    sides = agreed((canonical(left), canonical(right, 1)))
    columns = [_columns(side, reading) for side in sides]
    return _match(keys, keys.keys, [side.ids for side in sides], columns, threads, progress)


def match_within(
    sides: Sequence[Records],
    keys: Matchkeys,
    *,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Matched:
    """Go through a set of matchkeys for the pairs within one set of records, or within several together.

    A pair has no left and no right here: it meets a key if it does so one way round or the other.

    Args:
        sides: the sets; the ids of several begin with the number of the set, as in "1:".
        keys, threads, progress: as in `match_keys`.

    Raises:
        RecordsError: the records can answer none of the keys.
    """
    reading = {name for key in keys.keys for name in key.columns}
    sides = agreed(tuple(canonical(one, side) for side, one in enumerate(sides)))
    ids, columns = [side.ids for side in sides], [_columns(side, reading) for side in sides]
    if len(sides) > 1:
        ids, columns = as_one(ids, columns)
    return _match(keys, [_either_way(key) for key in keys.keys], ids, columns, threads, progress)


def _match(
    keys: Matchkeys,
    asked: Iterable[Matchkey],
    ids: Sequence[pl.Series],
    columns: Sequence[pl.DataFrame],
    threads: int | None,
    progress: Progress,
) -> Matched:
    usable, left_out = answerable(asked, columns[0].columns, columns[-1].columns)
    if not usable:
        missing = sorted({column for _, lacking in left_out for column in lacking})
        raise RecordsError(
            f"The records can answer no matchkey of '{keys.name}'.",
            f"These columns are not there, on one side at least: {', '.join(missing)}.",
        )
    encoded, scored, first, met = first_keys(usable, columns, threads, progress)
    settle = settle_within if encoded.deduplicates else settle_between
    rank, outcome = settle(usable, scored, first, met, columns)
    pairs = pl.DataFrame(
        {
            "left_id": ids[0].gather(scored.left),
            "right_id": ids[-1].gather(scored.right),
            "key": pl.Series([*(key.name for key in usable), None]).gather(rank),
            "outcome": pl.Series([one.value for one in OUTCOMES]).gather(outcome),
        }
    )
    if encoded.deduplicates:
        pairs = smaller_left(pairs)
    return Matched(
        keys,
        pairs.filter(pl.col("key").is_not_null()).sort("left_id", "right_id"),
        tuple(key.name for key in usable),
        left_out,
        sum(scored.compared),
        ids[0],
    )


def first_keys(
    keys: Sequence[Matchkey], columns: Sequence[pl.DataFrame], threads: int | None, progress: Progress
) -> tuple[Encoded, Scored, Rows, Mapping[int, Mask]]:
    """Every pair that meets a key, with the first key that it meets.

    Args:
        keys: in order; the columns can answer all of them.
        columns: of the left and of the right records, or of one set.
        threads, progress: as in `match_keys`.

    Returns:
        The codes, the pairs, each pair's first key (position; their number for none), and which pairs meet
        each key of movers, as far as one pair alone can say.
    """
    model = _compiled(keys)
    encoded = encode(columns[0], columns[1] if len(columns) > 1 else None, model)
    scored = scan_candidates(
        encoded,
        block(model.rules, encoded),
        compile_tests(model.comparisons, encoded),
        compile_weights(model, encoded),
        0.5,  # a pair of no key weighs 0, one of any key 1 or more
        threads=threads,
        progress=progress,
        stage="matchkeys",
    )
    return encoded, scored, *_levels(scored, model, keys)


def smaller_left(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs within one set with the smaller id on the left."""
    return pairs.with_columns(
        left_id=pl.min_horizontal("left_id", "right_id"), right_id=pl.max_horizontal("left_id", "right_id")
    )


def _either_way(key: Matchkey) -> Matchkey:
    """A key that is met by whichever of the two records stands left."""
    other_equal = tuple(BlockingRule(tuple((b, a) for a, b in rule.columns)) for rule in key.equal)
    equal = {frozenset(rule.columns): rule for rule in (*other_equal, *key.equal)}
    both = replace(key, equal=tuple(equal.values()))
    if key.where is None or _shape(turned(key.where)) == _shape(key.where):
        return both
    other = replace(key, equal=other_equal, where=turned(key.where))
    return replace(both, where=Any((key.condition, other.condition)))


def _shape(condition: Condition) -> object:
    """The same for conditions that differ in nothing but the order of their parts."""
    match condition:
        case Not(of=part):
            return Not, _shape(part)
        case All(of=parts) | Any(of=parts):
            return type(condition), frozenset(map(_shape, parts))
    return condition


def _columns(records: Records, reading: Collection[str]) -> pl.DataFrame:
    """The columns that the keys read, as far as the records have them."""
    needed = fields_read(reading)
    whole = (Kind.FULL_NAME, Kind.ADDRESS)  # fall into pieces that have names of their own
    fields = tuple(field for field in records.layout.fields if field.name in needed or field.kind in whole)
    made = standard_columns(replace(records, layout=replace(records.layout, fields=fields)))
    made = with_composed(made, reading)
    return made.select(name for name in made.columns if name in reading)


def answerable(
    keys: Iterable[Matchkey], left: Collection[str], right: Collection[str]
) -> tuple[list[Matchkey], tuple[tuple[str, tuple[str, ...]], ...]]:
    """The keys without what no record can answer.

    Returns:
        Those that are left, and (name, columns lacking) of the others.
    """
    usable, left_out = [], []
    for key in keys:
        equal = tuple(
            rule for rule in key.equal if all(one in left and other in right for one, other in rule.columns)
        )
        where = True if key.where is None else _simplified(key.where, left, right)
        moved = tuple(names for names in key.moved if all(one in left and one in right for one in names))
        if not equal or where is False or (key.moved and not moved):
            lacking = key.columns - (frozenset(left) & frozenset(right))
            left_out.append((key.name, tuple(sorted(lacking))))
        else:
            condition = None if where is True else where
            usable.append(replace(key, equal=equal, where=condition, moved=moved))
    return usable, tuple(left_out)


def _simplified(condition: Condition, left: Collection[str], right: Collection[str]) -> Condition | bool:
    """The condition without tests of columns that are not there: a missing value agrees with nothing."""
    match condition:
        case Test(op=op, left=one, right=other):
            return condition if one in left and other in right else op is Op.MISSING
        case Not(of=part):
            made = _simplified(part, left, right)
            return not made if isinstance(made, bool) else Not(made)
        case All(of=parts) | Any(of=parts):
            decides = isinstance(condition, Any)  # true decides any, false decides all
            made_of = [_simplified(part, left, right) for part in parts]
            if any(one is decides for one in made_of):
                return decides
            rest = tuple(one for one in made_of if not isinstance(one, bool))
            return type(condition)(rest) if rest else not decides


def _compiled(keys: Sequence[Matchkey]) -> Model:
    """A model whose weights are no evidence: 1 for a key, 0 for none."""
    plain = [key for key in keys if not key.moved]
    chains = [plain] if plain else []
    chains += [[key] for key in keys if key.moved]
    comparisons = tuple(
        Comparison(
            f"matchkeys {number}",
            Any(()),  # never
            (*(Level(key.name, key.condition, 1.0, 0.5) for key in chain), Level("none", None, 1.0, 1.0)),
        )
        for number, chain in enumerate(chains)
    )
    return Model(comparisons, _rules(keys), 0.5)


def _rules(keys: Iterable[Matchkey]) -> tuple[BlockingRule, ...]:
    """The sets of equal columns without those that a smaller set includes anyway."""
    sets = list(dict.fromkeys(frozenset(rule.columns) for key in keys for rule in key.equal))
    smallest = [one for one in sets if not any(other < one for other in sets)]
    return tuple(BlockingRule(tuple(sorted(one))) for one in smallest)


def _levels(scored: Scored, model: Model, keys: Sequence[Matchkey]) -> tuple[Rows, Mapping[int, Mask]]:
    """Each pair's first key (position; their number for none), and which pairs meet each key of movers."""
    positions = [place for place, key in enumerate(keys) if not key.moved]
    moving = [place for place, key in enumerate(keys) if key.moved]
    codes = [
        (scored.pattern >> place) & ((1 << comparison.bits) - 1)
        for place, comparison in zip(shifts(model.comparisons).tolist(), model.comparisons, strict=True)
    ]
    # Level codes begin at 1, and the last level is none of the keys.
    first = np.full(len(scored.left), len(keys), np.int64)
    if positions:
        first = np.array([-1, *positions, len(keys)], np.int64)[codes.pop(0)]
    return first, {place: code == 1 for place, code in zip(moving, codes, strict=True)}
