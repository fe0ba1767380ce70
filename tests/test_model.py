"""The model's JSON, its digest, and that nothing broken gets in."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linker
from linker import conditions
from linker.conditions import Op, exact, missing
from linker.errors import LinkerError, ModelError
from linker.model import FORMAT, BlockingRule, Comparison, Level, Model, TermFrequencies, from_dict, to_dict
from tests import pair_oracle as oracle


def sample():
    return Model(
        (
            Comparison(
                "surname",
                missing("surname"),
                (
                    Level("exact", exact("surname"), 0.9, 0.01, "surname", 0.5),
                    Level("near", conditions.test(Op.JARO_WINKLER, "surname", 0.9), 0.06, 0.02),
                    Level("different", None, 0.04, 0.97),
                ),
            ),
            Comparison(
                "sex",
                missing("sex"),
                (Level("exact", exact("sex"), 0.98, 0.5), Level("different", None, 0.02, 0.5)),
            ),
        ),
        (BlockingRule((("surname", "surname"), ("forename.first", "middle_name.first"))),),
        0.001,
        {"surname": TermFrequencies({"SMITH": 0.1, "ÖZIL": 0.05}, 0.001)},
        {"method": "em", "rounds": [1, 2]},
    )


@settings(max_examples=60)
@given(oracle.models())
def test_a_model_comes_back_from_its_json_as_it_was(model):
    again = Model.from_json(model.to_json())
    assert to_dict(again) == to_dict(model)
    assert again.digest == model.digest
    assert again.to_json() == model.to_json()


def test_a_saved_model_is_the_model(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("older")
    sample().save(path)
    assert Model.load(path) == sample()
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]
    assert "ÖZIL" in path.read_text(encoding="utf-8")


def test_the_digest_is_of_what_scores():
    model = sample()
    assert len(model.digest) == 64
    assert replace(model, notes={"other": "words"}).digest == model.digest
    turned = TermFrequencies(dict(reversed(model.frequencies["surname"].values.items())), 0.001)
    assert replace(model, frequencies={"surname": turned}).digest == model.digest
    changes = [
        replace(model, prior=0.0010000000000000002),
        replace(model, rules=()),
        replace(model, comparisons=model.comparisons[::-1]),
        replace(model, frequencies={}),
    ]
    assert len({one.digest for one in [model, *changes]}) == 5


def test_weights_in_bits():
    model = sample()
    assert model.prior_weight == pytest.approx(math.log2(0.001 / 0.999))
    assert [level.weight for level in model.comparisons[1].levels] == pytest.approx(
        [math.log2(0.98 / 0.5), math.log2(0.02 / 0.5)]
    )
    assert Level("never", None, 0.0, 0.5).weight == -math.inf
    assert Level("only", None, 0.5, 0.0).weight == math.inf
    with pytest.raises(ModelError, match="no m and u"):
        _ = Level("untrained", None, 0.5).weight


def test_columns_are_all_that_scoring_and_blocking_read():
    assert sample().columns == {"surname", "sex", "forename.first", "middle_name.first"}


# --- what is refused ------------------------------------------------------------------------------


def refused(data):
    with pytest.raises(ModelError) as caught:
        Model.from_json(data if isinstance(data, str) else json.dumps(data))
    return caught.value


def without(path):
    return changed(path, None, remove=True)


def changed(path, value, *, remove=False):
    data = copy.deepcopy(to_dict(sample()))
    place = data
    for step in path[:-1]:
        place = place[step]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.loads(json.dumps(data))


FIRST = ("comparisons", 0)
PARTS = [
    ("format",), ("prior",), ("comparisons",), ("rules",), ("frequencies",), ("notes",), (*FIRST, "name"),
    (*FIRST, "null"), (*FIRST, "levels"), (*FIRST, "levels", 0, "label"), (*FIRST, "levels", 0, "condition"),
    (*FIRST, "levels", 0, "m"), (*FIRST, "levels", 0, "u"), ("frequencies", "surname", "rare"),
    ("frequencies", "surname", "values"), (*FIRST, "levels", 0, "condition", "op"),
    (*FIRST, "levels", 0, "condition", "left"),
]  # fmt: skip


@pytest.mark.parametrize("path", PARTS, ids=lambda path: ".".join(map(str, path)))
def test_a_model_that_lacks_a_part_is_refused(path):
    error = refused(without(path))
    assert error.reason == "MODEL_INVALID"
    assert error.help


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "kinlink-model/2"),
        (("format",), None),
        (("prior",), 0),
        (("prior",), 1),
        (("prior",), -0.5),
        (("prior",), "likely"),
        (("prior",), None),
        (("prior",), float("nan")),
        (("prior",), 10**400),
        (("comparisons",), []),
        (("comparisons",), {}),
        (("comparisons",), "surname"),
        (("comparisons",), None),
        ((*FIRST, "levels"), []),
        (
            (*FIRST, "levels", 2),
            {"label": "x", "m": 0.1, "u": 0.1, "condition": {"op": "exact", "left": "sex"}},
        ),
        ((*FIRST, "levels", 0), {"label": "x", "m": 0.1, "u": 0.1}),
        ((*FIRST, "levels", 0, "m"), 1.5),
        ((*FIRST, "levels", 0, "m"), -0.1),
        ((*FIRST, "levels", 0, "u"), float("nan")),
        ((*FIRST, "levels", 0, "u"), []),
        ((*FIRST, "levels", 0, "condition", "value"), "much"),
        ((*FIRST, "levels", 0, "condition", "value"), 10**400),
        ((*FIRST, "levels", 0, "condition", "value"), float("inf")),
        ((*FIRST, "levels", 1, "condition", "value"), 90),
        ((*FIRST, "levels", 1, "condition", "value"), 0),
        ((*FIRST, "levels", 0, "tf_weight"), float("nan")),
        ((*FIRST, "levels", 0, "tf_weight"), -1e7),
        ((*FIRST, "name"), "sex"),
        (("rules", 0), []),
        (("rules", 0), [["surname"]]),
        (("rules", 0), 5),
        (("frequencies", "surname"), []),
        (("frequencies", "surname", "values"), ["SMITH"]),
        (("frequencies", "surname", "rare"), None),
        (("frequencies", "surname", "rare"), 0),
        (("frequencies", "surname", "rare"), float("nan")),
        (("frequencies", "surname", "values", "SMITH"), -0.5),
        (("notes",), 3),
    ],
    ids=str,
)
def test_a_part_that_is_wrong_is_refused(path, value):
    refused(changed(path, value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"kinlink-model/1"',
        json.dumps({"format": FORMAT}),
        "[" * 100_000,
        '{"format": "kinlink-model/1", "prior": 1' + "0" * 5000 + "}",
    ],
    ids=["empty", "cut", "null", "list", "text", "only the format", "deep", "a number of 5000 digits"],
)
def test_text_that_is_no_model_is_refused(text):
    refused(text)


def test_conditions_nested_beyond_reason_are_refused():
    deep = '{"not": ' * 600 + '{"op": "exact", "left": "sex"}' + "}" * 600
    text = json.dumps(to_dict(sample())).replace('{"op": "missing", "left": "sex"}', deep)
    assert deep in text
    try:
        Model.from_json(text)
    except ModelError:
        return
    deeper = deep.replace('{"not": ', '{"not": {"not": ').replace("}}", "}}}}")
    refused(text.replace(deep, deeper))


def test_files_that_are_no_model(tmp_path):
    for make in (
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
    ):
        path = tmp_path / f"{id(make)}.json"
        make(path)
        with pytest.raises(ModelError, match=path.name) as caught:
            Model.load(path)
        assert caught.value.help
        assert str(tmp_path) not in str(caught.value)


def test_the_model_that_is_built_by_hand_is_checked_alike():
    model = sample()
    with pytest.raises(ModelError, match="one name"):
        replace(model, comparisons=(model.comparisons[0], model.comparisons[0]))
    with pytest.raises(ModelError, match="nothing"):
        replace(model, comparisons=())
    with pytest.raises(ModelError, match="too many"):
        replace(model, comparisons=tuple(replace(model.comparisons[1], name=str(k)) for k in range(32)))
    replace(model, comparisons=tuple(replace(model.comparisons[1], name=str(k)) for k in range(31)))


def limited(op, limit, label="near"):
    """The model with a test of that limit, within a level's condition."""
    level = Level(label, conditions.All((exact("surname"), conditions.test(op, "surname", limit))), 0.5, 0.5)
    comparison = Comparison("word", missing("surname"), (level, Level("else", None, 0.5, 0.5)))
    return replace(sample(), comparisons=(comparison,))


