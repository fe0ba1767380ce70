"""The whole flow: against plain Python, and that nothing but the records decides."""

from __future__ import annotations

import io
import itertools
import json
import threading
from collections import defaultdict

import polars as pl
import pytest

import linker
from linker import predict
from linker.classifiers import febrl
from linker.conditions import Op, exact, missing
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.derive import standard_columns
from linker.model import BlockingRule, Comparison, Level, Model
from linker.workup import canonical
from tests import pair_oracle as oracle
from tests.made_up_people import register, retyped

LOWEST = -1e6


@pytest.fixture(scope="session")
def febrl_sides():
    data = febrl(4)
    assert data.right is not None
    return data.left.sort("rec_id").head(200), data.right.sort("rec_id")[50:250]


@pytest.fixture(scope="session")
def made_up_sides():
    people = register(260)
    return people.head(200), retyped(people[60:])


@pytest.fixture(scope="session")
def one_set():
    people = register(160, seed=5)
    return pl.concat([people, retyped(people[::2], seed=6), retyped(people[::5], seed=7, prefix="r")])


@pytest.fixture(scope="session", params=["febrl", "made up"])
def sides(request):
    return request.getfixturevalue("febrl_sides" if request.param == "febrl" else "made_up_sides")


@pytest.fixture(scope="session")
def linked(sides):
    return linker.link(*sides, all_pairs=LOWEST)


@pytest.fixture(scope="session")
def made_up(made_up_sides):
    return linker.link(*made_up_sides)


@pytest.fixture(scope="session")
def deduped(one_set):
    return linker.dedupe(one_set, all_pairs=LOWEST)


def as_bytes(frame):
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def f1(links, truth):
    score = linker.evaluate(links, truth).f1
    assert score is not None
    return score


def essence(result):
    """All that must be the same to the last byte."""
    frames = [result.links, result.review, result.pairs, getattr(result, "clusters", None)]
    summary = {name: value for name, value in result.summary.items() if name != "seconds"}
    return (
        [None if frame is None else as_bytes(frame) for frame in frames],
        result.model.to_json(),
        result.threshold,
        json.dumps(summary),
    )


# --- against plain Python -------------------------------------------------------------------------


def check_against_plain_python(result, left, right):
    """Candidates by a dictionary of keys, weights by the plain scorer, over the standard columns."""
    ids = [record.ids.to_list() for record in result.records]
    people = [
        dict(zip(names, standard_columns(record).to_dicts(), strict=True))
        for names, record in zip(ids, result.records, strict=True)
    ]
    one, other = people[0], people[-1]
    expected: dict[tuple[str, str], str] = {}
    for rule in result.model.rules:
        holders = defaultdict(list)
        for name, person in one.items():
            holders[tuple(person[a] for a, _ in rule.columns)].append(name)
        for name, person in other.items():
            key = tuple(person[b] for _, b in rule.columns)
            for holder in holders[key] if None not in key else ():
                if right is not None or holder < name:
                    expected.setdefault((holder, name), rule.name)
    found = {(a, b): rule for a, b, rule in result.pairs.select("left_id", "right_id", "rule").iter_rows()}
    assert found == expected
    assert result.summary["candidate_pairs"] == len(expected) > 100
    for a, b, weight in result.pairs.select("left_id", "right_id", "match_weight").iter_rows():
        assert weight == pytest.approx(oracle.weight(result.model, one[a], other[b]), abs=1e-9)


def test_link_compares_and_weighs_as_plain_python_does(linked, sides):
    check_against_plain_python(linked, *sides)


def test_dedupe_compares_and_weighs_as_plain_python_does(deduped, one_set):
    check_against_plain_python(deduped, one_set, None)


def test_most_made_up_people_are_found_again(made_up, deduped):
    truth = pl.DataFrame({"left_id": [f"p{n:05d}" for n in range(60, 200)]})
    truth = truth.with_columns(right_id=pl.col("left_id").str.replace("p", "q"))
    assert f1(made_up.links, truth) > 0.95
    clusters = deduped.clusters.with_columns(person=pl.col("record_id").str.slice(1))
    assert clusters.height == 160 + 80 + 32
    assert clusters.group_by("person").agg(pl.col("cluster_id").n_unique())["cluster_id"].mean() < 1.1


