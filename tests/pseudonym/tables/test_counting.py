"""Counting: what a table counts is what plain Python counts, for persons and families, before and after."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.errors import InputError
from pseudonym.tables.cellkey import Noise, PTable
from pseudonym.tables.cells import Sheet
from pseudonym.tables.counting import count
from pseudonym.tables.facts import Facts
from pseudonym.tables.lawful import check_declaration
from pseudonym.tables.overlap import overlap
from pseudonym.tables.report import BASES, OVERLAP, UNPROTECTED
from tests.pseudonym.tables.attacker import Attacker, fewest, within
from tests.pseudonym.tables.made import ANY, CODES, COUNT, DECLARED, NOW, drawn, events, people, spec, table

PERIOD = '[period]\nmonths = 6\naround = ["since"]\n'
BOTH = '[[measures]]\nname = "any"\nkind = "rate"\nmeaning = "x"\ndataset = "events"\nmonth = "month"\n'
MONEY = (
    '[[measures]]\nname = "pounds"\nkind = "{kind}"\nmeaning = "Pounds"\ndataset = "events"\n'
    'value = "pounds"\nbase = 100\n'
)


def counted(of, rows, some=None):
    found = {"people": rows, "events": some if some is not None else events(rows, random.Random(1), 0)}
    return count(of, DECLARED, found, NOW.date())


def cell(sheet: Sheet, *place: str) -> tuple[float, int, int]:
    """The amount, persons and families of a cell, by its labels."""
    at = tuple(axis.labels.index(label) for axis, label in zip(sheet.axes, place, strict=True))
    return float(sheet.amounts[at]), int(sheet.persons[at]), sheet.families_at(at)


@pytest.mark.parametrize("unit", ["person", "family"])
def test_r41_persons_and_families_of_each_cell_are_those_that_there_are(unit):
    chance = random.Random(2)
    rows = people(drawn(chance, 8), 3)
    # A family in two cells: one of its members is elsewhere.
    rows = rows.with_columns(
        family=pl.when(pl.col("aid") == rows["aid"][0]).then(rows["family"][-1]).otherwise("family")
    )
    sheet = counted(spec("a", "b", unit=unit), rows).told[0].sheet
    persons, families = defaultdict(set), defaultdict(set)
    first: dict[bytes, dict[str, str]] = {}
    for one in rows.iter_rows(named=True):
        known = first.setdefault(one["family"], {"a": one["a"], "b": one["b"]})
        first[one["family"]] = {name: min(known[name], one[name]) for name in ("a", "b")}
    for one in rows.iter_rows(named=True):
        here = first[one["family"]] if unit == "family" else one
        persons[here["a"], here["b"]].add(one["aid"])
        families[here["a"], here["b"]].add(one["family"])
    for place in product(CODES["a"], CODES["b"]):
        amount, people_there, families_there = cell(sheet, *place)
        assert (people_there, families_there) == (len(persons[place]), len(families[place]))
        assert amount == (families_there if unit == "family" else people_there)
    everybody = {one for some in families.values() for one in some}
    assert sheet.families_at((None, None)) == len(everybody)


def test_r42_events_before_and_after_are_told_apart_by_each_persons_month():
    rows = people({("a0", "b0", "c0"): 4, ("a1", "b0", "c0"): 1})
    rows = rows.with_columns(since=pl.Series(["2024-06", "2024-06", "2023-12", None, "2024-06"]))
    aids = rows["aid"].to_list()
    told = [
        (aids[0], "2023-12"),  # six months before: in
        (aids[0], "2024-06"),  # in the month itself: after
        (aids[1], "2023-11"),  # seven months before: out
        (aids[1], "2024-12"),  # six months after: out
        (aids[2], "2024-05"),  # five months after
        (aids[3], "2024-06"),  # nobody knows around what
    ]
    some = pl.DataFrame(
        [(aid, aid, "x", month, 1) for aid, month in told],
        schema={
            "aid": pl.Binary,
            "family": pl.Binary,
            "what": pl.String,
            "month": pl.String,
            "pounds": pl.Int64,
        },
        orient="row",
    )
    before, after = counted(spec("a", head=PERIOD, measures=BOTH), rows, some).told
    assert [one.period for one in (before, after)] == ["before", "after"]
    assert cell(before.sheet, "a0", "in", "yes")[0] == 1
    assert cell(before.sheet, "a0", "in", "no")[0] == 2
    assert cell(after.sheet, "a0", "in", "yes")[0] == 2
    assert cell(before.people, "a0", "out")[0] == 1
    assert not before.sheet.shown[0, 1].any()


def test_r42_sums_and_means_are_of_published_numbers_and_costs_are_by_code():
    chance = random.Random(4)
    rows = people({("a0", "b0", "c0"): 60, ("a1", "b0", "c0"): 70, ("a2", "b0", "c0"): 80})
    some = events(rows, chance, 0.9)
    costs = MONEY.replace('value = "pounds"', 'column = "what"\ncosts = {{ x = 10, y = 500 }}')
    mean = MONEY.format(kind="mean").replace('"pounds"\nkind', '"mean"\nkind')
    cost = costs.format(kind="sum").replace('"pounds"\nkind', '"cost"\nkind')
    measures = COUNT + MONEY.format(kind="sum") + mean + cost
    made = table(spec("a", measures=measures, head='source = "made-up"'), rows, given=some)
    joined = some.join(rows.select("aid", "a"), on="aid")
    lines = {(one.measure, one.categories[0]): one for one in made.table.lines}
    for code in CODES["a"]:
        here = joined.filter(pl.col("a") == code)
        total = sum(here["pounds"].to_list())
        assert abs(lines["pounds", code].value - total) <= 50
        people_there = lines["n", code].value
        assert lines["mean", code].value == round(lines["pounds", code].value / people_there, 2)
        paid = sum({"x": 10, "y": 500}[one] for one in here["what"])
        assert abs(lines["cost", code].value - paid) <= 50
    assert lines["pounds", "total"].value == sum(lines["pounds", code].value for code in CODES["a"])
    assert any("made-up" in rule for rule in made.table.rules)


def test_r41_a_sum_that_one_family_makes_is_gone_though_its_persons_are_many():
    rows = people({("a0", "b0", "c0"): 60, ("a1", "b0", "c0"): 60, ("a2", "b0", "c0"): 60})
    one_family = rows["family"][0]
    rows = rows.with_columns(
        family=pl.when(pl.int_range(pl.len()) < 20).then(pl.lit(one_family)).otherwise("family")
    )
    some = events(rows, random.Random(1), 1.0).with_columns(
        pounds=pl.when(pl.col("family") == one_family).then(10_000).otherwise(10)
    )
    made = table(spec("a", measures=MONEY.format(kind="sum")), rows, given=some)
    marks = {one.categories[0]: one.mark for one in made.table.lines}
    assert marks == {"a0": "c", "a1": "", "a2": "", "total": ""}
    # The total of all is that family's too: whoever knew it would know the cell, and nobody is told it.
    assert made.report.attacked == 2


def test_r41_who_is_nowhere_is_declared_and_nobody_may_be_there():
    rows = people(
        {("a0", "b0", "c0"): 30, ("a0", "b1", "c0"): 40, ("a1", "b1", "c0"): 50, ("a2", "b1", "c0"): 20}
    )
    head = 'impossible = [{ a = "a1", b = "b0" }, { a = "a2", b = "b0" }, { b = "b2" }, { b = "b3" }]\n'
    made = table(spec("a", "b", head=head), rows)
    marks = {one.categories: one.mark for one in made.table.lines}
    assert marks["a1", "b0"] == marks["a0", "b2"] == marks["total", "b3"] == ":"
    assert "c" not in marks.values()
    with pytest.raises(InputError):
        table(spec("a", "b", head='impossible = [{ a = "a0", b = "b0" }]'), rows)
    none = table(spec("a", "b"), rows)
    assert none.table is None or "c" in {one.mark for one in none.table.lines}


def test_people_of_whom_a_dimension_is_missing_have_a_category_of_their_own_or_the_one_that_is_said():
    rows = people({("a0", "b0", "c0"): 30, ("a1", "b0", "c0"): 30, ("a2", "b0", "c0"): 30})
    missing = rows.with_columns(a=pl.when(pl.int_range(pl.len()) < 12).then(None).otherwise("a"))
    known = counted(spec("a"), missing).told[0].sheet
    assert known.axes[0].labels == (*CODES["a"], "not known")
    assert cell(known, "not known")[0] == 12
    text = spec("a")
    joined = text.dimensions[0].__class__("a", text.dimensions[0].use, "a2")
    said = text.__class__(
        **{name: getattr(text, name) for name in text.__slots__} | {"dimensions": (joined,)}
    )
    assert cell(counted(said, missing).told[0].sheet, "a2")[0] == 42
    assert counted(spec("a"), rows).told[0].sheet.axes[0].labels == CODES["a"]


def test_bands_of_numbers_are_dimensions_and_fit_into_coarser_ones():
    rows = people({("a0", "b0", "c0"): 400})
    fine = '[[dimensions]]\nname = "number"\ncolumn = "number"\nwidth = {}\nmeaning = "x"\n'
    five, ten = (
        counted(spec("a", head="", measures=fine.format(width) + COUNT), rows).told[0].sheet
        for width in (25, 50)
    )
    small, large = five.axes[1].values, ten.axes[1].values
    assert large[0] == small[0] | small[1]
    # Tables of both are of the same people: what is suppressed in one is not told by the other.
    made = table(spec("a", measures=fine.format(25) + COUNT, name="x"), rows)
    assert made.report.reason in ("", UNPROTECTED)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_facts_are_read_as_they_were_written(seed):
    chance = random.Random(seed)
    rows = people(drawn(chance, 30))
    made = table(spec("a", "c", measures=COUNT + ANY), rows, given=events(rows, chance, 0.5))
    if made.facts is None:
        return
    again = Facts.from_json(made.facts.to_json())
    assert again.to_json() == made.facts.to_json()
    for one, other in zip(made.facts.facts, again.facts, strict=True):
        assert np.array_equal(one.sheet.amounts, other.sheet.amounts)
        assert {key for key in one.suppressed if key in other.suppressed} == other.suppressed


def test_r41_cell_keys_give_the_same_people_the_same_noise_in_every_table():
    rows = people(dict.fromkeys(product(*CODES.values()), 40))
    noise = Noise(
        PTable.named("plus-minus-2"), lambda units: pl.Series([unit[1] for unit in units], dtype=pl.Int64)
    )
    head = 'method = "cell-key"\nptable = "plus-minus-2"\n'
    fine = table(spec("a", "b", "c", head=head), rows, noise=noise).table
    coarse = table(spec("b", "a", head=head, name="two"), rows, noise=noise).table
    other = table(spec("a", "b", head=head, name="three"), rows, noise=noise).table
    first = {one.categories: one.value for one in coarse.lines if "total" not in one.categories}
    second = {one.categories[::-1]: one.value for one in other.lines if "total" not in one.categories}
    assert first == second
    assert all(abs(value - 80) <= 2 for value in first.values())
    inner = [one.value for one in fine.lines if "total" not in one.categories]
    assert all(abs(value - 40) <= 2 for value in inner)
    total = next(one for one in fine.lines if set(one.categories) == {"total"})
    assert total.value == sum(inner)


def test_r41_the_same_of_some_people_and_of_all_is_attacked_together():
    # Of all and of those of c0: what is left is those of c1, and in one cell they are few.
    counts: dict[tuple[str, ...], int] = dict.fromkeys(product(CODES["a"], CODES["b"], ("c0",)), 40)
    counts |= dict.fromkeys(product(CODES["a"], CODES["b"], ("c1",)), 30)
    counts["a0", "b0", "c1"] = 3
    rows = people(counts)
    some = events(rows, random.Random(3), 0.5)
    among = ANY.replace('"any"', '"any-c0"') + 'among = { c = ["c0"] }\n'
    made = table(spec("a", "b", measures=ANY + among), rows, given=some)
    lines = {(one.measure, one.categories): one for one in made.table.lines}
    assert made.report.attacked == 2  # the few who are left, and those of them who have any
    attacker = Attacker(list(product(("c0", "c1"), ("yes", "no"))))
    for measure, whose in (("any", ("c0", "c1")), ("any-c0", ("c0",))):
        line = lines[measure, ("a0", "b0")]
        assert not line.mark
        having = round(line.value * line.of / 100)
        for word, value in (("yes", having), ("no", line.of - having)):
            attacker.published(np.sum([attacker.of(within(0, one, word)) for one in whose], axis=0), value)
    attacker.questions = {
        ("left",): attacker.of(within(0, "c1")),
        ("any",): attacker.of(within(0, "c1", "yes")),
    }
    assert fewest(attacker.values().values()) >= 5


def test_of_a_family_only_those_members_count_whom_the_measure_is_among():
    # Families of a c0 and a c1: all of c1 have an event, and half of c0.
    rows = people({("a0", "b0", "c0"): 80}, size=2).with_columns(c=pl.Series(["c0", "c1"] * 40))
    having = rows.filter((pl.col("c") == "c1") | (pl.int_range(pl.len()) % 4 == 0))
    given = having.select("aid", "family", what=pl.lit("x"), month=pl.lit("2024-01"), pounds=pl.lit(100))
    among = 'among = { c = ["c0"] }\n'
    value = '[[measures]]\nname = "p"\nkind = "sum"\nmeaning = "P"\ndataset = "events"\nvalue = "pounds"\n'
    for unit in ("person", "family"):
        told = count(
            spec("a", unit=unit, measures=ANY + among + value + among),
            DECLARED,
            {"people": rows, "events": given},
            NOW.date(),
        ).told
        some, amount = (one.sheet for one in told)
        place = (0, *(0 for axis in some.axes if axis.about))
        assert some.amounts[(*place, 0)] == 20
        assert some.amounts[(*place, 1)] == 20
        assert amount.amounts[place] == 2_000


def test_r41_measures_that_overlap_without_being_the_same_are_refused():
    rows = people(dict.fromkeys(product(CODES["a"], CODES["b"], CODES["c"]), 40))
    some = events(rows, random.Random(3), 0.8)
    x, y = (
        ANY.replace('"any"', f'"{code}"') + f'column = "what"\ncodes = ["{code}"]\n' for code in ("x", "y")
    )
    assert table(spec("a", measures=ANY + x), rows, given=some).report.reason == OVERLAP
    both = table(spec("a", measures=x + y), rows, given=some)
    assert not both.report.reason
    later = table(spec("b", name="two", measures=ANY), rows, given=some, earlier=[both])
    assert (later.report.reason, later.table) == (OVERLAP, None)
    assert not table(spec("b", name="two", measures=x), rows, given=some, earlier=[both]).report.reason


def test_r41_a_column_without_codes_leaves_no_row_out_and_overlaps_whatever_the_column():
    rows = people(dict.fromkeys(product(CODES["a"], CODES["b"], CODES["c"]), 40))
    some = events(rows, random.Random(3), 0.8)
    by_what, by_month = (
        ANY.replace('"any"', f'"{name}"') + f'column = "{name}"\n' for name in ("what", "month")
    )
    assert not table(spec("a", measures=by_what), rows, given=some).report.reason
    assert table(spec("a", measures=by_what + by_month), rows, given=some).report.reason == OVERLAP
    assert table(spec("a", measures=by_what + 'codes = ["x"]\n' + by_month), rows, given=some).report.reason


def test_r41_what_other_members_of_families_did_overlaps_however_many_columns_name_them():
    one, other = (f"events - - - - {a} b=b0 c=c0 d=d0" for a in ("a=a0", "a=a0,a1"))
    assert overlap(one, other)
    assert overlap("events - - - -", one)
    before, after = (f"events - - - - {period} 12 month since" for period in ("before", "after"))
    assert not overlap(before, after)
    assert overlap("events - - - -", before)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("events what x pounds -", "events paid false,true pounds -", True),  # all rows, by another column
        ("events what x - -", "events what - - x=1;y=1", True),  # a row is a cost of one
        ("events what x - -", "events what - - y=1", False),
        ("events what x pounds -", "events what y pounds -", False),
        ("events what x pounds -", "events paid true hours -", False),
    ],
)
def test_r41_sums_of_the_same_number_by_codes_of_different_columns_overlap(one, other, told):
    assert overlap(one, other, sums=True) is overlap(other, one, sums=True) is told
    assert not overlap(one, other)  # of who has any, no amount is told


def test_r41_sums_are_rounded_to_no_less_than_counts():
    rows = '[[measures]]\nname = "rows"\nkind = "sum"\nmeaning = "R"\ndataset = "people"\n'
    assert spec("a", measures=rows).figures[0].base == 5
    check_declaration(spec("a", measures=rows))
    finer = spec("a", measures=rows + "base = 1\n")  # it reads: what was declared once can always be read
    with pytest.raises(InputError, match="multiples of 1") as refused:
        check_declaration(finer)
    assert "5 or more" in refused.value.help


def test_r41_the_same_sums_in_another_rounding_are_refused():
    rows = people(dict.fromkeys(product(CODES["a"], CODES["b"], CODES["c"]), 40))
    some = events(rows, random.Random(3), 0.8)
    value = '[[measures]]\nname = "p"\nkind = "sum"\nmeaning = "P"\ndataset = "events"\nvalue = "pounds"\n'
    first = table(spec("a", measures=value), rows, given=some)
    assert not first.report.reason
    for base, reason in ((5, ""), (7, BASES)):
        of = spec("b", name="two", measures=value + f"base = {base}\n")
        report = table(of, rows, given=some, earlier=[first]).report
        assert report.reason == reason
        assert ("another base" in report.text()) == bool(reason)
    twice = value + value.replace('"p"', '"q"') + "base = 10\n"
    assert table(spec("a", measures=twice), rows, given=some).report.reason == BASES
