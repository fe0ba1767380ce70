"""The rules for one cell: those of ACRO where ACRO has them; perturbation tables; who reads which area."""

from __future__ import annotations

import io
import json
import logging
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import InputError
from pseudonym.roles import governance
from pseudonym.tables.board import cells
from pseudonym.tables.cellkey import PTable, record_key
from pseudonym.tables.rules import (
    THRESHOLD,
    dominated,
    few,
    of_perturbed,
    of_rounded,
    of_suppressed,
    rounded,
)
from pseudonym.tables.spec import TableSpec
from tests.pseudonym.tables.made import DECLARED, NOW, drawn, people, spec
from tests.pseudonym.tables.scene import SPEC


def sheets(rows, some):
    from pseudonym.tables.counting import count

    measures = (
        '[[measures]]\nname = "pounds"\nkind = "sum"\nmeaning = "x"\ndataset = "events"\nvalue = "pounds"\n'
        '[[measures]]\nname = "n"\nkind = "count"\nmeaning = "x"\n'
    )
    found = count(spec("a", "b", measures=measures), DECLARED, {"people": rows, "events": some}, NOW.date())
    return [one.sheet for one in found.told]


@pytest.mark.filterwarnings("ignore")  # what is deprecated there is no affair of ours
@pytest.mark.parametrize("seed", range(4))
def test_r41_acro_agrees_on_the_threshold_and_on_dominance(seed, tmp_path, monkeypatch):
    acro = pytest.importorskip("acro", reason="the package acro, the second opinion, is not installed")
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)  # it writes files where it stands
    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    rows = people(drawn(chance, 9))
    some = rows.select("aid", "family").with_columns(
        what=pl.lit("x"),
        month=pl.lit("2024-05"),
        pounds=pl.Series([int(chance.paretovariate(0.6)) for _ in range(len(rows))]),
    )
    sums, counts = sheets(rows, some)
    known = {"sum": cells([sums]), "count": cells([counts])}
    told = acro.ACRO(suppress=False)
    a, b, pounds = (
        pandas.Series(column.to_list(), name=name)
        for name, column in (("a", rows["a"]), ("b", rows["b"]), ("v", some["pounds"]))
    )
    told.crosstab(a, b)
    told.crosstab(a, b, values=pounds, aggfunc="sum")
    outcomes = [told.results.get_index(place).outcome for place in (0, 1)]
    logging.disable(logging.NOTSET)
    looked = dominance = small = 0
    for row in outcomes[0].index:
        for column in outcomes[0].columns:
            at = tuple(
                axis.labels.index(label) for axis, label in zip(counts.axes, (row, column), strict=True)
            )
            key = counts.key(at)
            counted, summed = (str(outcome.loc[row, column]) for outcome in outcomes)
            assert ("MinimumThreshold" in counted) == known["count"][key].primary
            unsafe = "NKCheck" in summed or "PPercentCheck" in summed
            if known["count"][key].amount:
                assert unsafe == sums.is_unsafe(at), (row, column)
            assert known["sum"][key].primary == ("ok" not in summed or not known["count"][key].amount)
            looked, small, dominance = looked + 1, small + ("Minimum" in counted), dominance + unsafe
    assert looked > 6
    assert small
    assert seed or dominance


def test_r41_a_threshold_on_persons_alone_would_be_met_by_one_large_family():
    persons, families = np.array([10, 10, 9, 0, 40]), np.array([10, 9, 9, 0, 1])
    assert few(persons, families).tolist() == [False, True, True, True, True]


def test_r41_dominance_is_of_the_two_largest_and_of_what_the_second_could_tell_of_the_first():
    total, largest, second = (
        np.array(one, float) for one in ([100, 100, 100, 0], [50, 50, 80, 0], [40, 30, 13, 0])
    )
    assert dominated(total, largest, second).tolist() == [True, False, True, False]


@given(st.integers(THRESHOLD, 5_000))
def test_r41_what_rounding_lets_somebody_conclude_holds_the_truth_and_no_more(true):
    least, most = of_rounded(rounded(true, 5))
    assert least <= true <= most
    outside = [one for one in range(THRESHOLD, 5_010) if rounded(one, 5) == rounded(true, 5)]
    assert (min(outside), max(outside)) == (least, most)
    assert of_perturbed(true + 2, 2)[0] <= true <= of_perturbed(true - 2, 2)[1]
    assert of_suppressed(true, False)[0] <= true
    assert of_suppressed(9, True) == (0, 9)