# --- nothing else decides -------------------------------------------------------------------------

ROW_ORDERS = {
    "reversed": lambda frame: frame[::-1],
    "shuffled": lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=3),
}


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_no_byte_of_a_linkage(linked, sides, threads):
    assert essence(linker.link(*sides, all_pairs=LOWEST, threads=threads)) == essence(linked)


@pytest.mark.parametrize("order", ROW_ORDERS)
def test_the_order_of_the_rows_changes_no_byte_of_a_linkage(linked, sides, order):
    turned = [ROW_ORDERS[order](side) for side in sides]
    assert essence(linker.link(*turned, all_pairs=LOWEST)) == essence(linked)


def test_the_size_of_the_chunks_changes_no_byte_of_a_linkage(linked, sides, monkeypatch):
    monkeypatch.setitem(predict.scan_candidates.__kwdefaults__, "slice_rows", 7)
    assert essence(linker.link(*sides, all_pairs=LOWEST)) == essence(linked)


def test_r78_records_that_are_alike_stand_by_their_ids_whatever_their_order(one_set):
    twins = pl.concat([one_set.with_columns(pl.col("id") + end) for end in ("-a", "-b", "-c")])
    found = {
        tuple(canonical(linker.arrive(some, id_column="id")).ids)
        for some in (twins, twins.reverse(), twins.sample(fraction=1.0, shuffle=True, seed=4))
    }
    assert len(found) == 1
    places = {one: place for place, one in enumerate(next(iter(found)))}
    assert all(places[f"{one}-a"] < places[f"{one}-b"] < places[f"{one}-c"] for one in one_set["id"])


@pytest.mark.parametrize("order", ROW_ORDERS)
def test_order_threads_and_chunks_change_no_byte_of_a_deduplication(deduped, one_set, order, monkeypatch):
    monkeypatch.setitem(predict.scan_candidates.__kwdefaults__, "slice_rows", 7)
    turned = ROW_ORDERS[order](one_set)
    assert essence(linker.dedupe(turned, all_pairs=LOWEST, threads=3)) == essence(deduped)


def test_a_model_that_was_saved_gives_the_same_links(linked, sides, tmp_path):
    linked.model.save(tmp_path / "model.json")
    again = linker.link(*sides, model=linker.Model.load(tmp_path / "model.json"), all_pairs=LOWEST)
    assert again.training is None
    assert essence(again) == essence(linked)


def test_records_files_and_frames_are_the_same_to_it(made_up, made_up_sides, tmp_path):
    paths = [tmp_path / "left.csv", tmp_path / "right.parquet"]
    made_up_sides[0].write_csv(paths[0])
    made_up_sides[1].write_parquet(paths[1])
    again = linker.link(str(paths[0]), linker.read(paths[1]), model=made_up.model)
    assert as_bytes(again.links) == as_bytes(made_up.links)


def test_training_alone_gives_the_model_of_the_linkage(made_up, made_up_sides):
    assert linker.train(*made_up_sides).model.to_json() == made_up.model.to_json()


# --- what is returned -----------------------------------------------------------------------------

COLUMNS = ["left_id", "right_id", "match_weight", "match_probability", "outcome", "stage", "rule"]


def test_links_are_one_to_one_sorted_and_above_the_threshold(linked):
    links = linked.links
    assert links.columns == COLUMNS
    assert links.equals(links.sort("left_id", "right_id"))
    assert links["left_id"].is_unique().all()
    assert links["right_id"].is_unique().all()
    assert (links["match_weight"] >= linked.threshold).all()
    assert set(links["outcome"]) == {"LINKED"}
    assert links.join(linked.pairs, on=["left_id", "right_id", "match_weight", "rule"], how="anti").is_empty()