SIMILARITIES = sorted(conditions.SIMILARITIES)
DISTANCES = (
    Op.LEVENSHTEIN, Op.DAMERAU, Op.UNRESTRICTED_DAMERAU, Op.HAMMING, Op.BEST_LEVENSHTEIN, Op.BEST_DAMERAU,
    Op.DIFFERENCE, Op.RELATIVE_DIFFERENCE, Op.KILOMETRES,
)  # fmt: skip
_NEVER = [
    *((op, 1.0000001) for op in SIMILARITIES),
    *((op, -1e-9) for op in DISTANCES),
]
_ALWAYS = [
    *((op, 0.0) for op in SIMILARITIES if op is not Op.COSINE),
    (Op.COSINE, -1.0), (Op.JARO, -3.0), (Op.COMMON, 0.0), (Op.RELATIVE_DIFFERENCE, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("op", "limit"), [*_NEVER, *_ALWAYS], ids=str)
def test_a_limit_that_decides_by_itself_is_refused_by_name(op, limit):
    with pytest.raises(ModelError) as error:
        limited(op, limit)
    assert error.value.message.startswith(f"The comparison 'word', level 'near', holds {op} against ")
    assert error.value.message.endswith(
        "which no two values meet." if (op, limit) in _NEVER else "which any two values meet."
    )
    assert error.value.help


@pytest.mark.parametrize("op", Op)
@pytest.mark.parametrize("limit", [math.inf, -math.inf, math.nan])
def test_a_limit_that_is_no_number_is_refused(op, limit):
    with pytest.raises(ModelError, match=r"level 'near', holds .* no finite number"):
        limited(op, limit)
    null = conditions.Not(conditions.test(op, "surname", limit))
    with pytest.raises(ModelError, match=r"'word', missing values, holds .* no finite number"):
        replace(sample(), comparisons=(Comparison("word", null, sample().comparisons[0].levels),))


@pytest.mark.parametrize(
    ("op", "limit"),
    [
        *((op, limit) for op in SIMILARITIES for limit in (1.0, 5e-324)),
        *((op, limit) for op in DISTANCES for limit in (0.0, 1.5)),
        *((op, limit) for op in (Op.COMMON, Op.SUBSET) for limit in (1.0, 1000.0)),
        (Op.SUBSET, 0.0), (Op.COSINE, -0.5), (Op.PERCENTAGE, -0.5), (Op.LEVENSHTEIN, 1e6),
    ],
    ids=str,
)  # fmt: skip
def test_a_limit_at_the_edge_is_a_limit(op, limit):
    limited(op, limit)


@given(oracle.tests(), oracle.people, oracle.people, st.floats(-2.0, 3.0))
def test_what_is_foregone_is_so_for_any_two_values(one, left, right, limit):
    one = replace(one, value=limit)
    answer = conditions.foregone(one)
    if answer is None or left[one.left] in (None, "") or right[one.right] in (None, ""):
        return
    if one.op is Op.HAMMING and len(left[one.left]) != len(right[one.right]):
        return  # no value
    if one.op is Op.RELATIVE_DIFFERENCE and left[one.left] == right[one.right] == 0:
        return  # no value, either
    assert oracle.holds(one, left, right) == answer


def places(data, path=()):
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*path, key))


