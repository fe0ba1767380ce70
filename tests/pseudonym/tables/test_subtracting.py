"""Sums of two releases: their difference tells of nobody, whatever was paid to whom in between."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest

from pseudonym.tables.facts import Facts
from pseudonym.tables.report import DIFFERENCE, OVERLAP, UNPROTECTED
from pseudonym.tables.rules import dominated
from pseudonym.tables.subtracting import told_by_subtraction
from tests.pseudonym.tables.made import ANY, CODES, COUNT, events, people, spec, table

SUM = (
    '[[measures]]\nname = "pounds"\nkind = "{}"\nmeaning = "Pounds"\ndataset = "events"\n'
    'value = "pounds"\nbase = 100\n'
)
POUNDS = SUM.format("sum")
BAND = '[[dimensions]]\nname = "number"\ncolumn = "number"\nwidth = {}\nmeaning = "x"\n'
SIXTY = people({(a, b, "c0"): 60 for a in CODES["a"] for b in CODES["b"]})


def paid(rows, pounds=None):
    """An event of everybody: so many pounds, and 100 to 900, always the same, where nothing is said."""
    given = events(rows, random.Random(5), 1.0)
    told = [(pounds or {}).get(one, 100 + 97 * sum(one) % 800) for one in given["aid"]]
    return given.with_columns(pounds=pl.Series(told, dtype=pl.Int64)).filter(pl.col("pounds") > 0)


def totals(made):
    return {one.categories: one.value for one in made.table.lines if one.measure == "pounds"}


@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_r41_what_one_person_was_paid_since_is_not_told_by_subtracting_the_sums(kind):
    measures = COUNT + SUM.format(kind)
    first = table(spec("a", measures=measures), SIXTY, given=paid(SIXTY))
    somebody = SIXTY["aid"][0]
    later = paid(SIXTY, {somebody: 20_000})
    second = spec("a", name="two", measures=measures)
    # By itself it is a table like any other; less the first it would be what this one person was paid.
    alone = table(second, SIXTY, given=later)
    assert not alone.report.reason
    if kind == "sum":
        before = paid(SIXTY).filter(aid=somebody)["pounds"].item()
        assert abs(totals(alone)["a0",] - totals(first)["a0",] - (20_000 - before)) <= 100
    held = table(second, SIXTY, given=later, earlier=[first])
    assert (held.report.reason, held.table, held.facts) == (DIFFERENCE, None, None)
    assert "nearly all of what changed in a sum" in held.report.text()
    assert not table(second, SIXTY, given=paid(SIXTY), earlier=[first]).report.reason  # nothing changed


@pytest.mark.parametrize(
    ("pounds", "reason"),
    [
        ([500] * 9, DIFFERENCE),  # fewer than ten
        ([500] * 40, ""),
        ([500] * 38 + [90_000] * 2, DIFFERENCE),  # two of them make nearly all of it
        ([500] * 40 + [300_000], DIFFERENCE),  # one does
        ([500] * 40 + [20_000], DIFFERENCE),  # nobody does, but two who had the largest amount would
    ],
)
def test_r41_who_came_since_is_told_of_only_where_they_are_many_and_none_dominates(pounds, reason):
    first = table(spec("a", measures=POUNDS), SIXTY, given=paid(SIXTY, {SIXTY["aid"][7]: 12_000}))
    came = people({("a1", "b0", "c0"): len(pounds)}, first=10_000)
    rows = SIXTY.vstack(came)
    given = paid(rows, dict(zip(came["aid"], pounds, strict=True)) | {SIXTY["aid"][7]: 12_000})
    of = spec("a", name="two", measures=POUNDS)
    assert not table(of, rows, given=given).report.reason
    assert table(of, rows, given=given, earlier=[first]).report.reason == reason


def test_r41_as_many_who_left_as_came_hide_nobody():
    first = table(spec("a", measures=POUNDS), SIXTY, given=paid(SIXTY))
    came = people({("a0", "b0", "c0"): 1}, first=10_000)
    rows = SIXTY[1:].vstack(came)
    of = spec("a", name="two", measures=POUNDS)
    given = paid(rows, {came["aid"][0]: 20_000})
    assert table(of, rows, given=given, earlier=[first]).report.reason == DIFFERENCE


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((("a",), ""), (("a", "b"), "")),
        ((("a", "b"), ""), (("b",), "")),
        ((("a",), BAND.format(25)), (("a",), BAND.format(50))),
        ((("a",), ""), (("b",), "")),  # only the total of both is of the same people
    ],
)
def test_r41_other_categories_of_the_same_people_are_put_together_to_subtract(first, second):
    ones, others = (
        spec(*names, name=name, measures=f"{bands}{POUNDS}")
        for name, (names, bands) in (("one", first), ("two", second))
    )
    made = table(ones, SIXTY, given=paid(SIXTY))
    later = paid(SIXTY, {SIXTY["aid"][3]: 5_000})
    assert not table(others, SIXTY, given=later).report.reason
    assert table(others, SIXTY, given=paid(SIXTY), earlier=[made]).report.reason == ""
    assert table(others, SIXTY, given=later, earlier=[made]).report.reason == DIFFERENCE


def only(code, measure=POUNDS):
    return f'{measure}column = "what"\ncodes = ["{code}"]\n'


def as_families(first, second, rows, given):
    """The second measure of families, alone and after the first of persons; and the other way round."""
    ones, others = (
        (spec("a", measures=first), spec("a", name="two", unit="family", measures=second)),
        (spec("a", unit="family", measures=first), spec("a", name="two", measures=second)),
    )
    for one, other in (ones, others):
        earlier = table(one, rows, given=given)
        alone = table(other, rows, given=given)
        yield earlier, alone, table(other, rows, given=given, earlier=[earlier])


PAIRS = people({(a, "b0", "c0"): 120 for a in CODES["a"]}, size=2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (POUNDS, POUNDS),
        (SUM.format("mean"), POUNDS),
        (POUNDS, SUM.format("mean")),
        (only("x"), POUNDS),
        (POUNDS, only("x")),
        (BAND.format(25) + POUNDS, BAND.format(50) + POUNDS),
        (POUNDS, POUNDS.replace("base = 100", "base = 130")),
        (POUNDS, POUNDS + 'among = { c = ["c0"] }\n'),
    ],
)
def test_r41_a_sum_is_of_persons_or_of_families_and_never_of_both(first, second):
    given = paid(PAIRS).with_columns(what=pl.lit("x"))
    for earlier, alone, held in as_families(first, second, PAIRS, given):
        assert (earlier.report.reason, alone.report.reason) == ("", "")
        assert (held.report.reason, held.table, held.facts) == (OVERLAP, None, None)
        assert "for persons where the other does for families" in held.report.text()


def test_r41_what_one_person_was_paid_of_another_kind_is_not_told_by_families_sums_less_persons():
    given = paid(PAIRS).with_columns(what=pl.lit("x"))
    somebody = given.filter(pl.col("aid") == PAIRS["aid"][0])
    more = somebody.with_columns(what=pl.lit("y"), pounds=pl.lit(12_300, pl.Int64))
    earlier, alone, held = next(as_families(only("x"), POUNDS, PAIRS, pl.concat([given, more])))
    assert totals(alone)["a0",] - totals(earlier)["a0",] == 12_300
    assert held.report.reason == OVERLAP


def test_r41_what_a_few_persons_were_paid_is_not_told_by_wider_bands_of_families():
    bands = {"b0": 10, "b1": 30, "b2": 60, "b3": 90}
    counts: dict[tuple[str, ...], int] = {
        (a, b, "c0"): 6 if a != "a2" and b in ("b0", "b3") else 200 for a in CODES["a"] for b in bands
    }
    rows = people(counts, size=2)
    rows = rows.with_columns(number=pl.col("b").replace_strict(bands, return_dtype=pl.Int64))
    narrow, wide = (BAND.format(width) + POUNDS for width in (25, 50))
    earlier, alone, held = next(as_families(narrow, wide, rows, paid(rows)))
    few = rows.filter(a="a0", b="b0")
    of_few = paid(rows).join(few.select("aid"), on="aid")["pounds"].sum()
    assert totals(earlier)["a0", "0-24"] is None
    assert abs(totals(alone)["a0", "0-49"] - totals(earlier)["a0", "25-49"] - of_few) <= 100
    assert held.report.reason == OVERLAP


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (only("x"), only("y")),  # of other rows
        (ANY, POUNDS),  # no sum
        (ANY, ANY),
        (POUNDS, SUM.format("sum").replace('value = "pounds"\n', "")),  # of another number
    ],
)
def test_r41_what_is_no_sum_of_the_same_rows_may_be_of_persons_and_of_families(first, second):
    some = paid(PAIRS.filter(pl.int_range(pl.len()) % 6 < 4))
    given = some.with_columns(
        what=pl.when(pl.int_range(pl.len()) % 4 < 2).then(pl.lit("x")).otherwise(pl.lit("y"))
    )
    for _, alone, held in as_families(first, second, PAIRS, given):
        assert (alone.report.reason, held.report.reason) == ("", "")


def test_r41_of_a_cell_that_one_of_the_tables_does_not_show_nothing_can_be_subtracted():
    sheet = table(spec("a", measures=POUNDS), SIXTY, given=paid(SIXTY)).facts.facts[-1].sheet
    later = paid(SIXTY, {SIXTY["aid"][0]: 5_000})
    now = table(spec("a", measures=POUNDS), SIXTY, given=later).facts.facts[-1].sheet
    gone = {sheet.key((0,))}
    assert told_by_subtraction(now, (), sheet, ())
    assert not told_by_subtraction(now, gone, sheet, ())
    assert not told_by_subtraction(now, (), sheet, gone)
    # What was kept before the largest amounts were: any change may be one person's.
    old = dataclasses.replace(sheet, largest=None)
    assert told_by_subtraction(now, (), old, ())
    assert not told_by_subtraction(sheet, (), old, ())


def test_a_table_that_was_kept_without_the_largest_amounts_reads():
    made = table(spec("a", measures=POUNDS), SIXTY, given=paid(SIXTY)).facts
    content = made.to_json()
    largest = Facts.from_json(content).facts[-1].sheet.largest
    assert largest is not None
    assert largest.max() == paid(SIXTY)["pounds"].to_numpy().max()
    for one in content["facts"]:
        del one["sheet"]["largest"]
    assert Facts.from_json(content).facts[-1].sheet.largest is None


def amounts(rows, given, label):
    """By cell, what each person adds and what each family adds."""
    made: dict[Any, tuple[dict[bytes, int], dict[bytes, int]]]
    made = defaultdict(lambda: (defaultdict(int), defaultdict(int)))
    pounds = dict(given.select("aid", "pounds").iter_rows())
    for one in rows.iter_rows(named=True):
        persons, families = made[label(one)]
        persons[one["aid"]] += pounds.get(one["aid"], 0)
        families[one["family"]] += pounds.get(one["aid"], 0)
    return made


def hidden(made, names, common):
    """The common cells of which a table suppresses a part."""
    lines = [one for one in made.table.lines if "total" not in one.categories]
    return {
        tuple(dict(zip(names, one.categories, strict=True))[name] for name in common)
        for one in lines
        if one.mark
    }


def test_r41_no_difference_of_two_random_releases_is_of_few_or_of_one():
    chance, released, refused = random.Random(9), 0, 0
    for turn in range(60):
        rows = people({place: chance.choice([25, 60]) for place in product(*CODES.values())}, 2)
        said = {one: chance.randint(50, 400) for one in rows["aid"]}
        size = chance.choice([0, 15, 80])
        came = people(dict.fromkeys(product(*CODES.values()), size), 2, first=10_000)
        after = rows[chance.choice([0, 0, 1, 30]) :].vstack(came)
        more = {one: chance.randint(50, 400) for one in came["aid"]}
        if size and chance.random() < 0.4:
            more[came["aid"][0]] = chance.choice([900, 5_000, 20_000])
        for one in chance.sample(sorted(said), chance.choice([0, 0, 1, 12])):
            more[one] = chance.choice([0, 3_000])
        names = [chance.choice([("a",), ("b",), ("a", "b"), ("a", "c")]) for _ in range(2)]
        first, second = paid(rows, said), paid(after, said | more)
        one = table(spec(*names[0], measures=POUNDS), rows, given=first)
        two = table(spec(*names[1], name="two", measures=POUNDS), after, given=second, earlier=[one])
        if two.table is None:
            assert two.report.reason in (DIFFERENCE, UNPROTECTED)
            refused += 1
            continue
        released += 1
        common = [name for name in names[0] if name in names[1]]
        told = [
            amounts(people_then, given, lambda one: tuple(one[name] for name in common))  # noqa: B023
            for people_then, given in ((rows, first), (after, second))
        ]
        masked = hidden(one, names[0], common) | hidden(two, names[1], common)
        for cell in told[0].keys() - masked:
            for then, now in zip(told[0][cell], told[1][cell], strict=True):
                changed = [abs(now.get(one, 0) - then.get(one, 0)) for one in then.keys() | now.keys()]
                whole = abs(sum(now.values()) - sum(then.values()))
                largest, second_largest = sorted(changed)[:-3:-1]
                if whole:
                    assert sum(map(bool, changed)) >= 10, (turn, cell)
                    three = (np.array([number]) for number in (whole, largest, second_largest))
                    assert not dominated(*three).any(), (turn, cell)
    assert (released > 10, refused > 10) == (True, True), (released, refused)
