"""What a council is handed: cells with labels, a legend, and no number that is not published."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from itertools import product

import polars as pl
import pytest

from pseudonym.files import canonical
from pseudonym.tables.handout import handed_out, legend, to_csv
from pseudonym.tables.published import Published
from tests.pseudonym.tables.made import ANY, CODES, COUNT, events, people, spec, table

SUM = (
    '[[measures]]\nname = "pounds"\nkind = "sum"\nmeaning = "Pounds paid"\ndataset = "events"\n'
    'value = "pounds"\nbase = 1000\n'
)
PERIOD = '[period]\nmonths = 6\naround = ["since"]\n'
MEAN = SUM.replace('"pounds"\nkind = "sum"', '"each"\nkind = "mean"')
BOTH = ANY.replace('"any"', '"both"') + 'month = "month"\n'


def numbers(text):
    """All whole numbers that a text says, with and without commas between their digits."""
    return {int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)}


def built(counts, pounds, *, measures=COUNT + SUM):
    """A table of a, in which everybody in a cell has an event of so many pounds, one in a2 of millions."""
    rows = people({(a, "b0", "c0"): count for a, count in counts.items()})
    given = events(rows, random.Random(1), 1.0).with_columns(
        pounds=pl.when(pl.col("aid") == rows.filter(a="a2")["aid"][0]).then(7_654_321).otherwise(pounds)
    )
    return table(spec("a", measures=measures), rows, given=given).table


def test_r41_what_is_handed_out_holds_no_true_number_that_was_suppressed_or_rounded_away():
    made = built({"a0": 1_237, "a1": 7, "a2": 613}, 419)
    lines = {(one.measure, one.categories[0]): one for one in made.lines}
    assert [lines["n", a].value for a in CODES["a"]] == [1_235, None, 615]
    assert [lines["pounds", a].mark for a in CODES["a"]] == ["", "c", "c"]
    files = handed_out(made, "services")
    assert list(files) == ["services.csv", "services.txt", "services.json"]
    true = {1_237, 7, 613, 1_237 * 419, 7 * 419, 612 * 419, 7_654_321, 612 * 419 + 7_654_321}
    true |= {sum(some) for some in product((1_237, 0), (7,), (613, 0))}
    for name, data in files.items():
        assert not true & numbers(data.decode()), name
    published = {0, 1_235, 615, 1_850, 518_000}  # and nothing else
    told = {
        int(cell)
        for row in csv.DictReader(io.StringIO(files["services.csv"].decode()))
        for cell in (row["value"], row["of"], row["left_out"])
        if cell not in ("c", "")
    }
    assert told <= published | {1, 2}


def test_r41_what_is_handed_out_is_the_same_whatever_a_suppressed_or_rounded_number_was():
    one = built({"a0": 1_237, "a1": 7, "a2": 613}, 419)
    other = built({"a0": 1_236, "a1": 3, "a2": 616}, 419)
    assert handed_out(one, "t") == handed_out(other, "t")


def test_a_council_can_read_it_without_anything_else():
    rows = people(dict.fromkeys(product(CODES["a"], ("b0",), ("c0",)), 40))
    given = events(rows, random.Random(2), 0.6)
    of = spec("a", measures=COUNT + ANY.replace('"Any event"', '"x, y"') + SUM + MEAN)
    made = table(of, rows, given=given).table
    text = legend(made, "one.csv")
    assert text.startswith(
        "A table of made-up people\n\nTable one of project tf-2026, counted on 2027-01-15."
    )
    for said in (
        "  n: People (count)\n",
        "  pounds: Pounds paid (sum)\n",
        "  each: Pounds paid (mean)\n",
        "  a: a. Here: a0, a1, a2, total\n",
        "  of: of how many persons a share or a mean is",
        "  c  suppressed: 0 of 12 cells, totals not counted.",
        "  :  nobody can be there: 0 of 12 cells",
        "fewer than 10 persons or 10 families",
        "  - Counts are rounded to 5.\n",
        "  - Sums are rounded to multiples of 1,000: pounds, each.\n",
    ):
        assert said in text, said
    assert max(map(len, text.splitlines())) <= 96
    rows_told = list(csv.DictReader(io.StringIO(to_csv(made))))
    assert len(rows_told) == len(made.lines) == 16
    assert {one["measure"]: (one["measure_means"], one["value_is"]) for one in rows_told} == {
        "n": ("People", "count"),
        "any": ("x, y", "per cent"),
        "pounds": ("Pounds paid", "sum"),
        "each": ("Pounds paid", "mean"),
    }


def test_the_legend_says_what_is_before_and_after_and_only_of_measures_with_time():
    rows = people(dict.fromkeys(product(CODES["a"], ("b0",), ("c0",)), 80))
    given = events(rows, random.Random(2), 0.6)
    made = table(spec("a", head=PERIOD, measures=BOTH), rows, given=given).table
    assert "Time\n  before: the 6 months before each one's month of since; after:" in legend(made, "x.csv")
    assert "Time" not in legend(table(spec("a"), rows).table, "x.csv")


@pytest.mark.parametrize("value", [1_234_000, 98_765_432_100, 12.5])
def test_a_large_sum_is_written_out(value):
    made = built({"a0": 40, "a1": 40, "a2": 40}, 100)
    content = json.loads(made.to_file())
    content["lines"][-1] |= {"value": value, "mark": "", "of": None}
    again = Published.from_file(canonical(content))
    assert f",{value},sum,," in to_csv(again)


def test_a_table_that_was_kept_before_it_had_dates_and_meanings_is_handed_out_too():
    made = built({"a0": 40, "a1": 40, "a2": 40}, 100)
    content = json.loads(made.to_file())
    for name in ("counted", "meanings", "period"):
        del content[name]
    again = Published.from_file(canonical(content))
    assert again.lines == made.lines
    text = legend(again, "x.csv")
    assert "Table one of project tf-2026. x.csv has" in text
    assert "  a. Here: a0" in text
