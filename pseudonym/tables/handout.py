"""What a reader of a table is handed: its cells as CSV, a legend in plain text, and JSON for programs.

All of it is made of what is published and of nothing else, so that it says no more than the table does: not
why one cell is suppressed, nor a number that was rounded away.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from textwrap import fill
from typing import Final

from pseudonym.tables.published import IMPOSSIBLE, SUPPRESSED, Line, Published
from pseudonym.tables.spec import TOTAL, Measure

TOLD_AS: Final = {
    Measure.COUNT: "count",
    Measure.RATE: "per cent",
    Measure.MEAN: "mean",
    Measure.SUM: "sum",
}
_UNITS: Final = {"person": "persons", "family": "families"}
_WIDTH: Final = 96


def handed_out(table: Published, name: str) -> dict[str, bytes]:
    """The files of a table, by their names: `name` with .csv, .txt and .json."""
    return {
        f"{name}.csv": to_csv(table).encode(),
        f"{name}.txt": legend(table, f"{name}.csv").encode(),
        f"{name}.json": table.to_file(),
    }


def to_csv(table: Published) -> str:
    """A row for each cell and total, with the marks in the place of numbers that there are not."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["measure", "measure_means", "period", *table.dimensions, "value", "value_is", "of", "left_out"]
    writer.writerow(columns)
    known = {name: (meaning, TOLD_AS[Measure(kind)]) for name, meaning, kind in table.measures}
    for one in table.lines:
        meaning, told_as = known[one.measure]
        value = one.mark or ("" if one.value is None else f"{one.value:.15g}")
        of = one.mark or ("" if one.of is None else one.of)
        row = [one.measure, meaning, one.period, *one.categories, value, told_as, of, one.left_out]
        writer.writerow(row)
    return text.getvalue()


def legend(table: Published, file: str) -> str:
    """What stands in the CSV file, for somebody who has nothing else.

    Args:
        table: what is read.
        file: the CSV file's name.
    """
    return "\n".join(_wrapped(one) for one in _lines(table, file)) + "\n"


def _lines(table: Published, file: str) -> Iterator[str]:
    units = _UNITS[table.unit]
    yield table.title
    yield ""
    counted = f", counted on {table.counted}" if table.counted else ""
    yield f"Table {table.name} of project {table.project}{counted}. {file} has a row for each cell and total."
    yield f"It counts {units}. Numbers are rounded, and what could tell of somebody is left away."
    yield from ("", "Measures")
    for name, meaning, kind in table.measures:
        yield f"  {name}: {meaning} ({TOLD_AS[Measure(kind)]})"
    yield from ("", "By")
    for place, name in enumerate(table.dimensions):
        found = list(dict.fromkeys(one.categories[place] for one in table.lines))
        means = f": {table.meanings[place]}" if place < len(table.meanings) else ""
        yield f"  {name}{means}. Here: {', '.join(found)}"
    if table.period:
        yield from ("", "Time", f"  {table.period}")
    yield from ("", "Columns")
    yield "  value: the number, and in value_is what kind of number"
    yield f"  of: of how many {units} a share or a mean is; empty for counts of {units} and sums"
    yield f"  {TOTAL}: the sum of the published cells of its line; left_out says how many cells are not in it"
    yield from ("", "Marks in the place of a number")
    cells = [one for one in table.lines if TOTAL not in one.categories]
    left = f"suppressed: {_many(cells, SUPPRESSED)}, totals not counted"
    yield f"  {SUPPRESSED}  {left}. It may be none, few or many"
    yield f"  {IMPOSSIBLE}  nobody can be there: {_many(cells, IMPOSSIBLE)}"
    yield from ("", "Rules: what suppressed and rounded. Which of them suppressed one cell is not said")
    yield from (f"  - {rule}" for rule in table.rules)


def _many(cells: list[Line], mark: str) -> str:
    return f"{sum(one.mark == mark for one in cells):,} of {len(cells):,} cells"


def _wrapped(text: str) -> str:
    deep = " " * (len(text) - len(text.lstrip()) + 2)
    return fill(text, _WIDTH, subsequent_indent=deep if text.startswith(" ") else "")
