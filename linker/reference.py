"""One person at a time: records kept ready, asked about one or many, changed one by one.

    records ──standardise, encode──▶ rows, dictionaries with room, chains by rule
    question ──standardise──▶ row ──chains──▶ candidates ──kernel──▶ the best, with weight and lead
    put, remove ──▶ a new row, or none, in front of the old ones

The rows, codes and weights are those of a linkage with the reference on the left: the same candidates, the
same weights to the last bit. A value that the reference does not have gets a code for as long as the question
takes. A row that is replaced or removed is stepped over, and its place is used again when the reference is
loaded anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.changes import ID
from linker.composed import with_composed
from linker.derive import standard_columns
from linker.derive_one import OneRecord
from linker.encode import Codes, Encoder, aligned, as_text
from linker.errors import ModelError
from linker.explain import waterfall
from linker.lookup import Desk, Found, Lookup, joined
from linker.model import Comparison, Model
from linker.predict import probability
from linker.records import Field, Layout, Records
from linker.refusals import Invalid
from linker.resources import Answer, Candidate, WeightStep
from linker.roomy import Roomy
from linker.spelling import SEPARATOR
from linker.standardise.single import Value
from linker.views import TextView, text_cell, text_view

FEW = 200  # records up to which one at a time is faster than a query
MANY = 400  # records from which all cores search
Cells = Mapping[str, Sequence[tuple[int, TextView]]]  # by column: the row of the first, and some cells

_NO_IDS = pl.Series("id", [], dtype=pl.String)
_NO_REFUSALS = pl.DataFrame()


class Reference:
    """Records held with a model; its methods may be called from any thread, and take turns.

    Attributes:
        fields: what a record may have; its values go by the names of the fields.
        model: what scores.
    """

    def __init__(self, records: Records, model: Model) -> None:
        """Standardise, encode and index the records.

        Raises:
            ModelError: the model does not fit the records.
        """
        if model.raw is not None:
            raise ModelError(
                "The model reads records as they stand, and those of a reference were understood.",
                "Use a model that 'kinlink train' made.",
            )
        self.model = model
        self.fields = tuple(replace(field, columns=(field.name,)) for field in records.layout.fields)
        standard = standard_columns(records)
        columns = with_composed(standard, model.columns)
        self._dtypes = {
            name: columns.schema[name] for name in sorted(model.columns) if name in columns.schema
        }
        self._encoder = Encoder(columns, model)
        self._values = Roomy(self._encoder, model)
        self._place = {name: place for place, name in enumerate(self._encoder.columns)}
        self._rule_names = [rule.name for rule in model.rules]
        self._one = OneRecord(self.fields, self._dtypes)
        self._single = set(self._dtypes) <= set(standard.columns)
        self._rows, self._ids, self._later = self._encoder.left, records.ids.rename(""), list[str]()
        self._alive = np.ones(len(self._rows), np.bool_)
        self._row_of = {record_id: row for row, record_id in enumerate(records.ids)}
        self._count = len(self._rows)
        self._lookup = Lookup(model.rules, self._encoder.encoded)
        self._desks = [Desk() for _ in range(os.cpu_count() or 1)]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._row_of)

    # --- questions -------------------------------------------------------------------------------

    def ask(
        self,
        records: Sequence[Mapping[str, str]],
        *,
        top: int = 5,
        floor: float = 0.0,
        explain: bool = False,
    ) -> list[Answer]:
        """The best candidates for each of some records.

        Args:
            records: values by the name of the field; a value of blanks is missing.
            top: at most how many candidates a record.
            floor: match weight in bits from which a record is a candidate.
            explain: whether candidates come with the steps of their weights.

        Raises:
            Invalid: a record has a field that the reference does not have.
        """
        given = [_trimmed(self.fields, place, one) for place, one in enumerate(records)]
        few = self._single and len(given) <= FEW
        cells = self._cells_of_few(given) if few else self._cells_of(_frame(self.fields, given))
        with self._asked(cells, len(given)) as rows:
            return self._answers(self._search(rows, floor), rows, top, explain)

    def match(self, records: pl.DataFrame, *, top: int = 5, floor: float = 0.0) -> pl.DataFrame:
        """The best candidates for each row of a frame.

        Args:
            records: text, one column a field, by the name of the field; other columns are passed over.
            top, floor: as in `ask`.

        Returns:
            query (row of the frame, from 0), record_id, match_weight (bits), match_probability, rule, lead
            (bits by which the first of a query leads the second; null for the others, and where no second
            reaches the floor); sorted by query, the highest weight first, equal weights by id.
        """
        names = [field.name for field in self.fields if field.name in records.columns]
        text = records.select(pl.col(names).cast(pl.String).str.strip_chars().replace("", None))
        missing = [field.name for field in self.fields if field.name not in names]
        text = text.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
        with self._asked(self._cells_of(text), text.height) as rows:
            found = self._search(rows, floor)
            ids = self._ids_of(found.left)
        table = pl.DataFrame(
            {
                "query": pl.Series(found.right, dtype=pl.UInt32),
                "record_id": ids,
                "match_weight": found.weight,
                "match_probability": probability(found.weight),
                "rule": pl.Series(self._rule_names).gather(found.rule),
            }
        ).sort("query", -pl.col("match_weight"), "record_id")
        rank = pl.int_range(pl.len()).over("query")
        lead = pl.col("match_weight") - pl.col("match_weight").shift(-1).over("query")
        return (
            table.with_columns(rank=rank, lead=pl.when(rank == 0).then(lead))
            .filter(pl.col("rank") < top)
            .drop("rank")
        )

    # --- changes ---------------------------------------------------------------------------------

    def put(self, ids: Sequence[str], records: Sequence[Mapping[str, str]]) -> None:
        """Put records; one whose id is there already is replaced.

        Raises:
            Invalid: a record has no id, no value, or a field that the reference does not have.
        """
        self.apply(checked(self.fields, ids, records))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove records; an id that is not there is no error."""
        with self._lock:
            self._bury(ids)

    def apply(self, change: pl.DataFrame) -> None:
        """Make a change as `linker.changes` keeps it: a record without a value is removed."""
        fields = [field.name for field in self.fields]
        blank = change.select(pl.all_horizontal(pl.col(fields).is_null())).to_series()
        latest = change.filter(~blank).unique(ID, keep="last", maintain_order=True)
        with self._lock:
            self._bury(change[ID].to_list())
            if latest.height:
                cells = self._cells(latest.select(fields))
                self._append(latest[ID].to_list(), self._encode(cells, latest.height))

    def _bury(self, ids: Sequence[str]) -> None:
        for record_id in ids:
            row = self._row_of.pop(record_id, None)
            if row is not None:
                self._alive[row] = False

    def _append(self, ids: list[str], rows: Codes) -> None:
        first, self._count = self._count, self._count + len(rows)
        if self._count > len(self._rows):
            self._grow()
        self._rows[first : self._count] = rows
        self._alive[first : self._count] = True
        self._later += ids
        self._row_of |= zip(ids, range(first, self._count), strict=True)
        self._lookup.add(self._rows, first, self._count)

    def _grow(self) -> None:
        """Room for a fourth more rows."""
        capacity = self._count + max(1 << 12, self._count // 4)
        rows, alive = aligned(capacity, self._rows.shape[1]), np.zeros(capacity, np.bool_)
        rows[: len(self._rows)], alive[: len(self._alive)] = self._rows, self._alive
        self._rows, self._alive = rows, alive
        self._ids = pl.concat([self._ids, pl.Series(self._later, dtype=pl.String)])
        self._later = []

    # --- inside ----------------------------------------------------------------------------------

    @contextmanager
    def _asked(self, cells: Cells, count: int) -> Iterator[Codes]:
        """The rows of records that are asked about, whose values are forgotten afterwards."""
        with self._lock:
            mark = self._values.mark()
            try:
                yield self._encode(cells, count)
            finally:
                self._values.back(mark)

    def _encode(self, cells: Cells, count: int) -> Codes:
        """The rows of records; new values are learnt."""
        while True:
            mark = self._values.mark()
            rows = aligned(count, self._rows.shape[1])
            rows.fill(-1)
            for group in self._encoder.groups:
                for name in group.names:
                    for first, view in cells.get(name, ()):
                        group.book.add(view, rows[first:], self._place[name])
            if self._values.learn():
                self._values.sketch(rows)
                return rows
            self._values.back(mark)
            self._values.make_room()

    def _cells(self, frame: pl.DataFrame) -> Cells:
        """The cells of records as a frame of text, the faster way."""
        if not self._single or frame.height > FEW:
            return self._cells_of(frame)
        rows = frame.iter_rows(named=True)
        return self._cells_of_few(
            [{name: text for name, text in row.items() if text is not None} for row in rows]
        )

    def _cells_of(self, frame: pl.DataFrame) -> Cells:
        """The cells of records as a frame of text, by column of the model."""
        columns = standard_columns(Records(_NO_IDS, frame, Layout(None, self.fields, ()), _NO_REFUSALS))
        columns = with_composed(columns, self.model.columns)
        return {name: [(0, text_view(as_text(columns[name])))] for name in self._dtypes}

    def _cells_of_few(self, records: Sequence[Mapping[str, str]]) -> Cells:
        """The same of a few records, without a query."""
        cells: dict[str, list[tuple[int, TextView]]] = {name: [] for name in self._dtypes}
        for row, record in enumerate(records):
            for name, value in self._one(record).items():
                text = _text(value, self._dtypes[name])
                if text is not None:
                    cells[name].append((row, text_cell(text)))
        return cells

    def _search(self, rows: Codes, floor: float) -> Found:
        """All pairs of at least `floor` bits, by right row."""

        def find(desk: Desk, first: int, last: int) -> list[Found]:
            return self._lookup.find(
                desk, range(first, last), self._alive, self._rows, rows,
                self._values.table, self._values.tests, self._values.weights, floor,
            )  # fmt: skip

        if len(rows) <= MANY:
            return joined(find(self._desks[0], 0, len(rows)))
        ends = np.linspace(0, len(rows), len(self._desks) + 1, dtype=int).tolist()
        with ThreadPoolExecutor(len(self._desks)) as pool:
            parts = list(pool.map(find, self._desks, ends[:-1], ends[1:]))
        return joined([found for part in parts for found in part])

    def _answers(self, found: Found, rows: Codes, top: int, explain: bool) -> list[Answer]:
        ids, weights = self._ids_of(found.left), found.weight.tolist()
        probabilities = probability(found.weight).tolist()
        ends = np.searchsorted(found.right, np.arange(len(rows) + 1)).tolist()
        answers = []
        for first, last in pairwise(ends):
            order = sorted(range(first, last), key=lambda i: (-weights[i], ids[i]))
            candidates = tuple(
                Candidate(
                    ids[i],
                    weights[i],
                    probabilities[i],
                    self._rule_names[found.rule[i]],
                    *(self._steps(found, i, rows) if explain else ()),
                )
                for i in order[:top]
            )
            lead = weights[order[0]] - weights[order[1]] if len(order) > 1 else None
            answers.append(Answer(candidates, lead, len(order)))
        return answers

    def _steps(self, found: Found, i: int, rows: Codes) -> tuple[float, tuple[WeightStep, ...]]:
        """The weight before anything is compared, and the steps from there."""
        x, y = int(found.left[i]), int(found.right[i])

        def known(comparison: Comparison) -> bool:
            places = [self._place[name] for name in comparison.columns]
            return any(self._rows[x, at] >= 0 and rows[y, at] >= 0 for at in places)

        steps = waterfall(
            self.model, self._values.weights, int(found.pattern[i]), self._rows, x, rows, y, known
        )
        return self._values.weights.prior, tuple(WeightStep(*one) for one in steps)

    def _ids_of(self, rows: npt.NDArray[np.int32]) -> list[str]:
        if len(rows) <= 2 * FEW:
            loaded = len(self._ids)
            return [self._ids[row] if row < loaded else self._later[row - loaded] for row in rows.tolist()]
        ids = pl.concat([self._ids, pl.Series(self._later, dtype=pl.String)], rechunk=False)
        return ids.gather(rows).to_list()


def checked(
    fields: Sequence[Field], ids: Sequence[str], records: Sequence[Mapping[str, str]]
) -> pl.DataFrame:
    """Records that can be put into a reference, as a change.

    Raises:
        Invalid: a record has no id, no value, or a field that the reference does not have.
    """
    given = [_trimmed(fields, place, one) for place, one in enumerate(records)]
    trimmed = [one.strip() for one in ids]
    for place, (record_id, values) in enumerate(zip(trimmed, given, strict=True)):
        if not record_id:
            raise _wrong(place, "record_id", "Every record has an id.")
        if not values:
            raise _wrong(place, "values", "The record has no value: there is nothing to compare.")
    return _frame(fields, given).insert_column(0, pl.Series(ID, trimmed, dtype=pl.String))


def _trimmed(fields: Sequence[Field], place: int, values: Mapping[str, str]) -> dict[str, str]:
    """The values that are there, in the order of the fields."""
    known = {field.name: text for field in fields if (text := values.get(field.name, "").strip())}
    if len(known) < len(values) and values.keys() - {field.name for field in fields}:
        names = ", ".join(field.name for field in fields)
        raise _wrong(place, "values", f"The record has a field that the reference has not. It has: {names}.")
    return known


def _wrong(place: int, field: str, message: str) -> Invalid:
    return Invalid("FIELD_INVALID", message, "Correct the record.", field=f"records[{place}].{field}")


def _frame(fields: Sequence[Field], records: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(
        {field.name: [one.get(field.name) for one in records] for field in fields},
        schema={field.name: pl.String for field in fields},
    )


def _text(value: Value, dtype: pl.DataType) -> str | None:
    """A value as `encode.as_text` has it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return SEPARATOR.join(sorted(set(value))) if value else None
    return str(pl.Series([value], dtype=dtype).cast(pl.String)[0]) if isinstance(value, float) else str(value)
