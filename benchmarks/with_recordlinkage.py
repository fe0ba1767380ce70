"""The record linkage toolkit's side: the same rules, and of the comparisons what it knows.

The toolkit has one level a comparison, no term frequencies and no weights of Splink's kind: each field agrees
or not, at the threshold of the model's nearest level, and its own classifier (ECM) learns and decides. It
holds all candidate pairs as a pandas index, which bounds the size that is reasonable.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from benchmarks.measure import Meter, answer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the toolkit's own, on import
    import recordlinkage


def work(job: dict[str, Any], meter: Meter) -> Callable[[], object]:
    """Block, compare, classify."""
    one, other = (
        pd.DataFrame(
            pl.read_parquet(Path(job["folder"]) / f"{side}.parquet").to_dict(as_series=False)
        ).set_index("record_id")
        for side in ("left", "right")
    )
    with meter.stage("block"):
        index = recordlinkage.Index()
        for rule in job["rules"]:
            index.block(rule)
        pairs = index.index(one, other)
    with meter.stage("score"):
        compare = recordlinkage.Compare()  # one process: at this size a second costs more than it gives
        for column in ("forename", "surname"):
            compare.string(column, column, method="jarowinkler", threshold=0.88)
        compare.string("date_of_birth", "date_of_birth", method="damerau_levenshtein", threshold=0.9)
        compare.string("postcode", "postcode", method="levenshtein", threshold=0.85)
        for column in ("sex", "town", "nhs_number"):
            compare.exact(column, column)
        vectors = compare.compute(pairs, one, other)
    with meter.stage("em"):
        links = recordlinkage.ECMClassifier().fit_predict(vectors)

    def finish() -> None:
        left, right = (links.get_level_values(level).to_list() for level in (0, 1))
        pl.DataFrame({"left_id": left, "right_id": right}).write_parquet(job["links"])

    return finish


if __name__ == "__main__":
    answer(work)
