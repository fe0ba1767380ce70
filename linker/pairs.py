"""Every pair that a model gives a weight, without decisions; the right side may be larger than memory.

    left ──▶ codes, indexes ◀── a part of the right ──▶ pairs ──▶ the next part

Only the left is held. The right is read a part at a time, from a file, a frame or whatever gives frames; the
values that it alone has are forgotten with the part, so that memory depends on the left, a part, and what is
found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import polars as pl

from linker.arrival import Source, check_types, not_records, records_of, screened
from linker.block import BlockIndex, block
from linker.composed import with_composed
from linker.derive import standard_columns
from linker.encode import Encoder
from linker.errors import LinkerError, ModelError, RecordsError
from linker.files import read_parts
from linker.given import check
from linker.model import Model
from linker.predict import Progress, Scored, no_progress, probability, scan_candidates
from linker.program import compile_tests, compile_weights
from linker.raw import column_named, model_columns, raw_records, raw_table, text_ids
from linker.recognise import recognise
from linker.records import Records
from linker.threads import each
from linker.workup import agreed, work_up

FILE_ROWS = 1 << 18  # of a part: as many again are held while they are read
FRAME_ROWS = 1 << 20  # of a part of what is in memory anyway
Parts = Iterable[pl.DataFrame]


def pairs(
    left: Source,
    right: Source | Parts | None = None,
    *,
    model: Model,
    threshold: float = 0.0,
    threads: int | None = None,
    part_rows: int | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Every pair of at least a weight.

    Args:
        left: records, a frame of text, or a file; it is held in memory.
        right: the other side; None compares the left with itself. A file, and frames that come one by one,
            are not held: an id that two parts share is then not noticed.
        model: a trained model. One that takes its term frequencies from the records reads a file twice, and
            cannot take frames that come one by one.
        threshold: the lowest weight, in bits.
        threads: None for one a core.
        part_rows: rows of the right that are compared at a time; None for a quarter of a million from a file,
            a million of a frame.
        progress: called with (stage, done, total) in right rows, as far as they are read; may raise
            `Cancelled`.

    Returns:
        left_id, right_id, match_weight (bits), match_probability, rule; sorted by the ids.

    Raises:
        LinkerError: what is wrong with the files, columns, records or the model.
    """
    check(threshold, threads=threads, model=model)
    if part_rows is not None and part_rows < 1:
        raise LinkerError("A part of no rows was asked for.", "Give the rows of a part, 1 or more.")
    report = progress or no_progress
    if right is None:
        return _within(left, model, threshold, threads, report)
    parts = _parts_of(right, part_rows, model)
    rest = (part for part in parts() if part.height)
    part = next(rest, None)
    if part is None:
        raise RecordsError("The right side has no records.", "Check that the export ran to its end.")
    reading: _Reading = (
        _AsTheyStand(left, part, model) if model.raw is not None else _Standard(left, part, model)
    )
    ids, columns = reading.part(part)
    encoder = Encoder(reading.columns, model, columns.schema)
    part = next(rest, None)
    if part is not None:
        _count(encoder, reading, model, right, parts)
    found: list[pl.DataFrame] = []
    done, encoded_left = 0, encoder.encoded
    with ThreadPoolExecutor(1, thread_name_prefix="linker-reader") as reader:
        indexed = reader.submit(block, model.rules, encoded_left)  # while the first part is encoded
        while True:
            # The part after the next is read while this one is compared.
            coming = None if part is None else reader.submit(next, rest, None)
            with encoder.with_part(columns) as encoded:
                tests, weights = compile_tests(model.comparisons, encoded), compile_weights(model, encoded)
                blocks = indexed.result()
                scored = scan_candidates(
                    encoded, blocks, tests, weights, threshold, threads=threads, progress=_after(done, report)
                )
            found.append(_frame(scored, reading.ids, ids, blocks))
            done += len(ids)
            if part is None or coming is None:
                break
            ids, columns = reading.part(part)
            part = coming.result()
    return _in_order(pl.concat(found))