@pytest.mark.parametrize("name", ["plus-minus-2", "10-5"])
def test_r41_a_perturbation_table_has_onss_form_and_never_shows_a_small_count(name):
    made = PTable.named(name)
    read = pl.read_csv(io.StringIO(made.to_csv()))
    assert read.columns == ["pcv", "ckey", "pvalue"]
    assert (read["pcv"].min(), read["pcv"].max(), read["ckey"].max(), len(read)) == (1, 750, 255, 192_000)
    after = read.with_columns(after=pl.col("pcv") + pl.col("pvalue"))
    assert after.filter(pl.col("pcv") >= 10)["after"].min() == 10
    assert set(after.filter(pl.col("pcv") < 10)["after"]) == {0}
    assert made.spread == 2
    large = read.filter(pl.col("pcv") >= 14)
    assert abs(sum(large["pvalue"].to_list())) < 0.02 * len(large)
    if name == "10-5":  # the rule by which ONS makes its example of a table
        assert (after.filter(pl.col("pcv") >= 10)["after"] % 5 == 0).all()
    else:
        assert 0.6 < len(large.filter(pl.col("pvalue") != 0)) / len(large) < 0.65


def test_r41_noise_is_looked_up_as_ons_describes_it():
    made, chance = PTable.named("plus-minus-2"), random.Random(1)
    counts = np.array([*range(740, 1_260), *(chance.randint(0, 5_000) for _ in range(500))])
    keys = np.array([chance.randint(0, 10**6) for _ in counts])
    for count, key, found in zip(counts, keys, made.noise(counts, keys), strict=True):
        # Counts above 750: less one, modulo 250, plus 501.
        pcv = count if count <= 750 else (count - 1) % 250 + 501
        assert found == (made.values[pcv - 1, key % 256] if count else 0)
    assert record_key(b"\xff\x00") == 255


def test_a_perturbation_table_that_there_is_not_is_refused():
    with pytest.raises(InputError):
        PTable.named("none")


@pytest.mark.parametrize(
    "wrong",
    [
        ('unit = "family"', 'unit = "household"'),
        ('area = "council"\n', ""),
        ('approvers = ["bob", "dora"]', 'approvers = ["bob"]'),
        ('kind = "rate"', 'kind = "median"'),
        ("[[measures]]", "[[figures]]"),
        ('name = "arm"\ncolumn', 'name = "council"\ncolumn'),
        ('name = "arm"\ncolumn', 'name = "value"\ncolumn'),
        ('dataset = "pnc"', 'dataset = "pnc"\nmonth = "offence_month"'),
        ('dataset = "pnc"', 'dataset = "pnc"\ncosts = { fine = 3 }'),
        ('latest = "as_of"', 'latest = "as_of"\nmethod = "cell-key"'),
        ('latest = "as_of"', 'latest = "as_of"\nimpossible = [{ sex = "f" }]'),
        ('latest = "as_of"', 'latest = "as_of"\nsecret = 1'),
        ("kinlink-table/1", "kinlink-table/2"),
    ],
)
def test_a_declaration_that_says_what_cannot_be_is_refused_before_anything_is_read(wrong):
    assert wrong[0] in SPEC
    TableSpec.from_toml(SPEC)
    with pytest.raises(InputError) as refused:
        TableSpec.from_toml(SPEC.replace(wrong[0], wrong[1], 1))
    assert refused.value.message


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (('latest = "as_of"', "latest = as_of"), "at line"),
        (('kind = "rate"', 'kind = "median"'), "kind is no word"),
        (('unit = "family"', 'unit = "house"'), "unit is no word"),
        (('title = "', 'tytle = "'), "says tytle, which it cannot"),
        (('population = "families"', ""), "lacks population"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_told_by_its_line_its_word_or_what_it_lacks(wrong, told):
    assert wrong[0] in SPEC
    with pytest.raises(InputError, match=told):
        TableSpec.from_toml(SPEC.replace(wrong[0], wrong[1], 1))


def test_r40_the_governance_file_says_whose_area_is_whose(tmp_path):
    path = tmp_path / "governance.json"

    def written(councils):
        path.write_text(json.dumps({"councils": councils}))
        path.chmod(0o600)
        return governance.read(path)

    one = {"project": "tf-2026", "person": "carol", "area": "fenham"}
    found = written([one, {**one, "person": "mark", "area": "E06000001"}])
    assert found.areas.of("tf-2026", "carol") == "fenham"
    assert found.areas.of("tf-2027", "carol") is None
    assert governance.NOTHING.areas.of("tf-2026", "carol") is None
    for wrong in ([one, one], [{**one, "area": ""}], [{**one, "more": 1}], [{"person": "carol"}], one):
        with pytest.raises(InputError):
            written(wrong)
