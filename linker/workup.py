"""What a run works with: records in canonical order, codes, chosen rules, and a model to score with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from linker.block import BlockIndex, block, block_index
from linker.blocking_facts import adjusted
from linker.composed import with_composed
from linker.defaults import default_comparisons, default_rules
from linker.derive import standard_columns
from linker.encode import Encoded, encode
from linker.errors import RecordsError
from linker.frequencies import term_frequencies
from linker.labels import matched_rows
from linker.model import PATTERN_BITS, BlockingRule, Model
from linker.predict import Progress
from linker.raw import by_text_of_id, model_columns, raw_records
from linker.records import Field, Kind, Records
from linker.train import Training, train_em, train_labels

RULE_PAIRS_A_RECORD = 30  # a default rule that gives more pairs a record than this is left out …
ALL_PAIRS_A_RECORD = 100  # … and so are the last ones, once all together give this many
SMALL = 200_000  # pairs that are worth it for any file, however small
UNTRAINED = 0.001


@dataclass(frozen=True)
class Workup:
    """Everything that scoring needs.

    Attributes:
        sides: the records in canonical order.
        ids: of the left rows and of the right rows; one series where the rows are compared with each other.
        encoded: their codes.
        blocks: the rules that are run.
        left_out: names of default rules that would cost too much.
        model: what scores, or what is to be trained.
        training: how the model was trained; None if it was given, or is not yet.
        columns: of the left and of the right, or of all, the standard columns that the model adjusts by term
            frequencies; None if they were not to be kept.
    """

    sides: tuple[Records, ...]
    ids: tuple[pl.Series, ...]
    encoded: Encoded
    blocks: tuple[BlockIndex, ...]
    left_out: tuple[str, ...]
    model: Model
    training: Training | None = None
    columns: tuple[pl.DataFrame, ...] | None = None


def work_up(
    sides: tuple[Records, ...], model: Model | None, *, together: bool = False, keep: bool = False
) -> Workup:
    """Order, standardise and encode records, and index the rules.

    Args:
        sides: one set of records to deduplicate, two to link.
        model: a trained model; None for the defaults of the fields that all sides have.
        together: compare all records of all sides with each other; an id then begins with the number of
            its side, as in "1:".
        keep: keep the columns that `linker.blocking_losses` reads.

    Raises:
        RecordsError: the sides have too little in common.
        ModelError: the model does not fit the records.
    """
    if model is not None and model.raw is not None:
        sides = tuple(raw_records(side, model.raw.id_column) for side in sides)
        sides = tuple(by_text_of_id(side) for side in sides) if together else sides
        columns = model_columns(model, [side.frame for side in sides])
    else:
        sides = agreed(tuple(canonical(one, side) for side, one in enumerate(sides)))
        reading = () if model is None else model.columns
        columns = [with_composed(standard_columns(side), reading) for side in sides]
    ids = [side.ids for side in sides]
    if together:
        ids, columns = as_one(ids, columns)
    other = columns[1] if len(columns) > 1 else None
    if model is not None:
        encoded = encode(columns[0], other, model)
        kept = _adjusting(model, columns) if keep else None
        return Workup(sides, tuple(ids), encoded, tuple(block(model.rules, encoded)), (), model, columns=kept)
    draft = _draft(sides, columns)
    encoded = encode(columns[0], other, draft)
    blocks, left_out = affordable(index_rules(draft.rules, encoded), encoded)
    frequencies = term_frequencies(draft, columns)
    chosen = replace(draft, rules=tuple(index.rule for index in blocks), frequencies=frequencies)
    kept = _adjusting(chosen, columns) if keep else None
    return Workup(sides, tuple(ids), encoded, blocks, left_out, chosen, columns=kept)


def learn(
    work: Workup, labels: pl.DataFrame | None, *, seed: int, threads: int | None, progress: Progress
) -> Workup:
    """Train the model of a workup, from labels if there are any."""
    if labels is None:
        training = train_em(
            work.model, work.encoded, work.blocks, seed=seed, threads=threads, progress=progress
        )
    else:
        rows = matched_rows(labels, work.ids[0], work.ids[-1])
        training = train_labels(
            work.model, work.encoded, work.blocks, rows, seed=seed, threads=threads, progress=progress
        )
    return replace(work, model=training.model, training=training)


def _adjusting(model: Model, columns: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, ...]:
    wanted = sorted(adjusted(model))
    return tuple(side.select(name for name in wanted if name in side.columns) for side in columns)


def as_one(
    ids: Sequence[pl.Series], columns: Sequence[pl.DataFrame]
) -> tuple[list[pl.Series], list[pl.DataFrame]]:
    """Several sets as one; an id then begins with the number of its set, as in "1:"."""
    numbered = [f"{number}:" + side for number, side in enumerate(ids, start=1)]
    return [pl.concat(numbered)], [pl.concat(columns, how="diagonal")]


def canonical(records: Records, side: int = 0) -> Records:
    """The records in an order that rests on their content alone: the order of a file says nothing.

    It is as good as random, and another for each side. Records that are alike stand by their ids.
    """
    columns = sorted(records.frame.columns)
    hashes = records.frame.select(columns).hash_rows(seed=side)
    order = hashes.arg_sort()
    ranked = hashes.gather(order)
    alike = (ranked == ranked.shift(1)) | (ranked == ranked.shift(-1))
    if alike.any():
        places = alike.fill_null(False).arg_true()
        some = order.gather(places)
        twins = pl.DataFrame({"row": some, "hash": ranked.gather(places), "id": records.ids.gather(some)})
        order = order.scatter(places, twins.sort("hash", "id")["row"])
    return replace(records, ids=records.ids.gather(order), frame=records.frame[order])


def _draft(sides: Sequence[Records], columns: Sequence[pl.DataFrame]) -> Model:
    """Default comparisons and all default rules for what the sides have in common."""
    shared = [name for name in columns[0].columns if all(name in side.columns for side in columns)]
    usable = [name for name in shared if all(side[name].null_count() < len(side) for side in columns)]
    if len(columns) == 1:  # what is different in every record of a set is no evidence of who is there twice
        numbering = _numberings(sides, columns[0])
        usable = [name for name in usable if name.split(".")[0] not in numbering]
    fields = {field.name: field for side in sides for field in side.layout.fields}
    comparisons = default_comparisons(tuple(fields.values()), usable)
    rules = default_rules(tuple(fields.values()), usable)
    kept = [sum(one.bits for one in comparisons[: n + 1]) <= PATTERN_BITS for n in range(len(comparisons))]
    comparisons = tuple(one for one, fits in zip(comparisons, kept, strict=True) if fits)
    if not comparisons or not rules:
        raise RecordsError(
            "The records have too few fields in common to be linked.",
            "Say what the columns are, as in --map surname=lastname.",
        )
    return Model(comparisons, rules, UNTRAINED)


def _numberings(sides: Sequence[Records], columns: pl.DataFrame) -> set[str]:
    """Open identifiers, such as a case number, that no two records share."""
    names = {field.name for side in sides for field in side.layout.fields if field.kind is Kind.IDENTIFIER}
    return {name for name in names if name in columns and columns[name].n_unique() == len(columns)}


def agreed(sides: tuple[Records, ...]) -> tuple[Records, ...]:
    """The sides with one kind for each field: what is a number here and a code there is text to both."""
    kinds: dict[str, set[Kind]] = {}
    for field in (field for side in sides for field in side.layout.fields):
        kinds.setdefault(field.name, set()).add(field.kind)

    def agreed(field: Field) -> Field:
        return field if len(kinds[field.name]) == 1 else replace(field, kind=Kind.TEXT)

    return tuple(
        replace(
            side, layout=replace(side.layout, fields=tuple(agreed(field) for field in side.layout.fields))
        )
        for side in sides
    )


def index_rules(rules: Iterable[BlockingRule], encoded: Encoded) -> Iterator[BlockIndex]:
    """The rules one by one, each indexed when it is its turn."""
    return (block_index(rule, encoded) for rule in rules)


def affordable(
    indexes: Iterable[BlockIndex], encoded: Encoded
) -> tuple[tuple[BlockIndex, ...], tuple[str, ...]]:
    """The rules that are worth their pairs, in order, and the names of those that cost too much.

    Where all of them do, the cheapest is kept; where none gives a pair, there is nothing to compare.
    """
    records = len(encoded.left) + (0 if encoded.deduplicates else len(encoded.right))
    one, everything = RULE_PAIRS_A_RECORD * records + SMALL, ALL_PAIRS_A_RECORD * records + 5 * SMALL
    kept: list[BlockIndex] = []
    left_out, total = [], 0
    cheapest: BlockIndex | None = None
    for index in indexes:
        if index.pairs > one or total + index.pairs > everything:
            left_out.append(index.rule.name)
            cheapest = index if cheapest is None or index.pairs < cheapest.pairs else cheapest
        elif index.pairs:
            kept.append(index)
            total += index.pairs
    if not kept and cheapest is not None:
        kept.append(cheapest)
        left_out.remove(cheapest.rule.name)
    return tuple(kept), tuple(left_out)
