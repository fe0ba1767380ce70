"""Matchkeys within one file: against plain self-joins, what makes a group whole, and before the model."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import linker
from linker.cli import app
from linker.conditions import Any as AnyOf
from linker.conditions import Op, exact, turned
from linker.conditions import Test as Measure
from linker.matchkeys import Matchkey, Matchkeys
from linker.matchkeys_ons import ONS
from linker.matchkeys_pass import match_within
from linker.model import BlockingRule
from linker.report import figures, write_report
from linker.sources import Raw, column
from tests import matchkeys_oracle as oracle
from tests import matchkeys_people as made_up

IDS = ["left_id", "right_id"]


def arrived(people):
    return linker.arrive(oracle.frame(people), id_column="id", mapping=oracle.MAPPING)


def decided(people, keys=ONS, **options):
    """Key and outcome of every pair that has a key."""
    found = match_within([arrived(people)], keys, **options)
    return {(a, b): (key, outcome) for a, b, key, outcome in found.pairs.rows()}


def population(households, seed):
    """One file that has most people two or three times, with errors."""
    homes = made_up.population(households, seed=seed)
    third = [
        one | {"id": f"s{(one['id'] or '')[1:]}"} for one in made_up.seen_again(homes[::2], seed=seed + 2)
    ]
    people = [person for home in homes for person in home]
    return [*people, *made_up.seen_again(homes, seed=seed + 1), *third]


@pytest.fixture(scope="module")
def people():
    return population(500, seed=7)


@pytest.fixture(scope="module")
def matched(people):
    return match_within([arrived(people)], ONS)


# --- the set of ONS ------------------------------------------------------------------------------


def test_the_ons_keys_decide_as_plain_self_joins_do(people, matched):
    expected = oracle.outcomes_within(people)
    found = {(a, b): (key, outcome) for a, b, key, outcome in matched.pairs.rows()}
    assert found == expected
    assert {outcome for _, outcome in expected.values()} == {"LINKED", "AMBIGUOUS", "REVIEW"}
    assert len({key for key, outcome in expected.values() if outcome == "LINKED"}) >= 20
    assert matched.pairs.select(IDS).rows() == sorted(expected)


def test_links_are_whole_groups_and_mostly_true(matched):
    """Twins of one name are one group here, where two files would have shown two of them on both sides."""
    links = matched.pairs.filter(pl.col("outcome") == "LINKED")
    same = links["left_id"].str.slice(1, 5) == links["right_id"].str.slice(1, 5)
    assert same.mean() > 0.96
    linked = set(links.select(IDS).rows())
    groups = oracle._groups(linked)
    assert max(map(len, groups)) > 2
    assert len(linked) == sum(len(group) * (len(group) - 1) // 2 for group in groups)


def test_neither_the_order_of_rows_nor_threads_change_anything(people, matched):
    shuffled = random.Random(0).sample(people, len(people))
    again = match_within([arrived(shuffled)], ONS, threads=3)
    assert again.pairs.equals(matched.pairs)


# --- groups --------------------------------------------------------------------------------------


def keys_of(*keys):
    return Matchkeys("test", "1", keys)


def equal(name, *columns, **others):
    return Matchkey(name, name, (BlockingRule(tuple((one, one) for one in columns)),), **others)


def edits(name, most, *columns):
    """Surnames within some edits, other columns equal."""
    return equal(name, *columns, where=Measure(Op.LEVENSHTEIN, "surname", "surname", most))


STRICT = equal("strict", "surname", "date_of_birth.days", "postcode")
NO_POSTCODE = equal("no postcode", "surname", "date_of_birth.days")
NEAR = edits("near", 1, "date_of_birth.days")


def person(record_id, surname="HARTLEY", postcode="CB1 1AD", born="1984-05-17"):
    return oracle.person(record_id, surname, born, forename="Ann", postcode=postcode)


def test_any_number_of_equal_records_is_one_person():
    found = decided([person(one) for one in "abcd"], keys_of(STRICT))
    assert found == {(a, b): ("strict", "LINKED") for a in "abcd" for b in "abcd" if a < b}


def test_a_chain_that_does_not_close_is_ambiguous():
    names = {"a": "HARTLEY", "b": "HARTLEX", "c": "HARTLXX"}  # a and c are two edits apart
    found = decided([person(*one) for one in names.items()], keys_of(NEAR))
    assert found == {("a", "b"): ("near", "AMBIGUOUS"), ("b", "c"): ("near", "AMBIGUOUS")}


def test_a_later_key_may_close_a_chain_but_links_nothing_past_it():
    chain = [person("a", "HARTLEY"), person("b", "HARTLEX"), person("c", "HARTLXX")]
    wider = edits("wider", 2, "date_of_birth.days", "postcode")
    closed = decided(chain, keys_of(NEAR, wider))
    assert {outcome for _, outcome in closed.values()} == {"LINKED"}
    assert closed["a", "c"][0] == "wider"
    # A fourth record that only two of them meet keeps the group open.
    fourth = decided([*chain, person("d", "HARTXXX")], keys_of(NEAR, wider))
    assert {outcome for _, outcome in fourth.values()} == {"AMBIGUOUS"}


def test_a_group_takes_a_further_record_if_all_of_it_meet_that_record():
    two = [person("a"), person("b")]
    moved = decided([*two, person("c", postcode="LS2 2BE")], keys_of(STRICT, NO_POSTCODE))
    assert moved == {
        ("a", "b"): ("strict", "LINKED"), ("a", "c"): ("no postcode", "LINKED"),
        ("b", "c"): ("no postcode", "LINKED"),
    }  # fmt: skip
    # The same person as one of the two, and not as the other: the two stay linked, the third stays open.
    by_forename = equal("forename", "forename", "date_of_birth.days")
    typed = [*two, person("c", "OKAFOR")]
    typed[1]["forename"] = "Nan"
    assert decided(typed, keys_of(STRICT, by_forename)) == {
        ("a", "b"): ("strict", "LINKED"), ("a", "c"): ("forename", "AMBIGUOUS")
    }  # fmt: skip


def test_a_clerical_pair_is_for_people_and_keeps_its_group_open():
    records = [person("a"), person("b", postcode="LS2 2BE"), person("c", postcode=None)]
    clerical = Matchkey("people", "", STRICT.equal, clerical=True)
    assert decided([person("a"), person("b")], keys_of(clerical, NO_POSTCODE)) == {
        ("a", "b"): ("people", "REVIEW")
    }
    records += [person("d")]  # a and d are for people: whoever meets them later is open
    found = decided(records, keys_of(clerical, NO_POSTCODE))
    assert found.pop(("a", "d")) == ("people", "REVIEW")
    assert len(found) == 5
    assert set(found.values()) == {("no postcode", "AMBIGUOUS")}


def test_a_missing_part_never_matches():
    assert decided([person("a", postcode=None), person("b", postcode=None)], keys_of(STRICT)) == {}


@pytest.mark.parametrize("swapped", [False, True])
def test_a_pair_meets_a_crossed_key_whichever_record_stands_first(swapped):
    crossed = Matchkey("maiden", "", (BlockingRule((("surname", "surname_2"), ("date_of_birth.days",) * 2)),))
    one, other = person("a", "HARTLEY"), person("b", "OKAFOR") | {"other_surname": "Hartley"}
    if swapped:
        one, other = one | {"id": "b"}, other | {"id": "a"}
    assert decided([one, other], keys_of(crossed)) == {("a", "b"): ("maiden", "LINKED")}
    # The condition is turned with the columns that must be equal, and not by itself.
    both = Measure(Op.EXACT, "forename", "middle_name")
    strict = Matchkey("maiden", "", crossed.equal, where=both)
    assert decided([one | {"forename": "Ann"}, other | {"middle_name": "Ann"}], keys_of(strict))
    assert not decided(
        [one | {"forename": "Amy", "middle_name": "Nan"}, other | {"forename": "Nan"}], keys_of(strict)
    )


def test_a_condition_turned_twice_is_itself():
    for key in ONS.keys:
        assert turned(turned(key.condition)) == key.condition
    assert turned(AnyOf((exact("a"), Measure(Op.JARO, "a", "b", 0.9)))) == AnyOf(
        (exact("a"), Measure(Op.JARO, "b", "a", 0.9))
    )


def test_who_moved_together_are_two_people_and_not_one_twice():
    def at(record_id, forename, home):
        return oracle.person(
            record_id,
            "Hartley",
            "1984-05-17",
            forename=forename,
            sex="F",
            uprn=home,
            house="1",
            postcode=None,
        )

    old, new = "100000000011", "100000000022"
    family = [at("a", "Ann", old), at("b", "Ann", new), at("c", "Zara", new), at("d", "Zara", old)]
    assert decided(family) == {("a", "b"): ("MK28", "LINKED"), ("c", "d"): ("MK28", "LINKED")}
    alone = [at("a", "Ann", old), at("b", "Ann", new), at("c", "Ann", new), at("d", "Ann", old)]
    found = decided(alone)
    assert set(found) == {("a", "d"), ("b", "c")}
    assert "MK28" not in {key for key, _ in found.values()}


def test_several_files_together():
    one, other = (
        [person("a"), person("b", "OKAFOR")],
        [person("a"), person("c", "OKAFOR"), person("d", "KHAN")],
    )
    found = match_within([arrived(one), arrived(other)], keys_of(STRICT))
    assert found.pairs.select(IDS).rows() == [("1:a", "2:a"), ("1:b", "2:c")]
    result = linker.dedupe_by_keys(arrived(one), arrived(other), keys=keys_of(STRICT))
    assert result.clusters.rows() == [
        ("1:a", "1:a"), ("1:b", "1:b"), ("2:a", "1:a"), ("2:c", "1:b"), ("2:d", "2:d")
    ]  # fmt: skip


# --- before the model, and alone -----------------------------------------------------------------


@pytest.fixture(scope="module")
def few():
    frame = oracle.frame(population(150, seed=11)).drop("other_forename", "other_surname", "other_postcode")
    return linker.arrive(frame, id_column="id", mapping={"date_of_birth": "born"})


@pytest.fixture(scope="module")
def alone(few):
    return linker.dedupe_by_keys(few)


@pytest.fixture(scope="module")
def both(few):
    return linker.dedupe(few, keys="ons", all_pairs=-1e6)


def cluster_of(result):
    return dict(result.clusters.rows())


def test_the_keys_alone_make_clusters(few, alone):
    home = cluster_of(alone)
    assert sorted(home) == sorted(few.ids)
    within = {(a, b) for a in home for b in home if a < b and home[a] == home[b]}
    assert within == set(alone.links.select(IDS).rows())
    assert alone.summary["clusters"] == len(set(home.values()))
    assert all(home[a] != home[b] for a, b in alone.review.select(IDS).rows())
    counted = alone.summary["matchkeys"]["keys"]
    assert sum(one["linked"] for one in counted) == alone.links.height == alone.summary["links"]
    assert sum(one["ambiguous"] + one["review"] for one in counted) == alone.review.height
    assert not any(one["not_linked"] for one in counted)
    assert alone.links["match_weight"].is_null().all()
    assert [one["key"] for one in alone.summary["matchkeys"]["left_out"]] == ["MK33", "MK34"]


def test_the_model_goes_on_from_the_keys(few, alone, both):
    fixed = both.links.filter(pl.col("stage") == "matchkey")
    assert fixed.select(*IDS, "rule").rows() == alone.links.select(*IDS, "rule").rows()
    assert fixed.height < both.links.height
    home = cluster_of(both)
    assert all(home[a] == home[b] for a, b in both.links.select(IDS).rows())
    left_over = both.review.filter(pl.col("stage") == "matchkey")
    assert all(home[a] != home[b] for a, b in left_over.select(IDS).rows())
    assert both.review.join(both.links, on=IDS, how="semi").is_empty()
    for table in (both.links, both.review):
        assert table.select(IDS).rows() == sorted(set(table.select(IDS).rows()))
    # A link of a key has the weight that the model gives the pair.
    joined = fixed.join(both.pairs.select(*IDS, weight="match_weight"), on=IDS, how="left")
    assert joined["match_weight"].equals(joined["weight"].alias("match_weight"), null_equal=True)
    assert both.summary["links"] == both.links.height
    assert both.summary["clusters"] == len(set(home.values()))
    assert both.model.digest == linker.dedupe(few).model.digest


def test_a_link_of_a_key_stands_against_the_model(few, both):
    """A key that the model would never follow: whoever was born on the same day of some month."""
    perverse = keys_of(equal("somebody", "date_of_birth.days"), equal("elsewhere", "uprn", "sex"))
    forced = linker.dedupe_by_keys(few, keys=perverse).links.select(IDS)
    result = linker.dedupe(few, keys=perverse, model=both.model)
    assert result.links.join(forced, on=IDS, how="semi").height == forced.height
    home = cluster_of(result)
    assert all(home[a] == home[b] for a, b in forced.rows())
    # Some of these pairs the model would have kept apart, or never looked at.
    before = cluster_of(both)
    assert any(before[a] != before[b] for a, b in forced.rows())


def test_a_run_with_keys_can_be_verified(few, both, tmp_path):
    assert both.manifest.asked.keys == f"ons {ONS.digest}"
    both.manifest.save(tmp_path / "manifest.json")
    before = linker.Manifest.load(tmp_path / "manifest.json")
    verdict = linker.verify(before, few)
    assert verdict.same
    assert verdict.again.counts["matchkeys"] == before.counts["matchkeys"]


def test_a_model_of_raw_records_takes_no_keys(few, both):
    raw = replace(both.model, raw=Raw({name: column(name) for name in both.model.columns}, "id"))
    with pytest.raises(linker.LinkerError, match="as they stand"):
        linker.dedupe(few, keys="ons", model=raw)


def test_the_report_says_what_each_key_did(alone, both, tmp_path):
    for result in (alone, both):
        write_report(result, tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        assert "Deduplication report" in page
        assert "MK01" in page
        assert "Records in the cluster" in page
        found = json.loads((tmp_path / "report.json").read_text())
        assert found["summary"]["matchkeys"] == figures(result)["summary"]["matchkeys"]
        assert sum(size * many for size, many in found["cluster_sizes"]) == result.clusters.height
    assert "Mean probability by the model" in page


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def folder(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few.frame.with_columns(id=few.ids).write_csv(tmp_path / "people.csv")
    return tmp_path


def run(*args, code=0):
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


FILE = ("dedupe", "people.csv", "--map", "date_of_birth=born", "--id", "id")


def test_the_command_finds_duplicates_by_keys_alone_and_before_the_model(alone, both, folder):
    shown = run(
        *FILE, "--keys", "ons", "--keys-only", "--out", "c.csv", "--pairs", "p.csv", "--report", "r.html"
    )
    assert "Matchkeys ons, version 1" in shown.stdout
    assert "Threshold" not in shown.stdout
    assert "kinlink explain" not in shown.stdout
    clusters = pl.read_csv("c.csv", infer_schema=False)
    assert clusters.select("record_id", "cluster_id").rows() == alone.clusters.rows()
    pairs = pl.read_csv("p.csv", infer_schema=False)
    assert pairs.select(*IDS, "rule").rows() == alone.links.select(*IDS, "rule").rows()
    assert pl.read_csv("c.review.csv").height == alone.review.height
    assert not Path("c.manifest.json").exists()
    assert "Matchkeys" in Path("r.html").read_text()
    document = json.loads(run(*FILE, "--keys", "ons", "--out", "c.csv", "--json").stdout)
    assert document["links"] == both.links.height
    assert document["summary"]["matchkeys"]["keys"][0]["key"] == "MK01"
    assert run("verify", "c.manifest.json", "people.csv").exit_code == 0


def test_options_that_do_not_go_together_are_refused(folder):
    for options, words in (
        (("--keys-only",), "needs --keys"),
        (("--keys", "ons", "--keys-only", "--threshold", "3"), "without a model"),
    ):
        said = " ".join(run(*FILE, *options, code=2).output.replace("│", " ").split())
        assert words in said
    assert [one.name for one in Path().iterdir()] == ["people.csv"]


def test_sorted_pairs_have_the_smaller_id_left(matched):
    assert all(a < b for a, b in matched.pairs.select(IDS).rows())
    assert all(one <= other for one, other in pairwise(matched.pairs.select(IDS).rows()))