def test_probabilities_are_those_of_the_weights(linked):
    expected = [1 / (1 + 2.0**-weight) for weight in linked.pairs["match_weight"]]
    assert linked.pairs["match_probability"].to_list() == pytest.approx(expected, abs=1e-15)


def test_pairs_within_one_set_stand_in_the_order_of_their_ids(deduped):
    pairs = deduped.pairs
    assert (pairs["left_id"] < pairs["right_id"]).all()
    assert pairs.select("left_id", "right_id").is_unique().all()
    of = dict(deduped.clusters.iter_rows())
    assert all(of[a] == of[b] for a, b in deduped.links.select("left_id", "right_id").iter_rows())
    assert list(of) == sorted(of)


def test_a_threshold_that_is_given_is_the_threshold(made_up, made_up_sides):
    given = linker.link(*made_up_sides, model=made_up.model, threshold=18.0)
    assert given.threshold == 18.0
    assert (given.links["match_weight"] >= 18.0).all()
    assert (given.review["match_weight"] >= 14.0).all()
    assert 0 < given.links.height < made_up.links.height


def test_a_high_threshold_expects_less_recall(made_up, made_up_sides):
    given = linker.link(*made_up_sides, model=made_up.model, threshold=25.0)
    assert given.links.height < 0.9 * made_up.links.height
    assert given.summary["expected_recall"] < 0.95


def test_all_pairs_are_those_of_at_least_the_weight_asked_for(made_up, made_up_sides):
    assert made_up.pairs is None
    some = linker.link(*made_up_sides, model=made_up.model, all_pairs=5.0).pairs
    more = linker.link(*made_up_sides, model=made_up.model, all_pairs=-30.0).pairs
    assert some is not None
    assert more is not None
    assert some.equals(more.filter(pl.col("match_weight") >= 5.0))
    assert some.height < more.height


def test_a_register_that_repeats_its_people_can_be_linked_many_to_one(made_up_sides):
    left, right = made_up_sides
    twice = pl.concat([left, retyped(left, seed=9, prefix="s")])
    result = linker.link(twice, right, cardinality=linker.Cardinality.MANY_TO_ONE)
    assert result.links["left_id"].is_unique().all()
    assert not result.links["right_id"].is_unique().all()


def test_nothing_to_link_under_a_model_is_no_links(made_up, made_up_sides):
    strangers = register(20, seed=77).with_columns(pl.col("dob").str.replace(r"^\d{4}", "1899"))
    result = linker.link(made_up_sides[0], strangers, model=made_up.model, threshold=30.0, all_pairs=30.0)
    assert result.links.is_empty()
    assert result.links.columns == COLUMNS
    alone = linker.dedupe(made_up_sides[0].head(1), model=made_up.model)
    assert alone.clusters.rows() == [("p00000", "p00000")]


def test_the_summary_is_plain_and_counts(linked, sides):
    summary = json.loads(json.dumps(linked.summary))
    assert summary["records"] == [side.height for side in sides]
    assert summary["refused"] == [0, 0]
    assert summary["links"] == linked.links.height
    assert summary["candidate_pairs"] == sum(rule["pairs"] for rule in summary["rules"])
    assert [rule["rule"] for rule in summary["rules"]] == [rule.name for rule in linked.model.rules]
    assert summary["model"] == linked.model.digest
    assert 0 <= summary["expected_precision"] <= 1


def test_refused_rows_take_no_part(made_up, made_up_sides):
    left, right = made_up_sides
    bad = left.head(3).with_columns(id=pl.Series([None, "p00005", "  "], dtype=pl.String))
    arrived = linker.arrive(pl.concat([left, bad]), id_column="id")
    result = linker.link(arrived, right, model=made_up.model)
    assert result.summary["refused"] == [3, 0]
    assert as_bytes(result.links) == as_bytes(made_up.links)


# --- refusals and errors --------------------------------------------------------------------------

CANARY = "Zanquilbex"


def refused(kind, call, *arguments, **options):
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert caught.value.help
    assert CANARY.lower() not in repr((str(caught.value), caught.value.args)).lower()
    return caught.value