_PLACES = [path for path in places(to_dict(sample())) if path]
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(10**400),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers() | st.text(max_size=2), max_size=3),
    st.dictionaries(st.sampled_from(["op", "left", "all", "not", "rare"]), st.text(max_size=2), max_size=2),
    st.sampled_from([to_dict(sample())["comparisons"], to_dict(sample())["rules"]]),
)
_RECORDS = pl.DataFrame(
    {
        "id": list("abcdef"),
        "surname": ["Smith", "Smith", "Özil", "Jones", "Jonas", None],
        "forename": ["Ann", "Bob", "Cy", "Di", "Di", "Eve"],
        "middle_name": ["Bob", "Ann", "Cy", "Di", "Di", "Eve"],
        "sex": ["M", "F", "M", None, "F", "M"],
    }
)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(_PLACES), _VALUES, st.booleans()), min_size=1, max_size=2))
def test_a_mutated_model_is_refused_or_is_a_model(mutations):
    data = json.loads(json.dumps(to_dict(sample())))
    for path, value, remove in mutations:
        place = data
        try:
            for step in path[:-1]:
                place = place[step]
            if remove:
                del place[path[-1]]
            else:
                place[path[-1]] = copy.deepcopy(value)  # or one value of two mutations holds itself
        except (KeyError, IndexError, TypeError):
            continue
    try:
        model = Model.from_json(json.dumps(data))
    except ModelError:
        return
    assert Model.from_json(model.to_json()).digest == model.digest


@settings(max_examples=60)
@given(st.sampled_from(_PLACES), _VALUES)
def test_a_model_that_is_accepted_scores_or_says_what_is_wrong(path, value):
    data = json.loads(json.dumps(to_dict(sample())))
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    try:
        found = linker.dedupe(_RECORDS, model=Model.from_json(json.dumps(data)), threshold=0.0, threads=1)
    except LinkerError:
        return
    assert found.clusters.height == 6


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused(text):
    refused(text)


def test_plain_data_is_taken_without_json():
    assert from_dict(to_dict(sample())) == sample()
