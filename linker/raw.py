"""Records as they stand → the columns that a model of another tool reads.

    frames ──one type a column──▶ sources, step by step ──▶ columns for linker.encode

What DuckDB does is followed, because that is what such models were made with: an empty text is a value and
null is not, texts keep their spaces and case, names of columns do not. What DuckDB would refuse for its type
is read from text where a CSV file could not say better: a number, or a date written YYYY-MM-DD.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from linker import arrival
from linker.conditions import Op, Test, tests_of
from linker.errors import ModelError, RecordsError
from linker.files import read_typed
from linker.kernels_more import MARK, SEPARATOR
from linker.model import Model
from linker.raw_values import CAST, as_number, as_seconds, as_text, as_type, once, piece_of_text
from linker.records import Layout, Records
from linker.sources import Make, Source
from linker.strptime import seconds_of

Columns = Mapping[str, pl.Series]

_SEPARATOR, _MARK = chr(SEPARATOR), chr(MARK)


def raw_records(source: arrival.Source, id_column: str) -> Records:
    """As `raw_table`, rows in the order of their ids: as Splink orders a pair within one table."""
    if isinstance(source, Records):
        return raw_table(source, id_column)
    records = raw_table(source, id_column)
    assert records.layout.id_column is not None
    order = records.frame[records.layout.id_column].arg_sort()  # numbers as numbers, texts by their bytes
    return replace(records, ids=records.ids.gather(order), frame=records.frame[order])


def raw_table(source: arrival.Source, id_column: str) -> Records:
    """The records of a file or frame, none refused.

    Args:
        source: a file, a frame, or what this made of one.
        id_column: the column with the ids.

    Raises:
        FileError: the file cannot be read.
        RecordsError: there is no id column, or an id is missing or repeated.
    """
    if isinstance(source, Records):
        if source.layout.fields:
            raise RecordsError(
                "The model reads records as they stand, and these were understood already.",
                "Give it the frame or the file.",
            )
        return source
    frame = source if isinstance(source, pl.DataFrame) else read_typed(arrival.path_of(source))
    name = column_named(id_column, frame.columns)
    if name is None:
        raise RecordsError(
            f"The records have no column '{id_column}', where the model looks for their ids.",
            "Name it so, or change 'id_column' in the model.",
        )
    ids = text_ids(frame[name]).alias("id")
    if ids.null_count() or not _all_differ(ids):
        raise RecordsError(
            f"The ids in the column '{name}' are not unique, or not all there.", "Give each record its own."
        )
    return Records(ids, frame, Layout(name, (), ()), pl.DataFrame(schema=arrival.REFUSALS))


def text_ids(ids: pl.Series) -> pl.Series:
    """A column of ids as texts.

    Raises:
        RecordsError: it is of a type that has none.
    """
    try:
        return ids.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise RecordsError(
            f"The ids in the column '{ids.name}' cannot be read as texts.", "Give texts or numbers."
        ) from None


def _all_differ(ids: pl.Series) -> bool:
    """Whether no two ids are equal: where their hashes differ, so do they, and those are sorted at once."""
    hashes = np.sort(ids.hash().to_numpy())
    return bool((hashes[1:] != hashes[:-1]).all()) or ids.n_unique() == len(ids)


def by_text_of_id(records: Records) -> Records:
    """The records in the order of their ids as texts, as Splink orders a pair among several tables."""
    order = records.ids.arg_sort()
    return replace(records, ids=records.ids.gather(order), frame=records.frame[order])


def model_columns(
    model: Model, frames: Sequence[pl.DataFrame], only: Collection[str] | None = None
) -> list[pl.DataFrame]:
    """The columns that a model with `raw` reads, one frame for each set of records, in the order of its rows.

    Args:
        model: the model.
        frames: the sets of records.
        only: make only these columns; None for all.

    Raises:
        ModelError: a column is not there, or is of a type that the model cannot use.
        RecordsError: a value cannot be used.
    """
    assert model.raw is not None
    tests = list(_tests(model))
    compared = [(test.left, test.right) for test in tests if test.op is not Op.MISSING]
    pairs = [*compared, *(pair for rule in model.rules for pair in rule.columns)]
    wanted = None if only is None else _with_compared(only, pairs)
    sources = {name: one for name, one in model.raw.sources.items() if wanted is None or name in wanted}
    needed = sorted(frozenset[str]().union(*(source.columns for source in sources.values())))
    sides = _alike(needed, frames)
    # Divided by, minus zero is not zero: only what nothing is divided by can do without the sign.
    signed = {name for test in tests if test.op is Op.PERCENTAGE for name in (test.left, test.right)}

    def columns_of(side: Columns, height: int) -> dict[str, pl.Series]:
        made = {name: _made(source, side, height) for name, source in sources.items()}
        return {
            name: one.alias(name) if name in signed else _value(sources[name], one).alias(name)
            for name, one in made.items()
        }

    made = [columns_of(side, frame.height) for side, frame in zip(sides, frames, strict=True)]
    _compare_alike([pair for pair in pairs if sources.keys() >= set(pair)], made)
    return [pl.DataFrame([side[name] for name in side if only is None or name in only]) for side in made]


def _with_compared(names: Collection[str], pairs: Sequence[tuple[str, str]]) -> set[str]:
    """The columns, and those that share a type with them because some test or rule compares the two."""
    found, before = set(names), 0
    while len(found) > before:
        before = len(found)
        found |= {name for pair in pairs if not found.isdisjoint(pair) for name in pair}
    return found


def column_named(name: str, columns: Sequence[str]) -> str | None:
    """The column of a table that a name means; case decides only between several."""
    same = [one for one in columns if one.lower() == name.lower()]
    return name if name in same else same[0] if len(same) == 1 else None


def _alike(names: Sequence[str], frames: Sequence[pl.DataFrame]) -> list[dict[str, pl.Series]]:
    """The columns by name, each of one type in all frames."""
    sides: list[dict[str, pl.Series]] = [{} for _ in frames]
    for name in names:
        found = [column_named(name, frame.columns) for frame in frames]
        if None in found:
            raise ModelError(
                f"The model reads the column '{name}', which the records do not have.",
                "Give all files that column, or use another model.",
            )
        columns = [_plain(frame[one], name) for frame, one in zip(frames, found, strict=True) if one]
        dtypes = {column.dtype for column in columns}
        if len(dtypes) > 1:
            common = _common(dtypes)
            if common is None:
                raise ModelError(
                    f"The column '{name}' is of different types in the files.", "Make it one type."
                )
            columns = _cast_all(columns, common, name)
        for side, column in zip(sides, columns, strict=True):
            side[name] = column
    return sides


def _plain(column: pl.Series, name: str) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if isinstance(dtype, pl.Array):
        return column.cast(pl.List(dtype.inner))
    if dtype == pl.Null:
        return column.cast(pl.String)
    if dtype in _NO_VALUES:
        raise ModelError(f"The column '{name}' holds bytes or durations.", "Turn it into text or numbers.")
    return column


_NO_VALUES = (pl.Binary, pl.Object, pl.Duration)


def _common(dtypes: set[pl.DataType]) -> pl.DataType | None:
    """The type that columns of several types are read in, as where DuckDB puts tables under each other."""
    if all(dtype.is_integer() for dtype in dtypes):
        return pl.Int64()
    if all(dtype.is_numeric() for dtype in dtypes):
        return pl.Float64()
    if all(dtype == pl.Date or isinstance(dtype, pl.Datetime) for dtype in dtypes):
        return pl.Datetime("us")
    return None if any(dtype.is_nested() for dtype in dtypes) else pl.String()


def _made(source: Source, columns: Columns, height: int) -> pl.Series:
    """One step, of the steps before it."""
    name = source.name
    if source.make is Make.COLUMN:
        return columns[str(source.args[0])]
    parts = [_made(part, columns, height) for part in source.of]
    if source.make is Make.LITERAL:
        return _literal(source, parts, height)
    if source.make in _OF_LISTS:
        return _of_list(source, parts[0], name)
    match source.make, source.args:
        case Make.TEXT, ():
            return as_text(parts[0], name)
        case Make.NUMBER, ():
            return as_number(parts[0], name)
        case Make.SECONDS, ():
            return as_seconds(parts[0], name)
        case Make.DAY, ():
            seconds = as_seconds(parts[0], name)
            return pl.Series(seconds.to_numpy() // 86400.0 * 86400.0).set(seconds.is_null(), None)
        case Make.PARSE, (str(form),):
            if parts[0].dtype == pl.String:
                return once(parts[0], lambda texts: seconds_of(texts, form))
            return as_seconds(parts[0], name)
        case Make.POINT, ():
            numbers = [as_number(part, name) for part in parts]
            point = pl.DataFrame({"x": numbers[0], "y": numbers[1]}).select(
                pl.when(pl.col("x").is_not_null() & pl.col("y").is_not_null()).then(pl.concat_list("x", "y"))
            )
            return point.to_series()
        case Make.COALESCE, ():
            return pl.select(pl.coalesce(_same_type(parts, name))).to_series()
        case Make.FIELD, (str(field),):
            if not isinstance(parts[0].dtype, pl.Struct) or field not in parts[0].struct.fields:
                raise ModelError(f"The model reads '{name}' of a column that holds no such structures.")
            return parts[0].struct.field(field)
    return piece_of_text(source, [as_text(part, name) for part in parts])


_OF_LISTS = {Make.ELEMENT, Make.LENGTH, Make.ELEMENTS, Make.UNREPEATED, Make.VECTOR}


def _of_list(source: Source, lists: pl.Series, name: str) -> pl.Series:
    if not isinstance(lists.dtype, pl.List) or lists.dtype.inner.is_nested():
        raise ModelError(
            f"The model reads '{name}' of a column that holds no lists.", "Give lists of values."
        )
    if source.make is Make.ELEMENT:
        place = int(source.args[0])
        return lists.list.get(place - 1 if place > 0 else place, null_on_oob=True)
    if source.make is Make.LENGTH:
        return lists.list.len().cast(pl.Int64)
    if source.make is Make.VECTOR:
        if lists.dtype.inner != pl.Float64 or lists.explode().null_count() > lists.null_count():
            raise ModelError(f"The model needs lists of 64-bit floats for '{name}'.", CAST)
        return lists
    texts = _elements(lists, name)
    known = texts.list.drop_nulls().list.unique()
    if source.make is Make.UNREPEATED and (known.list.len() < lists.list.len()).any():
        raise RecordsError(
            f"A list of '{name}' repeats an element or holds a null.", "Give lists without repeats."
        )
    # Every list holds the mark, so that an empty one is a value too.
    frame = known.alias("known").to_frame()
    return frame.select(pl.concat_list(pl.lit(_MARK), "known").alias(name)).to_series()


def _elements(lists: pl.Series, name: str) -> pl.Series:
    """The elements as text."""
    flat = as_text(_plain(lists.explode(), name), name)
    if flat.str.contains_any([_SEPARATOR, _MARK]).any():
        raise RecordsError(f"An element of '{name}' holds a control character.", "Take it out.")
    return lists.to_frame("").select(pl.col("").cast(pl.List(pl.String))).to_series()


def _literal(source: Source, parts: Sequence[pl.Series], height: int) -> pl.Series:
    literal = pl.Series([source.args[0]])
    if parts:
        literal = as_type(literal, parts[0].dtype, source.name)
    return literal.new_from_index(0, height)


def _same_type(parts: Sequence[pl.Series], name: str) -> list[pl.Series]:
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        return list(parts)
    common = _common(dtypes)
    if common is None:
        raise ModelError(f"The parts of '{name}' are of different types.", CAST)
    return _cast_all(parts, common, name)


def _cast_all(columns: Sequence[pl.Series], dtype: pl.DataType, name: str) -> list[pl.Series]:
    return [
        as_text(column, name) if dtype == pl.String else as_type(column, dtype, name) for column in columns
    ]


def _value(source: Source, made: pl.Series) -> pl.Series:
    """A column that is equal exactly where DuckDB has it equal: no minus zero, a list in its order."""
    dtype = made.dtype
    if dtype.is_float():
        return made.set(made == 0.0, 0.0)
    if isinstance(dtype, pl.Struct) or (isinstance(dtype, pl.List) and dtype.inner.is_nested()):
        raise ModelError(f"The model compares '{source.name}', which holds structures.", "Compare a field.")
    if isinstance(dtype, pl.List) and source.make not in _SETS_AND_VECTORS:
        if dtype.inner in _NO_VALUES:
            raise ModelError(
                f"The column '{source.name}' holds lists of bytes or durations.",
                "Turn them into text or numbers.",
            )
        return _as_one_text(made)
    return made


_SETS_AND_VECTORS = {Make.ELEMENTS, Make.UNREPEATED, Make.VECTOR, Make.POINT}


def _as_one_text(lists: pl.Series) -> pl.Series:
    elements = lists.cast(pl.List(pl.String)).list.eval(pl.element().fill_null(_MARK) + _SEPARATOR)
    return elements.list.join("")


def _tests(model: Model) -> Iterator[Test]:
    for one in model.comparisons:
        conditions = [one.null, *(level.condition for level in one.levels if level.condition is not None)]
        yield from itertools.chain.from_iterable(map(tests_of, conditions))


def _compare_alike(pairs: Sequence[tuple[str, str]], made: Sequence[dict[str, pl.Series]]) -> None:
    """Columns that are held against each other get one type, or are refused."""
    differing = list(pairs)
    while differing:  # what is cast for one pair may differ from what it is compared with in another
        differing = [(left, right) for left, right in pairs if made[0][left].dtype != made[0][right].dtype]
        for left, right in differing:
            dtypes = {made[0][left].dtype, made[0][right].dtype}
            if not all(dtype.is_numeric() for dtype in dtypes):
                raise ModelError(
                    f"The model compares '{left}' with '{right}', and their types differ.",
                    "Give both one type.",
                )
            common = _common(dtypes)
            assert common is not None  # of numbers
            for side in made:
                (side[left],) = _cast_all([side[left]], common, left)
                (side[right],) = _cast_all([side[right]], common, right)