def canaries(**columns):
    return pl.DataFrame(
        {"id": ["1", "2"]} | {name: [CANARY, f"{CANARY}{k}"] for k, name in enumerate(columns)} | columns
    )


def test_a_model_for_other_fields_says_which_column_it_misses(made_up, made_up_sides):
    slim = [side.select("id", "forename", "surname") for side in made_up_sides]
    error = refused(linker.ModelError, linker.link, *slim, model=made_up.model)
    assert "date_of_birth" in str(error) or "postcode" in str(error)
    refused(linker.ModelError, linker.dedupe, slim[0], model=made_up.model)
    refused(linker.ModelError, linker.explain, made_up.model, slim[0], None, "p00000", "p00001")


def test_a_column_that_one_side_lacks_says_nothing(made_up, made_up_sides):
    left, right = made_up_sides
    links = linker.link(left, right.drop("postcode"), model=made_up.model).links
    pair = links.row(0, named=True)
    why = linker.explain(made_up.model, left, right.drop("postcode"), pair["left_id"], pair["right_id"])
    (step,) = [step for step in why.steps if step.comparison == "postcode"]
    assert (step.level, step.weight) == ("not known", 0.0)


def test_a_model_and_labels_are_one_too_many(made_up, made_up_sides):
    labels = pl.DataFrame({"left_id": ["p00000"], "right_id": ["q00000"]})
    refused(linker.RecordsError, linker.link, *made_up_sides, model=made_up.model, labels=labels)


def test_too_few_fields_in_common():
    one = canaries(forename=[CANARY, "Ann"], surname=["Bell", CANARY])
    other = canaries(uprn=["10000000001", "10000000002"])
    refused(linker.RecordsError, linker.link, one, other)
    refused(linker.RecordsError, linker.dedupe, canaries(town=[CANARY, "Leeds"]))
    refused(linker.RecordsError, linker.train, canaries(sex=["M", "F"]))


def test_nobody_agrees_with_anybody():
    one = canaries(forename=[CANARY, "Ann"], surname=["Bell", "Crow"], dob=["1980-01-02", "1981-02-03"])
    other = canaries(forename=["Dee", "Eve"], surname=["Finn", CANARY], dob=["1950-04-05", "1951-06-07"])
    nothing = linker.link(one, other)
    assert nothing.links.columns == COLUMNS
    assert (nothing.links.height, nothing.review.height, nothing.summary["candidate_pairs"]) == (0, 0, 0)
    assert linker.dedupe(one).clusters["cluster_id"].n_unique() == 2
    assert linker.dedupe(one.head(1)).clusters.height == 1


def test_labels_that_are_of_no_use(made_up_sides):
    for labels in (
        pl.DataFrame({"left_id": [CANARY]}),
        pl.DataFrame({"left_id": [CANARY], "right_id": [CANARY]}),
        pl.DataFrame({"left_id": ["p00060"], "right_id": ["q00060"], "match": ["0"]}),
    ):
        refused(linker.TruthError, linker.link, *made_up_sides, labels=labels)


def test_ids_that_are_not_there(made_up, made_up_sides):
    refused(linker.RecordsError, linker.explain, made_up.model, *made_up_sides, CANARY, "q00100")
    refused(linker.RecordsError, linker.explain, made_up.model, *made_up_sides, "p00100", CANARY)


def test_a_frame_that_is_no_table_of_text(made_up_sides):
    for values in ([[CANARY]], [{"x": CANARY}], [CANARY.encode() + b"\xff"]):
        frame = pl.DataFrame({"id": ["1"], "surname": values, "forename": values})
        with pytest.raises(linker.LinkerError) as caught:
            linker.dedupe(frame)
        assert CANARY not in str(caught.value)


def test_a_query_that_has_not_run_is_no_table(made_up, made_up_sides):
    left, right = made_up_sides
    for call in (
        lambda: linker.link(left.lazy(), right),
        lambda: linker.link(left, right.lazy()),
        lambda: linker.dedupe(left.lazy()),
        lambda: linker.train(left, right.lazy()),
        lambda: linker.explain(made_up.model, left.lazy(), right, "a", "b"),
        lambda: linker.arrive(left.lazy()),
    ):
        with pytest.raises(linker.RecordsError, match=r"LazyFrame.*Call its collect\(\)"):
            call()


