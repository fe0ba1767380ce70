"""Whole models of Splink: rules, term frequencies, kinds of linkage, what is missing in a file; and back."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from splink import block_on
from splink import comparison_library as library
from typer.testing import CliRunner

import linker
from linker import classifiers
from linker.blocking import examine
from linker.cli import app
from linker.conditions import Op, exact, missing
from linker.conditions import test as condition
from linker.derive import standard_columns
from linker.encode import encode
from linker.errors import LinkerError, ModelError, RecordsError
from linker.model import BlockingRule, Comparison, Level, Model
from linker.predict import score_rows
from linker.program import compile_tests, compile_weights
from linker.splink import read_splink, write_splink
from tests.made_up_people import register, retyped
from tests.splink_oracle import LEFT, RIGHT, assert_same, our_weights, settings, splink_weights, sql
from tests.test_splink import COMPARISONS

cl: Any = library
NAMES = [cl.ExactMatch("f"), cl.JaroWinklerAtThresholds("s", [0.8])]

RULES: dict[str, list[Any]] = {
    "two columns": ["l.f = r.f and l.g = r.g"],
    "pieces": [block_on("substr(f, 1, 2)", "b"), "left(l.pc, 3) = left(r.pc, 3)"],
    "across": ["l.f = r.s", "l.s = r.f and l.b = r.b"],
    "or": ["(l.f = r.f or l.s = r.s) and (l.g = r.g or l.b = r.b)"],
    "parsed": ["try_strptime(l.dob, '%Y-%m-%d') = try_strptime(r.dob, '%Y-%m-%d')"],
    "extracted": [
        "nullif(regexp_extract(l.pc, '^[A-Z]+', 0), '') = nullif(regexp_extract(r.pc, '^[A-Z]+', 0), '')"
    ],
    "constant": ["l.g = 'M' and r.g = 'M'", "l.n = 3 and r.x = 1"],
    "typed": ["l.day = r.day", "l.n = r.n", "l.x = r.x", "l.t = r.t", "l.k[1] = r.k[1]"],
    "none": [],
}


@pytest.mark.parametrize("name", RULES)
def test_the_candidates_are_those_of_splink(name):
    assert_same(settings(NAMES, rules=RULES[name]), LEFT, RIGHT)


@pytest.mark.parametrize("name", ["across", "or", "pieces"])
def test_a_pair_within_one_table_stands_in_the_order_of_its_ids(name):
    given = settings([*COMPARISONS["reversed"], *COMPARISONS["literals"]], "dedupe_only", RULES[name])
    # As numbers, 9 stands before 10, and as texts after it.
    assert_same(given, LEFT)
    assert_same(given, LEFT.with_columns(pl.col("unique_id").cast(pl.String)))


def test_several_tables_are_linked_and_deduplicated():
    given = settings(COMPARISONS["reversed"], "link_and_dedupe", ["l.b = r.b", "l.f = r.s"])
    assert_same(given, LEFT, RIGHT)


def test_columns_may_be_called_anything():
    names = {"f": "First name", "s": "Ünal's", "unique_id": "Person", "b": "select"}
    left, right = LEFT.rename(names), RIGHT.rename(names)
    given = settings(
        [
            cl.ExactMatch("First name").configure(term_frequency_adjustments=True),
            cl.CustomComparison([sql('"Ünal\'s_l" = "Ünal\'s_r"'), sql("ELSE")], output_column_name="s"),
        ],
        rules=[block_on("select")],
    ) | {"unique_id_column_name": "Person"}
    assert_same(given, left, right)
    # DuckDB does not tell cases apart, and neither do we.
    model = read_splink(given)
    louder = left.rename({"First name": "FIRST NAME"})
    assert our_weights(model, louder, right) == our_weights(model, left, right)


def adjusted(**changes):
    """A comparison of a name with frequencies, the second level changed."""
    one = cl.CustomComparison(
        [
            {"sql_condition": "f_l is null or f_r is null", "is_null_level": True},
            {"sql_condition": "f_l = f_r", "tf_adjustment_column": "f"},
            {"sql_condition": "jaro_winkler_similarity(f_l, f_r) > 0.7"} | changes,
            sql("ELSE"),
        ],
        output_column_name="f",
    )
    return settings([one])


@pytest.mark.parametrize(
    "changes",
    [
        {"tf_adjustment_column": "f"},
        {"tf_adjustment_column": "F", "tf_adjustment_weight": 0.3},
        {"tf_adjustment_column": "f", "tf_minimum_u_value": 0.05},
        {"tf_adjustment_column": "f", "disable_tf_exact_match_detection": True},
        {"tf_adjustment_column": "s", "disable_tf_exact_match_detection": True},
        {"tf_adjustment_column": "x", "disable_tf_exact_match_detection": True},
        {"tf_adjustment_column": "f", "tf_adjustment_weight": 0.0},
    ],
)
@pytest.mark.parametrize("link_type", ["link_only", "dedupe_only"])
def test_term_frequencies_are_those_of_splink(changes, link_type):
    given = adjusted(**changes) | {"link_type": link_type}
    frames = (LEFT, RIGHT) if link_type == "link_only" else (LEFT,)
    # Splink forgets a weight of 0 on its way through its own settings: say it as the file would.
    given["comparisons"][0]["comparison_levels"][2] |= changes
    assert_same(given, *frames)
    remarks = read_splink(given).notes["splink"]["remarks"]
    assert any("weight of 0" in one for one in remarks) == (changes.get("tf_adjustment_weight") == 0.0)


def test_what_was_not_trained_has_the_value_that_splink_takes():
    given = settings([*COMPARISONS["levenshtein"], *COMPARISONS["exact"], *COMPARISONS["arrays"][:1]])
    removed = 0
    for comparison in given["comparisons"]:
        for at, level in enumerate(comparison["comparison_levels"]):
            which = "um"[at % 2]
            removed += level.pop(f"{which}_probability", None) is not None
    del given["probability_two_random_records_match"]
    assert_same(given, LEFT, RIGHT)
    remarks = read_splink(given).notes["splink"]["remarks"]
    assert sum("was not trained" in one for one in remarks) == removed > 5
    assert any("no prior" in one for one in remarks)


def test_an_older_file_is_read():
    given = settings(NAMES, rules=["l.b = r.b"])
    older = copy.deepcopy(given) | {
        "bayes_factor_column_prefix": "bf_",
        "linker_uid": "x",
        "em_convergence": 0.1,
    }
    older["blocking_rules_to_generate_predictions"] = ["l.b = r.b"]
    older["comparisons"][0]["comparison_description"] = "words"
    assert read_splink(older).digest == read_splink(given).digest
    older["blocking_rules_to_generate_predictions"] = [
        {"blocking_rule": "l.b = r.b", "salting_partitions": 4}
    ]
    assert read_splink(older).digest == read_splink(given).digest


def test_a_u_of_zero_makes_as_good_as_certain():
    given = settings([cl.ExactMatch("f")])
    levels = given["comparisons"][0]["comparison_levels"]
    levels[1]["u_probability"], levels[2]["m_probability"] = 0.0, 0
    model = read_splink(given)
    assert [one.weight > 900 for one in model.comparisons[0].levels] == [True, False]
    assert [one.weight < -900 for one in model.comparisons[0].levels] == [False, True]
    assert sum("which Splink 5 refuses" in one for one in model.notes["splink"]["remarks"]) == 2
    links = linker.link(LEFT, RIGHT, model=model).links
    assert links["match_probability"].min() == 1.0
    assert_same(write_splink(model), LEFT, RIGHT)


REFUSED = {
    "soundex(f_l) = soundex(f_r)": "SOUNDEX",
    "levenshtein(f_l, f_r) <= length(f_l)": "LENGTH",
    "f_l = s_l": "both of one record",
    "f = f_r": "a column of neither record",
    "jaro_winkler_similarity(f_l, s_l) > 0.9": "not of both records",
    "jaro_winkler_similarity(f_l, f_r) > 1": "never",
    "levenshtein(f_l, f_r) < 0": "never",
    "levenshtein(f_l, f_r) < 1e999": "never",
    "jaro_similarity(f_l, f_r) >= -1e999": "never",
    "array_length(list_intersect(t_l, t_r)) > -1": "nothing in common",
    "array_length(list_intersect(t_l, t_r)) < 1": "nothing in common",
    "not (1 <= array_length(list_intersect(t_l, t_r)))": "nothing in common",
    "regexp_extract(f_l, '(?i)a', 0) = f_r": "regular expression",
    "regexp_extract(f_l, '(a', 0) = f_r": "regular expression",
    "try_strptime(f_l, '%A') = f_r": "date format",
    "f_l": "",
    "f_l = ": "not SQL",
    "not (list_max(list_transform(flatten(list_transform(t_l, x -> list_transform(t_r, y -> [x, y]))), "
    "pair -> jaro_similarity(pair[1], pair[2]))) > 0.5)": "best of lists",
    "CAST(acos(radians(la_l)) * 6371 AS FLOAT) <= 1": "6371",
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(form):
    given = settings([cl.CustomComparison([sql("f_l = f_r"), sql("ELSE")], output_column_name="fore")])
    given["comparisons"][0]["comparison_levels"].insert(1, sql(form) | {"label_for_charts": "odd"})
    with pytest.raises(ModelError) as refused:
        read_splink(given)
    assert str(refused.value).startswith("The comparison 'fore', level 'odd', has a form")
    assert REFUSED[form] in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("l.f <> r.f", "l.f <> r.f"),
        ("l.f = r.f and levenshtein(l.s, r.s) < 2", "LEVENSHTEIN"),
        ({"blocking_rule": "l.t = r.t", "arrays_to_explode": ["t"]}, "takes lists apart"),
        ({"blocking_rule": "l.f = r.f", "sql_dialect": "postgres"}, "postgres"),
    ],
)
def test_a_rule_that_cannot_be_expressed_is_refused_by_name(rule, words):
    given = settings(NAMES) | {"blocking_rules_to_generate_predictions": [rule]}
    with pytest.raises(ModelError, match="The blocking rule") as refused:
        read_splink(given)
    assert words in str(refused.value)


@pytest.mark.parametrize("broken", [{}, {"comparisons": 3}, {"comparisons": [{}]}, {"comparisons": []}])
def test_what_is_no_model_is_refused(broken, tmp_path):
    with pytest.raises(ModelError):
        read_splink(broken)
    path = tmp_path / "model.json"
    for text in ("", "[]", json.dumps(broken)):
        path.write_text(text)
        with pytest.raises(ModelError):
            read_splink(path)


def without(given, at):
    del given["comparisons"][0]["comparison_levels"][at]
    return given


def test_a_model_that_splink_could_not_score_is_refused():
    with pytest.raises(ModelError, match="does not end in ELSE"):
        read_splink(without(settings(NAMES), -1))
    with pytest.raises(ModelError, match="no level is an exact match on it"):
        read_splink(without(adjusted(tf_adjustment_column="f"), 1))
    odd = settings(NAMES)
    odd["comparisons"][0]["comparison_levels"][1]["magic"] = 1
    with pytest.raises(ModelError, match="'magic', which is not known"):
        read_splink(odd)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in COMPARISONS
        if name not in ("sql", "columns", "hamming", "dates", "limits_that_always_hold")
    ],
)
def test_a_model_for_spark_reads_as_one_for_duckdb(name):
    def tests(dialect):
        model = read_splink(settings(COMPARISONS[name], dialect=dialect))
        return [(one.null, [level.condition for level in one.levels]) for one in model.comparisons]

    if name not in ("times", "birth"):
        assert tests("spark") == tests("duckdb")
        return
    # Spark counts whole days, and its times may have offsets.
    one, other = (
        read_splink(settings(COMPARISONS[name], dialect=dialect)) for dialect in ("spark", "duckdb")
    )
    assert our_weights(one, LEFT, RIGHT) == our_weights(other, LEFT, RIGHT)


@pytest.mark.parametrize("third", range(3))
def test_what_is_read_is_written_without_loss_and_splink_reads_it(third):
    comparisons = [one for name in list(COMPARISONS)[third::3] for one in COMPARISONS[name]]
    given = settings(comparisons, rules=RULES["or"], seed=third)
    model = read_splink(given)
    written = json.loads(json.dumps(write_splink(model)))
    again = read_splink(written)
    assert again.digest == model.digest
    assert write_splink(again) == written
    assert Model.from_json(model.to_json()) == model
    expected = splink_weights(given, LEFT, RIGHT)
    assert splink_weights(written, LEFT, RIGHT) == pytest.approx(expected, abs=1e-9)


def test_a_model_of_our_own_has_the_same_weights_in_splink():
    left = register(250)
    right = retyped(left)
    trained = linker.train(left, right).model
    # Relatives and tables of frequencies are beyond Splink.
    levels = [tuple(replace(level, tf=None) for level in one.levels) for one in trained.comparisons]
    comparisons = (replace(one, levels=own) for one, own in zip(trained.comparisons, levels, strict=True))
    model = replace(trained, kin=0.0, comparisons=tuple(comparisons))
    frames = [
        standard_columns(side).with_columns(side.ids.alias("unique_id"))
        for side in (linker.arrive(left), linker.arrive(right))
    ]
    written = json.loads(json.dumps(write_splink(model)))
    found = linker.link(left, right, model=model, threshold=0.0, all_pairs=-1e6).pairs
    assert found is not None
    ours = {(one, other): weight for one, other, weight, *_ in found.iter_rows()}
    assert splink_weights(written, *frames) == pytest.approx(ours, abs=1e-9)


OWN = {
    "a": [(Op.STANDARDISED_LEVENSHTEIN, 0.6), (Op.JARO_WINKLER, 0.5), (Op.DAMERAU, 1.0)],
    "t": [(Op.SUBSET, 2.0), (Op.JACCARD, 0.6), (Op.SUBSET, 1.0), (Op.COMMON, 1.0)],
    "n": [(Op.RELATIVE_DIFFERENCE, 0.05), (Op.DIFFERENCE, 2.5), (Op.RELATIVE_DIFFERENCE, 0.7)],
}


def test_every_measure_of_our_own_is_written_for_splink():
    rng = random.Random(4)
    rows = [
        (
            str(number),
            rng.choice([None, "".join(rng.choices("ABC", k=rng.randint(1, 6)))]),
            rng.choice([None, sorted(rng.sample("PQRST", rng.randint(1, 4)))]),
            rng.choice([None, rng.randint(-40, 40) / 4]),
            "x",
        )
        for number in range(60)
    ]
    schema: dict[str, Any] = {
        "unique_id": pl.String,
        "a": pl.String,
        "t": pl.List(pl.String),
        "n": pl.Float64,
        "b": pl.String,
    }
    records = pl.DataFrame(rows, schema, orient="row")
    comparisons = []
    for name, tests in OWN.items():
        levels = [
            Level(f"{op} {limit}", condition(op, name, limit), rng.random(), rng.random())
            for op, limit in tests
        ]
        comparisons.append(Comparison(name, missing(name), (*levels, Level("else", None, 0.1, 0.9))))
    model = Model(tuple(comparisons), (BlockingRule((("b", "b"),)),), 0.1)
    encoded = encode(records, None, model)
    one, other = np.triu_indices(len(records), 1)
    chains, weights = compile_tests(model.comparisons, encoded), compile_weights(model, encoded)
    found, _ = score_rows(encoded, one, other, chains, weights)
    ids = records["unique_id"].to_list()
    ours = {
        (min(ids[x], ids[y]), max(ids[x], ids[y])): weight
        for x, y, weight in zip(one, other, found, strict=True)
    }
    written = write_splink(model) | {"link_type": "dedupe_only"}
    assert splink_weights(written, records) == pytest.approx(ours, abs=1e-9)


def test_what_splink_cannot_say_is_refused_by_name():
    model = linker.train(register(80), retyped(register(80))).model
    plain = replace(model, kin=0.0)
    with pytest.raises(ModelError, match="relatives"):
        write_splink(replace(model, kin=0.001), frequencies_of_data=True)
    with pytest.raises(ModelError, match="term frequencies of its own for 'date_of_birth'"):
        write_splink(plain)
    adjusted = write_splink(plain, frequencies_of_data=True)["comparisons"][0]["comparison_levels"][1]
    assert adjusted["tf_adjustment_column"] == "forename"
    assert adjusted["tf_minimum_u_value"] == plain.frequencies["forename"].rare
    plain = replace(plain, frequencies={})
    far = Level("far", condition(Op.DAMERAU, "surname", 2), 0.1, 0.1)
    other = Comparison("names", missing("surname"), (far, Level("else", None, 0.9, 0.9)))
    with pytest.raises(ModelError, match="Comparison 'names', level 'far': Splink on DuckDB cannot"):
        write_splink(replace(plain, comparisons=(*plain.comparisons, other)))
    late = replace(far, condition=exact("surname"), tf="surname", tf_level=1)
    odd = Comparison("odd", missing("surname"), (late, Level("else", None, 0.9, 0.9)))
    with pytest.raises(ModelError, match="which u"):
        write_splink(replace(plain, comparisons=(odd,)))


@pytest.mark.parametrize("name", RULES)
def test_rules_are_written_without_loss(name):
    model = read_splink(settings(NAMES, rules=RULES[name]))
    assert read_splink(write_splink(model)).rules == model.rules


FEBRL_RULES = [
    block_on("given_name", "surname"), block_on("date_of_birth"), block_on("soc_sec_id"),
    block_on("postcode", "given_name"), block_on("substr(surname, 1, 3)", "street_number"),
]  # fmt: skip


def test_febrl_4_has_the_weights_of_splink():
    data = classifiers.febrl(4)
    assert data.right is not None
    left, right = (frame.rename({"rec_id": "unique_id"}) for frame in (data.left, data.right))
    given = settings(
        [
            cl.ForenameSurnameComparison("given_name", "surname"),
            cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
            cl.DamerauLevenshteinAtThresholds("soc_sec_id", [1, 2]),
            cl.LevenshteinAtThresholds("postcode", 2).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("address_1", [0.92, 0.8]),
            cl.JaccardAtThresholds("suburb", [0.9, 0.7]),
            cl.NameComparison("state"),
        ],
        rules=FEBRL_RULES,
    )
    assert_same(given, left, right)


def test_text_from_csv_serves_where_types_are_asked_for(tmp_path):
    columns = ["unique_id", "f", "n", "x", "day", "la", "lo", "b"]
    given = settings(
        [*COMPARISONS["numbers"], *COMPARISONS["dates"][:1], *COMPARISONS["kilometres"], cl.ExactMatch("f")]
    )
    model = read_splink(given)
    # A CSV file cannot tell an empty text from a missing one.
    frames = [frame.select(columns).with_columns(pl.col("f").replace("", None)) for frame in (LEFT, RIGHT)]
    for name, frame in zip("lr", frames, strict=True):
        frame.write_csv(tmp_path / f"{name}.csv")
        frame.write_parquet(tmp_path / f"{name}.parquet")
    typed, text = (
        linker.link(
            tmp_path / f"l.{end}", tmp_path / f"r.{end}", model=model, threshold=0.0, all_pairs=-99.0
        ).pairs
        for end in ("parquet", "csv")
    )
    assert typed is not None
    assert text is not None
    assert typed.equals(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.lit(1).alias("unique_id"), "not unique"),
        (pl.lit(None, pl.String).alias("unique_id"), "not unique, or not all there"),
        (pl.col("f").alias("x"), "'x' has different types|be read as"),
        (pl.lit(2**60).alias("n"), "too large"),
        (pl.lit(float("nan")).alias("x"), "not a finite number"),
        (pl.lit("a").alias("k"), "different types"),
        (pl.col("x").cast(pl.Float32).alias("x"), "Float32"),
        (pl.lit([1, 1]).alias("k"), "repeats an element"),
    ],
)
def test_records_that_splink_could_not_compare_are_refused_without_a_value(change, words):
    model = read_splink(settings([*COMPARISONS["numbers"], *COMPARISONS["subsets"]]))
    left = LEFT.with_columns(change)
    right = RIGHT.with_columns(change) if "Float32" in words else RIGHT
    with pytest.raises((ModelError, RecordsError), match=words):
        linker.link(left, right, model=model)


def test_a_column_that_is_not_there_is_named():
    model = read_splink(settings(NAMES))
    with pytest.raises(ModelError, match="the column 's', which the records do not have"):
        linker.link(LEFT, RIGHT.drop("s"), model=model)
    with pytest.raises(RecordsError, match="no column 'unique_id'"):
        linker.link(LEFT, RIGHT.drop("unique_id"), model=model)
    with pytest.raises(RecordsError, match="as they stand"):
        linker.dedupe(linker.arrive(LEFT.select("unique_id", "f", "s")), model=model)


def test_what_reads_standard_columns_is_not_mixed_with_what_does_not():
    model = read_splink(settings(NAMES))
    with pytest.raises(LinkerError, match="matchkeys read standard columns"):
        linker.link(LEFT, RIGHT, model=model, keys="ons")
    understood = linker.arrive(register(20))
    with pytest.raises(ModelError, match="blocking is examined on standard columns"):
        examine(understood, model=model)


def test_the_order_of_the_rows_changes_nothing():
    model = read_splink(settings([*COMPARISONS["reversed"], *COMPARISONS["email"]]))
    first = linker.link(LEFT, RIGHT, model=model)
    again = linker.link(LEFT.reverse(), RIGHT.sample(fraction=1.0, shuffle=True, seed=1), model=model)
    assert again.links.equals(first.links)
    assert [one.digest for one in again.manifest.inputs] == [one.digest for one in first.manifest.inputs]
    verdict = linker.verify(first.manifest, LEFT.reverse(), RIGHT, model=model)
    assert verdict.same


def test_an_explanation_adds_up_to_the_weight_of_the_run():
    model = read_splink(settings([*COMPARISONS["forename_surname"], *COMPARISONS["email"]]))
    pairs = our_weights(model, LEFT, RIGHT)
    for left_id, right_id in list(pairs)[::400]:
        found = linker.explain(model, LEFT, RIGHT, left_id, right_id)
        assert found.weight == pairs[left_id, right_id]
        assert found.rule == "b"
    within = read_splink(settings(COMPARISONS["reversed"], "dedupe_only"))
    for (one, other), weight in list(our_weights(within, LEFT).items())[::300]:
        assert linker.explain(within, LEFT, None, other, one).weight == weight


def test_the_command_line_brings_a_model_and_takes_it_back(tmp_path):
    def run(*args: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        return result.output

    given = settings([*COMPARISONS["forename_surname"][:1], *COMPARISONS["birth"][:1]])
    given["comparisons"][0]["comparison_levels"][1]["tf_adjustment_weight"] = 0.0
    source, model, back, out = (
        tmp_path / name for name in ("s.json", "m.json", "back.json", "links.parquet")
    )
    source.write_text(json.dumps(given))
    for name, frame in {"l": LEFT, "r": RIGHT}.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    files = tmp_path / "l.parquet", tmp_path / "r.parquet"
    shown = run("model", "import", source, model)
    assert "weight of 0" in " ".join(shown.split())
    assert "Levenshtein distance <= 1" in run("model", "show", model)
    assert "as they stand" in run(
        "link", *files, "--model", model, "--out", out, "--report", tmp_path / "r.html"
    )
    expected = linker.link(LEFT, RIGHT, model=read_splink(given))
    assert pl.read_parquet(out).equals(expected.links)
    run("explain", *files, "--model", model, "--pair", "1,2")
    manifest = tmp_path / "links.manifest.json"
    assert "the same, byte for byte" in run("verify", manifest, *files, "--model", model)
    run("explain", *files, "--run", manifest, "--model", model, "--pair", "1,2")
    run("dedupe", files[0], "--model", model, "--out", tmp_path / "c.parquet")
    for _ in range(2):  # the second time over the first
        run("model", "export", model, back)
    assert read_splink(back).digest == Model.load(model).digest
    assert "not such an output" in " ".join(run("model", "export", model, source, code=1).split())
    assert "Read it first: kinlink model import" in run("model", "show", source, code=1)
    assert "no meaning" in run("link", *files, "--model", model, "--map", "surname=s", code=2)