class _Reading(Protocol):
    """How a model reads records: the left side's, and those of a part of the right."""

    ids: pl.Series
    columns: pl.DataFrame

    def part(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
        """Ids and columns of a part."""


class _AsTheyStand:
    """For a model that reads records as they stand."""

    def __init__(self, left: Source, first: pl.DataFrame, model: Model) -> None:
        assert model.raw is not None
        self._model, self._id = model, model.raw.id_column
        own = raw_table(left, self._id)
        self.ids = own.ids
        self._nobody, self._schema = own.frame.head(0), first.schema
        self.columns = model_columns(model, [own.frame, first.head(0)])[0]

    def part(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
        if frame.schema != self._schema:
            raise RecordsError(
                "The parts of the right side do not have the same columns of the same types.",
                "Give all of them the columns and types of the first.",
            )
        name = column_named(self._id, frame.columns)
        if name is None or frame[name].has_nulls():
            raise RecordsError(
                f"The right side has no column '{self._id}', or an id is missing in it.",
                "The model looks there for the ids: name the column so, or change 'id_column' in the model.",
            )
        return text_ids(frame[name]), model_columns(self._model, [self._nobody, frame])[1]

    def observed(self, frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of a part."""
        return model_columns(self._model, [self._nobody, frame], names)[1]


class _Standard:
    """For a model that reads standard columns; what the first part's columns are, those of the others are."""

    def __init__(self, left: Source, first: pl.DataFrame, model: Model) -> None:
        check_types(first)
        self._model, self._layout, self._rows = model, recognise(first), 0
        own, _ = agreed((records_of(left), screened(first, self._layout)))
        self._left, self.ids, self.columns = own, own.ids, self._columns(own)

    def part(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
        missing = {name for field in self._layout.fields for name in field.columns} - set(frame.columns)
        if missing:
            raise RecordsError(
                f"A part of the right side has no column '{min(missing)}', which the first has.",
                "Give all parts the same columns.",
            )
        check_types(frame, [name for name, _ in self._layout.ignored])
        _, its = agreed((self._left, screened(frame, self._layout)))
        ids = its.ids
        if self._layout.id_column is None:  # numbered from the first row of all
            ids = (ids.cast(pl.Int64) + self._rows).cast(pl.String)
        self._rows += frame.height
        return ids, self._columns(its)

    def _columns(self, records: Records) -> pl.DataFrame:
        return with_composed(standard_columns(records), self._model.columns)


def _count(
    encoder: Encoder,
    reading: _Reading,
    model: Model,
    right: Source | Parts,
    parts: Callable[[], Iterator[pl.DataFrame]],
) -> None:
    """Count the values that the model takes term frequencies of, on both sides, where it holds no table."""
    tf = {level.tf for one in model.comparisons for level in one.levels if level.tf is not None}
    names = sorted(tf - model.frequencies.keys())
    if not names or not isinstance(reading, _AsTheyStand):
        return
    if not isinstance(right, str | Path | pl.DataFrame):
        raise ModelError(
            "The model takes term frequencies from the records, and these come only once.",
            "Give a file, or a model that holds its frequencies.",
        )
    encoder.count(reading.columns.select(names))
    for part in parts():
        if part.height:
            encoder.count(reading.observed(part, names))


def _parts_of(right: Source | Parts, rows: int | None, model: Model) -> Callable[[], Iterator[pl.DataFrame]]:
    """Begins the parts of the right side anew at each call, where that can be."""
    match right:
        case Records():
            raise RecordsError("The right side was understood already.", "Give its frame or its file.")
        case pl.DataFrame():
            return lambda: right.iter_slices(rows or FRAME_ROWS)
        case str() | Path():
            return lambda: read_parts(right, rows or FILE_ROWS, typed=model.raw is not None)
        case Iterable():
            return lambda: _frames(right)
    raise not_records(right)


def _frames(parts: Parts) -> Iterator[pl.DataFrame]:
    """Frames that come one by one."""
    for part in parts:
        if not isinstance(part, pl.DataFrame):
            raise RecordsError(
                "A part of the right side is no Polars DataFrame.",
                "Give frames (of a LazyFrame, what its collect() gives), or the path of one file.",
            )
        yield part


def _after(done: int, progress: Progress) -> Progress:
    """Progress over all parts; how many there will be is not known."""
    return lambda stage, part, rows: progress(stage, done + part, done + rows)


def _within(
    left: Source, model: Model, threshold: float, threads: int | None, progress: Progress
) -> pl.DataFrame:
    """The left against itself."""
    own = records_of(left) if model.raw is None else raw_records(left, model.raw.id_column)
    work = work_up((own,), model)
    tests, weights = compile_tests(model.comparisons, work.encoded), compile_weights(model, work.encoded)
    scored = scan_candidates(
        work.encoded, work.blocks, tests, weights, threshold, threads=threads, progress=progress
    )
    frame = _frame(scored, work.ids[0], work.ids[0], work.blocks)
    ordered = pl.min_horizontal("left_id", "right_id"), pl.max_horizontal("left_id", "right_id")
    return frame.with_columns(left_id=ordered[0], right_id=ordered[1]).pipe(_in_order)


def _frame(scored: Scored, left: pl.Series, right: pl.Series, blocks: Sequence[BlockIndex]) -> pl.DataFrame:
    rules = pl.Series([index.rule.name for index in blocks], dtype=pl.String)
    columns: dict[str, Callable[[], pl.Series]] = {
        "left_id": lambda: left.gather(scored.left),
        "right_id": lambda: right.gather(scored.right),
        "match_weight": lambda: pl.Series(scored.weight),
        "match_probability": lambda: pl.Series(probability(scored.weight)),
        "rule": lambda: rules.gather(scored.rule),
    }
    made = each(lambda column: column(), columns.values())
    return pl.DataFrame(dict(zip(columns, made, strict=True)))


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sorted by the ids; that they are already is the rule, and soon seen."""
    ids = frame["left_id"], frame["right_id"]
    (left, left_before), (right, right_before) = ((one.slice(1), one.head(len(one) - 1)) for one in ids)
    if ((left > left_before) | ((left == left_before) & (right >= right_before))).all():
        return frame
    return frame.sort("left_id", "right_id", maintain_order=True)