# --- progress and cancelling ----------------------------------------------------------------------


def test_progress_is_sound_and_comes_from_the_callers_thread(made_up_sides):
    heard = []

    def progress(stage, done, total):
        assert threading.current_thread() is threading.main_thread()
        heard.append((stage, done, total))

    linker.link(*made_up_sides, progress=progress)
    assert all(0 <= done <= total for _, done, total in heard)
    stages = [stage for stage, _ in itertools.groupby(heard, lambda step: step[0])]
    assert len(stages) == len(set(stages))
    assert stages[0] == "standardise"
    assert stages[-1] == "compare"
    for (stage, done, total), (later, more, its_total) in itertools.pairwise(heard):
        if later == stage:
            assert more >= done or (done == total and more == 0), "a pass goes back only to begin anew"
            assert its_total == total or more == 0
        else:
            assert done == total


def test_the_work_of_a_stage_never_goes_back(made_up_sides):
    heard = defaultdict(list)
    linker.link(*made_up_sides, progress=lambda stage, done, total: heard[stage].append(done / max(1, total)))
    assert all(steps == sorted(steps) for steps in heard.values())


@pytest.mark.parametrize("at", [0, 1, 3, 20])
def test_a_run_that_is_cancelled_stops_there_and_leaves_nothing(made_up_sides, at, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = itertools.count()

    def progress(stage, done, total):
        if next(calls) == at:
            raise linker.Cancelled("The work was cancelled.")

    with pytest.raises(linker.Cancelled):
        linker.link(*made_up_sides, progress=progress)
    assert next(calls) == at + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("linker")]
    assert not list(tmp_path.iterdir())


def test_a_deduplication_can_be_cancelled_while_it_compares(one_set, deduped):
    def progress(stage, done, total):
        if stage == "compare":
            raise linker.Cancelled("The work was cancelled.")

    with pytest.raises(linker.Cancelled):
        linker.dedupe(one_set, model=deduped.model, progress=progress)


# --- a model that is not the same both ways -------------------------------------------------------


def test_within_one_set_it_does_not_matter_which_record_stands_left():
    levels = (
        Level("crossed", Measure(Op.EXACT, "forename", "surname"), 0.9, 0.01),
        Level("else", None, 0.1, 0.99),
    )
    crossed = Comparison("crossed", missing("forename", "surname"), levels)
    model = Model((crossed,), (BlockingRule((("date_of_birth", "date_of_birth"),)),), 0.1)
    weights, explained = set(), []
    for first, second in (("a", "b"), ("b", "a")):
        people = pl.DataFrame(
            {
                "id": [first, second],
                "forename": ["Ann", "Bell"],
                "surname": ["Bell", "Crow"],
                "dob": ["1980-02-03"] * 2,
            }
        )
        pairs = linker.dedupe(people, model=model, all_pairs=LOWEST).pairs
        assert pairs is not None
        weights.add(pairs["match_weight"][0])
        explained.append(linker.explain(model, people, None, "a", "b").weight == pairs["match_weight"][0])
    assert len(weights) == 1
    assert explained == [True, True]


def test_an_infinite_weight_is_refused_as_what_it_is(made_up_sides):
    levels = (Level("exact", exact("surname"), 0.9, 0.0), Level("else", None, 0.1, 1.0))
    surname = Comparison("surname", missing("surname"), levels)
    model = Model((surname,), (BlockingRule((("surname", "surname"),)),), 0.1)
    refused(linker.ModelError, linker.link, *made_up_sides, model=model)


# --- accuracy where truth is known ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_febrl_with_nothing_given(number):
    data = febrl(number)
    found = linker.dedupe(data.left) if data.right is None else linker.link(data.left, data.right)
    assert f1(found.links, data.truth) >= 0.999
